//! Cortex-M cores with the DSP extension (M4, M7, M33): dual 16-bit multiply-accumulates over weights in pairs.

mod dot;

use super::{Backend, ConvKernel, ConvRow, pad, portable};
use dot::{Shape, Sums};

/// SMLAD kernels; canonical weights run the portable one, because these cores multiply no bytes.
pub static BACKEND: Backend = Backend {
    name: "cortex_m",
    available: || true,
    canonical: ConvKernel { name: "conv_4x2_portable", run: portable::conv_4x2_portable },
    pairs: Some(ConvKernel { name: "conv_2x3_smlad", run: conv_2x3_smlad }),
    widen: pad::widen,
};

/// Convolution by weights in pairs: blocks of 2 output channels x 3 pixels, the last pixels of a row by twos or one.
pub fn conv_2x3_smlad(row: &mut ConvRow<'_, i16>) {
    assert!(row.in_bounds(), "a convolution row outside its slices");
    let shape = Shape::new(row);
    for first in (0..row.channels_out()).step_by(2) {
        let weights = &row.weights[first * shape.channel_len()..][..2 * shape.channel_len()];
        let mut left = row.width_out();
        while left > 0 {
            let x = row.width_out() - left;
            let pixels = &row.rows[x * row.pixel_step()..];
            // A row ends with a block of two rather than a lone pixel.
            left -= match left {
                1 => block::<1>(row, &shape, weights, pixels, x, first),
                2 | 4 => block::<2>(row, &shape, weights, pixels, x, first),
                _ => block::<3>(row, &shape, weights, pixels, x, first),
            };
        }
    }
}

/// Makes the outputs of channels `first` and `first + 1` of the `P` pixels from `x`; returns `P`.
#[inline(always)]
fn block<const P: usize>(
    row: &mut ConvRow<'_, i16>,
    shape: &Shape,
    weights: &[i8],
    pixels: &[i16],
    x: usize,
    first: usize,
) -> usize
where
    [[i32; 2]; P]: Sums,
{
    let sums = <[[i32; 2]; P]>::of(shape, weights, pixels);
    let channels = row.channels_out();
    let requant = &row.requant[first..first + 2];
    for (pixel, sums) in sums.iter().enumerate() {
        let out = &mut row.out[(x + pixel) * channels + first..][..2];
        for ((out, requant), &sum) in out.iter_mut().zip(requant).zip(sums) {
            *out = match row.residual {
                None => requant.apply(sum, row.lo, row.hi),
                Some(multiplier) => requant.apply_residual(sum, *out, multiplier, row.lo, row.hi),
            };
        }
    }
    P
}
