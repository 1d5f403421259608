use super::*;
use crate::kernels::{InVectors, noise};
use proptest::prelude::*;
use pulp::{Scalar, Scalar128b, Scalar256b};

/// Sizes of a convolution, and its operands: a map and kernels.
#[derive(Debug)]
struct Case {
    /// Rows and columns of the results.
    size: [usize; 2],
    /// Rows and columns of the map.
    map: [usize; 2],
    pads: [usize; 2],
    channels: usize,
    outputs: usize,
    source: Vec<f32>,
    kernels: Vec<f32>,
}

/// Results, the map's pads before and after it, channels and outputs.
fn cases() -> impl Strategy<Value = Case> {
    ([1..10usize, 1..28], [[0..3usize, 0..3], [0..3, 0..3]], [1..36usize, 1..36]).prop_filter_map(
        "a map that is empty",
        |(size, [pads, after], [channels, outputs])| {
            let map: [usize; 2] = from_fn(|axis| (size[axis] + 2).saturating_sub(pads[axis] + after[axis]));
            map.iter().all(|&size| size > 0).then(|| Case {
                size,
                map,
                pads,
                channels,
                outputs,
                source: noise(map[0] * map[1] * channels, 1),
                kernels: noise(outputs * channels * 9, 2),
            })
        },
    )
}

impl Case {
    fn operand(&self) -> PaddedMap<'_> {
        let grid = Grid::dense(self.map[1], self.channels);
        PaddedMap { elements: &self.source, grid, size: self.map, origin: self.pads.map(|pad| -(pad as isize)) }
    }

    /// Calls `each` with the places of every product in the result, the source and the kernels.
    fn products(&self, mut each: impl FnMut(usize, usize, usize)) {
        let [rows, columns] = self.size;
        for at in 0..rows * columns * self.outputs * self.channels * 9 {
            let (tap, at) = (at % 9, at / 9);
            let (channel, at) = (at % self.channels, at / self.channels);
            let (output, at) = (at % self.outputs, at / self.outputs);
            let pixel = [at / columns + tap / 3, at % columns + tap % 3];
            let inside = (0..2).all(|axis| (self.pads[axis]..self.pads[axis] + self.map[axis]).contains(&pixel[axis]));
            if inside {
                let x = (pixel[0] - self.pads[0]) * self.map[1] + pixel[1] - self.pads[1];
                let w = (output * self.channels + channel) * 9 + tap;
                each(at * self.outputs + output, x * self.channels + channel, w);
            }
        }
    }
}

fn near(found: &[f32], expected: &[f64]) -> Result<(), TestCaseError> {
    prop_assert_eq!(found.len(), expected.len());
    let peak = expected.iter().fold(1.0f64, |peak, x| peak.max(x.abs()));
    for (at, (&found, expected)) in found.iter().zip(expected).enumerate() {
        prop_assert!((f64::from(found) - expected).abs() <= 1e-5 * peak, "{at}: {found} for {expected}");
    }
    Ok(())
}

impl Case {
    fn results(&self, run: impl FnOnce(Filtering)) -> Vec<f32> {
        let [rows, columns] = self.size;
        let weights = Winograd::new(self.channels, noise(self.outputs, 4), |output, channel| {
            from_fn(|tap| self.kernels[(output * self.channels + channel) * 9 + tap].into())
        });
        let mut found = vec![f32::NAN; rows * columns * self.outputs];
        let rows = Rows::plain(&mut found, Grid::dense(columns, self.outputs), rows, columns);
        weights.run_on(self.operand(), rows, run);
        found
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn results_are_those_of_all_products(case in cases()) {
        let [rows, columns] = case.size;
        let bias = noise(case.outputs, 4);
        let mut expected: Vec<f64> = bias.iter().map(|&x| x.into()).collect::<Vec<_>>().repeat(rows * columns);
        case.products(|y, x, w| expected[y] += f64::from(case.source[x]) * f64::from(case.kernels[w]));
        near(&case.results(|kernel| dispatch(kernel)), &expected)?;
    }

    /// Vectors of one, four and eight elements give what the processor's widest do, bit for bit.
    #[test]
    fn vectors_of_all_widths_compute_the_same(case in cases()) {
        let widest = case.results(|kernel| dispatch(kernel));
        prop_assert_eq!(&widest, &case.results(|kernel| Scalar.vectorize(InVectors(kernel))));
        prop_assert_eq!(&widest, &case.results(|kernel| Scalar128b.vectorize(InVectors(kernel))));
        prop_assert_eq!(&widest, &case.results(|kernel| Scalar256b.vectorize(InVectors(kernel))));
    }
}
