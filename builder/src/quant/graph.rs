//! The quantized network: what is computed in integers, apart from where it lies in memory.

use skipstone_onnx::{Metadata, QuantParams, Resize, Unary, Window};
use skipstone_runtime::arith::Requant;
use skipstone_runtime::format::records::PadMode;
use skipstone_runtime::rows::Copied;

/// Index of a tensor in [`QGraph::tensors`].
pub type TensorIndex = usize;

/// An int8 feature map.
#[derive(Clone, Debug, PartialEq)]
pub struct QTensor {
    /// Name of the float network's value with the same contents; unique.
    pub name: String,
    /// Channels, height, width of one image; `[features, 1, 1]` for vectors.
    pub dims: [usize; 3],
    /// What its integers stand for.
    pub params: QuantParams,
}

/// An integer convolution over logical (unpadded) channels.
#[derive(Clone, Debug, PartialEq)]
pub struct QConv {
    /// Kernel height and width.
    pub kernel: [usize; 2],
    /// Vertical and horizontal stride.
    pub stride: [usize; 2],
    /// Rows and columns of the zero point added at top, left, bottom, right.
    pub pads: [usize; 4],
    /// Number of groups.
    pub groups: usize,
    /// OHWI: `[output][kernel row][kernel column][input channel of the group]`, -127..=127.
    pub weights: Vec<i8>,
    /// Real value of one step of the weights of each output channel.
    pub weight_scales: Vec<f32>,
    /// Bias of each output channel, in units of input scale x weight scale, or of a scale of its own.
    pub bias: Vec<i32>,
    /// The scale of a bias that has one of its own.
    pub bias_scales: Vec<Option<f32>>,
    /// The affine through which the convolution reads its input: `input scale` above is then that of its result.
    pub prologue: Option<Box<QPrologue>>,
}

impl QConv {
    /// Weights of an output channel.
    pub fn channel(&self, channel: usize) -> &[i8] {
        let per_channel = self.weights.len() / self.bias.len();
        &self.weights[channel * per_channel..][..per_channel]
    }

    /// The real value of a channel's bias. `input_scale` is that of what the weights are multiplied with.
    pub fn real_bias(&self, channel: usize, input_scale: f32) -> f64 {
        let product = f64::from(input_scale) * f64::from(self.weight_scales[channel]);
        f64::from(self.bias[channel]) * self.bias_scales[channel].map_or(product, f64::from)
    }
}

/// `factor * x + constant` for each channel, in real numbers: a batch normalization.
#[derive(Clone, Debug, PartialEq)]
pub struct QAffine {
    /// Of either sign.
    pub factors: Vec<f32>,
    /// In the result's unit.
    pub constants: Vec<f32>,
}

/// What is copied of a map, along (channels, height, width): elements `start`, `start + step`, ... and padding around them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QCopy {
    /// First element of each axis.
    pub start: [usize; 3],
    /// From one element to the next.
    pub step: [usize; 3],
    /// Elements of padding before the first one.
    pub before: [usize; 3],
    /// Elements of padding after the last one.
    pub after: [usize; 3],
    /// What the padding is.
    pub mode: PadMode,
}

impl QCopy {
    /// The map as it is.
    pub const WHOLE: Self = Self { start: [0; 3], step: [1; 3], before: [0; 3], after: [0; 3], mode: PadMode::Zero };

    /// The element of the map that element `index` of `axis` of the result, of `size` elements, is; `None` for a zero.
    pub fn source(&self, axis: usize, size: usize, index: usize) -> Option<usize> {
        let (before, after) = (self.before[axis], self.after[axis]);
        let (first, stride, count) = (self.start[axis], self.step[axis], size - before - after);
        Copied { first, stride, count, before, after, mode: self.mode }.source(index)
    }
}

/// An affine that is applied as a convolution reads its input. Its result is rounded to int8, but never lies in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct QPrologue {
    /// Name of the float network's node that it stands for.
    pub name: String,
    /// The affine, one factor and constant for each channel of the convolution's input.
    pub affine: QAffine,
    /// Name, shape, scale and zero point of its result.
    pub tensor: QTensor,
    /// Smallest value of the result.
    pub lo: i8,
    /// Largest value of the result.
    pub hi: i8,
}

/// A function of one value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Function {
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// `min(max(x, lo), hi)`; either may be infinite.
    Clip {
        /// The lower limit.
        lo: f32,
        /// The upper limit.
        hi: f32,
    },
    /// Another activation.
    Unary(Unary),
}

impl Function {
    /// The value at `x`.
    pub fn at(self, x: f64) -> f64 {
        match self {
            Self::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Self::Clip { lo, hi } => x.max(lo.into()).min(hi.into()),
            Self::Unary(unary) => unary.value(x as f32).into(),
        }
    }
}

/// What a node computes.
#[derive(Clone, Debug, PartialEq)]
pub enum QOp {
    /// Convolution; with an operand, that tensor is added before the one rounding.
    Conv(QConv),
    /// Sum of input and operand.
    Add,
    /// Mean of each channel.
    GlobalAveragePool,
    /// Part of a map inside padding.
    Copy(QCopy),
    /// A factor and a constant for each channel.
    Affine(QAffine),
    /// Largest element of each window.
    MaxPool {
        /// The windows.
        window: Window,
        /// Whether padding counts, as zeros.
        count_include_pad: bool,
    },
    /// Mean of each window.
    AveragePool {
        /// The windows.
        window: Window,
        /// Whether padding counts, as zeros.
        count_include_pad: bool,
    },
    /// A function of each element, as a table of its values at -128..=127.
    Lookup {
        /// The function.
        function: Function,
        /// The results.
        table: Vec<i8>,
    },
    /// Product of the input, a mask, and the operand, the trunk. The mask may be one pixel.
    Gate {
        /// Whether the trunk is added to the product: `(1 + mask) * trunk`. One is then a whole number of steps of the
        /// mask.
        one_plus: bool,
    },
    /// Interpolation to the output's height and width.
    Resize(Resize),
    /// Channels of the input, then those of the operand. All three have one scale and zero point.
    Concat,
    /// Each pixel's channels, divided by their Euclidean norm; 0 where they are all 0.
    L2Norm,
    /// Channels as blocks of pixels where the output has more of these, otherwise blocks of pixels as channels; their order
    /// is row in the block, column in the block, channel of a pixel.
    Blocks,
    /// Each channel's map, less its mean, over its deviation.
    InstanceNorm {
        /// Added to the variance.
        epsilon: f32,
    },
    /// As [`QOp::InstanceNorm`], over the maps of a group's channels together.
    GroupNorm {
        /// Number of groups into which the channels are split.
        groups: usize,
        /// Added to the variance.
        epsilon: f32,
    },
}

impl QOp {
    /// The affine through which a convolution reads its input.
    pub fn prologue(&self) -> Option<&QPrologue> {
        match self {
            Self::Conv(conv) => conv.prologue.as_deref(),
            _ => None,
        }
    }

    /// The operator's name for messages.
    pub fn name(&self) -> &'static str {
        match self {
            QOp::Conv(_) => "Conv",
            QOp::Add => "Add",
            QOp::GlobalAveragePool => "GlobalAveragePool",
            QOp::Copy(_) => "Copy",
            QOp::Affine(_) => "Affine",
            QOp::MaxPool { .. } => "MaxPool",
            QOp::AveragePool { .. } => "AveragePool",
            QOp::Lookup { .. } => "Lookup",
            QOp::Gate { .. } => "Gate",
            QOp::Resize(_) => "Resize",
            QOp::Concat => "Concat",
            QOp::L2Norm => "L2Norm",
            QOp::Blocks => "Blocks",
            QOp::InstanceNorm { .. } => "InstanceNorm",
            QOp::GroupNorm { .. } => "GroupNorm",
        }
    }
}

/// Of what moves blocks between tensors of these dimensions: their size, and whether channels become pixels.
pub(crate) fn block(from: [usize; 3], to: [usize; 3]) -> ([usize; 2], bool) {
    let spreads = to[1] > from[1] || to[2] > from[2];
    let (few, many) = if spreads { (from, to) } else { (to, from) };
    ([many[1] / few[1], many[2] / few[2]], spreads)
}

/// A quantized operator with its clamp.
#[derive(Clone, Debug, PartialEq)]
pub struct QNode {
    /// Unique name: that of the float network's node that does the work.
    pub name: String,
    /// What is computed.
    pub op: QOp,
    /// First operand.
    pub input: TensorIndex,
    /// Second operand: the residual of a convolution, the other term of a sum, the trunk of a gate, the channels after
    /// the input's.
    pub operand: Option<TensorIndex>,
    /// Result.
    pub output: TensorIndex,
    /// Smallest output value: the output's zero point after a ReLU, else -128.
    pub lo: i8,
    /// Largest output value.
    pub hi: i8,
}

/// A quantized network with one input and one output; nodes in the order of execution.
#[derive(Clone, Debug, PartialEq)]
pub struct QGraph {
    /// The network's name.
    pub name: String,
    /// Feature maps; each is the input or the output of exactly one node.
    pub tensors: Vec<QTensor>,
    /// Operators, each after those that make its operands.
    pub nodes: Vec<QNode>,
    /// The normalized image.
    pub input: TensorIndex,
    /// The scores, `[classes, 1, 1]`.
    pub output: TensorIndex,
    /// Class names, normalization, provenance.
    pub metadata: Metadata,
    /// Conversion of raised pixels to int8, one for each channel of the image.
    pub pixels: Vec<Requant>,
    /// Multiply-accumulates of one image, over logical channels.
    pub macs: u64,
}

impl QGraph {
    /// What the weights of a convolution are multiplied with: its input, or the result of its prologue.
    pub fn factor<'g>(&'g self, node: &'g QNode) -> &'g QTensor {
        node.op.prologue().map_or(&self.tensors[node.input], |prologue| &prologue.tensor)
    }

    /// Number of scores.
    pub fn class_count(&self) -> usize {
        self.tensors[self.output].dims[0]
    }
}
