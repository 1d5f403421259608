//! Convolution by weights in vectors: rows, blocks of output channels, and the pixels that fill no block.

use super::block::{Arguments, run};
use super::gather::gather;
use crate::arith::Requant;
use crate::kernels::conv::{ConvParts, ConvRows};
use crate::kernels::layout::vectors::{BLOCK, VECTOR, is_gathered, merged, runs};

/// Convolution in blocks of 4 output channels and 2 pixels.
pub(super) fn conv_4x2_mve(rows: &mut ConvRows<'_, i8>) {
    let ConvParts { rows, row_len, shape, weights, scratch, requant, residual, lo, hi, out, count, .. } = rows.parts();
    let shape = &merged(shape);
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
        blocks: 1,
        lo: i32::from(*lo),
        hi: i32::from(*hi),
    };
    for (y, out) in out.iter_mut().take(*count).enumerate() {
        let Some(padded) = rows.get(y * shape.stride_h * *row_len..) else { return };
        let mut weights = weights.chunks_exact((kernel_rows * run_len * group_out.next_multiple_of(BLOCK)).max(1));
        for (group, (requant, weights)) in requant.chunks(group_out.max(1)).zip(&mut weights).enumerate() {
            let Some(padded) = padded.get(group * shape.group_in()..) else { return };
            let pixels = if is_gathered { gather(padded, *row_len, shape, scratch) } else { padded };
            let mut row = Row { pixels, out, channels: shape.channels_out, arguments };
            row.group(group * group_out, weights, requant);
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
    /// Makes the output channels of a group: whole blocks and pairs of pixels in the row, the others beside it.
    fn group(&mut self, first: usize, weights: &[i8], requant: &[Requant]) -> Option<()> {
        let (blocks, _) = requant.as_chunks::<BLOCK>();
        let width = self.out.len() / self.channels.max(1);
        let pairs = width / 2;
        if !blocks.is_empty() && pairs > 0 {
            let arguments = Arguments {
                pixels: self.pixels.as_ptr(),
                weights: weights.as_ptr(),
                out: self.out.get_mut(first..)?.as_mut_ptr(),
                requant: requant.as_ptr(),
                blocks: blocks.len(),
                pairs,
                ..self.arguments
            };
            // SAFETY: a `ConvRows` has the weights and constants of all blocks of a group. The outputs of all pixels lie in the
            // row, and the runs of all pixels in the input rows or, gathered, in scratch, filled up to vectors as the layout
            // says.
            unsafe { run(&arguments) };
        }
        if requant.len() == BLOCK * blocks.len() && width == 2 * pairs {
            return Some(());
        }
        let block_len = weights.len() / requant.len().div_ceil(BLOCK).max(1);
        for (index, (requant, weights)) in requant.chunks(BLOCK).zip(weights.chunks_exact(block_len.max(1))).enumerate()
        {
            let made = if requant.len() == BLOCK { 2 * pairs } else { 0 };
            if made < width {
                self.pixels_beside(made, first + index * BLOCK, weights, requant)?;
            }
        }
        Some(())
    }

    /// Makes a block of four output channels or fewer of the pixels from `made` on, one by one.
    fn pixels_beside(&mut self, made: usize, first: usize, weights: &[i8], requant: &[Requant]) -> Option<()> {
        let mut filled = [Requant { c: 0, m: 0, s: 32 }; BLOCK];
        filled.iter_mut().zip(requant).for_each(|(to, from)| *to = *from);
        let outputs = self.out.chunks_mut(self.channels.max(1)).enumerate().skip(made);
        for (x, out) in outputs {
            let out = out.get_mut(first..)?.get_mut(..requant.len())?;
            let mut beside = [0i8; 2 * BLOCK];
            beside.iter_mut().zip(out.iter()).for_each(|(to, from)| *to = *from);
            let arguments = Arguments {
                pixels: self.pixels.get(x * self.arguments.pixel_step..)?.as_ptr(),
                weights: weights.as_ptr(),
                out: beside.as_mut_ptr(),
                requant: filled.as_ptr(),
                // Both pixels of the pair are this one.
                pixel_step: 0,
                out_step: BLOCK,
                pairs: 1,
                ..self.arguments
            };
            // SAFETY: as in `group`, for one pixel and the weights of one block; `filled` has four constants, `beside` room for
            // two pixels.
            unsafe { run(&arguments) };
            out.iter_mut().zip(beside).for_each(|(to, from)| *to = from);
        }
        Some(())
    }
}
