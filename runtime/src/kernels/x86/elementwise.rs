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
            let constants = Constants::new(requant, None, [lo, hi]);
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
        self.finish(&Constants { channels: BLOCK, ..*constants }, sums, made.as_flattened_mut(), BLOCK);
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
