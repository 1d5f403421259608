//! Armv6-M (Cortex-M0, M0+) and Armv8-M Baseline (M23): one output channel of four pixels. Eight registers hold addresses
//! and factors; the sums lie in the upper ones, which can be added to.

use super::Walk;
use crate::kernels::conv::{ConvRow, ConvRows};
use crate::kernels::spec::CONV_1X4_ARMV6M;
use crate::kernels::{ConvCode, ConvKernel};
use core::arch::naked_asm;

/// [`CONV_1X4_ARMV6M`].
pub(super) const CONV: ConvKernel = ConvKernel { spec: &CONV_1X4_ARMV6M, code: ConvCode::Int8(conv_1x4_armv6m) };

/// Pixels of a block.
const PIXELS: usize = 4;

/// Convolution by canonical weights.
fn conv_1x4_armv6m(rows: &mut ConvRows<'_, i8>) {
    rows.each(|row| {
        if let Some(walk) = Walk::new(row) {
            conv_row(row, walk);
        }
    });
}

fn conv_row(row: &mut ConvRow<'_, i8>, walk: Walk) {
    let (width, channels, step) = (row.width_out(), row.channels_out(), row.pixel_step());
    let (group_in, group_out) = (row.shape.group_in(), channels.checked_div(row.shape.groups).unwrap_or(0));
    let kernels = row.weights.chunks_exact((walk.weights_len as usize).max(1));
    // The group's first element in a pixel, and its channels that are left.
    let (mut first, mut left) = (0, group_out);
    for (channel, (requant, weights)) in row.requant.chunks(1).zip(kernels).enumerate() {
        if left == 0 {
            (first, left) = (first + group_in, group_out);
        }
        left -= 1;
        let mut x = 0;
        while x < width {
            // A row ends with its last pixel several times.
            let pixels = core::array::from_fn(|i| first + (x + i).min(width - 1) * step);
            let sums = sums(row, weights, pixels, walk);
            for sum in sums.into_iter().take(width - x) {
                row.finish(x * channels + channel, [sum], requant);
                x += 1;
            }
        }
    }
}

/// The accumulators of a channel for pixels of the row, by where their runs start.
#[inline(always)]
fn sums(row: &ConvRow<'_, i8>, weights: &[i8], pixels: [usize; PIXELS], walk: Walk) -> [i32; PIXELS] {
    let mut block = Block { pixels: pixels.map(|at| row.rows.as_ptr().wrapping_add(at)), sums: [0; PIXELS], walk };
    // SAFETY: `weights` has `weights_len` elements, and `walk` is the shape's, which ends with them. The pixels are of the
    // row and the channel's group, so that all their segments in the kernel's rows lie inside of `rows`, because that is
    // what a `ConvRow` promises.
    unsafe { block_1x4(weights.as_ptr(), &mut block) };
    block.sums
}

/// What the assembly reads and makes, by the order of the fields.
#[repr(C)]
struct Block {
    /// Where the runs of the pixels start in the first row.
    pixels: [*const i8; PIXELS],
    sums: [i32; PIXELS],
    walk: Walk,
}

// r0..r3 ends of the pixels' segments, r4 end of the weights' segment, r5 elements to these ends, negative, r6 weight,
// r7 product, r8..r11 the sums, r12 elements of a segment, negative, lr where the loop over four elements is entered. On
// the stack: 0 segment, 4 segment's gap, 8 end of the row's weights, 12 row's gap, 16 end of all weights, 20 weights of a
// row, 24 block.

/// Four multiply-accumulates take 14 instructions, with the step to the next element.
///
/// # Safety
/// `weights` must be readable for `weights_len` bytes that the walk's segments and rows divide, and the segments of all
/// pixels must be readable.
#[unsafe(naked)]
unsafe extern "C" fn block_1x4(weights: *const i8, block: &mut Block) {
    naked_asm!(
        ".macro skipstone_element",
        "ldrsb r6, [r4, r5]",
        "ldrsb r7, [r0, r5]",
        "muls r7, r6, r7",
        "add r8, r7",
        "ldrsb r7, [r1, r5]",
        "muls r7, r6, r7",
        "add r9, r7",
        "ldrsb r7, [r2, r5]",
        "muls r7, r6, r7",
        "add r10, r7",
        "ldrsb r7, [r3, r5]",
        "muls r7, r6, r7",
        "add r11, r7",
        "adds r5, r5, #1",
        ".endm",
        "push {{r4, r5, r6, r7, lr}}",
        "mov r4, r8",
        "mov r5, r9",
        "mov r6, r10",
        "mov r7, r11",
        "push {{r4, r5, r6, r7}}",
        "sub sp, #28",
        "str r1, [sp, #24]",
        "ldr r2, [r1, #32]",
        "str r2, [sp]",
        "ldr r3, [r1, #36]",
        "adds r3, r3, r2",
        "str r3, [sp, #4]",
        "ldr r3, [r1, #40]",
        "str r3, [sp, #20]",
        "adds r3, r3, r0",
        "adds r3, r3, r2",
        "str r3, [sp, #8]",
        "ldr r3, [r1, #44]",
        "str r3, [sp, #12]",
        "ldr r3, [r1, #48]",
        "adds r3, r3, r0",
        "adds r3, r3, r2",
        "str r3, [sp, #16]",
        "adds r4, r0, r2",
        "rsbs r5, r2, #0",
        "mov r12, r5",
        // The loop is entered at the element from which on their number is a multiple of four.
        "movs r6, #3",
        "ands r6, r5",
        "movs r7, #28",
        "muls r6, r7, r6",
        "adr r7, 3f",
        "adds r6, r6, r7",
        "mov lr, r6",
        "movs r6, #0",
        "mov r8, r6",
        "mov r9, r6",
        "mov r10, r6",
        "mov r11, r6",
        "mov r6, r2",
        "mov r7, r1",
        "ldmia r7!, {{r0, r1, r2, r3}}",
        "adds r0, r0, r6",
        "adds r1, r1, r6",
        "adds r2, r2, r6",
        "adds r3, r3, r6",
        // A segment.
        "2:",
        "mov r5, r12",
        "mov pc, lr",
        ".p2align 2",
        "3:",
        "skipstone_element",
        "skipstone_element",
        "skipstone_element",
        "skipstone_element",
        "bne 3b",
        "ldr r6, [sp, #4]",
        "adds r0, r0, r6",
        "adds r1, r1, r6",
        "adds r2, r2, r6",
        "adds r3, r3, r6",
        "mov r6, r12",
        "subs r4, r4, r6",
        "ldr r6, [sp, #8]",
        "cmp r4, r6",
        "bne 2b",
        // A row.
        "ldr r7, [sp, #20]",
        "adds r6, r6, r7",
        "str r6, [sp, #8]",
        "ldr r6, [sp, #12]",
        "adds r0, r0, r6",
        "adds r1, r1, r6",
        "adds r2, r2, r6",
        "adds r3, r3, r6",
        "ldr r6, [sp, #16]",
        "cmp r4, r6",
        "bne 2b",
        "ldr r0, [sp, #24]",
        "adds r0, r0, #16",
        "mov r4, r8",
        "mov r5, r9",
        "mov r6, r10",
        "mov r7, r11",
        "stmia r0!, {{r4, r5, r6, r7}}",
        "add sp, #28",
        "pop {{r4, r5, r6, r7}}",
        "mov r8, r4",
        "mov r9, r5",
        "mov r10, r6",
        "mov r11, r7",
        "pop {{r4, r5, r6, r7, pc}}",
        ".purgem skipstone_element",
    )
}
