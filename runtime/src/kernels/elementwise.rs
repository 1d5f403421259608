//! Operators without weights, on dense output rows. They are a small part of a network's work, so that one portable
//! version serves every processor.

use super::pad::MapRow;
use crate::arith::{Requant, raise};

/// Sum of two maps: the second term lies in `out` when it starts and enters with `multiplier`.
pub fn add(input: MapRow<'_>, requant: &Requant, multiplier: i32, lo: i8, hi: i8, out: &mut [i8]) {
    for (pixel, out) in input.pixels().zip(out.chunks_mut(input.channels.max(1))) {
        for (value, out) in pixel.iter().zip(out) {
            *out = requant.apply_residual(raise((*value).into()), *out, multiplier, lo, hi);
        }
    }
}

/// Adds the pixels of a row to the sum of each channel.
pub fn accumulate(input: MapRow<'_>, sums: &mut [i32]) {
    for pixel in input.pixels() {
        for (value, sum) in pixel.iter().zip(sums.iter_mut()) {
            *sum = sum.wrapping_add(i32::from(*value));
        }
    }
}

/// The averages of a global pool, out of the sums of each channel.
pub fn average(sums: &[i32], requant: &Requant, lo: i8, hi: i8, out: &mut [i8]) {
    for (sum, out) in sums.iter().zip(out) {
        *out = requant.apply(raise(*sum), lo, hi);
    }
}

/// Every `stride`-th pixel, its channels behind `before` channels of zero, and zero up to `channels`.
pub fn shortcut(input: MapRow<'_>, stride: usize, before: usize, channels: usize, zero_point: i8, out: &mut [i8]) {
    out.fill(zero_point);
    for (pixel, out) in input.pixels().step_by(stride.max(1)).zip(out.chunks_mut(channels.max(1))) {
        for (value, out) in pixel.iter().zip(out.iter_mut().skip(before)) {
            *out = *value;
        }
    }
}

/// A row of pixels, converted channel by channel.
pub fn quantize(pixels: &[u8], requant: &[Requant], out: &mut [i8]) {
    let channels = requant.len().max(1);
    for (pixel, out) in pixels.chunks(channels).zip(out.chunks_mut(channels)) {
        for ((value, requant), out) in pixel.iter().zip(requant).zip(out) {
            *out = requant.apply(raise((*value).into()), i8::MIN, i8::MAX);
        }
    }
}
