//! The mean of each channel. Its state is a sum for each, an i32; the last row of the input makes its one row.

use super::{Checked, Operands, Operator, Rules, VALUE, Verdict, ensure, no_scratch, same_rows, shape};
use crate::arena::Maps;
use crate::arith::OPERAND_SHIFT;
use crate::format::records::OpCode;
use crate::kernels::elementwise;
use crate::rows::row_offset;
use crate::step::Step;

/// The global mean.
pub static OPERATOR: Operator = Operator { code: OpCode::GlobalAveragePool, reduces: true, reads: same_rows, step };

/// Its rules.
pub static RULES: Rules = Rules {
    operator: &OPERATOR,
    path: "ops::global_pool::OPERATOR",
    operands: Operands::One,
    flags: 0,
    gathers: false,
    requants: |_, _| 1,
    scratch: no_scratch,
    state: |_, output| 4 * usize::from(output.channels),
    check: |checked| {
        let pixel = shape(checked.output) == (1, 1, checked.input.channels);
        ensure!(pixel, "the output is not one pixel of the same channels")?;
        ensure!(checked.node.rows_per_step == 1, "a global pool adds up one row a step")
    },
    sums,
};

fn sums(checked: &Checked<'_, '_>) -> Verdict {
    let pixels = u64::from(checked.input.height) * u64::from(checked.input.width);
    ensure!(pixels < 1 << 15, "it averages 32768 pixels or more")?;
    checked.are_safe((VALUE * pixels) << OPERAND_SHIFT)
}

fn step(step: &Step<'_, '_>, maps: &mut Maps<'_>, _: &mut [i8]) {
    let Some(requant) = step.requant() else { return };
    let (state, channels) = (step.node.state as usize, usize::from(step.output.channels));
    let (row, sums) = maps.row_and_sums((step.input, step.step), state, channels);
    if step.step == 0 {
        sums.fill(0);
    }
    elementwise::accumulate(row, sums);
    if step.step + 1 == usize::from(step.input.height) {
        // One pixel has no gaps, whatever its stride is.
        let (sums, out) = maps.sums_and_bytes(state, channels, row_offset(step.output, 0));
        elementwise::average(sums, requant, step.node.lo, step.node.hi, out);
    }
}
