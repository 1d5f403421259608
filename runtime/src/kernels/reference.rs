//! The specification of the kernels: naive, for every layout.

use super::conv::{ConvRow, ConvRows, ConvShape, Element};
use super::layout::{CANONICAL, PAIRS, pairs_index};
use super::spec::ConvSpec;
use super::{Backend, ConvCode, ConvKernel, load};

/// The specification as a backend.
pub static BACKEND: Backend = Backend { name: "reference", available: || true, kernels: &[CONV, CONV_PAIRS] };

/// Of canonical weights.
pub const CONV: ConvKernel = ConvKernel { spec: &CONV_1X1_REFERENCE, code: ConvCode::Int8(conv_canonical) };

/// Of weights in pairs.
pub const CONV_PAIRS: ConvKernel =
    ConvKernel { spec: &CONV_1X1_REFERENCE_PAIRS, code: ConvCode::Int16 { run: conv_pairs, widen: load::widen } };

static CONV_1X1_REFERENCE: ConvSpec = ConvSpec {
    name: "conv_1x1_reference",
    path: "kernels::reference::CONV",
    layout: &CANONICAL,
    rows: |_| 1,
    suits: |_| true,
    code_bytes: 1_000,
    cost: |_, _| u64::MAX,
};

static CONV_1X1_REFERENCE_PAIRS: ConvSpec = ConvSpec {
    name: "conv_1x1_reference_pairs",
    path: "kernels::reference::CONV_PAIRS",
    layout: &PAIRS,
    suits: PAIRS.suits,
    ..CONV_1X1_REFERENCE
};

/// Convolution by canonical weights, `[output][kernel row][kernel column][input channel of the group]`.
pub fn conv_canonical(rows: &mut ConvRows<'_, i8>) {
    rows.each(|row| {
        let ConvShape { kernel_h, kernel_w, .. } = row.shape;
        let run = kernel_w * row.shape.group_in();
        conv(row, |channel, ky, i| (channel * kernel_h + ky) * run + i);
    });
}

/// Convolution by weights in pairs, which lie where [`pairs_index`] says.
pub fn conv_pairs(rows: &mut ConvRows<'_, i16>) {
    rows.each(|row| {
        let (kernel_h, run) = (row.shape.kernel_h, row.run());
        conv(row, |channel, ky, i| pairs_index(kernel_h, run, channel, ky, i));
    });
}

/// `weight_at` tells where the weight of an output channel, a kernel row and an element of the group's run lies; the
/// element is `kernel column * channels of the group + channel of the group`.
fn conv<T: Element>(row: &mut ConvRow<'_, T>, weight_at: impl Fn(usize, usize, usize) -> usize) {
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
                    acc += value * i32::from(row.weights[weight_at(channel, ky, i)]);
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
