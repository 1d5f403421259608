//! The maps of each group of channels together, brought to mean 0 and variance 1. State and steps are those of an
//! instance norm, but that the channels of a group have the same numbers.

use super::{Checked, Operator, Rules, Verdict, ensure, instance_norm};
use crate::arena::Maps;
use crate::format::records::{Node, OpCode, Tensor};
use crate::kernels::elementwise;
use crate::step::Step;

/// The norm.
pub static OPERATOR: Operator = Operator { code: OpCode::GroupNorm, step, ..instance_norm::OPERATOR };

/// Its rules. The [`Requant`](crate::arith::Requant) is the numerator of [`over_root`](crate::arith::over_root), its
/// constant the epsilon; the weights are 1 for each channel, or 0 for one that only pads.
pub static RULES: Rules = Rules {
    operator: &OPERATOR,
    path: "ops::group_norm::OPERATOR",
    check: |checked| {
        instance_norm::check(checked)?;
        checked.has_channel_mask()?;
        let size = group_size(checked.node, checked.model.channel_mask(checked.node));
        ensure!(size > 0, "its groups do not divide its channels")
    },
    sums,
    ..instance_norm::RULES
};

fn sums(checked: &Checked<'_, '_>) -> Verdict {
    let Checked { node, input, .. } = checked;
    let pixels = u64::from(input.height) * u64::from(input.width);
    let count = pixels * group_size(node, checked.model.channel_mask(node)) as u64;
    ensure!(pixels < 1 << 16 && count < 1 << 21, "it averages 65536 pixels or 2097152 values or more")?;
    instance_norm::squares(checked, count)
}

/// Channels of a group, of those that count; 0 where there are no such groups.
fn group_size(node: &Node, mask: &[i8]) -> usize {
    let counted = mask.iter().filter(|counts| **counts != 0).count();
    let groups = usize::from(node.groups);
    let size = counted.checked_div(groups).unwrap_or(0);
    if size * groups == counted { size } else { 0 }
}

fn step(step: &Step<'_, '_>, maps: &mut Maps<'_>, _: &mut [i8]) {
    let mask = step.model.channel_mask(step.node);
    let size = group_size(step.node, mask);
    let count = pixels(step.input) * size as u32;
    if step.step == 0 {
        let fraction = step.node.operand_multiplier.unsigned_abs();
        let Some(numerator) = step.requant() else { return };
        let state = instance_norm::moments(step, maps);
        elementwise::group_deviations(state, (mask, size), count, fraction, numerator);
    }
    instance_norm::standardize(step, maps, count);
}

fn pixels(map: &Tensor) -> u32 {
    u32::from(map.height) * u32::from(map.width)
}
