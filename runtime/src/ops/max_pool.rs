//! The largest element of a window.

use super::average_pool::{check_windows, window_reads};
use super::{Operands, Operator, Rules, alike, ensure, no_bytes, no_scratch};
use crate::arena::{Maps, RowOffsets};
use crate::format::records::{COUNT_INCLUDE_PAD, OpCode};
use crate::kernels::elementwise;
use crate::rows::{row_offset, window_columns, window_rows};
use crate::step::{BLOCK, Step};

/// The maximum.
pub static OPERATOR: Operator = Operator { code: OpCode::MaxPool, reduces: false, reads: window_reads, step };

/// Its rules.
pub static RULES: Rules = Rules {
    operator: &OPERATOR,
    path: "ops::max_pool::OPERATOR",
    operands: Operands::One,
    flags: COUNT_INCLUDE_PAD,
    gathers: false,
    requants: no_bytes,
    scratch: no_scratch,
    state: no_bytes,
    check: |checked| {
        check_windows(checked)?;
        ensure!(alike(checked.input, checked.output), "a maximum cannot change scale or zero point")
    },
    sums: |_| Ok(()),
};

fn step(step: &Step<'_, '_>, maps: &mut Maps<'_>, _: &mut [i8]) {
    let (node, input, output) = (step.node, step.input, step.output);
    let (windows, down) = (window_columns(node, input), window_rows(node, input));
    for row in step.rows() {
        let (height, counted_height) = (down.inside(row).len(), down.counted(row, node));
        let rows = RowOffsets::new(input, down.inside(row));
        for x in 0..output.width.into() {
            let columns = windows.inside(x);
            let has_padding = counted_height * windows.counted(x, node) > height * columns.len();
            let least = if has_padding { input.zero_point } else { i8::MIN };
            for channels in step.blocks() {
                let mut best = [least; BLOCK];
                for row in rows.clone() {
                    for column in columns.clone() {
                        elementwise::largest(maps.pixel(input, row, column, &channels), &mut best);
                    }
                }
                let out = maps.pixel_mut(output, row_offset(output, row), x, &channels);
                for (out, best) in out.iter_mut().zip(best) {
                    *out = best.max(node.lo).min(node.hi);
                }
            }
        }
    }
}
