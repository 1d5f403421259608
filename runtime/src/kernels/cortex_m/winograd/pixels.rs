//! Transform of the pixels, `V = B' d B`: for each tile 4 input rows of 6 pixels become 24 values of each channel.
//!
//! V is as [`products`](super::products) read it, so that most offsets are constants.

use core::arch::naked_asm;

/// What the assembly needs besides rows and V; it reads the fields by their order.
#[repr(C)]
pub(super) struct Arguments {
    /// Channels of a pixel, a multiple of 4, more than 0.
    pub(super) channels: u32,
    /// Bytes of V for the tiles of a call, `96 * channels` for each pair of tiles; not 0.
    pub(super) v_bytes: u32,
    /// Bytes from the first pixel of the first tile to that after the last tile, `8 * channels` for each pair of tiles.
    pub(super) row_bytes: u32,
}

/// Transforms the pixels of four rows, from the first pixel of the first tile.
///
/// # Safety
/// Each row must be readable for `row_bytes` and two pixels more, `v` writable for `v_bytes`, and the arguments must
/// follow from each other as their fields say.
pub(super) unsafe fn transform(rows: [*const i8; 4], v: *mut u32, arguments: &Arguments) {
    let [a, b, c, d] = rows;
    let combinations: [(Combine, _, _); 8] = [
        (differences, a, c),
        (sums, b, c),
        (differences, c, b),
        (differences, b, d),
        (differences_odd, a, c),
        (sums_odd, b, c),
        (differences_odd, c, b),
        (differences_odd, b, d),
    ];
    // Each of the four vertical combinations is a row of positions; channels 1 and 3 are 6 positions after channels 0
    // and 2.
    let row = 6 * arguments.channels as usize;
    for (index, (combine, a, b)) in combinations.into_iter().enumerate() {
        // SAFETY: as the caller promises; the offsets stay inside of the first pair of channels of the first pair of
        // tiles.
        unsafe { combine(a, b, v.wrapping_add(index % 4 * row + index / 4 * 12), arguments) };
    }
}

/// Transforms the sums or differences of two rows, every other channel of them.
type Combine = unsafe extern "C" fn(*const i8, *const i8, *mut u32, &Arguments);

// r0 and r1 rows, r2 V, r3..r8 the combined pixels 0 to 5 of a tile, r9..r12 temporaries, lr channels. On the stack: 0
// the first row's end of channels, 4 v_bytes, 8 row_bytes, 12 the end of V for these channels.
macro_rules! transform {
    ($(#[$doc:meta])* $name:ident, widen: $widen:literal, combine: [$($combine:literal),*]) => {
        $(#[$doc])*
        ///
        /// # Safety
        /// As [`transform`], for two rows.
        #[unsafe(naked)]
        unsafe extern "C" fn $name(a: *const i8, b: *const i8, v: *mut u32, arguments: &Arguments) {
            naked_asm!(
                extension!(),
                ".macro skipstone_combine a, b",
                concat!("sxtb16 \\a, \\a", $widen),
                $($combine,)*
                ".endm",
                // Four more pixels of a tile, its row of 6 values, and its last two pixels kept for the next tile.
                ".macro skipstone_tile place",
                "ldr r5, [r0]",
                "ldr r6, [r0, lr]",
                "ldr r9, [r1]",
                "ldr r10, [r1, lr]",
                "add r0, r0, lr, lsl #1",
                "add r1, r1, lr, lsl #1",
                "ldr r7, [r0]",
                "ldr r8, [r0, lr]",
                "ldr r11, [r1]",
                "ldr r12, [r1, lr]",
                "add r0, r0, lr, lsl #1",
                "add r1, r1, lr, lsl #1",
                "skipstone_combine r5, r9",
                "skipstone_combine r6, r10",
                "skipstone_combine r7, r11",
                "skipstone_combine r8, r12",
                // 4 d0 - 5 d2 + d4
                "ssub16 r9, r7, r5",
                "ssub16 r3, r3, r5",
                "sadd16 r3, r3, r3",
                "sadd16 r3, r3, r3",
                "sadd16 r3, r3, r9",
                "str r3, [r2, #\\place]",
                // -d2 + d4 +- 2 (d3 - d1)
                "ssub16 r10, r6, r4",
                "sadd16 r10, r10, r10",
                "sadd16 r11, r9, r10",
                "ssub16 r12, r9, r10",
                "str r11, [r2, #\\place + 24]",
                "str r12, [r2, #\\place + 32]",
                // 4 d1 - 5 d3 + d5
                "ssub16 r11, r8, r6",
                "sadd16 r10, r10, r10",
                "ssub16 r11, r11, r10",
                "str r11, [r2, #\\place + 40]",
                // -4 d2 + d4 +- (d3 - 4 d1)
                "sadd16 r5, r5, r5",
                "sadd16 r5, r5, r5",
                "ssub16 r5, r7, r5",
                "sadd16 r4, r4, r4",
                "sadd16 r4, r4, r4",
                "ssub16 r4, r6, r4",
                "sadd16 r11, r5, r4",
                "ssub16 r12, r5, r4",
                "str r11, [r2, #\\place + 8]",
                "str r12, [r2, #\\place + 16]",
                "mov r3, r7",
                "mov r4, r8",
                ".endm",
                "push {{r4-r11, lr}}",
                "sub sp, sp, #20",
                "ldm r3, {{r4, r5, r6}}",
                "mov lr, r4",
                "add r4, r4, r0",
                "stm sp, {{r4, r5, r6}}",
                // Four channels, of which two are transformed.
                "2:",
                "ldr r3, [r0]",
                "ldr r4, [r0, lr]",
                "ldr r9, [r1]",
                "ldr r10, [r1, lr]",
                "skipstone_combine r3, r9",
                "skipstone_combine r4, r10",
                "add r0, r0, lr, lsl #1",
                "add r1, r1, lr, lsl #1",
                "ldr r9, [sp, #4]",
                "add r9, r9, r2",
                "str r9, [sp, #12]",
                "3:",
                "skipstone_tile 0",
                "skipstone_tile 4",
                "add r2, r2, lr, lsl #6",
                "add r2, r2, lr, lsl #5",
                "ldr r9, [sp, #12]",
                "cmp r2, r9",
                "bne 3b",
                "ldrd r10, r9, [sp, #4]",
                "add r9, r9, lr, lsl #1",
                "sub r9, r9, #4",
                "sub r0, r0, r9",
                "sub r1, r1, r9",
                "sub r2, r2, r10",
                "add r2, r2, #96",
                "ldr r9, [sp]",
                "cmp r0, r9",
                "bne 2b",
                "add sp, sp, #20",
                "pop {{r4-r11, pc}}",
                ".purgem skipstone_combine",
                ".purgem skipstone_tile",
            )
        }
    };
}

transform! {
    /// The difference of two rows, channels 0 and 2 of each four.
    differences, widen: "", combine: ["sxtb16 \\b, \\b", "ssub16 \\a, \\a, \\b"]
}

transform! {
    /// The difference of two rows, channels 1 and 3 of each four.
    differences_odd, widen: ", ror #8", combine: ["sxtb16 \\b, \\b, ror #8", "ssub16 \\a, \\a, \\b"]
}

transform! {
    /// The sum of two rows, channels 0 and 2 of each four.
    sums, widen: "", combine: ["sxtab16 \\a, \\a, \\b"]
}

transform! {
    /// The sum of two rows, channels 1 and 3 of each four.
    sums_odd, widen: ", ror #8", combine: ["sxtab16 \\a, \\a, \\b, ror #8"]
}
