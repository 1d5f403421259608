//! NEON for 64-bit Arm (Raspberry Pi 3 and later): widening byte products, added in pairs to 32-bit sums.

mod conv;
mod requant;

use super::spec::CONV_4X4_NEON;
use super::{Backend, ConvCode, ConvKernel, grouped, portable};
pub use conv::conv_4x4_neon;

/// NEON kernels. Every aarch64 processor that runs Linux has them.
pub static BACKEND: Backend =
    Backend { name: "neon", available: || true, kernels: &[CONV, grouped::DEPTHWISE, portable::CONV] };

/// [`CONV_4X4_NEON`].
pub const CONV: ConvKernel = ConvKernel { spec: &CONV_4X4_NEON, code: ConvCode::Int8(conv_4x4_neon) };
