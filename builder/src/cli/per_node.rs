//! Comparisons node by node, in the network's order, so that the first divergence has a name.

use super::agreement::{Checks, FLOAT_LIMIT};
use super::console::Console;
use super::failure::Failure;
use super::table::Table;
use crate::data::Dataset;
use crate::verify::{self, Int8Agreement, LayerAgreement, NodeAgreement};
use serde::Serialize;
use skipstone_onnx::Graph;

/// Images on which single nodes are compared: all their activations are in memory at once.
const IMAGES: usize = 4;

/// What was found node by node.
#[derive(Debug, Serialize)]
pub(super) struct Output {
    /// Float nodes, each on the operands that our execution gave it.
    float_nodes: Vec<NodeAgreement>,
    /// The first float node that differs by more than is allowed.
    float_first_divergence: Option<String>,
    /// Int8 layers, each on the operands that our engine gave it.
    int8_layers: Vec<LayerAgreement>,
    /// The first int8 layer that differs by more than is allowed.
    int8_first_divergence: Option<String>,
}

/// Compares every float node with tract's.
pub(super) fn compare(graph: &Graph, images: &Dataset) -> Result<Output, Failure> {
    let indices: Vec<usize> = (0..images.len().min(IMAGES)).collect();
    let float_nodes = verify::float_nodes(graph, &images.batch_for(graph, &indices))?;
    Ok(Output::new(float_nodes))
}

/// Whether a node's result is tract's but for rounding.
fn holds(node: &NodeAgreement) -> bool {
    node.relative() <= FLOAT_LIMIT
}

impl Output {
    fn new(float_nodes: Vec<NodeAgreement>) -> Self {
        let first = float_nodes.iter().find(|node| !holds(node)).map(|node| node.node.clone());
        Self { float_nodes, float_first_divergence: first, int8_layers: Vec::new(), int8_first_divergence: None }
    }

    /// Shows the float nodes and the first divergence.
    pub(super) fn show(&self, console: &Console) -> Result<(), Failure> {
        let mut table = Table::new(&["float node", "operator", "largest difference", "of the spread"]);
        for node in &self.float_nodes {
            let mark = if holds(node) { "" } else { "  DIFFERS" };
            table.row([
                node.node.clone(),
                node.op.into(),
                format!("{:.1e}", node.max_abs_diff),
                format!("{:.1e}{mark}", node.relative()),
            ]);
        }
        console.show(table)
    }

    /// Adds the check that no float node diverges.
    pub(super) fn check(&self, checks: &mut Checks) {
        let count = self.float_nodes.len();
        checks.add(
            match &self.float_first_divergence {
                None => format!("all {count} float nodes are tract's on the same operands (limit {FLOAT_LIMIT:.0e})"),
                Some(name) => format!("float node `{name}` is the first that differs (limit {FLOAT_LIMIT:.0e})"),
            },
            self.float_first_divergence.is_none(),
        );
    }

    /// Adds the int8 layers.
    pub(super) fn add_int8(&mut self, agreement: &Int8Agreement, console: &Console) -> Result<(), Failure> {
        self.int8_layers.clone_from(&agreement.layers);
        let first = agreement.layers.iter().find(|layer| !super::agreement::layer_holds(layer));
        self.int8_first_divergence = first.map(|layer| layer.name.clone());
        match &self.int8_first_divergence {
            Some(name) => {
                console.show(format!("int8 layer `{name}` is the first that differs by more than rounding explains"))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_divergence_is_named() {
        let node =
            |name: &str, max_abs_diff: f32| NodeAgreement { node: name.into(), op: "Conv", max_abs_diff, spread: 2.0 };
        let output = Output::new(vec![node("a", 1e-6), node("b", 1e-3), node("c", 1.0)]);
        let mut checks = Checks::new();
        output.check(&mut checks);
        let Err(Failure::Work(text)) = checks.verdict(std::path::Path::new("a.onnx")) else { panic!("it holds") };
        assert!(text.contains("`b` is the first that differs"), "{text}");
    }
}
