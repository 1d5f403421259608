//! Operators without weights that networks spend much on: affines in front of convolutions, maxima, tables.

use crate::arith::{OPERAND_SHIFT, Requant, SHIFT_MIN};
use crate::format::records::TABLE_LEN;
use crate::kernels::map_row::{MapRow, Part};
use core::arch::naked_asm;

/// What [`affine_blocks`] needs; it reads the fields by their order.
#[repr(C)]
struct Affine {
    from: *const i8,
    to: *mut i8,
    /// Bytes from an input pixel to the next.
    from_step: usize,
    /// Bytes from an output pixel to the next.
    to_step: usize,
    pixels: usize,
    blocks: usize,
    /// Of the first four channels.
    requant: *const Requant,
    lo: i32,
    hi: i32,
}

/// Pixels of a row, each channel by its own multiplier and constant, to their places in a padded row. Returns how many channels
/// are made: whole blocks of four.
pub(in crate::kernels) fn affine(
    input: MapRow<'_>,
    requant: &[Requant],
    lo: i8,
    hi: i8,
    part: Part,
    to: &mut [i8],
) -> usize {
    let channels = input.channels.min(requant.len());
    let Some(to) = to.get_mut(part.left..) else { return 0 };
    // Pixels of which all channels are there.
    let whole = |len: usize, step: usize| len.checked_sub(channels).map_or(0, |rest| rest / step.max(1) + 1);
    let pixels = whole(input.bytes.len(), input.pixel_stride).min(whole(to.len(), part.pixel_stride));
    let blocks = channels / 4;
    if blocks == 0 || pixels == 0 {
        return 0;
    }
    let arguments = Affine {
        from: input.bytes.as_ptr(),
        to: to.as_mut_ptr(),
        from_step: input.pixel_stride,
        to_step: part.pixel_stride,
        pixels,
        blocks,
        requant: requant.as_ptr(),
        lo: lo.into(),
        hi: hi.into(),
    };
    // SAFETY: there are blocks and pixels. Both slices have the blocks' channels of all pixels, and there are as many constants.
    unsafe { affine_blocks(&arguments) };
    4 * blocks
}

/// Makes blocks of four channels of all pixels.
///
/// # Safety
/// There must be blocks and pixels, readable and writable, and constants of each channel.
#[unsafe(naked)]
unsafe extern "C" fn affine_blocks(arguments: &Affine) {
    naked_asm!(
        extension!(),
        "push {{r4-r10, lr}}",
        "vpush {{d8-d15}}",
        // r1 from, r2 to, r3 from_step, r4 to_step, r5 pixels, r6 blocks, r7 constants, q2 lo, q3 hi; q4 the complement of c's
        // low words, q5 c's high words, q6 m, q7 32 - s.
        "ldm r0, {{r1-r9}}",
        "vdup.32 q2, r8",
        "vdup.32 q3, r9",
        "mov r8, #{shift_min}",
        "mov r9, #1",
        "2:",
        "vld40.32 {{q4, q5, q6, q7}}, [r7]",
        "vld41.32 {{q4, q5, q6, q7}}, [r7]",
        "vld42.32 {{q4, q5, q6, q7}}, [r7]",
        "vld43.32 {{q4, q5, q6, q7}}, [r7]!",
        "vmvn q4, q4",
        "vneg.s32 q7, q7",
        "vadd.i32 q7, q7, r8",
        "mov r0, r1",
        "mov r10, r2",
        "dls lr, r5",
        "3:",
        "vldrb.s32 q0, [r0]",
        "add r0, r0, r3",
        "vshl.i32 q0, q0, #{operand_shift}",
        "vmul.i32 q1, q0, q6",
        "vmulh.s32 q0, q0, q6",
        "vadd.i32 q0, q0, q5",
        "vpt.u32 hi, q1, q4",
        "vaddt.i32 q0, q0, r9",
        "vshl.s32 q0, q0, q7",
        "vmax.s32 q0, q0, q2",
        "vmin.s32 q0, q0, q3",
        "vstrb.32 q0, [r2]",
        "add r2, r2, r4",
        "le lr, 3b",
        "add r1, r1, #4",
        "add r2, r10, #4",
        "subs r6, r6, #1",
        "bne 2b",
        "vpop {{d8-d15}}",
        "pop {{r4-r10, pc}}",
        operand_shift = const OPERAND_SHIFT,
        shift_min = const SHIFT_MIN,
    )
}

/// The larger of each channel and what is there.
pub(in crate::kernels) fn largest(values: &[i8], best: &mut [i8]) {
    let len = values.len().min(best.len());
    // SAFETY: both slices have so many elements, and they do not overlap.
    unsafe { largest_of(best.as_mut_ptr(), values.as_ptr(), len) };
}

/// # Safety
/// `best` must be writable and `values` readable for `len` elements.
#[unsafe(naked)]
unsafe extern "C" fn largest_of(best: *mut i8, values: *const i8, len: usize) {
    naked_asm!(
        extension!(),
        "mov r12, lr",
        "wlstp.8 lr, r2, 3f",
        "2:",
        "vldrb.u8 q0, [r1], #16",
        "vldrb.u8 q1, [r0]",
        "vmax.s8 q0, q0, q1",
        "vstrb.u8 q0, [r0], #16",
        "letp lr, 2b",
        "3:",
        "bx r12",
    )
}

/// A function of one value; its table starts with the result for -128.
pub(in crate::kernels) fn lookup(values: &[i8], table: &[i8; TABLE_LEN], out: &mut [i8]) {
    let len = values.len().min(out.len());
    // SAFETY: both slices have so many elements, and a byte leads to each of the table's 256 entries.
    unsafe { look_up(out.as_mut_ptr(), values.as_ptr(), len, table) };
}

/// # Safety
/// `out` must be writable and `values` readable for `len` elements.
#[unsafe(naked)]
unsafe extern "C" fn look_up(out: *mut i8, values: *const i8, len: usize, table: &[i8; TABLE_LEN]) {
    naked_asm!(
        extension!(),
        "mov r12, lr",
        "vmov.i8 q1, #0x80",
        "wlstp.8 lr, r2, 3f",
        "2:",
        "vldrb.u8 q0, [r1], #16",
        "veor q0, q0, q1",
        "vldrb.u8 q2, [r3, q0]",
        "vstrb.u8 q2, [r0], #16",
        "letp lr, 2b",
        "3:",
        "bx r12",
    )
}
