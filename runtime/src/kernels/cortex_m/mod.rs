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
mod widen;

use super::conv::{ConvRow, ConvRows};
use super::spec::CONV_2X3_SMLAD;
use super::{Backend, ConvCode, ConvKernel, thumb};
use block::Channels;
use widen::widen;

/// SMLAD kernels; canonical weights run the plain one, because these cores multiply no bytes.
pub static BACKEND: Backend = Backend { name: "cortex_m", available: || true, kernels: &[CONV, thumb::CONV] };

/// [`CONV_2X3_SMLAD`].
pub const CONV: ConvKernel = ConvKernel { spec: &CONV_2X3_SMLAD, code: ConvCode::Int16 { run: conv_2x3_smlad, widen } };

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
