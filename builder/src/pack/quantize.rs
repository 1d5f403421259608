//! The whole way from a trained network to its packed model and its QDQ file.

use super::{Goal, PackError, pack_within};
use crate::data::Dataset;
use crate::quant::{self, QGraph, Quantization, Settings, to_qdq};
use crate::target::{Core, Limits};
use skipstone_onnx::Graph;
use skipstone_onnx::export::Batch;

/// How to quantize.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Options {
    /// How its numbers are chosen.
    pub settings: Settings,
    /// The core whose kernels the weights are laid out for.
    pub target: Core,
    /// What matters most.
    pub goal: Goal,
    /// The memories that model and program have to fit, if there are limits.
    pub limits: Option<Limits>,
}

/// What quantization makes of a network.
#[derive(Clone, Debug)]
pub struct Quantized {
    /// The float network as it was quantized: folded, equalized and corrected, with its scales. It quantizes to the
    /// same without calibration.
    pub float: Graph,
    /// The integer network.
    pub qgraph: QGraph,
    /// The packed model, accepted by the runtime.
    pub stone: Vec<u8>,
    /// The same network as a QDQ file for any number of images.
    pub qdq: Vec<u8>,
    /// What it costs.
    pub report: Report,
    /// The goal that is met: [`Goal::Speed`] where the one that was asked for does not fit the limits.
    pub goal: Goal,
}

/// What a packed model costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// Bytes of the weights as they are laid out.
    pub weights_bytes: usize,
    /// Bytes of RAM when the image is fed row by row.
    pub arena_bytes: usize,
    /// Bytes of RAM when the whole image is resident.
    pub input_resident_bytes: usize,
    /// Estimated instructions of the convolutions.
    pub estimated_instructions: u64,
}

/// Folds, calibrates on all images of `calibration`, quantizes and packs. The same graph, images and options give the
/// same bytes.
///
/// # Errors
/// [`PackError`]: no calibration images or images of another shape, parameters or activations that are not finite,
/// operators without an integer form (naming the node), an unknown normalization, a network too large for the format,
/// or one that does not fit the limits.
pub fn quantize(graph: &Graph, calibration: &Dataset, options: &Options) -> Result<Quantized, PackError> {
    let Quantization { rounded: mut float, qgraph, .. } = quant::quantize(graph, calibration, &options.settings)?;
    float.metadata.activation_scales = quant::activation_scales(&qgraph);
    let qdq = to_qdq(&qgraph, Batch::Any).to_bytes();
    let (report, stone, goal) = (Report::default(), Vec::new(), options.goal);
    let mut quantized = Quantized { float, qgraph, stone, qdq, report, goal };
    quantized.pack_again(options)?;
    Ok(quantized)
}

impl Quantized {
    /// Packs the integer network anew, as `options` say.
    ///
    /// # Errors
    /// [`PackError`] of a network too large for the format, or one that does not fit the limits.
    pub fn pack_again(&mut self, options: &Options) -> Result<(), PackError> {
        let packed = pack_within(&self.qgraph, options.target, options.goal, options.limits)?;
        self.report = Report {
            weights_bytes: packed.weights_bytes,
            arena_bytes: packed.arena_bytes,
            input_resident_bytes: packed.input_resident_bytes,
            estimated_instructions: packed.instructions,
        };
        (self.stone, self.goal) = (packed.bytes, packed.goal);
        Ok(())
    }
}
