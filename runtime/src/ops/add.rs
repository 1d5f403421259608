//! Sum of two maps, each with its own multiplier.

use super::{
    Checked, OVERFLOW, Operands, Operator, Rules, VALUE, Verdict, dense_row, ensure, is_safe, no_bytes, same_rows,
    shape,
};
use crate::arena::Maps;
use crate::arith::OPERAND_SHIFT;
use crate::format::records::OpCode;
use crate::kernels::elementwise;
use crate::step::Step;

/// The sum.
pub static OPERATOR: Operator = Operator { code: OpCode::Add, reduces: false, reads: same_rows, step };

/// Its rules.
pub static RULES: Rules = Rules {
    operator: &OPERATOR,
    path: "ops::add::OPERATOR",
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
    let fits = checked.keeps_shape() && checked.operand.map(shape) == Some(shape(checked.output));
    ensure!(fits, "a term has another shape than the sum")
}

fn sums(checked: &Checked<'_, '_>) -> Verdict {
    let multiplier = Some(checked.node.operand_multiplier);
    let mut requants = checked.requants.iter();
    ensure!(requants.all(|requant| is_safe(requant, VALUE << OPERAND_SHIFT, multiplier)), OVERFLOW)
}

fn step(step: &Step<'_, '_>, maps: &mut Maps<'_>, dense: &mut [i8]) {
    let Some(requant) = step.requant() else { return };
    let node = step.node;
    for row in step.rows() {
        step.load_operand(row, maps, dense);
        let (input, out) = step.in_and_out_row((step.input, row), row, maps, dense);
        elementwise::add(input, requant, node.operand_multiplier, node.lo, node.hi, out);
        step.put(row, maps, dense);
    }
}
