//! The products: for each position a matrix product over the input channels, `M = U V`, of 4 output channels. Positions
//! are `ROWS` rows of 6. V is `[pair of tiles][row of positions][pair of channels][position of the row][tile of the
//! pair]`, each a word of two 16-bit channels, M is `[tile][position][output channel]`.

use core::arch::naked_asm;

/// What the assembly needs besides the operands; it reads the fields by their order.
#[repr(C)]
pub(super) struct Arguments {
    /// Bytes of U for the 4 output channels in one position, `8 * channels`; `channels` is a multiple of 16, more than
    /// 0.
    pub(super) u_bytes: u32,
    /// Bytes of V for the tiles, `24 * ROWS * channels` for each pair of tiles.
    pub(super) v_bytes: u32,
    /// Bytes of M for the tiles, `192 * ROWS` for each pair of tiles; not 0.
    pub(super) m_bytes: u32,
}

/// The products of 4 output channels.
pub(super) type Products = unsafe extern "C" fn(*const u32, *const i8, *mut i32, &Arguments);

/// Sets up what both kinds of products keep on the stack, 0 to 31: M, the end of U in the row, U of the row, the end of
/// M, the bytes of U in a row, `v_bytes`, `m_bytes`, the end of U.
macro_rules! set_up {
    () => {
        concat!(
            "mov r8, r0\n",
            "mov r9, r1\n",
            "ldm r3, {{r4, r5, r6}}\n",
            "add r4, r4, r4, lsl #1\n",
            "lsl r4, r4, #1\n",
            "add r3, r1, r4\n",
            "strd r2, r3, [sp]\n",
            "add r7, r2, r6\n",
            "strd r1, r7, [sp, #8]\n",
            "strd r4, r5, [sp, #16]\n",
            "movs r5, #{rows}\n",
            "mla r5, r4, r5, r1\n",
            "strd r6, r5, [sp, #24]\n",
        )
    };
}

/// Stores the sums of a position; not equal if there is another one in the row.
macro_rules! put {
    () => {
        concat!(
            "ldr r10, [sp]\n",
            "str r0, [r10]\n",
            "str r1, [r10, #4]\n",
            "str r2, [r10, #8]\n",
            "str r3, [r10, #12]\n",
            "str r4, [r10, #96 * {rows}]\n",
            "str r5, [r10, #96 * {rows} + 4]\n",
            "str r6, [r10, #96 * {rows} + 8]\n",
            "str r7, [r10, #96 * {rows} + 12]\n",
            "add r10, r10, #16\n",
            "str r10, [sp]\n",
            "ldr r12, [sp, #4]\n",
            "cmp r9, r12\n",
        )
    };
}

/// Goes to the same row of the next two tiles, whose V is r11 bytes on; equal if there are none.
macro_rules! next_tiles {
    () => {
        concat!(
            "ldrd r9, r12, [sp, #8]\n",
            "add r10, r10, #192 * {rows} - 96\n",
            "str r10, [sp]\n",
            "add r8, r8, r11\n",
            "cmp r10, r12\n",
        )
    };
}

/// Goes back to the first two tiles, their next row, which has r11 bytes of V; equal if there is none.
macro_rules! next_row {
    () => {
        concat!(
            "ldrd r4, r5, [sp, #16]\n",
            "ldrd r6, r7, [sp, #24]\n",
            "add r9, r9, r4\n",
            "add r12, r12, #96\n",
            "strd r9, r12, [sp, #8]\n",
            "sub r10, r10, r6\n",
            "add r10, r10, #96\n",
            "add r12, r9, r4\n",
            "strd r10, r12, [sp]\n",
            "sub r8, r8, r5\n",
            "add r8, r8, r11\n",
            "cmp r9, r7\n",
        )
    };
}

/// Of any number of input channels that is a multiple of 16.
///
/// # Safety
/// `v` must be readable for `v_bytes`, `u` for `6 * ROWS` times `u_bytes`, `m` writable for `m_bytes`, and the
/// arguments must follow from each other as their fields say.
// r0..r3 the sums of the first tile, r4..r7 of the second, r8 V, r9 U, r10 and r11 weights, r12 and lr pixels. On the
// stack: 0 M, 4 end of U in the row, 8 U of the row, 12 end of M, 16 bytes of U in a row, 20 v_bytes, 24 m_bytes, 28
// end of U, 32 u_bytes, 36 end of U in the position, 40 bytes of V in a row, 44 bytes of V from a row's end to that of
// the next two tiles.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn of_any<const ROWS: usize>(
    v: *const u32,
    u: *const i8,
    m: *mut i32,
    arguments: &Arguments,
) {
    naked_asm!(
        extension!(),
        ".macro skipstone_step k",
        "ldr r10, [r9, #16 * \\k]",
        "ldr r11, [r9, #16 * \\k + 4]",
        "ldr r12, [r8, #48 * \\k]",
        "ldr lr, [r8, #48 * \\k + 4]",
        "smlad r0, r10, r12, r0",
        "smlad r1, r11, r12, r1",
        "smlad r4, r10, lr, r4",
        "smlad r5, r11, lr, r5",
        "ldr r10, [r9, #16 * \\k + 8]",
        "ldr r11, [r9, #16 * \\k + 12]",
        "smlad r2, r10, r12, r2",
        "smlad r3, r11, r12, r3",
        "smlad r6, r10, lr, r6",
        "smlad r7, r11, lr, r7",
        ".endm",
        "push {{r4-r11, lr}}",
        "sub sp, sp, #52",
        "ldr r4, [r3]",
        "add r5, r4, r4, lsl #1",
        "movs r6, #{rows}",
        "mul r6, r6, r5",
        "sub r6, r6, #48",
        "strd r5, r6, [sp, #40]",
        "str r4, [sp, #32]",
        set_up!(),
        // A position of two tiles.
        "2:",
        "ldr r10, [sp, #32]",
        "add r10, r10, r9",
        "str r10, [sp, #36]",
        "ldr r10, [r9]",
        "ldr r11, [r9, #4]",
        "ldr r12, [r8]",
        "ldr lr, [r8, #4]",
        "smuad r0, r10, r12",
        "smuad r1, r11, r12",
        "smuad r4, r10, lr",
        "smuad r5, r11, lr",
        "ldr r10, [r9, #8]",
        "ldr r11, [r9, #12]",
        "smuad r2, r10, r12",
        "smuad r3, r11, r12",
        "smuad r6, r10, lr",
        "smuad r7, r11, lr",
        "b 4f",
        // 16 input channels.
        "3:",
        "skipstone_step 0",
        "4:",
        "skipstone_step 1",
        "skipstone_step 2",
        "skipstone_step 3",
        "skipstone_step 4",
        "skipstone_step 5",
        "skipstone_step 6",
        "skipstone_step 7",
        "add r9, r9, #128",
        "ldr r12, [sp, #36]",
        "add r8, r8, #384",
        "cmp r9, r12",
        "bne 3b",
        "ldr r11, [sp, #40]",
        "sub r8, r8, r11",
        "add r8, r8, #8",
        put!(),
        "bne 2b",
        // The next two tiles.
        "ldr r11, [sp, #44]",
        next_tiles!(),
        "bne 2b",
        "ldr r11, [sp, #40]",
        next_row!(),
        "bne 2b",
        "add sp, sp, #52",
        "pop {{r4-r11, pc}}",
        ".purgem skipstone_step",
        rows = const ROWS,
    )
}

/// Of `2 * STEPS` input channels, with no loop over them.
///
/// # Safety
/// As [`of_any`].
// Registers and the first 32 bytes on the stack as above.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn of<const STEPS: usize, const ROWS: usize>(
    v: *const u32,
    u: *const i8,
    m: *mut i32,
    arguments: &Arguments,
) {
    naked_asm!(
        extension!(),
        "push {{r4-r11, lr}}",
        "sub sp, sp, #36",
        set_up!(),
        // A position of two tiles.
        "2:",
        "ldr r10, [r9], #4",
        "ldr r11, [r9], #4",
        "ldr lr, [r8, #4]",
        "ldr r12, [r8], #48",
        "smuad r0, r10, r12",
        "smuad r1, r11, r12",
        "smuad r4, r10, lr",
        "smuad r5, r11, lr",
        "ldr r10, [r9], #4",
        "ldr r11, [r9], #4",
        "smuad r2, r10, r12",
        "smuad r3, r11, r12",
        "smuad r6, r10, lr",
        "smuad r7, r11, lr",
        ".rept {steps} - 1",
        "ldr r10, [r9], #4",
        "ldr r11, [r9], #4",
        "ldr lr, [r8, #4]",
        "ldr r12, [r8], #48",
        "smlad r0, r10, r12, r0",
        "smlad r1, r11, r12, r1",
        "smlad r4, r10, lr, r4",
        "smlad r5, r11, lr, r5",
        "ldr r10, [r9], #4",
        "ldr r11, [r9], #4",
        "smlad r2, r10, r12, r2",
        "smlad r3, r11, r12, r3",
        "smlad r6, r10, lr, r6",
        "smlad r7, r11, lr, r7",
        ".endr",
        "sub r8, r8, #48 * {steps} - 8",
        put!(),
        "bne 2b",
        // The next two tiles.
        "movw r11, #48 * {steps} * {rows} - 48",
        next_tiles!(),
        "bne 2b",
        "movw r11, #48 * {steps}",
        next_row!(),
        "bne 2b",
        "add sp, sp, #36",
        "pop {{r4-r11, pc}}",
        steps = const STEPS,
        rows = const ROWS,
    )
}
