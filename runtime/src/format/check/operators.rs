//! Shapes follow from the operators, and what an operator reads besides maps has the length that follows from the shapes.

use super::{Outcome, ensure, is_section};
use crate::format::records::{
    CONCAT_VIEW, COUNT_INCLUDE_PAD, Core, NONE, Node, OpCode, PadMode, ResizeMode, Run, TABLE_LEN, Tensor, WeightKind,
};
use crate::format::{LoadError, Place};
use crate::geometry;
use crate::model::Model;
use crate::schedule::{Network, is_view};

/// Bytes that no padded map, no weights and no arena exceed, so that offsets fit 32 bits everywhere.
pub(super) const LIMIT: u64 = 1 << 31;

/// Weights of a resize add up to less than this.
const RESIZE_LIMIT: u64 = 1 << 16;

pub(super) fn check(model: &Model<'_>, node: &Node, place: Place) -> Outcome {
    let (input, output) = (model.tensor(node.input.into()), model.tensor(node.output.into()));
    let operand = (node.operand != NONE).then(|| model.tensor(node.operand.into()));
    let Some(op) = OpCode::from_code(node.op) else {
        return Err(LoadError::Invalid { place, reason: "this program does not know its operator" });
    };
    ensure!((1..=2).contains(&node.rows_per_step), place, "a step makes neither one nor two rows");
    ensure!(node.stride_h > 0 && node.stride_w > 0, place, "a stride is 0");
    ensure!(node.lo <= node.hi, place, "the smallest output exceeds the largest");
    ensure!(node.input != node.output && node.operand != node.output, place, "it reads what it makes");
    let two = matches!(op, OpCode::Add | OpCode::Gate | OpCode::Concat);
    ensure!(!two || operand.is_some(), place, "it has no second operand");
    ensure!(two || op == OpCode::Conv || operand.is_none(), place, "its operator takes no second operand");
    let flags = match op {
        OpCode::MaxPool | OpCode::AveragePool => node.flags <= COUNT_INCLUDE_PAD,
        OpCode::Copy => PadMode::from_code(node.flags).is_some(),
        OpCode::Concat => node.flags <= CONCAT_VIEW,
        OpCode::Resize => ResizeMode::from_code(node.flags).is_some(),
        _ => node.flags == 0,
    };
    ensure!(flags, place, "this program does not know its flags");
    prologue(model, node, op, &input, place)?;
    ensure!(
        geometry::reads_views(node) || !is_view(model, &input),
        place,
        "it reads a view and cannot gather its rows"
    );
    ensure!(!operand.as_ref().is_some_and(|operand| is_view(model, operand)), place, "its second operand is a view");
    match op {
        OpCode::Conv => {
            let fits = operand.is_none_or(|operand| shape(&operand) == shape(&output));
            ensure!(fits, place, "the residual has another shape than the output");
            convolution(model, node, &input, &output, place)?;
        }
        OpCode::Add => {
            let fits = shape(&input) == shape(&output) && operand.map(shape) == Some(shape(&output));
            ensure!(fits, place, "a term has another shape than the sum");
        }
        OpCode::GlobalAveragePool => {
            let pixel = shape(&output) == (1, 1, input.channels);
            ensure!(pixel, place, "the output is not one pixel of the same channels");
            ensure!(node.rows_per_step == 1, place, "a global pool adds up one row a step");
        }
        OpCode::Copy => copy(model, node, &input, &output, place)?,
        OpCode::Affine => ensure!(shape(&input) == shape(&output), place, "an affine cannot change the shape"),
        OpCode::Lookup => {
            ensure!(shape(&input) == shape(&output), place, "a lookup cannot change the shape");
            let table = node.weights_len as usize == TABLE_LEN && is_section(model, node.weights, TABLE_LEN as u64);
            ensure!(table, place, "its table does not have 256 bytes or lies outside the file");
        }
        OpCode::MaxPool | OpCode::AveragePool => pool(node, op, &input, &output, place)?,
        OpCode::Gate => {
            let fits = operand.map(shape) == Some(shape(&output));
            ensure!(fits, place, "the trunk has another shape than the output");
            let pixel = (1, 1, output.channels);
            let mask = [shape(&output), pixel].contains(&shape(&input));
            ensure!(mask, place, "the mask is neither of the output's shape nor one pixel of its channels");
            let offset = (-255..=32767).contains(&node.operand_multiplier);
            ensure!(offset, place, "the constant of its mask is not in -255..=32767");
        }
        OpCode::Resize => {
            ensure!(input.channels == output.channels, place, "a resize cannot change the channels");
            let [down, across] =
                [geometry::resize_rows(node, &input, &output), geometry::resize_columns(node, &input, &output)];
            let sum = u64::from(down.weight()) * u64::from(across.weight());
            ensure!(sum < RESIZE_LIMIT, place, "the weights of its pixels add up to 65536 or more");
        }
        OpCode::L2Norm => {
            ensure!(shape(&input) == shape(&output), place, "a norm cannot change the shape");
            let mask = node.weights_len == output.channels.into()
                && is_section(model, node.weights, output.channels.into())
                && model.channel_mask(node).iter().all(|counts| (0..=1).contains(counts));
            ensure!(mask, place, "its channels are not as many numbers 0 or 1 inside the file");
        }
        OpCode::InstanceNorm => {
            ensure!(shape(&input) == shape(&output), place, "a norm cannot change the shape");
            let fraction = (0..=46).contains(&node.operand_multiplier) && node.operand_multiplier % 2 == 0;
            ensure!(fraction, place, "the bits by which it raises squares are not an even number in 0..=46");
        }
        OpCode::Concat => {
            let parts = [Some(input), operand];
            let parts = || parts.iter().flatten();
            let sizes = parts().all(|part| (part.height, part.width) == (output.height, output.width));
            let channels: u32 = parts().map(|part| u32::from(part.channels)).sum();
            let fits = sizes && channels == output.channels.into();
            ensure!(fits, place, "its operands do not make up the output's shape");
            ensure!(
                parts().all(|part| alike(part, &output)),
                place,
                "a concatenation cannot change scale or zero point"
            );
        }
    }
    let requant = 16 * geometry::requant_count(node, &output) as u64;
    ensure!(is_section(model, node.requant, requant), place, "its output conversion lies outside the file");
    Ok(())
}

/// What a convolution reads its input through.
fn prologue(model: &Model<'_>, node: &Node, op: OpCode, input: &Tensor, place: Place) -> Outcome {
    if node.prologue == 0 {
        let nothing = (node.prologue_zero, node.prologue_lo, node.prologue_hi) == (0, 0, 0);
        ensure!(nothing, place, "it has bounds of a prologue and no prologue");
        return Ok(());
    }
    ensure!(op == OpCode::Conv, place, "only a convolution has a prologue");
    ensure!(node.prologue_lo <= node.prologue_hi, place, "the smallest value of its prologue exceeds the largest");
    let len = 16 * geometry::prologue_count(node, input) as u64;
    ensure!(is_section(model, node.prologue, len), place, "its prologue lies outside the file");
    Ok(())
}

fn pool(node: &Node, op: OpCode, input: &Tensor, output: &Tensor, place: Place) -> Outcome {
    ensure!(input.channels == output.channels, place, "a pool cannot change the channels");
    ensure!(node.kernel_h > 0 && node.kernel_w > 0, place, "the kernel is empty");
    let down = geometry::window_rows(node, input).all_meet_the_map(output.height.into());
    let across = geometry::window_columns(node, input).all_meet_the_map(output.width.into());
    ensure!(down && across, place, "a window lies outside the map");
    if op == OpCode::MaxPool {
        ensure!(alike(input, output), place, "a maximum cannot change scale or zero point");
    }
    Ok(())
}

fn copy(model: &Model<'_>, node: &Node, input: &Tensor, output: &Tensor, place: Place) -> Outcome {
    let down = geometry::copied_rows(node, output).fits(input.height.into());
    let across = geometry::copied_pixels(node, output).fits(input.width.into());
    ensure!(down && across, place, "it copies nothing, or what is not there");
    let length = u64::from(node.weights_len);
    let whole = length.is_multiple_of(size_of::<Run>() as u64) && is_section(model, node.weights, length);
    ensure!(whole, place, "its runs of channels lie outside the file");
    let mut made = 0;
    for run in model.runs(node) {
        let (from, to, len) = (u32::from(run.from), u32::from(run.to), u32::from(run.len));
        ensure!(len > 0 && to >= made, place, "its runs of channels are empty or do not follow each other");
        made = to + len;
        let inside = from + len <= input.channels.into() && made <= output.channels.into();
        ensure!(inside, place, "a run of channels lies outside the pixels");
    }
    ensure!(alike(input, output), place, "a copy cannot change scale or zero point");
    Ok(())
}

fn convolution(model: &Model<'_>, node: &Node, input: &Tensor, output: &Tensor, place: Place) -> Outcome {
    let made = |length: u16, before: u8, behind: u8, kernel: u8, stride: u8| {
        let padded = u32::from(length) + u32::from(before) + u32::from(behind);
        padded.checked_sub(kernel.into()).map(|rest| rest / u32::from(stride).max(1) + 1)
    };
    ensure!(node.kernel_h > 0 && node.kernel_w > 0, place, "the kernel is empty");
    let height = made(input.height, node.pad_top, node.pad_bottom, node.kernel_h, node.stride_h);
    let width = made(input.width, node.pad_left, node.pad_right, node.kernel_w, node.stride_w);
    let follows = height == Some(output.height.into()) && width == Some(output.width.into());
    ensure!(follows, place, "the output's size does not follow from kernel, stride and padding");

    let groups = node.groups;
    let divides = groups > 0 && input.channels.is_multiple_of(groups) && output.channels.is_multiple_of(groups);
    ensure!(divides, place, "groups do not divide the channels");
    let Some(kind) = WeightKind::from_code(node.weight_kind) else {
        return Err(LoadError::Invalid { place, reason: "this program does not know the layout of its weights" });
    };
    let ungrouped = kind == WeightKind::Canonical || groups == 1;
    ensure!(ungrouped, place, "only canonical weights can have groups");
    let read = Core::from_code(model.header().core).is_some_and(|core| core.reads(kind));
    ensure!(read, place, "its weights are not laid out for the core that the header names");

    let padded_width = u64::from(node.pad_left) + u64::from(input.width) + u64::from(node.pad_right);
    let padded_row = padded_width * u64::from(input.channels) + 32;
    ensure!(2 * padded_row * geometry::step_span(node) as u64 <= LIMIT, place, "its padded rows are too large");
    let kernel = u64::from(node.kernel_h) * u64::from(node.kernel_w) * u64::from(output.channels);
    ensure!(kernel * (u64::from(input.channels) + 4) <= LIMIT, place, "its kernel is too large");

    let length = geometry::weights_len(node, input, output, kind);
    ensure!(
        node.weights_len as usize == length,
        place,
        "its weights do not have the length that follows from its shape"
    );
    ensure!(is_section(model, node.weights, length as u64), place, "its weights lie outside the file");
    if node.canonical != 0 {
        let length = geometry::weights_len(node, input, output, WeightKind::Canonical) as u64;
        ensure!(is_section(model, node.canonical, length), place, "its canonical weights lie outside the file");
    }
    Ok(())
}

fn shape(tensor: &Tensor) -> (u16, u16, u16) {
    (tensor.height, tensor.width, tensor.channels)
}

/// Whether integers mean the same in both.
fn alike(a: &Tensor, b: &Tensor) -> bool {
    a.zero_point == b.zero_point && a.scale == b.scale
}
