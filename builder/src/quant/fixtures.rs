//! For tests: random networks with everything that quantizes, and a naive execution of the result.

use super::graph::{QConv, QGraph, QNode, QOp};
use crate::data::Dataset;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use skipstone_onnx::{Conv, Graph, GraphBuilder, Normalization, Op, Pad, Slice, Tensor, ValueId};

/// Builds networks of random shapes and weights.
pub(crate) struct Net {
    pub(crate) builder: GraphBuilder,
    pub(crate) rng: ChaCha8Rng,
    count: usize,
}

impl Net {
    pub(crate) fn new(seed: u64, dims: [usize; 3]) -> Self {
        let mut builder = GraphBuilder::new("random", "image", dims).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mean = (0..dims[0]).map(|_| rng.random_range(0.2..0.6)).collect();
        let std = (0..dims[0]).map(|_| rng.random_range(0.15..0.4)).collect();
        builder.metadata_mut().normalization = Some(Normalization { mean, std });
        Self { builder, rng, count: 0 }
    }

    pub(crate) fn input(&self) -> ValueId {
        self.builder.input()
    }

    fn name(&mut self, kind: &str) -> String {
        self.count += 1;
        format!("{kind}{}", self.count)
    }

    pub(crate) fn push(&mut self, op: Op, inputs: &[ValueId]) -> ValueId {
        let name = self.name(op.name());
        self.builder.push(name, op, inputs).unwrap()
    }

    fn uniform(&mut self, dims: &[usize], lo: f32, hi: f32) -> ValueId {
        let data = (0..dims.iter().product()).map(|_| self.rng.random_range(lo..hi)).collect();
        let name = self.name("parameter");
        self.builder.parameter(name, Tensor::new(dims, data).unwrap(), true).unwrap()
    }

    pub(crate) fn conv(&mut self, x: ValueId, outputs: usize, conv: Conv, bias: bool) -> ValueId {
        let inputs = self.builder.dims(x)[0] / conv.groups;
        let spread = 1.5 / ((inputs * conv.kernel[0] * conv.kernel[1]) as f32).sqrt();
        let mut operands = vec![x, self.uniform(&[outputs, inputs, conv.kernel[0], conv.kernel[1]], -spread, spread)];
        if bias {
            operands.push(self.uniform(&[outputs], -0.5, 0.5));
        }
        self.push(Op::Conv(conv), &operands)
    }

    pub(crate) fn norm(&mut self, x: ValueId) -> ValueId {
        let channels = self.builder.dims(x)[0];
        let mut operands = vec![x];
        for (lo, hi) in [(0.5, 1.5), (-0.3, 0.3), (-0.2, 0.2), (0.3, 1.5)] {
            operands.push(self.uniform(&[channels], lo, hi));
        }
        self.push(Op::BatchNorm { epsilon: 1e-5 }, &operands)
    }

    pub(crate) fn relu(&mut self, x: ValueId) -> ValueId {
        self.push(Op::Relu, &[x])
    }

    /// A residual block of two 3x3 convolutions with a random kind of shortcut.
    fn block(&mut self, x: ValueId) -> ValueId {
        let &[channels, height, width] = self.builder.dims(x) else { unreachable!("blocks follow maps") };
        let kind = self.rng.random_range(0..4);
        let stride = if kind == 0 { 1 } else { self.rng.random_range(1..3) };
        let outputs = match kind {
            0 => channels,
            1 => channels.next_multiple_of(4) + 8,
            _ => self.rng.random_range(1..10),
        };
        let first = self.conv(x, outputs, Conv::square(3, stride, 1), false);
        let first = self.norm(first);
        let first = self.relu(first);
        let second = self.conv(first, outputs, Conv::square(3, 1, 1), true);
        let mut second = self.norm(second);
        let mut shortcut = x;
        if kind == 1 {
            if stride > 1 {
                let slice = Slice { start: [0; 3], end: [channels, height, width], step: [1, stride, stride] };
                shortcut = self.push(Op::Slice(slice), &[x]);
            }
            let pad = Pad { before: [4, 0, 0], after: [outputs - channels - 4, 0, 0] };
            shortcut = self.push(Op::Pad(pad), &[shortcut]);
        } else if kind > 1 {
            shortcut = self.conv(x, outputs, Conv::square(1, stride, 0), true);
        }
        if kind == 3 {
            // Both terms are clamped, so that no convolution can take the sum over.
            shortcut = self.relu(shortcut);
            second = self.relu(second);
        }
        let sum = self.push(Op::Add, &[second, shortcut]);
        if self.rng.random_bool(0.8) { self.relu(sum) } else { sum }
    }

    pub(crate) fn head(mut self, x: ValueId, classes: usize) -> Graph {
        let pooled = if self.rng.random_bool(0.5) { self.push(Op::GlobalAveragePool, &[x]) } else { x };
        let flat = self.push(Op::Flatten, &[pooled]);
        let features = self.builder.dims(flat)[0];
        let spread = 1.5 / (features as f32).sqrt();
        let operands = [flat, self.uniform(&[classes, features], -spread, spread), self.uniform(&[classes], -0.5, 0.5)];
        let scores = self.push(Op::Gemm, &operands);
        self.builder.finish(scores).unwrap()
    }
}

/// A random network of one to three layers or residual blocks.
pub(crate) fn random_graph(seed: u64) -> Graph {
    let mut rng = ChaCha8Rng::seed_from_u64(!seed);
    let dims = [rng.random_range(1..4), rng.random_range(4..10), rng.random_range(4..10)];
    let mut net = Net::new(seed, dims);
    let kernel = [1, 3, 5][rng.random_range(0..3usize)];
    let mut x = net.input();
    x = net.conv(x, rng.random_range(1..14), Conv::square(kernel, 1, kernel / 2), rng.random_bool(0.5));
    if rng.random_bool(0.5) {
        x = net.norm(x);
    }
    if rng.random_bool(0.8) {
        x = net.relu(x);
    }
    for _ in 0..rng.random_range(0..3) {
        x = if rng.random_bool(0.2) {
            let channels = net.builder.dims(x)[0];
            let depthwise = Conv { groups: channels, pads: [0, 1, 1, 0], ..Conv::square(2, 1, 0) };
            net.conv(x, channels, depthwise, true)
        } else {
            net.block(x)
        };
    }
    net.head(x, rng.random_range(2..12))
}

/// Random images that fit a graph, and random labels.
pub(crate) fn random_images(graph: &Graph, count: usize, seed: u64) -> Dataset {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let dims = &graph.value(graph.input()).dims;
    let classes = graph.value(graph.output()).dims[0];
    Dataset {
        dims: [dims[0], dims[1], dims[2]],
        pixels: (0..count * dims.iter().product::<usize>()).map(|_| rng.random()).collect(),
        labels: (0..count).map(|_| rng.random_range(0..classes as u16)).collect(),
        class_names: (0..classes).map(|class| format!("class {class}")).collect(),
    }
}

/// Every tensor of one image, NHWC over logical channels, computed term by term in wide integers.
///
/// Each value is also computed from the scales in float64: wherever that is not next to a tie, it must round to the same.
pub(crate) fn naive(qgraph: &QGraph, image: &[i8]) -> Vec<Vec<i8>> {
    let mut tensors: Vec<Vec<i8>> = vec![Vec::new(); qgraph.tensors.len()];
    tensors[qgraph.input] = image.to_vec();
    for node in &qgraph.nodes {
        tensors[node.output] = execute(qgraph, node, &tensors);
    }
    tensors
}

fn execute(qgraph: &QGraph, node: &QNode, tensors: &[Vec<i8>]) -> Vec<i8> {
    let (input, output) = (&qgraph.tensors[node.input], &qgraph.tensors[node.output]);
    let requants = qgraph.requants(node).unwrap();
    let ([channels_in, height_in, width_in], [channels, height, width]) = (input.dims, output.dims);
    let (zero_in, zero_out) = (i64::from(input.zero_point), i64::from(output.zero_point));
    let at = |y: usize, x: usize, c: usize| i64::from(tensors[node.input][(y * width_in + x) * channels_in + c]);
    let ratio = f64::from(input.scale) / f64::from(output.scale);
    let mut made = Vec::with_capacity(channels * height * width);
    for (y, x, c) in positions(height, width, channels) {
        let (acc, real) = match &node.op {
            QOp::Shortcut { stride, channels_before } => {
                let copied = c.checked_sub(*channels_before).filter(|&c| c < channels_in);
                made.push(copied.map_or(output.zero_point, |c| at(y * stride[0], x * stride[1], c) as i8));
                continue;
            }
            QOp::Conv(conv) => {
                let per_group = channels_in / conv.groups;
                let group = c / (channels / conv.groups);
                let (mut acc, mut real) = (0, i64::from(conv.bias[c]));
                for (ky, kx, ci) in positions(conv.kernel[0], conv.kernel[1], per_group) {
                    let row = (y * conv.stride[0] + ky).checked_sub(conv.pads[0]).filter(|&row| row < height_in);
                    let column =
                        (x * conv.stride[1] + kx).checked_sub(conv.pads[1]).filter(|&column| column < width_in);
                    let value =
                        row.zip(column).map_or(zero_in, |(row, column)| at(row, column, group * per_group + ci));
                    let weight = i64::from(weight(conv, c, ky, kx, ci));
                    acc += value * weight;
                    real += (value - zero_in) * weight;
                }
                (acc, real as f64 * ratio * f64::from(conv.weight_scales[c]))
            }
            QOp::Add => (at(y, x, c) << 8, (at(y, x, c) - zero_in) as f64 * ratio),
            QOp::GlobalAveragePool => {
                let sum: i64 = positions(height_in, width_in, 1).map(|(y, x, _)| at(y, x, c)).sum();
                let pixels = (height_in * width_in) as i64;
                (sum << 8, (sum - pixels * zero_in) as f64 * ratio / pixels as f64)
            }
        };
        let requant = requants.channels[c.min(requants.channels.len() - 1)];
        let mut sum = i128::from(acc) * i128::from(requant.m) + i128::from(requant.c);
        let mut real = real + zero_out as f64;
        if let Some(index) = node.operand {
            let operand = &qgraph.tensors[index];
            let value = i64::from(tensors[index][(y * width + x) * channels + c]);
            sum += i128::from(value << 8) * i128::from(requants.operand_multiplier);
            real += (value - i64::from(operand.zero_point)) as f64 * f64::from(operand.scale) / f64::from(output.scale);
        }
        let rounded = (sum >> requant.s).clamp(node.lo.into(), node.hi.into()) as i8;
        let from_tie = (real - real.floor() - 0.5).abs();
        let expected = (real + 0.5).floor().clamp(node.lo.into(), node.hi.into()) as i8;
        assert!(expected == rounded || from_tie < 1e-5, "{}: {rounded} where {real} rounds to {expected}", node.name);
        made.push(rounded);
    }
    made
}

fn weight(conv: &QConv, channel: usize, ky: usize, kx: usize, ci: usize) -> i8 {
    let per_channel = conv.weights.len() / conv.bias.len();
    let per_group = per_channel / conv.kernel[0] / conv.kernel[1];
    conv.weights[channel * per_channel + (ky * conv.kernel[1] + kx) * per_group + ci]
}

fn positions(height: usize, width: usize, channels: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..height).flat_map(move |y| (0..width).flat_map(move |x| (0..channels).map(move |c| (y, x, c))))
}

/// For each tensor a bound on the distance of its real value from the float network's, for images within the calibrated
/// ranges; it follows from the scales alone.
pub(crate) fn error_bounds(qgraph: &QGraph) -> Vec<f64> {
    let mut bounds = vec![0.0; qgraph.tensors.len()];
    // Half a step of rounding and half a step of nudging.
    bounds[qgraph.input] = f64::from(qgraph.tensors[qgraph.input].scale);
    for node in &qgraph.nodes {
        let (input, output) = (&qgraph.tensors[node.input], &qgraph.tensors[node.output]);
        let error = bounds[node.input];
        let zero = f64::from(input.zero_point);
        let largest = f64::from(input.scale) * (128.5 + zero).max(127.5 - zero);
        let rounding = f64::from(output.scale);
        let own = match &node.op {
            QOp::Conv(conv) => {
                let per_channel = conv.weights.len() / conv.bias.len();
                let of_channel = |(weights, &scale): (&[i8], &f32)| {
                    let scale = f64::from(scale);
                    let magnitude: f64 = weights.iter().map(|&w| f64::from(w).abs() + 0.5).sum();
                    let rounded = 0.5 * per_channel as f64 * largest + 0.5 * f64::from(input.scale);
                    scale * (magnitude * error + rounded)
                };
                let channels = conv.weights.chunks_exact(per_channel).zip(&conv.weight_scales);
                channels.map(of_channel).fold(0.0, f64::max) + rounding
            }
            QOp::Add | QOp::GlobalAveragePool => error + rounding,
            QOp::Shortcut { .. } => error,
        };
        bounds[node.output] = own + node.operand.map_or(0.0, |index| bounds[index]);
    }
    bounds
}
