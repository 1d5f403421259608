//! Descriptions of convolution kernels: what the host's planner, packer, check and `inspect` know of kernels that only
//! another processor runs. Compiled everywhere; the code behind them only where it runs.
//!
//! A kernel's name says the operator, its tile (output channels x pixels) and the instruction set.

use super::conv::{ConvShape, MAX_ROWS};
use super::grouped::TAPS_MAX;
use super::layout::{CANONICAL, Layout, PAIRS, QUADS};
use crate::format::records::Core;

/// A convolution kernel, described.
pub struct ConvSpec {
    /// Operator, tile and instruction set: `conv_4x2_portable`.
    pub name: &'static str,
    /// Where its code is in this crate: the path of a [`ConvKernel`](super::ConvKernel).
    pub path: &'static str,
    /// The weights that it reads.
    pub layout: &'static Layout,
    /// Output rows of one step by which it is fastest for a convolution, at most [`MAX_ROWS`](super::conv::MAX_ROWS).
    pub rows: fn(&ConvShape) -> usize,
    /// Whether it runs a convolution.
    pub suits: fn(&ConvShape) -> bool,
    /// Bytes of its program text, about: what a program saves that does not link it.
    pub code_bytes: usize,
    /// Estimated instructions of an output row of so many pixels, padding and requantization included.
    pub cost: fn(&ConvShape, usize) -> u64,
}

/// Kernels of one kind of core, the most specific first. The last one runs every convolution.
pub type CoreKernels = [&'static ConvSpec];

/// Cores without kernels of their own. Also what every program understands.
pub static PORTABLE: &CoreKernels = &[&DEPTHWISE_16X1_PORTABLE, &CONV_2X2_SCALAR, &CONV_4X2_PORTABLE];
/// Armv6-M and Armv8-M Baseline: Cortex-M0, M0+, M23.
pub static ARMV6M: &CoreKernels = &[&CONV_1X4_ARMV6M];
/// Armv7-M, and Armv8-M Mainline without the DSP extension: Cortex-M3.
pub static ARMV7M: &CoreKernels = &[&CONV_2X3_ARMV7M];
/// Cortex-M cores with the DSP extension: M4, M7, M33, M55.
pub static CORTEX_M: &CoreKernels = &[&CONV_2X3_SMLAD, &CONV_2X3_ARMV7M];
/// 64-bit Arm with NEON.
pub static NEON: &CoreKernels = &[&CONV_4X4_NEON, &DEPTHWISE_16X1_PORTABLE, &CONV_4X2_PORTABLE];
/// 64-bit x86, with AVX-512 and its products of bytes, or with AVX2 alone.
pub static X86: &CoreKernels =
    &[&CONV_16X16_VNNI, &CONV_8X6_AVX2, &CONV_4X2_AVX2, &DEPTHWISE_16X1_PORTABLE, &CONV_4X2_PORTABLE];

impl Core {
    /// The kernels that a program for this core has, the most specific first. A host asks the same list.
    pub const fn kernels(self) -> &'static CoreKernels {
        match self {
            Self::Generic => PORTABLE,
            Self::CortexM0 => ARMV6M,
            Self::CortexM3 => ARMV7M,
            Self::CortexM4 | Self::CortexM7 | Self::CortexM33 | Self::CortexM55 => CORTEX_M,
            Self::Neon | Self::Dotprod => NEON,
            Self::X86 => X86,
        }
    }

    /// Whether kernels for this core read weights in the layout of a code. A file laid out for the core has no other ones.
    pub fn reads(self, layout: u8) -> bool {
        READS.get(self as usize).is_some_and(|codes| codes.checked_shr(layout.into()).is_some_and(|code| code & 1 == 1))
    }
}

/// A bit for each layout that a core's kernels read, by cores: a program that asks links no descriptions.
static READS: [u32; Core::ALL.len()] = {
    let (mut reads, mut core) = ([0; Core::ALL.len()], 0);
    while core < reads.len() {
        let (kernels, mut kernel) = (Core::ALL[core].kernels(), 0);
        while kernel < kernels.len() {
            reads[core] |= 1 << kernels[kernel].layout.code;
            kernel += 1;
        }
        core += 1;
    }
    reads
};

/// Blocks of 2 output channels x 2 pixels in plain Rust, for cores with few registers.
pub static CONV_2X2_SCALAR: ConvSpec = ConvSpec {
    name: "conv_2x2_scalar",
    path: "kernels::scalar::CONV",
    layout: &CANONICAL,
    rows: shared_rows,
    suits: |shape| shape.groups == 1 && shape.channels_out.is_multiple_of(2),
    code_bytes: 900,
    cost: |shape, width| cost(shape, width, 45, 40),
};

/// Depthwise convolutions, 16 channels of a pixel at a time in plain Rust.
pub static DEPTHWISE_16X1_PORTABLE: ConvSpec = ConvSpec {
    name: "depthwise_16x1_portable",
    path: "kernels::grouped::DEPTHWISE",
    layout: &CANONICAL,
    rows: shared_rows,
    suits: |shape| {
        let groups = shape.groups;
        groups > 1
            && (shape.channels_in, shape.channels_out) == (groups, groups)
            && shape.kernel_h.saturating_mul(shape.kernel_w) <= TAPS_MAX
    },
    code_bytes: 3_000,
    cost: |shape, width| cost(shape, width, 20, 20),
};

/// Blocks of 4 output channels x 2 pixels in plain Rust.
pub static CONV_4X2_PORTABLE: ConvSpec = ConvSpec {
    name: "conv_4x2_portable",
    path: "kernels::portable::CONV",
    layout: &CANONICAL,
    rows: shared_rows,
    suits: |_| true,
    code_bytes: 4_900,
    cost: |shape, width| cost(shape, width, if shape.groups == 1 { 120 } else { 50 }, 40),
};

/// One output channel of 4 pixels by the instructions of Armv6-M.
pub static CONV_1X4_ARMV6M: ConvSpec = ConvSpec {
    name: "conv_1x4_armv6m",
    path: "kernels::thumb::CONV",
    layout: &CANONICAL,
    rows: shared_rows,
    suits: |_| true,
    code_bytes: 1_200,
    cost: |shape, width| cost(shape, width, 37, 90),
};

/// Blocks of 2 output channels x 3 pixels, the last pixels of a row by twos or one, by the instructions of Armv7-M.
pub static CONV_2X3_ARMV7M: ConvSpec = ConvSpec {
    name: "conv_2x3_armv7m",
    path: "kernels::thumb::CONV",
    layout: &CANONICAL,
    rows: shared_rows,
    suits: |_| true,
    code_bytes: 1_200,
    cost: |shape, width| cost(shape, width, 20, 40),
};

/// Blocks of 2 output channels x 3 pixels, the last pixels of a row by twos or one, with SMLAD.
pub static CONV_2X3_SMLAD: ConvSpec = ConvSpec {
    name: "conv_2x3_smlad",
    path: "kernels::cortex_m::CONV",
    layout: &PAIRS,
    rows: shared_rows,
    suits: PAIRS.suits,
    code_bytes: 3_200,
    cost: |shape, width| cost(shape, width, 12, 24),
};

/// Blocks of 4 output channels x 4 pixels with NEON's byte products.
pub static CONV_4X4_NEON: ConvSpec = ConvSpec {
    name: "conv_4x4_neon",
    path: "kernels::neon::CONV",
    layout: &CANONICAL,
    rows: shared_rows,
    suits: |shape| shape.groups == 1,
    code_bytes: 3_000,
    cost: |shape, width| cost(shape, width, 2, 8),
};

/// Blocks of 16 output channels x 16 pixels with AVX-512 and its products of four bytes.
pub static CONV_16X16_VNNI: ConvSpec = ConvSpec {
    name: "conv_16x16_vnni",
    path: "kernels::x86::CONV_VNNI",
    layout: &QUADS,
    rows: |_| MAX_ROWS,
    suits: QUADS.suits,
    code_bytes: 40_000,
    cost: |shape, width| cost(shape, width, 0, 1),
};

/// Blocks of 8 output channels x 6 pixels with AVX2.
pub static CONV_8X6_AVX2: ConvSpec = ConvSpec {
    name: "conv_8x6_avx2",
    path: "kernels::x86::CONV_QUADS",
    code_bytes: 4_000,
    cost: |shape, width| cost(shape, width, 1, 2),
    ..CONV_16X16_VNNI
};

/// Blocks of 4 output channels x 2 pixels with AVX2.
pub static CONV_4X2_AVX2: ConvSpec = ConvSpec {
    name: "conv_4x2_avx2",
    path: "kernels::x86::CONV",
    layout: &CANONICAL,
    rows: shared_rows,
    suits: |shape| shape.groups == 1 && shape.channels_out.is_multiple_of(4),
    code_bytes: 3_000,
    cost: |shape, width| cost(shape, width, 2, 12),
};

/// Blocks of 2 output channels x 4 pixels with AVX2 over weights in pairs, so that the host evaluates models packed for a
/// microcontroller as fast as others.
pub static CONV_2X4_AVX2_PAIRS: ConvSpec = ConvSpec {
    name: "conv_2x4_avx2_pairs",
    path: "kernels::x86::CONV_PAIRS",
    layout: &PAIRS,
    rows: shared_rows,
    suits: PAIRS.suits,
    code_bytes: 2_000,
    cost: |shape, width| cost(shape, width, 2, 12),
};

/// For two rows of a 3x3 convolution four rows of the input are padded, not six.
fn shared_rows(shape: &ConvShape) -> usize {
    let small = (shape.kernel_h, shape.kernel_w, shape.stride_h, shape.stride_w) == (3, 3, 1, 1);
    if small && shape.groups == 1 { 2 } else { 1 }
}

/// `per_mac` tenths of an instruction for each multiply-accumulate and `per_output` instructions for each output; asked
/// on hosts, so that 64-bit division is not linked elsewhere.
fn cost(shape: &ConvShape, width: usize, per_mac: usize, per_output: usize) -> u64 {
    let instructions = shape.macs() * per_mac / 10 + shape.channels_out * per_output;
    width as u64 * instructions as u64
}

/// The kernel of a core that runs a convolution in the fewest instructions, by its own estimate, of those that `allowed`
/// lets pass.
pub fn fastest(
    kernels: &CoreKernels,
    shape: &ConvShape,
    width: usize,
    allowed: impl Fn(&ConvSpec) -> bool,
) -> Option<&'static ConvSpec> {
    let suiting = kernels.iter().copied().filter(|spec| (spec.suits)(shape) && allowed(spec));
    suiting.min_by_key(|spec| (spec.cost)(shape, width))
}
