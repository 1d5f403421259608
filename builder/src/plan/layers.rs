//! One node after the other, each map whole: what streaming is compared with.

use super::Layout;
use super::network::Network;
use skipstone_runtime::format::records::{NONE, Node, Segment, Tensor};

/// Bytes of the best plan that runs one node after the other: in the nodes' own order, or with one operand's branch
/// wholly before the other's.
pub(super) fn least_bytes(nodes: &[Node], tensors: &[Tensor], image_rows: usize) -> Option<usize> {
    let own = (0..nodes.len()).collect();
    let orders = [own, depth_first(nodes, tensors, false), depth_first(nodes, tensors, true)];
    let bytes = |order: &Vec<usize>| {
        let (nodes, tensors) = reordered(nodes, tensors, order);
        Some(Layout::new(&Network::new(&nodes, &tensors), single_nodes(nodes.len()), image_rows)?.bytes)
    };
    orders.iter().filter_map(bytes).min()
}

/// Each node a segment of its own.
pub(super) fn single_nodes(count: usize) -> Vec<Segment> {
    (0..count as u16).map(|first| Segment { first, end: first + 1, operand_first: 0 }).collect()
}

/// The nodes that the last one needs, each after its operands.
fn depth_first(nodes: &[Node], tensors: &[Tensor], operand_first: bool) -> Vec<usize> {
    let mut order = Vec::with_capacity(nodes.len());
    let mut placed = vec![false; nodes.len()];
    let mut waiting = vec![nodes.len() - 1];
    while let Some(&node) = waiting.last() {
        let mut operands = [nodes[node].input, nodes[node].operand];
        if operand_first {
            operands.reverse();
        }
        let producers = operands.into_iter().filter(|&operand| operand != NONE).map(|operand| {
            let producer = tensors[usize::from(operand)].producer;
            (producer != NONE).then_some(usize::from(producer))
        });
        match producers.flatten().find(|&producer| !placed[producer]) {
            Some(producer) => waiting.push(producer),
            None => {
                waiting.pop();
                placed[node] = true;
                order.push(node);
            }
        }
    }
    order
}

fn reordered(nodes: &[Node], tensors: &[Tensor], order: &[usize]) -> (Vec<Node>, Vec<Tensor>) {
    let mut tensors = tensors.to_vec();
    for (place, &node) in order.iter().enumerate() {
        tensors[usize::from(nodes[node].output)].producer = place as u16;
    }
    (order.iter().map(|&node| nodes[node]).collect(), tensors)
}
