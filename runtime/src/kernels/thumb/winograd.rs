//! Products of minimal filtering on Armv7-M, of four output channels and two tiles.

use crate::kernels::conv::ConvRows;
use crate::kernels::layout::winograd::POSITIONS;
use crate::kernels::spec::CONV_2X4_WINOGRAD_ARMV7M;
use crate::kernels::{ConvCode, ConvKernel, winograd};
use core::arch::naked_asm;

/// [`CONV_2X4_WINOGRAD_ARMV7M`].
pub(super) const CONV: ConvKernel =
    ConvKernel { spec: &CONV_2X4_WINOGRAD_ARMV7M, code: ConvCode::Int8(conv_2x4_winograd_armv7m) };

/// Convolution by transformed weights.
fn conv_2x4_winograd_armv7m(rows: &mut ConvRows<'_, i8>) {
    winograd::conv(rows, products);
}

/// The products of tiles, as [`winograd::Products`] says; none where the operands have not their lengths, which the layout
/// rules out.
fn products(v: &[i16], u: &[i8], m: &mut [i32], inputs: usize) {
    if inputs == 0 || !inputs.is_multiple_of(8) || u.len() < 2 * 4 * POSITIONS * inputs {
        return;
    }
    for (v, m) in v.chunks_exact((2 * POSITIONS * inputs).max(1)).zip(m.chunks_exact_mut(2 * POSITIONS * 4)) {
        // SAFETY: both tiles have 24 times `inputs` elements of V and 24 times 4 of M, which are aligned as their types, and
        // U has at least as many for 4 channels; `inputs` is a multiple of 8, more than 0.
        unsafe { products_2x4(v.as_ptr(), u.as_ptr(), m.as_mut_ptr(), inputs) };
    }
}

// r0 V of the first tile, r1 bytes to that of the second, r2 U, r3 and r4 V, lr U, r5..r8 the sums of the first tile, r9..r12
// of the second. On the stack: 0 end of U in the position, 4 M, 8 bytes of U in a position, 12 end of all U.

/// 64 multiply-accumulates take 116 instructions.
///
/// # Safety
/// `v` must be readable for 2 tiles of 24 times `inputs`, `u` for 24 times 4 times `inputs` 16-bit numbers, `m` writable for 2
/// tiles of 24 times 4 numbers; `inputs` must be a multiple of 8 and not 0.
#[unsafe(naked)]
unsafe extern "C" fn products_2x4(v: *const i16, u: *const i8, m: *mut i32, inputs: usize) {
    naked_asm!(
        ".macro skipstone_input at",
        "ldrsh r4, [r0, r1]",
        "ldrsh r3, [r0], #2",
        "ldrsh lr, [r2, #\\at]",
        "mla r5, lr, r3, r5",
        "mla r9, lr, r4, r9",
        "ldrsh lr, [r2, #\\at+4]",
        "mla r6, lr, r3, r6",
        "mla r10, lr, r4, r10",
        "ldrsh lr, [r2, #\\at+8]",
        "mla r7, lr, r3, r7",
        "mla r11, lr, r4, r11",
        "ldrsh lr, [r2, #\\at+12]",
        "mla r8, lr, r3, r8",
        "mla r12, lr, r4, r12",
        ".endm",
        "push {{r4-r11, lr}}",
        "sub sp, sp, #20",
        "lsl r4, r3, #3",
        "add r5, r1, r4",
        "strd r5, r2, [sp]",
        "add r6, r4, r4, lsl #1",
        "add r6, r1, r6, lsl #3",
        "strd r4, r6, [sp, #8]",
        "mov r2, r1",
        "add r1, r3, r3, lsl #1",
        "lsl r1, r1, #4",
        // A position.
        "2:",
        "mov r5, #0",
        "mov r6, #0",
        "mov r7, #0",
        "mov r8, #0",
        "mov r9, #0",
        "mov r10, #0",
        "mov r11, #0",
        "mov r12, #0",
        "3:",
        "skipstone_input 0",
        "skipstone_input 2",
        "skipstone_input 16",
        "skipstone_input 18",
        "skipstone_input 32",
        "skipstone_input 34",
        "skipstone_input 48",
        "skipstone_input 50",
        "add r2, r2, #64",
        "ldr lr, [sp]",
        "cmp r2, lr",
        "bne 3b",
        "ldr r3, [sp, #4]",
        "stm r3!, {{r5-r8}}",
        "add r4, r3, #368",
        "stm r4, {{r9-r12}}",
        "str r3, [sp, #4]",
        "ldrd r3, r4, [sp, #8]",
        "add lr, lr, r3",
        "str lr, [sp]",
        "cmp r2, r4",
        "bne 2b",
        "add sp, sp, #20",
        "pop {{r4-r11, pc}}",
        ".purgem skipstone_input",
    )
}
