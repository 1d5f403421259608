//! The tensors of a graph.

use crate::Tensor;

/// A tensor of the graph: its input, the result of a node, or a parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// Unique name; for node results `<node>.out` unless the file said otherwise.
    pub name: String,
    /// Activations: dimensions of one image, `[C, H, W]` or `[features]`. Parameters: all dimensions.
    pub dims: Vec<usize>,
    /// The parameter's contents, if it is one.
    pub parameter: Option<Parameter>,
}

/// A constant of the graph that training may change.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// The contents.
    pub tensor: Tensor,
    /// Whether gradient descent changes it. Batch-norm statistics are not trainable.
    pub trainable: bool,
}
