use super::*;
use proptest::prelude::*;

/// Numbers of both signs that follow no simple pattern.
fn noise(len: usize, seed: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0).collect()
}

/// Sizes of a convolution, and its operands: a map `[extent][extent][channels]`, kernels and the results' gradient.
struct Case {
    rows: usize,
    columns: usize,
    channels: usize,
    outputs: usize,
    source: Vec<f32>,
    kernels: Vec<f32>,
    grad: Vec<f32>,
}

impl Case {
    fn new(rows: usize, columns: usize, channels: usize, outputs: usize) -> Self {
        Self {
            rows,
            columns,
            channels,
            outputs,
            source: noise(extent(rows) * extent(columns) * channels, 1),
            kernels: noise(outputs * channels * 9, 2),
            grad: noise(rows * columns * outputs, 3),
        }
    }

    fn patches(&self) -> Grid {
        Grid::dense(extent(self.columns), self.channels)
    }

    /// Calls `each` with the places of every product in the result, the source and the kernels.
    fn products(&self, mut each: impl FnMut(usize, usize, usize)) {
        let (results, patches) = (Grid::dense(self.columns, self.outputs), self.patches());
        for at in 0..self.rows * self.columns * self.outputs * self.channels * 9 {
            let (tap, at) = (at % 9, at / 9);
            let (channel, at) = (at % self.channels, at / self.channels);
            let (output, at) = (at % self.outputs, at / self.outputs);
            let pixel = [at / self.columns, at % self.columns];
            each(
                results.at(pixel) + output,
                patches.at([pixel[0] + tap / 3, pixel[1] + tap % 3]) + channel,
                (output * self.channels + channel) * 9 + tap,
            );
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn results_are_those_of_all_products(
        (rows, columns) in (1..10usize, 1..28usize),
        (channels, outputs) in (1..36usize, 1..36usize),
    ) {
        let case = Case::new(rows, columns, channels, outputs);
        let bias = noise(outputs, 4);
        let mut expected: Vec<f64> = bias.iter().map(|&x| x.into()).collect::<Vec<_>>().repeat(rows * columns);
        case.products(|y, x, w| expected[y] += f64::from(case.source[x]) * f64::from(case.kernels[w]));
        let weights = Winograd::new(channels, bias, |output, channel| {
            from_fn(|tap| case.kernels[(output * channels + channel) * 9 + tap].into())
        });
        let mut found = vec![f32::NAN; expected.len()];
        let rows = Rows::plain(&mut found, Grid::dense(columns, outputs), rows, columns);
        weights.run(&case.source, case.patches(), rows);
        near(&found, &expected)?;
    }

    #[test]
    fn gradients_are_those_of_all_products(
        (rows, columns) in (1..10usize, 1..28usize),
        (channels, outputs) in (1..36usize, 1..36usize),
    ) {
        let case = Case::new(rows, columns, channels, outputs);
        let mut expected = vec![0.0; case.kernels.len()];
        // Two images, of which one counts twice.
        case.products(|y, x, w| expected[w] += 3.0 * f64::from(case.source[x]) * f64::from(case.grad[y]));
        let mut sums = [(); 2].map(|()| WeightGradient::new(channels, outputs));
        for images in [0..1, 0..2] {
            for sums in &mut sums[images] {
                let results = (&case.grad[..], Grid::dense(columns, outputs));
                sums.add_image((&case.source, case.patches()), results, [rows, columns]);
            }
        }
        let [mut sum, other] = sums;
        sum.add(&other);
        near(&sum.finish(), &expected)?;
    }
}
