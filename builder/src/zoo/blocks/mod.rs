//! The parts that residual, dense and attention networks are made of.
//!
//! A [`Net`] is a [`GraphBuilder`](skipstone_onnx::GraphBuilder) that also makes the parameters: it knows the
//! network's conventions ([`Style`]) and draws the initial weights. A network of one's own is a few calls:
//!
//! ```
//! use skipstone::zoo::blocks::{Block, Net, Style, conv3x3};
//! # fn main() -> Result<(), skipstone_onnx::GraphError> {
//! let mut net = Net::new("tiny", [1, 8, 8], Style::PYTORCH, Some(1))?;
//! let mut x = net.conv_bn_relu("stem", "", net.input(), conv3x3(8))?;
//! x = net.block("stage1.block1", x, &Block::basic(8))?;
//! x = net.block("stage2.block1", x, &Block::basic(16).stride(2))?;
//! x = net.block("stage3.block1", x, &Block::bottleneck(16, 64).groups(4).stride(2))?;
//! let scores = net.head(x, 10)?;
//! let graph = net.finish(scores)?;
//! assert_eq!(graph.value(graph.output()).dims, [10]);
//! # Ok(()) }
//! ```

mod attention;
mod dense;
mod net;
mod residual;

pub use attention::{AttentionModule, MaskActivation};
pub use dense::DenseLayer;
pub use net::Net;
pub use residual::{Block, Branch, Order, Shortcut};

use super::init::Init;

/// Where zero padding goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// `kernel / 2` on all four sides (PyTorch's habit).
    Symmetric,
    /// As much as makes the output `ceil(size / stride)`, the odd one at the bottom and right (TensorFlow's `SAME`).
    Same,
    /// At the bottom and right only, as much as completes the last window (Caffe's pools; `ceil_mode`).
    Ceil,
    /// None: what does not fill a window is left out.
    Valid,
}

impl Padding {
    /// Zeros before and after one axis of `size`.
    pub(super) fn zeros(self, size: usize, kernel: usize, stride: usize) -> (usize, usize) {
        let missing = |outputs: usize| ((outputs - 1) * stride + kernel).saturating_sub(size);
        match self {
            Self::Symmetric => (kernel / 2, kernel / 2),
            Self::Same => {
                let total = missing(size.div_ceil(stride));
                (total / 2, total - total / 2)
            }
            Self::Ceil => (0, missing(size.saturating_sub(kernel).div_ceil(stride) + 1)),
            Self::Valid => (0, 0),
        }
    }
}

/// What the convolutions and batch norms of one network have in common.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Style {
    /// Whether convolutions have a bias, even before a batch norm.
    pub conv_bias: bool,
    /// Where the padding of convolutions goes.
    pub padding: Padding,
    /// Epsilon of the batch norms.
    pub epsilon: f32,
    /// Distribution of the initial weights.
    pub init: Init,
    /// Whether the last batch norm of a post-activation branch starts at gamma 0, so that each block starts as its
    /// shortcut.
    pub zero_gamma: bool,
    /// Whether batch norms learn gamma, their scale; else it stays 1.
    pub learns_gamma: bool,
}

impl Style {
    /// The conventions of PyTorch's small residual networks: no biases, symmetric padding, epsilon 1e-5, He normal.
    pub const PYTORCH: Self = Self {
        conv_bias: false,
        padding: Padding::Symmetric,
        epsilon: 1e-5,
        init: Init::HeNormal,
        zero_gamma: false,
        learns_gamma: true,
    };

    /// The same with the initial weights of the networks for ImageNet, in Torch as in torchvision.
    pub const TORCH: Self = Self { init: Init::HeFanOut, ..Self::PYTORCH };

    /// Those of airbench: Dirac filters, batch norms without a scale.
    pub const AIRBENCH: Self = Self { init: Init::Dirac, learns_gamma: false, ..Self::PYTORCH };

    /// Keras' conventions: biases, `SAME` padding, epsilon 1e-3, truncated He normal.
    pub const KERAS: Self =
        Self { conv_bias: true, padding: Padding::Same, epsilon: 1e-3, init: Init::HeTruncated, ..Self::PYTORCH };
}

/// A convolution with a square kernel, padded and biased as the network's [`Style`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Convolution {
    /// Channels of the result.
    pub channels: usize,
    /// Height and width of the kernel.
    pub kernel: usize,
    /// Vertical and horizontal stride.
    pub stride: usize,
    /// Groups into which the channels are split.
    pub groups: usize,
}

/// A 1x1 convolution of stride 1 to `channels`.
pub const fn conv1x1(channels: usize) -> Convolution {
    Convolution { channels, kernel: 1, stride: 1, groups: 1 }
}

/// A 3x3 convolution of stride 1 to `channels`.
pub const fn conv3x3(channels: usize) -> Convolution {
    Convolution { channels, kernel: 3, stride: 1, groups: 1 }
}

impl Convolution {
    /// The same with another kernel.
    pub const fn kernel(self, kernel: usize) -> Self {
        Self { kernel, ..self }
    }

    /// The same with another stride.
    pub const fn stride(self, stride: usize) -> Self {
        Self { stride, ..self }
    }

    /// The same in groups.
    pub const fn groups(self, groups: usize) -> Self {
        Self { groups, ..self }
    }
}
