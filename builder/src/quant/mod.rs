//! From a trained float network to int8: fusion, calibration, quantization, and the standard QDQ file of the result.
//!
//! `docs/quantization.md` states the arithmetic with worked numbers.

mod error;
#[cfg(test)]
pub(crate) mod fixtures;
mod fuse;
pub mod graph;
mod image;
mod lower;
mod qdq;
mod ranges;
pub mod requant;

pub use error::QuantError;
pub use graph::{QConv, QGraph, QNode, QOp, QTensor, TensorIndex};
pub use lower::{lower, lower_with_scales};
pub use qdq::{quantized_name, to_qdq};
pub use ranges::Ranges;
