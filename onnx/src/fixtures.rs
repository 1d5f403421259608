//! Graphs for tests.

use crate::{Conv, Graph, GraphBuilder, Normalization, Op, Pad, Slice, Tensor, ValueId};

/// Parameters that differ from each other and from element to element.
pub(crate) fn tensor(dims: &[usize], seed: usize) -> Tensor {
    let count: usize = dims.iter().product();
    let data = (0..count).map(|i| ((i * 7 + seed * 13) % 23) as f32 / 23.0 + 0.01).collect();
    Tensor::new(dims, data).unwrap()
}

fn param(builder: &mut GraphBuilder, name: &str, dims: &[usize], trainable: bool) -> ValueId {
    builder.parameter(name, tensor(dims, name.len()), trainable).unwrap()
}

/// A small network with every operator: strided convolution with asymmetric padding, batch norm, an option A shortcut,
/// a grouped convolution with bias, pooling and a linear layer.
pub(crate) fn every_op() -> Graph {
    let mut b = GraphBuilder::new("every-op", "image", [4, 9, 8]).unwrap();
    b.metadata_mut().class_names = vec!["cat".into(), "dog\n\\".into(), "".into()];
    b.metadata_mut().normalization = Some(Normalization { mean: vec![0.1; 4], std: vec![0.25, 1.0 / 3.0, 1.0, 1e-7] });
    b.metadata_mut().command = Some("skipstone train --arch every-op".into());
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
