//! The products of positions in bfloat16, summed in single precision.

use super::{POSITIONS, position_step};
use crate::kernels::tiles::{BLOCK, tile_size};
use crate::kernels::x86::bf16::Bf16;

/// Words of a tile's block of channels.
const PAIRS: usize = BLOCK / 2;

/// Words of a block of channels of tiles whose channels are paired.
pub(super) fn words(room: usize) -> usize {
    POSITIONS * position_step(room) * PAIRS
}

/// Words of a block of channels of tiles that are paired with each other.
pub(super) fn paired_words(room: usize) -> usize {
    POSITIONS * position_step(room.div_ceil(2)) * BLOCK
}

/// Pairs tiles of a block, `[position][tile][BLOCK]`, with each other: `[position][pair][BLOCK]`.
pub(super) fn pair_tiles(bf16: Bf16, from: &[f32], room: usize, count: usize, to: &mut [u32]) {
    let steps = [room, room.div_ceil(2)].map(|rows| position_step(rows) * BLOCK);
    for (from, to) in from.chunks_exact(steps[0]).zip(to.chunks_exact_mut(steps[1])) {
        bf16.pair_rows(&from[..count * BLOCK], to);
    }
}

/// What [`multiply`] multiplies.
pub(super) struct Multiply<'a> {
    pub(super) bf16: Bf16,
    /// `[block of outputs][position][pair of channels][BLOCK]`.
    pub(super) weights: &'a [u32],
    /// `[block of channels][position][tile][PAIRS]`.
    pub(super) pixels: &'a [u32],
    pub(super) channels: usize,
    /// Blocks of outputs.
    pub(super) blocks: usize,
    pub(super) room: usize,
    /// Tiles.
    pub(super) count: usize,
}

impl Multiply<'_> {
    /// Writes `[block of outputs][position][tile][BLOCK]`.
    pub(super) fn run(&self, products: &mut [f32]) {
        for position in 0..POSITIONS {
            for block in (0..self.blocks).step_by(2) {
                if block + 1 < self.blocks {
                    self.tiles::<2>(position, block, products);
                } else {
                    self.tiles::<1>(position, block, products);
                }
            }
        }
    }

    fn tiles<const B: usize>(&self, position: usize, block: usize, products: &mut [f32]) {
        let mut first = 0;
        while first < self.count {
            let size = tile_size(self.count - first, 1);
            match size {
                12 => self.tile::<12, B>(position, block, first, products),
                8 => self.tile::<8, B>(position, block, first, products),
                6 => self.tile::<6, B>(position, block, first, products),
                4 => self.tile::<4, B>(position, block, first, products),
                2 => self.tile::<2, B>(position, block, first, products),
                _ => self.tile::<1, B>(position, block, first, products),
            }
            first += size;
        }
    }

    fn tile<const P: usize, const B: usize>(&self, position: usize, block: usize, first: usize, products: &mut [f32]) {
        let step = position_step(self.room);
        let of_block = self.channels.div_ceil(2) * BLOCK;
        let mut columns: [&[u32]; B] = [&[]; B];
        for (b, columns) in columns.iter_mut().enumerate() {
            *columns = &self.weights[((block + b) * POSITIONS + position) * of_block..][..of_block];
        }
        let mut sums = [[[0.0; BLOCK]; B]; P];
        let rows = &self.pixels[(position * step + first) * PAIRS..];
        self.bf16.multiply_rows((rows, words(self.room)), columns, &mut sums);
        let products = products.as_chunks_mut::<BLOCK>().0;
        for b in 0..B {
            let products = &mut products[((block + b) * POSITIONS + position) * step + first..][..P];
            products.iter_mut().zip(&sums).for_each(|(to, sums)| *to = sums[b]);
        }
    }
}

/// What [`Sum::run`] sums: the products of one position, pair of tiles by pair.
pub(super) struct Sum<'a> {
    pub(super) bf16: Bf16,
    /// Whether sums start at zero, not from what they are.
    pub(super) is_first: bool,
    pub(super) position: usize,
    /// `[block of channels][position][pair of tiles][BLOCK]`.
    pub(super) pixels: &'a [u32],
    /// `[block of outputs][position][pair of tiles][BLOCK]`.
    pub(super) grads: &'a [u32],
    pub(super) room: usize,
    /// Tiles.
    pub(super) count: usize,
    pub(super) channels: usize,
    /// Blocks of outputs.
    pub(super) blocks: usize,
}

impl Sum<'_> {
    /// Adds to `[block of outputs][channel][BLOCK]`.
    pub(super) fn run(&self, sums: &mut [f32]) {
        for block in (0..self.blocks).step_by(2) {
            if block + 1 < self.blocks { self.block::<2>(block, sums) } else { self.block::<1>(block, sums) }
        }
    }

    fn block<const B: usize>(&self, block: usize, sums: &mut [f32]) {
        let mut channel = 0;
        while channel < self.channels {
            let left = (self.channels - channel).min(BLOCK - channel % BLOCK);
            channel += match left {
                8.. => self.tile::<8, B>(block, channel, sums),
                4.. => self.tile::<4, B>(block, channel, sums),
                2.. => self.tile::<2, B>(block, channel, sums),
                _ => self.tile::<1, B>(block, channel, sums),
            };
        }
    }

    fn tile<const P: usize, const B: usize>(&self, block: usize, channel: usize, sums: &mut [f32]) -> usize {
        let step = position_step(self.room.div_ceil(2)) * BLOCK;
        let len = self.count.div_ceil(2) * BLOCK;
        let at = |block: usize| (block * POSITIONS + self.position) * step;
        let mut columns: [&[u32]; B] = [&[]; B];
        for (b, columns) in columns.iter_mut().enumerate() {
            *columns = &self.grads[at(block + b)..][..len];
        }
        let out = sums.as_chunks_mut::<BLOCK>().0;
        let place = |p: usize, b: usize| (block + b) * self.channels + channel + p;
        let mut sums = [[[0.0; BLOCK]; B]; P];
        if !self.is_first {
            for (p, sums) in sums.iter_mut().enumerate() {
                sums.iter_mut().enumerate().for_each(|(b, sum)| *sum = out[place(p, b)]);
            }
        }
        let lines = &self.pixels[at(channel / BLOCK)..][..len];
        self.bf16.multiply_lines((lines, channel % BLOCK), columns, &mut sums);
        for (p, sums) in sums.iter().enumerate() {
            sums.iter().enumerate().for_each(|(b, sum)| out[place(p, b)] = *sum);
        }
        P
    }
}
