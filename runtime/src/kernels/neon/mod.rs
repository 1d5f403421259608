//! NEON for 64-bit Arm (Raspberry Pi 3 and later): widening byte products, added in pairs to 32-bit sums.

mod conv;
mod requant;

use super::{Backend, ConvKernel, pad};
pub use conv::conv_4x4_neon;

/// NEON kernels. Every aarch64 processor that runs Linux has them.
pub static BACKEND: Backend = Backend {
    name: "neon",
    available: || true,
    canonical: ConvKernel { name: "conv_4x4_neon", run: conv_4x4_neon },
    pairs: None,
    widen: pad::widen,
};
