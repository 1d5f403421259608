//! The whole way from a trained network to its packed model and its QDQ file.

use super::{PackError, Packed, Target, pack};
use crate::autograd;
use crate::data::Dataset;
use crate::passes::fold_batch_norm;
use crate::quant::{QGraph, QuantError, Ranges, lower, to_qdq};
use skipstone_onnx::Graph;
use skipstone_onnx::export::Batch;

/// Images that are measured together.
const BATCH: usize = 64;

/// How to quantize.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The processor whose kernels the weights are laid out for.
    pub target: Target,
}

/// What quantization makes of a network.
#[derive(Clone, Debug)]
pub struct Quantized {
    /// The integer network.
    pub qgraph: QGraph,
    /// The packed model, accepted by the runtime.
    pub stone: Vec<u8>,
    /// The same network as a QDQ file for any number of images.
    pub qdq: Vec<u8>,
    /// What it costs.
    pub report: Report,
}

/// What a packed model costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// Bytes of the weights as they are laid out.
    pub weights_bytes: usize,
    /// Bytes of RAM when the image is fed row by row.
    pub arena_bytes: usize,
    /// Bytes of RAM when the whole image is resident.
    pub input_resident_bytes: usize,
}

/// Folds, calibrates on all images of `calibration`, quantizes and packs. The same graph, images and options give the
/// same bytes.
///
/// # Errors
/// [`PackError`]: no calibration images or images of another shape, parameters or activations that are not finite,
/// operators without an integer form (naming the node), an unknown normalization, or a network too large for the format.
pub fn quantize(graph: &Graph, calibration: &Dataset, options: &Options) -> Result<Quantized, PackError> {
    let qgraph = quantize_graph(graph, calibration)?;
    let Packed { bytes, weights_bytes, arena_bytes, input_resident_bytes } = pack(&qgraph, options.target)?;
    let qdq = to_qdq(&qgraph, Batch::Any).to_bytes();
    Ok(Quantized { qgraph, stone: bytes, qdq, report: Report { weights_bytes, arena_bytes, input_resident_bytes } })
}

/// The first half of [`quantize`]: folds, calibrates and quantizes.
///
/// # Errors
/// As [`quantize`].
pub fn quantize_graph(graph: &Graph, calibration: &Dataset) -> Result<QGraph, QuantError> {
    let folded = fold_batch_norm(graph)?;
    lower(&folded, &calibrate(&folded, calibration)?)
}

/// The smallest and the largest element of every activation over all images.
fn calibrate(graph: &Graph, images: &Dataset) -> Result<Ranges, QuantError> {
    if images.is_empty() {
        return Err(QuantError::NoImages);
    }
    let expected = &graph.value(graph.input()).dims;
    if images.dims[..] != expected[..] {
        let expected = [expected[0], expected[1], expected[2]];
        return Err(QuantError::ImageDims { found: images.dims, expected });
    }
    let normalization = graph.metadata.normalization.as_ref().ok_or(QuantError::NoNormalization)?;
    let channels = images.dims[0];
    if normalization.mean.len() != channels || normalization.std.len() != channels {
        let reason = format!("it has {} means for {channels} channels", normalization.mean.len());
        return Err(QuantError::Normalization { reason });
    }
    let mut ranges = Ranges::new(graph);
    let indices: Vec<usize> = (0..images.len()).collect();
    for batch in indices.chunks(BATCH) {
        let batch = images.batch(batch, normalization);
        autograd::observe(graph, &batch, &mut |value, tensor| ranges.record(value, tensor.data()));
    }
    Ok(ranges)
}
