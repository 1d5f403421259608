//! Proofs across the crates: whole pipelines, every back end against the reference, bad input.
//!
//! The proofs stand in `tests/tests/`; `tests/fuzz/` is a workspace of its own with the fuzzing targets, whose seeds
//! `tests/examples/seeds.rs` writes. This library holds the networks that they share.
#![forbid(unsafe_code)]

/// The Rust in the book's pages is compiled and run.
#[cfg(doctest)]
mod book {
    #[doc = include_str!("../../docs/tour.md")]
    struct Tour;
    #[doc = include_str!("../../docs/guide.md")]
    struct Guide;
    #[doc = include_str!("../../docs/serial.md")]
    struct Serial;
}

pub mod forms;
pub mod hostile;
pub mod pictures;
pub mod preprocessing;
pub mod qoperator;

use skipstone::data::Dataset;
use skipstone_onnx::{Conv, Graph, GraphBuilder, GraphError, Normalization, Op, Pad, Slice, Tensor, ValueId};

/// Two residual blocks on images of 7x6 pixels with one channel: the first with an identity shortcut, the second with
/// stride 2, twice the channels and an option A shortcut; then pooling and a linear layer to three classes. Weights
/// are fixed and of both signs.
///
/// # Errors
/// Never, unless the graph's rules change.
pub fn small_residual() -> Result<Graph, GraphError> {
    let mut net = Net { builder: GraphBuilder::new("small-residual", "image", [1, 7, 6])? };
    net.builder.metadata_mut().class_names = ["one", "two", "three"].map(String::from).into();
    net.builder.metadata_mut().normalization = Some(Normalization { mean: vec![0.5], std: vec![0.25] });
    let image = net.builder.input();
    let stem = net.conv_norm("stem", image, [4, 1], 1)?;
    let stem = net.builder.push("stem.relu", Op::Relu, &[stem])?;
    let identity = net.block("block1", stem, stem, [4, 4], 1)?;
    let [channels, height, width] = [4, 7, 6];
    let slice = Slice { start: [0; 3], end: [channels, height, width], step: [1, 2, 2] };
    let sliced = net.builder.push("block2.shortcut.slice", Op::Slice(slice), &[identity])?;
    let pad = Pad { before: [2, 0, 0], after: [2, 0, 0] };
    let shortcut = net.builder.push("block2.shortcut.pad", Op::Pad(pad), &[sliced])?;
    let halved = net.block("block2", identity, shortcut, [8, 4], 2)?;
    let pooled = net.builder.push("pool", Op::GlobalAveragePool, &[halved])?;
    let flat = net.builder.push("flatten", Op::Flatten, &[pooled])?;
    let weight = net.parameter("fc.weight", &[3, 8], true)?;
    let bias = net.parameter("fc.bias", &[3], true)?;
    let scores = net.builder.push("fc", Op::Gemm, &[flat, weight, bias])?;
    net.builder.finish(scores)
}

/// Images for [`small_residual`] with noise from dark to bright.
pub fn small_images(count: usize) -> Dataset {
    let pixel = |i: usize| (i * i * 7 + i * 37 + i / 42 * 11) % 256;
    Dataset {
        dims: [1, 7, 6],
        pixels: (0..count * 42).map(|i| pixel(i) as u8).collect(),
        labels: (0..count).map(|i| (i % 3) as u16).collect(),
        class_names: ["one", "two", "three"].map(String::from).into(),
    }
}

struct Net {
    builder: GraphBuilder,
}

impl Net {
    /// Values between -0.5 and 0.5, scaled by the number of inputs that are summed; positive for variances and gains.
    fn parameter(&mut self, name: &str, dims: &[usize], trainable: bool) -> Result<ValueId, GraphError> {
        let count: usize = dims.iter().product();
        let salt: usize = name.bytes().map(usize::from).sum();
        let scale = (dims[1..].iter().product::<usize>() as f32).sqrt();
        let positive = name.ends_with("variance") || name.ends_with("gamma");
        let value = |i: usize| {
            let unit = ((i * 31 + salt * 17) % 101) as f32 / 101.0;
            if positive { 0.5 + unit } else { 2.0 * (unit - 0.5) / scale }
        };
        let tensor = Tensor::new(dims, (0..count).map(value).collect())?;
        self.builder.parameter(name, tensor, trainable)
    }

    /// A 3x3 convolution of `[out, in]` channels and its batch norm.
    fn conv_norm(
        &mut self,
        name: &str,
        x: ValueId,
        [out, channels]: [usize; 2],
        stride: usize,
    ) -> Result<ValueId, GraphError> {
        let weight = self.parameter(&format!("{name}.weight"), &[out, channels, 3, 3], true)?;
        let x = self.builder.push(format!("{name}.conv"), Op::Conv(Conv::square(3, stride, 1)), &[x, weight])?;
        let mut inputs = vec![x];
        for (role, trainable) in [("gamma", true), ("beta", true), ("mean", false), ("variance", false)] {
            inputs.push(self.parameter(&format!("{name}.norm.{role}"), &[out], trainable)?);
        }
        self.builder.push(format!("{name}.norm"), Op::BatchNorm { epsilon: 1e-5 }, &inputs)
    }

    fn block(
        &mut self,
        name: &str,
        x: ValueId,
        shortcut: ValueId,
        [out, channels]: [usize; 2],
        stride: usize,
    ) -> Result<ValueId, GraphError> {
        let first = self.conv_norm(&format!("{name}.first"), x, [out, channels], stride)?;
        let first = self.builder.push(format!("{name}.first.relu"), Op::Relu, &[first])?;
        let second = self.conv_norm(&format!("{name}.second"), first, [out, out], 1)?;
        let sum = self.builder.push(format!("{name}.add"), Op::Add, &[second, shortcut])?;
        self.builder.push(format!("{name}.relu"), Op::Relu, &[sum])
    }
}
