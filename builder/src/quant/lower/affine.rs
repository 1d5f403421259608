//! Batch normalization as a factor and a constant for each channel.

use super::MARGIN;
use crate::quant::QuantError;
use crate::quant::graph::QAffine;
use crate::quant::requant::OPERAND_LIMIT;
use skipstone_onnx::{Graph, Node, Op};

/// `gamma / sqrt(variance + epsilon)` and `beta - mean * factor`, computed in float64, for an input and a result of these
/// scales.
///
/// A factor that would give more than 128 output steps for one input step does not fit its integer. It is cut to that,
/// and the constant chosen so that the channel's mean still becomes beta: such a channel's values are within a few steps
/// of their mean, or its variance would not be that small.
///
/// # Errors
/// [`QuantError::Unsupported`] naming the node if a variance is negative.
pub(super) fn batch_norm(
    graph: &Graph,
    node: &Node,
    input_scale: f32,
    output_scale: f32,
) -> Result<QAffine, QuantError> {
    let largest = OPERAND_LIMIT / MARGIN * f64::from(output_scale) / f64::from(input_scale);
    let (mut factors, mut constants) = (Vec::new(), Vec::new());
    for (channel, [factor, mean, beta]) in real(graph, node).enumerate() {
        if !factor.is_finite() {
            let reason = format!("the variance of channel {channel} is negative; train again, or repair the file");
            return Err(QuantError::Unsupported { node: node.name.clone(), op: node.op.name(), reason });
        }
        let factor = factor.clamp(-largest, largest) as f32;
        factors.push(factor);
        constants.push((beta - mean * f64::from(factor)) as f32);
    }
    Ok(QAffine { factors, constants })
}

/// Factor, mean and beta of each channel.
pub(super) fn real<'g>(graph: &'g Graph, node: &'g Node) -> impl Iterator<Item = [f64; 3]> {
    let Op::BatchNorm { epsilon } = node.op else { unreachable!("an affine is a batch normalization") };
    let [gamma, beta, mean, variance] =
        [1, 2, 3, 4].map(|index| graph.parameter(node.inputs[index]).expect("a parameter of a batch norm").data());
    (0..gamma.len()).map(move |channel| {
        let deviation = (f64::from(variance[channel]) + f64::from(epsilon)).sqrt();
        [f64::from(gamma[channel]) / deviation, mean[channel].into(), beta[channel].into()]
    })
}
