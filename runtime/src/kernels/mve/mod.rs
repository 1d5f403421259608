//! Cortex-M cores with Helium (M55, M85): sums of sixteen byte products.

/// The first line of each naked function, which is assembled for the target's plain architecture: it names a core with
/// Helium.
macro_rules! extension {
    () => {
        ".cpu cortex-m55"
    };
}

mod block;
mod conv;
mod copy;
pub(super) mod elementwise;
mod gather;

use super::spec::CONV_4X2_MVE;
use super::{Backend, ConvCode, ConvKernel, thumb};
pub(super) use copy::copy;

/// Helium kernels; canonical weights run the plain one.
pub static BACKEND: Backend = Backend { name: "mve", available: || true, kernels: &[CONV, thumb::CONV] };

/// [`CONV_4X2_MVE`].
pub const CONV: ConvKernel = ConvKernel { spec: &CONV_4X2_MVE, code: ConvCode::Int8(conv::conv_4x2_mve) };
