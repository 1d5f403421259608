//! Weights and bias of a convolution or a linear layer in integers.

use crate::autograd::fake::{bias_steps, weight_scale, weight_steps};
use crate::quant::given;
use crate::quant::graph::{QConv, QTensor};
use crate::quant::requant::MULTIPLIER_LIMIT;
use skipstone_onnx::{Graph, Node, Op};

/// The weights of one output channel, OIHW, and its bias, in real numbers.
fn channels<'g>(graph: &'g Graph, node: &Node) -> impl Iterator<Item = (&'g [f32], f64)> {
    let weight = graph.parameter(node.inputs[1]).expect("a convolution's weight is a parameter");
    let bias = node.inputs.get(2).and_then(|&id| graph.parameter(id));
    let per_channel = weight.data().len() / weight.dims()[0];
    let bias = move |channel: usize| bias.map_or(0.0, |bias| f64::from(bias.data()[channel]));
    weight.data().chunks_exact(per_channel).enumerate().map(move |(channel, weights)| (weights, bias(channel)))
}

/// The largest weight scale of all channels, but for those whose weights are all 0.
pub(super) fn largest_weight_scale(graph: &Graph, node: &Node, input_scale: f64) -> f64 {
    if let Some(known) = given::weights(graph, node) {
        return f64::from(known.scales.iter().fold(0.0, |largest: f32, scale| largest.max(scale.abs())));
    }
    let alive = channels(graph, node).filter(|(weights, _)| weights.iter().any(|&weight| weight != 0.0));
    let scales = alive.map(|(weights, bias)| weight_scale(weights, bias, input_scale));
    f64::from(scales.fold(0.0, f32::max))
}

/// The integers of a convolution or a linear layer that reads `input` and rounds to steps of `output_scale`.
pub(super) fn quantize(graph: &Graph, node: &Node, input: &QTensor, output_scale: f32) -> QConv {
    let (kernel, stride, pads, groups) = match &node.op {
        Op::Conv(conv) => (conv.kernel, conv.stride, conv.pads, conv.groups),
        // A linear layer reads the whole map, whose elements ONNX lists channel by channel: OIHW.
        _ => ([input.dims[1], input.dims[2]], [1, 1], [0; 4], 1),
    };
    let area = kernel[0] * kernel[1];
    let mut conv = QConv {
        kernel,
        stride,
        pads,
        groups,
        weights: Vec::new(),
        weight_scales: Vec::new(),
        bias: Vec::new(),
        bias_scales: Vec::new(),
        prologue: None,
    };
    let (known, known_bias) = (given::weights(graph, node), given::bias(graph, node));
    // A file of integers has biases that are no multiples of our units; they stay what they are.
    let keeps_biases = !graph.metadata.quantization.is_empty();
    let input_scale = f64::from(input.params.scale);
    for (index, (weights, bias)) in channels(graph, node).enumerate() {
        let channel = match known {
            Some(known) => {
                let values = &known.values[index * weights.len()..][..weights.len()];
                given::channel(values, known.scales[index], [input_scale / f64::from(output_scale), MULTIPLIER_LIMIT])
            }
            None => {
                let scale = weight_scale(weights, bias, input_scale);
                given::Channel { weights: weights.iter().map(|&weight| weight_steps(weight, scale)).collect(), scale }
            }
        };
        for position in 0..area {
            conv.weights.extend(channel.weights.iter().skip(position).step_by(area));
        }
        let unit = input_scale * f64::from(channel.scale);
        let (steps, scale) = match known_bias {
            Some(known) => (known.values[index], Some(known.scales[index])),
            None if keeps_biases => {
                let (steps, scale) = given::real(bias as f32);
                (steps, Some(scale))
            }
            None => (bias_steps(bias, input_scale, channel.scale), None),
        };
        conv.weight_scales.push(channel.scale);
        conv.bias.push(steps);
        // The product of the scales, as float32 has it.
        conv.bias_scales.push(scale.filter(|&scale| (f64::from(scale) / unit - 1.0).abs() >= 1e-6));
    }
    conv
}
