//! Convolutions with groups in safe code, for every processor.

use super::conv::{ConvRow, ConvRows, ConvShape};
use super::spec::{DEPTHWISE_16X1_PORTABLE, DEPTHWISE_TAPS_MAX};
use super::{ConvCode, ConvKernel};
use crate::arith::Requant;

/// [`DEPTHWISE_16X1_PORTABLE`].
pub const DEPTHWISE: ConvKernel =
    ConvKernel { spec: &DEPTHWISE_16X1_PORTABLE, code: ConvCode::Int8(depthwise_16x1_portable) };

/// Pixels whose sums are made at a time.
const PIXELS: usize = 4;

/// Depthwise convolution, each channel for itself.
pub fn depthwise_16x1_portable(rows: &mut ConvRows<'_, i8>) {
    rows.each(|row| {
        let mut first = 0;
        while let Some(rest) = row.requant.get(first..).filter(|rest| !rest.is_empty()) {
            first += match rest {
                [..] if rest.len() >= 16 => channels::<16>(row, first, rest),
                [_, _, _, _, ..] => channels::<4>(row, first, rest),
                _ => channels::<1>(row, first, rest),
            };
        }
    });
}

/// All pixels of `C` channels, which are returned.
#[inline(always)]
fn channels<const C: usize>(row: &mut ConvRow<'_, i8>, first: usize, requant: &[Requant]) -> usize {
    let ConvShape { kernel_h, kernel_w, channels_in, .. } = row.shape;
    let taps = kernel_h * kernel_w;
    // The weights of each tap side by side.
    let mut weights = [[0i8; C]; DEPTHWISE_TAPS_MAX];
    let own = row.weights.get(first * taps..).unwrap_or(&[]);
    for (channel, own) in own.chunks(taps.max(1)).take(C).enumerate() {
        for (tap, weight) in weights.iter_mut().zip(own) {
            tap[channel] = *weight;
        }
    }
    for x in 0..row.width_out() {
        let mut sums = [0i32; C];
        let mut line = x * row.pixel_step() + first;
        for weights in weights.chunks(kernel_w.max(1)).take(kernel_h) {
            let pixels = row.rows.get(line..).unwrap_or(&[]).chunks(channels_in.max(1));
            for (weights, pixel) in weights.iter().zip(pixels) {
                let Some(values) = pixel.first_chunk::<C>() else { continue };
                for ((sum, value), weight) in sums.iter_mut().zip(values).zip(weights) {
                    *sum = sum.wrapping_add((i16::from(*value) * i16::from(*weight)).into());
                }
            }
            line += row.row_len;
        }
        row.finish(x * row.channels_out() + first, sums, requant);
    }
    C
}

/// A row of a convolution with groups.
pub(super) fn conv_row(row: &mut ConvRow<'_, i8>) {
    match row.shape.group_in() {
        1 => groups(row, sums::<1>),
        2 => groups(row, sums::<2>),
        4 => groups(row, sums::<4>),
        8 => groups(row, sums::<8>),
        _ => groups(row, sums_of_any),
    }
}

/// `sums` makes the accumulators of an output channel with these weights for pixels whose runs start at given elements.
#[inline(always)]
fn groups(row: &mut ConvRow<'_, i8>, sums: impl Fn(&ConvRow<'_, i8>, &[i8], [usize; PIXELS]) -> [i32; PIXELS]) {
    let (requant, channels, width, step) = (row.requant, row.channels_out(), row.width_out(), row.pixel_step());
    let (group_in, group_out) = (row.shape.group_in(), channels.checked_div(row.shape.groups).unwrap_or(0));
    let kernels = row.weights.chunks((row.shape.kernel_h * row.shape.kernel_w * group_in).max(1));
    // The group's first element in a pixel, and its channels that are left.
    let (mut first, mut left) = (0, group_out);
    for (channel, (requant, weights)) in requant.chunks(1).zip(kernels).enumerate() {
        if left == 0 {
            (first, left) = (first + group_in, group_out);
        }
        left -= 1;
        let mut x = 0;
        while x < width {
            // A row ends with its last pixel several times.
            let pixels = core::array::from_fn(|i| first + (x + i).min(width - 1) * step);
            for sum in sums(row, weights, pixels).into_iter().take(width - x) {
                row.finish(x * channels + channel, [sum], requant);
                x += 1;
            }
        }
    }
}

/// Sums of groups of `G` input channels.
#[inline(always)]
fn sums<const G: usize>(row: &ConvRow<'_, i8>, weights: &[i8], pixels: [usize; PIXELS]) -> [i32; PIXELS] {
    let ConvShape { kernel_h, kernel_w, channels_in, .. } = row.shape;
    let (mut sums, mut line) = ([0i32; PIXELS], 0);
    let mut weights = weights.as_chunks::<G>().0.iter();
    for _ in 0..kernel_h {
        let mut at = line;
        for weights in weights.by_ref().take(kernel_w) {
            for (sum, pixel) in sums.iter_mut().zip(pixels) {
                let Some(values) = row.rows.get(pixel + at..).and_then(|rest| rest.first_chunk::<G>()) else {
                    continue;
                };
                for (value, weight) in values.iter().zip(weights) {
                    *sum = sum.wrapping_add(i32::from(*value).wrapping_mul((*weight).into()));
                }
            }
            at += channels_in;
        }
        line += row.row_len;
    }
    sums
}

/// Sums of groups of any number of input channels.
fn sums_of_any(row: &ConvRow<'_, i8>, weights: &[i8], pixels: [usize; PIXELS]) -> [i32; PIXELS] {
    let ConvShape { kernel_w, channels_in, .. } = row.shape;
    let group_in = row.shape.group_in().max(1);
    let mut sums = [0i32; PIXELS];
    for (tap, weights) in weights.chunks(group_in).enumerate() {
        let at = tap / kernel_w.max(1) * row.row_len + tap % kernel_w.max(1) * channels_in;
        for (sum, pixel) in sums.iter_mut().zip(pixels) {
            let values = row.rows.get(pixel + at..).unwrap_or(&[]);
            for (value, weight) in values.iter().zip(weights) {
                *sum = sum.wrapping_add(i32::from(*value).wrapping_mul((*weight).into()));
            }
        }
    }
    sums
}
