//! From a trained float network to int8: fusion, calibration, quantization, and the standard QDQ file of the result.
//!
//! `docs/quantization.md` states the arithmetic with worked numbers.

pub mod graph;
pub mod requant;

pub use graph::{QConv, QGraph, QNode, QOp, QTensor, TensorIndex};
