//! Convolutions with groups of few channels, by weights in pairs: blocks of two output channels of a group and up to
//! three pixels.

use crate::kernels::conv::{ConvRow, ConvRows};
use core::arch::asm;

/// Convolution with groups of 2, 4, 8 or 16 input channels.
pub(super) fn conv_2x3_smlad_groups(rows: &mut ConvRows<'_, i16>) {
    rows.each(|row| match row.shape.group_in() {
        2 => conv_row::<1>(row),
        4 => conv_row::<2>(row),
        8 => conv_row::<4>(row),
        16 => conv_row::<8>(row),
        _ => (),
    });
}

/// A row of groups of `2 * WORDS` input channels.
#[inline(never)]
fn conv_row<const WORDS: usize>(row: &mut ConvRow<'_, i16>) {
    let group_out = row.channels_out().checked_div(row.shape.groups).unwrap_or(0);
    let walk = Walk {
        kernel_h: row.shape.kernel_h,
        kernel_w: row.shape.kernel_w,
        pixel: row.shape.channels_in,
        row_gap: row.row_len.wrapping_sub(row.run()),
        padding: 4 * (row.shape.kernel_w * WORDS % 2),
        step: row.pixel_step(),
    };
    let channel_weights = 2 * (2 * WORDS * walk.kernel_w).next_multiple_of(4) * walk.kernel_h;
    let (mut first, mut group, mut of_group) = (0, 0, 0);
    while first < row.channels_out() {
        let weights = row.weights.get(first / 2 * channel_weights..).and_then(|rest| rest.get(..channel_weights));
        let Some(weights) = weights else { return };
        let (mut x, mut left) = (0, row.width_out());
        while left > 0 {
            let Some(pixels) = row.rows.get(x * walk.step + group * 2 * WORDS..) else { return };
            let (weights, pixels) = (weights.as_ptr(), pixels.as_ptr());
            // A row ends with blocks of two rather than a lone pixel.
            let made = if left == 3 || left > 4 { 3 } else { left.min(2) };
            // The weights were just sliced to those of two channels. The pixels that are read are those of the windows
            // of pixels that the row has, which lie inside of the rows: a `ConvRow` promises it.
            match made {
                // SAFETY: above, of three windows.
                3 => put(row, x, first, unsafe { walk.sums::<WORDS, 3>(weights, pixels) }),
                // SAFETY: above, of two windows.
                2 => put(row, x, first, unsafe { walk.sums::<WORDS, 2>(weights, pixels) }),
                // SAFETY: above, of one window.
                _ => put(row, x, first, unsafe { walk.sums::<WORDS, 1>(weights, pixels) }),
            }
            (x, left) = (x + made, left - made);
        }
        (first, of_group) = (first + 2, of_group + 2);
        if of_group >= group_out {
            (group, of_group) = (group + 1, 0);
        }
    }
}

/// Makes the outputs of pixels from `x` on, of two channels from `first` on.
#[inline(always)]
fn put<const PIXELS: usize>(row: &mut ConvRow<'_, i16>, x: usize, first: usize, sums: [[i32; 2]; PIXELS]) {
    let requants = row.requant;
    let Some(requants) = requants.get(first..first + 2) else { return };
    for (pixel, sums) in sums.into_iter().enumerate() {
        row.finish((x + pixel) * row.channels_out() + first, sums, requants);
    }
}

/// How windows lie in the rows, in elements, and the weights of two channels, in bytes.
struct Walk {
    kernel_h: usize,
    kernel_w: usize,
    /// From a pixel of the input to the next.
    pixel: usize,
    /// From the end of a kernel row to the next one.
    row_gap: usize,
    /// Weights that only fill up a kernel row.
    padding: usize,
    /// From the window of an output to that of the next.
    step: usize,
}

impl Walk {
    /// The sums of two output channels of some pixels.
    ///
    /// # Safety
    /// Weights must be readable for two channels, pixels for all windows.
    #[inline(always)]
    unsafe fn sums<const WORDS: usize, const PIXELS: usize>(
        &self,
        mut weights: *const i8,
        mut pixels: *const i16,
    ) -> [[i32; 2]; PIXELS] {
        let mut sums = [[0; 2]; PIXELS];
        for _ in 0..self.kernel_h {
            for _ in 0..self.kernel_w {
                for word in 0..WORDS {
                    // SAFETY: as the caller promises; words may be unaligned.
                    let both = unsafe { weights.cast::<u32>().read_unaligned() };
                    weights = weights.wrapping_add(4);
                    let (a, b) = widened(both);
                    for (pixel, [of_a, of_b]) in sums.iter_mut().enumerate() {
                        let at = pixels.wrapping_add(pixel * self.step + 2 * word).cast::<u32>();
                        // SAFETY: as the caller promises; words may be unaligned.
                        let channels = unsafe { at.read_unaligned() };
                        *of_a = smlad(a, channels, *of_a);
                        *of_b = smlad(b, channels, *of_b);
                    }
                }
                pixels = pixels.wrapping_add(self.pixel);
            }
            weights = weights.wrapping_add(self.padding);
            pixels = pixels.wrapping_add(self.row_gap);
        }
        sums
    }
}

/// Bytes 0 and 2, and bytes 1 and 3, as 16-bit numbers.
#[inline(always)]
fn widened(bytes: u32) -> (u32, u32) {
    let (even, odd);
    // SAFETY: the instructions touch registers alone.
    unsafe {
        asm!(
            extension!(),
            "sxtb16 {odd}, {bytes}, ror #8",
            "sxtb16 {even}, {bytes}",
            bytes = in(reg) bytes,
            even = lateout(reg) even,
            odd = out(reg) odd,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    (even, odd)
}

/// Adds the products of two 16-bit numbers.
#[inline(always)]
fn smlad(a: u32, b: u32, sum: i32) -> i32 {
    let made;
    // SAFETY: the instruction touches registers alone, and the flag for overflow that nobody reads.
    unsafe {
        asm!(
            extension!(),
            "smlad {made}, {a}, {b}, {sum}",
            a = in(reg) a,
            b = in(reg) b,
            sum = in(reg) sum,
            made = lateout(reg) made,
            options(pure, nomem, nostack),
        );
    }
    made
}
