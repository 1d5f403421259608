//! Transform of the products, `A' M A`, of tiles of 4 x 4 outputs, and conversion to int8: for each tile 36 sums become
//! 16 outputs.

use crate::arith::{OPERAND_SHIFT, Requant, SHIFT_MIN};
use core::arch::naked_asm;

/// What the assembly needs besides M and the constants; it reads the fields by their order.
#[repr(C)]
pub(super) struct Arguments {
    /// The outputs in each row.
    pub(super) rows: [*mut i8; 4],
    /// Bytes from an output pixel to the next.
    pub(super) pixel_step: u32,
    /// Bytes of M for the tiles, 576 each; not 0.
    pub(super) m_bytes: u32,
    /// Multiplier of the residual operand.
    pub(super) multiplier: i32,
}

/// Makes 4 output channels of the tiles of M, clamped to int8.
///
/// # Safety
/// `m` must be readable for `m_bytes`, and in each row there must be 4 channels of 4 pixels for each tile.
pub(super) unsafe fn outputs(m: *const i32, requant: &[Requant; 4], residual: bool, arguments: &Arguments) {
    let run = if residual { with_residual } else { plain };
    // SAFETY: as the caller promises.
    unsafe { run(m, requant.as_ptr(), arguments) }
}

// r8 M, r9 bytes to the outputs of a tile, r10 and r11 c, r12 m, lr the shift of the high word. On the stack: 0 the
// outputs of each row, 16 pixel_step, 20 m_bytes, 24 multiplier, 28 the constants of the next channel, 32 end of M for
// the channel, 36 end of all, 40 the inverse of 9 modulo 2^32, 44 bytes of outputs for all tiles less 1, 48 M, 52 four
// rows of six sums.
macro_rules! outputs {
    (
        $(#[$doc:meta])* $name:ident,
        begin: [$($begin:literal),*], residual: [$($residual:literal),*], end: [$($end:literal),*], $($constant:tt)*
    ) => {
        $(#[$doc])*
        ///
        /// # Safety
        /// As [`outputs`].
        #[unsafe(naked)]
        unsafe extern "C" fn $name(m: *const i32, requant: *const Requant, arguments: &Arguments) {
            naked_asm!(
                extension!(),
                // The transform of r0..r5: 24, 12, 6 and 6 times r0, r4, r2 and r5.
                ".macro skipstone_transform",
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
                ".endm",
                ".macro skipstone_column at",
                "ldr r0, [r8, #16 * \\at]",
                "ldr r1, [r8, #16 * \\at + 96]",
                "ldr r2, [r8, #16 * \\at + 192]",
                "ldr r3, [r8, #16 * \\at + 288]",
                "ldr r4, [r8, #16 * \\at + 384]",
                "ldr r5, [r8, #16 * \\at + 480]",
                "skipstone_transform",
                "str r0, [sp, #52 + 4 * \\at]",
                "str r4, [sp, #76 + 4 * \\at]",
                "str r2, [sp, #100 + 4 * \\at]",
                "str r5, [sp, #124 + 4 * \\at]",
                ".endm",
                // One output; r1 and r3 are free.
                ".macro skipstone_put sum, place:vararg",
                "mov r1, r10",
                "mov r3, r11",
                "smlal r1, r3, \\sum, r12",
                $($residual,)*
                "asr r3, r3, lr",
                "ssat r3, #8, r3",
                "strb r3, [\\place]",
                ".endm",
                // Four outputs. A ninth of the sums modulo 2^32, and what is left by shifts.
                ".macro skipstone_row row, shift",
                "ldr r0, [sp, #52 + 24 * \\row]",
                "ldr r1, [sp, #56 + 24 * \\row]",
                "ldr r2, [sp, #60 + 24 * \\row]",
                "ldr r3, [sp, #64 + 24 * \\row]",
                "ldr r4, [sp, #68 + 24 * \\row]",
                "ldr r5, [sp, #72 + 24 * \\row]",
                "skipstone_transform",
                "ldr r1, [sp, #40]",
                "ldr r7, [sp, #4 * \\row]",
                "ldr r6, [sp, #16]",
                "mul r0, r0, r1",
                "mul r4, r4, r1",
                "mul r2, r2, r1",
                "mul r5, r5, r1",
                "add r7, r7, r9",
                "asr r0, r0, #\\shift + 3",
                "asr r4, r4, #\\shift + 2",
                "asr r2, r2, #\\shift + 1",
                "asr r5, r5, #\\shift + 1",
                "skipstone_put r0, r7",
                "skipstone_put r4, r7, r6",
                "skipstone_put r2, r7, r6, lsl #1",
                "add r7, r7, r6",
                "skipstone_put r5, r7, r6, lsl #1",
                ".endm",
                "push {{r4-r11, lr}}",
                "sub sp, sp, #148",
                "mov r8, r0",
                "ldm r2, {{r3, r4, r5, r6, r7, r9, r10}}",
                "stm sp, {{r3, r4, r5, r6, r7, r9, r10}}",
                "add r4, r0, #16",
                "str r4, [sp, #36]",
                "movw r5, #0x8e39",
                "movt r5, #0x38e3",
                "str r5, [sp, #40]",
                "lsr r4, r9, #6",
                "mul r4, r4, r5",
                "mul r4, r4, r7",
                "lsl r4, r4, #2",
                "sub r4, r4, #1",
                "str r4, [sp, #44]",
                "mov r9, #0",
                // A channel.
                "2:",
                "ldm r1!, {{r10, r11, r12, lr}}",
                "str r1, [sp, #28]",
                "ldr r4, [sp, #20]",
                "add r4, r4, r8",
                "str r4, [sp, #32]",
                "sub lr, lr, #{shift_min}",
                // A tile.
                "3:",
                "skipstone_column 0",
                "skipstone_column 1",
                "skipstone_column 2",
                "skipstone_column 3",
                "skipstone_column 4",
                "skipstone_column 5",
                $($begin,)*
                "skipstone_row 0, 3",
                "skipstone_row 1, 2",
                "skipstone_row 2, 1",
                "skipstone_row 3, 1",
                $($end,)*
                "ldr r4, [sp, #32]",
                "add r8, r8, #576",
                "add r9, r9, r6, lsl #2",
                "cmp r8, r4",
                "bne 3b",
                // Back to the first tile, its next channel.
                "ldr r4, [sp, #20]",
                "ldr r5, [sp, #44]",
                "ldr r1, [sp, #28]",
                "ldr r6, [sp, #36]",
                "sub r8, r8, r4",
                "sub r9, r9, r5",
                "add r8, r8, #4",
                "cmp r8, r6",
                "bne 2b",
                "add sp, sp, #148",
                "pop {{r4-r11, pc}}",
                ".purgem skipstone_transform",
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
    begin: [],
    residual: [],
    end: [],
}

outputs! {
    /// Outputs with a residual operand, which lies in their place; r8 is its multiplier then.
    with_residual,
    begin: ["str r8, [sp, #48]", "ldr r8, [sp, #24]"],
    residual: [
        "ldrsb \\sum, [\\place]",
        "lsl \\sum, \\sum, #{operand_shift}",
        "smlal r1, r3, \\sum, r8"
    ],
    end: ["ldr r8, [sp, #48]"],
    operand_shift = const OPERAND_SHIFT,
}
