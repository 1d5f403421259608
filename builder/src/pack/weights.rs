//! Weights in the layouts that kernels read.

use crate::quant::{Channels, QConv, QCopy};
use skipstone_runtime::format::records::{Node, Run, Tensor};
use skipstone_runtime::kernels::layout;
use skipstone_runtime::ops::conv::conv_shape;

/// Channels of an operator's input and of its output.
pub(super) type Sides<'c> = [&'c Channels; 2];

/// The weights of a convolution over padded channels, in the layout that `record` names.
pub(super) fn lay_out(conv: &QConv, sides: Sides<'_>, record: &Node, input: &Tensor, output: &Tensor) -> Vec<i8> {
    let packing = layout::from_code(record.layout).expect("a layout was chosen");
    let shape = conv_shape(record, input, output);
    let mut weights = vec![0; (packing.layout.len)(&shape).expect("the network's own weights fit memory")];
    (packing.pack)(&shape, &canonical(conv, sides, record), &mut weights);
    weights
}

/// OHWI with zeros for the channels that only pad.
fn canonical(conv: &QConv, [input, output]: Sides<'_>, record: &Node) -> Vec<i8> {
    let area = conv.kernel[0] * conv.kernel[1];
    let per_channel = conv.weights.len() / conv.bias.len();
    let per_group = per_channel / area;
    let groups = usize::from(record.groups);
    let padded = input.count / groups;
    let mut weights = vec![0; output.count * area * padded];
    for (channel, runs) in conv.weights.chunks_exact(per_channel).enumerate() {
        let own = &input.positions[channel / (conv.bias.len() / conv.groups) * per_group..][..per_group];
        let channel = output.positions[channel];
        let first = channel / (output.count / groups) * padded;
        for (run, laid_out) in
            runs.chunks_exact(per_group).zip(weights[channel * area * padded..].chunks_exact_mut(padded))
        {
            run.iter().zip(own).for_each(|(&weight, &position)| laid_out[position - first] = weight);
        }
    }
    weights
}

/// The runs of channels of a copy, as they lie in the file.
pub(super) fn runs(copy: &QCopy, [input, output]: Sides<'_>) -> Vec<u8> {
    let channels = output.positions.len();
    let copied = |channel: usize| {
        let from = input.positions[copy.source(0, channels, channel)?];
        Some(Run { from: from as u16, to: output.positions[channel] as u16, len: 1 })
    };
    let mut runs: Vec<Run> = Vec::new();
    for next in (0..channels).filter_map(copied) {
        match runs.last_mut() {
            Some(run) if (run.from + run.len, run.to + run.len) == (next.from, next.to) => run.len += 1,
            _ => runs.push(next),
        }
    }
    runs.iter().flat_map(|run| [run.from, run.to, run.len]).flat_map(u16::to_le_bytes).collect()
}
