//! The specification of the kernels: naive, for every kind of weights.

use super::{Backend, ConvKernel, ConvRow, Element, pad};
use crate::geometry::pairs_index;

/// The specification as a backend.
pub static BACKEND: Backend = Backend {
    name: "reference",
    available: || true,
    canonical: ConvKernel { name: "conv_1x1_reference", run: conv_canonical },
    pairs: Some(ConvKernel { name: "conv_1x1_reference_pairs", run: conv_pairs }),
    widen: pad::widen,
};

/// Convolution by canonical weights, `[output][kernel row][kernel column][input channel of the group]`.
pub fn conv_canonical(row: &mut ConvRow<'_, i8>) {
    let (kernel_h, run) = (row.kernel_h, row.kernel_w * (row.channels_in / row.groups.max(1)));
    conv(row, |channel, ky, i| (channel * kernel_h + ky) * run + i);
}

/// Convolution by weights in pairs, which lie where [`pairs_index`] says.
pub fn conv_pairs(row: &mut ConvRow<'_, i16>) {
    let (kernel_h, run) = (row.kernel_h, row.run());
    conv(row, |channel, ky, i| pairs_index(kernel_h, run, channel, ky, i));
}

/// `weight_at` tells where the weight of an output channel, a kernel row and an element of the group's run lies; the
/// element is `kernel column * channels of the group + channel of the group`.
fn conv<T: Element>(row: &mut ConvRow<'_, T>, weight_at: impl Fn(usize, usize, usize) -> usize) {
    let per_group = row.channels_in / row.groups.max(1);
    let group_out = row.channels_out() / row.groups.max(1);
    for x in 0..row.width_out() {
        for (channel, requant) in row.requant.iter().enumerate() {
            let group = channel / group_out.max(1);
            let mut acc = 0i32;
            for ky in 0..row.kernel_h {
                for i in 0..row.kernel_w * per_group {
                    let (kx, ci) = (i / per_group, i % per_group);
                    let pixel = ky * row.row_len + x * row.pixel_step() + kx * row.channels_in;
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
