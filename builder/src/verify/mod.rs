//! Checks of our execution against tract, an ONNX engine by others.
//!
//! Float: the scores of whole networks, and every node on the same operands. Int8: every layer of the QDQ file on the
//! very int8 inputs that our engine gave its own layer, and the file as a whole; and every layer on the values of the
//! quantized file that the network comes from. An element that differs is explained by what its value is before it is
//! rounded. Without the feature `tract` all of it is [`VerifyError::WithoutTract`].

mod elements;
mod file;
mod float;
mod int8;
mod layers;
mod nodes;
#[cfg(feature = "tract")]
mod reference;
#[cfg(not(feature = "tract"))]
#[path = "no_reference.rs"]
mod reference;
mod runner;
mod wrapped;

pub use file::{FileAgreement, FileCheck, FileLayer, QuantizedFile};
pub use float::{FloatAgreement, float, float_model, float_scores};
pub use int8::{Difference, Int8Agreement, Int8Check, LayerAgreement, TracedLayer, TracedTensor};
pub use layers::Layers;
pub use nodes::{NodeAgreement, float_nodes};

use crate::metrics::argmax;
use skipstone_onnx::ImportError;
use skipstone_onnx::extract::ExtractError;
use std::collections::HashSet;

/// Why a comparison could not be made.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The program was built without tract.
    #[error("this program was built without tract; build it with `--features tract` to verify")]
    WithoutTract,
    /// The file cannot be read.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// tract cannot load or run a model.
    #[error("tract cannot run {what}: {reason}")]
    Tract {
        /// The file or the layer.
        what: String,
        /// tract's reason.
        reason: String,
    },
    /// A layer is not in the QDQ file.
    #[error("layer `{layer}` cannot be cut out of the QDQ file: {source}")]
    Extract {
        /// The layer.
        layer: String,
        /// What is missing.
        source: ExtractError,
    },
    /// Both sides speak of different things.
    #[error("cannot compare: {0}")]
    Mismatch(String),
}

/// What a layer reads, each tensor once: one that is added to itself is one input.
fn distinct(tensors: &[usize]) -> Vec<usize> {
    let mut seen = HashSet::new();
    tensors.iter().copied().filter(|&tensor| seen.insert(tensor)).collect()
}

/// Images from channels-last to channels-first. `dims` is `[C, H, W]`, or a vector's `[features]`, which has no order.
pub fn to_channels_first<T: Copy>(data: &[T], dims: &[usize]) -> Vec<T> {
    let &[channels, height, width] = dims else { return data.to_vec() };
    let area = height * width;
    let mut out = Vec::with_capacity(data.len());
    for image in data.chunks_exact(channels * area) {
        for channel in 0..channels {
            out.extend((0..area).map(|pixel| image[pixel * channels + channel]));
        }
    }
    out
}

fn fraction(part: u64, whole: u64) -> f64 {
    if whole == 0 { 1.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(not(feature = "tract"))]
    #[test]
    fn without_tract_every_comparison_says_so() {
        use crate::tensor::Tensor;
        use skipstone_onnx::proto::{GraphProto, ModelProto};
        let bytes = ModelProto::new(GraphProto::default(), 17).to_bytes();
        let error = float_scores(&bytes, &Tensor::zeros([1, 2, 2, 3])).unwrap_err();
        assert!(matches!(error, VerifyError::WithoutTract) && error.to_string().contains("--features tract"));
    }

    #[test]
    fn channels_move_in_front() {
        // Two images of 1x2 pixels with 3 channels.
        let data = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
        assert_eq!(to_channels_first(&data, &[3, 1, 2]), [1, 4, 2, 5, 3, 6, 7, 10, 8, 11, 9, 12]);
        assert_eq!(to_channels_first(&data, &[6]), data);
    }
}
