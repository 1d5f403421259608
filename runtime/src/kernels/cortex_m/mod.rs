//! Cortex-M cores with the DSP extension (M4, M7, M33): dual 16-bit multiply-accumulates over weights in pairs.

/// The first line of each naked function, which is assembled for the target's plain architecture: on Armv8-M it names a
/// core with the extension.
#[cfg(skipstone_armv8m)]
macro_rules! extension {
    () => {
        ".cpu cortex-m33"
    };
}
/// Armv7E-M has the extension.
#[cfg(not(skipstone_armv8m))]
macro_rules! extension {
    () => {
        ""
    };
}

mod block;
mod direct;
mod grouped;
mod widen;
mod winograd;

use super::conv::{ConvRow, ConvRows};
use super::spec::{
    self, CONV_2X2_POLYPHASE, CONV_2X2_POLYPHASE_TAPS, CONV_2X3_SMLAD, CONV_2X3_SMLAD_GROUPS, CONV_2X4_WINOGRAD,
    CONV_4X4_WINOGRAD, CONV_4X4_WINOGRAD_TAPS,
};
use super::{Backend, ConvCode, ConvKernel, thumb};
use block::Channels;
use widen::widen;

/// SMLAD kernels; canonical weights run the plain one, because these cores multiply no bytes.
pub static BACKEND: Backend = Backend {
    name: "cortex_m",
    available: || true,
    kernels: &[
        WINOGRAD_4X4_16,
        WINOGRAD_4X4_32,
        WINOGRAD_4X4_64,
        WINOGRAD_4X4,
        POLYPHASE,
        TAPS_16,
        TAPS_32,
        TAPS_64,
        TAPS,
        POLYPHASE_TAPS,
        WINOGRAD_16,
        WINOGRAD_32,
        WINOGRAD_64,
        WINOGRAD,
        WORDS_3,
        WORDS_4,
        WORDS_8,
        WORDS_16,
        WORDS_32,
        WORDS_64,
        WORDS_128,
        PAIRS_3,
        PAIRS_4,
        PAIRS_8,
        PAIRS_16,
        PAIRS_32,
        PAIRS_64,
        PAIRS_128,
        CONV,
        GROUPS,
        thumb::CONV,
    ],
};

/// [`CONV_2X4_WINOGRAD`].
pub const WINOGRAD: ConvKernel =
    ConvKernel { spec: &CONV_2X4_WINOGRAD, code: ConvCode::Int8(winograd::conv_2x4_winograd) };

/// [`CONV_4X4_WINOGRAD`].
pub const WINOGRAD_4X4: ConvKernel =
    ConvKernel { spec: &CONV_4X4_WINOGRAD, code: ConvCode::Int8(winograd::conv_4x4_winograd) };

/// [`CONV_2X2_POLYPHASE`].
pub const POLYPHASE: ConvKernel =
    ConvKernel { spec: &CONV_2X2_POLYPHASE, code: ConvCode::Int8(winograd::conv_2x2_polyphase) };

/// [`CONV_4X4_WINOGRAD_TAPS`].
pub const TAPS: ConvKernel =
    ConvKernel { spec: &CONV_4X4_WINOGRAD_TAPS, code: ConvCode::Int8(winograd::conv_4x4_winograd_taps) };

/// [`CONV_2X2_POLYPHASE_TAPS`].
pub const POLYPHASE_TAPS: ConvKernel =
    ConvKernel { spec: &CONV_2X2_POLYPHASE_TAPS, code: ConvCode::Int8(winograd::conv_2x2_polyphase_taps) };

macro_rules! winograd {
    ($($name:ident: $conv:ident, $channels:literal;)*) => {$(
        #[doc = concat!("[`", stringify!($name), "`](spec::", stringify!($name), ").")]
        pub const $name: ConvKernel = ConvKernel {
            spec: &spec::$name,
            code: ConvCode::Int8(winograd::$conv::<{ $channels / 2 }>),
        };
    )*};
}
winograd! {
    WINOGRAD_4X4_16: conv_4x4_winograd_of, 16;
    WINOGRAD_4X4_32: conv_4x4_winograd_of, 32;
    WINOGRAD_4X4_64: conv_4x4_winograd_of, 64;
    TAPS_16: conv_4x4_winograd_taps_of, 16;
    TAPS_32: conv_4x4_winograd_taps_of, 32;
    TAPS_64: conv_4x4_winograd_taps_of, 64;
    WINOGRAD_16: conv_2x4_winograd_of, 16;
    WINOGRAD_32: conv_2x4_winograd_of, 32;
    WINOGRAD_64: conv_2x4_winograd_of, 64;
}

macro_rules! direct {
    ($($name:ident: $conv:ident, $elements:literal, $unroll:literal, $rows:literal;)*) => {$(
        #[doc = concat!("[`", stringify!($name), "`](spec::", stringify!($name), ").")]
        pub const $name: ConvKernel = ConvKernel {
            spec: &spec::$name,
            code: ConvCode::Int16 { run: direct::$conv::<{ 2 * $elements }, $unroll, $rows>, widen },
        };
    )*};
}
direct! {
    WORDS_3: conv_words, 3, 5, 3;
    WORDS_4: conv_words, 4, 2, 1;
    WORDS_8: conv_words, 8, 4, 1;
    WORDS_16: conv_words, 16, 8, 0;
    WORDS_32: conv_words, 32, 8, 0;
    WORDS_64: conv_words, 64, 8, 0;
    WORDS_128: conv_words, 128, 8, 0;
    PAIRS_3: conv_pairs, 3, 6, 3;
    PAIRS_4: conv_pairs, 4, 2, 1;
    PAIRS_8: conv_pairs, 8, 4, 1;
    PAIRS_16: conv_pairs, 16, 8, 0;
    PAIRS_32: conv_pairs, 32, 8, 0;
    PAIRS_64: conv_pairs, 64, 8, 0;
    PAIRS_128: conv_pairs, 128, 8, 0;
}

/// [`CONV_2X3_SMLAD`].
pub const CONV: ConvKernel = ConvKernel { spec: &CONV_2X3_SMLAD, code: ConvCode::Int16 { run: conv_2x3_smlad, widen } };

/// [`CONV_2X3_SMLAD_GROUPS`].
pub const GROUPS: ConvKernel =
    ConvKernel { spec: &CONV_2X3_SMLAD_GROUPS, code: ConvCode::Int16 { run: grouped::conv_2x3_smlad_groups, widen } };

/// Convolution by weights in pairs: blocks of 2 output channels x 3 pixels, the last pixels of a row by twos or one.
pub fn conv_2x3_smlad(rows: &mut ConvRows<'_, i16>) {
    rows.each(conv_row);
}

fn conv_row(row: &mut ConvRow<'_, i16>) {
    for first in (0..row.channels_out()).step_by(2) {
        let mut left = row.width_out();
        let Some(mut channels) = Channels::new(row, first) else { return };
        // A row ends with blocks of two rather than a lone pixel.
        while left == 3 || left > 4 {
            channels.three();
            left -= 3;
        }
        while left >= 2 {
            channels.two();
            left -= 2;
        }
        if left == 1 {
            channels.one();
        }
    }
}
