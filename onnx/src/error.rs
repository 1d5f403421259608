//! What can be wrong with a graph or a file.

/// A graph that cannot be built.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum GraphError {
    /// Dimensions and number of elements disagree.
    #[error("a tensor of dimensions {dims:?} cannot hold {count} elements")]
    TensorSize {
        /// The dimensions asked for.
        dims: Vec<usize>,
        /// The number of elements given.
        count: usize,
    },
    /// A dimension is zero.
    #[error("`{name}` has an empty dimension: {dims:?}")]
    EmptyDimension {
        /// The value.
        name: String,
        /// Its dimensions.
        dims: Vec<usize>,
    },
    /// An activation that no network has.
    #[error("`{name}` has dimensions that are too large: {dims:?}")]
    TooLarge {
        /// The value.
        name: String,
        /// Its dimensions.
        dims: Vec<usize>,
    },
    /// Two values have one name.
    #[error("two values are named `{name}`")]
    DuplicateName {
        /// The name.
        name: String,
    },
    /// Operands that do not fit the operator.
    #[error("node `{node}` ({op}): {reason}")]
    Operands {
        /// The node.
        node: String,
        /// Its operator.
        op: &'static str,
        /// What does not fit.
        reason: String,
    },
    /// The output is not a vector of scores.
    #[error("the output `{name}` has dimensions {dims:?}: a classifier ends in one vector of scores")]
    Output {
        /// The value.
        name: String,
        /// Its dimensions.
        dims: Vec<usize>,
    },
    /// The output holds probabilities.
    #[error("node `{node}` (Softmax): the network must end in scores; cut it before this node")]
    Softmax {
        /// The node.
        node: String,
    },
}

/// A file that cannot be read as a [`Graph`](crate::Graph).
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The bytes are not an ONNX model.
    #[error("not an ONNX model: {0}")]
    Malformed(String),
    /// A file that is ONNX, with something around its nodes that cannot be read.
    #[error("cannot read this ONNX model: {0}")]
    Model(String),
    /// A constant that is damaged or of a kind that is not read.
    #[error("initializer `{name}`: {reason}")]
    Initializer {
        /// The constant.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A node or attribute that this version does not support.
    #[error("node `{node}` ({op}): {reason}")]
    Unsupported {
        /// The node.
        node: String,
        /// Its operator.
        op: String,
        /// What is not supported, and why.
        reason: String,
    },
    /// A file that cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Well-formed, but not a network.
    #[error(transparent)]
    Graph(#[from] GraphError),
}
