//! The float network at work on the calibration images.

use super::{Method, QuantError, Ranges};
use crate::autograd;
use crate::data::Dataset;
use skipstone_onnx::{Graph, Normalization};

/// Images that are measured together.
const BATCH: usize = 64;

/// What the activations of `graph` are like on all of `images`.
///
/// # Errors
/// [`QuantError`]: no images, images of another shape, or an unknown normalization.
pub fn calibrate(graph: &Graph, images: &Dataset, method: Method) -> Result<Ranges, QuantError> {
    let normalization = check(graph, images)?;
    let mut ranges = Ranges::by(method, graph);
    let indices: Vec<usize> = (0..images.len()).collect();
    for batch in indices.chunks(BATCH) {
        let batch = images.batch(batch, normalization);
        autograd::observe(graph, &batch, &mut |value, tensor| ranges.record(value, tensor.data()));
    }
    Ok(ranges)
}

/// Checks that `images` fit the network; gives their normalization.
pub(super) fn check<'g>(graph: &'g Graph, images: &Dataset) -> Result<&'g Normalization, QuantError> {
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
    Ok(normalization)
}
