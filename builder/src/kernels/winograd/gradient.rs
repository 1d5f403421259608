//! The gradient with respect to weights by minimal filtering: for each position the products of transformed pixels with
//! transformed gradients, summed over tiles and images, then transformed back.

use super::{PATCH, POSITIONS, PaddedMap, TILE, transpose};
use crate::kernels::tiles::{self, BLOCK, Grid, Tiled};
use crate::kernels::{BlockKernel, dispatch, with_scratch};
use pulp::Simd;

/// Most tiles whose products are summed before the sums are written.
const TILES: usize = 16;
/// Weights of a kernel.
const TAPS: usize = 9;

/// The gradient of a convolution's weights, transformed.
pub(crate) struct WeightGradient<'a> {
    channels: usize,
    outputs: usize,
    /// `[block][position][channel][BLOCK]`.
    sums: &'a mut [f32],
}

/// Calls `add` with a gradient of zeros, then writes what it has become into `kernels`,
/// `[block][3][3][channel][BLOCK]`: `G' s G`.
pub(crate) fn weight_gradient(
    channels: usize,
    outputs: usize,
    kernels: &mut [f32],
    add: impl FnOnce(&mut WeightGradient),
) {
    with_scratch(outputs.div_ceil(BLOCK) * POSITIONS * channels * BLOCK, |sums| {
        sums.fill(0.0);
        add(&mut WeightGradient { channels, outputs, sums });
        dispatch(Gathering { channels, sums, kernels });
    });
}

/// Transforms sums back, `G' s G`.
struct Gathering<'a> {
    channels: usize,
    /// `[block][position][channel][BLOCK]`.
    sums: &'a [f32],
    /// `[block][3][3][channel][BLOCK]`.
    kernels: &'a mut [f32],
}

impl BlockKernel for Gathering<'_> {
    #[inline(always)]
    fn run<S: Simd, const V: usize>(self, simd: S) {
        let vectors = self.channels * V;
        let (sums, _) = S::as_simd_f32s(self.sums);
        let (kernels, _) = S::as_mut_simd_f32s(self.kernels);
        let blocks = sums.chunks_exact(POSITIONS * vectors).zip(kernels.chunks_exact_mut(TAPS * vectors));
        for (sums, kernels) in blocks {
            for at in 0..vectors {
                let mut rows = [[simd.splat_f32s(0.0); 3]; PATCH];
                for (row, gathered) in rows.iter_mut().enumerate() {
                    let mut positions = [simd.splat_f32s(0.0); PATCH];
                    for (column, sum) in positions.iter_mut().enumerate() {
                        *sum = sums[(PATCH * row + column) * vectors + at];
                    }
                    *gathered = gather(simd, positions);
                }
                for (column, sums) in transpose(&rows).iter().enumerate() {
                    for (row, tap) in gather(simd, *sums).iter().enumerate() {
                        kernels[(3 * row + column) * vectors + at] = *tap;
                    }
                }
            }
        }
    }
}

/// `G'` times a column of sums.
#[inline(always)]
fn gather<S: Simd>(simd: S, [a, b, c, d]: [S::f32s; PATCH]) -> [S::f32s; 3] {
    let half = simd.splat_f32s(0.5);
    let sum = simd.mul_f32s(half, simd.add_f32s(b, c));
    [simd.add_f32s(a, sum), simd.mul_f32s(half, simd.sub_f32s(b, c)), simd.add_f32s(sum, d)]
}

impl WeightGradient<'_> {
    /// Adds what an image contributes: `grad` has the results' gradient, of which there are `size` rows and columns.
    pub(crate) fn add_image(&mut self, x: PaddedMap, grad: &[f32], results: Grid, size: [usize; 2]) {
        self.add_image_on(x, grad, results, size, |kernel| dispatch(kernel));
    }

    /// As [`WeightGradient::add_image`], with the vectors that `run` chooses.
    pub(super) fn add_image_on(
        &mut self,
        x: PaddedMap,
        grad: &[f32],
        results: Grid,
        size: [usize; 2],
        run: impl FnOnce(Image),
    ) {
        let [width, padded] = [self.channels, self.outputs].map(|count| count.next_multiple_of(BLOCK));
        with_scratch(TILES * POSITIONS * (width + padded), |scratch| {
            let (pixels, grads) = scratch.split_at_mut(TILES * POSITIONS * width);
            run(Image { of: self, x, grad, results, size, pixels, grads });
        });
    }
}

pub(super) struct Image<'a, 'g> {
    of: &'a mut WeightGradient<'g>,
    x: PaddedMap<'a>,
    grad: &'a [f32],
    results: Grid,
    /// Rows and columns of results.
    size: [usize; 2],
    /// `[position][TILES][channel]`, channels filled up to whole blocks.
    pixels: &'a mut [f32],
    /// `[block][position][TILES][BLOCK]`.
    grads: &'a mut [f32],
}

impl BlockKernel for Image<'_, '_> {
    #[inline(always)]
    fn run<S: Simd, const V: usize>(mut self, simd: S) {
        let [rows, columns] = self.size.map(|size| size.div_ceil(TILE));
        for first in (0..rows * columns).step_by(TILES) {
            let count = TILES.min(rows * columns - first);
            for tile in 0..count {
                let at = [(first + tile) / columns * TILE, (first + tile) % columns * TILE];
                self.transform_tile(simd, tile, at);
            }
            self.products::<S, V>(simd, count);
        }
    }
}

impl Image<'_, '_> {
    /// Transforms the pixels and the gradients of a tile whose first result is `at`.
    #[inline(always)]
    fn transform_tile<S: Simd>(&mut self, simd: S, tile: usize, at: [usize; 2]) {
        let WeightGradient { channels, outputs, .. } = *self.of;
        let width = channels.next_multiple_of(BLOCK);
        let pixels = &mut self.pixels[tile * width..];
        self.x.transform(simd, at, channels, pixels, TILES * width);
        for first in (0..outputs).step_by(S::F32_LANES) {
            let count = S::F32_LANES.min(outputs - first);
            let mut grads = [[simd.splat_f32s(0.0); TILE]; TILE];
            for (row, grads) in grads.iter_mut().enumerate() {
                for (column, grad) in grads.iter_mut().enumerate() {
                    let [row, column] = [at[0] + row, at[1] + column];
                    if row < self.size[0] && column < self.size[1] {
                        *grad = tiles::load(simd, &self.grad[self.results.at([row, column]) + first..][..count]);
                    }
                }
            }
            let mut rows = [[simd.splat_f32s(0.0); PATCH]; TILE];
            for (row, grads) in rows.iter_mut().zip(&grads) {
                *row = expand(simd, *grads);
            }
            for (column, grads) in transpose(&rows).iter().enumerate() {
                for (row, value) in expand(simd, *grads).iter().enumerate() {
                    let position = first / BLOCK * POSITIONS + PATCH * row + column;
                    let at = (position * TILES + tile) * BLOCK + first % BLOCK;
                    S::as_mut_simd_f32s(&mut self.grads[at..][..S::F32_LANES]).0[0] = *value;
                }
            }
        }
    }

    /// Adds the products of `count` transformed tiles.
    #[inline(always)]
    fn products<S: Simd, const V: usize>(&mut self, simd: S, count: usize) {
        let channels = self.of.channels;
        let width = channels.next_multiple_of(BLOCK);
        let sums = tiles::blocks_mut::<S, V>(self.of.sums).chunks_exact_mut(channels);
        let grads = tiles::blocks::<S, V>(self.grads).chunks_exact(TILES);
        for (index, (sums, grads)) in sums.zip(grads).enumerate() {
            let pixels = &self.pixels[index % POSITIONS * TILES * width..][..count * width];
            let grads = &grads[..count];
            tiles::in_tiles(1, channels, V, &mut Channels::<S, V> { simd, pixels, width, grads, sums });
        }
    }
}

/// `A` times a column of gradients.
#[inline(always)]
fn expand<S: Simd>(simd: S, [a, b]: [S::f32s; TILE]) -> [S::f32s; PATCH] {
    [a, simd.add_f32s(a, b), simd.sub_f32s(a, b), simd.sub_f32s(simd.splat_f32s(0.0), b)]
}

/// The sums of one position and block; a tile is a few channels.
struct Channels<'w, S: Simd, const V: usize> {
    simd: S,
    /// `[tile][width]`.
    pixels: &'w [f32],
    width: usize,
    /// By tile.
    grads: &'w [[S::f32s; V]],
    /// By channel.
    sums: &'w mut [[S::f32s; V]],
}

impl<S: Simd, const V: usize> Tiled for Channels<'_, S, V> {
    #[inline(always)]
    fn tile<const P: usize>(&mut self, channels: [[usize; 2]; P]) {
        let [_, first] = channels[0];
        let out = &mut self.sums[first..][..P];
        let mut sums = [[self.simd.splat_f32s(0.0); V]; P];
        // Not as slices: those are copied in memory.
        sums.iter_mut().zip(&mut *out).for_each(|(sum, out)| *sum = *out);
        for (pixels, grad) in self.pixels.chunks_exact(self.width).zip(self.grads) {
            let pixels = &pixels[first..][..P];
            for p in 0..P {
                let pixel = self.simd.splat_f32s(pixels[p]);
                for v in 0..V {
                    sums[p][v] = self.simd.mul_add_f32s(pixel, grad[v], sums[p][v]);
                }
            }
        }
        out.iter_mut().zip(&sums).for_each(|(out, sum)| *out = *sum);
    }
}
