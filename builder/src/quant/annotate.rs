//! The quantized network as an annotation of the float network that it was made from.

use super::graph::{QGraph, QNode, QOp, QTensor};
use crate::autograd::FakeQuantization;
use crate::autograd::fake::{Grid, Layer};
use skipstone_onnx::{Graph, NodeId, QuantParams, ValueId};
use std::collections::{HashMap, HashSet};

/// Under which `graph` computes in float32 what `qgraph`, which was made from it, computes in integers: every activation
/// is rounded where `qgraph` rounds it, and nothing in between; weights and biases are its integers.
///
/// What only moves or picks elements is left out: its result lies on the grid of its operands.
pub fn fake_quantization(graph: &Graph, qgraph: &QGraph) -> FakeQuantization {
    let input = &qgraph.tensors[qgraph.input];
    let whole = |tensor: &QTensor| Grid { params: tensor.params, lo: i8::MIN, hi: i8::MAX };
    let mut grids = vec![(graph.input(), whole(input))];
    let mut layers = Vec::new();
    for Place { node, output, prologue, layer } in places(graph, qgraph) {
        if let Some(layer) = layer {
            layers.push(Layer { node: layer, input_scale: qgraph.factor(node).params.scale });
        }
        if let (Some(prologue), Some(value)) = (node.op.prologue(), prologue) {
            grids.push((value, Grid { lo: prologue.lo, hi: prologue.hi, ..whole(&prologue.tensor) }));
        }
        let tensor = &qgraph.tensors[node.output];
        grids.push((output, Grid { lo: node.lo, hi: node.hi, ..whole(tensor) }));
    }
    // A concatenation of maps of which one gets another scale for it: that one is rounded with all of them.
    grids.extend(rescaled(graph, qgraph).into_iter().map(|(value, tensor)| (value, whole(tensor))));
    FakeQuantization::new(graph, grids, layers)
}

/// The results of concatenations before which a map was rounded to another scale, which the float network does not do.
fn rescaled<'q>(graph: &Graph, qgraph: &'q QGraph) -> Vec<(ValueId, &'q QTensor)> {
    let made: HashMap<&str, ValueId> =
        graph.value_ids().map(|value| (graph.value(value).name.as_str(), value)).collect();
    let known = |index: usize| made.get(qgraph.tensors[index].name.as_str()).copied();
    let mut inside: HashSet<usize> = HashSet::new();
    let mut results = Vec::new();
    for node in &qgraph.nodes {
        let moves = matches!(node.op, QOp::Concat | QOp::Copy(_) | QOp::Blocks);
        let joins = moves && [Some(node.input), node.operand].iter().flatten().any(|read| inside.contains(read));
        match known(node.output) {
            Some(value) if joins => results.push((value, &qgraph.tensors[node.output])),
            None if joins || matches!(node.op, QOp::Affine(_)) => {
                inside.insert(node.output);
            }
            _ => {}
        }
    }
    results
}

/// An integer operator that computes something, in the float network.
pub(super) struct Place<'g> {
    pub(super) node: &'g QNode,
    /// The value that it makes.
    pub(super) output: ValueId,
    /// The value between the batch normalization that a convolution reads through and the convolution.
    pub(super) prologue: Option<ValueId>,
    /// The convolution or the linear layer that it is.
    pub(super) layer: Option<NodeId>,
}

/// Where the integer operators that compute something stand in `graph`, in order.
pub(super) fn places<'g>(graph: &Graph, qgraph: &'g QGraph) -> Vec<Place<'g>> {
    let ids = graph.producers().into_iter().flatten();
    let named: HashMap<&str, NodeId> = ids.map(|id| (graph.node(id).name.as_str(), id)).collect();
    let made = graph.nodes().iter().map(|node| (graph.value(node.output).name.as_str(), node.output));
    let made: HashMap<&str, ValueId> = made.collect();
    let place = |node: &'g QNode| {
        let output = *made.get(qgraph.tensors[node.output].name.as_str())?;
        let layer = match &node.op {
            QOp::Conv(_) => Some(*named.get(node.name.as_str())?),
            QOp::Copy(_) | QOp::Blocks | QOp::Concat => return None,
            _ => None,
        };
        let prologue = node.op.prologue().and_then(|prologue| made.get(prologue.tensor.name.as_str()).copied());
        Some(Place { node, output, prologue, layer })
    };
    qgraph.nodes.iter().filter_map(place).collect()
}

/// What the integers of all activations stand for, by name, to be kept with the float network.
pub fn activation_scales(qgraph: &QGraph) -> Vec<(String, QuantParams)> {
    let scale = |tensor: &QTensor| (tensor.name.clone(), tensor.params);
    let after = qgraph.nodes.iter().filter_map(|node| node.op.prologue()).map(|prologue| &prologue.tensor);
    qgraph.tensors.iter().chain(after).map(scale).collect()
}
