//! Convolutions in blocks of two output channels and four pixels, over weights in words or in pairs. The distance from pixel
//! to pixel is a constant of the code, because the inner loop needs all fourteen registers.

use crate::arith::{OPERAND_SHIFT, Requant, SHIFT_MIN};
use crate::kernels::conv::{ConvRow, ConvRows, clamp};
use core::arch::naked_asm;

/// What the assembly needs; it reads the fields by their order.
#[repr(C)]
struct Arguments {
    /// The first pixel's run in the first kernel row.
    pixels: *const i16,
    /// Of the first two channels.
    weights: *const i8,
    /// Of the first two channels.
    requant: *const Requant,
    /// The first channel of the first pixel; holds the residual operand.
    out: *mut i8,
    /// Bytes from an output pixel to the next.
    out_step: usize,
    /// Bytes of the weights of two output channels in one kernel row, those of whole unrolled loops.
    row_weights: usize,
    /// Bytes from the end of a pixel's run, with what fills it up, to the same pixel's run in the next row.
    row_gap: usize,
    /// Bytes of the weights of two output channels.
    pair_weights: usize,
    /// Where the weights of the last two channels end.
    weights_end: *const i8,
    /// Blocks of four pixels, more than 0.
    blocks: usize,
    /// Multiplier of the residual operand, 0 without one.
    multiplier: i32,
}

/// Makes blocks of four pixels, all pairs of output channels of one before those of the next.
type Run = unsafe extern "C" fn(&Arguments);

/// A convolution. A step of the inner loop takes two elements of a run and `step_bytes` bytes of the weights.
#[inline(never)]
fn conv(rows: &mut ConvRows<'_, i16>, run: Run, step_bytes: usize) {
    rows.each(|row| {
        whole_row(row, run, step_bytes);
        clamp(row.out, row.lo, row.hi);
    });
}

fn whole_row(row: &mut ConvRow<'_, i16>, run: Run, step_bytes: usize) -> Option<()> {
    let (channels, width) = (row.channels_out(), row.width_out());
    let pair_weights = row.weights.len() / (channels / 2).max(1);
    let row_weights = pair_weights / row.shape.kernel_h.max(1);
    let (blocks, rest) = (width / 4, width % 4);
    let weights = row.weights.as_ptr_range();
    let mut arguments = Arguments {
        pixels: row.rows.as_ptr(),
        weights: weights.start,
        requant: row.requant.as_ptr(),
        out: row.out.as_mut_ptr(),
        out_step: channels,
        row_weights,
        row_gap: 2 * row.row_len.wrapping_sub(2 * row_weights.checked_div(step_bytes).unwrap_or(0)),
        pair_weights,
        weights_end: weights.end,
        blocks,
        multiplier: row.residual.unwrap_or(0),
    };
    if blocks > 0 {
        // SAFETY: a `ConvRow` has the weights and constants of all channels, an even number, and the outputs of all pixels.
        // Its rows hold the runs of four pixels at least, filled up to steps, as the layout reads them.
        unsafe { run(&arguments) };
    }
    if rest == 0 {
        return Some(());
    }
    // The last pixels are made beside the row, in a block with others before them or after the end of the row.
    let (start, made) = (width.saturating_sub(4), if width < 4 { 0 } else { 4 - rest });
    arguments.pixels = row.rows.get(start * row.pixel_step()..)?.as_ptr();
    (arguments.blocks, arguments.out_step) = (1, 2);
    let pairs = row.weights.chunks_exact(pair_weights.max(1)).zip(row.requant.as_chunks::<2>().0);
    for (index, (weights, requant)) in pairs.enumerate() {
        let mut beside = [0i8; 8];
        let places = row.out.get_mut((start + made) * channels + 2 * index..)?;
        for (place, beside) in places.chunks(channels.max(1)).zip(beside.as_chunks_mut().0.iter_mut().skip(made)) {
            *beside = *place.first_chunk::<2>()?;
        }
        let weights = weights.as_ptr_range();
        (arguments.weights, arguments.weights_end) = (weights.start, weights.end);
        (arguments.requant, arguments.out) = (requant.as_ptr(), beside.as_mut_ptr());
        // SAFETY: as above, for the weights and constants of two channels and four pixels beside the row.
        unsafe { run(&arguments) };
        for (place, beside) in places.chunks_mut(channels.max(1)).zip(beside.as_chunks().0.iter().skip(made)) {
            *place.first_chunk_mut::<2>()? = *beside;
        }
    }
    Some(())
}

// r0..r3 the sums of the first channel, r4..r7 of the second, r8 pixels, r9 weights, r10 and r11 the weights of a step, r12
// and lr its pixels. On the stack: 0 the block's pixels, 4 end of the row's weights, 8 constants, 12 outputs, 16 out_step,
// 20 row_weights, 24 row_gap, 28 pair_weights, 32 weights_end, 36 blocks left, 40 multiplier, 44 end of the pair's weights,
// 48 weights, 52 constants of the first pair, 56 the next residual operand, 60 the shift of the high word.
macro_rules! block {
    ($(#[$doc:meta])* $name:ident, weights: [$($weights:literal),*], widen: [$($widen:literal),*]) => {
        $(#[$doc])*
        ///
        /// `PIXEL` is the bytes from a pixel to the next, `UNROLL` the steps of an unrolled loop. If `ROWS` is not 0, there are
        /// as many kernel rows of one such loop each.
        ///
        /// # Safety
        /// Weights and constants of all pairs must be readable, outputs of four pixels in each block writable, and the runs of
        /// their pixels readable in each kernel row.
        #[unsafe(naked)]
        unsafe extern "C" fn $name<const PIXEL: usize, const UNROLL: usize, const ROWS: usize>(arguments: &Arguments) {
            naked_asm!(
                extension!(),
                ".macro skipstone_zero a, b, c, d",
                "mov \\a, #0",
                "mov \\b, #0",
                "mov \\c, #0",
                "mov \\d, #0",
                ".endm",
                // r9..r11 c and m, r12 the shift of the high word.
                ".macro skipstone_constants",
                "ldm r8!, {{r9, r10, r11, r12}}",
                "str r8, [sp, #8]",
                "sub r12, r12, #{shift_min}",
                ".endm",
                ".macro skipstone_round sum",
                "mov r8, r9",
                "mov lr, r10",
                "smlal r8, lr, \\sum, r11",
                "asr lr, lr, r12",
                "ssat \\sum, #8, lr",
                ".endm",
                ".macro skipstone_operands channel",
                "ldr r8, [sp, #12]",
                "add r8, r8, #\\channel",
                "str r8, [sp, #56]",
                "str r12, [sp, #60]",
                ".endm",
                ".macro skipstone_round_residual sum",
                "mov r8, r9",
                "mov lr, r10",
                "smlal r8, lr, \\sum, r11",
                "ldr \\sum, [sp, #56]",
                "ldr r12, [sp, #16]",
                "add r12, r12, \\sum",
                "str r12, [sp, #56]",
                "ldrsb \\sum, [\\sum]",
                "ldr r12, [sp, #40]",
                "lsl \\sum, \\sum, #{operand_shift}",
                "smlal r8, lr, \\sum, r12",
                "ldr r12, [sp, #60]",
                "asr lr, lr, r12",
                "ssat \\sum, #8, lr",
                ".endm",
                ".macro skipstone_step",
                $($weights,)*
                "ldr r12, [r8, #{pixel}]",
                "ldr lr, [r8, #2*{pixel}]",
                $($widen,)*
                "smlad r1, r10, r12, r1",
                "smlad r5, r11, r12, r5",
                "smlad r2, r10, lr, r2",
                "smlad r6, r11, lr, r6",
                "ldr r12, [r8, #3*{pixel}]",
                "ldr lr, [r8], #4",
                "smlad r3, r10, r12, r3",
                "smlad r7, r11, r12, r7",
                "smlad r0, r10, lr, r0",
                "smlad r4, r11, lr, r4",
                ".endm",
                "push {{r4-r11, lr}}",
                "sub sp, sp, #68",
                "ldm r0!, {{r1, r2, r3, r4}}",
                "ldm r0, {{r5-r11}}",
                "add r12, sp, #16",
                "stm r12, {{r5-r11}}",
                "str r1, [sp]",
                "str r4, [sp, #12]",
                "strd r2, r3, [sp, #48]",
                // A block of pixels.
                "2:",
                "ldrd r9, r12, [sp, #48]",
                "str r12, [sp, #8]",
                // Two channels.
                "3:",
                "ldr r8, [sp]",
                "ldr r12, [sp, #28]",
                "add r12, r12, r9",
                "str r12, [sp, #44]",
                "skipstone_zero r0, r1, r2, r3",
                "skipstone_zero r4, r5, r6, r7",
                ".if {rows}",
                // Kernel rows of one unrolled loop each.
                ".rept {rows} - 1",
                ".rept {unroll}",
                "skipstone_step",
                ".endr",
                "ldr r12, [sp, #24]",
                "add r8, r8, r12",
                ".endr",
                ".rept {unroll}",
                "skipstone_step",
                ".endr",
                ".else",
                // A kernel row.
                "4:",
                "ldr r12, [sp, #20]",
                "add r12, r12, r9",
                "str r12, [sp, #4]",
                "5:",
                ".rept {unroll}",
                "skipstone_step",
                ".endr",
                "ldr r12, [sp, #4]",
                "cmp r9, r12",
                "bne 5b",
                "ldr r12, [sp, #24]",
                "ldr lr, [sp, #44]",
                "add r8, r8, r12",
                "cmp r9, lr",
                "bne 4b",
                ".endif",
                // Sums to outputs.
                "ldr r12, [sp, #40]",
                "ldr r8, [sp, #8]",
                "cmp r12, #0",
                "bne 6f",
                "skipstone_constants",
                "skipstone_round r0",
                "skipstone_round r1",
                "skipstone_round r2",
                "skipstone_round r3",
                "ldr r8, [sp, #8]",
                "skipstone_constants",
                "skipstone_round r4",
                "skipstone_round r5",
                "skipstone_round r6",
                "skipstone_round r7",
                "7:",
                "ldr r8, [sp, #12]",
                "ldr r12, [sp, #16]",
                "ldr r9, [sp, #44]",
                "ldr r10, [sp, #32]",
                "add lr, r12, r12, lsl #1",
                "strb r0, [r8]",
                "strb r1, [r8, r12]",
                "strb r2, [r8, r12, lsl #1]",
                "strb r3, [r8, lr]",
                "add r8, r8, #1",
                "strb r4, [r8]",
                "strb r5, [r8, r12]",
                "strb r6, [r8, r12, lsl #1]",
                "strb r7, [r8, lr]",
                "add r8, r8, #1",
                "str r8, [sp, #12]",
                "cmp r9, r10",
                "bne 3b",
                // The outputs are one pixel on.
                "add r8, r8, lr",
                "str r8, [sp, #12]",
                "ldr r0, [sp]",
                "add r0, r0, #4*{pixel}",
                "str r0, [sp]",
                "ldr r1, [sp, #36]",
                "subs r1, r1, #1",
                "str r1, [sp, #36]",
                "bne 2b",
                "add sp, sp, #68",
                "pop {{r4-r11, pc}}",
                "6:",
                "skipstone_constants",
                "skipstone_operands 0",
                "skipstone_round_residual r0",
                "skipstone_round_residual r1",
                "skipstone_round_residual r2",
                "skipstone_round_residual r3",
                "ldr r8, [sp, #8]",
                "skipstone_constants",
                "skipstone_operands 1",
                "skipstone_round_residual r4",
                "skipstone_round_residual r5",
                "skipstone_round_residual r6",
                "skipstone_round_residual r7",
                "b 7b",
                ".purgem skipstone_step",
                ".purgem skipstone_zero",
                ".purgem skipstone_constants",
                ".purgem skipstone_round",
                ".purgem skipstone_operands",
                ".purgem skipstone_round_residual",
                pixel = const PIXEL,
                unroll = const UNROLL,
                rows = const ROWS,
                shift_min = const SHIFT_MIN,
                operand_shift = const OPERAND_SHIFT,
            )
        }
    };
}

block! {
    /// Weights in words: 16 multiply-accumulates in 14 instructions.
    words, weights: ["ldr r10, [r9], #4", "ldr r11, [r9], #4"], widen: []
}

block! {
    /// Weights in pairs: 16 multiply-accumulates in 15 instructions.
    pairs, weights: ["ldr r10, [r9], #4"], widen: ["sxtb16 r11, r10, ror #8", "sxtb16 r10, r10"]
}

/// Convolution by weights in words, whose pixels lie `PIXEL` bytes apart.
pub(super) fn conv_words<const PIXEL: usize, const UNROLL: usize, const ROWS: usize>(rows: &mut ConvRows<'_, i16>) {
    conv(rows, words::<PIXEL, UNROLL, ROWS>, 8);
}

/// Convolution by weights in pairs, whose pixels lie `PIXEL` bytes apart.
pub(super) fn conv_pairs<const PIXEL: usize, const UNROLL: usize, const ROWS: usize>(rows: &mut ConvRows<'_, i16>) {
    conv(rows, pairs::<PIXEL, UNROLL, ROWS>, 4);
}
