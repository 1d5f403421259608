//! A multiplier and a constant for each channel: a batch norm that no convolution can take.

use super::{Checked, Operands, Operator, Rules, VALUE, Verdict, dense_row, ensure, no_bytes, same_rows};
use crate::arena::Maps;
use crate::arith::OPERAND_SHIFT;
use crate::format::records::OpCode;
use crate::kernels::{elementwise, load};
use crate::step::Step;

/// The affine.
pub static OPERATOR: Operator = Operator { code: OpCode::Affine, reduces: false, reads: same_rows, step };

/// Its rules.
pub static RULES: Rules = Rules {
    operator: &OPERATOR,
    path: "ops::affine::OPERATOR",
    operands: Operands::One,
    flags: 0,
    gathers: false,
    requants: |_, output| output.channels.into(),
    scratch: dense_row,
    state: no_bytes,
    check: |checked| ensure!(checked.keeps_shape(), "an affine cannot change the shape"),
    sums,
};

fn sums(checked: &Checked<'_, '_>) -> Verdict {
    checked.are_safe(VALUE << OPERAND_SHIFT)
}

fn step(step: &Step<'_, '_>, maps: &mut Maps<'_>, dense: &mut [i8]) {
    let requants = step.requants(step.output.channels.into());
    for row in step.rows() {
        let (input, out) = step.in_and_out_row((step.input, row), row, maps, dense);
        let part = load::Part { left: 0, pixel_stride: input.channels };
        elementwise::affine_row(input, requants, step.node.lo, step.node.hi, part, out);
        step.put(row, maps, dense);
    }
}
