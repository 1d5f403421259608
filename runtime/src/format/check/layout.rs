//! Shapes follow from the operators, weights have the lengths that follow from the shapes, and everything that a step
//! touches lies inside the arena, apart from what it must not touch.

use super::{Outcome, ensure, is_section};
use crate::format::records::{NONE, Node, OpCode, Tensor, WeightKind};
use crate::format::{LoadError, Place};
use crate::geometry;
use crate::model::Model;
use crate::schedule::Network;

/// Bytes that no padded map, no weights and no arena exceed, so that offsets fit 32 bits everywhere.
const LIMIT: u64 = 1 << 31;

pub(super) fn check(model: &Model<'_>) -> Outcome {
    let header = model.header();
    ensure!(u64::from(header.arena_len) < LIMIT, Place::Header, "the arena has 2 GiB or more");
    let scratch = region(header.scratch, header.scratch_len.into());
    let counters = region(header.counters, 2 * u64::from(header.node_count));
    ensure!(fits(scratch, model) && header.scratch.is_multiple_of(16), Place::Header, "scratch lies outside the arena");
    ensure!(
        fits(counters, model) && header.counters.is_multiple_of(2),
        Place::Header,
        "counters lie outside the arena"
    );
    ensure!(apart(scratch, counters), Place::Header, "scratch and counters overlap");

    for (index, tensor) in model.tensors().enumerate() {
        let place = Place::Tensor(index);
        ensure!(tensor.height > 0 && tensor.width > 0 && tensor.channels > 0, place, "it is empty");
        ensure!((1..=tensor.height).contains(&tensor.ring_rows), place, "it keeps no row, or more rows than it has");
        ensure!(tensor.channels <= tensor.pixel_stride, place, "pixels overlap");
        let row = u64::from(tensor.width - 1) * u64::from(tensor.pixel_stride) + u64::from(tensor.channels);
        ensure!(row <= tensor.row_stride.into(), place, "rows overlap");
        let extent = extent(&tensor);
        ensure!(fits(extent, model), place, "it lies outside the arena");
        ensure!(apart(extent, scratch) && apart(extent, counters), place, "it overlaps scratch or counters");
        if index != usize::from(header.input) {
            let words = [tensor.offset, tensor.row_stride, tensor.pixel_stride.into(), tensor.channels.into()];
            ensure!(words.iter().all(|word| word.is_multiple_of(4)), place, "pixels are not aligned to 4 bytes");
        }
    }

    for (index, node) in model.nodes().enumerate() {
        let place = Place::Node(index);
        operator(model, &node, place)?;
        let (input, output) = (model.tensor(node.input.into()), model.tensor(node.output.into()));
        let scratch_len = geometry::scratch_len(&node, &input, &output) as u64;
        ensure!(scratch_len <= header.scratch_len.into(), place, "scratch is too small for it");
        let state_len = geometry::state_len(&node, &output);
        ensure!(node.state_len as usize == state_len, place, "its state does not have the length that it needs");
        let state = region(node.state, state_len as u64);
        if state_len > 0 {
            ensure!(fits(state, model) && node.state.is_multiple_of(4), place, "its state lies outside the arena");
            let clear = apart(state, scratch)
                && apart(state, counters)
                && apart(state, extent(&input))
                && apart(state, extent(&output))
                && model.nodes().take(index).all(|other| apart(state, region(other.state, other.state_len.into())));
            ensure!(clear, place, "its state overlaps something else");
        }
    }

    let output = model.output();
    ensure!(header.input != header.output, Place::Header, "the image is the scores");
    ensure!((output.height, output.width) == (1, 1), Place::Header, "the scores are a map");
    let classes = header.class_count;
    ensure!((1..=output.channels).contains(&classes), Place::Header, "no classes, or more than there are scores");
    Ok(())
}

fn operator(model: &Model<'_>, node: &Node, place: Place) -> Outcome {
    let (input, output) = (model.tensor(node.input.into()), model.tensor(node.output.into()));
    let operand = (node.operand != NONE).then(|| model.tensor(node.operand.into()));
    let Some(op) = OpCode::from_code(node.op) else {
        return Err(LoadError::Invalid { place, reason: "this program does not know its operator" });
    };
    ensure!((1..=2).contains(&node.rows_per_step), place, "a step makes neither one nor two rows");
    ensure!(node.stride_h > 0 && node.stride_w > 0, place, "a stride is 0");
    ensure!(node.lo <= node.hi, place, "the smallest output exceeds the largest");
    ensure!(node.input != node.output && node.operand != node.output, place, "it reads what it makes");
    match op {
        OpCode::Conv => {
            if let Some(operand) = operand {
                ensure!(shape(&operand) == shape(&output), place, "the residual has another shape than the output");
            }
            convolution(model, node, &input, &output, place)?;
        }
        OpCode::Add => {
            ensure!(shape(&input) == shape(&output), place, "a term has another shape than the sum");
            ensure!(
                operand.as_ref().map(shape) == Some(shape(&output)),
                place,
                "a term has another shape than the sum"
            );
        }
        OpCode::GlobalAveragePool => {
            ensure!(operand.is_none(), place, "a pool has no second operand");
            ensure!(
                shape(&output) == (1, 1, input.channels),
                place,
                "the output is not one pixel of the same channels"
            );
            ensure!(node.rows_per_step == 1, place, "a pool adds up one row a step");
        }
        OpCode::Shortcut => {
            ensure!(operand.is_none(), place, "a shortcut has no second operand");
            let strided = |length: u16, stride: u8| length.div_ceil(u16::from(stride).max(1));
            let made = (strided(input.height, node.stride_h), strided(input.width, node.stride_w));
            ensure!(made == (output.height, output.width), place, "the output's size does not follow from the stride");
            let channels = u32::from(node.channels_before) + u32::from(input.channels);
            ensure!(channels <= output.channels.into(), place, "the copied channels exceed the output");
            let copied = input.zero_point == output.zero_point && input.scale == output.scale;
            ensure!(copied, place, "a shortcut cannot change scale or zero point");
        }
        OpCode::Affine
        | OpCode::MaxPool
        | OpCode::AveragePool
        | OpCode::Lookup
        | OpCode::Gate
        | OpCode::Resize
        | OpCode::Concat => {
            return Err(LoadError::Invalid { place, reason: "this program does not run its operator" });
        }
    }
    let plain = node.flags == 0 && node.prologue == 0;
    ensure!(plain, place, "this program runs neither its flags nor its prologue");
    let requant = 16 * geometry::requant_count(node, &output) as u64;
    ensure!(is_section(model, node.requant, requant), place, "its output conversion lies outside the file");
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

/// First byte and the byte behind the last.
type Region = (u64, u64);

fn region(offset: u32, len: u64) -> Region {
    (offset.into(), u64::from(offset) + len)
}

/// The bytes of a ring: from its first row's first to its last row's last.
fn extent(tensor: &Tensor) -> Region {
    let rows = u64::from(tensor.ring_rows.saturating_sub(1)) * u64::from(tensor.row_stride);
    let row = u64::from(tensor.width.saturating_sub(1)) * u64::from(tensor.pixel_stride) + u64::from(tensor.channels);
    region(tensor.offset, rows + row)
}

fn fits(region: Region, model: &Model<'_>) -> bool {
    region.1 <= model.header().arena_len.into()
}

fn apart(a: Region, b: Region) -> bool {
    a.1 <= b.0 || b.1 <= a.0 || a.0 == a.1 || b.0 == b.1
}
