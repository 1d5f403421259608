//! In which unit weights are stepped.

use skipstone_onnx::{Graph, Normalization, Op, ValueId};

/// Inputs below this size are near enough to 1.
const LARGE: f64 = 8.0;

/// What each weight is multiplied by before a step, and divided by afterwards, where it is not 1, a power of two.
///
/// Where a network takes pixels of 0 to 255 as they are, the weights of its first convolution are as much smaller and
/// their gradients as much larger than with an input of size 1, and no learning rate suits them and the others. They
/// are stepped as if the input had that size.
pub(super) fn units(graph: &Graph) -> Vec<(ValueId, f32)> {
    let size = graph.metadata.normalization.as_ref().map_or(1.0, size);
    if size < LARGE {
        return Vec::new();
    }
    let unit = size.log2().round().exp2() as f32;
    let readers = graph.nodes().iter().filter(|node| matches!(node.op, Op::Conv(_)) && node.inputs[0] == graph.input());
    let mut ids: Vec<ValueId> = readers.map(|node| node.inputs[1]).collect();
    ids.dedup();
    ids.into_iter().map(|id| (id, unit)).collect()
}

/// The root mean square of pixels that are spread evenly over 0 to 1, normalized.
fn size(normalization: &Normalization) -> f64 {
    let channels = normalization.mean.iter().zip(&normalization.std);
    let squares = channels.map(|(&mean, &std)| {
        let (mean, std) = (f64::from(mean), f64::from(std));
        ((0.5 - mean).powi(2) + 1.0 / 12.0) / (std * std)
    });
    (squares.sum::<f64>() / normalization.mean.len() as f64).sqrt()
}
