//! The operators of a [`Graph`](crate::Graph), with the meaning that ONNX gives them.
//!
//! Functions of single elements that are less common than those of [`Op`] itself are in [`unary`](crate::unary).
//!
//! Attributes speak of one image: spatial axes are (height, width), and the batch dimension, which every activation
//! has in front, is never named.

use crate::resize::Resize;
use crate::unary::Unary;

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
    /// `min(max(x, min), max)`; a side without a limit has an infinite one.
    Clip {
        /// The lower limit.
        min: f32,
        /// The upper limit, not below the lower one.
        max: f32,
    },
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// A function of each element.
    Unary(Unary),
    /// `x / ||x||`: each position's channels (or a vector's features) divided by their Euclidean norm; 0 where all are.
    L2Norm,
    /// `(x - mean) / sqrt(variance + epsilon)` over each channel's map `[H, W]`, without parameters.
    InstanceNorm {
        /// Added to the variance under the root, above 0.
        epsilon: f32,
    },
    /// As [`Op::InstanceNorm`], over the maps of all channels of a group together.
    GroupNorm {
        /// Number of groups into which the channels are split.
        groups: usize,
        /// Added to the variance under the root, above 0.
        epsilon: f32,
    },
    /// Softmax over the features of a vector. A network never ends in it: its output are the scores.
    Softmax,
    /// Sum of two tensors of one shape.
    Add,
    /// Product, element by element, of two tensors of one shape; or of a map `[C, H, W]` and a gate `[C, 1, 1]`, in
    /// either order, each channel multiplied by its gate.
    Mul,
    /// Any number of inputs side by side along the channels (or, for vectors, the features).
    Concat,
    /// Largest element of each window; padding never is.
    MaxPool(Window),
    /// Mean of each window.
    AveragePool {
        /// The windows.
        window: Window,
        /// Whether padding counts as zeros. Otherwise a window's sum is divided by its elements inside the map.
        /// Positions beyond the padding, which only `ceil_mode` reaches, never count.
        count_include_pad: bool,
    },
    /// Mean over each channel's map: `[C, H, W]` to `[C, 1, 1]`.
    GlobalAveragePool,
    /// Largest element of each channel's map: `[C, H, W]` to `[C, 1, 1]`.
    GlobalMaxPool,
    /// Interpolation to another height and width: bilinear, bicubic, or by the nearest pixel.
    Resize(Resize),
    /// `[C, H, W]` to `[C * H * W]`, channel-major.
    Flatten,
    /// Linear layer `x * weight^T + bias`. Inputs: `x [I]`, `weight [O, I]`, optionally `bias [O]`.
    Gemm,
    /// Strided sub-tensor.
    Slice(Slice),
    /// Zero padding.
    Pad(Pad),
    /// Padding of rows and columns with copies of the map's own.
    BorderPad(BorderPad),
    /// Channels as blocks of pixels: `[B * C, H, W]` to `[C, rows * H, columns * W]` with blocks of `B = rows * columns`
    /// pixels. Channels are ordered by row in the block, column in the block, channel of the result.
    DepthToSpace {
        /// Rows and columns of a block.
        block: [usize; 2],
    },
    /// Blocks of pixels as channels: undoes [`Op::DepthToSpace`].
    SpaceToDepth {
        /// Rows and columns of a block.
        block: [usize; 2],
    },
    /// In training, zeroes each element with a probability and scales the others by `1 / (1 - rate)`; in evaluation
    /// the identity.
    Dropout {
        /// The probability, below 1.
        rate: f32,
    },
    /// Stochastic depth: in training, zeroes all of an image's elements together with a probability, and scales those
    /// of other images by `1 / (1 - rate)`; in evaluation the identity. Stands at the end of a residual branch.
    StochasticDepth {
        /// The probability, below 1.
        rate: f32,
    },
}

impl Op {
    /// The operator's name in the ONNX specification; `Dropout` for stochastic depth, which has none of its own.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Conv(_) => "Conv",
            Op::BatchNorm { .. } => "BatchNormalization",
            Op::Relu => "Relu",
            Op::Clip { .. } => "Clip",
            Op::Sigmoid => "Sigmoid",
            Op::Unary(unary) => unary.name(),
            Op::L2Norm => "LpNormalization",
            Op::InstanceNorm { .. } => "InstanceNormalization",
            Op::GroupNorm { .. } => "GroupNormalization",
            Op::Softmax => "Softmax",
            Op::Add => "Add",
            Op::Mul => "Mul",
            Op::Concat => "Concat",
            Op::MaxPool(_) => "MaxPool",
            Op::AveragePool { .. } => "AveragePool",
            Op::GlobalAveragePool => "GlobalAveragePool",
            Op::GlobalMaxPool => "GlobalMaxPool",
            Op::Resize(_) => "Resize",
            Op::Flatten => "Flatten",
            Op::Gemm => "Gemm",
            Op::Slice(_) => "Slice",
            Op::Pad(_) | Op::BorderPad(_) => "Pad",
            Op::DepthToSpace { .. } => "DepthToSpace",
            Op::SpaceToDepth { .. } => "SpaceToDepth",
            Op::Dropout { .. } | Op::StochasticDepth { .. } => "Dropout",
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

/// The windows of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Height and width of a window.
    pub kernel: [usize; 2],
    /// Vertical and horizontal distance of windows.
    pub stride: [usize; 2],
    /// Rows and columns added at top, left, bottom, right; each less than the kernel, so that no window lies outside.
    pub pads: [usize; 4],
    /// Whether a last window that reaches beyond the padding counts too, unless it would start outside the map and its
    /// padding before it.
    pub ceil_mode: bool,
}

impl Window {
    /// Square windows with equal strides and symmetric padding.
    pub fn square(kernel: usize, stride: usize, pad: usize) -> Self {
        Self { kernel: [kernel; 2], stride: [stride; 2], pads: [pad; 4], ceil_mode: false }
    }

    /// Windows with a whole map of `[height, width]`.
    pub fn whole(size: [usize; 2]) -> Self {
        Self { kernel: size, stride: [1; 2], pads: [0; 4], ceil_mode: false }
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

/// Attributes of a padding with copies of a map's rows and columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BorderPad {
    /// Rows and columns added at top, left, bottom, right.
    pub pads: [usize; 4],
    /// Which ones are copied.
    pub border: Border,
}

/// What continues an axis beyond its ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Border {
    /// The elements before the last one, in reverse: `c b | a b c | b a`.
    Reflect,
    /// The last element: `a a | a b c | c c`.
    Edge,
    /// The elements from the other end on: `b c | a b c | a b`.
    Wrap,
}

impl Border {
    /// Of an axis of `size` elements and `before` elements of padding the element that stands at `index`.
    pub fn source(self, index: usize, before: usize, size: usize) -> usize {
        let last = size - 1;
        let inside = index.saturating_sub(before).min(last);
        match self {
            Border::Edge => inside,
            Border::Wrap => (index + size - before) % size,
            Border::Reflect if index < before => before - index,
            Border::Reflect => inside - (index - before - inside),
        }
    }
}
