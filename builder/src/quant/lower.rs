//! The float network and the ranges of its activations, turned into integers.

use super::fuse::{Fused, Step, StepOp, fuse};
use super::graph::{QConv, QGraph, QNode, QOp, QTensor};
use super::image::quantize_image;
use super::ranges::{Ranges, scale_of, zero_point_of};
use super::requant::{Channel, MULTIPLIER_LIMIT, OPERAND_LIMIT, Operand, Requants, requants};
use super::{QuantError, TensorIndex};
use skipstone_onnx::{Graph, Op, ValueId};
use skipstone_runtime::arith::OPERAND_SHIFT;
use std::collections::HashMap;

/// Largest magnitude of a bias, so that accumulator and bias together stay within 32 bits in engines that add them.
const BIAS_LIMIT: f64 = (1 << 30) as f64;

/// Smallest weight scale; see the smallest activation scale.
const WEIGHT_SCALE_MIN: f64 = 1e-18;

/// How far below a limit raised scales keep the multipliers, against the rounding of scales to float32.
const MARGIN: f64 = 1.0 + 1.0 / 65536.0;

/// Quantizes a network without batch normalizations, given the ranges of its activations.
///
/// # Errors
/// [`QuantError`] for operators without an integer form, parameters or activations that are not finite, an unknown or
/// unusable normalization, and sums that could overflow.
pub fn lower(graph: &Graph, ranges: &Ranges) -> Result<QGraph, QuantError> {
    lower_by(graph, &|value, smallest| {
        let name = || graph.value(value).name.clone();
        let range = ranges.get(value).ok_or(QuantError::NoImages)?;
        if !(range.0.is_finite() && range.1.is_finite()) {
            return Err(QuantError::NonFiniteActivation { name: name() });
        }
        let scale = f64::from(scale_of(range)).max(smallest) as f32;
        Ok((scale, zero_point_of(range, scale)))
    })
}

/// As [`lower`], with the scale and zero point that `scales` has for an activation's name: those of a packed model,
/// to get its integers back from the network that it was made from.
///
/// # Errors
/// As [`lower`], and [`QuantError::NoScale`] naming an activation that `scales` does not know.
pub fn lower_with_scales(graph: &Graph, scales: &dyn Fn(&str) -> Option<(f32, i8)>) -> Result<QGraph, QuantError> {
    lower_by(graph, &|value, _| {
        let name = &graph.value(value).name;
        scales(name).ok_or_else(|| QuantError::NoScale { name: name.clone() })
    })
}

/// Gives scale and zero point of an activation, whose scale must be at least a number.
type Scales<'s> = &'s dyn Fn(ValueId, f64) -> Result<(f32, i8), QuantError>;

fn lower_by(graph: &Graph, scales: Scales<'_>) -> Result<QGraph, QuantError> {
    check_parameters(graph)?;
    let fused = fuse(graph)?;
    let dims = map_dims(graph, fused.input);
    let normalization = graph.metadata.normalization.as_ref().ok_or(QuantError::NoNormalization)?;
    let image = quantize_image(normalization, dims[0])?;
    let name = graph.value(fused.input).name.clone();
    let input = QTensor { name, dims, scale: image.scale, zero_point: image.zero_point };

    let mut lowering = Lowering { graph, scales, indices: HashMap::from([(fused.input, 0)]), tensors: vec![input] };
    let nodes = fused.steps.iter().map(|step| lowering.step(step)).collect::<Result<Vec<_>, _>>()?;
    let output = lowering.indices[&fused.output];
    check_scores(&fused, &lowering.tensors[output])?;
    let qgraph = QGraph {
        name: graph.name.clone(),
        tensors: lowering.tensors,
        nodes,
        input: 0,
        output,
        metadata: graph.metadata.clone(),
        pixels: image.pixels,
        macs: graph.macs(),
    };
    for node in &qgraph.nodes {
        qgraph.requants(node)?;
    }
    Ok(qgraph)
}

impl QGraph {
    /// The integer parameters of a node: one conversion for each logical output channel of a convolution, one in all for
    /// a sum or a pool, none for a shortcut.
    ///
    /// # Errors
    /// [`QuantError::Overflow`] naming node and channel, where 32 or 64 bits could overflow; not for the nodes of a graph
    /// that [`lower`] made.
    pub fn requants(&self, node: &QNode) -> Result<Requants, QuantError> {
        let (input, output) = (&self.tensors[node.input], &self.tensors[node.output]);
        let ratio = |index: TensorIndex| f64::from(self.tensors[index].scale) / f64::from(output.scale);
        let operand =
            node.operand.map(|index| Operand { multiplier: ratio(index), zero_point: self.tensors[index].zero_point });
        let raised = |count: i64, divisor: f64| Channel {
            multiplier: ratio(node.input) / f64::from(1u32 << OPERAND_SHIFT) / divisor,
            offset: -((count * i64::from(input.zero_point)) << OPERAND_SHIFT),
            bound: (count * 128) << OPERAND_SHIFT,
        };
        let channels = match &node.op {
            QOp::Conv(conv) => conv_channels(conv, input, output),
            QOp::Add => vec![raised(1, 1.0)],
            QOp::GlobalAveragePool => {
                let pixels = input.dims[1] * input.dims[2];
                if pixels >= 1 << 15 {
                    let reason = format!("it averages {pixels} pixels, at most 32767 can be added up");
                    return Err(QuantError::Unsupported { node: node.name.clone(), op: node.op.name(), reason });
                }
                vec![raised(pixels as i64, pixels as f64)]
            }
            QOp::Shortcut { .. } => Vec::new(),
        };
        requants(&channels, operand, output.zero_point)
            .map_err(|source| QuantError::Overflow { node: node.name.clone(), source })
    }
}

fn conv_channels(conv: &QConv, input: &QTensor, output: &QTensor) -> Vec<Channel> {
    let per_channel = conv.weights.len() / conv.bias.len();
    let channel = |(index, weights): (usize, &[i8])| {
        let sum: i64 = weights.iter().map(|&w| i64::from(w)).sum();
        let magnitude: i64 = weights.iter().map(|&w| i64::from(w).abs()).sum();
        Channel {
            multiplier: f64::from(input.scale) * f64::from(conv.weight_scales[index]) / f64::from(output.scale),
            offset: i64::from(conv.bias[index]) - i64::from(input.zero_point) * sum,
            bound: 128 * magnitude,
        }
    };
    conv.weights.chunks_exact(per_channel).enumerate().map(channel).collect()
}

struct Lowering<'g> {
    graph: &'g Graph,
    scales: Scales<'g>,
    indices: HashMap<ValueId, TensorIndex>,
    tensors: Vec<QTensor>,
}

impl Lowering<'_> {
    fn step(&mut self, step: &Step<'_>) -> Result<QNode, QuantError> {
        let input = self.indices[&step.input];
        let operand = step.operand.map(|id| self.indices[&id]);
        let dims = map_dims(self.graph, step.output);
        let (op, smallest_scale) = match &step.op {
            StepOp::Conv => {
                let conv = self.conv(step, input);
                let largest = conv.weight_scales.iter().fold(0.0, |a: f64, &b| a.max(b.into()));
                (QOp::Conv(conv), f64::from(self.tensors[input].scale) * largest / MULTIPLIER_LIMIT)
            }
            StepOp::Add => (QOp::Add, f64::from(self.tensors[input].scale) / OPERAND_LIMIT),
            StepOp::GlobalAveragePool => (QOp::GlobalAveragePool, f64::from(self.tensors[input].scale) / OPERAND_LIMIT),
            &StepOp::Shortcut { stride, channels_before } => (QOp::Shortcut { stride, channels_before }, 0.0),
        };
        let name = self.graph.value(step.output).name.clone();
        let tensor = if let QOp::Shortcut { .. } = op {
            let QTensor { scale, zero_point, .. } = self.tensors[input];
            QTensor { name, dims, scale, zero_point }
        } else {
            let operand_scale = operand.map_or(0.0, |index| f64::from(self.tensors[index].scale) / OPERAND_LIMIT);
            let smallest = smallest_scale.max(operand_scale) * MARGIN;
            let (scale, zero_point) = (self.scales)(step.output, smallest)?;
            QTensor { name, dims, scale, zero_point }
        };
        let lo = if step.relu { tensor.zero_point } else { i8::MIN };
        let output = self.tensors.len();
        self.indices.insert(step.output, output);
        self.tensors.push(tensor);
        Ok(QNode { name: step.node.name.clone(), op, input, operand, output, lo, hi: i8::MAX })
    }

    /// Weights and bias of a convolution or a linear layer in integers. A channel's weight scale makes its largest weight
    /// 127, or is larger where the bias would otherwise not fit.
    fn conv(&self, step: &Step<'_>, input: TensorIndex) -> QConv {
        let input = &self.tensors[input];
        let weight = self.graph.parameter(step.node.inputs[1]).expect("a convolution's weight is a parameter");
        let bias = step.node.inputs.get(2).and_then(|&id| self.graph.parameter(id));
        let (kernel, stride, pads, groups) = match &step.node.op {
            Op::Conv(conv) => (conv.kernel, conv.stride, conv.pads, conv.groups),
            // A linear layer reads the whole map, whose elements ONNX lists channel by channel: OIHW.
            _ => ([input.dims[1], input.dims[2]], [1, 1], [0; 4], 1),
        };
        let outputs = weight.dims()[0];
        let area = kernel[0] * kernel[1];
        let per_channel = weight.data().len() / outputs;
        let input_scale = f64::from(input.scale);
        let mut conv = QConv {
            kernel,
            stride,
            pads,
            groups,
            weights: Vec::with_capacity(weight.data().len()),
            weight_scales: Vec::with_capacity(outputs),
            bias: Vec::with_capacity(outputs),
        };
        for (channel, weights) in weight.data().chunks_exact(per_channel).enumerate() {
            let bias = bias.map_or(0.0, |bias| f64::from(bias.data()[channel]));
            let largest = weights.iter().fold(0.0, |largest: f64, &w| largest.max(f64::from(w).abs()));
            let scale = (largest / 127.0).max(bias.abs() / (input_scale * BIAS_LIMIT)).max(WEIGHT_SCALE_MIN) as f32;
            let steps = |w: f32| (f64::from(w) / f64::from(scale)).round().clamp(-127.0, 127.0) as i8;
            for position in 0..area {
                conv.weights.extend(weights.iter().skip(position).step_by(area).map(|&w| steps(w)));
            }
            conv.weight_scales.push(scale);
            conv.bias.push((bias / (input_scale * f64::from(scale))).round() as i32);
        }
        conv
    }
}

fn check_parameters(graph: &Graph) -> Result<(), QuantError> {
    for (_, name, parameter) in graph.parameters() {
        if let Some(index) = parameter.tensor.data().iter().position(|x| !x.is_finite()) {
            let value = parameter.tensor.data()[index];
            return Err(QuantError::NonFiniteParameter { name: name.into(), index, value });
        }
    }
    Ok(())
}

fn check_scores(fused: &Fused<'_>, scores: &QTensor) -> Result<(), QuantError> {
    let [_, height, width] = scores.dims;
    if (height, width) == (1, 1) {
        return Ok(());
    }
    let node = fused.steps.last().map(|step| step.node).expect("scores are made by a step");
    let reason = format!("its {height}x{width} map is flattened into scores; a linear layer must follow it");
    Err(QuantError::Unsupported { node: node.name.clone(), op: node.op.name(), reason })
}

/// Channels, height, width of an activation; vectors are one pixel.
fn map_dims(graph: &Graph, value: ValueId) -> [usize; 3] {
    match *graph.value(value).dims {
        [channels, height, width] => [channels, height, width],
        ref vector => [vector.iter().product(), 1, 1],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::fixtures::Net;
    use skipstone_onnx::{Conv, GraphBuilder, Normalization, Tensor};

    /// A 1x1 convolution with the given weights (one for each output) and biases over a map of one channel.
    fn graph(weights: &[f32], bias: &[f32]) -> Graph {
        let mut builder = GraphBuilder::new("net", "image", [1, 1, 1]).unwrap();
        builder.metadata_mut().normalization = Some(Normalization { mean: vec![0.0], std: vec![1.0] });
        let outputs = weights.len();
        let weight = Tensor::new([outputs, 1, 1, 1], weights.to_vec()).unwrap();
        let weight = builder.parameter("weight", weight, true).unwrap();
        let bias = builder.parameter("bias", Tensor::new([outputs], bias.to_vec()).unwrap(), true).unwrap();
        let conv = builder.push("conv", Op::Conv(Conv::square(1, 1, 0)), &[builder.input(), weight, bias]).unwrap();
        let flat = builder.push("flat", Op::Flatten, &[conv]).unwrap();
        builder.finish(flat).unwrap()
    }

    fn lowered(graph: &Graph, lo: f32, hi: f32) -> Result<QGraph, QuantError> {
        let mut ranges = Ranges::new(graph);
        for node in graph.nodes() {
            ranges.record(node.output, &[lo, hi]);
        }
        lower(graph, &ranges)
    }

    fn conv(qgraph: &QGraph) -> &QConv {
        let QOp::Conv(conv) = &qgraph.nodes[0].op else { panic!("a convolution") };
        conv
    }

    #[test]
    fn the_largest_weight_of_a_channel_is_127() {
        let qgraph = lowered(&graph(&[0.5, -2.0], &[0.25, 0.0]), -2.0, 1.0).unwrap();
        let conv = conv(&qgraph);
        assert_eq!(conv.weights, [127, -127]);
        assert_eq!(conv.weight_scales, [0.5 / 127.0, 2.0 / 127.0]);
        let steps = 0.25 / (f64::from(qgraph.tensors[0].scale) * f64::from(conv.weight_scales[0]));
        assert_eq!(conv.bias, [steps.round() as i32, 0]);
    }

    #[test]
    fn a_bias_beside_no_weights_fits() {
        let qgraph = lowered(&graph(&[0.0, 1e-12, 1.0], &[3.0, -3.0, 0.0]), -3.0, 3.0).unwrap();
        let conv = conv(&qgraph);
        for (channel, expected) in [3.0, -3.0].into_iter().enumerate() {
            let real = f64::from(conv.bias[channel])
                * f64::from(conv.weight_scales[channel])
                * f64::from(qgraph.tensors[0].scale);
            assert!((real - expected).abs() < 1e-5, "{real}");
            assert!(conv.bias[channel].unsigned_abs() <= (1 << 30) + 128, "{}", conv.bias[channel]);
        }
    }

    #[test]
    fn an_output_scale_is_raised_until_the_multiplier_fits() {
        // Weights of 1000 on an output that calibration saw nothing of.
        for range in [(0.0, 0.0), (0.0, 1e-6), (-1e-20, 0.0)] {
            let graph = graph(&[50_000.0], &[0.0]);
            let qgraph = lowered(&graph, range.0, range.1).unwrap();
            let multiplier = f64::from(qgraph.tensors[0].scale) * f64::from(conv(&qgraph).weight_scales[0])
                / f64::from(qgraph.tensors[1].scale);
            assert!(multiplier < MULTIPLIER_LIMIT, "{multiplier}");
            assert_eq!(qgraph.requants(&qgraph.nodes[0]).unwrap().channels[0].s, 32);
        }
    }

    #[test]
    fn what_is_not_a_number_is_named() {
        let error = lowered(&graph(&[1.0, f32::NAN], &[0.0; 2]), 0.0, 1.0).unwrap_err().to_string();
        assert!(error.starts_with("parameter `weight` is not finite at element 1 (NaN)"), "{error}");
        let error = lowered(&graph(&[1.0], &[f32::INFINITY]), 0.0, 1.0).unwrap_err().to_string();
        assert!(error.starts_with("parameter `bias` is not finite at element 0 (inf)"), "{error}");
        for odd in [f32::NAN, f32::INFINITY] {
            let error = lowered(&graph(&[1.0], &[0.0]), 0.0, odd).unwrap_err();
            assert_eq!(error, QuantError::NonFiniteActivation { name: "conv.out".into() });
        }
    }

    #[test]
    fn an_unknown_normalization_and_missing_ranges_are_errors() {
        let mut unknown = graph(&[1.0], &[0.0]);
        unknown.metadata.normalization = None;
        assert_eq!(lowered(&unknown, 0.0, 1.0).unwrap_err(), QuantError::NoNormalization);
        let graph = graph(&[1.0], &[0.0]);
        assert_eq!(lower(&graph, &Ranges::new(&graph)).unwrap_err(), QuantError::NoImages);
    }

    #[test]
    fn scores_must_be_one_pixel() {
        let mut net = Net::new(1, [2, 3, 3]);
        let x = net.conv(net.input(), 2, Conv::square(1, 1, 0), false);
        let flat = net.push(Op::Flatten, &[x]);
        let graph = net.builder.finish(flat).unwrap();
        let error = lowered(&graph, 0.0, 1.0).unwrap_err().to_string();
        assert!(error.contains("its 3x3 map is flattened into scores"), "{error}");
    }

    #[test]
    fn a_pool_of_too_many_pixels_is_refused() {
        let mut net = Net::new(1, [1, 256, 128]);
        let x = net.conv(net.input(), 4, Conv::square(1, 1, 0), false);
        let pool = net.push(Op::GlobalAveragePool, &[x]);
        let flat = net.push(Op::Flatten, &[pool]);
        let graph = net.builder.finish(flat).unwrap();
        let error = lowered(&graph, 0.0, 1.0).unwrap_err().to_string();
        assert!(error.contains("it averages 32768 pixels"), "{error}");
    }

    #[test]
    fn accumulators_that_could_overflow_are_refused_by_channel() {
        // 2^18 weights of 127: 128 * 127 * 2^18 is more than 32 bits hold.
        let features = 1 << 18;
        let mut builder = GraphBuilder::new("net", "image", [4, 256, 256]).unwrap();
        builder.metadata_mut().normalization = Some(Normalization { mean: vec![0.0; 4], std: vec![1.0; 4] });
        let flat = builder.push("flat", Op::Flatten, &[builder.input()]).unwrap();
        let mut weights = vec![0.0; features];
        weights.extend(vec![1.0; features]);
        let weight = builder.parameter("weight", Tensor::new([2, features], weights).unwrap(), true).unwrap();
        let fc = builder.push("fc", Op::Gemm, &[flat, weight]).unwrap();
        let error = lowered(&builder.finish(fc).unwrap(), 0.0, 1e6).unwrap_err().to_string();
        assert!(error.starts_with("node `fc`, output channel 1: its accumulator can reach"), "{error}");
    }
}
