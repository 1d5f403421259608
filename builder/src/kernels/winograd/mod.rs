//! 3x3 convolutions with stride 1 by minimal filtering, F(2x2, 3x3) of Winograd as Lavin and Gray describe it (2016,
//! arXiv 1509.09308): the sixteen pixels that a tile of 2x2 results reads are transformed, multiplied by transformed
//! weights and transformed back, which takes 16 products for each pair of channels instead of 36.
//!
//! Transforms of pixels only add and subtract: a result differs from that of 36 products by rounding, in the size of
//! the largest of the sixteen pixels. Beside a pixel that is infinite, results are no numbers.

#[cfg(test)]
mod tests;

use super::tiles::{self, BLOCK, Block, Grid, Pixels, Rows, Tiled};
use super::{BlockKernel, dispatch, with_scratch};
use pulp::Simd;
use rayon::prelude::*;
use skipstone_onnx::Conv;
use std::array::from_fn;

/// Rows and columns of a tile of results.
pub(crate) const TILE: usize = 2;
/// Rows and columns of pixels that a tile reads.
const PATCH: usize = 4;
/// Elements of a transformed tile.
const POSITIONS: usize = PATCH * PATCH;
/// Most tiles that are computed together.
const TILES: usize = 12;
/// Channels for which the products outweigh the transforms.
const CHANNELS: usize = 8;

/// Whether a convolution can be computed so, and is worth it.
pub(crate) fn suits(conv: &Conv, channels: usize, outputs: usize) -> bool {
    let shape = conv.kernel == [3; 2] && conv.stride == [1; 2] && conv.groups == 1;
    shape && channels.min(outputs) >= CHANNELS
}

/// A map that is read, with zeros around it.
#[derive(Clone, Copy)]
pub(crate) struct PaddedMap<'a> {
    pub(crate) elements: &'a [f32],
    pub(crate) grid: Grid,
    /// Rows and columns of the map.
    pub(crate) size: [usize; 2],
    /// Row and column of the map that the patch of the first result begins with; negative among the zeros.
    pub(crate) origin: [isize; 2],
}

/// Transformed weights.
pub(crate) struct Winograd {
    /// Channels of the operand.
    channels: usize,
    outputs: usize,
    /// `[block][position][channel][BLOCK]`.
    weights: Vec<f32>,
    /// `[block][BLOCK]`.
    bias: Vec<f32>,
}

impl Winograd {
    /// Transforms kernels, given row by row by their output and channel: `G g G'`. There is a bias for each output.
    pub(crate) fn new(channels: usize, mut bias: Vec<f32>, kernel: impl Fn(usize, usize) -> [f64; 9] + Sync) -> Self {
        let outputs = bias.len();
        bias.resize(outputs.next_multiple_of(BLOCK), 0.0);
        let mut weights = vec![0.0; bias.len() * POSITIONS * channels];
        weights.par_chunks_mut(POSITIONS * channels * BLOCK).enumerate().for_each(|(block, weights)| {
            for lane in 0..BLOCK.min(outputs - block * BLOCK) {
                for channel in 0..channels {
                    let kernel = kernel(block * BLOCK + lane, channel);
                    let columns: [_; 3] = from_fn(|column| spread(from_fn(|row| kernel[3 * row + column])));
                    for (position, value) in transpose(&columns).map(spread).as_flattened().iter().enumerate() {
                        weights[(position * channels + channel) * BLOCK + lane] = *value as f32;
                    }
                }
            }
        });
        Self { channels, outputs, weights, bias }
    }

    /// Products of vectors for each pixel, and transforms, which take about half as long.
    pub(crate) fn cost(&self) -> usize {
        3 * self.weights.len() / (BLOCK * TILE * TILE * 2)
    }

    /// Computes rows of the result, whose first patch begins at the operand's origin.
    pub(crate) fn run(&self, x: PaddedMap, rows: Rows) {
        self.run_on(x, rows, |kernel| dispatch(kernel));
    }

    /// As [`Winograd::run`], with the vectors that `run` chooses.
    fn run_on(&self, x: PaddedMap, rows: Rows, run: impl FnOnce(Filtering)) {
        let width = self.channels.next_multiple_of(BLOCK);
        with_scratch(TILES * POSITIONS * (width + BLOCK), |scratch| {
            let (transformed, products) = scratch.split_at_mut(TILES * POSITIONS * width);
            run(Filtering { weights: self, x, rows, transformed, products });
        });
    }
}

/// `G` times a column of a kernel.
fn spread([a, b, c]: [f64; 3]) -> [f64; PATCH] {
    [a, 0.5 * (a + b + c), 0.5 * (a - b + c), c]
}

struct Filtering<'a> {
    weights: &'a Winograd,
    x: PaddedMap<'a>,
    rows: Rows<'a>,
    /// `[position][tile][channel]`, channels filled up to whole blocks.
    transformed: &'a mut [f32],
    /// `[position][tile][BLOCK]`.
    products: &'a mut [f32],
}

impl BlockKernel for Filtering<'_> {
    #[inline(always)]
    fn run<S: Simd, const V: usize>(self, simd: S) {
        let (rows, columns) = (self.rows.rows.div_ceil(TILE), self.rows.columns.div_ceil(TILE));
        tiles::in_tiles(rows, columns, V, &mut Strip::<S, V> { simd, of: self });
    }
}

/// Tiles that are computed together.
struct Strip<'a, S: Simd, const V: usize> {
    simd: S,
    of: Filtering<'a>,
}

impl<S: Simd, const V: usize> Tiled for Strip<'_, S, V> {
    #[inline(always)]
    fn tile<const P: usize>(&mut self, tiles: Pixels<P>) {
        let tiles = tiles.coordinates();
        let simd = self.simd;
        let Filtering { weights: Winograd { channels, outputs, weights, bias }, .. } = self.of;
        let width = channels.next_multiple_of(BLOCK);
        for (p, [row, column]) in tiles.iter().enumerate() {
            let (at, out) = ([TILE * row, TILE * column], &mut self.of.transformed[p * width..]);
            self.of.x.transform(simd, at, *channels, out, P * width);
        }
        let starts = from_fn(|p| p * width);
        let of_block = POSITIONS * channels;
        let blocks = tiles::blocks::<S, V>(weights).chunks_exact(of_block).zip(tiles::blocks::<S, V>(bias));
        for (index, (weights, &bias)) in blocks.enumerate() {
            let first = index * BLOCK;
            let block = Block { first, count: BLOCK.min(outputs - first), source: 0 };
            let transformed = self.of.transformed.chunks_exact(P * width);
            let products = self.of.products.chunks_exact_mut(P * BLOCK);
            for ((weights, transformed), products) in weights.chunks_exact(*channels).zip(transformed).zip(products) {
                let mut sums = [[[simd.splat_f32s(0.0); V]; 1]; P];
                tiles::accumulate(simd, &mut sums, transformed, starts, [weights]);
                for (products, [sums]) in products.chunks_exact_mut(BLOCK).zip(&sums) {
                    S::as_mut_simd_f32s(products).0.copy_from_slice(sums);
                }
            }
            for (p, &tile) in tiles.iter().enumerate() {
                self.write::<P>(p, tile, block, bias);
            }
        }
    }
}

impl<S: Simd, const V: usize> Strip<'_, S, V> {
    /// Transforms the products of tile `p` of `P` back, `A' m A`, and writes the results that the map has.
    #[inline(always)]
    fn write<const P: usize>(&mut self, p: usize, tile: [usize; 2], block: Block, bias: [S::f32s; V]) {
        let simd = self.simd;
        let mut results = [[[simd.splat_f32s(0.0); V]; TILE]; TILE];
        for v in 0..V {
            let mut rows = [[simd.splat_f32s(0.0); PATCH]; TILE];
            let [above, below] = &mut rows;
            for (column, results) in above.iter_mut().zip(below).enumerate() {
                let mut products = [simd.splat_f32s(0.0); PATCH];
                for (row, product) in products.iter_mut().enumerate() {
                    let at = ((PATCH * row + column) * P + p) * BLOCK;
                    *product = S::as_simd_f32s(&self.of.products[at..][..BLOCK]).0[v];
                }
                [*results.0, *results.1] = back(simd, products);
            }
            for (row, results) in rows.iter().zip(&mut results) {
                let [first, second] = back(simd, *row);
                results[0][v] = simd.add_f32s(first, bias[v]);
                results[1][v] = simd.add_f32s(second, bias[v]);
            }
        }
        for (row, results) in results.iter().enumerate() {
            for (column, result) in results.iter().enumerate() {
                let pixel = [TILE * tile[0] + row, TILE * tile[1] + column];
                if pixel[0] < self.of.rows.rows && pixel[1] < self.of.rows.columns {
                    let place = self.of.rows.places(Pixels::<1>::single(pixel));
                    self.of.rows.write(simd, &place, 0, block, result);
                }
            }
        }
    }
}

impl PaddedMap<'_> {
    /// Transforms the patch of the tile whose first result is `at`, `B' d B`, to elements that lie `step` apart.
    #[inline(always)]
    fn transform<S: Simd>(&self, simd: S, at: [usize; 2], channels: usize, out: &mut [f32], step: usize) {
        let [row, column] = [self.origin[0] + at[0] as isize, self.origin[1] + at[1] as isize];
        let inside = |first: isize, size| first >= 0 && first as usize + PATCH <= size;
        let at = [row, column];
        if inside(row, self.size[0]) && inside(column, self.size[1]) {
            self.transform_patch::<S, true>(simd, at, channels, out, step);
        } else {
            self.transform_patch::<S, false>(simd, at, channels, out, step);
        }
    }

    /// Transforms the patch that begins with a row and column of the map, all of it `INSIDE` or some of it outside.
    #[inline(always)]
    fn transform_patch<S: Simd, const INSIDE: bool>(
        &self,
        simd: S,
        at: [isize; 2],
        channels: usize,
        out: &mut [f32],
        step: usize,
    ) {
        // What is negative is larger than any size.
        let [top, left] = at.map(|first| first as usize);
        for first in (0..channels).step_by(S::F32_LANES) {
            let count = S::F32_LANES.min(channels - first);
            let mut patch = [[simd.splat_f32s(0.0); PATCH]; PATCH];
            for (row, patch) in patch.iter_mut().enumerate() {
                for (column, pixel) in patch.iter_mut().enumerate() {
                    let at = [top.wrapping_add(row), left.wrapping_add(column)];
                    if INSIDE || (at[0] < self.size[0] && at[1] < self.size[1]) {
                        *pixel = tiles::load(simd, &self.elements[self.grid.at(at) + first..][..count]);
                    }
                }
                *patch = forward(simd, *patch);
            }
            for (column, patch) in transpose(&patch).iter().enumerate() {
                for (row, value) in forward(simd, *patch).iter().enumerate() {
                    let out = &mut out[(PATCH * row + column) * step + first..][..S::F32_LANES];
                    S::as_mut_simd_f32s(out).0[0] = *value;
                }
            }
        }
    }
}

/// `B'` times a column of pixels.
#[inline(always)]
fn forward<S: Simd>(simd: S, [a, b, c, d]: [S::f32s; PATCH]) -> [S::f32s; PATCH] {
    [simd.sub_f32s(a, c), simd.add_f32s(b, c), simd.sub_f32s(c, b), simd.sub_f32s(b, d)]
}

/// `A'` times a column of products.
#[inline(always)]
fn back<S: Simd>(simd: S, [a, b, c, d]: [S::f32s; PATCH]) -> [S::f32s; TILE] {
    [simd.add_f32s(a, simd.add_f32s(b, c)), simd.sub_f32s(simd.sub_f32s(b, c), d)]
}

#[inline(always)]
fn transpose<T: Copy, const R: usize, const C: usize>(matrix: &[[T; C]; R]) -> [[T; R]; C] {
    let mut transposed = [[matrix[0][0]; R]; C];
    for row in 0..R {
        for column in 0..C {
            transposed[column][row] = matrix[row][column];
        }
    }
    transposed
}
