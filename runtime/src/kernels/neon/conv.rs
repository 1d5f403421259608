use super::requant::{Requant4, total};
use crate::kernels::conv::{ConvRow, ConvRows};
use crate::kernels::portable;
use core::arch::aarch64::{
    int8x16_t, int32x4_t, vandq_s8, vdupq_n_s32, vget_low_s8, vld1q_s8, vmlal_high_s8, vmull_s8, vpadalq_s16,
};

/// Bytes of a vector.
const LANES: usize = 16;

/// Convolution by canonical weights: blocks of 4 output channels x 4 pixels; the pixels left by two and one, the
/// channels left one by one. Groups run the portable kernel.
pub fn conv_4x4_neon(rows: &mut ConvRows<'_, i8>) {
    rows.each(|row| {
        if row.shape.groups != 1 {
            return portable::conv_row(row);
        }
        // SAFETY: NEON is part of every aarch64 target that this folder is compiled for.
        unsafe { ungrouped(row) }
    });
}

#[target_feature(enable = "neon")]
fn ungrouped(row: &mut ConvRow<'_, i8>) {
    let channels = row.channels_out();
    let (requant, residual, lo, hi) = (row.requant, row.residual, row.lo, row.hi);
    let (fours, rest) = requant.as_chunks::<4>();
    for (index, constants) in fours.iter().enumerate() {
        let constants = Requant4::new(constants, residual, lo, hi);
        pixels(row, 4 * index, |out, sums| constants.apply(out, sums));
    }
    for (index, requant) in rest.iter().enumerate() {
        pixels(row, channels - rest.len() + index, |[out], [sums]| match residual {
            None => [requant.apply(total(sums), lo, hi)],
            Some(multiplier) => [requant.apply_residual(total(sums), out, multiplier, lo, hi)],
        });
    }
}

/// All pixels of the `C` output channels from `first`; `finish` makes a pixel's outputs from what they
/// held, the residual operand, and from its sums.
#[inline]
#[target_feature(enable = "neon")]
fn pixels<const C: usize>(
    row: &mut ConvRow<'_, i8>,
    first: usize,
    finish: impl Fn([i8; C], [int32x4_t; C]) -> [i8; C],
) {
    let (width, channels) = (row.width_out(), row.channels_out());
    let put = |row: &mut ConvRow<'_, i8>, x: usize, sums: [int32x4_t; C]| {
        if let Some(out) = row.out[x * channels + first..].first_chunk_mut() {
            *out = finish(*out, sums);
        }
    };
    let mut x = 0;
    while x + 4 <= width {
        let [a, b, c, d] = sums::<C, 4>(row, first, x);
        put(row, x, a);
        put(row, x + 1, b);
        put(row, x + 2, c);
        put(row, x + 3, d);
        x += 4;
    }
    if x + 2 <= width {
        let [a, b] = sums::<C, 2>(row, first, x);
        put(row, x, a);
        put(row, x + 1, b);
        x += 2;
    }
    if x < width {
        let [a] = sums::<C, 1>(row, first, x);
        put(row, x, a);
    }
}

/// `[pixel][channel]`: four partial sums each.
#[inline]
#[target_feature(enable = "neon")]
fn sums<const C: usize, const P: usize>(row: &ConvRow<'_, i8>, first: usize, x: usize) -> [[int32x4_t; C]; P] {
    let run = row.run();
    let whole = run - run % LANES;
    let mut sums = [[vdupq_n_s32(0); C]; P];
    for ky in 0..row.shape.kernel_h {
        // a `ConvRow` promises that rows are readable up to whole vectors; weights end with the run.
        let pixels: [&[i8]; P] = core::array::from_fn(|p| {
            &row.rows[(x + p) * row.pixel_step() + ky * row.row_len..][..run.next_multiple_of(LANES)]
        });
        let weights: [&[i8]; C] =
            core::array::from_fn(|c| &row.weights[((first + c) * row.shape.kernel_h + ky) * run..]);
        for at in (0..whole).step_by(LANES) {
            // SAFETY: `at + LANES <= whole`, and each of the slices has at least `whole` elements.
            let weights = weights.map(|weights| unsafe { vld1q_s8(weights.as_ptr().wrapping_add(at)) });
            // SAFETY: as above.
            let pixels = pixels.map(|pixels| unsafe { vld1q_s8(pixels.as_ptr().wrapping_add(at)) });
            add_products(&mut sums, weights, pixels);
        }
        if whole < run {
            let weights = weights.map(|weights| tail(&weights[whole..], run - whole));
            // SAFETY: each slice has `whole + LANES` elements where the run is no multiple of `LANES`.
            let pixels = pixels.map(|pixels| unsafe { vld1q_s8(pixels.as_ptr().wrapping_add(whole)) });
            add_products(&mut sums, weights, pixels);
        }
    }
    sums
}

/// Adds 16 products to each sum. Two products of weights (-127..=127) and int8 values fit an i16.
#[inline]
#[target_feature(enable = "neon")]
fn add_products<const C: usize, const P: usize>(
    sums: &mut [[int32x4_t; C]; P],
    weights: [int8x16_t; C],
    pixels: [int8x16_t; P],
) {
    for (sums, pixel) in sums.iter_mut().zip(pixels) {
        for (sum, weight) in sums.iter_mut().zip(weights) {
            let low = vmull_s8(vget_low_s8(weight), vget_low_s8(pixel));
            *sum = vpadalq_s16(*sum, vmlal_high_s8(low, weight, pixel));
        }
    }
}

/// The first `count < 16` weights, and zeros after them.
#[inline]
#[target_feature(enable = "neon")]
fn tail(weights: &[i8], count: usize) -> int8x16_t {
    static MASKS: [i8; 2 * LANES] = {
        let mut masks = [0; 2 * LANES];
        let mut at = 0;
        while at < LANES {
            masks[at] = -1;
            at += 1;
        }
        masks
    };
    if let Some(vector) = weights.first_chunk::<LANES>() {
        // SAFETY: the chunk has `LANES` elements.
        let vector = unsafe { vld1q_s8(vector.as_ptr()) };
        let mask = &MASKS[LANES - count..][..LANES];
        // SAFETY: the slice has `LANES` elements.
        let mask = unsafe { vld1q_s8(mask.as_ptr()) };
        vandq_s8(vector, mask)
    } else {
        let mut vector = [0; LANES];
        vector[..count].copy_from_slice(&weights[..count]);
        // SAFETY: the array has `LANES` elements.
        unsafe { vld1q_s8(vector.as_ptr()) }
    }
}
