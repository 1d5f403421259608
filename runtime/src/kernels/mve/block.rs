//! Blocks of four output channels and two pixels, in assembly: the inner loop needs all general registers.

use crate::arith::{OPERAND_SHIFT, Requant, SHIFT_MIN};
use core::arch::naked_asm;

/// What the assembly needs; it reads the fields by their order.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Arguments {
    /// The first pixel's run in the first kernel row.
    pub(super) pixels: *const i8,
    /// Of the first block of four channels.
    pub(super) weights: *const i8,
    /// The first channel of the first pixel; holds the residual operand.
    pub(super) out: *mut i8,
    /// Bytes from an output pixel to the next.
    pub(super) out_step: usize,
    /// Vectors of a run, more than 0.
    pub(super) vectors: usize,
    /// Runs of a pixel, more than 0.
    pub(super) rows: usize,
    /// Bytes from a pixel's run to that of the next pixel.
    pub(super) pixel_step: usize,
    /// Bytes from the end of a run to the same pixel's next run.
    pub(super) row_gap: usize,
    /// Pairs of pixels to make, more than 0.
    pub(super) pairs: usize,
    /// Multiplier of the residual operand, 0 without one.
    pub(super) multiplier: i32,
    /// Of the first block.
    pub(super) requant: *const Requant,
    /// Blocks of channels to make, more than 0.
    pub(super) blocks: usize,
    /// Smallest output.
    pub(super) lo: i32,
    /// Largest output.
    pub(super) hi: i32,
}

/// Makes blocks of four output channels of pairs of pixels.
///
/// # Safety
/// Weights and constants of the blocks' channels must be readable, their outputs of all pixels writable, and the runs of these
/// pixels readable, filled up to vectors.
pub(super) unsafe fn run(arguments: &Arguments) {
    let (unroll, block): (_, unsafe extern "C" fn(&Arguments)) = match arguments.vectors {
        3 => (3, block::<3, true>),
        vectors if vectors.is_multiple_of(3) => (3, block::<3, false>),
        vectors if vectors.is_multiple_of(2) => (2, block::<2, false>),
        _ => (1, block::<1, false>),
    };
    // SAFETY: what this function asks for, in loops of `unroll` vectors.
    unsafe { block(&Arguments { vectors: arguments.vectors / unroll, ..*arguments }) };
}

// r0, r2, r4, r6 the sums of the first pixel, r8, r10, r12, lr of the second; r1 weights, r3 and r5 pixels, r7 loops left in the
// run, r9 runs left, r11 row_gap. q4 the complement of c's low words, q5 c's high words, q6 m, q7 32 - s.
// On the stack: 0 lo, 16 hi, 32 the pair's pixels, 36 the block's weights, 40 the pair's outputs, 44 out_step, 48 vectors,
// 52 rows, 56 pixel_step, 60 row_gap, 64 pairs left, 68 multiplier, 72 the next block's constants, 76 blocks left, 80 pixels,
// 84 the next block's outputs, 88 pairs.
/// [`run`], by loops of `UNROLL` vectors, of which `vectors` are in a run: one if it is `SINGLE`.
///
/// # Safety
/// As [`run`].
#[unsafe(naked)]
unsafe extern "C" fn block<const UNROLL: usize, const SINGLE: bool>(arguments: &Arguments) {
    naked_asm!(
        extension!(),
        // Loads alternate with products, so that both pipelines have work.
        ".macro skipstone_products mac",
        "vldrb.u8 q2, [r1], #16",
        "vldrb.u8 q0, [r3], #16",
        "\\mac r0, q0, q2",
        "vldrb.u8 q1, [r5], #16",
        "\\mac r8, q1, q2",
        "vldrb.u8 q3, [r1], #16",
        "\\mac r2, q0, q3",
        "vldrb.u8 q2, [r1], #16",
        "\\mac r10, q1, q3",
        "\\mac r4, q0, q2",
        "vldrb.u8 q3, [r1], #16",
        "\\mac r12, q1, q2",
        "\\mac r6, q0, q3",
        "\\mac lr, q1, q3",
        ".endm",
        // The high words of \high:\low + c's low words, which carry where \low is more than their complement, shifted.
        ".macro skipstone_round high, low",
        "vpt.u32 hi, \\low, q4",
        "vaddt.i32 \\high, \\high, r9",
        "vshl.s32 \\high, \\high, q7",
        ".endm",
        ".macro skipstone_round_residual",
        "vldrb.s32 q3, [r0]",
        "vmul.i32 q2, q0, q6",
        "vmulh.s32 q0, q0, q6",
        "vshl.i32 q3, q3, #{operand_shift}",
        "vmul.i32 q1, q3, r7",
        "vadd.i32 q0, q0, q5",
        "vadd.i32 q2, q2, q1",
        "vpt.u32 hi, q1, q2",
        "vaddt.i32 q0, q0, r9",
        "vdup.32 q1, r7",
        "vmulh.s32 q3, q3, q1",
        "vadd.i32 q0, q0, q3",
        "skipstone_round q0, q2",
        "vldrw.u32 q2, [sp]",
        "vldrw.u32 q3, [sp, #16]",
        "vmax.s32 q0, q0, q2",
        "vmin.s32 q0, q0, q3",
        "vstrb.32 q0, [r0]",
        "add r0, r0, r2",
        ".endm",
        "push {{r4-r11, lr}}",
        "vpush {{d8-d15}}",
        "sub sp, sp, #92",
        "ldm r0!, {{r1-r12}}",
        "add lr, sp, #32",
        "stm lr, {{r1-r12}}",
        "str r1, [sp, #80]",
        "strd r3, r9, [sp, #84]",
        "mov r11, r8",
        "ldm r0, {{r1, r2}}",
        "vdup.32 q0, r1",
        "vstrw.32 q0, [sp]",
        "vdup.32 q0, r2",
        "vstrw.32 q0, [sp, #16]",
        // A block of channels.
        "2:",
        "ldr r1, [sp, #72]",
        "ldrd r3, r5, [sp, #80]",
        "ldr r7, [sp, #88]",
        "vld40.32 {{q4, q5, q6, q7}}, [r1]",
        "vld41.32 {{q4, q5, q6, q7}}, [r1]",
        "vld42.32 {{q4, q5, q6, q7}}, [r1]",
        "vld43.32 {{q4, q5, q6, q7}}, [r1]!",
        "mov r9, #{shift_min}",
        "vmvn q4, q4",
        "vneg.s32 q7, q7",
        "vadd.i32 q7, q7, r9",
        "str r1, [sp, #72]",
        "str r3, [sp, #32]",
        "str r5, [sp, #40]",
        "add r5, r5, #4",
        "str r5, [sp, #84]",
        "str r7, [sp, #64]",
        // A pair of pixels.
        "3:",
        "ldrd r3, r1, [sp, #32]",
        "ldr r0, [sp, #56]",
        "ldrd r7, r9, [sp, #48]",
        "add r5, r3, r0",
        "add r0, r0, r5",
        "str r0, [sp, #32]",
        "skipstone_products vmladav.s8",
        ".rept {unroll} - 1",
        "skipstone_products vmladava.s8",
        ".endr",
        "b 5f",
        "4:",
        ".rept {unroll}",
        "skipstone_products vmladava.s8",
        ".endr",
        "5:",
        ".if {single} == 0",
        "subs r7, r7, #1",
        "bne 4b",
        "ldr r7, [sp, #48]",
        ".endif",
        "add r3, r3, r11",
        "add r5, r5, r11",
        "subs r9, r9, #1",
        "bne 4b",
        // Sums to outputs.
        "vmov q0[2], q0[0], r0, r4",
        "vmov q0[3], q0[1], r2, r6",
        "ldrd r0, r2, [sp, #40]",
        "ldrd r5, r7, [sp, #64]",
        "mov r9, #1",
        "cbnz r7, 7f",
        "vmov q1[2], q1[0], r8, r12",
        "vmov q1[3], q1[1], r10, lr",
        "vmul.i32 q2, q0, q6",
        "vmulh.s32 q0, q0, q6",
        "vmul.i32 q3, q1, q6",
        "vmulh.s32 q1, q1, q6",
        "vadd.i32 q0, q0, q5",
        "vadd.i32 q1, q1, q5",
        "skipstone_round q0, q2",
        "skipstone_round q1, q3",
        "vldrw.u32 q2, [sp]",
        "vldrw.u32 q3, [sp, #16]",
        "vmax.s32 q0, q0, q2",
        "vmax.s32 q1, q1, q2",
        "vmin.s32 q0, q0, q3",
        "vmin.s32 q1, q1, q3",
        "vstrb.32 q0, [r0]",
        "add r0, r0, r2",
        "vstrb.32 q1, [r0]",
        "add r0, r0, r2",
        "6:",
        "subs r5, r5, #1",
        "str r0, [sp, #40]",
        "str r5, [sp, #64]",
        "bne 3b",
        // The next block's weights follow.
        "ldr r0, [sp, #76]",
        "str r1, [sp, #36]",
        "subs r0, r0, #1",
        "str r0, [sp, #76]",
        "bne 2b",
        "add sp, sp, #92",
        "vpop {{d8-d15}}",
        "pop {{r4-r11, pc}}",
        "7:",
        "skipstone_round_residual",
        "vmov q0[2], q0[0], r8, r12",
        "vmov q0[3], q0[1], r10, lr",
        "skipstone_round_residual",
        "b 6b",
        ".purgem skipstone_products",
        ".purgem skipstone_round",
        ".purgem skipstone_round_residual",
        unroll = const UNROLL,
        single = const SINGLE as usize,
        operand_shift = const OPERAND_SHIFT,
        shift_min = const SHIFT_MIN,
    )
}
