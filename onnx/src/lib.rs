//! One graph, from training to silicon.
//!
//! [`Graph`] is the network that every other part of Skipstone works on: the zoo builds it, autograd differentiates
//! it, [`export()`] writes it as a standard `.onnx` file, [`import()`] reads one back. It is validated and its shapes are
//! inferred while it is built, so a `Graph` that exists is well formed.
//!
//! Modules stand in an order in which each uses only those above it.

#![forbid(unsafe_code)]

mod error;

pub mod tensor;

pub mod unary;

pub mod resize;

pub mod op;

mod value;

pub mod shape;

pub mod quantization;

pub mod preprocessing;

pub mod source;

pub mod graph;

pub mod rewrite;

pub mod proto;

pub mod metadata;

pub mod export;

pub mod extract;

pub mod import;

#[cfg(test)]
mod fixtures;

pub use error::{GraphError, ImportError};
pub use export::{Batch, export};
pub use graph::{Graph, GraphBuilder, Metadata, Node, NodeId, ValueId};
pub use import::{Imported, import, import_file};
pub use op::{Border, BorderPad, Conv, Op, Pad, Slice, Window};
pub use preprocessing::{ChannelOrder, Filter, Fit, Normalization, Preprocessing};
pub use quantization::{InputIntegers, Integers, QuantParams, Quantization};
pub use resize::{Coordinates, Resize, ResizeKernel};
pub use rewrite::Rewrite;
pub use source::{Ending, Source};
pub use tensor::Tensor;
pub use unary::Unary;
pub use value::{Parameter, Value};

/// The README's example runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
