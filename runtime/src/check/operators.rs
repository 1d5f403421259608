//! What every node has to be, and what its operator wants of it besides.

use super::{Judged, Outcome, ensure, is_section};
use crate::arith::OPERAND_SHIFT;
use crate::format::records::{NONE, Node, OpCode, Tensor};
use crate::format::{LoadError, Place};
use crate::kernels::conv::MAX_ROWS;
use crate::ops::{Checked, Operands, Rules, is_safe};
use crate::schedule::{Network, is_view};

/// Shapes follow from the operators, and what an operator reads besides maps has the length that follows from the shapes.
pub(super) fn check(model: &Judged<'_>, node: &Node, place: Place) -> Outcome {
    let Some(rules) = model.table.get(node) else {
        return Err(LoadError::Invalid { place, reason: "this program does not know its operator" });
    };
    let checked = checked(model, node, rules);
    let Checked { input, output, operand, .. } = &checked;
    let rows = (1..=MAX_ROWS).contains(&node.rows_per_step.into());
    ensure!(rows, place, "a step makes no rows, or more than four");
    ensure!(node.stride_h > 0 && node.stride_w > 0, place, "a stride is 0");
    ensure!(node.lo <= node.hi, place, "the smallest output exceeds the largest");
    ensure!(node.input != node.output && node.operand != node.output, place, "it reads what it makes");
    ensure!(rules.operands != Operands::Two || operand.is_some(), place, "it has no second operand");
    let one = rules.operands == Operands::One && operand.is_some();
    ensure!(!one, place, "its operator takes no second operand");
    ensure!(node.flags <= rules.flags, place, "this program does not know its flags");
    prologue(model, node, input, place)?;
    let reads_view = is_view(model, input);
    ensure!(rules.gathers || !reads_view, place, "it reads a view and cannot gather its rows");
    ensure!(!operand.is_some_and(|operand| is_view(model, operand)), place, "its second operand is a view");
    (rules.check)(&checked).map_err(|reason| LoadError::Invalid { place, reason })?;
    let requant = 16 * (rules.requants)(node, output) as u64;
    ensure!(is_section(model, node.requant, requant), place, "its output conversion lies outside the file");
    Ok(())
}

/// No sum leaves its 32 or 64 bits, whatever the image is.
pub(super) fn sums(model: &Judged<'_>) -> Outcome {
    let pixel = 255 << OPERAND_SHIFT;
    let holds = model.pixel_requant().iter().all(|requant| is_safe(requant, pixel, None));
    ensure!(holds, Place::Header, "the pixel conversion can overflow, or a shift is not in 32..=62");
    for (index, node) in model.nodes().iter().enumerate() {
        let Some(rules) = model.table.get(node) else { continue };
        let fault = |reason| LoadError::Invalid { place: Place::Node(index), reason };
        (rules.sums)(&checked(model, node, rules)).map_err(fault)?;
    }
    Ok(())
}

fn checked<'c, 'm>(model: &'c Judged<'m>, node: &'c Node, rules: &Rules) -> Checked<'c, 'm> {
    let tensor = |index: u16| model.tensor(index.into());
    let operand = (node.operand != NONE).then(|| tensor(node.operand));
    let (input, output) = (tensor(node.input), tensor(node.output));
    let requants = model.requants(node.requant, (rules.requants)(node, output));
    Checked { model, node, input, output, operand, requants }
}

/// What a convolution reads its input through.
fn prologue(model: &Judged<'_>, node: &Node, input: &Tensor, place: Place) -> Outcome {
    if node.prologue == 0 {
        let nothing = (node.prologue_zero, node.prologue_lo, node.prologue_hi) == (0, 0, 0);
        ensure!(nothing, place, "it has bounds of a prologue and no prologue");
        return Ok(());
    }
    ensure!(node.op == OpCode::Conv as u8, place, "only a convolution has a prologue");
    ensure!(node.prologue_lo <= node.prologue_hi, place, "the smallest value of its prologue exceeds the largest");
    let len = 16 * u64::from(input.channels);
    ensure!(is_section(model, node.prologue, len), place, "its prologue lies outside the file");
    Ok(())
}
