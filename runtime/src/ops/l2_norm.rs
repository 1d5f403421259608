//! Each pixel's channels, divided by their Euclidean norm.

use super::{OVERFLOW, Operands, Operator, Rules, ensure, no_bytes, no_scratch, same_rows};
use crate::arena::Maps;
use crate::arith;
use crate::format::records::OpCode;
use crate::kernels::elementwise;
use crate::rows::row_offset;
use crate::step::Step;

/// The norm.
pub static OPERATOR: Operator = Operator { code: OpCode::L2Norm, reduces: false, reads: same_rows, step };

/// Its rules. The [`Requant`](crate::arith::Requant) is the numerator of [`arith::over_root`]; the weights are 1 for each
/// channel, or 0 for one that only pads.
pub static RULES: Rules = Rules {
    operator: &OPERATOR,
    path: "ops::l2_norm::OPERATOR",
    operands: Operands::One,
    flags: 0,
    gathers: false,
    requants: |_, _| 1,
    scratch: no_scratch,
    state: no_bytes,
    check: |checked| {
        ensure!(checked.keeps_shape(), "a norm cannot change the shape")?;
        checked.has_channel_mask()
    },
    // What it adds up, and every conversion that it makes, fits whatever its numerator is.
    sums: |checked| ensure!(checked.requants.iter().all(|requant| requant.m >= 0 && requant.c == 0), OVERFLOW),
};

fn step(step: &Step<'_, '_>, maps: &mut Maps<'_>, _: &mut [i8]) {
    let Some(numerator) = step.requant() else { return };
    let (node, input, output) = (step.node, step.input, step.output);
    let mask = step.model.channel_mask(node);
    let channels = 0..usize::from(output.channels);
    for row in step.rows() {
        let [from, to] = [input, output].map(|tensor| row_offset(tensor, row));
        for x in 0..output.width.into() {
            let (pixel, out) = maps.pixel_pair((input, from), (output, to), x, &channels);
            let square = elementwise::squares(pixel, mask, input.zero_point);
            let requant = arith::over_root(square.into(), numerator, output.zero_point);
            elementwise::l2_norm(pixel, input.zero_point, &requant, node.lo, node.hi, out);
        }
    }
}
