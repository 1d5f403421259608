//! Product of a mask, plus a constant, with a trunk. The mask is a map or one pixel.

use super::{Checked, Operands, Operator, Rules, Verdict, dense_row, ensure, no_bytes, shape};
use crate::arena::Maps;
use crate::format::records::OpCode;
use crate::kernels::elementwise;
use crate::network::Network;
use crate::step::Step;

/// The gate.
pub static OPERATOR: Operator = Operator {
    code: OpCode::Gate,
    reduces: false,
    // A mask of one pixel is read by every step.
    reads: |_, input, _, made| {
        let height = usize::from(input.height);
        made.start.min(height.saturating_sub(1))..made.end.min(height)
    },
    step,
};

/// Its rules.
pub static RULES: Rules = Rules {
    operator: &OPERATOR,
    path: "ops::gate::OPERATOR",
    operands: Operands::Two,
    flags: 0,
    gathers: false,
    requants: |_, _| 1,
    scratch: dense_row,
    state: no_bytes,
    check,
    sums,
};

fn check(checked: &Checked<'_, '_>) -> Verdict {
    let output = checked.output;
    let fits = checked.operand.map(shape) == Some(shape(output));
    ensure!(fits, "the trunk has another shape than the output")?;
    let mask = [shape(output), (1, 1, output.channels)].contains(&shape(checked.input));
    ensure!(mask, "the mask is neither of the output's shape nor one pixel of its channels")?;
    let offset = (-255..=32767).contains(&checked.node.operand_multiplier);
    ensure!(offset, "the constant of its mask is not in -255..=32767")
}

fn sums(checked: &Checked<'_, '_>) -> Verdict {
    // The magnitudes of int8 values plus a constant are largest at their ends.
    let largest = |offset: i32| {
        let [low, high] = [i8::MIN, i8::MAX].map(|end| (i32::from(end) + offset).unsigned_abs());
        u64::from(low.max(high))
    };
    let zero_point = checked.operand.map_or(0, |operand| i32::from(operand.zero_point));
    checked.are_safe(largest(checked.node.operand_multiplier) * largest(-zero_point))
}

fn step(step: &Step<'_, '_>, maps: &mut Maps<'_>, dense: &mut [i8]) {
    let Some(requant) = step.requant() else { return };
    let node = step.node;
    let zero_point = step.model.tensor(node.operand.into()).zero_point;
    for row in step.rows() {
        step.load_operand(row, maps, dense);
        let mask_row = row.min(usize::from(step.input.height).saturating_sub(1));
        let (mask, out) = step.in_and_out_row((step.input, mask_row), row, maps, dense);
        elementwise::gate(mask, node.operand_multiplier, zero_point, requant, node.lo, node.hi, out);
        step.put(row, maps, dense);
    }
}
