//! 3x3 convolutions of stride 2 in tiles of 2 x 2 outputs, over weights in the layout
//! [`POLYPHASE`](crate::kernels::layout::POLYPHASE): 25 products instead of 36. V is `[pair of tiles][pair of
//! channels][product][tile of the pair]`, each a word of two 16-bit channels, M is `[tile][sum][output channel]`.

use super::products::Arguments;
use crate::arith::{OPERAND_SHIFT, Requant, SHIFT_MIN};
use core::arch::naked_asm;

/// What the assembly of the pixels needs besides rows and V; it reads the fields by their order.
#[repr(C)]
struct Pixels {
    /// Channels of a pixel, a multiple of 4, more than 0.
    channels: u32,
    /// Bytes of V for the tiles, `100 * channels` for each pair of tiles; not 0.
    v_bytes: u32,
    /// Bytes of the pixels of the tiles without the last one, `8 * channels` for each pair of tiles.
    row_bytes: u32,
}

/// Transforms the pixels of five rows, from the first pixel of the first tile, of `pairs` pairs of tiles, not 0.
///
/// # Safety
/// Each row must be readable for `8 * pairs + 1` pixels, `v` writable for `25 * channels` words for each pair of tiles.
/// `channels` must be a multiple of 4.
pub(super) unsafe fn transform(rows: [*const i8; 5], v: *mut u32, channels: usize, pairs: usize) {
    let [a, b, c, d, e] = rows;
    let arguments = Pixels {
        channels: channels as u32,
        v_bytes: (100 * channels * pairs) as u32,
        row_bytes: (8 * channels * pairs) as u32,
    };
    let combinations: [(Combine, _, _); 10] = [
        (first, a, c),
        (second, b, b),
        (middle, c, c),
        (third, e, c),
        (fourth, d, d),
        (first_odd, a, c),
        (second_odd, b, b),
        (middle_odd, c, c),
        (third_odd, e, c),
        (fourth_odd, d, d),
    ];
    for (index, (combine, a, b)) in combinations.into_iter().enumerate() {
        // Channels 1 and 3 are 25 products after channels 0 and 2.
        // SAFETY: as the caller promises; the offset stays inside of the first two pairs of channels.
        unsafe { combine(a, b, v.wrapping_add(index / 5 * 50), &arguments) };
    }
}

/// Transforms a row or the difference of two, every other channel of them.
type Combine = unsafe extern "C" fn(*const i8, *const i8, *mut u32, &Pixels);

// r0 and r1 rows, r2 V, r3..r7 the pixels of a tile, r8..r11 those of the second row, r12 bytes of V for two tiles, lr
// channels. On the stack: 0 the first row's end of channels, 4 v_bytes, 8 row_bytes, 12 the end of V for these
// channels.
macro_rules! transform {
    (
        $name:ident, $rotation:literal, $doc:literal,
        [$x0:literal, $x1:literal, $x2:literal, $x4:literal, $x3:literal],
        begin: [$($begin:literal),*], loads: [$($load:literal),*], widen: [$($widen:literal),*], combine: [$($combine:literal),*]
    ) => {
        #[doc = $doc]
        ///
        /// # Safety
        /// As [`transform`], for two rows.
        #[unsafe(naked)]
        unsafe extern "C" fn $name(a: *const i8, b: *const i8, v: *mut u32, arguments: &Pixels) {
            naked_asm!(
                extension!(),
                // Pixels 1 to 4 of a tile, whose pixel 0 is there; pixel 4 becomes that of the next tile.
                ".macro skipstone_tile to, x0, x4",
                "add r11, r0, lr",
                "ldr r4, [r0, lr]",
                "ldr r5, [r0, lr, lsl #1]",
                "ldr r6, [r11, lr, lsl #1]",
                "ldr \\x4, [r0, lr, lsl #2]",
                "add r0, r0, lr, lsl #2",
                $($load,)*
                concat!("sxtb16 r4, r4", $rotation),
                concat!("sxtb16 r5, r5", $rotation),
                concat!("sxtb16 r6, r6", $rotation),
                concat!("sxtb16 \\x4, \\x4", $rotation),
                $(concat!($widen, $rotation),)*
                $($combine,)*
                "ssub16 \\x0, \\x0, r5",
                "ssub16 r8, \\x4, r5",
                concat!("str \\x0, [r2, #\\to + 8 * ", $x0, "]"),
                concat!("str r4, [r2, #\\to + 8 * ", $x1, "]"),
                concat!("str r5, [r2, #\\to + 8 * ", $x2, "]"),
                concat!("str r8, [r2, #\\to + 8 * ", $x4, "]"),
                concat!("str r6, [r2, #\\to + 8 * ", $x3, "]"),
                ".endm",
                "push {{r4-r11, lr}}",
                "sub sp, sp, #20",
                "ldm r3, {{r4, r5, r6}}",
                "mov lr, r4",
                "movs r12, #100",
                "mul r12, r12, r4",
                "add r4, r4, r0",
                "stm sp, {{r4, r5, r6}}",
                // Four channels, of which two are transformed.
                "2:",
                "ldr r3, [r0]",
                "ldr r9, [r1]",
                concat!("sxtb16 r3, r3", $rotation),
                concat!("sxtb16 r9, r9", $rotation),
                $($begin,)*
                "ldr r9, [sp, #4]",
                "add r9, r9, r2",
                "str r9, [sp, #12]",
                "3:",
                "skipstone_tile 0, r3, r7",
                "skipstone_tile 4, r7, r3",
                "ldr r9, [sp, #12]",
                "add r2, r2, r12",
                "cmp r2, r9",
                "bne 3b",
                // Back to the first tile, its next four channels.
                "ldrd r10, r9, [sp, #4]",
                "sub r0, r0, r9",
                "add r0, r0, #4",
                "sub r2, r2, r10",
                "add r2, r2, #400",
                "sub r1, r1, r9",
                "add r1, r1, #4",
                "ldr r9, [sp]",
                "cmp r0, r9",
                "bne 2b",
                "add sp, sp, #20",
                "pop {{r4-r11, pc}}",
                ".purgem skipstone_tile",
            )
        }
    };
}

/// The difference of two rows.
macro_rules! difference {
    ($name:ident, $rotation:literal, $doc:literal, [$x0:literal, $x1:literal, $x2:literal, $x4:literal, $x3:literal]) => {
        transform! {
            $name, $rotation, $doc, [$x0, $x1, $x2, $x4, $x3],
            begin: ["ssub16 r3, r3, r9"],
            loads: [
                "add r11, r1, lr",
                "ldr r8, [r1, lr]",
                "ldr r9, [r1, lr, lsl #1]",
                "ldr r10, [r1, lr, lsl #2]",
                "ldr r11, [r11, lr, lsl #1]",
                "add r1, r1, lr, lsl #2"
            ],
            widen: ["sxtb16 r8, r8", "sxtb16 r9, r9", "sxtb16 r10, r10", "sxtb16 r11, r11"],
            combine: ["ssub16 r4, r4, r8", "ssub16 r5, r5, r9", "ssub16 \\x4, \\x4, r10", "ssub16 r6, r6, r11"]
        }
    };
}

/// A row alone.
macro_rules! alone {
    ($name:ident, $rotation:literal, $doc:literal, [$x0:literal, $x1:literal, $x2:literal, $x4:literal, $x3:literal]) => {
        transform! {
            $name, $rotation, $doc, [$x0, $x1, $x2, $x4, $x3],
            begin: [], loads: ["add r1, r1, lr, lsl #2"], widen: [], combine: []
        }
    };
}

difference!(first, "", "Rows 0 and 2, channels 0 and 2 of each four.", [0, 1, 4, 6, 7]);
difference!(first_odd, ", ror #8", "Rows 0 and 2, channels 1 and 3 of each four.", [0, 1, 4, 6, 7]);
alone!(second, "", "Row 1, channels 0 and 2 of each four.", [2, 3, 5, 8, 9]);
alone!(second_odd, ", ror #8", "Row 1, channels 1 and 3 of each four.", [2, 3, 5, 8, 9]);
alone!(middle, "", "Row 2, channels 0 and 2 of each four.", [10, 11, 12, 13, 14]);
alone!(middle_odd, ", ror #8", "Row 2, channels 1 and 3 of each four.", [10, 11, 12, 13, 14]);
difference!(third, "", "Rows 4 and 2, channels 0 and 2 of each four.", [15, 16, 19, 21, 22]);
difference!(third_odd, ", ror #8", "Rows 4 and 2, channels 1 and 3 of each four.", [15, 16, 19, 21, 22]);
alone!(fourth, "", "Row 3, channels 0 and 2 of each four.", [17, 18, 20, 23, 24]);
alone!(fourth_odd, ", ror #8", "Row 3, channels 1 and 3 of each four.", [17, 18, 20, 23, 24]);

/// The products of 4 output channels: the nine sums.
///
/// # Safety
/// `v` must be readable for `v_bytes`, `100 * channels` for each pair of tiles, `u` for 25 times `u_bytes`, `8 *
/// channels`, `m` writable for `m_bytes`, 288 for each pair of tiles, not 0. `channels` must be a multiple of 16, more
/// than 0.
// r0..r3 the sums of the first tile, r4..r7 of the second, r8 V, r9 U, r10 and r11 weights, r12 and lr pixels. On the
// stack: 0 M, 4 end of U in the sum, 8 U of the sum, 12 end of M, 16 u_bytes, 20 v_bytes, 24 m_bytes, 28 which of the
// nine sums.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn products(v: *const u32, u: *const i8, m: *mut i32, arguments: &Arguments) {
    naked_asm!(
        extension!(),
        ".macro skipstone_step at",
        "ldr r10, [r9], #4",
        "ldr r11, [r9], #4",
        "ldr r12, [r8, #\\at]",
        "ldr lr, [r8, #\\at + 4]",
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
        ".endm",
        ".macro skipstone_one at",
        "skipstone_step \\at",
        ".endm",
        ".macro skipstone_two at",
        "skipstone_step \\at",
        "skipstone_step \\at+8",
        ".endm",
        ".macro skipstone_four at",
        "skipstone_two \\at",
        "skipstone_two \\at+16",
        ".endm",
        // A sum of some products of all tiles: 4 or 8 pairs of channels at a time.
        ".macro skipstone_sum products, count",
        "ldr r10, [sp, #16]",
        "mov r11, #\\count",
        "mla r11, r10, r11, r9",
        "str r9, [sp, #8]",
        "str r11, [sp, #4]",
        // Two tiles.
        "3:",
        "mov r0, #0",
        "mov r1, #0",
        "mov r2, #0",
        "mov r3, #0",
        "mov r4, #0",
        "mov r5, #0",
        "mov r6, #0",
        "mov r7, #0",
        "4:",
        "\\products 0",
        "\\products 200",
        "\\products 400",
        "\\products 600",
        ".if \\count < 4",
        "\\products 800",
        "\\products 1000",
        "\\products 1200",
        "\\products 1400",
        "add r8, r8, #1600",
        ".else",
        "add r8, r8, #800",
        ".endif",
        "ldr r12, [sp, #4]",
        "cmp r9, r12",
        "bne 4b",
        "ldr r10, [sp]",
        "ldr r9, [sp, #8]",
        "ldr lr, [sp, #12]",
        "str r0, [r10]",
        "str r1, [r10, #4]",
        "str r2, [r10, #8]",
        "str r3, [r10, #12]",
        "str r4, [r10, #144]",
        "str r5, [r10, #148]",
        "str r6, [r10, #152]",
        "str r7, [r10, #156]",
        "add r10, r10, #288",
        "cmp r10, lr",
        "str r10, [sp]",
        "bne 3b",
        // The next sum of the first tile.
        "ldrd r4, r5, [sp, #20]",
        "ldr r6, [sp, #28]",
        "mov r9, r12",
        "sub r8, r8, r4",
        "add r8, r8, #8 * \\count",
        "sub r10, r10, r5",
        "add r10, r10, #16",
        "add lr, lr, #16",
        "add r6, r6, #1",
        "str r10, [sp]",
        "str lr, [sp, #12]",
        "str r6, [sp, #28]",
        ".endm",
        "push {{r4-r11, lr}}",
        "sub sp, sp, #36",
        "mov r8, r0",
        "mov r9, r1",
        "ldm r3, {{r4, r5, r6}}",
        "str r2, [sp]",
        "add r3, r2, r6",
        "str r3, [sp, #12]",
        "strd r4, r5, [sp, #16]",
        "mov r7, #0",
        "strd r6, r7, [sp, #24]",
        // Sums of 4, 2 and 4 products, of 2, 1 and 2, of 4, 2 and 4.
        "2:",
        "skipstone_sum skipstone_four, 4",
        "cmp r6, #9",
        "beq 7f",
        "5:",
        "skipstone_sum skipstone_two, 2",
        "cmp r6, #4",
        "bne 2b",
        "skipstone_sum skipstone_one, 1",
        "b 5b",
        "7:",
        "add sp, sp, #36",
        "pop {{r4-r11, pc}}",
        ".purgem skipstone_step",
        ".purgem skipstone_one",
        ".purgem skipstone_two",
        ".purgem skipstone_four",
        ".purgem skipstone_sum",
    )
}

/// What the assembly of the outputs needs besides M and the constants; it reads the fields by their order.
#[repr(C)]
pub(super) struct Places {
    /// The outputs in both rows.
    pub(super) rows: [*mut i8; 2],
    /// Bytes from an output pixel to the next.
    pub(super) pixel_step: u32,
    /// Bytes of M for the tiles, 144 each; not 0.
    pub(super) m_bytes: u32,
    /// Multiplier of the residual operand.
    pub(super) multiplier: i32,
}

/// Makes 4 output channels of the tiles of M, clamped to int8.
///
/// # Safety
/// `m` must be readable for `m_bytes`, and in both rows there must be 4 channels of 2 pixels for each tile.
pub(super) unsafe fn outputs(m: *const i32, requant: &[Requant; 4], residual: bool, places: &Places) {
    let run = if residual { with_residual } else { plain };
    // SAFETY: as the caller promises.
    unsafe { run(m, requant.as_ptr(), places) }
}

// r8 M, r9 bytes to the outputs of a tile, r10 and r11 c, r12 m, lr the shift of the high word. On the stack: 0 and 4
// the outputs of each row, 8 pixel_step, 12 m_bytes, 16 multiplier, 20 the constants of the next channel, 24 end of M
// for the channel, 28 end of all.
macro_rules! outputs {
    ($(#[$doc:meta])* $name:ident, residual: [$($residual:literal),*], $($constant:tt)*) => {
        $(#[$doc])*
        ///
        /// # Safety
        /// As [`outputs`].
        #[unsafe(naked)]
        unsafe extern "C" fn $name(m: *const i32, requant: *const Requant, places: &Places) {
            naked_asm!(
                extension!(),
                // A column of sums to those of both rows.
                ".macro skipstone_column at, upper, lower",
                "ldr \\upper, [r8, #\\at]",
                "ldr r7, [r8, #\\at + 48]",
                "ldr \\lower, [r8, #\\at + 96]",
                "add \\upper, \\upper, r7",
                "add \\lower, \\lower, r7",
                ".endm",
                // One output; r4, r5 and r6 are free.
                ".macro skipstone_put sum, place:vararg",
                "mov r4, r10",
                "mov r5, r11",
                "smlal r4, r5, \\sum, r12",
                $($residual,)*
                "asr r5, r5, lr",
                "ssat r5, #8, r5",
                "strb r5, [\\place]",
                ".endm",
                "push {{r4-r11, lr}}",
                "sub sp, sp, #36",
                "mov r8, r0",
                "ldm r2, {{r3, r4, r5, r6, r7}}",
                "stm sp, {{r3, r4, r5, r6, r7}}",
                "add r4, r0, #16",
                "str r4, [sp, #28]",
                "mov r9, #0",
                // A channel.
                "2:",
                "ldm r1!, {{r10, r11, r12, lr}}",
                "str r1, [sp, #20]",
                "ldr r4, [sp, #12]",
                "add r4, r4, r8",
                "str r4, [sp, #24]",
                "sub lr, lr, #{shift_min}",
                // A tile.
                "3:",
                "skipstone_column 0, r0, r2",
                "skipstone_column 16, r1, r3",
                "skipstone_column 32, r4, r5",
                "add r0, r0, r1",
                "add r1, r1, r4",
                "add r2, r2, r3",
                "add r3, r3, r5",
                "ldr r7, [sp]",
                "ldr r6, [sp, #8]",
                "add r7, r7, r9",
                "skipstone_put r0, r7",
                "skipstone_put r1, r7, r6",
                "ldr r7, [sp, #4]",
                "add r7, r7, r9",
                "skipstone_put r2, r7",
                "skipstone_put r3, r7, r6",
                "ldr r4, [sp, #24]",
                "add r8, r8, #144",
                "add r9, r9, r6, lsl #1",
                "cmp r8, r4",
                "bne 3b",
                // Back to the first tile, its next channel.
                "ldr r4, [sp, #12]",
                "ldr r6, [sp, #28]",
                "ldr r1, [sp, #20]",
                "sub r8, r8, r4",
                "add r8, r8, #4",
                "sub r9, r6, r8",
                "lsr r9, r9, #2",
                "rsb r9, r9, #4",
                "cmp r8, r6",
                "bne 2b",
                "add sp, sp, #36",
                "pop {{r4-r11, pc}}",
                ".purgem skipstone_column",
                ".purgem skipstone_put",
                shift_min = const SHIFT_MIN,
                $($constant)*
            )
        }
    };
}

outputs! {
    /// Outputs of sums alone.
    plain, residual: [],
}

outputs! {
    /// Outputs with a residual operand, which lies in their place.
    with_residual,
    residual: [
        "ldrsb \\sum, [\\place]",
        "lsl \\sum, \\sum, #{operand_shift}",
        "str r7, [sp, #32]",
        "ldr r7, [sp, #16]",
        "smlal r4, r5, \\sum, r7",
        "ldr r7, [sp, #32]"
    ],
    operand_shift = const OPERAND_SHIFT,
}
