//! Scalar kernels for cores whose registers are few: blocks of 2 output channels x 2 pixels, which need four sums, four
//! values and four addresses.

use super::conv::{ConvRow, ConvRows};
use super::spec::CONV_2X2_SCALAR;
use super::{ConvCode, ConvKernel};

/// [`CONV_2X2_SCALAR`].
pub const CONV: ConvKernel = ConvKernel { spec: &CONV_2X2_SCALAR, code: ConvCode::Int8(conv_2x2_scalar) };

/// Convolution by canonical weights without groups, of an even number of output channels.
pub fn conv_2x2_scalar(rows: &mut ConvRows<'_, i8>) {
    rows.each(conv_row);
}

fn conv_row(row: &mut ConvRow<'_, i8>) {
    let kernel = row.shape.kernel_h * row.run();
    let (channels, step, width) = (row.channels_out(), row.pixel_step(), row.width_out());
    for (pair, requant) in row.requant.as_chunks::<2>().0.iter().enumerate() {
        let weights = row.weights.get(2 * pair * kernel..).and_then(|rest| rest.split_at_checked(kernel));
        let Some((first, second)) = weights else { return };
        let mut x = 0;
        while x + 1 < width {
            let [a, b] = sums(row, [x * step, (x + 1) * step], first, second);
            row.finish(x * channels + 2 * pair, a, requant);
            row.finish((x + 1) * channels + 2 * pair, b, requant);
            x += 2;
        }
        if x < width {
            let [sums, _] = sums(row, [x * step; 2], first, second);
            row.finish(x * channels + 2 * pair, sums, requant);
        }
    }
}

/// `[pixel][channel]`: the accumulators of two pixels, whose runs start at `at` in the first row, for the channels of two
/// kernels.
#[inline(always)]
fn sums(row: &ConvRow<'_, i8>, at: [usize; 2], mut first: &[i8], mut second: &[i8]) -> [[i32; 2]; 2] {
    let run = row.run();
    let [mut a, mut b] = [[0i32; 2]; 2];
    for pixels in row.rows.chunks(row.row_len.max(1)).take(row.shape.kernel_h) {
        let run_at = |at: usize| pixels.get(at..).and_then(|rest| rest.get(..run)).unwrap_or(&[]);
        let values = run_at(at[0]).iter().zip(run_at(at[1]));
        for ((&p, &q), (&u, &v)) in values.zip(first.iter().zip(second)) {
            let [p, q, u, v] = [p, q, u, v].map(i32::from);
            a = [a[0].wrapping_add(p.wrapping_mul(u)), a[1].wrapping_add(p.wrapping_mul(v))];
            b = [b[0].wrapping_add(q.wrapping_mul(u)), b[1].wrapping_add(q.wrapping_mul(v))];
        }
        first = first.get(run..).unwrap_or(&[]);
        second = second.get(run..).unwrap_or(&[]);
    }
    [a, b]
}
