//! Graphs for tests.

use crate::{
    Border, BorderPad, Conv, Coordinates, Graph, GraphBuilder, Normalization, Op, Pad, Resize, ResizeKernel, Slice,
    Tensor, Unary, ValueId, Window,
};

/// Parameters that differ from each other and from element to element.
pub(crate) fn tensor(dims: &[usize], seed: usize) -> Tensor {
    let count: usize = dims.iter().product();
    let data = (0..count).map(|i| ((i * 7 + seed * 13) % 23) as f32 / 23.0 + 0.01).collect();
    Tensor::new(dims, data).unwrap()
}

fn param(builder: &mut GraphBuilder, name: &str, dims: &[usize], trainable: bool) -> ValueId {
    builder.parameter(name, tensor(dims, name.len()), trainable).unwrap()
}

/// A small network of residual blocks: strided convolution with asymmetric padding, batch norm, an option A shortcut,
/// a grouped convolution with bias, pooling and a linear layer.
pub(crate) fn residual() -> Graph {
    let mut b = GraphBuilder::new("residual", "image", [4, 9, 8]).unwrap();
    b.metadata_mut().class_names = vec!["cat".into(), "dog\n\\".into(), "".into()];
    b.metadata_mut().normalization = Some(Normalization { mean: vec![0.1; 4], std: vec![0.25, 1.0 / 3.0, 1.0, 1e-7] });
    b.metadata_mut().command = Some("skipstone train --arch residual".into());
    let image = b.input();
    let weight = param(&mut b, "conv1.weight", &[8, 4, 3, 2], true);
    let conv = Conv { kernel: [3, 2], stride: [2, 2], pads: [0, 1, 2, 0], groups: 1 };
    let conv1 = b.push("conv1", Op::Conv(conv), &[image, weight]).unwrap();
    let norm: Vec<ValueId> = [("weight", true), ("bias", true), ("mean", false), ("variance", false)]
        .map(|(role, trainable)| param(&mut b, &format!("bn1.{role}"), &[8], trainable))
        .into();
    let bn = b.push("bn1", Op::BatchNorm { epsilon: 1e-3 }, &[conv1, norm[0], norm[1], norm[2], norm[3]]).unwrap();
    let slice = Slice { start: [0; 3], end: [4, 9, 8], step: [1, 2, 2] };
    let short = b.push("short.slice", Op::Slice(slice), &[image]).unwrap();
    let short = b.push("short.pad", Op::Pad(Pad { before: [2, 0, 0], after: [2, 0, 0] }), &[short]).unwrap();
    let sum = b.push("add", Op::Add, &[bn, short]).unwrap();
    let relu = b.push("relu", Op::Relu, &[sum]).unwrap();
    let weight = param(&mut b, "conv2.weight", &[6, 4, 1, 1], true);
    let bias = param(&mut b, "conv2.bias", &[6], true);
    let conv = Conv { groups: 2, ..Conv::square(1, 1, 0) };
    let conv2 = b.push("conv2", Op::Conv(conv), &[relu, weight, bias]).unwrap();
    let pool = b.push("pool", Op::GlobalAveragePool, &[conv2]).unwrap();
    let flat = b.push("flatten", Op::Flatten, &[pool]).unwrap();
    let weight = param(&mut b, "fc.weight", &[3, 6], true);
    let bias = param(&mut b, "fc.bias", &[3], true);
    let scores = b.push_named("fc", Op::Gemm, &[flat, weight, bias], "scores").unwrap();
    b.finish(scores).unwrap()
}

/// A small network of the operators that [`residual`] lacks: pools of all kinds, a concatenation, a mask with a gate,
/// functions of elements, both normalizations without parameters, interpolation both ways, train-only operators, and a
/// softmax inside.
pub(crate) fn branches() -> Graph {
    let mut b = GraphBuilder::new("branches", "image", [3, 9, 8]).unwrap();
    let image = b.input();
    let window = Window { kernel: [3, 2], stride: [2, 2], pads: [0, 1, 1, 0], ceil_mode: true };
    let max = b.push("max", Op::MaxPool(window.clone()), &[image]).unwrap();
    let mean = b.push("mean", Op::AveragePool { window, count_include_pad: true }, &[image]).unwrap();
    let own = Op::AveragePool { window: Window::square(3, 1, 1), count_include_pad: false };
    let own = b.push("own", own, &[max]).unwrap();
    let small = b.push("small", Op::Clip { min: 0.0, max: 6.0 }, &[own]).unwrap();
    let below = b.push("below", Op::Clip { min: f32::NEG_INFINITY, max: 0.5 }, &[small]).unwrap();
    let above = b.push("above", Op::Clip { min: -1.5, max: f32::INFINITY }, &[below]).unwrap();
    let joined = b.push("joined", Op::Concat, &[max, mean, above, max]).unwrap();
    let dropped = b.push("dropped", Op::Dropout { rate: 0.2 }, &[joined]).unwrap();
    let branch = b.push("branch", Op::StochasticDepth { rate: 0.2 }, &[dropped]).unwrap();
    let resize = |size, coordinates| Op::Resize(Resize::new(size, coordinates));
    let cubic = ResizeKernel::Cubic { coefficient: -0.5 };
    let cubic = Resize { kernel: cubic, exclude_outside: true, ..Resize::new([7, 10], Coordinates::Asymmetric) };
    let larger = b.push("larger", resize([7, 10], Coordinates::AlignCorners), &[branch]).unwrap();
    let larger = b.push("cubic", Op::Resize(Resize { size: [9, 9], ..cubic.clone() }), &[larger]).unwrap();
    let larger = b.push("smaller", Op::Resize(cubic), &[larger]).unwrap();
    let trunk = b.push("trunk", resize([7, 10], Coordinates::HalfPixel), &[joined]).unwrap();
    let mask = b.push("mask", Op::Sigmoid, &[larger]).unwrap();
    let masked = b.push("masked", Op::Mul, &[trunk, mask]).unwrap();
    let masked = b.push("leaky", Op::Unary(Unary::LeakyRelu { alpha: 0.1 }), &[masked]).unwrap();
    let masked = b.push("elu", Op::Unary(Unary::Elu { alpha: 0.75 }), &[masked]).unwrap();
    let masked = b.push("gelu", Op::Unary(Unary::Gelu), &[masked]).unwrap();
    let masked = b.push("erf", Op::Unary(Unary::Erf), &[masked]).unwrap();
    let masked = b.push("softplus", Op::Unary(Unary::Softplus), &[masked]).unwrap();
    let masked = b.push("mish", Op::Unary(Unary::Mish), &[masked]).unwrap();
    let masked = b.push("nearly", Op::Unary(Unary::GeluTanh), &[masked]).unwrap();
    let masked = b.push("exp", Op::Unary(Unary::Exp), &[masked]).unwrap();
    let masked = b.push("power", Op::Unary(Unary::Power { exponent: -0.75 }), &[masked]).unwrap();
    let masked = b.push("log", Op::Unary(Unary::Log), &[masked]).unwrap();
    let masked = b.push("softsign", Op::Unary(Unary::Softsign), &[masked]).unwrap();
    let masked = b.push("thresholded", Op::Unary(Unary::ThresholdedRelu { alpha: 0.25 }), &[masked]).unwrap();
    let unit = b.push("unit", Op::L2Norm, &[masked]).unwrap();
    let standard = b.push("standard", Op::InstanceNorm { epsilon: 1e-4 }, &[unit]).unwrap();
    let standard = b.push("groups", Op::GroupNorm { groups: 3, epsilon: 1e-3 }, &[standard]).unwrap();
    let border = |pads, border| Op::BorderPad(BorderPad { pads, border });
    let standard = b.push("reflected", border([1, 2, 3, 0], Border::Reflect), &[standard]).unwrap();
    let standard = b.push("edged", border([0, 1, 2, 3], Border::Edge), &[standard]).unwrap();
    let standard = b.push("wrapped", border([2, 0, 1, 4], Border::Wrap), &[standard]).unwrap();
    let standard = b.push("wrapped.columns", border([0, 1, 0, 0], Border::Wrap), &[standard]).unwrap();
    let joined = b.push("pixels", Op::DepthToSpace { block: [1, 3] }, &[standard]).unwrap();
    let standard = b.push("channels", Op::SpaceToDepth { block: [1, 3] }, &[joined]).unwrap();
    let gate = b.push("gate", Op::GlobalMaxPool, &[standard]).unwrap();
    let gated = b.push("gated", Op::Mul, &[gate, standard]).unwrap();
    let pool = b.push("pool", Op::GlobalAveragePool, &[gated]).unwrap();
    let flat = b.push("flatten", Op::Flatten, &[pool]).unwrap();
    let shares = b.push("shares", Op::Softmax, &[flat]).unwrap();
    let weight = param(&mut b, "fc.weight", &[2, 12], true);
    let scores = b.push("fc", Op::Gemm, &[shares, weight]).unwrap();
    b.finish(scores).unwrap()
}
