//! Sums of products of two output channels and one to three pixels, in assembly: the loop needs all fourteen
//! registers, more than `asm!` may use.

use crate::kernels::ConvRow;
use core::arch::naked_asm;

/// How a convolution walks its rows. The assembly reads the first four fields, in bytes, by their order.
#[repr(C)]
pub(super) struct Shape {
    /// From a pixel's run to that of the next pixel.
    pixel_step: u32,
    /// Weights of two output channels in one kernel row.
    weights_row: u32,
    /// From the end of a run, rounded up to 4 elements, to the same pixel's run in the next row.
    row_gap: u32,
    /// Weights of two output channels.
    weights_len: u32,
    /// Elements from the first to one past the last of one pixel's runs.
    span: usize,
}

impl Shape {
    /// The shape of a row that is in bounds.
    pub(super) fn new(row: &ConvRow<'_, i16>) -> Self {
        let run = row.run().next_multiple_of(4);
        Self {
            pixel_step: 2 * row.pixel_step() as u32,
            weights_row: 2 * run as u32,
            // Not walked, and of any value, where the kernel has one row.
            row_gap: row.row_len.wrapping_sub(run).wrapping_mul(2) as u32,
            weights_len: (2 * run * row.kernel_h) as u32,
            span: (row.kernel_h - 1) * row.row_len + run,
        }
    }

    /// Weights of one output channel.
    pub(super) fn channel_len(&self) -> usize {
        self.weights_len as usize / 2
    }

    /// Elements from the first to one past the last that the runs of `pixels` pixels read.
    fn pixels_len(&self, pixels: usize) -> usize {
        self.span + (pixels - 1) * (self.pixel_step as usize / 2)
    }
}

/// `[pixel][channel]`: sums over all kernel rows and their runs.
pub(super) trait Sums: Sized {
    /// The sums of the two channels whose `weights` these are and of the pixel runs that start at `pixels[0]`.
    ///
    /// # Panics
    /// If the slices are shorter than `shape` walks.
    fn of(shape: &Shape, weights: &[i8], pixels: &[i16]) -> Self;
}

macro_rules! sums {
    ($count:literal, $dot:ident) => {
        impl Sums for [[i32; 2]; $count] {
            #[inline(always)]
            fn of(shape: &Shape, weights: &[i8], pixels: &[i16]) -> Self {
                assert!(weights.len() >= shape.weights_len as usize && pixels.len() >= shape.pixels_len($count));
                let mut sums = [[0; 2]; $count];
                // SAFETY: the assembly reads `weights_len` bytes of the weights and, of each row, the runs of the
                // pixels up to `pixels_len`: both were just compared with the slices. It writes the sums, which are
                // exactly `2 * $count` words.
                unsafe { $dot(weights.as_ptr(), pixels.as_ptr(), shape, sums.as_mut_ptr().cast()) };
                sums
            }
        }
    };
}
sums!(1, dot_2x1);
sums!(2, dot_2x2);
sums!(3, dot_2x3);

// r0 weights, r1 pixels, r2 pixel step, r3 and r12 the weights of channels A and B, lr r4 r5 the pixels' elements,
// r6..r11 the sums. On the stack: 0 end of the row's weights in whole sixteens, 4 end of the row's weights,
// 8 bytes of weights in a row, 12 gap, 16 end of all weights, 20 sums.
macro_rules! dot {
    ($(#[$doc:meta])* $name:ident, loads: [$($load:literal),*], products: [$($product:literal),*],
     clear: [$($clear:literal),*], store: [$($store:literal),*]) => {
        $(#[$doc])*
        ///
        /// # Safety
        /// `weights` must be readable for `shape.weights_len` bytes, `pixels` for all runs that `shape` walks, and
        /// `sums` writable for the sums.
        #[unsafe(naked)]
        unsafe extern "C" fn $name(weights: *const i8, pixels: *const i16, shape: *const Shape, sums: *mut i32) {
            naked_asm!(
                ".macro skipstone_step",
                "ldr r3, [r0], #4",
                $($load,)*
                "ldr lr, [r1], #4",
                "sxtb16 r12, r3, ror #8",
                "sxtb16 r3, r3",
                $($product,)*
                ".endm",
                "push {{r4-r11, lr}}",
                "sub sp, sp, #28",
                "str r3, [sp, #20]",
                "ldr r4, [r2, #4]",
                "str r4, [sp, #8]",
                "ldr r5, [r2, #8]",
                "str r5, [sp, #12]",
                "ldr r5, [r2, #12]",
                "add r5, r5, r0",
                "str r5, [sp, #16]",
                "ldr r2, [r2]",
                $($clear,)*
                "cmp r0, r5",
                "beq 9f",
                // A kernel row.
                "2:",
                "ldr r4, [sp, #8]",
                "add r5, r0, r4",
                "str r5, [sp, #4]",
                "bic r4, r4, #31",
                "add r5, r0, r4",
                "str r5, [sp]",
                "cmp r0, r5",
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
                "ldr r4, [sp, #12]",
                "ldr r5, [sp, #16]",
                "add r1, r1, r4",
                "cmp r0, r5",
                "bne 2b",
                "9:",
                "ldr r3, [sp, #20]",
                $($store,)*
                "add sp, sp, #28",
                "pop {{r4-r11, pc}}",
                ".purgem skipstone_step",
            )
        }
    };
}

dot! {
    /// Two channels, three pixels: 12 multiply-accumulates in 12 instructions.
    dot_2x3,
    loads: ["ldr r4, [r1, r2]", "ldr r5, [r1, r2, lsl #1]"],
    products: [
        "smlad r6, r3, lr, r6", "smlad r7, r12, lr, r7", "smlad r8, r3, r4, r8",
        "smlad r9, r12, r4, r9", "smlad r10, r3, r5, r10", "smlad r11, r12, r5, r11"
    ],
    clear: ["mov r6, #0", "mov r7, #0", "mov r8, #0", "mov r9, #0", "mov r10, #0", "mov r11, #0"],
    store: ["stm r3, {{r6-r11}}"]
}

dot! {
    /// Two channels, two pixels: 8 multiply-accumulates in 9 instructions.
    dot_2x2,
    loads: ["ldr r4, [r1, r2]"],
    products: [
        "smlad r6, r3, lr, r6", "smlad r7, r12, lr, r7", "smlad r8, r3, r4, r8", "smlad r9, r12, r4, r9"
    ],
    clear: ["mov r6, #0", "mov r7, #0", "mov r8, #0", "mov r9, #0"],
    store: ["stm r3, {{r6-r9}}"]
}

dot! {
    /// Two channels, one pixel: 4 multiply-accumulates in 6 instructions.
    dot_2x1,
    loads: [],
    products: ["smlad r6, r3, lr, r6", "smlad r7, r12, lr, r7"],
    clear: ["mov r6, #0", "mov r7, #0"],
    store: ["stm r3, {{r6-r7}}"]
}
