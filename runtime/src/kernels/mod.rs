//! Kernels: what makes output rows out of padded input rows.
//!
//! A kernel is described in [`spec`], for every program, and lies in the folder of its instruction set, which only its own
//! processors compile. [`BACKENDS`] is the one list of them; selection, tests and benchmarks read it. Every kernel equals
//! [`reference`](mod@reference) bit for bit. `docs/kernels.md` says how to add one.

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod conv;
#[cfg(skipstone_dsp)]
pub mod cortex_m;
pub mod elementwise;
mod estimate;
pub mod grouped;
pub mod layout;
pub mod load;
mod map_row;
#[cfg(skipstone_mve)]
pub mod mve;
#[cfg(target_arch = "aarch64")]
pub mod neon;
pub mod portable;
#[cfg(any(target_arch = "aarch64", all(target_arch = "x86_64", feature = "std")))]
mod quads;
pub mod reference;
pub mod scalar;
mod shape;
pub mod spec;
#[cfg(skipstone_thumb)]
pub mod thumb;
#[cfg(any(test, all(skipstone_thumb, not(skipstone_armv6m))))]
mod winograd;
#[cfg(all(target_arch = "x86_64", feature = "std"))]
pub mod x86;

use conv::{ConvRows, ConvShape, Uint8};
use spec::ConvSpec;

/// The functions of a kernel, by the elements of its input rows.
#[derive(Clone, Copy)]
pub enum ConvCode {
    /// Of int8 rows.
    Int8(fn(&mut ConvRows<'_, i8>)),
    /// Of rows of [`Uint8`].
    Uint8(fn(&mut ConvRows<'_, Uint8>)),
    /// Of rows widened to 16 bits.
    Int16 {
        /// Computes the rows.
        run: fn(&mut ConvRows<'_, i16>),
        /// Widens the elements of the first slice into the second, which is as long.
        widen: fn(&[i8], &mut [i16]),
    },
}

/// A convolution kernel that this program has.
pub struct ConvKernel {
    /// Its description.
    pub spec: &'static ConvSpec,
    /// Its functions.
    pub code: ConvCode,
}

/// The kernels of one instruction set.
pub struct Backend {
    /// The instruction set.
    pub name: &'static str,
    /// Whether this processor has it.
    pub available: fn() -> bool,
    /// Its convolutions, the fastest first.
    pub kernels: &'static [ConvKernel],
}

impl Backend {
    /// The kernel that runs a convolution whose weights lie in the layout of a code.
    #[inline]
    pub fn kernel(&self, layout: u8, shape: &ConvShape) -> Option<&'static ConvKernel> {
        let runs = |kernel: &&ConvKernel| kernel.spec.layout.code == layout && (kernel.spec.suits)(shape);
        self.kernels.iter().find(runs)
    }
}

/// Every backend that this program was compiled with, the fastest first.
pub static BACKENDS: &[&Backend] = &[
    #[cfg(skipstone_mve)]
    &mve::BACKEND,
    #[cfg(skipstone_dsp)]
    &cortex_m::BACKEND,
    #[cfg(skipstone_thumb)]
    &thumb::BACKEND,
    #[cfg(target_arch = "aarch64")]
    &neon::DOTPROD,
    #[cfg(target_arch = "aarch64")]
    &neon::BACKEND,
    #[cfg(all(target_arch = "x86_64", feature = "std"))]
    &x86::VNNI,
    #[cfg(all(target_arch = "x86_64", feature = "std"))]
    &x86::AVX2,
    &portable::BACKEND,
    &reference::BACKEND,
];

/// The fastest backend that this processor has.
pub fn best() -> &'static Backend {
    BACKENDS.iter().copied().find(|backend| (backend.available)()).unwrap_or(&portable::BACKEND)
}
