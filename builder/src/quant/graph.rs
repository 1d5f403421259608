//! The quantized network: what is computed in integers, apart from where it lies in memory.

use skipstone_onnx::Metadata;
use skipstone_runtime::arith::Requant;

/// Index of a tensor in [`QGraph::tensors`].
pub type TensorIndex = usize;

/// An int8 feature map: real value = `scale * (q - zero_point)`.
#[derive(Clone, Debug, PartialEq)]
pub struct QTensor {
    /// Name of the float network's value with the same contents; unique.
    pub name: String,
    /// Channels, height, width of one image; `[features, 1, 1]` for vectors.
    pub dims: [usize; 3],
    /// Real value of one step; positive and finite.
    pub scale: f32,
    /// The int8 value of the real number 0.
    pub zero_point: i8,
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
    /// Bias of each output channel, in units of input scale x weight scale.
    pub bias: Vec<i32>,
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
    /// Copy of every `stride`-th row and pixel, with zero channels before (and, up to the output's channels, behind).
    Shortcut {
        /// Vertical and horizontal stride.
        stride: [usize; 2],
        /// Zero channels before the copied ones.
        channels_before: usize,
    },
}

impl QOp {
    /// The operator's name for messages.
    pub fn name(&self) -> &'static str {
        match self {
            QOp::Conv(_) => "Conv",
            QOp::Add => "Add",
            QOp::GlobalAveragePool => "GlobalAveragePool",
            QOp::Shortcut { .. } => "Shortcut",
        }
    }
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
    /// Second operand: the residual of a convolution, or the other term of a sum.
    pub operand: Option<TensorIndex>,
    /// Result.
    pub output: TensorIndex,
    /// Smallest output value: the output's zero point behind a ReLU, else -128.
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
    /// Number of scores.
    pub fn class_count(&self) -> usize {
        self.tensors[self.output].dims[0]
    }
}
