//! Operators without weights, on dense output rows or on some channels of a pixel. They are a small part of a network's
//! work, so that one portable version serves most processors; x86 converts 16 values at a time.

use super::conv::{Element, Uint8};
use super::load::{self, MapRow};
#[cfg(skipstone_mve)]
use super::mve::elementwise as mve;
#[cfg(all(target_arch = "x86_64", feature = "std"))]
use super::x86::elementwise::Wide;
use crate::arith::{self, Requant, raise};
use crate::format::records::{Run, TABLE_LEN};

/// All pixels of a row at once where it has no gaps, else one by one, with the dense pixels beside them.
#[inline(always)]
fn runs(input: MapRow<'_>, out: &mut [i8], mut run: impl FnMut(&[i8], &mut [i8])) {
    if input.is_dense() {
        return run(input.bytes, out);
    }
    for (pixel, out) in input.pixels().zip(out.chunks_mut(input.channels.max(1))) {
        run(pixel, out);
    }
}

/// Sum of two maps: the second term lies in `out` when it starts and enters with `multiplier`.
pub fn add(input: MapRow<'_>, requant: &Requant, multiplier: i32, lo: i8, hi: i8, out: &mut [i8]) {
    #[cfg(all(target_arch = "x86_64", feature = "std"))]
    if let Some(wide) = Wide::find() {
        let conversion = wide.conversion(requant, Some(multiplier), lo, hi);
        return runs(input, out, |values, out| conversion.run(values, out, |value, _| raise(value.into())));
    }
    for (pixel, out) in input.pixels().zip(out.chunks_mut(input.channels.max(1))) {
        for (value, out) in pixel.iter().zip(out) {
            *out = requant.apply_residual(raise((*value).into()), *out, multiplier, lo, hi);
        }
    }
}

/// Dense pixels, each channel by its own multiplier and constant.
#[inline(always)]
pub fn affine<T: From<i8>>(values: &[i8], requant: &[Requant], lo: i8, hi: i8, out: &mut [T]) {
    let channels = requant.len().max(1);
    for (pixel, out) in values.chunks(channels).zip(out.chunks_mut(channels)) {
        for ((value, requant), out) in pixel.iter().zip(requant).zip(out) {
            *out = requant.apply(raise((*value).into()), lo, hi).into();
        }
    }
}

/// [`affine`] of a row whose pixels may have gaps, to the places of a padded row.
#[inline(always)]
pub fn affine_row<T: Element>(input: MapRow<'_>, requant: &[Requant], lo: i8, hi: i8, part: load::Part, out: &mut [T]) {
    #[cfg(all(target_arch = "x86_64", feature = "std"))]
    if let (Some(wide), Some(out)) = (Wide::find(), out.get_mut(part.left..)) {
        return wide.affine(input, requant, (lo, hi), out, part.pixel_stride);
    }
    #[cfg(skipstone_mve)]
    let (input, requant, part, out) = {
        let made = T::as_int8(out).map_or(0, |out| mve::affine(input, requant, lo, hi, part, out));
        if made >= input.channels {
            return;
        }
        let bytes = input.bytes.get(made..).unwrap_or(&[]);
        let input = MapRow { bytes, channels: input.channels - made, ..input };
        (input, requant.get(made..).unwrap_or(&[]), load::Part { left: part.left + made, ..part }, out)
    };
    load::load(input, part, out, |values, out| affine(values, requant, lo, hi, out));
}

/// A function of one value; its table starts with the result for -128.
pub fn lookup(input: MapRow<'_>, table: &[i8; TABLE_LEN], out: &mut [i8]) {
    #[cfg(skipstone_mve)]
    return runs(input, out, |values, out| mve::lookup(values, table, out));
    #[cfg(not(skipstone_mve))]
    for (pixel, out) in input.pixels().zip(out.chunks_mut(input.channels.max(1))) {
        for (value, out) in pixel.iter().zip(out) {
            let index = value.wrapping_sub(i8::MIN) as u8;
            *out = table[usize::from(index)];
        }
    }
}

/// Product of a mask, plus `offset`, with the trunk, which lies in `out` when it starts. A mask of one pixel serves all
/// pixels.
pub fn gate(mask: MapRow<'_>, offset: i32, zero_point: i8, requant: &Requant, lo: i8, hi: i8, out: &mut [i8]) {
    #[cfg(all(target_arch = "x86_64", feature = "std"))]
    let wide = Wide::find().map(|wide| wide.conversion(requant, None, lo, hi));
    let pixel = |(mask, out): (&[i8], &mut [i8])| {
        #[cfg(all(target_arch = "x86_64", feature = "std"))]
        if let Some(wide) = &wide {
            return wide.run(mask, out, |mask, trunk| arith::gate(mask, offset, trunk, zero_point));
        }
        for (mask, out) in mask.iter().zip(out) {
            *out = requant.apply(arith::gate(*mask, offset, *out, zero_point), lo, hi);
        }
    };
    if mask.bytes.len() <= mask.channels {
        let pixels = out.chunks_mut(mask.channels.max(1));
        core::iter::repeat(mask.bytes).zip(pixels).for_each(pixel);
    } else {
        runs(mask, out, |mask, out| pixel((mask, out)));
    }
}

/// The larger of each channel and what is there.
pub fn largest(values: &[i8], best: &mut [i8]) {
    #[cfg(skipstone_mve)]
    return mve::largest(values, best);
    #[cfg(all(target_arch = "x86_64", feature = "std"))]
    if Wide::find().is_some_and(|wide| wide.largest(values, best)) {
        return;
    }
    #[cfg(not(skipstone_mve))]
    for (value, best) in values.iter().zip(best) {
        *best = (*best).max(*value);
    }
}

/// Adds each channel to its sum, `weight` times.
pub fn weigh(values: &[i8], weight: i32, sums: &mut [i32]) {
    #[cfg(all(target_arch = "x86_64", feature = "std"))]
    if Wide::find().is_some_and(|wide| wide.weigh(values, weight, sums)) {
        return;
    }
    for (value, sum) in values.iter().zip(sums) {
        *sum = arith::weigh(*sum, weight, *value);
    }
}

/// Adds each channel's sum to a wider one, `weight` times.
pub fn weigh_sums(sums: &[i32], weight: i32, wide: &mut [i64]) {
    for (sum, wide) in sums.iter().zip(wide) {
        *wide = arith::weigh_sum(*wide, weight, *sum);
    }
}

/// The values of a resampling, out of the sums of each channel, which lose `bits` bits.
pub fn resample(sums: &[i64], bits: u32, requant: &Requant, lo: i8, hi: i8, out: &mut [i8]) {
    for (sum, out) in sums.iter().zip(out) {
        *out = requant.apply(arith::narrow(*sum, bits), lo, hi);
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

/// The averages of a pool or the values of a resize, out of the sums of each channel.
pub fn average(sums: &[i32], requant: &Requant, lo: i8, hi: i8, out: &mut [i8]) {
    #[cfg(all(target_arch = "x86_64", feature = "std"))]
    if Wide::find().is_some_and(|wide| wide.average(sums, requant, lo, hi, out)) {
        return;
    }
    for (sum, out) in sums.iter().zip(out) {
        *out = requant.apply(raise(*sum), lo, hi);
    }
}

/// The sum of the squares of a pixel's channels, those left out whose `mask` is 0.
pub fn squares(pixel: &[i8], mask: &[i8], zero_point: i8) -> u32 {
    let counted = pixel.iter().zip(mask).filter(|(_, mask)| **mask != 0);
    counted.fold(0, |sum, (value, _)| arith::add_square(sum, *value, zero_point))
}

/// A pixel divided by its norm; `requant` is [`arith::over_root`] of the sum of squares.
pub fn l2_norm(pixel: &[i8], zero_point: i8, requant: &Requant, lo: i8, hi: i8, out: &mut [i8]) {
    for (value, out) in pixel.iter().zip(out) {
        *out = requant.apply(arith::l2_distance(*value, zero_point), lo, hi);
    }
}

/// Adds the pixels of a row to the sums of each channel, and their squares to the sums of squares after those.
pub fn moments(input: MapRow<'_>, moments: &mut [i32]) {
    let (sums, squares) = moments.split_at_mut_checked(moments.len() / 2).unwrap_or_default();
    for pixel in input.pixels() {
        for ((value, sum), square) in pixel.iter().zip(sums.iter_mut()).zip(squares.iter_mut()) {
            *sum = sum.wrapping_add(i32::from(*value));
            *square = arith::add_square(*square as u32, *value, 0) as i32;
        }
    }
}

/// Sums, sums of squares, and room for as many numbers, of each channel's map of `count` values: becomes sums,
/// multipliers and shifts of the conversions that divide by the deviation.
pub fn deviations(state: &mut [i32], count: u32, fraction: u32, numerator: &Requant) {
    let (sums, rest) = state.split_at_mut_checked(state.len() / 3).unwrap_or_default();
    let (squares, shifts) = rest.split_at_mut_checked(rest.len() / 2).unwrap_or_default();
    for ((sum, square), shift) in sums.iter().zip(squares).zip(shifts) {
        let squared = u64::from(*square as u32);
        let squared = arith::instance_square(count, *sum, squared, fraction, numerator.c.unsigned_abs());
        let requant = arith::over_root(squared, numerator, 0);
        (*square, *shift) = (requant.m, requant.s as i32);
    }
}

/// [`deviations`] of the maps of several channels together: of each `size` whose `mask` is not 0, one after the other.
/// `count` is the number of values of a group. Channels that only pad get a multiplier of 0.
pub fn group_deviations(
    state: &mut [i32],
    (mask, size): (&[i8], usize),
    count: u32,
    fraction: u32,
    numerator: &Requant,
) {
    let (mut sums, rest) = state.split_at_mut_checked(state.len() / 3).unwrap_or_default();
    let (mut squares, mut shifts) = rest.split_at_mut_checked(rest.len() / 2).unwrap_or_default();
    let mut mask = mask;
    while !sums.is_empty() {
        let counted = mask.iter().enumerate().filter(|(_, counts)| **counts != 0);
        let end = { counted }.nth(size.saturating_sub(1)).map_or(sums.len(), |(last, _)| last + 1).min(sums.len());
        let (group, later) = mask.split_at_checked(end).unwrap_or_default();
        mask = later;
        let [of_sums, of_squares, of_shifts] = [&mut sums, &mut squares, &mut shifts].map(|all| {
            let (of, later) = core::mem::take(all).split_at_mut_checked(end).unwrap_or_default();
            *all = later;
            of
        });
        let counted = || group.iter().map(|counts| *counts != 0);
        let sum = of_sums
            .iter()
            .zip(counted())
            .filter(|(_, counts)| *counts)
            .fold(0i32, |all, (sum, _)| all.wrapping_add(*sum));
        let squared = of_squares.iter().zip(counted()).filter(|(_, counts)| *counts);
        let squared = squared.fold(0u64, |all, (square, _)| all.wrapping_add((*square as u32).into()));
        let squared = arith::instance_square(count, sum, squared, fraction, numerator.c.unsigned_abs());
        let requant = arith::over_root(squared, numerator, 0);
        of_sums.fill(sum);
        of_squares.iter_mut().zip(counted()).for_each(|(m, counts)| *m = if counts { requant.m } else { 0 });
        of_shifts.fill(requant.s as i32);
    }
}

/// What [`deviations`] made of a map, for the channels from `first` on.
#[derive(Clone, Copy, Debug)]
pub struct Deviations<'a> {
    /// Sums, multipliers and shifts of all channels.
    pub state: &'a [i32],
    /// The first channel.
    pub first: usize,
    /// Values of a channel.
    pub count: u32,
    /// Of the result.
    pub zero_point: i8,
}

/// Some channels of a pixel, each less its mean and divided by its deviation.
pub fn instance_norm(values: &[i8], deviations: Deviations<'_>, lo: i8, hi: i8, out: &mut [i8]) {
    let Deviations { state, first, count, zero_point } = deviations;
    let channels = state.len() / 3;
    let part = |index: usize| state.get(index * channels + first..).unwrap_or(&[]).iter();
    for ((((value, sum), m), s), out) in values.iter().zip(part(0)).zip(part(1)).zip(part(2)).zip(out) {
        let requant = arith::to_zero_point(*m, *s as u32, zero_point);
        *out = requant.apply(arith::instance_distance(*value, count, *sum), lo, hi);
    }
}

/// Runs of the channels of a pixel, of which `input` has those after the first `before`.
pub fn copy_runs(input: &[i8], before: usize, runs: &[Run], out: &mut [i8]) {
    for run in runs {
        // What of the run lies in front of these channels.
        let skipped = before.saturating_sub(run.from.into());
        let from = usize::from(run.from).saturating_sub(before);
        let len = usize::from(run.len).saturating_sub(skipped);
        let values = input.get(from..).unwrap_or(&[]);
        let out = out.get_mut(usize::from(run.to) + skipped..).unwrap_or(&mut []);
        load::copy(values.get(..len).unwrap_or(values), out);
    }
}

/// Brings the elements of the first slice to the second, which is as long, as unsigned bytes.
pub fn unsigned(from: &[i8], to: &mut [Uint8]) {
    #[cfg(all(target_arch = "x86_64", feature = "std"))]
    return super::x86::unsigned(from, to);
    #[cfg(not(all(target_arch = "x86_64", feature = "std")))]
    load::unsigned(from, to);
}

/// A row of pixels, converted channel by channel: the constants of one stay in registers.
pub fn quantize(pixels: &[u8], requant: &[Requant], out: &mut [i8]) {
    #[cfg(all(target_arch = "x86_64", feature = "std"))]
    let (pixels, out) = {
        let made = Wide::find().map_or(0, |wide| wide.quantize(pixels, requant, out));
        (pixels.get(made..).unwrap_or(&[]), out.get_mut(made..).unwrap_or_default())
    };
    let channels = requant.len().max(1);
    for (channel, requant) in requant.iter().enumerate() {
        let requant = *requant;
        for (pixel, out) in pixels.chunks_exact(channels).zip(out.chunks_exact_mut(channels)) {
            if let (Some(value), Some(out)) = (pixel.get(channel), out.get_mut(channel)) {
                *out = requant.apply(raise((*value).into()), i8::MIN, i8::MAX);
            }
        }
    }
}
