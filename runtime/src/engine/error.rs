use crate::format::records::OpCode;
use core::fmt;

/// Why a model cannot run here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum EngineError {
    /// The arena is shorter than the model needs.
    ArenaTooSmall {
        /// Bytes that the model needs.
        needed: usize,
        /// Bytes that the arena has.
        found: usize,
    },
    /// The arena does not start at a multiple of 16.
    ArenaMisaligned,
    /// The weights of a node are laid out for kernels that the backend does not have.
    NoKernel {
        /// The node.
        node: usize,
        /// The backend's name.
        backend: &'static str,
    },
    /// The program was built without the operator of a node.
    NoOperator {
        /// The node.
        node: usize,
        /// The operator's code.
        operator: u8,
    },
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ArenaTooSmall { needed, found } => {
                write!(f, "the arena has {found} bytes, the model needs {needed}")
            }
            Self::ArenaMisaligned => f.write_str("the arena does not start at a multiple of 16: use Arena"),
            Self::NoKernel { node, backend } => write!(
                f,
                "the weights of node {node} are laid out for another processor, not for {backend}: pack the model for \
                 this target"
            ),
            Self::NoOperator { node, operator } => {
                let name = OpCode::from_code(*operator).map_or("unknown operator", OpCode::name);
                write!(f, "the program was built without the {name} that node {node} needs: build it for this model")
            }
        }
    }
}

impl core::error::Error for EngineError {}

/// An image, or a row of one, has another length than the model's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct InputError {
    /// Bytes of an image or a row.
    pub expected: usize,
    /// Bytes that were given.
    pub found: usize,
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the input has {} bytes where the model takes {}", self.found, self.expected)
    }
}

impl core::error::Error for InputError {}
