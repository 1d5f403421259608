//! Cortex-M cores with the DSP extension (M4, M7, M33): dual 16-bit multiply-accumulates over weights in pairs.

mod block;

use super::{Backend, ConvKernel, ConvRow, pad, portable};
use block::{Shape, block_1, block_2, block_3};

/// SMLAD kernels; canonical weights run the portable one, because these cores multiply no bytes.
pub static BACKEND: Backend = Backend {
    name: "cortex_m",
    available: || true,
    canonical: ConvKernel { name: "conv_4x2_portable", run: portable::conv_4x2_portable },
    pairs: Some(ConvKernel { name: "conv_2x3_smlad", run: conv_2x3_smlad }),
    widen: pad::widen,
};

/// Convolution by weights in pairs: blocks of 2 output channels x 3 pixels, the last pixels of a row by twos or one.
pub fn conv_2x3_smlad(row: &mut ConvRow<'_, i16>) {
    assert!(row.in_bounds(), "a convolution row outside its slices");
    let shape = Shape::new(row);
    let width = row.width_out();
    for first in (0..row.channels_out()).step_by(2) {
        let mut x = 0;
        // A row ends with blocks of two rather than a lone pixel.
        while width - x == 3 || width - x > 4 {
            block_3(&shape, row, first, x);
            x += 3;
        }
        while width - x >= 2 {
            block_2(&shape, row, first, x);
            x += 2;
        }
        if x < width {
            block_1(&shape, row, first, x);
        }
    }
}
