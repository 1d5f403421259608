//! Convolution in groups of few channels, as many inputs as outputs: each lane of a vector is a channel.
//!
//! A lane needs all inputs of its own group and no others. So each pixel is expanded into as many vectors as a group
//! has channels: vector `j` holds, in every lane, input `j` of that lane's group. Then a convolution is a sum of
//! products lane by lane. Positions and sizes in [`Patches`] count vectors of [`BLOCK`] lanes here.

use super::correlate::{Patches, Target, with_tile};
use super::tiles::{BLOCK, tile_size};
use super::{BlockKernel, vectorized};
use pulp::Simd;

/// Into how many vectors pixels are expanded: the channels of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expansion {
    One,
    Two,
    Four,
    Eight,
}

impl Expansion {
    /// For groups of so many channels, if they are few enough.
    pub(crate) fn new(channels: usize) -> Option<Self> {
        match channels {
            1 => Some(Self::One),
            2 => Some(Self::Two),
            4 => Some(Self::Four),
            8 => Some(Self::Eight),
            _ => None,
        }
    }

    /// Vectors of a pixel.
    pub(crate) fn size(self) -> usize {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Four => 4,
            Self::Eight => 8,
        }
    }

    /// Expands the first [`BLOCK`] channels of pixels that are `step` elements apart.
    pub(crate) fn expand(self, to: &mut [f32], from: &[f32], step: usize) {
        match self {
            Self::One => expand::<1>(to, from, step),
            Self::Two => expand::<2>(to, from, step),
            Self::Four => expand::<4>(to, from, step),
            Self::Eight => expand::<8>(to, from, step),
        }
    }
}

vectorized! {
    fn expand<const N: usize>(to: &'a mut [f32], from: &'a [f32], step: usize) {
        for (to, from) in to.as_chunks_mut::<BLOCK>().0.chunks_exact_mut(N).zip(from.chunks(step)) {
            let Some(from) = from.first_chunk::<BLOCK>() else { return };
            for (j, to) in to.iter_mut().enumerate() {
                *to = std::array::from_fn(|lane| from[lane / N * N + j]);
            }
        }
    }
}

/// As [`super::correlate::Correlate`], of one block.
pub(crate) struct GroupedCorrelate<'a> {
    /// Expanded pixels.
    pub(crate) source: &'a [f32],
    pub(crate) patches: Patches,
    /// `[runs * run][BLOCK]`.
    pub(crate) weights: &'a [f32],
    pub(crate) out: &'a mut [f32],
    pub(crate) target: Target,
}

/// As [`super::correlate::WeightGradient`], of one block.
pub(crate) struct GroupedWeightGradient<'a> {
    /// Expanded pixels.
    pub(crate) source: &'a [f32],
    pub(crate) patches: Patches,
    /// Gradient of the output: `[row][column][BLOCK]`.
    pub(crate) grad: &'a [f32],
    /// `[runs * run][BLOCK]`.
    pub(crate) out: &'a mut [f32],
}

/// Elements of [`BLOCK`] lanes as `V` vectors each.
#[inline(always)]
fn vectors<S: Simd, const V: usize>(elements: &[f32]) -> &[[S::f32s; V]] {
    bytemuck::cast_slice::<f32, S::f32s>(elements).as_chunks::<V>().0
}

impl BlockKernel for GroupedCorrelate<'_> {
    #[inline(always)]
    fn run<S: Simd, const V: usize>(mut self, simd: S) {
        let Patches { rows, columns, .. } = self.patches;
        for row in 0..rows {
            let mut column = 0;
            while column < columns {
                let size = tile_size(columns - column, V);
                with_tile!(size, correlate_tile::<S, V>, &mut self, simd, row, column);
                column += size;
            }
        }
    }
}

#[inline(always)]
fn correlate_tile<S: Simd, const V: usize, const P: usize>(
    work: &mut GroupedCorrelate<'_>,
    simd: S,
    row: usize,
    column: usize,
) {
    let Patches { runs, run, run_step, column_step, .. } = work.patches;
    let (source, weights) = (vectors::<S, V>(work.source), vectors::<S, V>(work.weights));
    let mut sums = [[simd.splat_f32s(0.0); V]; P];
    for index in 0..runs {
        let source = &source[work.patches.at(row, column) + index * run_step..];
        let patches: [&[[S::f32s; V]]; P] = std::array::from_fn(|p| &source[p * column_step..][..run]);
        let weights = &weights[index * run..][..run];
        for i in 0..run {
            let weight = weights[i];
            for p in 0..P {
                for v in 0..V {
                    sums[p][v] = simd.mul_add_f32s(patches[p][i][v], weight[v], sums[p][v]);
                }
            }
        }
    }
    let Target { start, row_step, column_step, .. } = work.target;
    for (p, sums) in sums.iter().enumerate() {
        let out = &mut work.out[start + row * row_step + (column + p) * column_step..][..BLOCK];
        if let [out] = bytemuck::cast_slice_mut::<f32, S::f32s>(out).as_chunks_mut::<V>().0 {
            for (out, &sum) in out.iter_mut().zip(sums) {
                *out = sum;
            }
        }
    }
}

impl BlockKernel for GroupedWeightGradient<'_> {
    #[inline(always)]
    fn run<S: Simd, const V: usize>(self, simd: S) {
        let Patches { runs, run, .. } = self.patches;
        let (source, grad) = (vectors::<S, V>(self.source), vectors::<S, V>(self.grad));
        let (out, _) = bytemuck::cast_slice_mut::<f32, S::f32s>(self.out).as_chunks_mut::<V>();
        for index in 0..runs {
            let mut first = 0;
            while first < run {
                let size = tile_size(run - first, V);
                let out = &mut out[index * run + first..][..size];
                let offset = index * self.patches.run_step + first;
                with_tile!(size, weight_tile::<S, V>, simd, source, &self.patches, offset, grad, out);
                first += size;
            }
        }
    }
}

/// Adds to `out[p]` the products of the patches' elements `offset + p` with those of `grad`.
#[inline(always)]
fn weight_tile<S: Simd, const V: usize, const P: usize>(
    simd: S,
    source: &[[S::f32s; V]],
    patches: &Patches,
    offset: usize,
    grad: &[[S::f32s; V]],
    out: &mut [[S::f32s; V]],
) {
    let mut sums = [[simd.splat_f32s(0.0); V]; P];
    for row in 0..patches.rows {
        let source = &source[patches.at(row, 0) + offset..];
        let grad = &grad[row * patches.columns..][..patches.columns];
        for (column, grad) in grad.iter().enumerate() {
            let pixels = &source[column * patches.column_step..][..P];
            for p in 0..P {
                for v in 0..V {
                    sums[p][v] = simd.mul_add_f32s(pixels[p][v], grad[v], sums[p][v]);
                }
            }
        }
    }
    for (out, sums) in out.iter_mut().zip(sums) {
        for v in 0..V {
            out[v] = simd.add_f32s(out[v], sums[v]);
        }
    }
}
