//! Weights and bias of a convolution or a linear layer in integers.

use crate::quant::given;
use crate::quant::graph::{QConv, QTensor};
use skipstone_onnx::{Graph, Node, Op};

/// Largest magnitude of a bias, so that accumulator and bias together stay within 32 bits in engines that add them.
const BIAS_LIMIT: f64 = (1 << 30) as f64;

/// Smallest weight scale; see the smallest activation scale.
const WEIGHT_SCALE_MIN: f64 = 1e-18;

/// The weights of one output channel, OIHW, and its bias, in real numbers.
fn channels<'g>(graph: &'g Graph, node: &Node) -> impl Iterator<Item = (&'g [f32], f64)> {
    let weight = graph.parameter(node.inputs[1]).expect("a convolution's weight is a parameter");
    let bias = node.inputs.get(2).and_then(|&id| graph.parameter(id));
    let per_channel = weight.data().len() / weight.dims()[0];
    let bias = move |channel: usize| bias.map_or(0.0, |bias| f64::from(bias.data()[channel]));
    weight.data().chunks_exact(per_channel).enumerate().map(move |(channel, weights)| (weights, bias(channel)))
}

/// A channel's weight scale makes its largest weight 127, or is larger where the bias would otherwise not fit.
fn weight_scale(weights: &[f32], bias: f64, input_scale: f64) -> f32 {
    let largest = weights.iter().fold(0.0, |largest: f64, &w| largest.max(f64::from(w).abs()));
    (largest / 127.0).max(bias.abs() / (input_scale * BIAS_LIMIT)).max(WEIGHT_SCALE_MIN) as f32
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
        let steps = |w: f32| (f64::from(w) / f64::from(scale)).round().clamp(-127.0, 127.0) as i8;
        for position in 0..area {
            conv.weights.extend(weights.iter().skip(position).step_by(area).map(|&w| steps(w)));
        }
        conv.weight_scales.push(scale);
        let bias = (bias / (input_scale * f64::from(scale))).round().clamp(-BIAS_LIMIT, BIAS_LIMIT) as i32;
        conv.bias.push(known_bias.map_or(bias, |known| known[channel]));
    }
    conv
}
