//! Weights that kernels may read in any order and in whole vectors: no -128, zeros where a layout pads, the same
//! weights in both layouts where the file holds two.

use super::{Outcome, ensure};
use crate::format::Place;
use crate::format::records::{Node, OpCode, WeightKind};
use crate::geometry;
use crate::model::Model;
use crate::schedule::Network;

pub(super) fn check(model: &Model<'_>) -> Outcome {
    for (index, node) in model.nodes().iter().enumerate() {
        if OpCode::from_code(node.op) == Some(OpCode::Conv) {
            node_weights(model, &node, Place::Node(index))?;
        }
    }
    Ok(())
}

fn node_weights(model: &Model<'_>, node: &Node, place: Place) -> Outcome {
    let canonical = model.weights(node, WeightKind::Canonical);
    let pairs = model.weights(node, WeightKind::Pairs);
    ensure!(!canonical.contains(&i8::MIN) && !pairs.contains(&i8::MIN), place, "a weight is -128");

    let (input, output) = (model.tensor(node.input.into()), model.tensor(node.output.into()));
    let (kernel_h, channels) = (usize::from(node.kernel_h), usize::from(output.channels));
    // Weights in pairs have one group: `layout` has seen to it.
    let run = usize::from(node.kernel_w) * usize::from(input.channels);
    let pair_at = |channel, row, k| pairs.get(geometry::pairs_index(kernel_h, run, channel, row, k)).copied();
    let each_row = || (0..channels).flat_map(|channel| (0..kernel_h).map(move |row| (channel, row)));
    if !pairs.is_empty() {
        let padded = each_row()
            .all(|(channel, row)| (run..run.next_multiple_of(4)).all(|k| pair_at(channel, row, k) == Some(0)));
        ensure!(padded, place, "a weight that only fills up a run is not 0");
    }
    if !pairs.is_empty() && !canonical.is_empty() {
        let same = canonical.chunks(run.max(1)).zip(each_row()).all(|(weights, (channel, row))| {
            weights.iter().enumerate().all(|(k, &weight)| pair_at(channel, row, k) == Some(weight))
        });
        ensure!(same, place, "its two layouts hold different weights");
    }
    Ok(())
}
