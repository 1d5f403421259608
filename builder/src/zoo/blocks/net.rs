//! A network under construction, and its simplest parts.

use super::{Convolution, Padding, Style};
use crate::zoo::init::Initializer;
use skipstone_onnx::{Conv, Coordinates, Graph, GraphBuilder, GraphError, Op, Resize, Tensor, ValueId, Window};

/// A network under construction.
///
/// Names follow the structure: within `scope` the parts are `conv<n>`, `bn<n>`, `relu<n>`, and parameters hang below
/// their node: `stage2.block1.conv1.weight`, `stage2.block1.bn1.gamma`. All methods fail as
/// [`GraphBuilder::push`] does: two parts of one name, or operands whose shapes do not fit.
#[derive(Debug)]
pub struct Net {
    pub(super) graph: GraphBuilder,
    pub(super) style: Style,
    weights: Initializer,
}

impl Net {
    /// An empty network over images `[C, H, W]`. Without a seed all weights are zero.
    ///
    /// # Errors
    /// [`GraphError::EmptyDimension`], [`GraphError::TooLarge`].
    pub fn new(name: &str, input: [usize; 3], style: Style, seed: Option<u64>) -> Result<Self, GraphError> {
        let graph = GraphBuilder::new(name, "image", input)?;
        Ok(Self { graph, style, weights: Initializer::new(style.init, seed) })
    }

    /// The image.
    pub fn input(&self) -> ValueId {
        self.graph.input()
    }

    /// Dimensions of a value: `[C, H, W]` or `[features]`.
    pub fn dims(&self, x: ValueId) -> &[usize] {
        self.graph.dims(x)
    }

    /// The graph so far, for parts that are not here.
    pub fn graph_mut(&mut self) -> &mut GraphBuilder {
        &mut self.graph
    }

    /// A convolution.
    pub fn conv(&mut self, name: &str, x: ValueId, shape: Convolution) -> Result<ValueId, GraphError> {
        let Style { padding, conv_bias, .. } = self.style;
        self.conv_with(name, x, shape, padding, conv_bias)
    }

    /// A convolution with a padding and, if wanted, a bias of its own.
    pub fn conv_with(
        &mut self,
        name: &str,
        x: ValueId,
        shape: Convolution,
        padding: Padding,
        bias: bool,
    ) -> Result<ValueId, GraphError> {
        let Convolution { channels, kernel, stride, groups } = shape;
        let [inputs, height, width] = self.map_dims(name, "Conv", x)?;
        let pads = pads(padding, [height, width], kernel, stride);
        let conv = Conv { kernel: [kernel; 2], stride: [stride; 2], pads, groups };
        let weight = self.weights.weight(&[channels, inputs / groups.max(1), kernel, kernel]);
        let mut operands = vec![x, self.graph.parameter(format!("{name}.weight"), weight, true)?];
        if bias {
            operands.push(self.graph.parameter(format!("{name}.bias"), Tensor::filled([channels], 0.0), true)?);
        }
        self.graph.push(name, Op::Conv(conv), &operands)
    }

    /// A batch norm that starts as the identity on standardized data: gamma 1, beta 0, mean 0, variance 1.
    pub fn batch_norm(&mut self, name: &str, x: ValueId) -> Result<ValueId, GraphError> {
        self.batch_norm_from(name, x, 1.0)
    }

    /// A batch norm that starts with another gamma.
    pub(super) fn batch_norm_from(&mut self, name: &str, x: ValueId, gamma: f32) -> Result<ValueId, GraphError> {
        let [channels, ..] = self.map_dims(name, "BatchNormalization", x)?;
        let mut operands = vec![x];
        let learns = self.style.learns_gamma;
        for (part, start, trainable) in
            [("gamma", gamma, learns), ("beta", 0.0, true), ("mean", 0.0, false), ("variance", 1.0, false)]
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

    /// `a + b`.
    pub fn add(&mut self, name: &str, a: ValueId, b: ValueId) -> Result<ValueId, GraphError> {
        self.graph.push(name, Op::Add, &[a, b])
    }

    /// `a * b`.
    pub fn mul(&mut self, name: &str, a: ValueId, b: ValueId) -> Result<ValueId, GraphError> {
        self.graph.push(name, Op::Mul, &[a, b])
    }

    /// `1 / (1 + exp(-x))`.
    pub fn sigmoid(&mut self, name: &str, x: ValueId) -> Result<ValueId, GraphError> {
        self.graph.push(name, Op::Sigmoid, &[x])
    }

    /// Each position's channels divided by their Euclidean norm; 0 where all are.
    pub fn l2_norm(&mut self, name: &str, x: ValueId) -> Result<ValueId, GraphError> {
        self.graph.push(name, Op::L2Norm, &[x])
    }

    /// Each channel's map brought to mean 0 and variance 1; `epsilon` is added to its variance.
    pub fn instance_norm(&mut self, name: &str, x: ValueId, epsilon: f32) -> Result<ValueId, GraphError> {
        self.graph.push(name, Op::InstanceNorm { epsilon }, &[x])
    }

    /// The channels of `a`, then those of `b`.
    pub fn concat(&mut self, name: &str, a: ValueId, b: ValueId) -> Result<ValueId, GraphError> {
        self.graph.push(name, Op::Concat, &[a, b])
    }

    /// Largest element of square windows; padding never is.
    pub fn max_pool(
        &mut self,
        name: &str,
        x: ValueId,
        kernel: usize,
        stride: usize,
        padding: Padding,
    ) -> Result<ValueId, GraphError> {
        let [_, height, width] = self.map_dims(name, "MaxPool", x)?;
        let window = window(padding, [height, width], kernel, stride);
        self.graph.push(name, Op::MaxPool(window), &[x])
    }

    /// Mean of square windows, over their elements inside the map.
    pub fn average_pool(
        &mut self,
        name: &str,
        x: ValueId,
        kernel: usize,
        stride: usize,
        padding: Padding,
    ) -> Result<ValueId, GraphError> {
        let [_, height, width] = self.map_dims(name, "AveragePool", x)?;
        let window = window(padding, [height, width], kernel, stride);
        self.graph.push(name, Op::AveragePool { window, count_include_pad: false }, &[x])
    }

    /// Bilinear interpolation, corners aligned, to the height and width of `like`.
    pub fn resize_like(&mut self, name: &str, x: ValueId, like: ValueId) -> Result<ValueId, GraphError> {
        let [_, height, width] = self.map_dims(name, "Resize", like)?;
        let resize = Resize::new([height, width], Coordinates::AlignCorners);
        self.graph.push(name, Op::Resize(resize), &[x])
    }

    /// Zeroes elements in training with probability `rate`; nothing at rate 0.
    pub fn dropout(&mut self, name: &str, x: ValueId, rate: f32) -> Result<ValueId, GraphError> {
        if rate == 0.0 { Ok(x) } else { self.graph.push(name, Op::Dropout { rate }, &[x]) }
    }

    /// Zeroes whole images in training with probability `rate`; nothing at rate 0.
    pub fn stochastic_depth(&mut self, name: &str, x: ValueId, rate: f32) -> Result<ValueId, GraphError> {
        if rate == 0.0 { Ok(x) } else { self.graph.push(name, Op::StochasticDepth { rate }, &[x]) }
    }

    /// `scope.conv<n>`, `scope.bn<n>`.
    pub fn conv_bn(&mut self, scope: &str, n: &str, x: ValueId, shape: Convolution) -> Result<ValueId, GraphError> {
        let x = self.conv(&format!("{scope}.conv{n}"), x, shape)?;
        self.batch_norm(&format!("{scope}.bn{n}"), x)
    }

    /// `scope.conv<n>`, `scope.bn<n>`, `scope.relu<n>`.
    pub fn conv_bn_relu(
        &mut self,
        scope: &str,
        n: &str,
        x: ValueId,
        shape: Convolution,
    ) -> Result<ValueId, GraphError> {
        let x = self.conv_bn(scope, n, x, shape)?;
        self.relu(&format!("{scope}.relu{n}"), x)
    }

    /// `scope.bn<n>`, `scope.relu<n>`.
    pub fn bn_relu(&mut self, scope: &str, n: &str, x: ValueId) -> Result<ValueId, GraphError> {
        let x = self.batch_norm(&format!("{scope}.bn{n}"), x)?;
        self.relu(&format!("{scope}.relu{n}"), x)
    }

    /// Global average pool and linear layer: the scores of `classes` classes.
    pub fn head(&mut self, x: ValueId, classes: usize) -> Result<ValueId, GraphError> {
        self.head_after(Op::GlobalAveragePool, x, classes)
    }

    /// As [`Net::head`], with another global pool.
    pub fn head_after(&mut self, pool: Op, x: ValueId, classes: usize) -> Result<ValueId, GraphError> {
        let x = self.graph.push("head.pool", pool, &[x])?;
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

    pub(super) fn map_dims(&self, node: &str, op: &'static str, x: ValueId) -> Result<[usize; 3], GraphError> {
        self.graph.dims(x).try_into().map_err(|_| GraphError::Operands {
            node: node.into(),
            op,
            reason: format!("input has dimensions {:?}, must be [channels, height, width]", self.graph.dims(x)),
        })
    }
}

fn window(padding: Padding, size: [usize; 2], kernel: usize, stride: usize) -> Window {
    let pads = pads(padding, size, kernel, stride);
    Window { kernel: [kernel; 2], stride: [stride; 2], pads, ceil_mode: false }
}

/// Zeros at top, left, bottom, right.
fn pads(padding: Padding, [height, width]: [usize; 2], kernel: usize, stride: usize) -> [usize; 4] {
    let (top, bottom) = padding.zeros(height, kernel, stride);
    let (left, right) = padding.zeros(width, kernel, stride);
    [top, left, bottom, right]
}

#[cfg(test)]
mod tests {
    use super::super::conv1x1;
    use super::*;

    #[test]
    fn padding_follows_each_convention() {
        use Padding::{Ceil, Same, Symmetric, Valid};
        for (padding, size, kernel, stride, pads, out) in [
            (Same, 8, 3, 1, [1, 1], 8),
            (Same, 8, 3, 2, [0, 1], 4),
            (Same, 7, 3, 2, [1, 1], 4),
            (Same, 8, 1, 2, [0, 0], 4),
            (Same, 8, 7, 2, [2, 3], 4),
            (Symmetric, 8, 3, 2, [1, 1], 4),
            (Symmetric, 7, 7, 2, [3, 3], 4),
            (Ceil, 8, 3, 2, [0, 1], 4),
            (Ceil, 7, 3, 2, [0, 0], 3),
            (Ceil, 2, 3, 2, [0, 1], 1),
            (Ceil, 7, 2, 2, [0, 1], 4),
            (Valid, 7, 2, 2, [0, 0], 3),
        ] {
            let style = Style { padding, ..Style::KERAS };
            let mut net = Net::new("net", [1, size, size], style, None).unwrap();
            let x = net.conv("conv", net.input(), conv1x1(4).kernel(kernel).stride(stride)).unwrap();
            assert_eq!(net.dims(x), [4, out, out], "{padding:?} {size} {kernel} {stride}");
            let x = net.head(x, 2).unwrap();
            let graph = net.finish(x).unwrap();
            let Op::Conv(conv) = &graph.nodes()[0].op else { panic!("{:?}", graph.nodes()[0]) };
            assert_eq!(conv.pads, [pads[0], pads[0], pads[1], pads[1]], "{padding:?} {size} {kernel} {stride}");
        }
    }

    #[test]
    fn groups_that_do_not_divide_the_channels_are_an_error_that_names_the_convolution() {
        for groups in [0, 2] {
            let mut net = Net::new("net", [3, 8, 8], Style::PYTORCH, None).unwrap();
            let error = net.conv("stem.conv", net.input(), conv1x1(8).groups(groups)).unwrap_err();
            assert!(error.to_string().contains("stem.conv"), "{error}");
        }
    }
}
