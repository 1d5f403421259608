//! 64-bit x86, for which the builder evaluates whole test sets: AVX-512 with products of four bytes, or AVX2, which widens
//! bytes to 16 bits, multiplies them and adds the products in pairs.

mod avx2;
mod constants;
mod conv;
pub(super) mod elementwise;
mod pairs;
mod values;
mod vnni;

use super::conv::{ConvRows, Uint8};
use super::spec::{CONV_2X4_AVX2_PAIRS, CONV_4X2_AVX2, CONV_8X6_AVX2, CONV_16X16_VNNI};
use super::{Backend, ConvCode, ConvKernel, grouped, load, portable, quads, reference};
use std::arch::is_x86_feature_detected;
use std::sync::LazyLock;

/// AVX-512 with VNNI, found at start-up.
pub static VNNI: Backend = Backend {
    name: "avx512vnni",
    available: has_vnni,
    kernels: &[CONV_VNNI, CONV_QUADS, CONV, CONV_PAIRS, grouped::DEPTHWISE, portable::CONV],
};

/// AVX2, found at start-up.
pub static AVX2: Backend = Backend {
    name: "avx2",
    available: has_avx2,
    kernels: &[CONV_QUADS, CONV, CONV_PAIRS, grouped::DEPTHWISE, portable::CONV],
};

/// [`CONV_16X16_VNNI`].
pub const CONV_VNNI: ConvKernel = ConvKernel { spec: &CONV_16X16_VNNI, code: ConvCode::Uint8(conv_16x16_vnni) };

/// [`CONV_8X6_AVX2`].
pub const CONV_QUADS: ConvKernel = ConvKernel { spec: &CONV_8X6_AVX2, code: ConvCode::Uint8(conv_8x6_avx2) };

/// [`CONV_4X2_AVX2`].
pub const CONV: ConvKernel = ConvKernel { spec: &CONV_4X2_AVX2, code: ConvCode::Int8(conv_4x2_avx2) };

/// [`CONV_2X4_AVX2_PAIRS`].
pub const CONV_PAIRS: ConvKernel =
    ConvKernel { spec: &CONV_2X4_AVX2_PAIRS, code: ConvCode::Int16 { run: conv_2x4_avx2_pairs, widen: load::widen } };

fn has_vnni() -> bool {
    static HAS: LazyLock<bool> = LazyLock::new(|| {
        has_avx2()
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni")
    });
    *HAS
}

fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("bmi2")
}

/// Convolution by weights in quads. Processors without AVX-512's VNNI run [`conv_8x6_avx2`].
pub fn conv_16x16_vnni(rows: &mut ConvRows<'_, Uint8>) {
    match vnni::Vnni::find() {
        Some(isa) => quads::convolve(isa, rows),
        None => conv_8x6_avx2(rows),
    }
}

/// Convolution by weights in quads. Processors without AVX2 run the reference.
pub fn conv_8x6_avx2(rows: &mut ConvRows<'_, Uint8>) {
    match avx2::Avx2::find() {
        Some(isa) => quads::convolve(isa, rows),
        None => reference::conv(rows),
    }
}

/// Convolution by canonical weights. What its description does not suit, and processors without AVX2, run the portable
/// kernel.
pub fn conv_4x2_avx2(rows: &mut ConvRows<'_, i8>) {
    let available = has_avx2();
    rows.each(|row| {
        if !(CONV_4X2_AVX2.suits)(&row.shape) || !available {
            return portable::conv_row(row);
        }
        // SAFETY: `has_avx2` has found AVX2 and BMI2.
        unsafe { conv::ungrouped(row) }
    });
}

/// Convolution by weights in pairs. Processors without AVX2 run the reference.
pub fn conv_2x4_avx2_pairs(rows: &mut ConvRows<'_, i16>) {
    if !has_avx2() {
        return reference::conv(rows);
    }
    rows.each(|row| {
        // SAFETY: `has_avx2` has found AVX2 and BMI2.
        unsafe { pairs::paired(row) }
    });
}

/// [`load::unsigned`](super::load::unsigned).
pub(super) fn unsigned(from: &[i8], to: &mut [Uint8]) {
    match vnni::Vnni::find() {
        Some(isa) => isa.unsigned(from, to),
        None => load::unsigned(from, to),
    }
}
