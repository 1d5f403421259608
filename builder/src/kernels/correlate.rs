//! The two inner loops of convolution, vectorized over output channels by crate pulp.
//!
//! In NHWC a patch is a few *runs*: for each kernel row, `kernel width * channels` elements that lie side by side. So a
//! convolution, its gradient with respect to the input (a correlation of the output's gradient with the turned kernel)
//! and the one with respect to the weights are loops over runs, without a matrix of patches in memory.

use super::BlockKernel;
use super::tiles::{BLOCK, tile_size};
use pulp::Simd;

/// Where the patches of an image lie, in elements.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patches {
    /// Runs per patch: the kernel's height.
    pub(crate) runs: usize,
    /// Elements of a run.
    pub(crate) run: usize,
    /// First element of the first patch.
    pub(crate) start: usize,
    /// From one run of a patch to the next.
    pub(crate) run_step: usize,
    /// From a patch to the one below.
    pub(crate) row_step: usize,
    /// From a patch to the one at its right.
    pub(crate) column_step: usize,
    /// Rows of patches.
    pub(crate) rows: usize,
    /// Patches per row.
    pub(crate) columns: usize,
}

impl Patches {
    pub(super) fn at(&self, row: usize, column: usize) -> usize {
        self.start + row * self.row_step + column * self.column_step
    }
}

/// Where results lie: the channels of one pixel are adjacent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    /// First channel of the first pixel.
    pub(crate) start: usize,
    /// From a pixel to the one below.
    pub(crate) row_step: usize,
    /// From a pixel to the one at its right.
    pub(crate) column_step: usize,
    /// Channels that are written.
    pub(crate) channels: usize,
}

/// Writes, for every patch, its products with all columns of `weights`.
pub(crate) struct Correlate<'a> {
    pub(crate) source: &'a [f32],
    pub(crate) patches: Patches,
    /// `[block][runs * run][BLOCK]`.
    pub(crate) weights: &'a [f32],
    pub(crate) out: &'a mut [f32],
    pub(crate) target: Target,
}

/// Adds, for every element of a patch and every channel, the product of both summed over all patches.
pub(crate) struct WeightGradient<'a> {
    pub(crate) source: &'a [f32],
    pub(crate) patches: Patches,
    /// Gradient of the output: `[row][column][channels padded to BLOCK]`.
    pub(crate) grad: &'a [f32],
    /// `[block][runs * run][BLOCK]`.
    pub(crate) out: &'a mut [f32],
}

/// Calls the method for a tile of a size that is known when the program is compiled.
macro_rules! with_tile {
    ($size:expr, $call:ident::<$($kind:tt),*>, $($argument:expr),*) => {
        match $size {
            12 => $call::<$($kind),*, 12>($($argument),*),
            8 => $call::<$($kind),*, 8>($($argument),*),
            6 => $call::<$($kind),*, 6>($($argument),*),
            4 => $call::<$($kind),*, 4>($($argument),*),
            2 => $call::<$($kind),*, 2>($($argument),*),
            _ => $call::<$($kind),*, 1>($($argument),*),
        }
    };
}

pub(super) use with_tile;

impl BlockKernel for Correlate<'_> {
    #[inline(always)]
    fn run<S: Simd, const V: usize>(self, simd: S) {
        if V == 1 { self.blocks::<S, V, 2>(simd) } else { self.blocks::<S, V, 1>(simd) }
    }
}

impl Correlate<'_> {
    /// With `V` vectors per block, `B` blocks at a time: what is read from a patch serves all of them.
    #[inline(always)]
    fn blocks<S: Simd, const V: usize, const B: usize>(mut self, simd: S) {
        let blocks = self.target.channels.div_ceil(BLOCK);
        for block in (0..blocks - blocks % B).step_by(B) {
            self.map::<S, V, B>(simd, block);
        }
        for block in blocks - blocks % B..blocks {
            self.map::<S, V, 1>(simd, block);
        }
    }

    #[inline(always)]
    fn map<S: Simd, const V: usize, const B: usize>(&mut self, simd: S, block: usize) {
        let Patches { rows, columns, .. } = self.patches;
        for row in 0..rows {
            let mut column = 0;
            while column < columns {
                let size = tile_size(columns - column, V);
                with_tile!(size, correlate_tile::<S, V, B>, self, simd, block, row, column);
                column += size;
            }
        }
    }
}

#[inline(always)]
fn correlate_tile<S: Simd, const V: usize, const B: usize, const P: usize>(
    work: &mut Correlate<'_>,
    simd: S,
    block: usize,
    row: usize,
    column: usize,
) {
    let Patches { runs, run, run_step, column_step, .. } = work.patches;
    let patch = runs * run;
    let weights: [&[[S::f32s; V]]; B] = std::array::from_fn(|b| {
        let weights = &work.weights[(block + b) * patch * BLOCK..][..patch * BLOCK];
        bytemuck::cast_slice::<f32, S::f32s>(weights).as_chunks::<V>().0
    });
    let mut sums = [[[simd.splat_f32s(0.0); V]; B]; P];
    for index in 0..runs {
        let source = &work.source[work.patches.at(row, column) + index * run_step..];
        let patches: [&[f32]; P] = std::array::from_fn(|p| &source[p * column_step..][..run]);
        let weights: [&[[S::f32s; V]]; B] = weights.map(|weights| &weights[index * run..][..run]);
        for i in 0..run {
            let weights = weights.map(|weights| weights[i]);
            for p in 0..P {
                let pixel = simd.splat_f32s(patches[p][i]);
                for b in 0..B {
                    for v in 0..V {
                        sums[p][b][v] = simd.mul_add_f32s(pixel, weights[b][v], sums[p][b][v]);
                    }
                }
            }
        }
    }
    let Target { start, row_step, column_step, channels } = work.target;
    for (p, sums) in sums.iter().enumerate() {
        let first = start + row * row_step + (column + p) * column_step;
        for (b, sums) in sums.iter().enumerate() {
            let offset = (block + b) * BLOCK;
            let out = &mut work.out[first + offset..][..BLOCK.min(channels - offset)];
            if out.len() < BLOCK {
                for (out, &sum) in out.chunks_mut(S::F32_LANES).zip(sums) {
                    simd.partial_store_f32s(out, sum);
                }
            } else if let [out] = bytemuck::cast_slice_mut::<f32, S::f32s>(out).as_chunks_mut::<V>().0 {
                for (out, &sum) in out.iter_mut().zip(sums) {
                    *out = sum;
                }
            }
        }
    }
}

impl BlockKernel for WeightGradient<'_> {
    #[inline(always)]
    fn run<S: Simd, const V: usize>(self, simd: S) {
        let Patches { runs, run, .. } = self.patches;
        let (grad, _) = bytemuck::cast_slice::<f32, S::f32s>(self.grad).as_chunks::<V>();
        let (out, _) = bytemuck::cast_slice_mut::<f32, S::f32s>(self.out).as_chunks_mut::<V>();
        let blocks = out.len() / (runs * run);
        for (block, out) in out.chunks_exact_mut(runs * run).enumerate() {
            for index in 0..runs {
                let mut first = 0;
                while first < run {
                    let size = tile_size(run - first, V);
                    let out = &mut out[index * run + first..][..size];
                    let grad = &grad[block..];
                    let offset = index * self.patches.run_step + first;
                    with_tile!(size, weight_tile::<S, V>, simd, self.source, &self.patches, offset, grad, blocks, out);
                    first += size;
                }
            }
        }
    }
}

/// Adds to `out[p]` the products of the patches' elements `offset + p` with every `blocks`-th element of `grad`.
#[inline(always)]
fn weight_tile<S: Simd, const V: usize, const P: usize>(
    simd: S,
    source: &[f32],
    patches: &Patches,
    offset: usize,
    grad: &[[S::f32s; V]],
    blocks: usize,
    out: &mut [[S::f32s; V]],
) {
    let mut sums = [[simd.splat_f32s(0.0); V]; P];
    for row in 0..patches.rows {
        let source = &source[patches.at(row, 0) + offset..];
        let grad = &grad[row * patches.columns * blocks..];
        for column in 0..patches.columns {
            let pixels = &source[column * patches.column_step..][..P];
            let grad = grad[column * blocks];
            for p in 0..P {
                let pixel = simd.splat_f32s(pixels[p]);
                for v in 0..V {
                    sums[p][v] = simd.mul_add_f32s(pixel, grad[v], sums[p][v]);
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
