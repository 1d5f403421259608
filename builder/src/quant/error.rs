//! Why a network cannot be quantized.

use super::requant::RequantError;
use skipstone_onnx::GraphError;

/// A network, or a calibration, that gives no int8 network. Nothing has been written.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum QuantError {
    /// There is nothing to calibrate on.
    #[error("there are no calibration images: quantization measures the activations on at least one image")]
    NoImages,
    /// Calibration images of another shape than the network's input.
    #[error("calibration images are {found:?} (channels, height, width), the network takes {expected:?}")]
    ImageDims {
        /// Of the data set.
        found: [usize; 3],
        /// Of the network.
        expected: [usize; 3],
    },
    /// The conversion from pixels is unknown.
    #[error("the network does not say how its input is normalized: give --raw, or --mean and --std")]
    NoNormalization,
    /// The conversion from pixels cannot be expressed.
    #[error("the input normalization cannot be used: {reason}")]
    Normalization {
        /// What is wrong with it.
        reason: String,
    },
    /// A parameter that is not a number.
    #[error(
        "parameter `{name}` is not finite at element {index} ({value}): train again, or with a smaller learning rate"
    )]
    NonFiniteParameter {
        /// The parameter.
        name: String,
        /// Position of the first such element.
        index: usize,
        /// The element.
        value: f32,
    },
    /// An activation that is not a number.
    #[error("activation `{name}` is not finite on the calibration images")]
    NonFiniteActivation {
        /// The value.
        name: String,
    },
    /// An activation that neither a packed model nor the file's own scales know.
    #[error("no int8 scale is known for activation `{name}`: the scales that were given are those of another network")]
    NoScale {
        /// The value.
        name: String,
    },
    /// An operator without an integer form.
    #[error("node `{node}` ({op}): {reason}")]
    Unsupported {
        /// The node.
        node: String,
        /// Its operator.
        op: &'static str,
        /// What is not supported, and why.
        reason: String,
    },
    /// Arithmetic that would leave its 32 or 64 bits.
    #[error("node `{node}`, {source}")]
    Overflow {
        /// The node.
        node: String,
        /// Channel and bound.
        source: RequantError,
    },
    /// Names of the rewritten network that clash.
    #[error(transparent)]
    Graph(#[from] GraphError),
}
