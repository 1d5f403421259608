//! Each channel's map, brought to mean 0 and variance 1. Its state is a sum, a multiplier and a shift for each channel, 32
//! bits each; the whole map is there before the first row is made.

use super::{Checked, OVERFLOW, Operands, Operator, Rules, Verdict, ensure, no_scratch};
use crate::arena::Maps;
use crate::arith::Requant;
use crate::format::records::OpCode;
use crate::kernels::elementwise;
use crate::kernels::load;
use crate::rows::row_offset;
use crate::step::{BLOCK, Step};

/// The norm.
pub static OPERATOR: Operator = Operator {
    code: OpCode::InstanceNorm,
    reduces: false,
    reads: |_, input, _, made| made.start.min(input.height.into())..input.height.into(),
    step,
};

/// Its rules. The [`Requant`] is the numerator of [`over_root`](crate::arith::over_root); its constant is the epsilon.
pub static RULES: Rules = Rules {
    operator: &OPERATOR,
    path: "ops::instance_norm::OPERATOR",
    operands: Operands::One,
    flags: 0,
    gathers: false,
    requants: |_, _| 1,
    scratch: no_scratch,
    state: |_, output| 12 * usize::from(output.channels),
    check,
    sums: |checked| {
        let pixels = u64::from(checked.input.height) * u64::from(checked.input.width);
        ensure!(pixels < 1 << 15, "it averages 32768 pixels or more")?;
        squares(checked, pixels)
    },
};

pub(super) fn check(checked: &Checked<'_, '_>) -> Verdict {
    ensure!(checked.keeps_shape(), "a norm cannot change the shape")?;
    let bits = checked.node.operand_multiplier;
    let fraction = (0..=46).contains(&bits) && bits % 2 == 0;
    ensure!(fraction, "the bits by which it raises squares are not an even number in 0..=46")
}

/// Whether what it takes roots of stays below 2^63, for sums of `count` values.
pub(super) fn squares(checked: &Checked<'_, '_>, count: u64) -> Verdict {
    let reach = u128::from(255 * count);
    let holds = |requant: &Requant| {
        let raised = (reach * reach / 4) << checked.node.operand_multiplier;
        requant.m >= 0 && requant.c >= 0 && raised + u128::from(requant.c.unsigned_abs()) < 1 << 63
    };
    ensure!(checked.requants.iter().all(holds), OVERFLOW)
}

fn step(step: &Step<'_, '_>, maps: &mut Maps<'_>, _: &mut [i8]) {
    let count = u32::from(step.input.height) * u32::from(step.input.width);
    if step.step == 0 {
        let fraction = step.node.operand_multiplier.unsigned_abs();
        let Some(numerator) = step.requant() else { return };
        elementwise::deviations(moments(step, maps), count, fraction, numerator);
    }
    standardize(step, maps, count);
}

/// Makes the rows of a step, of channels whose sums of `count` values, multipliers and shifts are the state.
pub(super) fn standardize(step: &Step<'_, '_>, maps: &mut Maps<'_>, count: u32) {
    let (node, input, output) = (step.node, step.input, step.output);
    let words = 3 * usize::from(output.channels);
    for row in step.rows() {
        let [from, to] = [input, output].map(|tensor| row_offset(tensor, row));
        for x in 0..output.width.into() {
            for channels in step.blocks() {
                let mut values = [0; BLOCK];
                load::copy(maps.pixel(input, from, x, &channels), &mut values);
                let state = (node.state as usize, words);
                let (state, out) = maps.state_and_pixel_mut(state, (output, to), x, &channels);
                let zero_point = output.zero_point;
                let deviations = elementwise::Deviations { state, first: channels.start, count, zero_point };
                elementwise::instance_norm(&values, deviations, node.lo, node.hi, out);
            }
        }
    }
}

/// The state with sums and sums of squares of each channel's whole map, and room for as many numbers.
pub(super) fn moments<'s>(step: &Step<'_, '_>, maps: &'s mut Maps<'_>) -> &'s mut [i32] {
    let (state, channels) = (step.node.state as usize, usize::from(step.output.channels));
    maps.state_mut(state, 3 * channels).fill(0);
    for row in 0..step.input.height.into() {
        let (row, moments) = maps.row_and_sums((step.input, row), state, 2 * channels);
        elementwise::moments(row, moments);
    }
    maps.state_mut(state, 3 * channels)
}
