//! Executes the schedule on row numbers: every row that a step reads has been made and still lies in its ring, and no
//! step overwrites what it reads.

use super::{MAX_NODES, Outcome, ensure};
use crate::format::Place;
use crate::format::records::{NONE, Node, OpCode, Tensor};
use crate::geometry;
use crate::model::Model;
use crate::schedule::{Network, Pull, Turn, rows_made};

/// Most steps of an image, and most nodes that the pull rule looks at: about 100 times what DenseNet-264 needs.
const MAX_STEPS: u32 = 1 << 18;
const MAX_LOOKS: u32 = 1 << 22;

pub(super) fn check(model: &Model<'_>) -> Outcome {
    let mut counters = [0u16; MAX_NODES];
    let mut pull = Pull::default();
    let (mut fed, mut steps, mut looked) = (0, 0u32, 0);
    loop {
        ensure!(steps < MAX_STEPS && looked < MAX_LOOKS, Place::Header, "the schedule is too long");
        steps += 1;
        match pull.next_counted(model, &mut counters[..], fed, &mut looked) {
            Turn::NeedsInputRow => {
                ensure!(fed < model.input().height.into(), Place::Header, "it needs more rows than the image has");
                fed += 1;
            }
            Turn::Step { node, step } => {
                let made = |tensor: u16| rows_made(model, &counters[..], fed, tensor.into());
                check_step(model, node, step, made)?;
            }
            Turn::Done => break,
        }
    }
    let scores = rows_made(model, &counters[..], fed, model.header().output.into());
    ensure!(scores == 1, Place::Header, "the schedule ends before the scores are made");
    Ok(())
}

/// `made` counts the rows of a tensor, those of this step included.
fn check_step(model: &Model<'_>, index: usize, step: usize, made: impl Fn(u16) -> usize) -> Outcome {
    let place = Place::Node(index);
    let node = model.node(index);
    let (input, output) = (model.tensor(node.input.into()), model.tensor(node.output.into()));
    let written = match OpCode::from_code(node.op) {
        Some(OpCode::GlobalAveragePool) => 0..usize::from(step + 1 == usize::from(input.height)),
        _ => geometry::output_rows(&node, &output, step),
    };
    ensure!(written.len() <= output.ring_rows.into(), place, "a step makes more rows than its output keeps");

    let operands = [
        (node.input, geometry::input_rows(&node, &input, &output, step)),
        (node.operand, geometry::output_rows(&node, &output, step)),
    ];
    for (position, (tensor_index, rows)) in operands.into_iter().enumerate() {
        if tensor_index == NONE || rows.is_empty() {
            continue;
        }
        let tensor = model.tensor(tensor_index.into());
        let made = made(tensor_index);
        ensure!(rows.end <= made, place, "it reads a row that has not been made");
        ensure!(rows.start + usize::from(tensor.ring_rows) >= made, place, "it reads a row that has been overwritten");
        for row in rows {
            for target in written.clone() {
                let in_place = position == 1 && row == target && geometry::same_row(&tensor, &output, row);
                let clear = in_place || is_apart(&tensor, row, &output, target) || is_pool(&node);
                ensure!(clear, place, "it overwrites a row that it reads");
            }
        }
    }
    Ok(())
}

/// A pool has read its last row before it writes its only one.
fn is_pool(node: &Node) -> bool {
    OpCode::from_code(node.op) == Some(OpCode::GlobalAveragePool)
}

/// Whether a row of one tensor and a row of another share no byte.
fn is_apart(a: &Tensor, row_a: usize, b: &Tensor, row_b: usize) -> bool {
    let (first_a, first_b) = (geometry::row_offset(a, row_a), geometry::row_offset(b, row_b));
    if first_a + geometry::row_bytes(a) <= first_b || first_b + geometry::row_bytes(b) <= first_a {
        return true;
    }
    // Two slices of one concatenation: on the grid of its pixels, their channels must not meet.
    let stride = usize::from(a.pixel_stride);
    if a.pixel_stride != b.pixel_stride {
        return false;
    }
    let (phase_a, phase_b) = (first_a % stride, first_b % stride);
    let (end_a, end_b) = (phase_a + usize::from(a.channels), phase_b + usize::from(b.channels));
    let meets = |start: usize, end: usize| start < end_a && phase_a < end;
    let wraps = end_a.max(end_b) > stride;
    !wraps && !meets(phase_b, end_b)
}
