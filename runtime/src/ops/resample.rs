//! A weighted sum of the rows and pixels around each position: cubic and antialiased interpolation. Rows are weighed
//! first, in scratch, `BLOCK` channels at a time.

use super::{Checked, Operands, Operator, Rules, VALUE, Verdict, ensure, no_bytes};
use crate::arena::{Maps, RowOffsets};
use crate::bounds;
use crate::format::records::{OpCode, ResizeMode};
use crate::kernels::elementwise;
use crate::rows::{Around, resampled_columns, resampled_rows, row_offset};
use crate::step::{BLOCK, Step};

/// The resampling.
pub static OPERATOR: Operator = Operator {
    code: OpCode::Resample,
    reduces: false,
    reads: |node, input, output, made| {
        let around = resampled_rows(node, input, output);
        around.inside(made.start).start..around.inside(made.end.saturating_sub(1)).end
    },
    step,
};

/// Its rules.
pub static RULES: Rules = Rules {
    operator: &OPERATOR,
    path: "ops::resample::OPERATOR",
    operands: Operands::One,
    flags: ResizeMode::Asymmetric as u8,
    gathers: false,
    requants: |_, _| 1,
    scratch: |_, input, _, _| {
        let channels = usize::from(input.channels).min(BLOCK);
        (size_of::<i32>() * usize::from(input.width) * channels).next_multiple_of(16)
    },
    state: no_bytes,
    check,
    sums,
};

fn check(checked: &Checked<'_, '_>) -> Verdict {
    let Checked { node, input, output, .. } = checked;
    ensure!(input.channels == output.channels, "a resampling cannot change the channels")?;
    let [down, across] = [resampled_rows(node, input, output), resampled_columns(node, input, output)];
    ensure!(down.count > 0 && across.count > 0, "it weighs nothing")?;
    let [rows, pixels] = [usize::from(output.height), usize::from(output.width)];
    let near = |around: &Around, count: usize| around.axis.reach(count) < 1 << 31;
    ensure!(near(&down, rows) && near(&across, pixels), "its positions leave 32 bits")?;
    let length = (rows * down.count + pixels * across.count) as u64 * size_of::<i32>() as u64;
    let whole = length == node.weights_len.into() && checked.is_section(node.weights, length);
    ensure!(whole, "its weights are not as many numbers as its rows and pixels need")?;
    ensure!((0..=31).contains(&node.operand_multiplier), "the bits that its sums lose are not in 0..=31")
}

fn sums(checked: &Checked<'_, '_>) -> Verdict {
    let Checked { model, node, output, .. } = checked;
    let rows = usize::from(output.height) * usize::from(node.kernel_h);
    let (rows, pixels) = model.taps(node).split_at_checked(rows).unwrap_or_default();
    let [rows, pixels] = [largest(rows, node.kernel_h), largest(pixels, node.kernel_w)];
    ensure!(VALUE * rows < 1 << 31, "the weights of its rows add up to 2^24 or more")?;
    let sum = u128::from(VALUE * rows) * u128::from(pixels);
    let narrow = (sum >> node.operand_multiplier) + 1;
    ensure!(sum < 1 << 63 && narrow < 1 << 31, "its sums leave 64 bits, or 32 without those that they lose")?;
    checked.are_safe(narrow as u64)
}

/// What the magnitudes of the weights of a position add up to, at most; there are `count` of each.
fn largest(weights: &[i32], count: u8) -> u64 {
    let sum = |weights: &[i32]| weights.iter().map(|weight| u64::from(weight.unsigned_abs())).sum();
    bounds::pixels(weights, count.into()).map(sum).max().unwrap_or(0)
}

fn step(step: &Step<'_, '_>, maps: &mut Maps<'_>, scratch: &mut [i8]) {
    let Some(requant) = step.requant() else { return };
    let (node, input, output) = (step.node, step.input, step.output);
    let down = resampled_rows(node, input, output);
    let across = resampled_columns(node, input, output);
    let rows = usize::from(output.height) * down.count;
    let (of_rows, of_pixels) = step.model.taps(node).split_at_checked(rows).unwrap_or_default();
    let scratch: &mut [i32] = bounds::cast_mut(scratch);
    let bits = node.operand_multiplier.unsigned_abs();
    for row in step.rows() {
        for channels in step.blocks() {
            let count = channels.len();
            let sums = bounds::part_mut(scratch, 0, usize::from(input.width) * count);
            sums.fill(0);
            for (from, weight) in RowOffsets::new(input, down.inside(row)).zip(inside(&down, of_rows, row)) {
                for (x, sums) in bounds::pixels_mut(sums, count).enumerate() {
                    elementwise::weigh(maps.pixel(input, from, x, &channels), *weight, sums);
                }
            }
            for x in 0..output.width.into() {
                let mut wide = [0; BLOCK];
                let pixels = bounds::rest(sums, across.inside(x).start * count);
                for (sums, weight) in bounds::pixels(pixels, count).zip(inside(&across, of_pixels, x)) {
                    elementwise::weigh_sums(sums, *weight, &mut wide);
                }
                let out = maps.pixel_mut(output, row_offset(output, row), x, &channels);
                elementwise::resample(&wide, bits, requant, node.lo, node.hi, out);
            }
        }
    }
}

/// The weights of the elements of the map around position number `index`.
fn inside<'w>(around: &Around, weights: &'w [i32], index: usize) -> &'w [i32] {
    let first = index * around.count + around.outside(index);
    bounds::part(weights, first, around.inside(index).len())
}
