//! Transform of the products, `A' M A`, and conversion to int8: for each tile 24 sums become 2 x 4 outputs.

use crate::arith::{OPERAND_SHIFT, Requant, SHIFT_MIN};
use core::arch::naked_asm;

/// What the assembly needs besides M and the outputs; it reads the fields by their order.
#[repr(C)]
pub(super) struct Arguments {
    /// Bytes from an output pixel to the next.
    pub(super) pixel_step: u32,
    /// The outputs in the second row.
    pub(super) lower: *mut i8,
    /// Bytes of M for the tiles, 384 each; not 0.
    pub(super) m_bytes: u32,
    /// Multiplier of the residual operand.
    pub(super) multiplier: i32,
}

/// Makes 4 output channels of the tiles of M, clamped to int8.
///
/// # Safety
/// `m` must be readable for `m_bytes`, and in both rows there must be 4 channels of 4 pixels for each tile.
pub(super) unsafe fn outputs(
    m: *const i32,
    requant: &[Requant; 4],
    upper: *mut i8,
    residual: bool,
    arguments: &Arguments,
) {
    let run = if residual { with_residual } else { plain };
    // SAFETY: as the caller promises.
    unsafe { run(m, requant.as_ptr(), upper, arguments) }
}

// r8 M, r9 the outputs of a tile, r10 and r11 c, r12 m, lr the shift of the high word. On the stack: 0 pixel_step, 4
// the outputs of the tile in the second row, 8 m_bytes, 12 multiplier, 16 the constants of the next channel, 20 end of
// M for the channel, 24 end of all, 28 the inverse of 3 modulo 2^32, 32 bytes from the outputs of the first tile to
// those after the last one.
macro_rules! outputs {
    ($(#[$doc:meta])* $name:ident, residual: [$($residual:literal),*], step: [$($step:literal),*], $($constant:tt)*) => {
        $(#[$doc])*
        ///
        /// # Safety
        /// As [`outputs`].
        #[unsafe(naked)]
        unsafe extern "C" fn $name(m: *const i32, requant: *const Requant, upper: *mut i8, arguments: &Arguments) {
            naked_asm!(
                extension!(),
                // A column of M, whose rows are 96 bytes apart, for the first or second output row.
                ".macro skipstone_column to, at, operation",
                "ldr \\to, [r8, #\\at]",
                "ldr r6, [r8, #\\at+96]",
                "ldr r7, [r8, #\\at+192]",
                "\\operation \\to, \\to, r6",
                "\\operation \\to, \\to, r7",
                ".endm",
                // One output, at r7, the next one r6 bytes after it; r1 and r3 are free.
                ".macro skipstone_put sum",
                "mov r1, r10",
                "mov r3, r11",
                "smlal r1, r3, \\sum, r12",
                $($residual,)*
                "asr r3, r3, lr",
                "ssat r3, #8, r3",
                "strb r3, [r7]",
                $($step,)*
                "add r7, r7, r6",
                ".endm",
                // Sums are 48, 24, 12 and 12 times what they should be: a third modulo 2^32, and what is left by
                // shifts.
                ".macro skipstone_row at, operation",
                "skipstone_column r0, \\at, \\operation",
                "skipstone_column r1, \\at+16, \\operation",
                "skipstone_column r2, \\at+32, \\operation",
                "skipstone_column r3, \\at+48, \\operation",
                "skipstone_column r4, \\at+64, \\operation",
                "skipstone_column r5, \\at+80, \\operation",
                "add r6, r1, r2",
                "sub r1, r1, r2",
                "add r7, r3, r4",
                "sub r3, r3, r4",
                "add r0, r0, r0, lsl #1",
                "sub r2, r7, r6, lsl #2",
                "add r0, r2, r0, lsl #1",
                "sub r2, r7, r6",
                "sub r4, r3, r1, lsl #1",
                "add r5, r5, r5, lsl #1",
                "rsb r1, r1, r3, lsl #1",
                "add r5, r1, r5, lsl #1",
                "ldr r1, [sp, #28]",
                "mul r0, r0, r1",
                "mul r4, r4, r1",
                "mul r2, r2, r1",
                "mul r5, r5, r1",
                "asr r0, r0, #4",
                "asr r4, r4, #3",
                "asr r2, r2, #2",
                "asr r5, r5, #2",
                ".endm",
                "push {{r4-r11, lr}}",
                "sub sp, sp, #36",
                "mov r8, r0",
                "mov r9, r2",
                "ldm r3, {{r4, r5, r6, r7}}",
                "stm sp, {{r4, r5, r6, r7}}",
                "movs r5, #96",
                "udiv r6, r6, r5",
                "mul r6, r6, r4",
                "str r6, [sp, #32]",
                "add r4, r0, #16",
                "str r4, [sp, #24]",
                "movw r4, #0xaaab",
                "movt r4, #0xaaaa",
                "str r4, [sp, #28]",
                // A channel.
                "2:",
                "ldm r1!, {{r10, r11, r12, lr}}",
                "str r1, [sp, #16]",
                "ldr r4, [sp, #8]",
                "add r4, r4, r8",
                "str r4, [sp, #20]",
                "sub lr, lr, #{shift_min}",
                // A tile.
                "3:",
                "skipstone_row 0, add",
                "mov r7, r9",
                "ldr r6, [sp]",
                "skipstone_put r0",
                "skipstone_put r4",
                "skipstone_put r2",
                "skipstone_put r5",
                "mov r9, r7",
                "skipstone_row 96, sub",
                "ldr r7, [sp, #4]",
                "ldr r6, [sp]",
                "skipstone_put r0",
                "skipstone_put r4",
                "skipstone_put r2",
                "skipstone_put r5",
                "ldr r4, [sp, #20]",
                "str r7, [sp, #4]",
                "add r8, r8, #384",
                "cmp r8, r4",
                "bne 3b",
                // Back to the first tile, its next channel.
                "ldr r4, [sp, #8]",
                "ldr r5, [sp, #32]",
                "sub r8, r8, r4",
                "sub r9, r9, r5",
                "sub r7, r7, r5",
                "add r8, r8, #4",
                "add r9, r9, #1",
                "add r7, r7, #1",
                "str r7, [sp, #4]",
                "ldr r4, [sp, #24]",
                "ldr r1, [sp, #16]",
                "cmp r8, r4",
                "bne 2b",
                "add sp, sp, #36",
                "pop {{r4-r11, pc}}",
                ".purgem skipstone_column",
                ".purgem skipstone_put",
                ".purgem skipstone_row",
                shift_min = const SHIFT_MIN,
                $($constant)*
            )
        }
    };
}

outputs! {
    /// Outputs of sums alone.
    plain,
    residual: [],
    step: [],
}

outputs! {
    /// Outputs with a residual operand, which lies in their place.
    with_residual,
    residual: [
        "ldrsb \\sum, [r7]",
        "ldr r6, [sp, #12]",
        "lsl \\sum, \\sum, #{operand_shift}",
        "smlal r1, r3, \\sum, r6"
    ],
    step: ["ldr r6, [sp]"],
    operand_shift = const OPERAND_SHIFT,
}
