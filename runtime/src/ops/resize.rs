//! Bilinear or nearest interpolation.

use super::{Checked, Operands, Operator, Rules, VALUE, ensure, no_bytes, no_scratch};
use crate::arena::{Maps, RowOffsets};
use crate::arith::OPERAND_SHIFT;
use crate::format::records::{OpCode, ResizeMode};
use crate::kernels::elementwise;
use crate::rows::{Position, resize_columns, resize_rows, row_offset};
use crate::step::{BLOCK, Step};

/// Weights of a pixel add up to less than this.
const LIMIT: u64 = 1 << 16;

/// The interpolation.
pub static OPERATOR: Operator = Operator {
    code: OpCode::Resize,
    reduces: false,
    reads: |node, input, output, made| {
        let axis = resize_rows(node, input, output);
        axis.position(made.start).first..axis.position(made.end.saturating_sub(1)).end()
    },
    step,
};

/// Its rules.
pub static RULES: Rules = Rules {
    operator: &OPERATOR,
    path: "ops::resize::OPERATOR",
    operands: Operands::One,
    flags: ResizeMode::Nearest as u8,
    gathers: false,
    requants: |_, _| 1,
    scratch: no_scratch,
    state: no_bytes,
    check: |checked| {
        ensure!(checked.input.channels == checked.output.channels, "a resize cannot change the channels")?;
        ensure!(weight(checked) < LIMIT, "the weights of its pixels add up to 65536 or more")
    },
    sums: |checked| checked.are_safe((VALUE * weight(checked)) << OPERAND_SHIFT),
};

/// What the weights of an output pixel add up to.
fn weight(Checked { node, input, output, .. }: &Checked<'_, '_>) -> u64 {
    let [down, across] = [resize_rows(node, input, output), resize_columns(node, input, output)];
    u64::from(down.weight()) * u64::from(across.weight())
}

fn step(step: &Step<'_, '_>, maps: &mut Maps<'_>, _: &mut [i8]) {
    let Some(requant) = step.requant() else { return };
    let (node, input, output) = (step.node, step.input, step.output);
    let down = resize_rows(node, input, output);
    let across = resize_columns(node, input, output);
    for row in step.rows() {
        let y = down.position(row);
        let rows = RowOffsets::new(input, y.first..y.end()).zip(weights(y, down.weight()));
        for at in 0..output.width.into() {
            let x = across.position(at);
            let columns = (x.first..x.end()).zip(weights(x, across.weight()));
            for channels in step.blocks() {
                let mut sums = [0; BLOCK];
                for (row, down) in rows.clone() {
                    for (column, across) in columns.clone() {
                        elementwise::weigh(maps.pixel(input, row, column, &channels), down * across, &mut sums);
                    }
                }
                let out = maps.pixel_mut(output, row_offset(output, row), at, &channels);
                elementwise::average(&sums, requant, node.lo, node.hi, out);
            }
        }
    }
}

/// The weights of the elements of a position.
fn weights(position: Position, sum: u32) -> impl Iterator<Item = i32> + Clone {
    [sum.saturating_sub(position.fraction) as i32, position.fraction as i32].into_iter()
}
