//! Part of a map, every `stride`-th row and pixel of it, runs of its channels, inside padding: slices, crops, padding, the
//! parameter-free shortcut (option A).

use super::{Checked, Operands, Operator, Rules, Verdict, alike, dense_row, ensure, no_bytes};
use crate::arena::Maps;
use crate::bounds;
use crate::format::records::{OpCode, PadMode, Run};
use crate::kernels::elementwise;
use crate::network::members;
use crate::rows::{copied_pixels, copied_rows};
use crate::step::Step;

/// The copy.
pub static OPERATOR: Operator = Operator {
    code: OpCode::Copy,
    reduces: false,
    reads: |node, _, output, made| copied_rows(node, output).read(made),
    step,
};

/// Its rules.
pub static RULES: Rules = Rules {
    operator: &OPERATOR,
    path: "ops::copy::OPERATOR",
    operands: Operands::One,
    flags: PadMode::Wrap as u8,
    gathers: true,
    requants: no_bytes,
    scratch: dense_row,
    state: no_bytes,
    check,
    sums: |_| Ok(()),
};

fn check(checked: &Checked<'_, '_>) -> Verdict {
    let Checked { model, node, input, output, .. } = checked;
    let down = copied_rows(node, output).fits(input.height.into());
    let across = copied_pixels(node, output).fits(input.width.into());
    ensure!(down && across, "it copies nothing, or what is not there")?;
    let length = u64::from(node.weights_len);
    let whole = length.is_multiple_of(size_of::<Run>() as u64) && checked.is_section(node.weights, length);
    ensure!(whole, "its runs of channels lie outside the file")?;
    let mut made = 0;
    for run in model.runs(node) {
        let (from, to, len) = (u32::from(run.from), u32::from(run.to), u32::from(run.len));
        ensure!(len > 0 && to >= made, "its runs of channels are empty or do not follow each other")?;
        made = to + len;
        let inside = from + len <= input.channels.into() && made <= output.channels.into();
        ensure!(inside, "a run of channels lies outside the pixels")?;
    }
    ensure!(alike(input, output), "a copy cannot change scale or zero point")
}

fn step(step: &Step<'_, '_>, maps: &mut Maps<'_>, dense: &mut [i8]) {
    for row in step.rows() {
        copy(step, row, maps, dense);
        step.put(row, maps, dense);
    }
}

/// Of a view, each member gives some channels of each pixel.
fn copy(step: &Step<'_, '_>, row: usize, maps: &mut Maps<'_>, dense: &mut [i8]) {
    let (node, output) = (step.node, step.output);
    step.out_row(row, maps, dense).fill(output.zero_point);
    let Some(from) = copied_rows(node, output).source(row) else { return };
    let (pixels, runs) = (copied_pixels(node, output), step.model.runs(node));
    for member in members(step.model, node.input) {
        let (input, out) = step.in_and_out_row((member.tensor, from), row, maps, dense);
        for (x, out) in bounds::pixels_mut(out, output.channels.into()).enumerate() {
            if let Some(x) = pixels.source(x) {
                elementwise::copy_runs(input.pixel(x), member.before.into(), runs, out);
            }
        }
    }
}
