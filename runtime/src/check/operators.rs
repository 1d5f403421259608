//! What every node has to be, and what its operator wants of it besides.

use super::{Judged, at};
use crate::arith::OPERAND_SHIFT;
use crate::format::records::{NONE, Node, OpCode, Tensor};
use crate::format::{LoadError, Place};
use crate::kernels::conv::MAX_ROWS;
use crate::ops::{Checked, Operands, Rules, Verdict, ensure, is_safe};
use crate::schedule::{Network, is_view};

/// Shapes follow from the operators, and what an operator reads besides maps has the length that follows from the
/// shapes.
pub(super) fn check(model: &Judged<'_>, node: &Node) -> Verdict {
    let Some(rules) = model.table.get(node) else {
        return ensure!(false, "this program does not know its operator");
    };
    let checked = checked(model, node, rules);
    let Checked { input, output, operand, .. } = &checked;
    let rows = (1..=MAX_ROWS).contains(&node.rows_per_step.into());
    ensure!(rows, "a step makes no rows, or more than eight")?;
    ensure!(node.stride_h > 0 && node.stride_w > 0, "a stride is 0")?;
    ensure!(node.lo <= node.hi, "the smallest output exceeds the largest")?;
    ensure!(node.input != node.output && node.operand != node.output, "it reads what it makes")?;
    ensure!(rules.operands != Operands::Two || operand.is_some(), "it has no second operand")?;
    let one = rules.operands == Operands::One && operand.is_some();
    ensure!(!one, "its operator takes no second operand")?;
    ensure!(node.flags <= rules.flags, "this program does not know its flags")?;
    prologue(model, node, input)?;
    let reads_view = is_view(model, input);
    ensure!(rules.gathers || !reads_view, "it reads a view and cannot gather its rows")?;
    ensure!(!operand.is_some_and(|operand| is_view(model, operand)), "its second operand is a view")?;
    (rules.check)(&checked)?;
    let requant = 16 * (rules.requants)(node, output) as u64;
    ensure!(model.is_section(node.requant, requant), "its output conversion lies outside the file")
}

/// No sum leaves its 32 or 64 bits, whatever the image is.
pub(super) fn sums(model: &Judged<'_>) -> Result<(), LoadError> {
    let pixel = 255 << OPERAND_SHIFT;
    let holds = model.pixel_requant().iter().all(|requant| is_safe(requant, pixel, None));
    let pixels = ensure!(holds, "the pixel conversion can overflow, or a shift is not in 32..=62");
    pixels.map_err(at(Place::Header))?;
    for (index, node) in model.nodes().iter().enumerate() {
        let Some(rules) = model.table.get(node) else { continue };
        (rules.sums)(&checked(model, node, rules)).map_err(at(Place::Node(index)))?;
    }
    Ok(())
}

fn checked<'c, 'm>(model: &'c Judged<'m>, node: &'c Node, rules: &Rules) -> Checked<'c, 'm> {
    let tensor = |index: u16| model.tensor(index.into());
    let operand = (node.operand != NONE).then(|| tensor(node.operand));
    let (input, output) = (tensor(node.input), tensor(node.output));
    let requants = model.requants(node.requant, (rules.requants)(node, output));
    Checked { model, node, input, output, operand, requants, layouts: model.table.layouts }
}

/// What a convolution reads its input through.
fn prologue(model: &Judged<'_>, node: &Node, input: &Tensor) -> Verdict {
    if node.prologue == 0 {
        let nothing = (node.prologue_zero, node.prologue_lo, node.prologue_hi) == (0, 0, 0);
        return ensure!(nothing, "it has bounds of a prologue and no prologue");
    }
    ensure!(node.op == OpCode::Conv as u8, "only a convolution has a prologue")?;
    ensure!(node.prologue_lo <= node.prologue_hi, "the smallest value of its prologue exceeds the largest")?;
    let len = 16 * u64::from(input.channels);
    ensure!(model.is_section(node.prologue, len), "its prologue lies outside the file")
}
