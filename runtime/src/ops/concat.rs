//! The channels of two maps, one after the other: nothing to do where the operands are slices of the output already.

use super::{Checked, Operands, Operator, Rules, Verdict, alike, ensure, no_bytes, no_scratch, same_rows};
use crate::arena::Maps;
use crate::format::records::{CONCAT_VIEW, OpCode};
use crate::network::{Member, Network, members};
use crate::rows::{is_view, member, same_row};
use crate::step::Step;

/// The concatenation.
pub static OPERATOR: Operator = Operator { code: OpCode::Concat, reduces: false, reads: same_rows, step };

/// Its rules.
pub static RULES: Rules = Rules {
    operator: &OPERATOR,
    path: "ops::concat::OPERATOR",
    operands: Operands::Two,
    flags: CONCAT_VIEW,
    gathers: true,
    requants: no_bytes,
    scratch: no_scratch,
    state: no_bytes,
    check,
    sums: |_| Ok(()),
};

fn check(checked: &Checked<'_, '_>) -> Verdict {
    let output = checked.output;
    let parts = [Some(checked.input), checked.operand];
    let parts = || parts.into_iter().flatten();
    let sizes = parts().all(|part| (part.height, part.width) == (output.height, output.width));
    let channels: u32 = parts().map(|part| u32::from(part.channels)).sum();
    ensure!(sizes && channels == output.channels.into(), "its operands do not make up the output's shape")?;
    ensure!(parts().all(|part| alike(part, output)), "a concatenation cannot change scale or zero point")
}

fn step(step: &Step<'_, '_>, maps: &mut Maps<'_>, _: &mut [i8]) {
    if is_view(step.node) {
        return;
    }
    let operand = step.model.tensor(step.node.operand.into());
    let operand = Member { index: step.node.operand, tensor: operand, before: step.input.channels };
    for row in step.rows() {
        for Member { tensor: from, before, .. } in members(step.model, step.node.input).chain([operand]) {
            let to = member(step.output, before, from.channels);
            if !same_row(from, &to, row) {
                maps.copy_row(from, &to, row);
            }
        }
    }
}
