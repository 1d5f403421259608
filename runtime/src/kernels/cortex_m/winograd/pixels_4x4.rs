//! Transform of the pixels, `V = B' d B`, of tiles of 4 x 4 outputs: 6 input rows of 6 pixels become 36 values of each
//! channel.

use core::arch::naked_asm;

/// Words of one pixel's vertical transform, of four channels: 6 of channels 0 and 2, 6 of channels 1 and 3.
pub(super) const COLUMN: usize = 12;

/// What the assembly of the vertical transform needs; it reads the fields by their order.
#[repr(C)]
struct Columns {
    /// Bytes from the first row to each of the others.
    rows: [usize; 5],
    /// Bytes from a pixel to the next.
    pixel: usize,
    /// Where the transforms of all pixels end.
    end: *const u32,
}

/// What the assembly of the horizontal transform needs; it reads the fields by their order.
#[repr(C)]
struct Rows {
    /// Channels of a pixel, a multiple of 4, more than 0.
    channels: usize,
    /// Bytes of the vertical transform of two tiles, times their pairs.
    bytes: usize,
}

/// Transforms the pixels of six rows, from the first pixel of the first tile, of `pairs` pairs of tiles, not 0.
/// `offsets` are the bytes from the first row to each of the others.
///
/// # Safety
/// Each row must be readable for `8 * pairs + 2` pixels, `v` writable for `36 * channels` words for each pair of tiles,
/// `columns` for [`COLUMN`] words for each of those pixels. `channels` must be a multiple of 4.
pub(super) unsafe fn transform(
    first: *const i8,
    offsets: [usize; 5],
    columns: *mut u32,
    v: *mut u32,
    channels: usize,
    pairs: usize,
) {
    let end = columns.wrapping_add(COLUMN * (8 * pairs + 2));
    let (vertically, horizontally) =
        (Columns { rows: offsets, pixel: channels, end }, Rows { channels, bytes: 32 * COLUMN * pairs });
    for quad in 0..channels / 4 {
        // SAFETY: as the caller promises; the offset stays inside of the first pixel.
        unsafe { vertical(first.wrapping_add(4 * quad), columns, &vertically) };
        for odd in 0..2 {
            let (from, to) = (columns.wrapping_add(odd * COLUMN / 2), v.wrapping_add((2 * quad + odd) * 12));
            // SAFETY: as the caller promises; the offsets stay inside of the first column and the first row of
            // positions.
            unsafe { horizontal(from, to, &horizontally) };
        }
    }
}

// r0 pixels, r1, r2, r3, r12 and lr bytes to the other rows, r4..r9 the pixels of a column, r10 a temporary, r11 the
// transform. On the stack: 0 bytes to the next pixel, 4 end of the transforms.

/// # Safety
/// As [`transform`], of four channels of the pixels of the transforms up to their end, of which there must be one.
#[unsafe(naked)]
unsafe extern "C" fn vertical(pixels: *const i8, to: *mut u32, columns: &Columns) {
    naked_asm!(
        extension!(),
        ".macro skipstone_column to, rotation:vararg",
        "ldr r4, [r0]",
        "ldr r5, [r0, r1]",
        "ldr r6, [r0, r2]",
        "ldr r7, [r0, r3]",
        "ldr r8, [r0, r12]",
        "ldr r9, [r0, lr]",
        "sxtb16 r4, r4 \\rotation",
        "sxtb16 r5, r5 \\rotation",
        "sxtb16 r6, r6 \\rotation",
        "sxtb16 r7, r7 \\rotation",
        "sxtb16 r8, r8 \\rotation",
        "sxtb16 r9, r9 \\rotation",
        // 4 d0 - 5 d2 + d4
        "ssub16 r10, r8, r6",
        "ssub16 r4, r4, r6",
        "sadd16 r4, r4, r4",
        "sadd16 r4, r4, r4",
        "sadd16 r4, r4, r10",
        "str r4, [r11, #\\to]",
        // 4 d1 - 5 d3 + d5
        "ssub16 r4, r7, r5",
        "sadd16 r4, r4, r4",
        "ssub16 r9, r9, r7",
        "ssub16 r9, r9, r4",
        "ssub16 r9, r9, r4",
        "str r9, [r11, #\\to + 20]",
        // -d2 + d4 +- 2 (d3 - d1)
        "sadd16 r9, r10, r4",
        "ssub16 r4, r10, r4",
        "str r9, [r11, #\\to + 12]",
        "str r4, [r11, #\\to + 16]",
        // -4 d2 + d4 +- (d3 - 4 d1)
        "sadd16 r6, r6, r6",
        "sadd16 r6, r6, r6",
        "ssub16 r8, r8, r6",
        "sadd16 r5, r5, r5",
        "sadd16 r5, r5, r5",
        "ssub16 r7, r7, r5",
        "sadd16 r4, r8, r7",
        "ssub16 r8, r8, r7",
        "str r4, [r11, #\\to + 4]",
        "str r8, [r11, #\\to + 8]",
        ".endm",
        "push {{r4-r11, lr}}",
        "sub sp, sp, #12",
        "mov r11, r1",
        "mov r10, r2",
        "ldm r10, {{r1, r2, r3, r4, r5, r6, r7}}",
        "strd r6, r7, [sp]",
        "mov r12, r4",
        "mov lr, r5",
        // A pixel of each row.
        "2:",
        "skipstone_column 0",
        "skipstone_column 24, , ror #8",
        "ldr r4, [sp]",
        "ldr r5, [sp, #4]",
        "add r11, r11, #48",
        "add r0, r0, r4",
        "cmp r11, r5",
        "bne 2b",
        "add sp, sp, #12",
        "pop {{r4-r11, pc}}",
        ".purgem skipstone_column",
    )
}

// r0 the vertical transforms, r1 their end, r2 V, r3..r8 those of a tile, r9..r12 temporaries, lr bytes of V for two
// tiles. On the stack: 0 V of the row, 4 bytes of V in a row, 8 bytes of all transforms, 12 the first transform after
// the last row.

/// # Safety
/// As [`transform`], of the six rows of vertical transforms that start at `from`, for all tiles.
#[unsafe(naked)]
unsafe extern "C" fn horizontal(from: *const u32, v: *mut u32, rows: &Rows) {
    naked_asm!(
        extension!(),
        // A tile of pixels a to f, of which a and b are there, and e and f are kept for the next tile.
        ".macro skipstone_tile at, to, a, b, e, f",
        "ldr r5, [r0, #\\at + 96]",
        "ldr r6, [r0, #\\at + 144]",
        "ldr \\e, [r0, #\\at + 192]",
        "ldr \\f, [r0, #\\at + 240]",
        "ssub16 r9, \\e, r5",
        "ssub16 \\a, \\a, r5",
        "sadd16 \\a, \\a, \\a",
        "sadd16 \\a, \\a, \\a",
        "sadd16 \\a, \\a, r9",
        "str \\a, [r2, #\\to]",
        "ssub16 r10, r6, \\b",
        "sadd16 r10, r10, r10",
        "sadd16 r11, r9, r10",
        "ssub16 r12, r9, r10",
        "str r11, [r2, #\\to + 24]",
        "str r12, [r2, #\\to + 32]",
        "ssub16 r11, \\f, r6",
        "sadd16 r10, r10, r10",
        "ssub16 r11, r11, r10",
        "str r11, [r2, #\\to + 40]",
        "sadd16 r5, r5, r5",
        "sadd16 r5, r5, r5",
        "ssub16 r5, \\e, r5",
        "sadd16 \\b, \\b, \\b",
        "sadd16 \\b, \\b, \\b",
        "ssub16 \\b, r6, \\b",
        "sadd16 r11, r5, \\b",
        "ssub16 r12, r5, \\b",
        "str r11, [r2, #\\to + 8]",
        "str r12, [r2, #\\to + 16]",
        ".endm",
        "push {{r4-r11, lr}}",
        "sub sp, sp, #20",
        "ldrd r4, r5, [r2]",
        "add lr, r4, r4, lsl #3",
        "lsl lr, lr, #4",
        "add r4, r4, r4, lsl #1",
        "lsl r4, r4, #3",
        "add r6, r0, #24",
        "strd r1, r4, [sp]",
        "strd r5, r6, [sp, #8]",
        // A row.
        "2:",
        "ldr r2, [sp]",
        "ldr r1, [sp, #8]",
        "ldr r3, [r0]",
        "ldr r4, [r0, #48]",
        "add r1, r1, r0",
        // Two tiles.
        "3:",
        "skipstone_tile 0, 0, r3, r4, r7, r8",
        "skipstone_tile 192, 4, r7, r8, r3, r4",
        "add r0, r0, #384",
        "add r2, r2, lr",
        "cmp r0, r1",
        "bne 3b",
        "ldrd r3, r4, [sp]",
        "ldrd r5, r6, [sp, #8]",
        "add r3, r3, r4",
        "str r3, [sp]",
        "sub r0, r0, r5",
        "add r0, r0, #4",
        "cmp r0, r6",
        "bne 2b",
        "add sp, sp, #20",
        "pop {{r4-r11, pc}}",
        ".purgem skipstone_tile",
    )
}
