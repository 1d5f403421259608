//! What the file of a network that others quantized says of its integers, which then are ours too.

use skipstone_onnx::{Graph, Integers, Node, ValueId};

/// Scale and zero point that the file has for an activation.
pub(super) fn rounding(graph: &Graph, value: ValueId) -> Option<(f32, i8)> {
    let known = graph.metadata.quantization.activations.get(&graph.value(value).name)?;
    Some((known.scale, known.zero_point))
}

/// Integers and scales of a layer's weights, if it still has the weights of the file.
pub(super) fn weights<'g>(graph: &'g Graph, node: &Node) -> Option<&'g Integers> {
    integers(graph, *node.inputs.get(1)?)
}

/// Integers of a layer's bias, if they are steps of `scales`, one for each output channel.
pub(super) fn bias<'g>(graph: &'g Graph, node: &Node, scales: impl Iterator<Item = f64>) -> Option<&'g [i32]> {
    let known = integers(graph, *node.inputs.get(2)?)?;
    let same = known.scales.iter().zip(scales).all(|(&own, scale)| (f64::from(own) / scale - 1.0).abs() < 1e-6);
    same.then_some(known.values.as_slice())
}

fn integers(graph: &Graph, parameter: ValueId) -> Option<&Integers> {
    let known = graph.metadata.quantization.parameters.get(&graph.value(parameter).name)?;
    graph.parameter(parameter).is_some_and(|tensor| known.are(tensor.data())).then_some(known)
}
