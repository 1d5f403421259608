//! Convolution by weights in vectors: rows, blocks of output channels, and the pixels that fill no block.

use super::block::{Arguments, run};
use super::gather::gather;
use crate::arith::Requant;
use crate::kernels::conv::{ConvParts, ConvRows};
use crate::kernels::layout::vectors::{BLOCK, VECTOR, is_gathered, runs};

/// Convolution in blocks of 4 output channels and 2 pixels.
pub(super) fn conv_4x2_mve(rows: &mut ConvRows<'_, i8>) {
    let ConvParts { rows, row_len, shape, weights, scratch, requant, residual, lo, hi, out, count, .. } = rows.parts();
    let Some((kernel_rows, run_len)) = runs(shape) else { return };
    let is_gathered = is_gathered(shape);
    let pixel = if is_gathered { shape.kernel_h * shape.group_in() } else { shape.channels_in };
    let group_out = shape.channels_out.checked_div(shape.groups).unwrap_or(0);
    let arguments = Arguments {
        pixels: core::ptr::null(),
        weights: core::ptr::null(),
        out: core::ptr::null_mut(),
        out_step: shape.channels_out,
        vectors: run_len / VECTOR,
        rows: kernel_rows,
        pixel_step: shape.stride_w * pixel,
        // Of any value where there is one run: what it leads to is not read.
        row_gap: row_len.wrapping_sub(run_len),
        pairs: 0,
        multiplier: residual.unwrap_or(0),
        requant: core::ptr::null(),
        lo: i32::from(*lo),
        hi: i32::from(*hi),
    };
    for (y, out) in out.iter_mut().take(*count).enumerate() {
        let Some(padded) = rows.get(y * shape.stride_h * *row_len..) else { return };
        let mut blocks = weights.chunks_exact((kernel_rows * run_len * BLOCK).max(1));
        for (group, requant) in requant.chunks(group_out.max(1)).enumerate() {
            let Some(padded) = padded.get(group * shape.group_in()..) else { return };
            let pixels = if is_gathered { gather(padded, *row_len, shape, scratch) } else { padded };
            let mut row = Row { pixels, out, channels: shape.channels_out, arguments };
            for (index, (requant, weights)) in requant.chunks(BLOCK).zip(&mut blocks).enumerate() {
                row.block(group * group_out + index * BLOCK, weights, requant);
            }
        }
    }
}

/// An output row at work.
struct Row<'r> {
    /// From the first pixel's run on.
    pixels: &'r [i8],
    out: &'r mut [i8],
    channels: usize,
    arguments: Arguments,
}

impl Row<'_> {
    /// Makes 4 output channels, or the last ones, of all pixels. `requant` starts with theirs.
    fn block(&mut self, first: usize, weights: &[i8], requant: &[Requant]) {
        let width = self.out.len() / self.channels.max(1);
        let mut filled = [Requant { c: 0, m: 0, s: 32 }; BLOCK];
        let is_whole = requant.len() >= BLOCK;
        filled.iter_mut().zip(requant).for_each(|(to, from)| *to = *from);
        self.arguments.weights = weights.as_ptr();
        self.arguments.requant = filled.as_ptr();
        let mut made = 0;
        if is_whole && width >= 2 {
            let Some(out) = self.out.get_mut(first..) else { return };
            let mut arguments = Arguments { pixels: self.pixels.as_ptr(), out: out.as_mut_ptr(), ..self.arguments };
            arguments.pairs = width / 2;
            // SAFETY: a `ConvRows` has the weights of all blocks; `filled` has 4 constants. The outputs of all pixels lie
            // in the row, and the runs of all pixels in the input rows or, gathered, in scratch, filled up to vectors as the
            // layout says.
            unsafe { run(&arguments) };
            made = width / 2 * 2;
        }
        for x in made..width {
            self.pixel(x, first, requant.len().min(BLOCK));
        }
    }

    /// Makes `channels` output channels of a pixel, beside the row.
    fn pixel(&mut self, x: usize, first: usize, channels: usize) -> Option<()> {
        let out = self.out.get_mut(x * self.channels + first..)?.get_mut(..channels)?;
        let mut beside = [0i8; 2 * BLOCK];
        beside.iter_mut().zip(out.iter()).for_each(|(to, from)| *to = *from);
        let pixels = self.pixels.get(x * self.arguments.pixel_step..)?;
        // Both pixels of the pair are this one.
        let (pixel_step, out_step, pairs) = (0, BLOCK, 1);
        let arguments = Arguments {
            pixels: pixels.as_ptr(),
            out: beside.as_mut_ptr(),
            pixel_step,
            out_step,
            pairs,
            ..self.arguments
        };
        // SAFETY: as in `block`, for one pixel; `beside` has room for two.
        unsafe { run(&arguments) };
        out.iter_mut().zip(beside).for_each(|(to, from)| *to = from);
        Some(())
    }
}
