//! The mean of a window.

use super::{Checked, OVERFLOW, Operands, Operator, Rules, VALUE, Verdict, ensure, is_safe, no_bytes, no_scratch};
use crate::arena::{Maps, RowOffsets};
use crate::arith::OPERAND_SHIFT;
use crate::format::records::{COUNT_INCLUDE_PAD, Node, OpCode, Tensor};
use crate::kernels::elementwise;
use crate::rows::{row_offset, window_columns, window_rows};
use crate::step::{BLOCK, Step};
use core::ops::Range;

/// The mean.
pub static OPERATOR: Operator = Operator { code: OpCode::AveragePool, reduces: false, reads: window_reads, step };

/// Its rules: one [`Requant`](crate::arith::Requant) for each number of elements that a window may count, the smallest
/// first.
pub static RULES: Rules = Rules {
    operator: &OPERATOR,
    path: "ops::average_pool::OPERATOR",
    operands: Operands::One,
    flags: COUNT_INCLUDE_PAD,
    gathers: false,
    requants: |node, _| window_area(node),
    scratch: no_scratch,
    state: no_bytes,
    check: check_windows,
    sums,
};

/// Rows that windows cover which make `made`.
pub(super) fn window_reads(node: &Node, input: &Tensor, _: &Tensor, made: Range<usize>) -> Range<usize> {
    let windows = window_rows(node, input);
    windows.inside(made.start).start..windows.inside(made.end.saturating_sub(1)).end
}

/// What a pool's windows have to be.
pub(super) fn check_windows(checked: &Checked<'_, '_>) -> Verdict {
    let Checked { node, input, output, .. } = checked;
    ensure!(input.channels == output.channels, "a pool cannot change the channels")?;
    ensure!(node.kernel_h > 0 && node.kernel_w > 0, "the kernel is empty")?;
    let down = window_rows(node, input).all_meet_the_map(output.height.into());
    let across = window_columns(node, input).all_meet_the_map(output.width.into());
    ensure!(down && across, "a window lies outside the map")
}

fn window_area(node: &Node) -> usize {
    usize::from(node.kernel_h) * usize::from(node.kernel_w)
}

fn sums(checked: &Checked<'_, '_>) -> Verdict {
    let requants = checked.requants;
    ensure!(requants.len() < 1 << 15, "it averages 32768 elements or more")?;
    let sums = (1..).map(|count| (VALUE * count) << OPERAND_SHIFT);
    ensure!(requants.iter().zip(sums).all(|(requant, sum)| is_safe(requant, sum, None)), OVERFLOW)
}

fn step(step: &Step<'_, '_>, maps: &mut Maps<'_>, _: &mut [i8]) {
    let (node, input, output) = (step.node, step.input, step.output);
    let requants = step.requants(window_area(node));
    let (windows, down) = (window_columns(node, input), window_rows(node, input));
    for row in step.rows() {
        let (height, counted_height) = (down.inside(row).len(), down.counted(row, node));
        let rows = RowOffsets::new(input, down.inside(row));
        for x in 0..output.width.into() {
            let columns = windows.inside(x);
            let counted = counted_height * windows.counted(x, node);
            let padding = counted.saturating_sub(height * columns.len());
            let Some(requant) = requants.get(counted.saturating_sub(1)) else { return };
            for channels in step.blocks() {
                // Padding is the zero point.
                let mut sums = [padding as i32 * i32::from(input.zero_point); BLOCK];
                for row in rows.clone() {
                    for column in columns.clone() {
                        elementwise::weigh(maps.pixel(input, row, column, &channels), 1, &mut sums);
                    }
                }
                let out = maps.pixel_mut(output, row_offset(output, row), x, &channels);
                elementwise::average(&sums, requant, node.lo, node.hi, out);
            }
        }
    }
}
