//! The gradient with respect to weights: for each position the products of transformed pixels with transformed
//! gradients, summed over all tiles, then transformed back.

use super::transform::{Taps, TransformTiles, both};
use super::weights::TAPS;
use super::{Maps, PATCH, POSITIONS, Tiling, position_step, rounded};
use crate::kernels::images::sum_pairs;
use crate::kernels::tiles::{self, BLOCK};
use crate::kernels::x86::bf16::Bf16;
use crate::kernels::{BlockKernel, dispatch, with_scratch};
use pulp::Simd;
use rayon::prelude::*;

/// Chunks of images whose sums are transformed back and added are so many times larger where the sums take more bytes;
/// powers of two, so that the sums of halves of the batch are those of its processes.
const COARSER: [(usize, usize); 2] = [(1 << 20, 8), (1 << 17, 4)];

/// The gradient of a convolution's weights, `[block of outputs][3][3][channel][BLOCK]`: `x` are its operands, with
/// `pads` zeros above and at the left, `grad` the gradient of its results. The sums of chunks of a multiple of `images`
/// are added by [`sum_pairs`]. With `bf16` products are rounded.
pub(crate) fn weight_gradient(x: Maps, pads: [usize; 2], grad: Maps, images: usize, bf16: Option<Bf16>) -> Vec<f32> {
    let blocks = grad.channels.div_ceil(BLOCK);
    let step = (blocks * x.channels) | 1;
    let len = POSITIONS * step * BLOCK;
    let coarser = COARSER.iter().find(|(bytes, _)| len * size_of::<f32>() > *bytes);
    let images = images * coarser.map_or(1, |&(_, times)| times);
    // Sums that no core's cache holds are those of all threads.
    let is_shared = coarser == Some(&COARSER[0]);
    let sum = |(pixels, grads): (&[f32], &[f32])| {
        let (x, grad) = (Maps { elements: pixels, ..x }, Maps { elements: grads, ..grad });
        let mut kernels = vec![0.0; blocks * TAPS * x.channels * BLOCK];
        with_scratch(len, |sums| {
            add([x, grad], pads, step, sums, is_shared, bf16);
            let gather = |(block, kernels): (usize, &mut [f32])| {
                let sums = &sums[block * x.channels * BLOCK..];
                dispatch(Gather { channels: x.channels, sums, step, kernels });
            };
            let of_block = TAPS * x.channels * BLOCK;
            match is_shared {
                true => kernels.par_chunks_mut(of_block).enumerate().for_each(gather),
                false => kernels.chunks_mut(of_block).enumerate().for_each(gather),
            }
        });
        kernels
    };
    let [of_x, of_grad] = [images * x.image(), images * grad.image()];
    let parts = match is_shared {
        true => x.elements.chunks(of_x).zip(grad.elements.chunks(of_grad)).map(sum).collect(),
        false => x.elements.par_chunks(of_x).zip(grad.elements.par_chunks(of_grad)).map(sum).collect(),
    };
    let add = |a: &mut Vec<f32>, b: Vec<f32>| a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
    sum_pairs(parts, add).unwrap_or_default()
}

/// Writes the sums over all tiles, `[position][step][BLOCK]`, where blocks of outputs follow each other.
fn add([x, grad]: [Maps; 2], pads: [usize; 2], step: usize, sums: &mut [f32], is_shared: bool, bf16: Option<Bf16>) {
    let tiling = Tiling::new(grad.size);
    let total = x.elements.len() / x.image() * tiling.count;
    let room = total.min(128);
    let blocks = [x.channels, grad.channels].map(|count| count.div_ceil(BLOCK));
    let single = POSITIONS * position_step(room) * BLOCK;
    let len = if bf16.is_some() { rounded::paired_words(room) } else { single };
    with_scratch((blocks[0] + blocks[1]) * len, |transformed| {
        for first in (0..total).step_by(room) {
            let tiles = &tiling.list(first, room.min(total - first))[..];
            let transform = |(index, out): (usize, &mut [f32])| {
                let (pads, maps, block) =
                    if index < blocks[0] { (Some(pads), x, index) } else { (None, grad, index - blocks[0]) };
                match bf16 {
                    Some(bf16) => with_scratch(single, |single| {
                        dispatch(TransformTiles { pads, maps, block, tiles, room, out: single });
                        rounded::pair_tiles(bf16, single, room, tiles.len(), bytemuck::cast_slice_mut(out));
                    }),
                    None => dispatch(TransformTiles { pads, maps, block, tiles, room, out }),
                }
            };
            match is_shared {
                true => transformed.par_chunks_exact_mut(len).enumerate().for_each(transform),
                false => transformed.chunks_exact_mut(len).enumerate().for_each(transform),
            }
            let (pixels, grads) = transformed.split_at(blocks[0] * len);
            let (channels, count, is_first) = (x.channels, tiles.len(), first == 0);
            let multiply = |(position, sums): (usize, &mut [f32])| {
                let blocks = blocks[1];
                match bf16 {
                    Some(bf16) => {
                        let [pixels, grads] = [pixels, grads].map(bytemuck::cast_slice);
                        let sum =
                            rounded::Sum { bf16, is_first, position, pixels, grads, room, count, channels, blocks };
                        sum.run(sums);
                    }
                    None => dispatch(Sum { is_first, position, pixels, grads, room, count, channels, blocks, sums }),
                }
            };
            match is_shared {
                true => sums.par_chunks_exact_mut(step * BLOCK).enumerate().for_each(multiply),
                false => sums.chunks_exact_mut(step * BLOCK).enumerate().for_each(multiply),
            }
        }
    });
}

/// Sums the products of one position, tile by tile.
struct Sum<'a> {
    /// Whether sums start at zero, not from what they are.
    is_first: bool,
    position: usize,
    /// `[block of channels][position][tile][BLOCK]`.
    pixels: &'a [f32],
    /// `[block of outputs][position][tile][BLOCK]`.
    grads: &'a [f32],
    room: usize,
    /// Tiles.
    count: usize,
    channels: usize,
    /// Blocks of outputs.
    blocks: usize,
    /// `[block of outputs][channel][BLOCK]`.
    sums: &'a mut [f32],
}

impl BlockKernel for Sum<'_> {
    #[inline(always)]
    fn run<S: Simd, const V: usize>(mut self, simd: S) {
        if V == 1 { self.all::<S, V, 2>(simd) } else { self.all::<S, V, 1>(simd) }
    }
}

impl Sum<'_> {
    /// With `B` blocks of outputs at a time.
    #[inline(always)]
    fn all<S: Simd, const V: usize, const B: usize>(&mut self, simd: S) {
        for block in (0..self.blocks - self.blocks % B).step_by(B) {
            self.blocks::<S, V, B>(simd, block);
        }
        for block in self.blocks - self.blocks % B..self.blocks {
            self.blocks::<S, V, 1>(simd, block);
        }
    }

    #[inline(always)]
    fn blocks<S: Simd, const V: usize, const B: usize>(&mut self, simd: S, block: usize) {
        let mut channel = 0;
        while channel < self.channels {
            let left = (self.channels - channel).min(BLOCK - channel % BLOCK);
            channel += match left {
                8.. if V == 1 => self.channels::<S, V, B, 8>(simd, block, channel),
                4.. => self.channels::<S, V, B, 4>(simd, block, channel),
                2.. => self.channels::<S, V, B, 2>(simd, block, channel),
                _ => self.channels::<S, V, B, 1>(simd, block, channel),
            };
        }
    }

    /// The sums of `P` channels, which lie in one block.
    #[inline(always)]
    fn channels<S: Simd, const V: usize, const B: usize, const P: usize>(
        &mut self,
        simd: S,
        block: usize,
        channel: usize,
    ) -> usize {
        let step = position_step(self.room);
        let at = |block: usize| (block * POSITIONS + self.position) * step;
        let pixels = &self.pixels.as_chunks::<BLOCK>().0[at(channel / BLOCK)..][..self.count];
        let all = tiles::blocks::<S, V>(self.grads);
        let mut grads: [&[[S::f32s; V]]; B] = [&[]; B];
        for (b, grads) in grads.iter_mut().enumerate() {
            *grads = &all[at(block + b)..][..self.count];
        }
        let out = tiles::blocks_mut::<S, V>(self.sums);
        let lane = channel % BLOCK;
        let mut sums = [[[simd.splat_f32s(0.0); V]; B]; P];
        if !self.is_first {
            for p in 0..P {
                for b in 0..B {
                    sums[p][b] = out[(block + b) * self.channels + channel + p];
                }
            }
        }
        for t in 0..self.count {
            let pixels = &pixels[t][lane..][..P];
            let mut of_tile = [[simd.splat_f32s(0.0); V]; B];
            for b in 0..B {
                of_tile[b] = grads[b][t];
            }
            for p in 0..P {
                let pixel = simd.splat_f32s(pixels[p]);
                for b in 0..B {
                    for v in 0..V {
                        sums[p][b][v] = simd.mul_add_f32s(pixel, of_tile[b][v], sums[p][b][v]);
                    }
                }
            }
        }
        for p in 0..P {
            for b in 0..B {
                out[(block + b) * self.channels + channel + p] = sums[p][b];
            }
        }
        P
    }
}

/// Transforms the sums of a block of outputs back, `G' s G`.
struct Gather<'a> {
    channels: usize,
    /// `[position][step][BLOCK]`, of which the first channels belong to the block.
    sums: &'a [f32],
    step: usize,
    /// `[3][3][channel][BLOCK]`.
    kernels: &'a mut [f32],
}

impl BlockKernel for Gather<'_> {
    #[inline(always)]
    fn run<S: Simd, const V: usize>(self, simd: S) {
        let (sums, kernels) = (tiles::blocks::<S, V>(self.sums), tiles::blocks_mut::<S, V>(self.kernels));
        for channel in 0..self.channels {
            for v in 0..V {
                let mut positions = [[simd.splat_f32s(0.0); PATCH]; PATCH];
                for (position, to) in positions.as_flattened_mut().iter_mut().enumerate() {
                    *to = sums[position * self.step + channel][v];
                }
                let done = both::<Taps, S, PATCH, 3>(simd, &positions);
                for (tap, value) in done.as_flattened().iter().enumerate() {
                    kernels[tap * self.channels + channel][v] = *value;
                }
            }
        }
    }
}
