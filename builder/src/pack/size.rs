//! What makes a file smaller.

use skipstone_runtime::format::records::{Node, OpCode, Tensor, WeightKind};
use skipstone_runtime::geometry;

/// Takes canonical weights, which every program runs, where the target's own layout pads them. `tensors` have their shapes.
pub(super) fn choose_layouts(nodes: &mut [Node], tensors: &[Tensor]) {
    for node in nodes.iter_mut().filter(|node| OpCode::from_code(node.op) == Some(OpCode::Conv)) {
        let (input, output) = (&tensors[usize::from(node.input)], &tensors[usize::from(node.output)]);
        let len = |kind| geometry::weights_len(node, input, output, kind);
        let pads = |kind| len(kind) > len(WeightKind::Canonical);
        if WeightKind::from_code(node.weight_kind).is_some_and(pads) {
            node.weight_kind = WeightKind::Canonical as u8;
        }
    }
}
