//! Transforms of the weights of 4 output channels, from the layout [`TAPS`](crate::kernels::layout::TAPS) to those that
//! the products read, two input channels in each word.

use core::arch::naked_asm;

/// Transforms the weights of 4 output channels.
///
/// # Safety
/// `taps` must be readable for `36 * channels` bytes, `u` writable for `2 * channels` words for each product;
/// `channels` must be a multiple of 4, more than 0.
pub(super) type Transform = unsafe extern "C" fn(taps: *const i8, u: *mut u32, channels: usize);

/// Loads the nine weights of input channels 0 and 2 of four into r2..r10, or of 1 and 3 with a rotation of 8.
macro_rules! load {
    () => {
        concat!(
            ".macro skipstone_load from, rotation\n",
            "ldr r2, [\\from, #0]\n",
            "ldr r3, [\\from, #4]\n",
            "ldr r4, [\\from, #8]\n",
            "ldr r5, [\\from, #12]\n",
            "ldr r6, [\\from, #16]\n",
            "ldr r7, [\\from, #20]\n",
            "ldr r8, [\\from, #24]\n",
            "ldr r9, [\\from, #28]\n",
            "ldr r10, [\\from, #32]\n",
            "sxtb16 r2, r2, ror #\\rotation\n",
            "sxtb16 r3, r3, ror #\\rotation\n",
            "sxtb16 r4, r4, ror #\\rotation\n",
            "sxtb16 r5, r5, ror #\\rotation\n",
            "sxtb16 r6, r6, ror #\\rotation\n",
            "sxtb16 r7, r7, ror #\\rotation\n",
            "sxtb16 r8, r8, ror #\\rotation\n",
            "sxtb16 r9, r9, ror #\\rotation\n",
            "sxtb16 r10, r10, ror #\\rotation\n",
            ".endm\n",
        )
    };
}

/// For F(4x4, 3x3): `U = G w G'`, whose rows are those of [`WINOGRAD_4X4`](crate::kernels::layout::WINOGRAD_4X4).
///
/// # Safety
/// As [`Transform`].
// r0, r11 and r12 temporaries, r1 U, r2..r10 weights in rows of three, lr bytes of U in a position. On the stack: 0
// weights, 4 end of those of the output channel, 8 bytes of them, 12 output channels left.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn winograd_4x4(taps: *const i8, u: *mut u32, channels: usize) {
    naked_asm!(
        extension!(),
        load!(),
        // A row of U of weights p, q and r: p, p + q + r, p - q + r, p + 2 q + 4 r, p - 2 q + 4 r, r.
        ".macro skipstone_row p, q, r",
        "str \\p, [r1]",
        "sadd16 r0, \\p, \\r",
        "sadd16 r11, r0, \\q",
        "ssub16 r0, r0, \\q",
        "str r11, [r1, lr]",
        "str r0, [r1, lr, lsl #1]",
        "sadd16 r0, \\r, \\r",
        "sadd16 r0, r0, r0",
        "sadd16 r0, r0, \\p",
        "sadd16 r12, \\q, \\q",
        "sadd16 r11, r0, r12",
        "ssub16 r0, r0, r12",
        "str r0, [r1, lr, lsl #2]",
        "add r1, r1, lr",
        "str r11, [r1, lr, lsl #1]",
        "str \\r, [r1, lr, lsl #2]",
        ".endm",
        // From the second position of a row to the first of the next.
        ".macro skipstone_next",
        "add r1, r1, lr",
        "add r1, r1, lr, lsl #2",
        ".endm",
        // To weights a + 4 g and a + g of a column.
        ".macro skipstone_far a, g",
        "sadd16 r0, \\g, \\g",
        "sadd16 r0, r0, r0",
        "sadd16 \\g, \\g, \\a",
        "sadd16 \\a, \\a, r0",
        ".endm",
        ".macro skipstone_pair rotation",
        "ldr r0, [sp]",
        "skipstone_load r0, \\rotation",
        "skipstone_row r2, r3, r4",
        "add r1, r1, lr, lsl #5",
        "sub r1, r1, lr, lsl #1",
        "sub r1, r1, lr",
        "skipstone_row r8, r9, r10",
        "sub r1, r1, lr, lsl #4",
        "sub r1, r1, lr, lsl #3",
        "sub r1, r1, lr",
        "skipstone_far r2, r8",
        "skipstone_far r3, r9",
        "skipstone_far r4, r10",
        "sadd16 r8, r8, r5",
        "sadd16 r9, r9, r6",
        "sadd16 r10, r10, r7",
        "skipstone_row r8, r9, r10",
        "skipstone_next",
        "sadd16 r5, r5, r5",
        "sadd16 r6, r6, r6",
        "sadd16 r7, r7, r7",
        "ssub16 r8, r8, r5",
        "ssub16 r9, r9, r6",
        "ssub16 r10, r10, r7",
        "skipstone_row r8, r9, r10",
        "skipstone_next",
        "sadd16 r8, r2, r5",
        "sadd16 r9, r3, r6",
        "sadd16 r10, r4, r7",
        "skipstone_row r8, r9, r10",
        "skipstone_next",
        "ssub16 r2, r2, r5",
        "ssub16 r3, r3, r6",
        "ssub16 r4, r4, r7",
        "skipstone_row r2, r3, r4",
        // From the second position of the fifth row to the next pair.
        "sub r1, r1, lr, lsl #5",
        "add r1, r1, lr, lsl #3",
        "sub r1, r1, lr",
        "add r1, r1, #16",
        ".endm",
        "push {{r4-r11, lr}}",
        "sub sp, sp, #20",
        "lsl lr, r2, #3",
        "add r3, r2, r2, lsl #3",
        "add r4, r0, r3",
        "movs r5, #4",
        "stm sp, {{r0, r4}}",
        "str r3, [sp, #8]",
        "str r5, [sp, #12]",
        // Four input channels of an output channel.
        "2:",
        "skipstone_pair 0",
        "skipstone_pair 8",
        "ldrd r0, r2, [sp]",
        "adds r0, #36",
        "str r0, [sp]",
        "cmp r0, r2",
        "bne 2b",
        // The next output channel.
        "ldrd r3, r4, [sp, #8]",
        "sub r1, r1, lr",
        "adds r1, #4",
        "add r2, r2, r3",
        "str r2, [sp, #4]",
        "subs r4, #1",
        "str r4, [sp, #12]",
        "bne 2b",
        "add sp, sp, #20",
        "pop {{r4-r11, pc}}",
        ".purgem skipstone_load",
        ".purgem skipstone_row",
        ".purgem skipstone_next",
        ".purgem skipstone_far",
        ".purgem skipstone_pair",
    )
}

/// For stride 2: the products of [`POLYPHASE`](crate::kernels::layout::POLYPHASE).
///
/// # Safety
/// As [`Transform`].
// r0, r11 and r12 temporaries, r1 the words of the sums of four products of a pair, r2..r10 weights in rows of three,
// lr bytes of U in a product. On the stack: 0 weights, 4 end of those of the output channel, 8 bytes of them, 12 output
// channels left, 16 the words of the sums of two products, 20 that of the sum of one, 24 and 28 as r1 and 16 at the
// output channel's first pair, 32 as 20.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn polyphase(taps: *const i8, u: *mut u32, channels: usize) {
    naked_asm!(
        extension!(),
        load!(),
        // A sum of four products at r0.
        ".macro skipstone_four a, b, c, d",
        "str \\a, [r0]",
        "str \\b, [r0, #16]",
        "str \\c, [r0, #32]",
        "str \\d, [r0, #48]",
        ".endm",
        ".macro skipstone_pair rotation",
        "ldr r0, [sp]",
        "skipstone_load r0, \\rotation",
        // Sums 0, 2, 6 and 8 begin with products 0, 6, 15 and 21.
        "mov r0, r1",
        "skipstone_four r2, r3, r5, r6",
        "add r0, r1, lr, lsl #2",
        "add r0, r0, lr, lsl #1",
        "skipstone_four r4, r3, r7, r6",
        "add r0, r0, lr, lsl #3",
        "add r0, r0, lr",
        "skipstone_four r8, r9, r5, r6",
        "add r0, r0, lr, lsl #2",
        "add r0, r0, lr, lsl #1",
        "skipstone_four r10, r9, r7, r6",
        // Sums 1, 3, 5 and 7 begin with products 4, 10, 13 and 19.
        "ldr r0, [sp, #16]",
        "sadd16 r11, r2, r4",
        "sadd16 r12, r5, r7",
        "add r0, r0, lr, lsl #2",
        "str r11, [r0]",
        "str r12, [r0, #16]",
        "add r0, r0, lr, lsl #4",
        "sub r0, r0, lr",
        "sadd16 r5, r8, r10",
        "str r5, [r0]",
        "str r12, [r0, #16]",
        "sub r0, r0, lr, lsl #3",
        "sub r0, r0, lr",
        "sadd16 r2, r2, r8",
        "sadd16 r3, r3, r9",
        "sadd16 r4, r4, r10",
        "str r2, [r0]",
        "str r3, [r0, #16]",
        "add r0, r0, lr, lsl #2",
        "sub r0, r0, lr",
        "str r4, [r0]",
        "str r3, [r0, #16]",
        "ldr r0, [sp, #16]",
        "adds r0, #32",
        "str r0, [sp, #16]",
        // Sum 4 is product 12.
        "ldr r0, [sp, #20]",
        "sadd16 r11, r11, r5",
        "str r11, [r0], #16",
        "str r0, [sp, #20]",
        "adds r1, #64",
        ".endm",
        "push {{r4-r11, lr}}",
        "sub sp, sp, #36",
        "lsl lr, r2, #3",
        "add r3, r2, r2, lsl #3",
        "add r4, r0, r3",
        "movs r5, #4",
        "stm sp, {{r0, r4}}",
        "strd r3, r5, [sp, #8]",
        "add r2, r1, lr, lsl #3",
        "add r2, r2, lr, lsl #2",
        "strd r1, r2, [sp, #16]",
        "strd r1, r2, [sp, #24]",
        // Four input channels of an output channel.
        "2:",
        "skipstone_pair 0",
        "skipstone_pair 8",
        "ldrd r0, r2, [sp]",
        "adds r0, #36",
        "str r0, [sp]",
        "cmp r0, r2",
        "bne 2b",
        // The next output channel.
        "ldrd r3, r4, [sp, #8]",
        "add r2, r2, r3",
        "str r2, [sp, #4]",
        "ldrd r1, r2, [sp, #24]",
        "adds r1, #4",
        "adds r2, #4",
        "strd r1, r2, [sp, #16]",
        "strd r1, r2, [sp, #24]",
        "subs r4, #1",
        "str r4, [sp, #12]",
        "bne 2b",
        "add sp, sp, #36",
        "pop {{r4-r11, pc}}",
        ".purgem skipstone_load",
        ".purgem skipstone_four",
        ".purgem skipstone_pair",
    )
}
