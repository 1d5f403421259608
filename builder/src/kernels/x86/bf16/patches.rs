//! Convolution on rounded pixels: what [`correlate`](crate::kernels::correlate) does in single precision.

use super::{Bf16, LANES, load, load_part, multiply_lines, order, pair, repeat, store, store_part, words};
use crate::kernels::correlate::{Patches, Target, with_tile};
use crate::kernels::tiles::tile_size;
use std::arch::x86_64::*;

impl Bf16 {
    /// Writes, for every patch, its products with all columns of `weights`, `[block][pair][16]`. Patches are in words
    /// of `source`, each a pair of elements.
    pub(crate) fn correlate(self, source: &[u32], patches: Patches, weights: &[u32], out: &mut [f32], target: Target) {
        // SAFETY: a `Bf16` exists only where `detect` has found the features.
        unsafe { correlate(source, &patches, weights, out, target) }
    }

    /// Rounds the first runs of patches, and pairs neighbouring patches, row after row:
    /// `[block of 16 elements][pair of patches][16]`, zeros after the last element and the last patch.
    pub(crate) fn pair_patches(self, source: &[f32], patches: Patches, to: &mut [u32]) {
        // SAFETY: a `Bf16` exists only where `detect` has found the features.
        unsafe { pair_patches(source, &patches, to) }
    }

    /// Adds the products of `elements` and channels, both as [`Bf16::pair_patches`] gives them, over `pairs` of
    /// patches: to `sums`, `[block of channels][rows][16]`, where the elements' rows begin with `first`.
    pub(crate) fn add_products(
        self,
        [patches, grads]: [&[u32]; 2],
        pairs: usize,
        elements: usize,
        sums: &mut [f32],
        [first, rows]: [usize; 2],
    ) {
        // SAFETY: a `Bf16` exists only where `detect` has found the features.
        unsafe { add_products([patches, grads], pairs, elements, sums, [first, rows]) }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn correlate(source: &[u32], patches: &Patches, weights: &[u32], out: &mut [f32], target: Target) {
    let weights = weights.as_chunks::<LANES>().0;
    let blocks = target.channels.div_ceil(LANES);
    let of_block = patches.runs * patches.run;
    for block in (0..blocks).step_by(2) {
        let rest = &weights[block * of_block..];
        let target = Target {
            start: target.start + block * LANES,
            channels: (target.channels - block * LANES).min(2 * LANES),
            ..target
        };
        if target.channels > LANES {
            correlate_blocks(source, patches, [&rest[..of_block], &rest[of_block..][..of_block]], out, target);
        } else {
            correlate_blocks(source, patches, [&rest[..of_block]], out, target);
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn correlate_blocks<const B: usize>(
    source: &[u32],
    patches: &Patches,
    weights: [&[[u32; LANES]]; B],
    out: &mut [f32],
    target: Target,
) {
    for row in 0..patches.rows {
        let mut column = 0;
        while column < patches.columns {
            let size = tile_size(patches.columns - column, B);
            with_tile!(size, correlate_tile::<B>, source, patches, weights, out, target, [row, column]);
            column += size;
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn correlate_tile<const B: usize, const P: usize>(
    source: &[u32],
    patches: &Patches,
    weights: [&[[u32; LANES]]; B],
    out: &mut [f32],
    target: Target,
    [row, column]: [usize; 2],
) {
    let mut sums = [[_mm512_setzero_ps(); B]; P];
    for index in 0..patches.runs {
        let source = &source[patches.at(row, column) + index * patches.run_step..];
        let mut rows: [&[u32]; P] = [&[]; P];
        for p in 0..P {
            rows[p] = &source[p * patches.column_step..][..patches.run];
        }
        let mut columns: [&[[u32; LANES]]; B] = [&[]; B];
        for b in 0..B {
            columns[b] = &weights[b][index * patches.run..][..patches.run];
        }
        for i in 0..patches.run {
            let mut column = [words(&[0; LANES]); B];
            for b in 0..B {
                column[b] = words(&columns[b][i]);
            }
            for p in 0..P {
                let row = repeat(rows[p][i]);
                for b in 0..B {
                    sums[p][b] = _mm512_dpbf16_ps(sums[p][b], row, column[b]);
                }
            }
        }
    }
    let first = target.start + row * target.row_step + column * target.column_step;
    // Loops over constants: what runs over a slice of the sums would keep them in memory.
    for p in 0..P {
        let pixel = &mut out[first + p * target.column_step..][..target.channels];
        if let Some(lanes) = pixel.as_chunks_mut::<LANES>().0.first_chunk_mut::<B>() {
            for b in 0..B {
                store(sums[p][b], &mut lanes[b]);
            }
        } else {
            for b in 0..B {
                let lanes = &mut pixel[b * LANES..];
                let count = lanes.len().min(LANES);
                store_part(sums[p][b], &mut lanes[..count]);
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn pair_patches(source: &[f32], patches: &Patches, to: &mut [u32]) {
    let order = order();
    let count = patches.rows * patches.columns;
    let pairs = count.div_ceil(2);
    let (whole, rest) = (patches.run / LANES, patches.run % LANES);
    let to = &mut to.as_chunks_mut::<LANES>().0[..pairs * patches.run.div_ceil(LANES)];
    let mut next = [0; 2];
    let mut step = || {
        let at = patches.at(next[0], next[1]);
        next = if next[1] + 1 == patches.columns { [next[0] + 1, 0] } else { [next[0], next[1] + 1] };
        source[at..][..patches.run].as_chunks::<LANES>()
    };
    for index in 0..pairs {
        let first = step();
        if 2 * index + 1 == count {
            for (block, lanes) in first.0.iter().enumerate() {
                to[block * pairs + index] = pair(order, load(lanes), load(&[0.0; LANES]));
            }
            if rest > 0 {
                to[whole * pairs + index] = pair(order, load_part(first.1), load(&[0.0; LANES]));
            }
            return;
        }
        let second = step();
        let mut at = index;
        for (first, second) in first.0.iter().zip(second.0) {
            to[at] = pair(order, load(first), load(second));
            at += pairs;
        }
        if rest > 0 {
            to[at] = pair(order, load_part(first.1), load_part(second.1));
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn add_products(operands: [&[u32]; 2], pairs: usize, elements: usize, sums: &mut [f32], [first, rows]: [usize; 2]) {
    let sums = sums.as_chunks_mut::<LANES>().0;
    let blocks = sums.len() / rows;
    for block in (0..blocks).step_by(2) {
        let sums = &mut sums[block * rows + first..];
        let mut element = 0;
        while element < elements {
            let at = [block, element];
            let left = (elements - element).min(LANES - element % LANES);
            element += match (left, block + 1 < blocks) {
                (8.., true) => add_tile::<8, 2>(operands, pairs, at, sums, rows),
                (8.., false) => add_tile::<8, 1>(operands, pairs, at, sums, rows),
                (4.., true) => add_tile::<4, 2>(operands, pairs, at, sums, rows),
                (4.., false) => add_tile::<4, 1>(operands, pairs, at, sums, rows),
                (_, true) => add_tile::<1, 2>(operands, pairs, at, sums, rows),
                (_, false) => add_tile::<1, 1>(operands, pairs, at, sums, rows),
            };
        }
    }
}

/// The sums of `P` elements and `B` blocks of channels; says how many elements these are.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn add_tile<const P: usize, const B: usize>(
    [patches, grads]: [&[u32]; 2],
    pairs: usize,
    [block, element]: [usize; 2],
    out: &mut [[f32; LANES]],
    rows: usize,
) -> usize {
    let len = pairs * LANES;
    let mut columns: [&[u32]; B] = [&[]; B];
    for (b, column) in columns.iter_mut().enumerate() {
        *column = &grads[(block + b) * len..][..len];
    }
    let mut sums = [[[0.0; LANES]; B]; P];
    for b in 0..B {
        let out = &out[b * rows + element..][..P];
        sums.iter_mut().zip(out).for_each(|(sums, out)| sums[b] = *out);
    }
    multiply_lines(&patches[element / LANES * len..][..len], element % LANES, columns, &mut sums);
    for b in 0..B {
        let out = &mut out[b * rows + element..][..P];
        sums.iter().zip(out).for_each(|(sums, out)| *out = sums[b]);
    }
    P
}
