//! The operators of a [`Graph`](crate::Graph), with the meaning that ONNX gives them.
//!
//! Attributes speak of one image: spatial axes are (height, width), and the batch dimension, which every activation
//! has in front, is never named.

/// An operator with its attributes. Inputs are listed in ONNX's order.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Convolution. Inputs: `x [C, H, W]`, `weight [O, C / groups, KH, KW]`, optionally `bias [O]`.
    Conv(Conv),
    /// Batch normalization over channels. Inputs: `x [C, H, W]`, `gamma`, `beta`, `mean`, `variance`, each `[C]`.
    BatchNorm {
        /// Added to the variance under the root.
        epsilon: f32,
    },
    /// `max(x, 0)`.
    Relu,
    /// Sum of two tensors of one shape.
    Add,
    /// Mean over each channel's map: `[C, H, W]` to `[C, 1, 1]`.
    GlobalAveragePool,
    /// `[C, H, W]` to `[C * H * W]`, channel-major.
    Flatten,
    /// Linear layer `x * weight^T + bias`. Inputs: `x [I]`, `weight [O, I]`, optionally `bias [O]`.
    Gemm,
    /// Strided sub-tensor.
    Slice(Slice),
    /// Zero padding.
    Pad(Pad),
}

impl Op {
    /// The operator's name in the ONNX specification.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Conv(_) => "Conv",
            Op::BatchNorm { .. } => "BatchNormalization",
            Op::Relu => "Relu",
            Op::Add => "Add",
            Op::GlobalAveragePool => "GlobalAveragePool",
            Op::Flatten => "Flatten",
            Op::Gemm => "Gemm",
            Op::Slice(_) => "Slice",
            Op::Pad(_) => "Pad",
        }
    }
}

/// Attributes of a convolution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conv {
    /// Kernel height and width.
    pub kernel: [usize; 2],
    /// Vertical and horizontal stride.
    pub stride: [usize; 2],
    /// Zero rows and columns added at top, left, bottom, right.
    pub pads: [usize; 4],
    /// Number of groups into which input and output channels are split.
    pub groups: usize,
}

impl Conv {
    /// A square kernel with equal strides and symmetric padding, in one group.
    pub fn square(kernel: usize, stride: usize, pad: usize) -> Self {
        Self { kernel: [kernel; 2], stride: [stride; 2], pads: [pad; 4], groups: 1 }
    }
}

/// Attributes of a strided slice over (channels, height, width): elements `start, start + step, ...` below `end`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// First element of each axis.
    pub start: [usize; 3],
    /// One past the last element that may be taken.
    pub end: [usize; 3],
    /// Distance between elements, at least 1.
    pub step: [usize; 3],
}

/// Attributes of zero padding over (channels, height, width).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pad {
    /// Zeros before the first element of each axis.
    pub before: [usize; 3],
    /// Zeros after the last element of each axis.
    pub after: [usize; 3],
}
