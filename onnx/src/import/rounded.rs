//! Where a quantized file holds the values of the graph as it rounds them, so that others can look.

use super::{Importer, qoperator, standard};
use crate::Op;
use crate::graph::Graph;
use crate::proto::{DataType, GraphProto, ModelProto, TensorProto};
use std::collections::{HashMap, HashSet};

/// A tensor of a quantized file that holds a value of the graph as the file rounds it: as real numbers after a
/// DequantizeLinear, or as integers where the file goes on with these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoundedTensor {
    /// The graph's value.
    pub value: String,
    /// The tensor, in the file [as pairs](as_pairs).
    pub tensor: String,
    /// For each element of one image of the tensor its place in the value; none where each has its own.
    pub places: Option<Vec<usize>>,
}

/// The model with float operators between DequantizeLinear and QuantizeLinear in place of its operators on integers: what
/// these mean. Zero points that it leaves out are 0 of their type, and every node has a name of its own: some engines
/// insist on both.
pub fn as_pairs(mut model: ModelProto) -> ModelProto {
    if let Some(expanded) = model.graph.as_ref().and_then(qoperator::expand) {
        model.graph = Some(expanded);
    }
    if let Some(graph) = &mut model.graph {
        complete(graph);
        let mut names = HashSet::new();
        for (index, node) in graph.node.iter_mut().enumerate() {
            while !names.insert(node.name.clone()) {
                node.name += &format!("#{index}");
            }
        }
    }
    model
}

/// Adds the zero points that are left out.
fn complete(graph: &mut GraphProto) {
    let mut kinds: HashMap<String, i32> =
        graph.initializer.iter().map(|tensor| (tensor.name.clone(), tensor.data_type)).collect();
    let mut zeros = Vec::new();
    for (index, node) in graph.node.iter_mut().enumerate() {
        let kind = |at: usize| node.input.get(at).and_then(|name| kinds.get(name)).copied();
        let named = node.attribute.iter().find(|attribute| attribute.name == "output_dtype");
        let named = named.and_then(|attribute| attribute.i).filter(|kind| *kind != 0).map(|kind| kind as i32);
        let made = match node.op_type.as_str() {
            "Constant" => node.attribute.iter().find_map(|attribute| Some(attribute.t.as_ref()?.data_type)),
            "QuantizeLinear" => kind(2).or(named).or(Some(DataType::Uint8.into())),
            // Others that go on with integers keep their type.
            _ => kind(0),
        };
        let of_pair = ["QuantizeLinear", "DequantizeLinear"].contains(&node.op_type.as_str());
        if let Some(made) = made.filter(|_| of_pair && node.input.get(2).is_none_or(String::is_empty)) {
            let name = format!("zero point of node {index}");
            node.input.truncate(2);
            node.input.push(name.clone());
            let bytes = if made == i32::from(DataType::Int32) { 4 } else { 1 };
            zeros.push(TensorProto {
                data_type: made,
                raw_data: Some(vec![0; bytes]),
                ..TensorProto::i8(name, &[], &[0])
            });
        }
        let result = if node.op_type == "DequantizeLinear" { Some(DataType::Float.into()) } else { made };
        if let (Some(result), Some(output)) = (result, node.output.first()) {
            kinds.insert(output.clone(), result);
        }
    }
    graph.initializer.extend(zeros);
}

/// A map that is rounded only where it is flattened is rounded itself, if nothing else reads it.
pub(super) fn through_flatten(graph: &mut Graph, rounded: &mut Vec<RoundedTensor>) {
    let consumers = graph.consumers();
    let flattened = graph.nodes().iter().filter(|node| node.op == Op::Flatten && node.inputs[0] != graph.input());
    let alone = flattened.filter(|node| consumers[node.inputs[0].index()].len() == 1);
    let pairs: Vec<[String; 2]> =
        alone.map(|node| [node.output, node.inputs[0]].map(|id| graph.value(id).name.clone())).collect();
    for [vector, map] in pairs {
        let known = &mut graph.metadata.quantization.activations;
        let Some(&rounding) = known.get(&vector) else { continue };
        let same = *known.entry(map.clone()).or_insert(rounding) == rounding;
        if same && !rounded.iter().any(|tensor| tensor.value == map) {
            let found = rounded.iter().find(|tensor| tensor.value == vector).cloned();
            rounded.extend(found.map(|tensor| RoundedTensor { value: map, ..tensor }));
        }
    }
}

impl Importer<'_> {
    /// The values that `proto` rounds, each by its first DequantizeLinear, or else by its first QuantizeLinear.
    pub(super) fn rounded(&self, proto: &GraphProto) -> Vec<RoundedTensor> {
        let mut found: Vec<RoundedTensor> = Vec::new();
        let of = |op: &'static str| proto.node.iter().filter(move |node| node.op_type == op && standard(&node.domain));
        for node in of("DequantizeLinear").chain(of("QuantizeLinear")) {
            let Some(name) = node.output.first() else { continue };
            let Some(feature) = self.features.get(name) else { continue };
            let value = self.draft.name(feature.value);
            let dims = self.draft.dims(feature.value);
            let known = !feature.affine.is_identity() || found.iter().any(|tensor| tensor.value == value);
            if let Some(places) = feature.layout.flat(self.batch, dims).filter(|_| !known) {
                found.push(RoundedTensor { value: value.into(), tensor: name.clone(), places });
            }
        }
        found
    }
}
