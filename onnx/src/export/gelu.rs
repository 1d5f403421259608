//! `Gelu`, which has an operator of its own only from opset 20 on, by operators that all opsets have.

use super::Writer;
use crate::graph::Node;
use crate::proto::NodeProto;
use std::f32::consts::FRAC_1_SQRT_2;

impl Writer<'_> {
    /// `(x / 2) * (1 + erf(x / sqrt(2)))`, in the order in which [`import`](crate::import()) recognizes it.
    pub(super) fn gelu(&mut self, node: &Node) -> [NodeProto; 5] {
        let [x, y] = [node.inputs[0], node.output].map(|id| self.graph.value(id).name.clone());
        let [root, one, half] = [("root", FRAC_1_SQRT_2), ("one", 1.0), ("half", 0.5)]
            .map(|(suffix, number)| self.scalar(&node.name, suffix, number));
        let [scaled, erf, sum, halved] = ["scaled", "erf", "sum", "halved"].map(|suffix| self.name(&node.name, suffix));
        let part =
            |op: &str, inputs: &[&String], output: &String| NodeProto::new(op, output, inputs, &[output], Vec::new());
        let mut last = part("Mul", &[&halved, &sum], &y);
        last.name.clone_from(&node.name);
        [
            part("Mul", &[&x, &root], &scaled),
            part("Erf", &[&scaled], &erf),
            part("Add", &[&erf, &one], &sum),
            part("Mul", &[&x, &half], &halved),
            last,
        ]
    }
}
