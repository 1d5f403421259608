//! From a trained float network to int8: fusion, calibration, quantization, and the standard QDQ file of the result.
//!
//! `docs/quantization.md` states the arithmetic with worked numbers.

mod annotate;
mod bias;
mod calibrate;
mod channels;
mod error;
mod exact;
#[cfg(test)]
pub(crate) mod fixtures;
mod fuse;
mod given;
pub mod graph;
mod histogram;
mod image;
mod integers;
mod lower;
mod method;
mod qdq;
mod quantize;
mod ranges;
pub mod requant;
mod resample;
mod root;
mod sensitivity;
#[cfg(test)]
mod shared_tests;
mod span;
mod ties;

pub use annotate::{activation_scales, fake_quantization};
pub use calibrate::calibrate;
pub(crate) use channels::groups;
pub use channels::{Channels, channels};
pub use error::QuantError;
pub use exact::{Cause, Exact, Map, affine, exact, exact_pixel};
pub use given::{Rerounded, rerounded, rerounding_bounds};
pub use graph::{Function, QAffine, QConv, QCopy, QGraph, QNode, QOp, QPrologue, QTensor, TensorIndex};
pub use lower::{Known, lower, lower_with_scales};
pub use method::{Method, Settings};
pub use qdq::{quantized_name, to_qdq};
pub use quantize::{Quantization, quantize};
pub use ranges::Ranges;
pub(crate) use resample::Resampling;
pub use resample::resize_mode;
pub use sensitivity::{LayerSensitivity, Sensitivity, sensitivity};
