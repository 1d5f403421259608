//! Operators without weights, 16 values at a time: what they have in common is the conversion of sums, which kernels for
//! convolutions have too.

use super::avx2::Avx2;
use super::constants::Constants;
use super::vnni::Vnni;
use crate::arith::{Requant, raise};
use crate::kernels::load::MapRow;
use crate::kernels::quads::{BLOCK, Isa};

/// Values that are converted together.
const PIXELS: usize = 8;

/// An instruction set that this processor has.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct Wide(Found);

#[derive(Clone, Copy)]
enum Found {
    Vnni(Vnni),
    Avx2(Avx2),
}

impl Wide {
    /// The best one; `None` without AVX2.
    #[inline]
    pub(in crate::kernels) fn find() -> Option<Self> {
        Vnni::find().map(Found::Vnni).or_else(|| Avx2::find().map(Found::Avx2)).map(Self)
    }

    /// Converts the sums of neighbouring pixels, of a block of channels, every `stride` outputs.
    #[inline]
    fn finish(self, constants: &Constants, sums: &[[i32; BLOCK]], out: &mut [i8], stride: usize) {
        match self.0 {
            Found::Vnni(isa) => isa.finish(constants, sums, out, stride),
            Found::Avx2(isa) => isa.finish(constants, sums, out, stride),
        }
    }

    /// Pixels, each channel by its own conversion, to every `stride` elements.
    pub(in crate::kernels) fn affine<T: From<i8>>(
        self,
        row: MapRow<'_>,
        requant: &[Requant],
        (lo, hi): (i8, i8),
        out: &mut [T],
        stride: usize,
    ) {
        for (block, requant) in requant.chunks(BLOCK).enumerate() {
            // All 16 are made, whatever they are, and those that exist are kept.
            let constants = Constants { channels: BLOCK, ..Constants::new(requant, None, [lo, hi]) };
            let (mut from, mut to) = (row.bytes.get(block * BLOCK..), out.get_mut(block * BLOCK..));
            while let (Some(values), Some(places)) = (from, to) {
                let count = values.len().div_ceil(row.pixel_stride.max(1)).min(PIXELS);
                let mut made = [[0; BLOCK]; PIXELS];
                self.affine_pixels(&constants, values, row.pixel_stride, made.get_mut(..count).unwrap_or_default());
                for (made, place) in made.iter().take(count).zip(places.chunks_mut(stride)) {
                    put(made, requant.len(), place);
                }
                from = values.get(PIXELS * row.pixel_stride..).filter(|values| !values.is_empty());
                to = places.get_mut(PIXELS * stride..);
            }
        }
    }

    /// Converts pixels of a block of channels, every `stride` values.
    #[inline]
    fn affine_pixels(self, constants: &Constants, values: &[i8], stride: usize, made: &mut [[i8; BLOCK]]) {
        if let Found::Vnni(isa) = self.0 {
            return isa.affine(constants, values, stride, made);
        }
        let mut sums = [[0; BLOCK]; PIXELS];
        for (sums, pixel) in sums.iter_mut().zip(values.chunks(stride)) {
            sums.iter_mut().zip(pixel).for_each(|(sum, value)| *sum = raise((*value).into()));
        }
        let sums = sums.get(..made.len()).unwrap_or(&[]);
        self.finish(constants, sums, made.as_flattened_mut(), BLOCK);
    }

    /// Converts the first ones of interleaved pixels, each channel by its own conversion; how many elements these are.
    pub(in crate::kernels) fn quantize(self, pixels: &[u8], requants: &[Requant], out: &mut [i8]) -> usize {
        match self.0 {
            Found::Vnni(isa) => isa.quantize(pixels, requants, out),
            Found::Avx2(_) => 0,
        }
    }

    /// The averages of a block of channels out of their sums, with AVX-512.
    #[inline]
    pub(in crate::kernels) fn average(self, sums: &[i32], requant: &Requant, lo: i8, hi: i8, out: &mut [i8]) -> bool {
        let (Found::Vnni(isa), Ok(sums), Ok(out)) = (self.0, sums.try_into(), <&mut [i8; BLOCK]>::try_from(out)) else {
            return false;
        };
        *out = isa.average(sums, requant, lo, hi);
        true
    }

    /// Adds each channel of a block to its sum, `weight` times, with AVX-512.
    #[inline]
    pub(in crate::kernels) fn weigh(self, values: &[i8], weight: i32, sums: &mut [i32]) -> bool {
        let (Found::Vnni(isa), Ok(values), Ok(sums)) = (self.0, values.try_into(), sums.try_into()) else {
            return false;
        };
        isa.weigh(values, weight, sums);
        true
    }

    /// The larger of each channel of a block and what is there, with AVX-512.
    #[inline]
    pub(in crate::kernels) fn largest(self, values: &[i8], best: &mut [i8]) -> bool {
        let (Found::Vnni(isa), Ok(values), Ok(best)) = (self.0, values.try_into(), best.try_into()) else {
            return false;
        };
        isa.largest(values, best);
        true
    }

    /// One conversion for all channels.
    pub(in crate::kernels) fn conversion(self, requant: &Requant, residual: Option<i32>, lo: i8, hi: i8) -> Conversion {
        Conversion { wide: self, constants: Constants::new(&[*requant; BLOCK], residual, [lo, hi]) }
    }
}

/// Writes the first `channels` of a block's values.
#[inline]
fn put<T: From<i8>>(made: &[i8; BLOCK], channels: usize, place: &mut [T]) {
    const HALF: usize = BLOCK / 2;
    if let (Some(place), BLOCK) = (place.first_chunk_mut::<BLOCK>(), channels) {
        *place = made.map(T::from);
    } else if let (Some(place), Some(made), HALF) = (place.first_chunk_mut(), made.first_chunk::<HALF>(), channels) {
        *place = made.map(T::from);
    } else {
        place.iter_mut().zip(made).take(channels).for_each(|(to, made)| *to = (*made).into());
    }
}

/// A conversion that is the same for all channels.
pub(in crate::kernels) struct Conversion {
    wide: Wide,
    constants: Constants,
}

impl Conversion {
    /// Converts dense values; `sum` makes a sum of a value and of what lies in `out`, which is the residual operand where there
    /// is one.
    #[inline]
    pub(in crate::kernels) fn run(&self, values: &[i8], out: &mut [i8], sum: impl Fn(i8, i8) -> i32) {
        for (values, out) in values.chunks(BLOCK * PIXELS).zip(out.chunks_mut(BLOCK * PIXELS)) {
            let mut sums = [[0; BLOCK]; PIXELS];
            for ((to, value), out) in sums.as_flattened_mut().iter_mut().zip(values).zip(&*out) {
                *to = sum(*value, *out);
            }
            let (whole, last) = out.split_at_mut(out.len() / BLOCK * BLOCK);
            let count = whole.len() / BLOCK;
            self.wide.finish(&self.constants, sums.get(..count).unwrap_or(&[]), whole, BLOCK);
            if let (Some(sums), false) = (sums.get(count..count + 1), last.is_empty()) {
                let mut made = [0; BLOCK];
                made.iter_mut().zip(&*last).for_each(|(to, from)| *to = *from);
                self.wide.finish(&self.constants, sums, &mut made, BLOCK);
                last.iter_mut().zip(made).for_each(|(to, from)| *to = from);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    /// Numbers that look random, the same each time.
    fn numbers(seed: u64) -> impl Iterator<Item = u64> {
        let mut state = seed;
        core::iter::repeat_with(move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 20
        })
    }

    fn requants(count: usize) -> Vec<Requant> {
        let of = |n: u64| Requant { c: (n as i64 % 200 - 100) << 37, m: (1 << 29) + n as i32 % (1 << 28), s: 37 };
        numbers(3).map(of).take(count).collect()
    }

    fn both() -> Vec<Wide> {
        let found = [Vnni::find().map(Found::Vnni), Avx2::find().map(Found::Avx2)];
        found.into_iter().flatten().map(Wide).collect()
    }

    #[test]
    fn affines_of_any_channels_are_those_of_scalars() {
        let values: Vec<i8> = numbers(1).map(|n| n as i8).take(19 * 41).collect();
        for wide in both() {
            for (channels, pixel_stride, stride) in [(1, 1, 1), (8, 8, 24), (16, 16, 16), (23, 41, 23), (40, 41, 40)] {
                let requants = requants(channels);
                let bytes = &values[..18 * pixel_stride + channels];
                let mut made = std::vec![77i8; 19 * stride];
                let row = MapRow { bytes, channels, pixel_stride };
                wide.affine(row, &requants, (-90, 100), &mut made, stride);
                for (pixel, made) in bytes.chunks(pixel_stride).zip(made.chunks(stride)) {
                    for ((value, requant), made) in pixel.iter().zip(&requants).zip(made) {
                        assert_eq!(*made, requant.apply(raise((*value).into()), -90, 100), "{channels} channels");
                    }
                    assert!(made[channels..].iter().all(|&made| made == 77), "{channels} channels");
                }
            }
        }
    }

    #[test]
    fn pixels_of_any_channels_are_those_of_scalars() {
        let pixels: Vec<u8> = numbers(2).map(|n| n as u8).take(4 * 53).collect();
        for wide in both() {
            for channels in 1..=5 {
                let requants = requants(channels);
                let pixels = &pixels[..pixels.len() / channels * channels];
                let mut out = std::vec![0; pixels.len()];
                let made = wide.quantize(pixels, &requants, &mut out);
                assert!(made.is_multiple_of(channels) && made <= pixels.len());
                for (at, (pixel, out)) in pixels.iter().zip(out).enumerate().take(made) {
                    let expected = requants[at % channels].apply(raise((*pixel).into()), i8::MIN, i8::MAX);
                    assert_eq!(out, expected, "{channels} channels, element {at}");
                }
            }
        }
    }

    #[test]
    fn blocks_are_those_of_scalars() {
        let values: Vec<i8> = numbers(4).map(|n| n as i8).take(BLOCK).collect();
        for wide in both() {
            let mut sums: Vec<i32> = numbers(5).map(|n| n as i32 % 40_000).take(BLOCK).collect();
            let mut best: Vec<i8> = numbers(6).map(|n| n as i8).take(BLOCK).collect();
            let (first, there) = (sums.clone(), best.clone());
            if wide.weigh(&values, -77, &mut sums) {
                assert!(sums.iter().zip(&first).zip(&values).all(|((a, b), v)| *a == b - 77 * i32::from(*v)));
            }
            if wide.largest(&values, &mut best) {
                assert!(best.iter().zip(&there).zip(&values).all(|((a, b), v)| a == b.max(v)));
            }
            let requant = Requant { c: 5 << 44, m: 1_400_000_000, s: 48 };
            let mut out = [0; BLOCK];
            if wide.average(&sums, &requant, -100, 90, &mut out) {
                let expected = sums.iter().map(|sum| requant.apply(raise(*sum), -100, 90));
                assert!(out.into_iter().eq(expected));
            }
            assert!(!wide.weigh(&values[1..], 1, &mut sums[1..]), "a part of a block is not made");
        }
    }
}
