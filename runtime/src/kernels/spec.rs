//! Descriptions of convolution kernels: what the host's planner, packer, check and `inspect` know of kernels that only
//! another processor runs. Compiled everywhere; the code behind them only where it runs.
//!
//! A kernel's name says the operator, its tile (output channels x pixels) and the instruction set.

use super::conv::{ConvShape, MAX_ROWS};
use super::layout::{CANONICAL, Layout, PAIRS, POLYPHASE, QUADS, TAPS, VECTORS, WINOGRAD, WINOGRAD_4X4, WORDS};
use crate::format::records::Core;

/// A convolution kernel, described.
pub struct ConvSpec {
    /// Operator, tile and instruction set: `conv_4x2_portable`.
    pub name: &'static str,
    /// Where its code is in this crate: the path of a [`ConvKernel`](super::ConvKernel).
    pub path: &'static str,
    /// The weights that it reads.
    pub layout: &'static Layout,
    /// Output rows of one step by which it is fastest for a convolution, at most [`MAX_ROWS`].
    pub rows: fn(&ConvShape) -> usize,
    /// Whether it runs a convolution.
    pub suits: fn(&ConvShape) -> bool,
    /// Bytes of its program text, about: what a program saves that does not link it.
    pub code_bytes: usize,
    /// Estimated instructions of an output row in steps of [`rows`](Self::rows), padding and requantization included;
    /// without a transform of the weights, which [`instructions`](Self::instructions) counts.
    pub cost: fn(&ConvShape) -> u64,
}

/// Kernels of one kind of core, the most specific first. The last one runs every convolution.
pub type CoreKernels = [&'static ConvSpec];

/// Cores without kernels of their own. Also what every program understands.
pub static PORTABLE: &CoreKernels = &[&DEPTHWISE_16X1_PORTABLE, &CONV_2X2_SCALAR, &CONV_4X2_PORTABLE];
/// Armv6-M and Armv8-M Baseline: Cortex-M0, M0+, M23.
pub static ARMV6M: &CoreKernels = &[&CONV_1X4_ARMV6M];
/// Armv7-M, and Armv8-M Mainline without the DSP extension: Cortex-M3.
pub static ARMV7M: &CoreKernels = &[&CONV_2X4_WINOGRAD_ARMV7M, &CONV_2X3_ARMV7M];
/// Cortex-M cores with the DSP extension: M4, M7, M33.
pub static CORTEX_M: &CoreKernels = &[
    &WINOGRAD_4X4_16,
    &WINOGRAD_4X4_32,
    &WINOGRAD_4X4_64,
    &CONV_4X4_WINOGRAD,
    &CONV_2X2_POLYPHASE,
    &TAPS_16,
    &TAPS_32,
    &TAPS_64,
    &CONV_4X4_WINOGRAD_TAPS,
    &CONV_2X2_POLYPHASE_TAPS,
    &WINOGRAD_16,
    &WINOGRAD_32,
    &WINOGRAD_64,
    &CONV_2X4_WINOGRAD,
    &WORDS_3,
    &WORDS_4,
    &WORDS_8,
    &WORDS_16,
    &WORDS_32,
    &WORDS_64,
    &WORDS_128,
    &PAIRS_3,
    &PAIRS_4,
    &PAIRS_8,
    &PAIRS_16,
    &PAIRS_32,
    &PAIRS_64,
    &PAIRS_128,
    &CONV_2X3_SMLAD,
    &CONV_2X3_SMLAD_GROUPS,
    &CONV_2X3_ARMV7M,
];
/// Cortex-M cores with Helium: M55, M85.
pub static MVE: &CoreKernels = &[&CONV_4X2_MVE, &CONV_2X3_ARMV7M];
/// 64-bit Arm with NEON.
pub static NEON: &CoreKernels = &[&CONV_4X4_NEON, &CONV_16X2_NEON, &DEPTHWISE_16X1_PORTABLE, &CONV_4X2_PORTABLE];
/// 64-bit Arm with NEON and dot products.
pub static DOTPROD: &CoreKernels =
    &[&CONV_16X4_DOTPROD, &CONV_4X4_NEON, &CONV_16X2_NEON, &DEPTHWISE_16X1_PORTABLE, &CONV_4X2_PORTABLE];
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
            Self::CortexM4 | Self::CortexM7 | Self::CortexM33 => CORTEX_M,
            Self::CortexM55 => MVE,
            Self::Neon => NEON,
            Self::Dotprod => DOTPROD,
            Self::X86 => X86,
        }
    }

    /// Whether kernels for this core read weights in the layout of a code. A file laid out for the core has no other
    /// ones.
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
    cost: |shape| cost(shape, 45, 40),
};

/// Most weights of a channel that [`DEPTHWISE_16X1_PORTABLE`] takes.
pub const DEPTHWISE_TAPS_MAX: usize = 49;

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
            && shape.kernel_h.saturating_mul(shape.kernel_w) <= DEPTHWISE_TAPS_MAX
    },
    code_bytes: 3_000,
    cost: |shape| cost(shape, 20, 20),
};

/// Blocks of 4 output channels x 2 pixels in plain Rust.
pub static CONV_4X2_PORTABLE: ConvSpec = ConvSpec {
    name: "conv_4x2_portable",
    path: "kernels::portable::CONV",
    layout: &CANONICAL,
    rows: shared_rows,
    suits: |_| true,
    code_bytes: 4_900,
    cost: |shape| cost(shape, if shape.groups == 1 { 120 } else { 50 }, 40),
};

/// One output channel of 4 pixels by the instructions of Armv6-M.
pub static CONV_1X4_ARMV6M: ConvSpec = ConvSpec {
    name: "conv_1x4_armv6m",
    path: "kernels::thumb::CONV",
    layout: &CANONICAL,
    rows: shared_rows,
    suits: |_| true,
    code_bytes: 1_200,
    cost: |shape| cost(shape, 37, 90),
};

/// Blocks of 2 output channels x 3 pixels, the last pixels of a row by twos or one, by the instructions of Armv7-M.
pub static CONV_2X3_ARMV7M: ConvSpec = ConvSpec {
    name: "conv_2x3_armv7m",
    path: "kernels::thumb::CONV",
    layout: &CANONICAL,
    rows: shared_rows,
    suits: |_| true,
    code_bytes: 1_200,
    cost: |shape| cost(shape, 20, 40),
};

/// Tiles of 2 x 4 pixels of 3x3 convolutions of stride 1 by minimal filtering, by the instructions of Armv7-M.
pub static CONV_2X4_WINOGRAD_ARMV7M: ConvSpec = ConvSpec {
    name: "conv_2x4_winograd_armv7m",
    path: "kernels::thumb::WINOGRAD",
    layout: &WINOGRAD,
    rows: |_| 2,
    suits: WINOGRAD.suits,
    code_bytes: 3_500,
    cost: |shape| winograd_cost(shape, 2, shape.channels_in * 9 / 5 + 4, 400, 350),
};

/// Blocks of 2 output channels x 3 pixels, the last pixels of a row by twos or one, with SMLAD.
pub static CONV_2X3_SMLAD: ConvSpec = ConvSpec {
    name: "conv_2x3_smlad",
    path: "kernels::cortex_m::CONV",
    layout: &PAIRS,
    rows: shared_rows,
    suits: |shape| shape.groups == 1 && (PAIRS.suits)(shape),
    code_bytes: 3_200,
    cost: |shape| cost(shape, 12, 24),
};

/// Convolutions with groups of 2, 4, 8 or 16 input channels: blocks of 2 output channels x 3 pixels, the last pixels of
/// a row by twos or one, with SMLAD.
pub static CONV_2X3_SMLAD_GROUPS: ConvSpec = ConvSpec {
    name: "conv_2x3_smlad_groups",
    path: "kernels::cortex_m::GROUPS",
    layout: &PAIRS,
    rows: shared_rows,
    suits: |shape| shape.groups > 1 && (PAIRS.suits)(shape) && matches!(shape.group_in(), 2 | 4 | 8 | 16),
    code_bytes: 9_200,
    cost: |shape| cost(shape, 17, 35),
};

/// Tiles of 2 x 4 pixels of 3x3 convolutions of stride 1 by minimal filtering, with SMLAD.
pub static CONV_2X4_WINOGRAD: ConvSpec = ConvSpec {
    name: "conv_2x4_winograd_smlad",
    path: "kernels::cortex_m::WINOGRAD",
    layout: &WINOGRAD,
    rows: |_| 2,
    suits: WINOGRAD.suits,
    code_bytes: 4_800,
    cost: |shape| winograd_cost(shape, 2, shape.channels_in * 7 / 8 + 6, 170, 110),
};

/// Tiles of 4 x 4 pixels of 3x3 convolutions of stride 1 by minimal filtering, with SMLAD.
pub static CONV_4X4_WINOGRAD: ConvSpec = ConvSpec {
    name: "conv_4x4_winograd_smlad",
    path: "kernels::cortex_m::WINOGRAD_4X4",
    layout: &WINOGRAD_4X4,
    rows: |_| 4,
    suits: WINOGRAD_4X4.suits,
    code_bytes: 5_200,
    cost: |shape| winograd_cost(shape, 4, shape.channels_in * 7 / 8 + 6, 320, 190),
};

/// Tiles of 2 x 2 pixels of 3x3 convolutions of stride 2 by minimal filtering, with SMLAD.
pub static CONV_2X2_POLYPHASE: ConvSpec = ConvSpec {
    name: "conv_2x2_polyphase_smlad",
    path: "kernels::cortex_m::POLYPHASE",
    layout: &POLYPHASE,
    rows: |_| 2,
    suits: POLYPHASE.suits,
    code_bytes: 6_000,
    cost: |shape| {
        let (tiles, inputs, outputs) = (shape.width.div_ceil(4) * 2, shape.channels_in, shape.channels_out);
        // Of a channel of a tile 25 products, 9 sums and 4 outputs.
        (tiles * (outputs * (25 * (inputs * 9 / 10) + 9 * 5 + 60) + inputs * 110) / 2) as u64
    },
};

macro_rules! winograd {
    ($(
        $name:ident: $layout:ident, $base:ident, $tile:literal, $height:literal, $channels:literal,
        $per_output:literal, $per_input:literal;
    )*) => {$(
        #[doc = concat!("[`", stringify!($base), "`] of ", stringify!($channels), " input channels.")]
        pub static $name: ConvSpec = ConvSpec {
            name: concat!("conv_", $tile, "_winograd_smlad_", stringify!($channels)),
            path: concat!("kernels::cortex_m::", stringify!($name)),
            suits: |shape| ($layout.suits)(shape) && shape.channels_in == $channels,
            code_bytes: $base.code_bytes - 800 + 28 * $channels,
            cost: |shape| winograd_cost(shape, $height, $channels * 7 / 8 + 4, $per_output, $per_input),
            ..$base
        };
    )*};
}
winograd! {
    WINOGRAD_4X4_16: WINOGRAD_4X4, CONV_4X4_WINOGRAD, "4x4", 4, 16, 320, 190;
    WINOGRAD_4X4_32: WINOGRAD_4X4, CONV_4X4_WINOGRAD, "4x4", 4, 32, 320, 190;
    WINOGRAD_4X4_64: WINOGRAD_4X4, CONV_4X4_WINOGRAD, "4x4", 4, 64, 320, 190;
    WINOGRAD_16: WINOGRAD, CONV_2X4_WINOGRAD, "2x4", 2, 16, 170, 110;
    WINOGRAD_32: WINOGRAD, CONV_2X4_WINOGRAD, "2x4", 2, 32, 170, 110;
    WINOGRAD_64: WINOGRAD, CONV_2X4_WINOGRAD, "2x4", 2, 64, 170, 110;
}

macro_rules! taps {
    ($($name:ident: $base:ident, $label:literal, $path:literal, $code_bytes:literal;)*) => {$(
        #[doc = concat!("[`", stringify!($base), "`] of weights that it transforms in each step.")]
        pub static $name: ConvSpec = ConvSpec {
            name: concat!("conv_", $label),
            path: concat!("kernels::cortex_m::", $path),
            layout: &TAPS,
            rows: |_| MAX_ROWS,
            suits: |shape| ($base.suits)(shape),
            code_bytes: $base.code_bytes + $code_bytes,
            cost: |shape| ($base.cost)(shape),
        };
    )*};
}
taps! {
    CONV_4X4_WINOGRAD_TAPS: CONV_4X4_WINOGRAD, "4x4_winograd_smlad_taps", "TAPS", 1_300;
    CONV_2X2_POLYPHASE_TAPS: CONV_2X2_POLYPHASE, "2x2_polyphase_smlad_taps", "POLYPHASE_TAPS", 600;
    TAPS_16: WINOGRAD_4X4_16, "4x4_winograd_smlad_taps_16", "TAPS_16", 1_300;
    TAPS_32: WINOGRAD_4X4_32, "4x4_winograd_smlad_taps_32", "TAPS_32", 1_300;
    TAPS_64: WINOGRAD_4X4_64, "4x4_winograd_smlad_taps_64", "TAPS_64", 1_300;
}

/// By tiles of `height` rows: instructions of each sum, of the transform of an output channel's sums and of an input
/// channel's pixels.
fn winograd_cost(shape: &ConvShape, height: usize, per_sum: usize, per_output: usize, per_input: usize) -> u64 {
    let (tiles, inputs, outputs) = (shape.width.div_ceil(8) * 2, shape.channels_in, shape.channels_out);
    let positions = 6 * (height + 2);
    (tiles * (outputs * (positions * per_sum + per_output) + inputs * per_input) / height) as u64
}

macro_rules! direct {
    ($(
        $name:ident: $layout:ident, $label:literal, $elements:literal, $unroll:literal, $run_multiple:literal,
        $per_mac:literal, $rows:literal;
    )*) => {$(
        #[doc = concat!(
            "Blocks of 2 output channels x 4 pixels that lie ", stringify!($elements), " elements apart, with SMLAD."
        )]
        pub static $name: ConvSpec = ConvSpec {
            name: concat!("conv_2x4_smlad_", $label, stringify!($elements)),
            path: concat!("kernels::cortex_m::", stringify!($name)),
            layout: &$layout,
            rows: direct_rows,
            suits: |shape| {
                let steps = shape.run().next_multiple_of($run_multiple) / 2;
                shape.width >= 4
                    && shape.groups == 1
                    && ($layout.suits)(shape)
                    && shape.stride_w * shape.channels_in == $elements
                    && steps.is_multiple_of($unroll)
                    && ($rows == 0 || (shape.kernel_h, steps) == ($rows, $unroll))
            },
            code_bytes: 1_300,
            cost: |shape| cost(shape, $per_mac, 14),
        };
    )*};
}
direct! {
    WORDS_3: WORDS, "words_", 3, 5, 2, 9, 3;
    WORDS_4: WORDS, "words_", 4, 2, 2, 9, 1;
    WORDS_8: WORDS, "words_", 8, 4, 2, 9, 1;
    WORDS_16: WORDS, "words_", 16, 8, 2, 9, 0;
    WORDS_32: WORDS, "words_", 32, 8, 2, 9, 0;
    WORDS_64: WORDS, "words_", 64, 8, 2, 9, 0;
    WORDS_128: WORDS, "words_", 128, 8, 2, 9, 0;
    PAIRS_3: PAIRS, "", 3, 6, 4, 10, 3;
    PAIRS_4: PAIRS, "", 4, 2, 4, 10, 1;
    PAIRS_8: PAIRS, "", 8, 4, 4, 10, 1;
    PAIRS_16: PAIRS, "", 16, 8, 4, 10, 0;
    PAIRS_32: PAIRS, "", 32, 8, 4, 10, 0;
    PAIRS_64: PAIRS, "", 64, 8, 4, 10, 0;
    PAIRS_128: PAIRS, "", 128, 8, 4, 10, 0;
}

/// Blocks of 4 output channels x 2 pixels with Helium's sums of sixteen byte products.
pub static CONV_4X2_MVE: ConvSpec = ConvSpec {
    name: "conv_4x2_mve",
    path: "kernels::mve::CONV",
    layout: &VECTORS,
    rows: shared_rows,
    suits: VECTORS.suits,
    code_bytes: 2_000,
    cost: |shape| cost(shape, 1, 6),
};

/// Blocks of 4 output channels x 4 pixels with NEON's byte products.
pub static CONV_4X4_NEON: ConvSpec = ConvSpec {
    name: "conv_4x4_neon",
    path: "kernels::neon::CONV",
    layout: &CANONICAL,
    rows: shared_rows,
    suits: |shape| shape.groups == 1,
    code_bytes: 3_000,
    cost: |shape| cost(shape, 2, 8),
};

/// Convolutions with groups of several channels: blocks of 16 output channels x 2 pixels with NEON's byte products.
pub static CONV_16X2_NEON: ConvSpec = ConvSpec {
    name: "conv_16x2_neon",
    path: "kernels::neon::CONV_QUADS",
    layout: &QUADS,
    rows: |_| 1,
    suits: |shape| shape.groups > 1 && shape.group_in() > 1 && (QUADS.suits)(shape),
    code_bytes: 4_000,
    cost: |shape| cost(shape, 8, 4),
};

/// Blocks of 16 output channels x 4 pixels with NEON's dot products.
pub static CONV_16X4_DOTPROD: ConvSpec = ConvSpec {
    name: "conv_16x4_dotprod",
    path: "kernels::neon::CONV_DOTPROD",
    layout: &QUADS,
    rows: shared_rows,
    suits: |shape| (QUADS.suits)(shape) && (shape.groups == 1 || shape.group_in() > 1),
    code_bytes: 6_000,
    cost: |shape| cost(shape, 1, 4),
};

/// Blocks of 16 output channels x 16 pixels with AVX-512 and its products of four bytes.
pub static CONV_16X16_VNNI: ConvSpec = ConvSpec {
    name: "conv_16x16_vnni",
    path: "kernels::x86::CONV_VNNI",
    layout: &QUADS,
    rows: |_| 8,
    suits: QUADS.suits,
    code_bytes: 40_000,
    cost: |shape| cost(shape, 0, 1),
};

/// Blocks of 8 output channels x 6 pixels with AVX2.
pub static CONV_8X6_AVX2: ConvSpec = ConvSpec {
    name: "conv_8x6_avx2",
    path: "kernels::x86::CONV_QUADS",
    code_bytes: 4_000,
    cost: |shape| cost(shape, 1, 2),
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
    cost: |shape| cost(shape, 2, 12),
};

/// Blocks of 2 output channels x 4 pixels with AVX2 over weights in pairs, so that the host evaluates models packed for
/// a microcontroller as fast as others.
pub static CONV_2X4_AVX2_PAIRS: ConvSpec = ConvSpec {
    name: "conv_2x4_avx2_pairs",
    path: "kernels::x86::CONV_PAIRS",
    layout: &PAIRS,
    rows: shared_rows,
    suits: |shape| shape.groups == 1 && (PAIRS.suits)(shape),
    code_bytes: 2_000,
    cost: |shape| cost(shape, 2, 12),
};

/// For two rows of a 3x3 convolution four rows of the input are padded, not six.
fn shared_rows(shape: &ConvShape) -> usize {
    let small = (shape.kernel_h, shape.kernel_w, shape.stride_h, shape.stride_w) == (3, 3, 1, 1);
    if small && shape.groups == 1 { 2 } else { 1 }
}

/// As [`shared_rows`], also where rows of a step share none, because steps cost as well; of few channels, whose rows
/// are small, four.
fn direct_rows(shape: &ConvShape) -> usize {
    match (shape.kernel_h, shape.stride_h) {
        (3, 1) if shape.channels_in <= 4 => 4,
        (1, _) | (3, 1 | 2) => 2,
        _ => 1,
    }
}

/// `per_mac` tenths of an instruction for each multiply-accumulate and `per_output` instructions for each output; asked
/// on hosts, so that 64-bit division is not linked elsewhere.
fn cost(shape: &ConvShape, per_mac: usize, per_output: usize) -> u64 {
    let instructions = shape.macs() * per_mac / 10 + shape.channels_out * per_output;
    shape.width as u64 * instructions as u64
}

/// The kernel of a core that makes `height` output rows in the fewest instructions, by its own estimate, of those that
/// `allowed` lets pass.
pub fn fastest(
    kernels: &CoreKernels,
    shape: &ConvShape,
    height: usize,
    allowed: impl Fn(&ConvSpec) -> bool,
) -> Option<&'static ConvSpec> {
    let suiting = kernels.iter().copied().filter(|spec| (spec.suits)(shape) && allowed(spec));
    suiting.min_by_key(|spec| spec.instructions(shape, (spec.rows)(shape), height))
}
