//! Forward pass, and gradient of the data: transformed pixels times transformed kernels.

use super::transform::{self, Transform, TransformTiles, columns};
use super::weights::Elements;
use super::{Maps, PATCH, POSITIONS, TILE, Tile, Tiling, Weights, position_step, rounded};
use crate::kernels::tiles::{self, BLOCK, tile_size};
use crate::kernels::{BlockKernel, dispatch, with_scratch};
use pulp::Simd;
use rayon::prelude::*;

/// Bytes of transformed tiles and products that are worked on together, where that many tiles are enough.
const BYTES: usize = 1 << 19;

/// Correlates `x`, with `pads` zeros above and at the left, with kernels; overwrites `out`, maps of `size` rows and
/// columns. `bias` is empty or has a value for each output.
pub(crate) fn correlate(weights: &Weights, bias: &[f32], x: Maps, pads: [usize; 2], out: &mut [f32], size: [usize; 2]) {
    let tiling = Tiling::new(size);
    let outputs = weights.outputs;
    let elements = size[0] * size[1] * outputs;
    let blocks = [weights.channels, outputs].map(|count| count.div_ceil(BLOCK));
    let each = POSITIONS * (blocks[0] + blocks[1]) * BLOCK * size_of::<f32>();
    let room = (BYTES / each).clamp(48, 96) / 12 * 12;
    // Few enough tasks that most have whole rooms of tiles, enough of them to share among threads.
    let batch = out.len() / elements;
    let images = (room / tiling.count).clamp(1, batch.div_ceil(4 * rayon::current_num_threads()).max(1));
    out.par_chunks_mut(images * elements).zip(x.elements.par_chunks(images * x.image())).for_each(|(out, elements)| {
        let x = Maps { elements, ..x };
        let total = x.elements.len() / x.image() * tiling.count;
        let room = room.min(total.next_multiple_of(4));
        let len = POSITIONS * position_step(room) * BLOCK;
        // Pixels that are rounded are transformed a block at a time.
        let (transformed, words) = match weights.elements {
            Elements::Single(_) => (blocks[0] * len, 0),
            Elements::Pairs(..) => (len, rounded::words(room)),
        };
        with_scratch(transformed + blocks[1] * len + blocks[0] * words, |scratch| {
            let (pixels, scratch) = scratch.split_at_mut(transformed);
            let (products, pairs) = scratch.split_at_mut(blocks[1] * len);
            let pairs = bytemuck::cast_slice_mut::<f32, u32>(pairs);
            for first in (0..total).step_by(room) {
                let tiles = &tiling.list(first, room.min(total - first))[..];
                let transform = |(block, out): (usize, &mut [f32])| {
                    dispatch(TransformTiles { pads: Some(pads), maps: x, block, tiles, room, out });
                };
                match &weights.elements {
                    Elements::Single(elements) => {
                        pixels.chunks_exact_mut(len).enumerate().for_each(transform);
                        let weights = elements.as_slice();
                        let [channels, outputs] = [x.channels, outputs];
                        dispatch(Multiply { weights, channels, outputs, pixels, products, room, count: tiles.len() });
                    }
                    Elements::Pairs(bf16, weights) => {
                        let (bf16, channels, blocks) = (*bf16, x.channels, blocks[1]);
                        for (block, pairs) in pairs.chunks_exact_mut(words).enumerate() {
                            transform((block, pixels));
                            bf16.round(pixels, pairs);
                        }
                        let pixels = &*pairs;
                        let count = tiles.len();
                        rounded::Multiply { bf16, weights, pixels, channels, blocks, room, count }.run(products);
                    }
                }
                for (block, products) in products.chunks_exact(len).enumerate() {
                    dispatch(Results { products, room, tiles, bias, block, outputs, size, out });
                }
            }
        });
    });
}

/// The products of all positions.
struct Multiply<'a> {
    /// `[block of outputs][position][channel][BLOCK]`.
    weights: &'a [f32],
    channels: usize,
    outputs: usize,
    /// `[block of channels][position][tile][BLOCK]`.
    pixels: &'a [f32],
    /// `[block of outputs][position][tile][BLOCK]`.
    products: &'a mut [f32],
    room: usize,
    /// Tiles.
    count: usize,
}

impl BlockKernel for Multiply<'_> {
    #[inline(always)]
    fn run<S: Simd, const V: usize>(mut self, simd: S) {
        for position in 0..POSITIONS {
            if V == 1 { self.position::<S, V, 2>(simd, position) } else { self.position::<S, V, 1>(simd, position) }
        }
    }
}

impl Multiply<'_> {
    /// With `B` blocks of outputs at a time: what is read of a tile serves all of them.
    #[inline(always)]
    fn position<S: Simd, const V: usize, const B: usize>(&mut self, simd: S, position: usize) {
        let blocks = self.outputs.div_ceil(BLOCK);
        for block in (0..blocks - blocks % B).step_by(B) {
            self.blocks::<S, V, B>(simd, position, block);
        }
        for block in blocks - blocks % B..blocks {
            self.blocks::<S, V, 1>(simd, position, block);
        }
    }

    #[inline(always)]
    fn blocks<S: Simd, const V: usize, const B: usize>(&mut self, simd: S, position: usize, block: usize) {
        let mut first = 0;
        while first < self.count {
            let size = tile_size(self.count - first, V);
            match size {
                12 => self.tiles::<S, V, B, 12>(simd, position, block, first),
                8 => self.tiles::<S, V, B, 8>(simd, position, block, first),
                6 => self.tiles::<S, V, B, 6>(simd, position, block, first),
                4 => self.tiles::<S, V, B, 4>(simd, position, block, first),
                2 => self.tiles::<S, V, B, 2>(simd, position, block, first),
                _ => self.tiles::<S, V, B, 1>(simd, position, block, first),
            }
            first += size;
        }
    }

    #[inline(always)]
    fn tiles<S: Simd, const V: usize, const B: usize, const P: usize>(
        &mut self,
        simd: S,
        position: usize,
        block: usize,
        first: usize,
    ) {
        let channels = self.channels;
        let step = position_step(self.room);
        let weights = tiles::blocks::<S, V>(self.weights);
        let mut of_blocks: [&[[S::f32s; V]]; B] = [&[]; B];
        for (b, of_block) in of_blocks.iter_mut().enumerate() {
            *of_block = &weights[((block + b) * POSITIONS + position) * channels..][..channels];
        }
        let pixels = self.pixels.as_chunks::<BLOCK>().0;
        let mut sums = [[[simd.splat_f32s(0.0); V]; B]; P];
        for (index, channel) in (0..channels).step_by(BLOCK).enumerate() {
            let pixels = &pixels[(index * POSITIONS + position) * step + first..];
            let Some(pixels) = pixels.first_chunk::<P>() else { return };
            let count = BLOCK.min(channels - channel);
            let mut weights: [&[[S::f32s; V]]; B] = [&[]; B];
            for (part, of_block) in weights.iter_mut().zip(of_blocks) {
                *part = &of_block[channel..][..count];
            }
            for i in 0..count {
                let mut of_channel = [[simd.splat_f32s(0.0); V]; B];
                for b in 0..B {
                    of_channel[b] = weights[b][i];
                }
                for p in 0..P {
                    let value = simd.splat_f32s(pixels[p][i]);
                    for b in 0..B {
                        for v in 0..V {
                            sums[p][b][v] = simd.mul_add_f32s(value, of_channel[b][v], sums[p][b][v]);
                        }
                    }
                }
            }
        }
        let products = tiles::blocks_mut::<S, V>(self.products);
        for b in 0..B {
            let products = &mut products[((block + b) * POSITIONS + position) * step + first..][..P];
            for p in 0..P {
                products[p] = sums[p][b];
            }
        }
    }
}

/// Transforms the products of a block of outputs back, `A' m A`, and writes the results that the maps have.
struct Results<'a> {
    /// `[position][tile][BLOCK]`.
    products: &'a [f32],
    room: usize,
    tiles: &'a [Tile],
    bias: &'a [f32],
    block: usize,
    outputs: usize,
    /// Rows and columns of results.
    size: [usize; 2],
    out: &'a mut [f32],
}

impl BlockKernel for Results<'_> {
    #[expect(clippy::needless_range_loop, reason = "the index is that of an inner dimension")]
    #[inline(always)]
    fn run<S: Simd, const V: usize>(self, simd: S) {
        let step = position_step(self.room);
        let products = &tiles::blocks::<S, V>(self.products)[..POSITIONS * step];
        for v in 0..V {
            let first = self.block * BLOCK + v * S::F32_LANES;
            if first >= self.outputs {
                return;
            }
            let count = S::F32_LANES.min(self.outputs - first);
            let bias = tiles::load(simd, if self.bias.is_empty() { &[] } else { &self.bias[first..][..count] });
            for (index, tile) in self.tiles.iter().enumerate() {
                let mut rows = [[simd.splat_f32s(0.0); TILE]; PATCH];
                for (row, done) in rows.iter_mut().enumerate() {
                    let mut positions = [simd.splat_f32s(0.0); PATCH];
                    for (column, to) in positions.iter_mut().enumerate() {
                        *to = products[(row * PATCH + column) * step + index][v];
                    }
                    *done = transform::Results::apply(simd, positions);
                }
                let done = columns::<transform::Results, S, PATCH, TILE>(simd, &rows);
                let image = tile.image * self.size[0];
                for (row, done) in done.iter().enumerate().take(self.size[0] - tile.at[0]) {
                    let row = (image + tile.at[0] + row) * self.size[1] + tile.at[1];
                    for (column, result) in done.iter().enumerate().take(self.size[1] - tile.at[1]) {
                        let out = &mut self.out[(row + column) * self.outputs + first..][..count];
                        let result = simd.add_f32s(*result, bias);
                        match S::as_mut_simd_f32s(out) {
                            ([vector, ..], _) => *vector = result,
                            ([], out) => simd.partial_store_f32s(out, result),
                        }
                    }
                }
            }
        }
    }
}
