//! No sum leaves its 32 or 64 bits, whatever the image is.

use super::{Outcome, ensure};
use crate::arith::{OPERAND_SHIFT, Requant, SHIFT_MAX, SHIFT_MIN};
use crate::format::Place;
use crate::format::records::{NONE, Node, OpCode, WeightKind};
use crate::geometry;
use crate::model::Model;
use crate::schedule::Network;

/// Largest magnitude of an int8 value.
const VALUE: u64 = 128;

pub(super) fn check(model: &Model<'_>) -> Outcome {
    let pixel = 255 << OPERAND_SHIFT;
    let holds = model.pixel_requant().iter().all(|requant| is_safe(requant, pixel, None));
    ensure!(holds, Place::Header, "the pixel conversion can overflow, or a shift is not in 32..=62");
    for (index, node) in model.nodes().iter().enumerate() {
        node_sums(model, &node, Place::Node(index))?;
    }
    Ok(())
}

fn node_sums(model: &Model<'_>, node: &Node, place: Place) -> Outcome {
    let overflow = "its output conversion can overflow, or a shift is not in 32..=62";
    let requant = model.requant(node);
    let operand = (node.operand != NONE).then_some(node.operand_multiplier);
    match OpCode::from_code(node.op) {
        Some(OpCode::Conv) => {
            let shift = requant.first().map(|first| first.s);
            let one_shift = operand.is_none() || requant.iter().all(|requant| Some(requant.s) == shift);
            ensure!(one_shift, place, "shifts differ where a residual is added");
            let mut prologue = model.prologue(node).iter();
            let holds = prologue.all(|requant| is_safe(requant, VALUE << OPERAND_SHIFT, None));
            ensure!(holds, place, "its prologue can overflow, or a shift is not in 32..=62");
            for (channel, requant) in requant.iter().enumerate() {
                let sum = VALUE * weight_sum(model, node, channel);
                ensure!(sum < 1 << 31, place, "its accumulators can overflow");
                ensure!(is_safe(requant, sum, operand), place, overflow);
            }
        }
        Some(OpCode::Affine) => {
            let holds = requant.iter().all(|requant| is_safe(requant, VALUE << OPERAND_SHIFT, None));
            ensure!(holds, place, overflow);
        }
        Some(OpCode::AveragePool) => {
            ensure!(requant.len() < 1 << 15, place, "it averages 32768 elements or more");
            let sums = (1..).map(|count| (VALUE * count) << OPERAND_SHIFT);
            ensure!(requant.iter().zip(sums).all(|(requant, sum)| is_safe(requant, sum, None)), place, overflow);
        }
        Some(OpCode::Gate) => {
            // The magnitudes of int8 values behind a constant are largest at their ends.
            let largest = |offset: i32| [i8::MIN, i8::MAX].map(|end| (i32::from(end) + offset).unsigned_abs());
            let mask = largest(node.operand_multiplier).into_iter().fold(0, u32::max);
            let zero_point = model.tensor(node.operand.into()).zero_point;
            let trunk = largest(-i32::from(zero_point)).into_iter().fold(0, u32::max);
            let product = u64::from(mask) * u64::from(trunk);
            ensure!(requant.iter().all(|requant| is_safe(requant, product, None)), place, overflow);
        }
        Some(OpCode::Resize) => {
            let (input, output) = (model.tensor(node.input.into()), model.tensor(node.output.into()));
            let [down, across] =
                [geometry::resize_rows(node, &input, &output), geometry::resize_columns(node, &input, &output)];
            let sum = (VALUE * u64::from(down.weight()) * u64::from(across.weight())) << OPERAND_SHIFT;
            ensure!(requant.iter().all(|requant| is_safe(requant, sum, None)), place, overflow);
        }
        Some(OpCode::Add) => {
            let holds = requant.iter().all(|requant| is_safe(requant, VALUE << OPERAND_SHIFT, operand));
            ensure!(holds, place, overflow);
        }
        Some(OpCode::GlobalAveragePool) => {
            let input = model.tensor(node.input.into());
            let pixels = u64::from(input.height) * u64::from(input.width);
            ensure!(pixels < 1 << 15, place, "it averages 32768 pixels or more");
            let sum = (VALUE * pixels) << OPERAND_SHIFT;
            ensure!(requant.iter().all(|requant| is_safe(requant, sum, None)), place, overflow);
        }
        Some(OpCode::L2Norm) => {
            // What it adds up, and every conversion that it makes, fits whatever its numerator is.
            ensure!(requant.iter().all(|requant| requant.m >= 0 && requant.c == 0), place, overflow);
        }
        Some(OpCode::InstanceNorm) => {
            let input = model.tensor(node.input.into());
            let pixels = u64::from(input.height) * u64::from(input.width);
            ensure!(pixels < 1 << 15, place, "it averages 32768 pixels or more");
            let reach = u128::from(255 * pixels);
            let holds = |requant: &Requant| {
                let square = ((reach * reach / 4) << node.operand_multiplier) + u128::from(requant.c.unsigned_abs());
                requant.m >= 0 && requant.c >= 0 && square < 1 << 63
            };
            ensure!(requant.iter().all(holds), place, overflow);
        }
        Some(OpCode::Copy | OpCode::MaxPool | OpCode::Lookup | OpCode::Concat) | None => {}
    }
    Ok(())
}

/// Sum of the magnitudes of an output channel's weights, which are the same in all layouts that the file holds.
fn weight_sum(model: &Model<'_>, node: &Node, channel: usize) -> u64 {
    let (input, output) = (model.tensor(node.input.into()), model.tensor(node.output.into()));
    let kind = WeightKind::from_code(node.weight_kind).unwrap_or(WeightKind::Canonical);
    let weights = model.weights(node, kind);
    let length = geometry::weights_len(node, &input, &output, kind) / usize::from(output.channels).max(1);
    let magnitude = |weight: &i8| u64::from(weight.unsigned_abs());
    let block = |at: usize, length: usize| weights.get(at..).and_then(|rest| rest.get(..length)).unwrap_or(&[]);
    match kind {
        WeightKind::Canonical => block(channel * length, length).iter().map(magnitude).sum(),
        // The weights of the two channels of a pair alternate.
        WeightKind::Pairs => {
            let pair = block(channel / 2 * 2 * length, 2 * length);
            pair.iter().skip(channel % 2).step_by(2).map(magnitude).sum()
        }
    }
}

/// Whether `requant` keeps to 64 bits for all accumulators of magnitude `acc` and all operands.
fn is_safe(requant: &Requant, acc: u64, operand: Option<i32>) -> bool {
    let product = u128::from(acc) * u128::from(requant.m.unsigned_abs());
    let operand = u128::from(VALUE << OPERAND_SHIFT) * u128::from(operand.unwrap_or(0).unsigned_abs());
    let sum = product + operand + u128::from(requant.c.unsigned_abs());
    (SHIFT_MIN..=SHIFT_MAX).contains(&requant.s) && requant.m != i32::MIN && sum < 1 << 63
}
