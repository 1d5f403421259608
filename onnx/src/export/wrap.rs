//! Borders that go on at the other end, whose mode of `Pad` is newer than most operator sets, by slices side by side.

use super::Writer;
use crate::BorderPad;
use crate::graph::Node;
use crate::proto::{AttributeProto, NodeProto};

impl Writer<'_> {
    /// For rows, then for columns: the last ones, all, and the first ones.
    pub(super) fn wrap(&mut self, node: &Node, pad: &BorderPad) -> Vec<NodeProto> {
        let [mut map, result] = [node.inputs[0], node.output].map(|id| self.graph.value(id).name.clone());
        let [_, height, width] = <[usize; 3]>::try_from(self.graph.value(node.inputs[0]).dims.as_slice())
            .expect("the graph's shapes were checked");
        let [top, left, bottom, right] = pad.pads;
        let padded = [("rows", 2, height, top, bottom), ("columns", 3, width, left, right)];
        let mut padded: Vec<_> = padded.into_iter().filter(|(.., before, after)| before + after > 0).collect();
        // A padding of nothing is one of no rows.
        if padded.is_empty() {
            padded.push(("rows", 2, height, 0, 0));
        }
        let mut nodes = Vec::new();
        for (index, &(what, axis, size, before, after)) in padded.iter().enumerate() {
            let last = index + 1 == padded.len();
            let ends = [("last", size - before, size, before), ("first", 0, after, after)];
            let [before, after] = ends.map(|(which, start, end, count)| {
                (count > 0).then(|| {
                    let output = self.name(&node.name, &format!("{which}_{what}"));
                    let mut inputs = vec![map.clone()];
                    for (suffix, number) in [("starts", start), ("ends", end), ("axes", axis)] {
                        inputs.push(self.constant(&node.name, &format!("{which}_{what}_{suffix}"), &[number]));
                    }
                    nodes.push(NodeProto::new("Slice", &output, &inputs, &[&output], Vec::new()));
                    output
                })
            });
            let inputs: Vec<String> = before.into_iter().chain([map]).chain(after).collect();
            let output = if last { result.clone() } else { self.name(&node.name, what) };
            let name = if last { &node.name } else { &output };
            let attributes = vec![AttributeProto::int("axis", axis as i64)];
            nodes.push(NodeProto::new("Concat", name, &inputs, &[&output], attributes));
            map = output;
        }
        nodes
    }
}
