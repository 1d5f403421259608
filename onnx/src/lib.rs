//! One graph, from training to silicon.
//!
//! [`Graph`] is the network that every other part of Skipstone works on: the zoo builds it, autograd differentiates
//! it, [`export()`] writes it as a standard `.onnx` file, [`import()`] reads one back. It is validated and its shapes are
//! inferred while it is built, so a `Graph` that exists is well formed.

#![forbid(unsafe_code)]

mod error;
pub mod export;
pub mod extract;
#[cfg(test)]
mod fixtures;
pub mod graph;
pub mod import;
pub mod metadata;
pub mod op;
pub mod preprocessing;
pub mod proto;
pub mod quantization;
pub mod rewrite;
pub mod shape;
pub mod source;
pub mod tensor;
pub mod unary;

pub use error::{GraphError, ImportError};
pub use export::{Batch, export};
pub use graph::{ActivationScale, Graph, GraphBuilder, Metadata, Node, NodeId, Normalization, Value, ValueId};
pub use import::{Ending, Imported, import, import_file};
pub use op::{Border, BorderPad, Conv, Coordinates, Op, Pad, Resize, Slice, Window};
pub use preprocessing::{ChannelOrder, Filter, Fit, Preprocessing};
pub use quantization::{InputIntegers, Integers, Quantization, Rounding};
pub use rewrite::Rewrite;
pub use source::Source;
pub use tensor::Tensor;
pub use unary::Unary;

/// The README's example runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
