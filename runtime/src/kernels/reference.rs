//! The specification of the kernels: naive, for every layout.

use super::conv::{ConvRow, ConvRows, ConvShape, Element};
use super::layout::{CANONICAL, PAIRS, QUADS, WINOGRAD, WORDS, from_code};
use super::spec::ConvSpec;
use super::{Backend, ConvCode, ConvKernel, load};

/// The specification as a backend.
pub static BACKEND: Backend = Backend {
    name: "reference",
    available: || true,
    kernels: &[CONV, CONV_PAIRS, CONV_WINOGRAD, CONV_QUADS, CONV_WORDS],
};

/// Of canonical weights.
pub const CONV: ConvKernel = ConvKernel { spec: &CONV_1X1_REFERENCE, code: ConvCode::Int8(conv) };

/// Of weights in pairs.
pub const CONV_PAIRS: ConvKernel =
    ConvKernel { spec: &CONV_1X1_REFERENCE_PAIRS, code: ConvCode::Int16 { run: conv, widen: load::widen } };

/// Of transformed weights.
pub const CONV_WINOGRAD: ConvKernel = ConvKernel { spec: &CONV_1X1_REFERENCE_WINOGRAD, code: ConvCode::Int8(conv) };

/// Of weights in quads.
pub const CONV_QUADS: ConvKernel = ConvKernel { spec: &CONV_1X1_REFERENCE_QUADS, code: ConvCode::Uint8(conv) };

/// Of weights in words.
pub const CONV_WORDS: ConvKernel =
    ConvKernel { spec: &CONV_1X1_REFERENCE_WORDS, code: ConvCode::Int16 { run: conv, widen: load::widen } };

static CONV_1X1_REFERENCE: ConvSpec = ConvSpec {
    name: "conv_1x1_reference",
    path: "kernels::reference::CONV",
    layout: &CANONICAL,
    rows: |_| 1,
    suits: |_| true,
    code_bytes: 1_000,
    cost: |_| u64::MAX,
};

static CONV_1X1_REFERENCE_PAIRS: ConvSpec = ConvSpec {
    name: "conv_1x1_reference_pairs",
    path: "kernels::reference::CONV_PAIRS",
    layout: &PAIRS,
    suits: PAIRS.suits,
    ..CONV_1X1_REFERENCE
};

static CONV_1X1_REFERENCE_WINOGRAD: ConvSpec = ConvSpec {
    name: "conv_1x1_reference_winograd",
    path: "kernels::reference::CONV_WINOGRAD",
    layout: &WINOGRAD,
    suits: WINOGRAD.suits,
    ..CONV_1X1_REFERENCE
};

static CONV_1X1_REFERENCE_QUADS: ConvSpec = ConvSpec {
    name: "conv_1x1_reference_quads",
    path: "kernels::reference::CONV_QUADS",
    layout: &QUADS,
    suits: QUADS.suits,
    ..CONV_1X1_REFERENCE
};

static CONV_1X1_REFERENCE_WORDS: ConvSpec = ConvSpec {
    name: "conv_1x1_reference_words",
    path: "kernels::reference::CONV_WORDS",
    layout: &WORDS,
    suits: WORDS.suits,
    ..CONV_1X1_REFERENCE
};

/// Convolution by weights of any layout.
pub fn conv<T: Element>(rows: &mut ConvRows<'_, T>) {
    let layout = rows.parts().layout;
    let Some(packing) = from_code(layout.code) else { return };
    rows.each(|row| conv_row(row, |shape, weights, channel, ky, i| (packing.weight)(shape, weights, channel, ky, i)));
}

fn conv_row<T: Element>(row: &mut ConvRow<'_, T>, weight: impl Fn(&ConvShape, &[i8], usize, usize, usize) -> i8) {
    let ConvShape { kernel_h, kernel_w, channels_in, groups, .. } = row.shape;
    let per_group = channels_in / groups.max(1);
    let group_out = row.channels_out() / groups.max(1);
    for x in 0..row.width_out() {
        for (channel, requant) in row.requant.iter().enumerate() {
            let group = channel / group_out.max(1);
            let mut acc = 0i32;
            for ky in 0..kernel_h {
                for i in 0..kernel_w * per_group {
                    let (kx, ci) = (i / per_group, i % per_group);
                    let pixel = ky * row.row_len + x * row.pixel_step() + kx * channels_in;
                    let value: i32 = row.rows[pixel + group * per_group + ci].into();
                    acc += value * i32::from(weight(&row.shape, row.weights, channel, ky, i));
                }
            }
            let out = &mut row.out[x * row.requant.len() + channel];
            *out = match row.residual {
                None => requant.apply(acc, row.lo, row.hi),
                Some(multiplier) => requant.apply_residual(acc, *out, multiplier, row.lo, row.hi),
            };
        }
    }
}
