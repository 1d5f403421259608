//! The parts that residual networks are made of.
//!
//! A [`Net`] is a [`GraphBuilder`] that also makes the parameters: it knows the network's conventions ([`Style`]) and
//! draws the initial weights. A network of one's own is a few calls:
//!
//! ```
//! use skipstone_builder::zoo::blocks::{Net, Shortcut, Style};
//! # fn main() -> Result<(), skipstone_onnx::GraphError> {
//! let mut net = Net::new("tiny", [1, 8, 8], Style::PYTORCH, Some(1))?;
//! let mut x = net.input();
//! x = net.conv_bn_relu("stem", "", x, 8, 3, 1)?;
//! x = net.basic_block("stage1.block1", x, 8, 1, Shortcut::Identity)?;
//! x = net.basic_block("stage2.block1", x, 16, 2, Shortcut::PROJECTION)?;
//! let scores = net.head(x, 10)?;
//! let graph = net.finish(scores)?;
//! assert_eq!(graph.value(graph.output()).dims, [10]);
//! # Ok(()) }
//! ```

use super::init::{Init, Initializer};
use skipstone_onnx::{Conv, Graph, GraphBuilder, GraphError, Op, Pad, Slice, Tensor, ValueId};

/// Where a convolution's zero padding goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// `kernel / 2` on all four sides (PyTorch's habit).
    Symmetric,
    /// As much as makes the output `ceil(size / stride)`, the odd one at the bottom and right (TensorFlow's `SAME`).
    Same,
}

/// What the convolutions and batch norms of one network have in common.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Style {
    /// Whether convolutions have a bias, even before a batch norm.
    pub conv_bias: bool,
    /// Where padding goes.
    pub padding: Padding,
    /// Epsilon of the batch norms.
    pub epsilon: f32,
    /// Distribution of the initial weights.
    pub init: Init,
}

impl Style {
    /// The conventions of PyTorch's residual networks: no biases, symmetric padding, epsilon 1e-5, He normal.
    pub const PYTORCH: Self =
        Self { conv_bias: false, padding: Padding::Symmetric, epsilon: 1e-5, init: Init::HeNormal };

    /// Keras' conventions: biases, `SAME` padding, epsilon 1e-3, truncated He normal.
    pub const KERAS: Self = Self { conv_bias: true, padding: Padding::Same, epsilon: 1e-3, init: Init::HeTruncated };
}

/// What a block adds to the output of its last convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortcut {
    /// Nothing: a plain network.
    None,
    /// The block's input, which must have the shape of its output.
    Identity,
    /// Option A: every `stride`-th row and column of the input, zero channels around it. Without parameters.
    ZeroPad,
    /// Option B: a 1x1 convolution of the block's stride. Stands only where the shape changes; elsewhere the input
    /// itself is added.
    Projection {
        /// Whether the convolution has a bias.
        bias: bool,
        /// Whether a batch norm follows it.
        batch_norm: bool,
    },
}

impl Shortcut {
    /// The usual projection: no bias, with batch norm.
    pub const PROJECTION: Self = Self::Projection { bias: false, batch_norm: true };
}

/// A network under construction.
///
/// Names follow the structure: within `scope` the parts are `conv<n>`, `bn<n>`, `relu<n>`, and parameters hang below
/// their node: `stage2.block1.conv1.weight`, `stage2.block1.bn1.gamma`. All methods fail as
/// [`GraphBuilder::push`] does: two parts of one name, or operands whose shapes do not fit.
#[derive(Debug)]
pub struct Net {
    graph: GraphBuilder,
    style: Style,
    weights: Initializer,
}

impl Net {
    /// An empty network over images `[C, H, W]`. Without a seed all weights are zero.
    ///
    /// # Errors
    /// [`GraphError::EmptyDimension`].
    pub fn new(name: &str, input: [usize; 3], style: Style, seed: Option<u64>) -> Result<Self, GraphError> {
        let graph = GraphBuilder::new(name, "image", input)?;
        Ok(Self { graph, style, weights: Initializer::new(style.init, seed) })
    }

    /// The image.
    pub fn input(&self) -> ValueId {
        self.graph.input()
    }

    /// The graph so far, for parts that are not here.
    pub fn graph_mut(&mut self) -> &mut GraphBuilder {
        &mut self.graph
    }

    /// A convolution of a square `kernel` with the style's padding.
    pub fn conv(
        &mut self,
        name: &str,
        x: ValueId,
        channels: usize,
        kernel: usize,
        stride: usize,
        bias: bool,
    ) -> Result<ValueId, GraphError> {
        let [inputs, height, width] = self.map_dims(name, "Conv", x)?;
        let weight = self.weights.weight(&[channels, inputs, kernel, kernel]);
        let mut operands = vec![x, self.graph.parameter(format!("{name}.weight"), weight, true)?];
        if bias {
            operands.push(self.graph.parameter(format!("{name}.bias"), Tensor::filled([channels], 0.0), true)?);
        }
        let (top, bottom) = self.pads(height, kernel, stride);
        let (left, right) = self.pads(width, kernel, stride);
        let conv = Conv { kernel: [kernel; 2], stride: [stride; 2], pads: [top, left, bottom, right], groups: 1 };
        self.graph.push(name, Op::Conv(conv), &operands)
    }

    /// A batch norm that starts as the identity on standardized data: gamma 1, beta 0, mean 0, variance 1.
    pub fn batch_norm(&mut self, name: &str, x: ValueId) -> Result<ValueId, GraphError> {
        let [channels, ..] = self.map_dims(name, "BatchNormalization", x)?;
        let mut operands = vec![x];
        for (part, start, trainable) in
            [("gamma", 1.0, true), ("beta", 0.0, true), ("mean", 0.0, false), ("variance", 1.0, false)]
        {
            let tensor = Tensor::filled([channels], start);
            operands.push(self.graph.parameter(format!("{name}.{part}"), tensor, trainable)?);
        }
        self.graph.push(name, Op::BatchNorm { epsilon: self.style.epsilon }, &operands)
    }

    /// `max(x, 0)`.
    pub fn relu(&mut self, name: &str, x: ValueId) -> Result<ValueId, GraphError> {
        self.graph.push(name, Op::Relu, &[x])
    }

    /// `scope.conv<n>`, `scope.bn<n>`.
    pub fn conv_bn(
        &mut self,
        scope: &str,
        n: &str,
        x: ValueId,
        channels: usize,
        kernel: usize,
        stride: usize,
    ) -> Result<ValueId, GraphError> {
        let x = self.conv(&format!("{scope}.conv{n}"), x, channels, kernel, stride, self.style.conv_bias)?;
        self.batch_norm(&format!("{scope}.bn{n}"), x)
    }

    /// `scope.conv<n>`, `scope.bn<n>`, `scope.relu<n>`.
    pub fn conv_bn_relu(
        &mut self,
        scope: &str,
        n: &str,
        x: ValueId,
        channels: usize,
        kernel: usize,
        stride: usize,
    ) -> Result<ValueId, GraphError> {
        let x = self.conv_bn(scope, n, x, channels, kernel, stride)?;
        self.relu(&format!("{scope}.relu{n}"), x)
    }

    /// Two 3x3 convolutions, the first with `stride`, and a shortcut around them; ReLU after the sum (He 2015).
    pub fn basic_block(
        &mut self,
        scope: &str,
        x: ValueId,
        channels: usize,
        stride: usize,
        shortcut: Shortcut,
    ) -> Result<ValueId, GraphError> {
        let mut branch = self.conv_bn_relu(scope, "1", x, channels, 3, stride)?;
        branch = self.conv_bn(scope, "2", branch, channels, 3, 1)?;
        if let Some(shortcut) = self.shortcut(scope, x, channels, stride, shortcut)? {
            branch = self.graph.push(format!("{scope}.add"), Op::Add, &[branch, shortcut])?;
        }
        self.relu(&format!("{scope}.relu2"), branch)
    }

    /// What a block adds to its last convolution, made from the block's input `x`; `None` in a plain network.
    pub fn shortcut(
        &mut self,
        scope: &str,
        x: ValueId,
        channels: usize,
        stride: usize,
        shortcut: Shortcut,
    ) -> Result<Option<ValueId>, GraphError> {
        let [inputs, height, width] = self.map_dims(scope, "Add", x)?;
        let changes = stride != 1 || inputs != channels;
        let scope = format!("{scope}.shortcut");
        Ok(match shortcut {
            Shortcut::None => None,
            Shortcut::Projection { bias, batch_norm } if changes => {
                let x = self.conv(&format!("{scope}.conv"), x, channels, 1, stride, bias)?;
                Some(if batch_norm { self.batch_norm(&format!("{scope}.bn"), x)? } else { x })
            }
            Shortcut::ZeroPad if changes => {
                let mut x = x;
                if stride != 1 {
                    let slice = Slice { start: [0; 3], end: [inputs, height, width], step: [1, stride, stride] };
                    x = self.graph.push(format!("{scope}.slice"), Op::Slice(slice), &[x])?;
                }
                if channels > inputs {
                    let before = (channels - inputs) / 2;
                    let pad = Pad { before: [before, 0, 0], after: [channels - inputs - before, 0, 0] };
                    x = self.graph.push(format!("{scope}.pad"), Op::Pad(pad), &[x])?;
                }
                Some(x)
            }
            _ => Some(x),
        })
    }

    /// Global average pool and linear layer: the scores of `classes` classes.
    pub fn head(&mut self, x: ValueId, classes: usize) -> Result<ValueId, GraphError> {
        let x = self.graph.push("head.pool", Op::GlobalAveragePool, &[x])?;
        let x = self.graph.push("head.flatten", Op::Flatten, &[x])?;
        let features = self.graph.dims(x)[0];
        let weight = self.weights.weight(&[classes, features]);
        let weight = self.graph.parameter("head.linear.weight", weight, true)?;
        let bias = self.graph.parameter("head.linear.bias", Tensor::filled([classes], 0.0), true)?;
        self.graph.push_named("head.linear", Op::Gemm, &[x, weight, bias], "scores")
    }

    /// The finished network, which ends in `scores`.
    ///
    /// # Errors
    /// [`GraphError::Output`] if `scores` is not a vector.
    pub fn finish(self, scores: ValueId) -> Result<Graph, GraphError> {
        self.graph.finish(scores)
    }

    /// Zeros before and after one axis of `size`.
    fn pads(&self, size: usize, kernel: usize, stride: usize) -> (usize, usize) {
        match self.style.padding {
            Padding::Symmetric => (kernel / 2, kernel / 2),
            Padding::Same => {
                let total = ((size.div_ceil(stride) - 1) * stride + kernel).saturating_sub(size);
                (total / 2, total - total / 2)
            }
        }
    }

    fn map_dims(&self, node: &str, op: &'static str, x: ValueId) -> Result<[usize; 3], GraphError> {
        self.graph.dims(x).try_into().map_err(|_| GraphError::Operands {
            node: node.into(),
            op,
            reason: format!("input has dimensions {:?}, must be [channels, height, width]", self.graph.dims(x)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conv_of(graph: &Graph, name: &str) -> Conv {
        let node = graph.nodes().iter().find(|node| node.name == name).expect(name);
        let Op::Conv(conv) = &node.op else { panic!("{name} is {}", node.op.name()) };
        conv.clone()
    }

    #[test]
    fn same_padding_puts_the_odd_row_last() {
        for (size, kernel, stride, pads, out) in [
            (8, 3, 1, [1, 1], 8),
            (8, 3, 2, [0, 1], 4),
            (7, 3, 2, [1, 1], 4),
            (8, 1, 2, [0, 0], 4),
            (8, 7, 2, [2, 3], 4),
        ] {
            let mut net = Net::new("net", [1, size, size], Style::KERAS, None).unwrap();
            let x = net.conv("conv", net.input(), 4, kernel, stride, true).unwrap();
            assert_eq!(net.graph.dims(x), [4, out, out], "{size} {kernel} {stride}");
            let x = net.head(x, 2).unwrap();
            let conv = conv_of(&net.finish(x).unwrap(), "conv");
            assert_eq!(conv.pads, [pads[0], pads[0], pads[1], pads[1]], "{size} {kernel} {stride}");
        }
    }

    #[test]
    fn shortcuts_fit_odd_maps_and_odd_channel_counts() {
        for shortcut in [Shortcut::ZeroPad, Shortcut::PROJECTION] {
            for style in [Style::PYTORCH, Style::KERAS] {
                let mut net = Net::new("net", [3, 9, 7], style, None).unwrap();
                let x = net.basic_block("block", net.input(), 8, 2, shortcut).unwrap();
                assert_eq!(net.graph.dims(x), [8, 5, 4]);
            }
        }
    }

    #[test]
    fn an_identity_that_does_not_fit_is_an_error_that_names_the_block() {
        let mut net = Net::new("net", [3, 8, 8], Style::PYTORCH, None).unwrap();
        let error = net.basic_block("stage1.block1", net.input(), 8, 1, Shortcut::Identity).unwrap_err();
        assert!(error.to_string().contains("stage1.block1.add"), "{error}");
    }
}
