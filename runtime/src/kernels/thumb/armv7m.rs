//! Armv7-M (Cortex-M3) and Armv8-M Mainline: two output channels of two or three pixels; one of four pixels where each
//! group has one input channel.

use super::Walk;
use crate::kernels::conv::{ConvRow, ConvRows};
use crate::kernels::spec::CONV_2X3_ARMV7M;
use crate::kernels::{ConvCode, ConvKernel};
use core::arch::naked_asm;

/// [`CONV_2X3_ARMV7M`].
pub(super) const CONV: ConvKernel = ConvKernel { spec: &CONV_2X3_ARMV7M, code: ConvCode::Int8(conv_2x3_armv7m) };

/// Convolution by canonical weights.
fn conv_2x3_armv7m(rows: &mut ConvRows<'_, i8>) {
    rows.each(|row| {
        if row.shape.group_in() == 1 && row.shape.groups > 1 {
            depthwise_row(row);
        } else if let Some(walk) = Walk::new(row) {
            conv_row(row, walk);
        }
    });
}

fn depthwise_row(row: &mut ConvRow<'_, i8>) {
    let (shape, width, step) = (row.shape, row.width_out(), row.pixel_step());
    let Some(walk) = Walk::of_columns(row) else { return };
    let group_out = row.channels_out().checked_div(shape.groups).unwrap_or(0);
    let kernels = row.weights.chunks_exact((walk.weights_len as usize).max(1));
    let (mut input, mut left) = (0, group_out);
    for (channel, (requant, weights)) in row.requant.chunks(1).zip(kernels).enumerate() {
        if left == 0 {
            (input, left) = (input + 1, group_out);
        }
        left -= 1;
        let mut x = 0;
        while x < width {
            // A row ends with four pixels, some of which are made already, or with single ones.
            let (first, step) = if width >= 4 { (x.min(width - 4), step) } else { (x, 0) };
            let at = input + first * row.pixel_step();
            let sums = sums(row, weights, at, Tile { assembly: block_1x4, step, second: 3 * step }, walk);
            let last = if step == 0 { x + 1 } else { first + 4 };
            for sum in sums.as_flattened().iter().skip(x - first).take(last - x) {
                row.finish(x * row.channels_out() + channel, [*sum], requant);
                x += 1;
            }
        }
    }
}

fn conv_row(row: &mut ConvRow<'_, i8>, walk: Walk) {
    let (group_in, kernel) = (row.shape.group_in(), walk.weights_len as usize);
    let group_out = row.channels_out().checked_div(row.shape.groups).unwrap_or(0);
    // The group's first element in a pixel, and its channels that are left.
    let (mut first, mut left, mut channel) = (0, group_out, 0);
    while let Some(weights) = row.weights.get(channel * kernel..) {
        if left == 0 {
            (first, left) = (first + group_in, group_out);
        }
        let made = left.min(2);
        let requant = row.requant.get(channel..).and_then(|rest| rest.get(..made));
        // The last channel of an odd number takes the place of two.
        let second = if made == 2 { kernel } else { 0 };
        let (Some(weights), Some(requant)) = (weights.get(..kernel + second), requant) else { return };
        let mut x = 0;
        while x < row.width_out() {
            // A row ends with blocks of two rather than a lone pixel.
            let pixels = match row.width_out() - x {
                3 | 5.. => 3,
                left => left.min(2),
            };
            // A lone pixel takes the place of two.
            let step = if pixels == 1 { 0 } else { row.pixel_step() };
            let assembly = if pixels == 3 { block_2x3 } else { block_2x2 };
            let sums = sums(row, weights, first + x * row.pixel_step(), Tile { assembly, step, second }, walk);
            for sums in sums.into_iter().take(pixels) {
                row.finish(x * row.channels_out() + channel, sums, requant);
                x += 1;
            }
        }
        (channel, left) = (channel + made, left - made);
    }
}

/// A block of channels and pixels.
#[derive(Clone, Copy)]
struct Tile {
    assembly: unsafe extern "C" fn(*const i8, *const i8, &mut Block),
    /// Elements from a pixel's run to that of the next.
    step: usize,
    /// [`Block::second`].
    second: usize,
}

/// The accumulators of a tile: of two channels, `second` weights apart, whose first run starts at `at` in the first row, or
/// of one channel. The last ones of a small tile have no meaning.
#[inline(always)]
fn sums(row: &ConvRow<'_, i8>, weights: &[i8], at: usize, tile: Tile, walk: Walk) -> [[i32; 2]; 3] {
    let mut block = Block {
        sums: [[0; 2]; 3],
        second: tile.second as u32,
        step: tile.step as u32,
        skipped: walk.segment.wrapping_neg() & 3,
        walk,
        column: row.shape.channels_in as u32,
    };
    let first = row.rows.as_ptr().wrapping_add(at);
    // SAFETY: `weights` has `weights_len` elements, of tiles of two channels as many `second` after the first, and `walk` is
    // the shape's, which ends with them. The pixels are of the row and the channels' group, so that all their segments in
    // the kernel's rows lie inside of `rows`, because that is what a `ConvRow` promises.
    unsafe { (tile.assembly)(weights.as_ptr(), first, &mut block) };
    block.sums
}

/// What the assembly reads and makes, by the order of the fields.
#[repr(C)]
struct Block {
    /// Of pixels and channels; of pixels where there is one channel.
    sums: [[i32; 2]; 3],
    /// Bytes from the weights of the first channel to those of the second; of one channel, from the run of the first pixel
    /// to that of the fourth.
    second: u32,
    /// Bytes from a pixel's run to that of the next.
    step: u32,
    /// By how many elements the first round of a segment's loop is short of four.
    skipped: u32,
    walk: Walk,
    /// Bytes from a pixel to the next, where segments have one channel.
    column: u32,
}

// r0 first pixel, r1 step, r2 weights, r3 second, r4 and r5 the channels' weights, r6 and lr pixels' elements, r7..r12 the
// sums. On the stack: 0 end of the segment's weights, 4 where the loop over four elements is entered, 8 segment,
// 12 segment's gap, 16 end of the row's weights, 20 row's gap, 24 end of all weights, 28 weights of a row, 32 block.
// All instructions of an element have 4 bytes.
macro_rules! block {
    ($(#[$doc:meta])* $name:ident, bytes: $bytes:literal, start: [$($start:literal),*], element: [$($line:literal),*]) => {
        $(#[$doc])*
        ///
        /// # Safety
        /// `weights` must be readable for `weights_len` bytes, which the walk's segments and rows divide, and for as many
        /// from `second` on, and the segments of all pixels must be readable.
        #[unsafe(naked)]
        unsafe extern "C" fn $name(weights: *const i8, first: *const i8, block: &mut Block) {
            naked_asm!(
                ".macro skipstone_element",
                $($line,)*
                ".endm",
                "push {{r4-r11, lr}}",
                "sub sp, sp, #36",
                "str r2, [sp, #32]",
                "mov r3, r2",
                "mov r2, r0",
                "mov r0, r1",
                "ldrd r4, r5, [r3, #32]",
                "mov r6, #{bytes}",
                "adr r7, 3f",
                "mla r4, r4, r6, r7",
                "orr r4, r4, #1",
                "strd r4, r5, [sp, #4]",
                "ldr r4, [r3, #40]",
                "str r4, [sp, #12]",
                "ldrd r4, r5, [r3, #44]",
                "str r4, [sp, #28]",
                "add r4, r4, r2",
                "strd r4, r5, [sp, #16]",
                "ldr r4, [r3, #52]",
                "add r4, r4, r2",
                "str r4, [sp, #24]",
                "ldr r1, [r3, #28]",
                "ldr r3, [r3, #24]",
                "mov r7, #0",
                "mov r8, #0",
                "mov r9, #0",
                "mov r10, #0",
                "mov r11, #0",
                "mov r12, #0",
                $($start,)*
                // A segment.
                "2:",
                "ldr r4, [sp, #8]",
                "add r4, r4, r2",
                "str r4, [sp]",
                "ldr pc, [sp, #4]",
                ".p2align 2",
                "3:",
                "skipstone_element",
                "skipstone_element",
                "skipstone_element",
                "skipstone_element",
                "ldr lr, [sp]",
                "cmp r2, lr",
                "bne 3b",
                "ldrd r4, r5, [sp, #12]",
                "add r0, r0, r4",
                "cmp r2, r5",
                "bne 2b",
                // A row.
                "ldrd r4, r6, [sp, #20]",
                "ldr lr, [sp, #28]",
                "add r0, r0, r4",
                "add r5, r5, lr",
                "str r5, [sp, #16]",
                "cmp r2, r6",
                "bne 2b",
                "ldr r0, [sp, #32]",
                "stm r0, {{r7-r12}}",
                "add sp, sp, #36",
                "pop {{r4-r11, pc}}",
                ".purgem skipstone_element",
                bytes = const $bytes,
            )
        }
    };
}

block! {
    /// Two channels, three pixels: 6 multiply-accumulates in 11 instructions.
    block_2x3,
    bytes: 44,
    start: [],
    element: [
        "ldrsb.w r5, [r2, r3]", "ldrsb.w r4, [r2], #1", "ldrsb.w lr, [r0, r1]", "ldrsb.w r6, [r0, r1, lsl #1]",
        "mla r9, lr, r4, r9", "mla r10, lr, r5, r10", "ldrsb.w lr, [r0], #1", "mla r11, r6, r4, r11",
        "mla r12, r6, r5, r12", "mla r7, lr, r4, r7", "mla r8, lr, r5, r8"
    ]
}

block! {
    /// Two channels, two pixels: 4 multiply-accumulates in 8 instructions.
    block_2x2,
    bytes: 32,
    start: [],
    element: [
        "ldrsb.w r5, [r2, r3]", "ldrsb.w r4, [r2], #1", "ldrsb.w lr, [r0, r1]", "ldrsb.w r6, [r0], #1",
        "mla r9, lr, r4, r9", "mla r10, lr, r5, r10", "mla r7, r6, r4, r7", "mla r8, r6, r5, r8"
    ]
}

block! {
    /// One channel, four pixels, of segments whose elements are a pixel apart: 4 multiply-accumulates in 10 instructions.
    block_1x4,
    bytes: 40,
    start: ["ldr r11, [sp, #32]", "ldr r11, [r11, #56]"],
    element: [
        "ldrsb.w r4, [r2], #1", "ldrsb.w lr, [r0, r1]", "ldrsb.w r6, [r0, r1, lsl #1]", "ldrsb.w r5, [r0, r3]",
        "mla r8, lr, r4, r8", "ldrsb.w lr, [r0]", "mla r9, r6, r4, r9", "mla r10, r5, r4, r10", "mla r7, lr, r4, r7",
        "add.w r0, r0, r11"
    ]
}
