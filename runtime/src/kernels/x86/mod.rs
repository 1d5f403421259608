//! AVX2 for 64-bit x86: what the builder evaluates whole test sets with. Bytes are widened to 16 bits, multiplied and
//! added in pairs to 32-bit sums.

mod conv;
mod pairs;

use super::{Backend, ConvKernel, ConvRow, pad, portable, reference};

/// AVX2, found at start-up.
pub static BACKEND: Backend = Backend {
    name: "avx2",
    available,
    canonical: ConvKernel { name: "conv_4x2_avx2", run: conv_4x2_avx2 },
    pairs: Some(ConvKernel { name: "conv_2x4_avx2_pairs", run: conv_2x4_avx2_pairs }),
    widen: pad::widen,
};

fn available() -> bool {
    std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("bmi2")
}

/// Convolution by canonical weights. Groups, output channels that are no multiple of 4, and processors without AVX2
/// run the portable kernel.
pub fn conv_4x2_avx2(row: &mut ConvRow<'_, i8>) {
    if row.groups != 1 || !row.channels_out().is_multiple_of(4) || !available() {
        return portable::conv_4x2_portable(row);
    }
    // SAFETY: `available` has found AVX2 and BMI2.
    unsafe { conv::ungrouped(row) }
}

/// Convolution by weights in pairs, so that the host evaluates models packed for a microcontroller as fast as others.
/// Rows that are not as the engine makes them, and processors without AVX2, run the reference.
pub fn conv_2x4_avx2_pairs(row: &mut ConvRow<'_, i16>) {
    if !row.in_bounds() || !available() {
        return reference::conv_pairs(row);
    }
    // SAFETY: `available` has found AVX2 and BMI2.
    unsafe { pairs::paired(row) }
}
