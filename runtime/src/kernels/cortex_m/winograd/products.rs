//! The products: for each of 24 positions a matrix product over the input channels, `M = U V`, of 4 output channels. M is
//! `[tile][position][output channel]`.

use core::arch::naked_asm;

/// What the assembly needs besides the operands; it reads the fields by their order.
#[repr(C)]
pub(super) struct Arguments {
    /// Bytes of U for the 4 output channels in one position, `8 * channels`; `channels` is a multiple of 16, more than 0.
    pub(super) u_bytes: u32,
    /// Bytes of V for the tiles, `96 * channels` for each pair of tiles.
    pub(super) v_bytes: u32,
    /// Bytes of M for the tiles, 768 for each pair of tiles; not 0.
    pub(super) m_bytes: u32,
}

/// The products of 4 output channels.
pub(super) type Products = unsafe extern "C" fn(*const u32, *const i8, *mut i32, &Arguments);

/// Of any number of input channels that is a multiple of 16.
///
/// # Safety
/// `v` must be readable for `v_bytes`, `u` for 24 times `u_bytes`, `m` writable for `m_bytes`, and the arguments must follow
/// from each other as their fields say.
// r0..r3 the sums of the first tile, r4..r7 of the second, r8 V, r9 U, r10 and r11 weights, r12 and lr pixels. On the stack:
// 0 M, 4 end of M, 8 U of the position, 12 end of it, 16 u_bytes, 20 v_bytes, 24 m_bytes, 28 end of U.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn of_any(v: *const u32, u: *const i8, m: *mut i32, arguments: &Arguments) {
    naked_asm!(
        extension!(),
        ".macro skipstone_step k, product",
        "ldr r10, [r9, #16 * \\k]",
        "ldr r11, [r9, #16 * \\k + 4]",
        "ldr r12, [r8, #192 * \\k]",
        "ldr lr, [r8, #192 * \\k + 4]",
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
        "sub sp, sp, #36",
        "mov r8, r0",
        "mov r9, r1",
        "ldm r3, {{r4, r5, r6}}",
        "add r3, r2, r6",
        "strd r2, r3, [sp]",
        "add r3, r1, r4",
        "strd r1, r3, [sp, #8]",
        "strd r4, r5, [sp, #16]",
        "movs r5, #24",
        "mla r4, r4, r5, r1",
        "strd r6, r4, [sp, #24]",
        // A pair of tiles.
        "2:",
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
        "ldr r12, [sp, #12]",
        "add r8, r8, #1536",
        "cmp r9, r12",
        "bne 3b",
        "ldrd r10, r11, [sp]",
        "stm r10, {{r0-r3}}",
        "add r10, r10, #384",
        "stm r10, {{r4-r7}}",
        "add r10, r10, #384",
        "cmp r10, r11",
        "str r10, [sp]",
        "itt ne",
        "ldrne r9, [sp, #8]",
        "bne 2b",
        // The next position.
        "ldrd r4, r5, [sp, #16]",
        "ldrd r6, r7, [sp, #24]",
        "sub r10, r10, r6",
        "add r10, r10, #16",
        "add r11, r11, #16",
        "strd r10, r11, [sp]",
        "add r12, r9, r4",
        "strd r9, r12, [sp, #8]",
        "sub r8, r8, r5",
        "add r8, r8, #8",
        "cmp r9, r7",
        "bne 2b",
        "add sp, sp, #36",
        "pop {{r4-r11, pc}}",
        ".purgem skipstone_step",
    )
}

/// Of `2 * STEPS` input channels, with no loop over them.
///
/// # Safety
/// As [`of_any`].
// Registers as above. On the stack: 0 M, 4 end of U, 8 U, 12 end of M.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn of<const STEPS: usize>(
    v: *const u32,
    u: *const i8,
    m: *mut i32,
    arguments: &Arguments,
) {
    naked_asm!(
        extension!(),
        "push {{r4-r11, lr}}",
        "sub sp, sp, #20",
        "mov r8, r0",
        "mov r9, r1",
        "ldr r5, [r3]",
        "ldr r6, [r3, #8]",
        "movs r4, #24",
        "mla r3, r4, r5, r1",
        "strd r2, r3, [sp]",
        "add r6, r6, r2",
        "strd r1, r6, [sp, #8]",
        // A position of a pair of tiles.
        "2:",
        "ldr r10, [r9], #4",
        "ldr r11, [r9], #4",
        "ldr lr, [r8, #4]",
        "ldr r12, [r8], #192",
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
        "ldr r12, [r8], #192",
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
        "ldr r10, [sp]",
        "stm r10, {{r0-r3}}",
        "add r11, r10, #384",
        "stm r11, {{r4-r7}}",
        "add r10, r10, #16",
        "str r10, [sp]",
        "ldr r12, [sp, #4]",
        "sub r8, r8, #({steps} * 192 - 8) / 2",
        "sub r8, r8, #({steps} * 192 - 8) / 2",
        "cmp r9, r12",
        "bne 2b",
        // The next pair of tiles.
        "ldrd r9, r12, [sp, #8]",
        "add r10, r10, #384",
        "str r10, [sp]",
        "add r8, r8, #{steps} * 192 - 192",
        "cmp r10, r12",
        "bne 2b",
        "add sp, sp, #20",
        "pop {{r4-r11, pc}}",
        steps = const STEPS,
    )
}
