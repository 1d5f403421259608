//! One integer operator, in terms of the float network.

use crate::quant::graph::{Function, QCopy};
use skipstone_onnx::{Node, Resize, ValueId, Window};

/// What one integer operator does.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum StepOp {
    /// A convolution, or a linear layer over the whole map.
    Conv,
    /// A sum that no convolution takes over.
    Add,
    /// A global average pool.
    GlobalAveragePool,
    /// A slice, a padding, or both.
    Copy(QCopy),
    /// A batch normalization.
    Affine,
    /// Largest elements of windows.
    MaxPool {
        /// The windows.
        window: Window,
        /// Whether padding counts.
        count_include_pad: bool,
    },
    /// Means of windows.
    AveragePool {
        /// The windows.
        window: Window,
        /// Whether padding counts.
        count_include_pad: bool,
    },
    /// A function of each element.
    Lookup(Function),
    /// `mask * trunk`, or `(1 + mask) * trunk`.
    Gate {
        /// Whether it is the second.
        one_plus: bool,
    },
    /// Interpolation.
    Resize(Resize),
    /// Maps side by side.
    Concat,
    /// Each pixel's channels over their norm.
    L2Norm,
    /// Channels as blocks of pixels, or blocks as channels.
    Blocks,
    /// Each channel's map, standardized.
    InstanceNorm {
        /// Added to the variance.
        epsilon: f32,
    },
    /// Those of each group of channels, standardized together.
    GroupNorm {
        /// Number of groups.
        groups: usize,
        /// Added to the variance.
        epsilon: f32,
    },
}

impl StepOp {
    /// Whether the operator rounds or compares, and can then clamp its result too.
    pub(super) fn clamps(&self) -> bool {
        !matches!(self, Self::Copy(_) | Self::Blocks | Self::Lookup(_) | Self::Concat)
    }

    pub(crate) fn is_sigmoid(&self) -> bool {
        matches!(self, Self::Lookup(Function::Sigmoid))
    }

    /// Whether the result is a mean of elements.
    pub(crate) fn averages(&self) -> bool {
        matches!(self, Self::GlobalAveragePool | Self::AveragePool { .. } | Self::Resize(_))
    }

    /// Whether the result has the scale and the zero point of all that is read.
    pub(crate) fn keeps_scale(&self) -> bool {
        matches!(self, Self::Copy(_) | Self::Blocks | Self::MaxPool { .. } | Self::Concat)
    }
}

/// Bounds of a result, in real numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Clamp {
    pub(crate) lo: f32,
    pub(crate) hi: f32,
}

impl Clamp {
    /// No bounds.
    pub(crate) const NONE: Self = Self { lo: f32::NEG_INFINITY, hi: f32::INFINITY };

    /// This clamp, followed by another one.
    pub(super) fn then(self, next: Self) -> Self {
        Self { lo: self.lo.clamp(next.lo, next.hi), hi: self.hi.clamp(next.lo, next.hi) }
    }
}

/// A batch normalization that a convolution applies as it reads.
#[derive(Clone, Debug)]
pub(crate) struct Prologue<'g> {
    pub(crate) node: &'g Node,
    /// Its result, after the clamp.
    pub(crate) value: ValueId,
    pub(crate) clamp: Clamp,
}

/// One integer operator.
#[derive(Clone, Debug)]
pub(crate) struct Step<'g> {
    pub(crate) op: StepOp,
    /// The float operator that does the work and gives its name.
    pub(crate) node: &'g Node,
    /// Of a convolution, whose input then is the normalization's.
    pub(crate) prologue: Option<Prologue<'g>>,
    pub(crate) input: ValueId,
    /// The residual of a convolution, the other term of a sum, the trunk of a gate, the second map of a concatenation.
    pub(crate) operand: Option<ValueId>,
    /// Further maps of a concatenation.
    pub(crate) rest: Vec<ValueId>,
    /// The value that the step makes: after the sum and the clamp that it took over.
    pub(crate) output: ValueId,
    /// Channels, height, width of the result.
    pub(crate) dims: [usize; 3],
    pub(crate) clamp: Clamp,
}

impl Step<'_> {
    /// All that is read, in order.
    pub(crate) fn reads(&self) -> impl Iterator<Item = ValueId> {
        [self.input].into_iter().chain(self.operand).chain(self.rest.iter().copied())
    }
}
