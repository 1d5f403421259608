//! The float network at work on the calibration images.

use super::bias::correct_biases;
use super::{Method, QGraph, QuantError, Ranges, Settings, lower, lower_with_scales};
use crate::autograd;
use crate::data::Dataset;
use crate::passes::{equalize, fold_batch_norm, with_biases};
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

/// A network in float and in int8.
#[derive(Clone, Debug)]
pub struct Quantization {
    /// The float network, batch normalization folded where a convolution can absorb it.
    pub float: Graph,
    /// The float network whose weights and biases became integers: the same, with corrected biases where they are.
    pub rounded: Graph,
    /// The integer network.
    pub qgraph: QGraph,
}

/// Folds, calibrates on all images of `calibration`, and quantizes. The same graph, images and settings give the same
/// network. A network that was trained for int8 scales keeps them, unless the settings say otherwise; one whose file others
/// quantized is calibrated only where the file has no scale.
///
/// # Errors
/// [`QuantError`]: no images or images of another shape, parameters or activations that are not finite, operators without
/// an integer form (naming the node), an unknown normalization, sums that could overflow.
pub fn quantize(graph: &Graph, calibration: &Dataset, settings: &Settings) -> Result<Quantization, QuantError> {
    let mut float = fold_batch_norm(graph)?;
    if settings.recalibrate {
        float.metadata.quantization = skipstone_onnx::Quantization::default();
    }
    if !float.metadata.quantization.is_empty() {
        match lower(&float, &Ranges::new(&float)) {
            // The file leaves a scale to us.
            Err(QuantError::NoImages) => {}
            done => return done.map(|qgraph| Quantization { rounded: float.clone(), float, qgraph }),
        }
    }
    check(&float, calibration)?;
    let known = &graph.metadata.activation_scales;
    if !known.is_empty() && !settings.recalibrate {
        let qgraph = lower_with_scales(&float, known.as_slice())?;
        return Ok(Quantization { rounded: float.clone(), float, qgraph });
    }
    float.metadata.activation_scales.clear();
    if settings.equalize {
        float = equalize(&float);
    }
    if settings.bias_correction {
        float = with_biases(&float)?;
    }
    let ranges = calibrate(&float, calibration, settings.method)?;
    let qgraph = lower(&float, &ranges)?;
    if !settings.bias_correction {
        return Ok(Quantization { rounded: float.clone(), float, qgraph });
    }
    let rounded = correct_biases(&float, &qgraph, calibration)?;
    let qgraph = lower(&rounded, &ranges)?;
    Ok(Quantization { float, rounded, qgraph })
}
