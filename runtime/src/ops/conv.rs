//! Convolution, with an optional affine of its input (the prologue) and an optional residual addition in its last step. A
//! linear layer is one whose kernel is the map.
//!
//! A step pads its input rows in scratch, as the layout of its weights wants them, and calls the backend's kernel once for
//! all its output rows.

use super::{
    Checked, OVERFLOW, Operands, Operator, Rules, VALUE, Verdict, dense_row, ensure, is_safe, no_bytes, shape,
};
use crate::arena::Maps;
use crate::arith::OPERAND_SHIFT;
use crate::format::records::{Core, NONE, Node, OpCode, Tensor};
use crate::kernels::conv::{ConvParts, ConvRows, ConvShape, Element, MAX_ROWS};
use crate::kernels::layout::Layout;
use crate::kernels::{Backend, ConvCode, ConvKernel, elementwise, load};
use crate::network::members;
use crate::rows::window_rows;
use crate::step::Step;
use core::ops::Range;

/// Bytes that no padded rows, no weights and no arena exceed, so that offsets fit 32 bits everywhere.
pub(crate) const LIMIT: u64 = 1 << 31;

/// The convolution.
pub static OPERATOR: Operator = Operator {
    code: OpCode::Conv,
    reduces: false,
    reads: |node, input, _, made| {
        let windows = window_rows(node, input);
        windows.inside(made.start).start..windows.inside(made.end.saturating_sub(1)).end
    },
    step,
};

/// The convolution of programs whose kernels all read int8 rows.
pub static INT8: Operator = Operator { step: step_int8, ..OPERATOR };

/// The convolution of programs whose kernels all read 16-bit rows.
pub static INT16: Operator = Operator { step: step_int16, ..OPERATOR };

/// Its rules.
pub static RULES: Rules = Rules {
    operator: &OPERATOR,
    path: "ops::conv::OPERATOR",
    operands: Operands::OneOrTwo,
    flags: 0,
    gathers: true,
    requants: |_, output| output.channels.into(),
    scratch: |node, input, output, layout| {
        let rows = usize::from(node.rows_per_step).max(1);
        let bytes =
            |layout: &Layout| padded_bytes(node, input, output, layout) + work_bytes(node, input, output, layout);
        layout.map_or(0, bytes) + rows * dense_row(node, input, output, None)
    },
    state: no_bytes,
    check,
    sums,
};

/// The rules with [`INT8`].
pub static INT8_RULES: Rules = Rules { operator: &INT8, path: "ops::conv::INT8", ..RULES };

/// The rules with [`INT16`].
pub static INT16_RULES: Rules = Rules { operator: &INT16, path: "ops::conv::INT16", ..RULES };

/// The shape of a convolution.
#[inline]
pub fn conv_shape(node: &Node, input: &Tensor, output: &Tensor) -> ConvShape {
    ConvShape {
        kernel_h: node.kernel_h.into(),
        kernel_w: node.kernel_w.into(),
        stride_h: node.stride_h.into(),
        stride_w: node.stride_w.into(),
        channels_in: input.channels.into(),
        channels_out: output.channels.into(),
        groups: node.groups.into(),
        width: output.width.into(),
    }
}

/// The kernel by which a backend runs a convolution of a model; `None` if it reads no weights that lie like these.
pub fn kernel(backend: &Backend, node: &Node, input: &Tensor, output: &Tensor) -> Option<&'static ConvKernel> {
    backend.kernel(node.layout, &conv_shape(node, input, output))
}

/// Elements of a padded input row.
fn padded_elements(node: &Node, input: &Tensor) -> usize {
    let pixels = usize::from(node.pad_left) + usize::from(input.width) + usize::from(node.pad_right);
    pixels * usize::from(input.channels)
}

/// Bytes of the padded input rows at the start of scratch.
fn padded_bytes(node: &Node, input: &Tensor, output: &Tensor, layout: &Layout) -> usize {
    let shape = conv_shape(node, input, output);
    let span = shape.span(usize::from(node.rows_per_step).max(1));
    layout.rows_bytes(&shape, span, padded_elements(node, input))
}

/// Bytes after them that kernels work in.
fn work_bytes(node: &Node, input: &Tensor, output: &Tensor, layout: &Layout) -> usize {
    (layout.scratch)(&conv_shape(node, input, output)).next_multiple_of(16)
}

fn check(checked: &Checked<'_, '_>) -> Verdict {
    let Checked { node, input, output, operand, .. } = checked;
    let fits = operand.is_none_or(|operand| shape(operand) == shape(output));
    ensure!(fits, "the residual has another shape than the output")?;
    let made = |length: u16, before: u8, after: u8, kernel: u8, stride: u8| {
        let padded = u32::from(length) + u32::from(before) + u32::from(after);
        padded.checked_sub(kernel.into()).map(|rest| rest / u32::from(stride).max(1) + 1)
    };
    ensure!(node.kernel_h > 0 && node.kernel_w > 0, "the kernel is empty")?;
    let height = made(input.height, node.pad_top, node.pad_bottom, node.kernel_h, node.stride_h);
    let width = made(input.width, node.pad_left, node.pad_right, node.kernel_w, node.stride_w);
    let follows = height == Some(output.height.into()) && width == Some(output.width.into());
    ensure!(follows, "the output's size does not follow from kernel, stride and padding")?;

    let groups = node.groups;
    let divides = groups > 0 && input.channels.is_multiple_of(groups) && output.channels.is_multiple_of(groups);
    ensure!(divides, "groups do not divide the channels")?;
    let Some(packing) = checked.packing() else {
        return ensure!(false, "this program does not know the layout of its weights");
    };
    let shape = conv_shape(node, input, output);
    ensure!((packing.layout.suits)(&shape), "the layout of its weights cannot hold its channels and groups")?;
    let read = Core::from_code(checked.model.header().core).is_some_and(|core| core.reads(node.layout));
    ensure!(read, "its weights are not laid out for the core that the header names")?;

    // Offsets of padded rows and weights fit 32 bits.
    let padded_width = u64::from(node.pad_left) + u64::from(input.width) + u64::from(node.pad_right);
    let padded_row = (padded_width + 8) * u64::from(input.channels) + 128;
    let span = shape.span(node.rows_per_step.into()) as u64;
    ensure!(2 * padded_row * span <= LIMIT, "its padded rows are too large")?;
    let kernel = u64::from(node.kernel_h) * u64::from(node.kernel_w) * u64::from(output.channels);
    ensure!(kernel * (u64::from(input.channels) + 4) <= LIMIT, "its kernel is too large")?;

    let length = (packing.layout.len)(&shape);
    let follows = length == Some(node.weights_len as usize);
    ensure!(follows, "its weights do not have the length that follows from its shape")?;
    ensure!(checked.is_section(node.weights, node.weights_len.into()), "its weights lie outside the file")
}

/// Weights that kernels may read in any order and in whole vectors, and sums that keep to their bits.
fn sums(checked: &Checked<'_, '_>) -> Verdict {
    let Checked { model, node, input, output, .. } = checked;
    let (shape, weights) = (conv_shape(node, input, output), model.weights(node));
    let Some(packing) = checked.packing() else { return Ok(()) };
    (packing.check)(&shape, weights)?;

    let requants = checked.requants;
    let multiplier = (node.operand != NONE).then_some(node.operand_multiplier);
    let shift = requants.first().map(|first| first.s);
    let one_shift = multiplier.is_none() || requants.iter().all(|requant| Some(requant.s) == shift);
    ensure!(one_shift, "shifts differ where a residual is added")?;
    let mut prologue = model.prologue(node).iter();
    let holds = prologue.all(|requant| is_safe(requant, VALUE << OPERAND_SHIFT, None));
    ensure!(holds, "its prologue can overflow, or a shift is not in 32..=62")?;
    // What no weights exceed is asked first: reading them all takes time.
    let most = (packing.most)(&shape);
    for (channel, requant) in requants.iter().enumerate() {
        if most < 1 << 31 && is_safe(requant, most, multiplier) {
            continue;
        }
        let sum = (packing.largest)(packing, &shape, weights, channel);
        ensure!(sum < 1 << 31, "its accumulators can overflow")?;
        ensure!(is_safe(requant, sum, multiplier), OVERFLOW)?;
    }
    Ok(())
}

fn step(step: &Step<'_, '_>, maps: &mut Maps<'_>, scratch: &mut [i8]) {
    let Some(kernel) = kernel(step.backend, step.node, step.input, step.output) else { return };
    match kernel.code {
        ConvCode::Int8(run) => convolve(step, kernel, run, load::copy, maps, scratch),
        ConvCode::Uint8(run) => convolve(step, kernel, run, elementwise::unsigned, maps, scratch),
        ConvCode::Int16 { run, widen } => convolve(step, kernel, run, widen, maps, scratch),
    }
}

fn step_int8(step: &Step<'_, '_>, maps: &mut Maps<'_>, scratch: &mut [i8]) {
    if let Some(kernel) = kernel(step.backend, step.node, step.input, step.output)
        && let ConvCode::Int8(run) = kernel.code
    {
        convolve(step, kernel, run, load::copy, maps, scratch);
    }
}

fn step_int16(step: &Step<'_, '_>, maps: &mut Maps<'_>, scratch: &mut [i8]) {
    if let Some(kernel) = kernel(step.backend, step.node, step.input, step.output)
        && let ConvCode::Int16 { run, widen } = kernel.code
    {
        convolve(step, kernel, run, widen, maps, scratch);
    }
}

fn convolve<T: Element>(
    step: &Step<'_, '_>,
    kernel: &ConvKernel,
    run: fn(&mut ConvRows<'_, T>),
    convert: fn(&[i8], &mut [T]),
    maps: &mut Maps<'_>,
    scratch: &mut [i8],
) {
    let (node, rows, layout) = (step.node, step.rows(), kernel.spec.layout);
    let shape = conv_shape(node, step.input, step.output);
    let elements = padded_elements(node, step.input);
    let row_len = layout.row_len(&shape, elements);
    let bytes = layout.rows_bytes(&shape, shape.span(node.rows_per_step.into()), elements);
    let Some((padded, rest)) = scratch.split_at_mut_checked(bytes) else { return };
    let work = work_bytes(node, step.input, step.output, layout);
    let Some((work, dense)) = rest.split_at_mut_checked(work) else { return };
    let Ok(padded) = bytemuck::try_cast_slice_mut(padded) else { return };
    load_rows(step, &shape, rows.clone(), row_len, convert, maps, padded);

    let residual = (node.operand != NONE).then_some(node.operand_multiplier);
    let slot = dense_row(node, step.input, step.output, None);
    if residual.is_some() {
        for (index, row) in rows.clone().enumerate() {
            step.load_operand(row, maps, dense_slot(dense, index, slot));
        }
    }
    let out = if slot == 0 {
        maps.dense_rows_mut(step.output, rows.clone())
    } else {
        let mut out: [&mut [i8]; MAX_ROWS] = Default::default();
        let row_bytes = usize::from(step.output.width) * shape.channels_out;
        for (out, dense) in out.iter_mut().zip(dense.chunks_mut(slot)).take(rows.len()) {
            *out = dense.get_mut(..row_bytes).unwrap_or_default();
        }
        out
    };
    let convolution = ConvRows::new(ConvParts {
        rows: padded,
        row_len,
        shape,
        layout,
        weights: step.model.weights(node),
        scratch: work,
        requant: step.requants(shape.channels_out),
        residual,
        lo: node.lo,
        hi: node.hi,
        out,
        count: rows.len(),
    });
    if let Some(mut convolution) = convolution {
        run(&mut convolution);
    }
    for (index, row) in rows.enumerate() {
        step.put(row, maps, dense_slot(dense, index, slot));
    }
}

/// The place in scratch of a dense output row.
fn dense_slot(dense: &mut [i8], index: usize, slot: usize) -> &mut [i8] {
    dense.get_mut(index * slot..).and_then(|rest| rest.get_mut(..slot)).unwrap_or_default()
}

/// Pads the input rows of a step, converted and through the prologue. Of a view, each member fills some channels of each
/// pixel.
fn load_rows<T: Element>(
    step: &Step<'_, '_>,
    shape: &ConvShape,
    made: Range<usize>,
    row_len: usize,
    convert: fn(&[i8], &mut [T]),
    maps: &Maps<'_>,
    padded: &mut [T],
) {
    let (node, input) = (step.node, step.input);
    let left = usize::from(node.pad_left) * shape.channels_in;
    let pixels = usize::from(input.width) * shape.channels_in;
    let prologue = step.model.prologue(node);
    let zero = T::from(if node.prologue == 0 { input.zero_point } else { node.prologue_zero });
    // What follows a row's pixels and what precedes the next one's are filled together.
    let Some((head, rest)) = padded.split_at_mut_checked(left) else { return };
    head.fill(zero);
    let row_of = |y: usize| {
        let row = (made.start * shape.stride_h + y).checked_sub(node.pad_top.into());
        row.filter(|&row| row < input.height.into() && shape.reads_row(y))
    };
    let count = shape.span(made.len());
    for (y, padded) in rest.chunks_mut(row_len.max(1)).take(count).enumerate() {
        let first = if row_of(y).is_some() { pixels } else { 0 };
        padded.get_mut(first..).unwrap_or_default().fill(zero);
    }
    for member in members(step.model, node.input) {
        let before = usize::from(member.before);
        let part = load::Part { left: before, pixel_stride: shape.channels_in };
        let channels = prologue.get(before..).and_then(|rest| rest.get(..member.tensor.channels.into()));
        let channels = channels.unwrap_or(&[]);
        for (y, padded) in rest.chunks_mut(row_len.max(1)).take(count).enumerate() {
            let Some(y) = row_of(y) else { continue };
            let row = maps.row(member.tensor, y);
            if node.prologue == 0 {
                load::load(row, part, padded, convert);
            } else {
                elementwise::affine_row(row, channels, node.prologue_lo, node.prologue_hi, part, padded);
            }
        }
    }
}
