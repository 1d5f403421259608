//! Weights in the layouts that kernels read.

use super::records::padded_channels;
use crate::quant::{QConv, QGraph, QNode};
use skipstone_runtime::format::records::{Node, Tensor, WeightKind};
use skipstone_runtime::geometry;

/// The weights of a convolution over padded channels, in the layout that `record` names.
pub(super) fn lay_out(
    qgraph: &QGraph,
    node: &QNode,
    conv: &QConv,
    record: &Node,
    input: &Tensor,
    output: &Tensor,
) -> Vec<i8> {
    let kind = WeightKind::from_code(record.weight_kind).expect("the records hold known kinds");
    let canonical = canonical(qgraph, node, conv, record);
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
fn canonical(qgraph: &QGraph, node: &QNode, conv: &QConv, record: &Node) -> Vec<i8> {
    let area = conv.kernel[0] * conv.kernel[1];
    let per_group = conv.weights.len() / conv.bias.len() / area;
    let padded = padded_channels(qgraph, node.input) / usize::from(record.groups);
    let outputs = padded_channels(qgraph, node.output);
    let mut weights = Vec::with_capacity(outputs * area * padded);
    for run in conv.weights.chunks_exact(per_group) {
        weights.extend_from_slice(run);
        weights.resize(weights.len() + padded - per_group, 0);
    }
    weights.resize(outputs * area * padded, 0);
    weights
}
