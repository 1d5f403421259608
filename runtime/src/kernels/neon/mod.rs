//! NEON for 64-bit Arm (Raspberry Pi 3 and later): widening byte products, added in pairs to 32-bit sums.

mod conv;
mod quads;
mod requant;

use super::spec::{CONV_4X4_NEON, CONV_16X2_NEON, CONV_16X4_DOTPROD};
use super::{Backend, ConvCode, ConvKernel, grouped, portable};
pub use conv::conv_4x4_neon;
pub use quads::{conv_16x2_neon, conv_16x4_dotprod};

/// NEON kernels. Every aarch64 processor that runs Linux has them.
pub static BACKEND: Backend =
    Backend { name: "neon", available: || true, kernels: &[CONV, CONV_QUADS, grouped::DEPTHWISE, portable::CONV] };

/// NEON with dot products (Cortex-A76), found at start-up.
pub static DOTPROD: Backend = Backend {
    name: "dotprod",
    available: quads::has_dotprod,
    kernels: &[CONV_DOTPROD, CONV, CONV_QUADS, grouped::DEPTHWISE, portable::CONV],
};

/// [`CONV_4X4_NEON`].
pub const CONV: ConvKernel = ConvKernel { spec: &CONV_4X4_NEON, code: ConvCode::Int8(conv_4x4_neon) };

/// [`CONV_16X2_NEON`].
pub const CONV_QUADS: ConvKernel = ConvKernel { spec: &CONV_16X2_NEON, code: ConvCode::Uint8(conv_16x2_neon) };

/// [`CONV_16X4_DOTPROD`].
pub const CONV_DOTPROD: ConvKernel = ConvKernel { spec: &CONV_16X4_DOTPROD, code: ConvCode::Uint8(conv_16x4_dotprod) };
