//! Channels as blocks of pixels and back, by operators that all engines have for blocks that are no squares, too.

use super::{BLOCKS, Writer};
use crate::Op;
use crate::graph::Node;
use crate::proto::{AttributeProto, NodeProto};

impl Writer<'_> {
    /// The map with the block's axes apart, these moved, and neighbours joined.
    pub(super) fn blocks(&mut self, node: &Node, block: [usize; 2]) -> Vec<NodeProto> {
        let [x, y] = [node.inputs[0], node.output].map(|id| self.graph.value(id).name.clone());
        let [from, to] = [node.inputs[0], node.output].map(|id| {
            let dims = self.graph.value(id).dims.as_slice();
            <[usize; 3]>::try_from(dims).expect("the graph's shapes were checked")
        });
        let spreads = matches!(node.op, Op::DepthToSpace { .. });
        let (apart, order) = blocks_apart(spreads, block, from);
        let shape = |writer: &mut Self, suffix: &str, dims: &[usize]| {
            writer.constant(&node.name, suffix, &[&[0], dims].concat())
        };
        let (apart, joined) = (shape(self, "apart_shape", &apart), shape(self, "shape", &to));
        let [split, moved] = ["apart", "moved"].map(|suffix| self.name(&node.name, suffix));
        let mut last = NodeProto::new("Reshape", &node.name, &[&moved, &joined], &[&y], Vec::new());
        last.doc_string = BLOCKS.into();
        vec![
            NodeProto::new("Reshape", &split, &[&x, &apart], &[&split], Vec::new()),
            NodeProto::new("Transpose", &moved, &[&split], &[&moved], vec![AttributeProto::ints("perm", &order)]),
            last,
        ]
    }
}

/// Of a map of `dims` those with the axes of blocks apart, without the batch; and the order of all axes in which neighbours
/// are joined. `spreads` says that channels become pixels.
pub fn blocks_apart(spreads: bool, [rows, columns]: [usize; 2], dims: [usize; 3]) -> ([usize; 5], [i64; 6]) {
    let [channels, height, width] = dims;
    if spreads {
        ([rows, columns, channels / (rows * columns), height, width], [0, 3, 4, 1, 5, 2])
    } else {
        ([channels, height / rows, rows, width / columns, columns], [0, 3, 5, 1, 2, 4])
    }
}
