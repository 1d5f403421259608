//! Normalization of groups, whose own operator changed its meaning between operator sets, by one that did not.

use super::Writer;
use crate::graph::Node;
use crate::proto::{AttributeProto, NodeProto, TensorProto};

impl Writer<'_> {
    /// An instance normalization over maps of all elements of a group.
    pub(super) fn group_norm(&mut self, node: &Node, groups: usize, epsilon: f32) -> [NodeProto; 3] {
        let [x, y] = [node.inputs[0], node.output].map(|id| self.graph.value(id).name.clone());
        let dims = self.graph.value(node.output).dims.clone();
        let mut shape = |suffix: &str, dims: &[i64]| {
            let name = self.name(&node.name, suffix);
            self.constants.push(TensorProto::i64(&name, &[dims.len()], dims));
            name
        };
        let grouped = shape("grouped_shape", &[0, groups as i64, -1]);
        let all: Vec<i64> = [0].into_iter().chain(dims.iter().map(|&dim| dim as i64)).collect();
        let own = shape("shape", &all);
        let [scale, bias] = [("scale", 1.0), ("bias", 0.0)]
            .map(|(suffix, number)| self.floats(&node.name, suffix, &vec![number; groups]));
        let [map, normalized] = ["grouped", "normalized"].map(|suffix| self.name(&node.name, suffix));
        let epsilon = vec![AttributeProto::float("epsilon", epsilon)];
        [
            NodeProto::new("Reshape", &map, &[&x, &grouped], &[&map], Vec::new()),
            NodeProto::new("InstanceNormalization", &node.name, &[&map, &scale, &bias], &[&normalized], epsilon),
            NodeProto::new("Reshape", &y, &[&normalized, &own], &[&y], Vec::new()),
        ]
    }
}
