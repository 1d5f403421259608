//! Weights in the layouts that kernels read.

use super::channels::Channels;
use crate::quant::QConv;
use skipstone_runtime::format::records::{Node, Tensor, WeightKind};
use skipstone_runtime::geometry;

/// Channels of a convolution's input and of its output.
pub(super) type Sides<'c> = [&'c Channels; 2];

/// The weights of a convolution over padded channels, in the layout that `record` names.
pub(super) fn lay_out(conv: &QConv, sides: Sides<'_>, record: &Node, input: &Tensor, output: &Tensor) -> Vec<i8> {
    let kind = WeightKind::from_code(record.weight_kind).expect("the records hold known kinds");
    let canonical = canonical(conv, sides, record);
    let laid_out = match kind {
        WeightKind::Canonical => canonical,
        WeightKind::Pairs => {
            let (kernel_h, run) = (conv.kernel[0], conv.kernel[1] * usize::from(input.channels));
            let mut pairs = vec![0; geometry::weights_len(record, input, output, kind)];
            for (row, weights) in canonical.chunks_exact(run).enumerate() {
                for (k, &weight) in weights.iter().enumerate() {
                    pairs[geometry::pairs_index(kernel_h, run, row / kernel_h, row % kernel_h, k)] = weight;
                }
            }
            pairs
        }
    };
    debug_assert_eq!(laid_out.len(), geometry::weights_len(record, input, output, kind));
    laid_out
}

/// OHWI with zeros for the channels that only pad.
fn canonical(conv: &QConv, [input, output]: Sides<'_>, record: &Node) -> Vec<i8> {
    let area = conv.kernel[0] * conv.kernel[1];
    let per_channel = conv.weights.len() / conv.bias.len();
    let per_group = per_channel / area;
    let padded = input.count / usize::from(record.groups);
    let mut weights = vec![0; output.count * area * padded];
    for (channel, runs) in conv.weights.chunks_exact(per_channel).enumerate() {
        let channel = output.positions[channel];
        for (run, laid_out) in
            runs.chunks_exact(per_group).zip(weights[channel * area * padded..].chunks_exact_mut(padded))
        {
            if conv.groups == 1 {
                run.iter().zip(&input.positions).for_each(|(&weight, &position)| laid_out[position] = weight);
            } else {
                laid_out[..per_group].copy_from_slice(run);
            }
        }
    }
    weights
}
