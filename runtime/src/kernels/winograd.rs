//! 3x3 convolutions of stride 1 by minimal filtering, F(2x4, 3x3), over [`WINOGRAD`](super::layout::WINOGRAD) weights: what
//! cores share that multiply one number at a time. 3 products take the place of 9. Sums are exact modulo 2^32, and the layout
//! lets none reach 2^31, so outputs are those of the plain convolution.

use super::conv::{ConvParts, ConvRows};
use super::layout::tiles;
use crate::arith::Requant;
use crate::kernels::layout::winograd::POSITIONS;

/// Output channels whose products are made at a time.
const CHANNELS: usize = 4;
/// Sums of products of a tile.
const SUMS: usize = POSITIONS * CHANNELS;
/// The inverse of 3 modulo 2^32.
const THIRD: i32 = 0xAAAA_AAABu32 as i32;

/// The products of tiles, an even number. `m[tile][position][channel]` is the sum over the input channels of
/// `v[tile][position][input] * u[position][input / 2][channel][input % 2]`, 16 bits each, little-endian.
pub(super) type Products = fn(v: &[i16], u: &[i8], m: &mut [i32], inputs: usize);

/// Convolution by transformed weights.
pub(super) fn conv(rows: &mut ConvRows<'_, i8>, products: Products) {
    let parts = rows.parts();
    let width = parts.shape.width;
    let at_once = tiles(&parts.shape).max(1);
    for row in (0..parts.count).step_by(2) {
        for first in (0..width.div_ceil(4)).step_by(at_once) {
            let tiles = Tiles { row, first, count: at_once.min(width.div_ceil(4) - first), width };
            if tiles.make(parts, products).is_none() {
                return;
            }
        }
    }
}

/// Tiles side by side in output rows `row` and, if it is made, `row + 1`.
struct Tiles {
    row: usize,
    first: usize,
    count: usize,
    /// Pixels of a row.
    width: usize,
}

impl Tiles {
    /// Makes them; `None` if something does not lie in its slice, which a [`ConvRows`] rules out.
    fn make(&self, parts: &mut ConvParts<'_, i8>, products: Products) -> Option<()> {
        let inputs = parts.shape.channels_in;
        let even = self.count.next_multiple_of(2);
        let (v, rest) = parts.scratch.split_at_mut_checked(2 * even * POSITIONS * inputs)?;
        let v: &mut [i16] = bytemuck::try_cast_slice_mut(v).ok()?;
        let m: &mut [i32] = bytemuck::try_cast_slice_mut(rest.get_mut(..4 * even * SUMS)?).ok()?;
        let mut rows = [&[][..]; 4];
        for (index, pixels) in rows.iter_mut().enumerate() {
            // Only the second output row reads the fourth row.
            let index = if self.row + 1 < parts.count { index } else { index.min(2) };
            *pixels = parts.rows.get((self.row + index) * parts.row_len + 4 * self.first * inputs..)?;
        }
        for (tile, v) in v.chunks_mut((POSITIONS * inputs).max(1)).enumerate() {
            transform(rows.map(|row| row.get(4 * tile * inputs..).unwrap_or(&[])), v, inputs)?;
        }
        let weights = parts.weights.chunks((2 * SUMS * inputs).max(1));
        for (block, (requant, u)) in parts.requant.as_chunks().0.iter().zip(weights).enumerate() {
            products(v, u, m, inputs);
            let finish =
                Finish { residual: parts.residual, lo: parts.lo, hi: parts.hi, channels: parts.shape.channels_out };
            let out = parts.out.get_mut(..parts.count)?;
            for (tile, m) in m.as_chunks::<CHANNELS>().0.as_chunks().0.iter().take(self.count).enumerate() {
                self.put(&finish, out, tile, m, requant, CHANNELS * block);
            }
        }
        Some(())
    }

    /// Makes the outputs of a tile, of four channels from `channel` on.
    #[inline(always)]
    fn put(
        &self,
        finish: &Finish,
        out: &mut [&mut [i8]],
        tile: usize,
        m: &[[i32; CHANNELS]; POSITIONS],
        requant: &[Requant; CHANNELS],
        channel: usize,
    ) {
        let x = 4 * (self.first + tile);
        // Of rows, pixels and channels.
        let mut made = [[[0; CHANNELS]; 4]; 2];
        let [upper, lower] = &mut made;
        for offset in 0..CHANNELS {
            let columns = core::array::from_fn::<_, 6, _>(|x| {
                let [a, b, c, d] = [m[x], m[x + 6], m[x + 12], m[x + 18]].map(|sums| sums[offset]);
                [a.wrapping_add(b).wrapping_add(c), b.wrapping_sub(c).wrapping_sub(d)]
            });
            for (pixel, sum) in upper.iter_mut().zip(sums(columns.map(|[upper, _]| upper))) {
                pixel[offset] = sum;
            }
            for (pixel, sum) in lower.iter_mut().zip(sums(columns.map(|[_, lower]| lower))) {
                pixel[offset] = sum;
            }
        }
        for (out, made) in out.iter_mut().skip(self.row).zip(&made) {
            for (pixel, sums) in made.iter().enumerate().take(self.width - x) {
                let place = out.get_mut((x + pixel) * finish.channels + channel..);
                let Some(place) = place.and_then(|rest| rest.first_chunk_mut::<CHANNELS>()) else { continue };
                for ((out, sum), requant) in place.iter_mut().zip(sums).zip(requant) {
                    *out = match finish.residual {
                        None => requant.apply(*sum, finish.lo, finish.hi),
                        Some(multiplier) => requant.apply_residual(*sum, *out, multiplier, finish.lo, finish.hi),
                    };
                }
            }
        }
    }
}

/// What outputs are made by, besides the constants of their channel.
struct Finish {
    residual: Option<i32>,
    lo: i8,
    hi: i8,
    /// Channels of an output pixel.
    channels: usize,
}

/// The transform of the pixels, `B' d B`, of a tile whose pixels start the rows.
fn transform(rows: [&[i8]; 4], v: &mut [i16], inputs: usize) -> Option<()> {
    let [a, b, c, d] = rows;
    let (first, rest) = v.split_at_mut_checked(6 * inputs)?;
    let (second, rest) = rest.split_at_mut_checked(6 * inputs)?;
    let (third, fourth) = rest.split_at_mut_checked(6 * inputs)?;
    combine::<-1>([a, c], first, inputs)?;
    combine::<1>([b, c], second, inputs)?;
    combine::<-1>([c, b], third, inputs)?;
    combine::<-1>([b, d], fourth, inputs)
}

/// A row of the transform: one row of pixels and `SIGN` times another.
fn combine<const SIGN: i32>([p, q]: [&[i8]; 2], v: &mut [i16], inputs: usize) -> Option<()> {
    // Slices of `inputs` elements each.
    let (p, q) = (columns(p, inputs)?, columns(q, inputs)?);
    let (v0, rest) = v.split_at_mut_checked(inputs)?;
    let (v1, rest) = rest.split_at_mut_checked(inputs)?;
    let (v2, rest) = rest.split_at_mut_checked(inputs)?;
    let (v3, rest) = rest.split_at_mut_checked(inputs)?;
    let (v4, rest) = rest.split_at_mut_checked(inputs)?;
    let (v5, _) = rest.split_at_mut_checked(inputs)?;
    for place in 0..inputs {
        // Inputs 0, 2, 1 and 3 of each four lie in this order, as in the weights.
        let input = if matches!(place % 4, 1 | 2) { place ^ 3 } else { place };
        let at = |row: &[i8]| row.get(input).copied().map_or(0, i32::from);
        let values = core::array::from_fn(|x| at(p[x]) + SIGN * at(q[x]));
        for (v, value) in [&mut *v0, v1, v2, v3, v4, v5].into_iter().zip(columns_transformed(values)) {
            v[place] = value as i16;
        }
    }
    Some(())
}

/// The first six pixels of a row.
#[inline(always)]
fn columns(row: &[i8], inputs: usize) -> Option<[&[i8]; 6]> {
    let (a, rest) = row.split_at_checked(inputs)?;
    let (b, rest) = rest.split_at_checked(inputs)?;
    let (c, rest) = rest.split_at_checked(inputs)?;
    let (d, rest) = rest.split_at_checked(inputs)?;
    let (e, rest) = rest.split_at_checked(inputs)?;
    let (f, _) = rest.split_at_checked(inputs)?;
    Some([a, b, c, d, e, f])
}

/// A row of the transform of the pixels.
#[inline(always)]
fn columns_transformed([a, b, c, d, e, f]: [i32; 6]) -> [i32; 6] {
    let (even, odd) = (e - 4 * c, d - 4 * b);
    let (near, far) = (e - c, 2 * (d - b));
    [4 * (a - c) + near, even + odd, even - odd, near + far, near - far, 4 * b - 5 * d + f]
}

/// The sums of four pixels, of the six of their columns, which are 48, 24, 12 and 12 times too large: a third modulo 2^32,
/// and what is left by shifts.
#[inline(always)]
fn sums([a, b, c, d, e, f]: [i32; 6]) -> [i32; 4] {
    let (near, near_odd) = (b.wrapping_add(c), b.wrapping_sub(c));
    let (far, far_odd) = (d.wrapping_add(e), d.wrapping_sub(e));
    let third = |value: i32, shift: u32| value.wrapping_mul(THIRD) >> shift;
    [
        third(a.wrapping_mul(6).wrapping_add(far).wrapping_sub(near.wrapping_mul(4)), 4),
        third(far_odd.wrapping_sub(near_odd.wrapping_mul(2)), 3),
        third(far.wrapping_sub(near), 2),
        third(far_odd.wrapping_mul(2).wrapping_sub(near_odd).wrapping_add(f.wrapping_mul(6)), 2),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::conformance::compare_with_reference;
    use crate::kernels::spec::CONV_2X4_WINOGRAD_ARMV7M;
    use crate::kernels::{ConvCode, ConvKernel};

    /// The products as they are defined.
    fn products(v: &[i16], u: &[i8], m: &mut [i32], inputs: usize) {
        for (index, sum) in m.iter_mut().enumerate() {
            let (tile, position, channel) = (index / SUMS, index / CHANNELS % POSITIONS, index % CHANNELS);
            *sum = (0..inputs).fold(0, |sum, input| {
                let at = 2 * ((position * inputs + input / 2 * 2) * CHANNELS + 2 * channel + input % 2);
                let weight = i32::from(i16::from_le_bytes([u[at] as u8, u[at + 1] as u8]));
                sum.wrapping_add(weight.wrapping_mul(v[(tile * POSITIONS + position) * inputs + input].into()))
            });
        }
    }

    #[test]
    fn transforms_equal_the_plain_convolution() {
        let run = |rows: &mut ConvRows<'_, i8>| conv(rows, products);
        let kernel = ConvKernel { spec: &CONV_2X4_WINOGRAD_ARMV7M, code: ConvCode::Int8(run) };
        assert!(compare_with_reference(&kernel).unwrap() > 30);
    }
}
