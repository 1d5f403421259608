//! Float activations of single nodes.

use super::elements::Elements;
use super::runner::Runner;
use super::{VerifyError, to_channels_first};
use crate::autograd;
use crate::tensor::Tensor;
use rayon::prelude::*;
use serde::Serialize;
use skipstone_onnx::export::to_model;
use skipstone_onnx::extract::extract;
use skipstone_onnx::proto::{DataType, Dim, ValueInfoProto};
use skipstone_onnx::{Batch, Graph, Node, ValueId};
use std::collections::HashSet;

/// How one node's float result compares to tract's on the same operands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NodeAgreement {
    /// The node.
    pub node: String,
    /// Its operator.
    pub op: &'static str,
    /// Largest absolute difference of two elements; infinite where only one of them is a number.
    pub max_abs_diff: f32,
    /// Difference of our largest and our smallest element.
    pub spread: f32,
}

impl NodeAgreement {
    /// The largest difference in parts of the spread, or of the value that a constant result has.
    pub fn relative(&self) -> f32 {
        if self.max_abs_diff == 0.0 { 0.0 } else { self.max_abs_diff / self.spread.max(f32::MIN_POSITIVE) }
    }
}

/// Runs every node of `graph` in tract on the operands that our own execution of normalized `images` `[N, H, W, C]`
/// gave it, and compares the results; in the graph's order.
///
/// All activations of the images are in memory at once.
///
/// # Errors
/// [`VerifyError`] if tract cannot run a node.
///
/// # Panics
/// If there are no images, or their dimensions are not those of the graph's input.
pub fn float_nodes(graph: &Graph, images: &Tensor) -> Result<Vec<NodeAgreement>, VerifyError> {
    let model = to_model(graph, Batch::Any);
    let mut values: Vec<Vec<f32>> = vec![Vec::new(); graph.values().len()];
    autograd::observe(graph, images, &mut |id, tensor| {
        values[id.index()] = to_channels_first(tensor.data(), &graph.value(id).dims);
    });
    let compare = |node: &Node| {
        // An activation added to itself is one input.
        let mut seen = HashSet::new();
        let inputs: Vec<ValueId> =
            node.inputs.iter().copied().filter(|&id| graph.parameter(id).is_none() && seen.insert(id)).collect();
        let infos: Vec<ValueInfoProto> = inputs.iter().map(|&id| value_info(graph, id)).collect();
        let part = extract(&model, &infos, value_info(graph, node.output))
            .map_err(|source| VerifyError::Extract { layer: node.name.clone(), source })?;
        let dims = inputs.iter().map(|&id| graph.value(id).dims.clone()).collect();
        let operands: Vec<Elements> = inputs.iter().map(|&id| Elements::F32(values[id.index()].clone())).collect();
        let mut runner = Runner::new(format!("node `{}` ({})", node.name, node.op.name()), part, dims);
        let ours = &values[node.output.index()];
        let theirs = match runner.run(images.batch(), &operands)?.swap_remove(0) {
            Elements::F32(theirs) if theirs.len() == ours.len() => theirs,
            _ => return Err(VerifyError::Mismatch(format!("tract gives `{}` other dimensions", node.name))),
        };
        Ok(agreement(node, ours, &theirs))
    };
    graph.nodes().par_iter().map(compare).collect()
}

fn agreement(node: &Node, ours: &[f32], theirs: &[f32]) -> NodeAgreement {
    let difference = |(a, b): (&f32, &f32)| {
        if a == b || (a.is_nan() && b.is_nan()) {
            0.0
        } else {
            let difference = (a - b).abs();
            if difference.is_nan() { f32::INFINITY } else { difference }
        }
    };
    let (least, most) = ours.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(a, b), &x| (a.min(x), b.max(x)));
    let spread = if most > least { most - least } else { most.abs() };
    let max_abs_diff = ours.iter().zip(theirs).map(difference).fold(0.0, f32::max);
    NodeAgreement { node: node.name.clone(), op: node.op.name(), max_abs_diff, spread }
}

fn value_info(graph: &Graph, id: ValueId) -> ValueInfoProto {
    let value = graph.value(id);
    let dims: Vec<Dim> = [Dim::Symbol("N")].into_iter().chain(value.dims.iter().map(|&dim| Dim::Fixed(dim))).collect();
    ValueInfoProto::tensor(&value.name, DataType::Float, &dims)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zoo;

    #[test]
    fn differences_are_measured_by_the_spread() {
        let graph = zoo::build("resnet8", &zoo::Options::default()).unwrap();
        let node = &graph.nodes()[0];
        let found = agreement(node, &[1.0, -3.0, 0.5], &[1.0, -2.0, 0.5]);
        assert_eq!(
            (found.node.as_str(), found.op, found.max_abs_diff, found.spread),
            (&node.name[..], "Conv", 1.0, 4.0)
        );
        assert_eq!(found.relative(), 0.25);
        assert_eq!(agreement(node, &[0.0, 0.0], &[0.0, 0.0]).relative(), 0.0);
        assert_eq!(agreement(node, &[2.0, 2.0], &[2.0, 1.0]).relative(), 0.5);
        assert!(agreement(node, &[0.0, 0.0], &[0.0, 1e-6]).relative() > 1.0);
        assert_eq!(agreement(node, &[f32::NAN, 1.0], &[0.0, 1.0]).max_abs_diff, f32::INFINITY);
        assert_eq!(agreement(node, &[f32::NAN, 1.0], &[f32::NAN, 1.0]).max_abs_diff, 0.0);
    }

    #[cfg(feature = "tract")]
    #[test]
    fn every_node_of_small_networks_agrees() {
        for (name, input) in [("resnet8", [3, 9, 8]), ("attention-mini", [3, 16, 16]), ("densenet-bc22-k8", [3, 8, 8])]
        {
            let options = zoo::Options { input: Some(input), ..zoo::Options::default() };
            let graph = zoo::with_nontrivial_statistics(zoo::build(name, &options).unwrap(), 2);
            let count = 2 * input.iter().product::<usize>();
            let data = (0..count).map(|i| ((i * 31 % 47) as f32 - 23.0) / 16.0).collect();
            let nodes = float_nodes(&graph, &Tensor::new([2, input[1], input[2], input[0]], data)).unwrap();
            assert_eq!(nodes.len(), graph.nodes().len());
            for node in &nodes {
                assert!(node.relative() <= 1e-5, "{name}: {node:?}");
            }
        }
    }
}
