use super::*;
use crate::kernels::noise;
use crate::kernels::tiles::BLOCK;
use crate::kernels::x86::bf16::Bf16;
use proptest::prelude::*;
use std::array::from_fn;

/// Sizes of a convolution, and its operands: maps, kernels and the results' gradient.
#[derive(Debug)]
struct Case {
    batch: usize,
    /// Rows and columns of the results.
    size: [usize; 2],
    /// Rows and columns of the maps.
    map: [usize; 2],
    pads: [usize; 2],
    channels: usize,
    outputs: usize,
    source: Vec<f32>,
    kernels: Vec<f32>,
    grad: Vec<f32>,
    /// For products in bfloat16.
    bf16: Option<Bf16>,
}

impl Case {
    /// With zeros of `pads` before the maps and of `after` behind them.
    fn new(
        batch: usize,
        size: [usize; 2],
        [pads, after]: [[usize; 2]; 2],
        [channels, outputs]: [usize; 2],
    ) -> Option<Self> {
        let map: [usize; 2] = from_fn(|axis| (size[axis] + 2).saturating_sub(pads[axis] + after[axis]));
        map.iter().all(|&size| size > 0).then(|| Self {
            batch,
            size,
            map,
            pads,
            channels,
            outputs,
            source: noise(batch * map[0] * map[1] * channels, 1),
            kernels: noise(outputs * channels * 9, 2),
            grad: noise(batch * size[0] * size[1] * outputs, 3),
            bf16: None,
        })
    }

    fn x(&self) -> Maps<'_> {
        Maps { elements: &self.source, size: self.map, channels: self.channels }
    }

    fn grad(&self) -> Maps<'_> {
        Maps { elements: &self.grad, size: self.size, channels: self.outputs }
    }

    fn results(&self, bias: &[f32]) -> Vec<f32> {
        let mut found = vec![f32::NAN; self.grad.len()];
        let weights = Weights::new(&self.kernels, self.channels, self.outputs, self.bf16);
        correlate(&weights, bias, self.x(), self.pads, &mut found, self.size);
        found
    }

    fn data_gradient(&self) -> Vec<f32> {
        let mut found = vec![f32::NAN; self.source.len()];
        let weights = Weights::turned(&self.kernels, self.channels, self.outputs, self.bf16);
        correlate(&weights, &[], self.grad(), self.pads.map(|pad| 2 - pad), &mut found, self.map);
        found
    }

    /// In the order of the kernels.
    fn weight_gradient(&self) -> Vec<f32> {
        let packed = weight_gradient(self.x(), self.pads, self.grad(), self.batch.div_ceil(32), self.bf16);
        (0..self.kernels.len())
            .map(|at| {
                let (tap, channel, output) = (at % 9, at / 9 % self.channels, at / 9 / self.channels);
                packed[((output / BLOCK * 9 + tap) * self.channels + channel) * BLOCK + output % BLOCK]
            })
            .collect()
    }

    /// Calls `each` with the places of every product in the results, the maps and the kernels.
    fn products(&self, mut each: impl FnMut(usize, usize, usize)) {
        let [rows, columns] = self.size;
        for pixel in 0..self.batch * rows * columns {
            let (image, row, column) = (pixel / columns / rows, pixel / columns % rows, pixel % columns);
            for tap in 0..9 {
                let at = [row + tap / 3, column + tap % 3];
                if (0..2).any(|axis| !(self.pads[axis]..self.pads[axis] + self.map[axis]).contains(&at[axis])) {
                    continue;
                }
                let x = (image * self.map[0] + at[0] - self.pads[0]) * self.map[1] + at[1] - self.pads[1];
                for output in 0..self.outputs {
                    for channel in 0..self.channels {
                        let kernel = (output * self.channels + channel) * 9 + tap;
                        each(pixel * self.outputs + output, x * self.channels + channel, kernel);
                    }
                }
            }
        }
    }

    /// Results, gradient of the maps and of the kernels in double precision.
    fn exact(&self) -> [Vec<f64>; 3] {
        let [mut y, mut dx, mut dw] = [&self.grad, &self.source, &self.kernels].map(|like| vec![0.0; like.len()]);
        self.products(|i, j, k| {
            let [grad, x, w] = [self.grad[i], self.source[j], self.kernels[k]].map(f64::from);
            y[i] += x * w;
            dx[j] += grad * w;
            dw[k] += grad * x;
        });
        [y, dx, dw]
    }
}

/// The largest error, and the root of the mean square of errors, over the root of the mean square of what is expected.
fn errors(found: &[f32], expected: &[f64]) -> [f64; 2] {
    assert_eq!(found.len(), expected.len());
    let square =
        |values: &mut dyn Iterator<Item = f64>| (values.map(|x| x * x).sum::<f64>() / found.len() as f64).sqrt();
    let scale = square(&mut expected.iter().copied()).max(1e-3);
    let differences = || found.iter().zip(expected).map(|(&found, expected)| f64::from(found) - expected);
    // NaN is as bad as can be.
    let largest = differences().map(|x| if x.is_nan() { f64::MAX } else { x.abs() }).fold(0.0, f64::max);
    [largest / scale, square(&mut differences()) / scale]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn results_and_gradients_are_those_of_all_products(
        batch in 1..5usize,
        size in [1..12usize, 1..22],
        pads in [[0..3usize, 0..3], [0..3, 0..3]],
        channels in [1..38usize, 1..38],
    ) {
        let Some(mut case) = Case::new(batch, size, pads, channels) else { return Ok(()) };
        let [mut y, dx, dw] = case.exact();
        let bias = noise(case.outputs, 4);
        y.chunks_mut(bias.len()).for_each(|y| y.iter_mut().zip(&bias).for_each(|(y, &bias)| *y += f64::from(bias)));
        let found = [case.results(&bias), case.data_gradient(), case.weight_gradient()];
        // Products in bfloat16 differ by the rounding of 8 bits, which transforms enlarge about five times.
        case.bf16 = Bf16::detect();
        let rounded = [case.results(&bias), case.data_gradient(), case.weight_gradient()];
        let terms = [9 * case.channels, 9 * case.outputs, case.batch * case.size[0] * case.size[1]];
        for (what, expected) in [y, dx, dw].iter().enumerate() {
            // Products of noise are a third on average; their sums may cancel.
            let spread = (terms[what] as f64).sqrt() / 3.0;
            let differences = |found: &[f32]| -> Vec<f64> {
                found.iter().zip(expected).map(|(&found, expected)| (f64::from(found) - expected) / spread).collect()
            };
            // What is not a number is no smaller than anything.
            prop_assert!(differences(&found[what]).iter().all(|x| x.abs() < 2e-5), "{what}: {:?}", found[what]);
            let squares = differences(&rounded[what]).iter().map(|x| x * x).sum::<f64>();
            let typical = (squares / expected.len() as f64).sqrt();
            prop_assert!(typical < 0.04, "{what}: {typical}");
        }
    }
}

/// The errors of wide layers, whose sums are shared by all threads: a few times those of adding all products in single
/// precision, and hundreds of times below what a step of training changes.
#[test]
fn rounding_of_wide_layers_is_harmless() {
    let case = Case::new(3, [7, 9], [[1; 2]; 2], [130, 160]).unwrap();
    let found = [case.results(&[]), case.data_gradient(), case.weight_gradient()];
    let mut single = [&case.grad, &case.source, &case.kernels].map(|like| vec![0.0f32; like.len()]);
    case.products(|i, j, k| {
        let [grad, x, w] = [case.grad[i], case.source[j], case.kernels[k]];
        single[0][i] += x * w;
        single[1][j] += grad * w;
        single[2][k] += grad * x;
    });
    for (what, ((found, single), expected)) in found.iter().zip(&single).zip(case.exact()).enumerate() {
        let ([largest, typical], [_, plain]) = (errors(found, &expected), errors(single, &expected));
        assert!(largest < 2e-5 && typical < 2e-6 && typical < 4.0 * plain, "{what}: {largest} {typical} {plain}");
    }
}

/// The sums of two processes, each with half of the batch, are those of one, bit for bit.
#[test]
fn gradients_of_halves_add_up_to_that_of_the_batch() {
    for channels in [[17, 16], [48, 32], [130, 80]] {
        let case = Case::new(32, [3, 5], [[1; 2]; 2], channels).unwrap();
        let whole = weight_gradient(case.x(), case.pads, case.grad(), 1, case.bf16);
        let half = |first| {
            let part =
                |maps: Maps<'_>, len: usize| -> Vec<f32> { maps.elements[first * len / 2..][..len / 2].to_vec() };
            let (x, grad) = (part(case.x(), case.source.len()), part(case.grad(), case.grad.len()));
            let (x, grad) = (Maps { elements: &x, ..case.x() }, Maps { elements: &grad, ..case.grad() });
            weight_gradient(x, case.pads, grad, 1, case.bf16)
        };
        let sum: Vec<f32> = half(0).iter().zip(half(1)).map(|(a, b)| a + b).collect();
        assert!(sum == whole, "{channels:?}");
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    for (channels, bf16) in
        [[17, 16], [96, 80]].into_iter().flat_map(|channels| [(channels, None), (channels, Bf16::detect())])
    {
        let case = Case { bf16, ..Case::new(5, [6, 9], [[1; 2]; 2], channels).unwrap() };
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| [case.results(&[]), case.data_gradient(), case.weight_gradient()])
        };
        assert_eq!(run(1), run(3));
    }
}
