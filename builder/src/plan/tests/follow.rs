//! The device's schedule in one array of bytes, each marked with what lies there.

use crate::plan::Plan;
use skipstone_runtime::format::records::{NONE, OpCode};
use skipstone_runtime::schedule::{Pull, Records, Turn, members};
use skipstone_runtime::{ops, rows};
use std::ops::Range;

/// What a byte of the arena belongs to: a row of a tensor, or what a node keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Nobody,
    Row(usize, usize),
    State(usize),
}

/// Follows the plan's schedule; says what is missing where a row is not there any more when it is read, and where not
/// every step is made.
pub(super) fn follow(plan: &Plan) -> Result<(), String> {
    let records = Records { nodes: &plan.nodes, tensors: &plan.tensors, segments: &plan.segments };
    let image = plan.tensors.iter().position(|tensor| tensor.producer == NONE).ok_or("no image")?;
    let mut counters = vec![0u16; plan.nodes.len()];
    let (mut pull, mut fed, mut steps) = (Pull::default(), 0, 0);
    let mut content = vec![Owner::Nobody; plan.counters];
    let bytes = |index: usize, row: usize| -> Range<usize> {
        let start = rows::row_offset(&plan.tensors[index], row);
        start..start + rows::row_bytes(&plan.tensors[index])
    };
    loop {
        let (node, step) = match pull.next(&records, counters.as_mut_slice(), fed) {
            Turn::Step { node, step } => (node, step),
            Turn::NeedsInputRow => {
                content[bytes(image, fed)].fill(Owner::Row(image, fed));
                fed += 1;
                continue;
            }
            Turn::Done => break,
        };
        steps += 1;
        let record = &plan.nodes[node];
        if rows::is_view(record) {
            continue;
        }
        let (input, output) = (&plan.tensors[usize::from(record.input)], &plan.tensors[usize::from(record.output)]);
        let reads = [
            (record.input, ops::input_rows(record, input, output, step)),
            (record.operand, rows::output_rows(record, output, step)),
        ];
        for (operand, rows) in reads.into_iter().filter(|(operand, _)| *operand != NONE) {
            for member in members(&records, operand).map(|member| usize::from(member.index)) {
                for row in rows.clone() {
                    if content[bytes(member, row)].iter().any(|&owner| owner != Owner::Row(member, row)) {
                        return Err(format!("node {node}, step {step}: row {row} of tensor {member} is not there"));
                    }
                }
            }
        }
        let state = record.state as usize..(record.state + record.state_len) as usize;
        if step > 0 && content[state.clone()].iter().any(|&owner| owner != Owner::State(node)) {
            return Err(format!("node {node}, step {step}: what it keeps is not there"));
        }
        content[state].fill(Owner::State(node));
        let done = |done: usize| ops::rows_made(record, input, output, done);
        for row in done(step)..done(step + 1) {
            content[bytes(record.output.into(), row)].fill(Owner::Row(record.output.into(), row));
        }
    }
    let all = plan.nodes.iter().map(|node| {
        let [input, output] = [node.input, node.output].map(|tensor| &plan.tensors[usize::from(tensor)]);
        ops::steps(node, input, output)
    });
    let scores = plan.nodes.last().map_or(0, |node| usize::from(node.output));
    if steps != all.sum::<usize>() || plan.nodes.iter().all(|node| node.op == OpCode::Concat as u8) {
        return Err(format!("{steps} steps were made"));
    }
    let there = content[bytes(scores, 0)].iter().all(|&owner| owner == Owner::Row(scores, 0));
    if there { Ok(()) } else { Err("the scores are not there".into()) }
}
