//! AVX2 for 64-bit x86: what the builder evaluates whole test sets with. Bytes are widened to 16 bits, multiplied and
//! added in pairs to 32-bit sums.

mod conv;
mod pairs;

use super::conv::ConvRows;
use super::spec::{CONV_2X4_AVX2_PAIRS, CONV_4X2_AVX2};
use super::{Backend, ConvCode, ConvKernel, grouped, load, portable, reference};

/// AVX2, found at start-up.
pub static BACKEND: Backend =
    Backend { name: "avx2", available, kernels: &[CONV, CONV_PAIRS, grouped::DEPTHWISE, portable::CONV] };

/// [`CONV_4X2_AVX2`].
pub const CONV: ConvKernel = ConvKernel { spec: &CONV_4X2_AVX2, code: ConvCode::Int8(conv_4x2_avx2) };

/// [`CONV_2X4_AVX2_PAIRS`].
pub const CONV_PAIRS: ConvKernel =
    ConvKernel { spec: &CONV_2X4_AVX2_PAIRS, code: ConvCode::Int16 { run: conv_2x4_avx2_pairs, widen: load::widen } };

fn available() -> bool {
    std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("bmi2")
}

/// Convolution by canonical weights. What its description does not suit, and processors without AVX2, run the portable
/// kernel.
pub fn conv_4x2_avx2(rows: &mut ConvRows<'_, i8>) {
    let available = available();
    rows.each(|row| {
        if !(CONV_4X2_AVX2.suits)(&row.shape) || !available {
            return portable::conv_row(row);
        }
        // SAFETY: `available` has found AVX2 and BMI2.
        unsafe { conv::ungrouped(row) }
    });
}

/// Convolution by weights in pairs. Processors without AVX2 run the reference.
pub fn conv_2x4_avx2_pairs(rows: &mut ConvRows<'_, i16>) {
    if !available() {
        return reference::conv(rows);
    }
    rows.each(|row| {
        // SAFETY: `available` has found AVX2 and BMI2.
        unsafe { pairs::paired(row) }
    });
}
