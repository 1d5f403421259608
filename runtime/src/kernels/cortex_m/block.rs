//! Blocks of two output channels and one to three pixels, in assembly: the inner loop needs all fourteen registers, more
//! than `asm!` may use.

use crate::arith::{OPERAND_SHIFT, Requant, SHIFT_MIN};
use crate::kernels::conv::ConvRow;
use core::arch::naked_asm;

/// What the assembly needs besides weights and pixels; it reads the fields by their order.
#[repr(C)]
struct Arguments {
    /// Bytes from a pixel's run to that of the next pixel.
    pixel_step: u32,
    /// Bytes of the weights of two output channels in one kernel row.
    weights_row: u32,
    /// Bytes from the end of a run, rounded up to 4 elements, to the same pixel's run in the next row.
    row_gap: u32,
    /// Bytes of the weights of two output channels.
    weights_len: u32,
    /// Of the two channels.
    requant: *const Requant,
    /// The first channel of the first pixel; holds the residual operand.
    out: *mut i8,
    /// Bytes from an output pixel to the next.
    out_step: usize,
    /// Smallest output, in both halfwords.
    lo: u32,
    /// Largest output, in both halfwords.
    hi: u32,
    /// Multiplier of the residual operand, 0 without one.
    multiplier: i32,
}

/// `value` in both halfwords.
fn twice(value: i8) -> u32 {
    u32::from(i16::from(value) as u16) * 0x0001_0001
}

/// Two output channels of a row at work.
pub(super) struct Channels<'r> {
    arguments: Arguments,
    weights: &'r [i8],
    pixels: &'r [i16],
    /// Outputs from the two channels of the next pixel to the end.
    out: &'r mut [i8],
    pixel_step: usize,
}

impl<'r> Channels<'r> {
    /// The channels `first` and `first + 1` of a row; `None` if it has no such channels.
    pub(super) fn new(row: &'r mut ConvRow<'_, i16>, first: usize) -> Option<Self> {
        let run = row.run().next_multiple_of(4);
        let weights_len = 2 * run * row.shape.kernel_h;
        let arguments = Arguments {
            pixel_step: 2 * row.pixel_step() as u32,
            weights_row: 2 * run as u32,
            // Not walked, and of any value, where the kernel has one row.
            row_gap: row.row_len.wrapping_sub(run).wrapping_mul(2) as u32,
            weights_len: weights_len as u32,
            requant: row.requant.get(first..first + 2)?.as_ptr(),
            out: core::ptr::null_mut(),
            out_step: row.channels_out(),
            lo: twice(row.lo),
            hi: twice(row.hi),
            multiplier: row.residual.unwrap_or(0),
        };
        let weights = row.weights.get(first / 2 * weights_len..)?.get(..weights_len)?;
        let pixel_step = row.pixel_step();
        Some(Self { arguments, weights, pixels: row.rows, out: row.out.get_mut(first..)?, pixel_step })
    }
}

macro_rules! blocks {
    ($($name:ident, $pixels:literal, $assembly:ident;)*) => {
        impl Channels<'_> {$(
            /// Makes the outputs of the row's next pixels, as many as the name says; nothing if the row has not so many
            /// left.
            #[inline(always)]
            pub(super) fn $name(&mut self) {
                let step = self.arguments.out_step;
                if self.out.len() < ($pixels - 1) * step + 2 {
                    return;
                }
                self.arguments.out = self.out.as_mut_ptr();
                let (weights, pixels) = (self.weights.as_ptr(), self.pixels.as_ptr());
                // SAFETY: `new` sliced the weights and the constants; the outputs were just compared. The pixels that
                // the assembly reads, up to whole groups of four elements in each kernel row, end inside of the rows,
                // because that is what a `ConvRow` promises and the outputs that are left show that it has these pixels.
                unsafe { $assembly(weights, pixels, &self.arguments) };
                self.pixels = self.pixels.get($pixels * self.pixel_step..).unwrap_or_default();
                let out = core::mem::take(&mut self.out);
                self.out = out.get_mut($pixels * step..).unwrap_or_default();
            }
        )*}
    };
}
blocks! {
    one, 1, conv_2x1;
    two, 2, conv_2x2;
    three, 3, conv_2x3;
}

// r0 weights, r1 pixels, r2 pixel step, r3 and r12 the weights of channels A and B, lr r4 r5 the pixels' elements,
// r6..r11 the sums. On the stack: 0 end of the row's weights in whole sixteens of elements, 4 end of the row's weights,
// 8 bytes of weights in a row, 12 gap, 16 end of all weights, 20 arguments.
macro_rules! conv {
    ($(#[$doc:meta])* $name:ident, loads: [$($load:literal),*], products: [$($product:literal),*],
     sums: [$([$a:literal, $b:literal]),*]) => {
        $(#[$doc])*
        ///
        /// # Safety
        /// `weights` must be readable for `weights_len` bytes, `pixels` for the runs of all pixels in all kernel rows,
        /// and the arguments must point to the constants of two channels and to two outputs of each pixel.
        #[unsafe(naked)]
        unsafe extern "C" fn $name(weights: *const i8, pixels: *const i16, arguments: *const Arguments) {
            naked_asm!(
                extension!(),
                // Two elements of the run.
                ".macro skipstone_step",
                "ldr r3, [r0], #4",
                $($load,)*
                "ldr lr, [r1], #4",
                "sxtb16 r12, r3, ror #8",
                "sxtb16 r3, r3",
                $($product,)*
                ".endm",
                // r0 and r1 c, r2 m, r3 the shift of the high word, r12 multiplier, lr arguments.
                ".macro skipstone_constants channel",
                "ldr lr, [sp, #20]",
                "ldr r4, [lr, #16]",
                "ldr r12, [lr, #36]",
                "ldrd r0, r1, [r4, #16 * \\channel]",
                "ldrd r2, r3, [r4, #16 * \\channel + 8]",
                "sub r3, r3, #{shift_min}",
                ".endm",
                ".macro skipstone_round sum",
                "mov r4, r0",
                "mov r5, r1",
                "smlal r4, r5, \\sum, r2",
                "asr \\sum, r5, r3",
                ".endm",
                ".macro skipstone_round_residual sum, channel",
                "mov r4, r0",
                "mov r5, r1",
                "smlal r4, r5, \\sum, r2",
                "ldrsb \\sum, [lr, #\\channel]",
                "lsl \\sum, \\sum, #{operand_shift}",
                "smlal r4, r5, \\sum, r12",
                "asr \\sum, r5, r3",
                "ldr r4, [sp, #20]",
                "ldr r4, [r4, #24]",
                "add lr, lr, r4",
                ".endm",
                // Clamps both channels of a pixel at once: SEL takes a halfword of its first operand where the
                // difference before it was not negative.
                ".macro skipstone_put a, b",
                "ssat \\a, #16, \\a",
                "ssat \\b, #16, \\b",
                "pkhbt \\a, \\a, \\b, lsl #16",
                "ssub16 r4, \\a, r2",
                "sel \\a, \\a, r2",
                "ssub16 r4, \\a, r3",
                "sel \\a, r3, \\a",
                "lsr \\b, \\a, #16",
                "strb \\b, [r0, #1]",
                "strb \\a, [r0]",
                "add r0, r0, r1",
                ".endm",
                "push {{r4-r11, lr}}",
                "sub sp, sp, #28",
                "mov r3, r2",
                "ldm r3, {{r2, r4, r5, r6}}",
                "add r6, r6, r0",
                "strd r4, r5, [sp, #8]",
                "strd r6, r3, [sp, #16]",
                "mov r5, r6",
                $(concat!("mov ", $a, ", #0"), concat!("mov ", $b, ", #0"),)*
                "cmp r0, r5",
                "beq 7f",
                // A kernel row.
                "2:",
                "ldr r3, [sp, #8]",
                "add r5, r0, r3",
                "bic r3, r3, #31",
                "add r4, r0, r3",
                "strd r4, r5, [sp]",
                "cmp r0, r4",
                "beq 4f",
                // Sixteen elements of the run.
                "3:",
                "skipstone_step",
                "skipstone_step",
                "skipstone_step",
                "skipstone_step",
                "skipstone_step",
                "skipstone_step",
                "skipstone_step",
                "skipstone_step",
                "ldr lr, [sp]",
                "cmp r0, lr",
                "bne 3b",
                // Four elements.
                "4:",
                "ldr lr, [sp, #4]",
                "cmp r0, lr",
                "beq 6f",
                "5:",
                "skipstone_step",
                "skipstone_step",
                "ldr lr, [sp, #4]",
                "cmp r0, lr",
                "bne 5b",
                "6:",
                "ldrd r4, r5, [sp, #12]",
                "add r1, r1, r4",
                "cmp r0, r5",
                "bne 2b",
                // Sums to outputs.
                "7:",
                "skipstone_constants 0",
                "cmp r12, #0",
                "bne 8f",
                $(concat!("skipstone_round ", $a),)*
                "skipstone_constants 1",
                $(concat!("skipstone_round ", $b),)*
                "b 9f",
                "8:",
                "ldr lr, [lr, #20]",
                $(concat!("skipstone_round_residual ", $a, ", 0"),)*
                "skipstone_constants 1",
                "ldr lr, [lr, #20]",
                $(concat!("skipstone_round_residual ", $b, ", 1"),)*
                "9:",
                "ldr lr, [sp, #20]",
                "ldrd r0, r1, [lr, #20]",
                "ldrd r2, r3, [lr, #28]",
                $(concat!("skipstone_put ", $a, ", ", $b),)*
                "add sp, sp, #28",
                "pop {{r4-r11, pc}}",
                ".purgem skipstone_step",
                ".purgem skipstone_constants",
                ".purgem skipstone_round",
                ".purgem skipstone_round_residual",
                ".purgem skipstone_put",
                shift_min = const SHIFT_MIN,
                operand_shift = const OPERAND_SHIFT,
            )
        }
    };
}

conv! {
    /// Two channels, three pixels: 12 multiply-accumulates in 12 instructions.
    conv_2x3,
    loads: ["ldr r4, [r1, r2]", "ldr r5, [r1, r2, lsl #1]"],
    products: [
        "smlad r6, r3, lr, r6", "smlad r7, r12, lr, r7", "smlad r8, r3, r4, r8",
        "smlad r9, r12, r4, r9", "smlad r10, r3, r5, r10", "smlad r11, r12, r5, r11"
    ],
    sums: [["r6", "r7"], ["r8", "r9"], ["r10", "r11"]]
}

conv! {
    /// Two channels, two pixels: 8 multiply-accumulates in 9 instructions.
    conv_2x2,
    loads: ["ldr r4, [r1, r2]"],
    products: [
        "smlad r6, r3, lr, r6", "smlad r7, r12, lr, r7", "smlad r8, r3, r4, r8", "smlad r9, r12, r4, r9"
    ],
    sums: [["r6", "r7"], ["r8", "r9"]]
}

conv! {
    /// Two channels, one pixel: 4 multiply-accumulates in 6 instructions.
    conv_2x1,
    loads: [],
    products: ["smlad r6, r3, lr, r6", "smlad r7, r12, lr, r7"],
    sums: [["r6", "r7"]]
}
