//! Convolutions of [`correlate`](super::correlate), in single precision or in bfloat16 with sums in single precision.

use super::correlate::{Correlate, Patches, Target};
use super::grouped::GroupedCorrelate;
use super::tiles::BLOCK;
use super::x86::bf16::Bf16;
use super::{dispatch, with_scratch};
use bytemuck::cast_slice_mut;

/// Vectors of patches and gradients whose products are added at a time: half of what the first cache holds.
const VECTORS: usize = 256;

/// Whether pixels of so many elements can be rounded: pairs must not join two of them.
pub(crate) fn suits(elements: usize) -> bool {
    elements.is_multiple_of(2)
}

/// Packed weights, `[element][BLOCK]`, of one group or several.
pub(crate) enum Weights {
    Single(Vec<f32>),
    /// Rounded, two elements in a word.
    Pairs(Bf16, Vec<u32>),
}

/// Pixels: all of them in single precision, or in pairs too where weights are.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    single: &'a [f32],
    pairs: &'a [u32],
}

impl Weights {
    pub(crate) fn new(packed: Vec<f32>, bf16: Option<Bf16>) -> Self {
        let Some(bf16) = bf16 else { return Self::Single(packed) };
        let mut words = vec![0; packed.len() / 2];
        bf16.pair_rows(&packed, &mut words);
        Self::Pairs(bf16, words)
    }

    /// Calls `work` with pixels as products with these weights take them.
    pub(crate) fn with_source<R>(&self, pixels: &[f32], work: impl FnOnce(Source) -> R) -> R {
        let Self::Pairs(bf16, _) = self else { return work(Source { single: pixels, pairs: &[] }) };
        with_scratch(pixels.len().next_multiple_of(BLOCK) / 2, |words| {
            let words = cast_slice_mut(words);
            bf16.round(pixels, words);
            work(Source { single: pixels, pairs: words })
        })
    }

    /// Runs [`Correlate`] with the weights of group `group` of `groups`.
    pub(crate) fn correlate(
        &self,
        [group, groups]: [usize; 2],
        source: Source,
        patches: Patches,
        out: &mut [f32],
        target: Target,
    ) {
        match self {
            Self::Single(weights) => {
                let weights = part(weights, [group, groups]);
                dispatch(Correlate { source: source.single, patches, weights, out, target });
            }
            Self::Pairs(bf16, weights) => {
                let patches = Patches {
                    run: patches.run / 2,
                    start: patches.start / 2,
                    run_step: patches.run_step / 2,
                    row_step: patches.row_step / 2,
                    column_step: patches.column_step / 2,
                    ..patches
                };
                bf16.correlate(source.pairs, patches, part(weights, [group, groups]), out, target);
            }
        }
    }

    /// Runs [`GroupedCorrelate`], which is in single precision only, as [`Weights::correlate`] runs the other.
    pub(crate) fn correlate_grouped(
        &self,
        group: [usize; 2],
        source: Source,
        patches: Patches,
        out: &mut [f32],
        target: Target,
    ) {
        let Self::Single(weights) = self else { unreachable!("groups of few channels are not rounded") };
        dispatch(GroupedCorrelate { source: source.single, patches, weights: part(weights, group), out, target });
    }
}

fn part<T>(elements: &[T], [index, count]: [usize; 2]) -> &[T] {
    let len = elements.len() / count;
    &elements[index * len..][..len]
}

/// [`WeightGradient`](super::correlate::WeightGradient), of gradients of `channels`.
pub(crate) fn weight_gradient(
    bf16: Bf16,
    source: &[f32],
    patches: Patches,
    (grad, channels): (&[f32], usize),
    out: &mut [f32],
) {
    let Patches { rows, columns, runs, run, .. } = patches;
    let [blocks, of_grads] = [run, channels].map(|lanes| lanes.div_ceil(BLOCK));
    let step = (2 * VECTORS / (blocks + of_grads) / columns.max(1)).max(1);
    with_scratch((step * columns).div_ceil(2) * (blocks + of_grads) * BLOCK, |words| {
        let words: &mut [u32] = cast_slice_mut(words);
        for row in (0..rows).step_by(step) {
            let rows = step.min(rows - row);
            let pairs = (rows * columns).div_ceil(2);
            let (grads, pixels) = words.split_at_mut(pairs * of_grads * BLOCK);
            let of_rows = Patches {
                runs: 1,
                run: channels,
                start: row * columns * channels,
                run_step: 0,
                row_step: columns * channels,
                column_step: channels,
                rows,
                columns,
            };
            bf16.pair_patches(grad, of_rows, grads);
            for index in 0..runs {
                let start = patches.at(row, 0) + index * patches.run_step;
                bf16.pair_patches(source, Patches { start, rows, ..patches }, pixels);
                bf16.add_products([pixels, grads], pairs, run, out, [index * run, runs * run]);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::correlate::WeightGradient;
    use crate::kernels::noise;

    /// Numbers that bfloat16 has.
    fn short(len: usize, seed: usize) -> Vec<f32> {
        noise(len, seed).into_iter().map(|x| (x * 8.0).round() / 8.0).collect()
    }

    fn assert_close(found: &[f32], expected: &[f32], case: &str) {
        for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
            assert!((found - expected).abs() <= 1e-4, "{case}, {at}: {found} {expected}");
        }
    }

    /// Of what rounding leaves as it is, the sums of both precisions are equal.
    #[test]
    fn sums_are_those_of_single_precision() {
        let Some(bf16) = Bf16::detect() else {
            return eprintln!("this processor has no AVX-512 BF16: nothing to test");
        };
        for [channels, outputs, kernel, stride, height, width] in [
            [2, 1, 1, 1, 1, 1],
            [16, 64, 1, 1, 1, 23],
            [40, 33, 1, 1, 5, 7],
            [6, 17, 3, 1, 7, 9],
            [16, 16, 3, 1, 6, 26],
            [18, 48, 3, 2, 9, 17],
            [64, 32, 3, 2, 8, 8],
        ] {
            let case = format!("{channels} to {outputs}, {kernel}x{kernel} by {stride} on {height}x{width}");
            let [rows, columns] = [height, width].map(|size: usize| size.saturating_sub(kernel) / stride + 1);
            let patches = Patches {
                runs: kernel,
                run: kernel * channels,
                start: 0,
                run_step: width * channels,
                row_step: stride * width * channels,
                column_step: stride * channels,
                rows,
                columns,
            };
            let source = short(height * width * channels, 1);
            let blocks = outputs.div_ceil(BLOCK);
            let weights = short(blocks * kernel * kernel * channels * BLOCK, 2);
            let target = Target { start: 0, row_step: columns * outputs, column_step: outputs, channels: outputs };
            let [mut found, mut expected] = [f32::NAN; 2].map(|x| vec![x; rows * columns * outputs]);
            for (bf16, out) in [(Some(bf16), &mut found), (None, &mut expected)] {
                let weights = Weights::new(weights.clone(), bf16);
                weights.with_source(&source, |source| weights.correlate([0, 1], source, patches, out, target));
            }
            assert_close(&found, &expected, &case);

            let padded = blocks * BLOCK;
            let grad = short(rows * columns * padded, 3);
            let [mut found, mut expected] = [1.0; 2].map(|x| vec![x; padded * kernel * kernel * channels]);
            dispatch(WeightGradient { source: &source, patches, grad: &grad, out: &mut expected });
            weight_gradient(bf16, &source, patches, (&grad, padded), &mut found);
            assert_close(&found, &expected, &case);
        }
    }

    #[test]
    fn channels_that_fill_no_block_have_zeros_after_them() {
        let Some(bf16) = Bf16::detect() else {
            return eprintln!("this processor has no AVX-512 BF16: nothing to test");
        };
        let patches =
            Patches { runs: 1, run: 2, start: 0, run_step: 0, row_step: 0, column_step: 2, rows: 1, columns: 3 };
        let mut sums = vec![1.0; 2 * BLOCK];
        weight_gradient(
            bf16,
            &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
            patches,
            (&[1.0, 0.0, 0.0, 1.0, 2.0, 0.0], 2),
            &mut sums,
        );
        let mut expected = vec![1.0; 2 * BLOCK];
        (expected[0], expected[1], expected[BLOCK], expected[BLOCK + 1]) = (12.0, 4.0, 15.0, 5.0);
        assert_eq!(sums, expected);
    }
}
