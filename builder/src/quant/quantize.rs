//! From a float network to integers.

use super::bias::correct_biases;
use super::calibrate::{calibrate, check};
use super::{QGraph, QuantError, Ranges, Settings, lower, lower_with_scales};
use crate::data::Dataset;
use crate::passes::{equalize, fold_batch_norm, with_biases};
use skipstone_onnx::Graph;

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
