//! Weights and bias of a convolution or a linear layer in integers.

use crate::autograd::fake::{bias_steps, weight_scale, weight_steps};
use crate::quant::given;
use crate::quant::graph::{QConv, QTensor};
use skipstone_onnx::{Graph, Node, Op};

/// The weights of one output channel, OIHW, and its bias, in real numbers.
fn channels<'g>(graph: &'g Graph, node: &Node) -> impl Iterator<Item = (&'g [f32], f64)> {
    let weight = graph.parameter(node.inputs[1]).expect("a convolution's weight is a parameter");
    let bias = node.inputs.get(2).and_then(|&id| graph.parameter(id));
    let per_channel = weight.data().len() / weight.dims()[0];
    let bias = move |channel: usize| bias.map_or(0.0, |bias| f64::from(bias.data()[channel]));
    weight.data().chunks_exact(per_channel).enumerate().map(move |(channel, weights)| (weights, bias(channel)))
}

/// The largest weight scale of all channels.
pub(super) fn largest_weight_scale(graph: &Graph, node: &Node, input_scale: f64) -> f64 {
    if let Some(known) = given::weights(graph, node) {
        return f64::from(known.scales.iter().copied().fold(0.0, f32::max));
    }
    let scales = channels(graph, node).map(|(weights, bias)| weight_scale(weights, bias, input_scale));
    f64::from(scales.fold(0.0, f32::max))
}

/// The integers of a convolution or a linear layer that reads `input`.
pub(super) fn quantize(graph: &Graph, node: &Node, input: &QTensor) -> QConv {
    let (kernel, stride, pads, groups) = match &node.op {
        Op::Conv(conv) => (conv.kernel, conv.stride, conv.pads, conv.groups),
        // A linear layer reads the whole map, whose elements ONNX lists channel by channel: OIHW.
        _ => ([input.dims[1], input.dims[2]], [1, 1], [0; 4], 1),
    };
    let area = kernel[0] * kernel[1];
    let input_scale = f64::from(input.scale);
    let mut conv = QConv {
        kernel,
        stride,
        pads,
        groups,
        weights: Vec::new(),
        weight_scales: Vec::new(),
        bias: Vec::new(),
        prologue: None,
    };
    let known = given::weights(graph, node);
    let known_scales = known.iter().flat_map(|known| &known.scales).map(|&scale| f64::from(scale) * input_scale);
    let known_bias = given::bias(graph, node, known_scales);
    for (channel, (weights, bias)) in channels(graph, node).enumerate() {
        let scale = known.map_or_else(|| weight_scale(weights, bias, input_scale), |known| known.scales[channel]);
        for position in 0..area {
            conv.weights.extend(weights.iter().skip(position).step_by(area).map(|&w| weight_steps(w, scale)));
        }
        conv.weight_scales.push(scale);
        conv.bias.push(known_bias.map_or_else(|| bias_steps(bias, input_scale, scale), |known| known[channel]));
    }
    conv
}
