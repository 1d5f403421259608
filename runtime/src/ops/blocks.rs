//! Channels as blocks of pixels, or blocks of pixels as channels: those by row in the block, column in the block, channel
//! of the pixel. Which of both it is and how large blocks are follows from the shapes.

use super::{Checked, Operands, Operator, Rules, Verdict, alike, dense_row, ensure, no_bytes};
use crate::arena::Maps;
use crate::format::records::{Node, OpCode, Tensor};
use crate::kernels::load;
use crate::step::Step;
use core::num::NonZeroUsize;
use core::ops::Range;

/// The move.
pub static OPERATOR: Operator = Operator { code: OpCode::Blocks, reduces: false, reads, step };

/// Its rules.
pub static RULES: Rules = Rules {
    operator: &OPERATOR,
    path: "ops::blocks::OPERATOR",
    operands: Operands::One,
    flags: 0,
    gathers: false,
    requants: no_bytes,
    scratch: dense_row,
    state: no_bytes,
    check,
    sums: |_| Ok(()),
};

/// Rows and columns of a block.
struct Block {
    rows: NonZeroUsize,
    columns: NonZeroUsize,
    /// Whether channels become pixels.
    spreads: bool,
}

impl Block {
    fn new(input: &Tensor, output: &Tensor) -> Self {
        let spreads = output.height > input.height || output.width > input.width;
        let (few, many) = if spreads { (input, output) } else { (output, input) };
        let size = |few: u16, many: u16| {
            NonZeroUsize::new(many.checked_div(few).unwrap_or(1).into()).unwrap_or(NonZeroUsize::MIN)
        };
        Self { rows: size(few.height, many.height), columns: size(few.width, many.width), spreads }
    }
}

fn reads(_: &Node, input: &Tensor, output: &Tensor, made: Range<usize>) -> Range<usize> {
    let block = Block::new(input, output);
    if block.spreads {
        made.start / block.rows..made.end.saturating_sub(1) / block.rows + 1
    } else {
        made.start * block.rows.get()..made.end * block.rows.get()
    }
}

fn check(checked: &Checked<'_, '_>) -> Verdict {
    let Checked { node, input, output, .. } = checked;
    let Block { rows, columns, spreads } = Block::new(input, output);
    let (few, many) = if spreads { (input, output) } else { (output, input) };
    let covers = |few: u16, size: NonZeroUsize, many: u16| usize::from(few) * size.get() == usize::from(many);
    let covered = covers(few.height, rows, many.height) && covers(few.width, columns, many.width);
    ensure!(covered, "its blocks do not cover the map")?;
    let channels = usize::from(node.groups);
    let inside = (1..=usize::from(many.channels)).contains(&channels);
    let all = rows
        .checked_mul(columns)
        .and_then(|pixels| pixels.get().checked_mul(channels))
        .is_some_and(|all| all <= usize::from(few.channels));
    ensure!(inside && all, "the channels of a block's pixels are not those of a pixel")?;
    ensure!(alike(input, output), "moving elements cannot change scale or zero point")
}

fn step(step: &Step<'_, '_>, maps: &mut Maps<'_>, dense: &mut [i8]) {
    let (input, output) = (step.input, step.output);
    let (Block { rows, columns, spreads }, channels) = (Block::new(input, output), usize::from(step.node.groups));
    for row in step.rows() {
        step.out_row(row, maps, dense).fill(output.zero_point);
        // Of the few pixels with many channels those that row `y` of a block has.
        let part = |y: usize, x: usize| {
            let start = (y * columns.get() + x) * channels;
            start..start + channels
        };
        let lines = if spreads { row / rows..row / rows + 1 } else { row * rows.get()..(row + 1) * rows.get() };
        for line in lines {
            let y = if spreads { row % rows } else { line % rows };
            let (input, out) = step.in_and_out_row((input, line), row, maps, dense);
            let out_channels = usize::from(output.channels).max(1);
            for x in 0..usize::from(step.input.width.max(output.width)) {
                let (from, to) = if spreads {
                    (input.pixel(x / columns).get(part(y, x % columns)), out.get_mut(x * out_channels..))
                } else {
                    let start = x / columns * out_channels + part(y, x % columns).start;
                    (input.pixel(x).get(..channels), out.get_mut(start..))
                };
                if let (Some(from), Some(to)) = (from, to.and_then(|to| to.get_mut(..channels))) {
                    load::copy(from, to);
                }
            }
        }
        step.put(row, maps, dense);
    }
}
