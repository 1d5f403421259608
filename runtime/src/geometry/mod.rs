//! Which rows a step reads and makes, and what it needs besides: shared by the host's planner and the device's engine.

mod copy;
mod resize;
mod window;

pub use copy::{Copied, copied_pixels, copied_rows};
pub use resize::{Axis, Position, resize_columns, resize_rows};
pub use window::{Windows, window_columns, window_rows};

use crate::format::records::{CONCAT_VIEW, Node, OpCode, Tensor, WeightKind};
use core::ops::Range;

/// Steps that `node` takes to make its whole `output` from `input`.
pub fn steps(node: &Node, input: &Tensor, output: &Tensor) -> usize {
    match OpCode::from_code(node.op) {
        Some(OpCode::GlobalAveragePool) => usize::from(input.height),
        _ => usize::from(output.height).div_ceil(usize::from(node.rows_per_step).max(1)),
    }
}

/// Output rows that exist after `done` steps.
pub fn rows_made(node: &Node, input: &Tensor, output: &Tensor, done: usize) -> usize {
    match OpCode::from_code(node.op) {
        Some(OpCode::GlobalAveragePool) => usize::from(done >= usize::from(input.height)),
        _ => usize::from(output.height).min(done * usize::from(node.rows_per_step)),
    }
}

/// Rows of the first operand that step number `step` reads, clipped to the map.
pub fn input_rows(node: &Node, input: &Tensor, output: &Tensor, step: usize) -> Range<usize> {
    let height = usize::from(input.height);
    let made = output_rows(node, output, step);
    let last = made.end.saturating_sub(1);
    match OpCode::from_code(node.op) {
        Some(OpCode::GlobalAveragePool) => step..(step + 1).min(height),
        Some(OpCode::Add | OpCode::Affine | OpCode::Lookup | OpCode::Concat | OpCode::L2Norm) => made,
        // The whole map is there before the first row is made.
        Some(OpCode::InstanceNorm) => made.start.min(height)..height,
        // A mask of one pixel is read by every step.
        Some(OpCode::Gate) => made.start.min(height.saturating_sub(1))..made.end.min(height),
        Some(OpCode::Copy) => copied_rows(node, output).read(made),
        Some(OpCode::Resize) => {
            let axis = resize_rows(node, input, output);
            axis.position(made.start).first..axis.position(last).end()
        }
        Some(OpCode::Conv | OpCode::MaxPool | OpCode::AveragePool) | None => {
            let windows = window_rows(node, input);
            windows.inside(made.start).start..windows.inside(last).end
        }
    }
}

/// Output rows that step number `step` makes; these are also the rows of the second operand that it reads.
pub fn output_rows(node: &Node, output: &Tensor, step: usize) -> Range<usize> {
    let (height, rows) = (usize::from(output.height), usize::from(node.rows_per_step));
    (step * rows).min(height)..((step + 1) * rows).min(height)
}

/// Whether a node only puts the rows of its operands side by side, for those who read its output.
pub fn is_view(node: &Node) -> bool {
    OpCode::from_code(node.op) == Some(OpCode::Concat) && node.flags == CONCAT_VIEW
}

/// Whether a node can gather its input's rows from the members of a view: it copies what it reads anyway.
pub fn reads_views(node: &Node) -> bool {
    matches!(OpCode::from_code(node.op), Some(OpCode::Conv | OpCode::Concat | OpCode::Copy))
}

/// Output rows of a step by which kernels run a node fastest: for two rows of a 3x3 convolution four rows of the input are
/// padded, not six.
pub fn fastest_rows(node: &Node) -> u8 {
    let small = (node.kernel_h, node.kernel_w, node.stride_h, node.stride_w) == (3, 3, 1, 1) && node.groups == 1;
    if OpCode::from_code(node.op) == Some(OpCode::Conv) && small { 2 } else { 1 }
}

/// Elements from one padded input row in scratch to the next, for the kernels of `kind`.
///
/// A padded row is `pad_left + width + pad_right` pixels of the input's channels, and enough behind them that a kernel
/// may read whole vectors of 16 elements (canonical) or the group of 4 that the last weights were padded to (pairs).
pub fn padded_row_len(node: &Node, input: &Tensor, kind: WeightKind) -> usize {
    let pixels = usize::from(node.pad_left) + usize::from(input.width) + usize::from(node.pad_right);
    let elements = pixels * usize::from(input.channels);
    match kind {
        WeightKind::Canonical => (elements + 16).next_multiple_of(16),
        WeightKind::Pairs => (elements + 4).next_multiple_of(8),
    }
}

/// Bytes of scratch that one step needs, whichever kernel of the weights' kind runs it.
///
/// A convolution pads its input rows there (int8 for canonical weights, int16 for pairs); behind them operators that make
/// whole rows make a dense one before it is scattered, where the output is a slice of a concatenation.
pub fn scratch_len(node: &Node, input: &Tensor, output: &Tensor) -> usize {
    padded_rows_bytes(node, input) + dense_row_bytes(node, output)
}

/// Bytes of the padded input rows at the start of scratch, in whichever layout the file holds the weights.
pub fn padded_rows_bytes(node: &Node, input: &Tensor) -> usize {
    if OpCode::from_code(node.op) != Some(OpCode::Conv) {
        return 0;
    }
    let rows = step_span(node);
    let canonical = rows * padded_row_len(node, input, WeightKind::Canonical);
    match WeightKind::from_code(node.weight_kind) {
        Some(WeightKind::Pairs) => {
            let pairs = 2 * rows * padded_row_len(node, input, WeightKind::Pairs);
            if node.canonical == 0 { pairs } else { pairs.max(canonical) }
        }
        _ => canonical,
    }
}

/// Padded input rows that one step of a convolution reads.
pub fn step_span(node: &Node) -> usize {
    (usize::from(node.rows_per_step).max(1) - 1) * usize::from(node.stride_h) + usize::from(node.kernel_h)
}

/// Number of [`Requant`](crate::arith::Requant)s of a node: one for each output channel of a convolution or an affine, one
/// for each number of elements that a window of an average pool may count, the smallest first; one in all for a sum, a
/// global pool, a gate, a resize or a norm; none for what only moves values.
pub fn requant_count(node: &Node, output: &Tensor) -> usize {
    match OpCode::from_code(node.op) {
        Some(OpCode::Conv | OpCode::Affine) => output.channels.into(),
        Some(OpCode::AveragePool) => usize::from(node.kernel_h) * usize::from(node.kernel_w),
        Some(OpCode::Add | OpCode::GlobalAveragePool | OpCode::Gate | OpCode::Resize) => 1,
        Some(OpCode::L2Norm | OpCode::InstanceNorm) => 1,
        Some(OpCode::Copy | OpCode::MaxPool | OpCode::Lookup | OpCode::Concat) | None => 0,
    }
}

/// Number of [`Requant`](crate::arith::Requant)s through which a convolution reads its input: one for each channel, or
/// none.
pub fn prologue_count(node: &Node, input: &Tensor) -> usize {
    if node.prologue == 0 { 0 } else { input.channels.into() }
}

/// Arena offset of a row, of its first channel of its first pixel.
#[inline]
pub fn row_offset(tensor: &Tensor, row: usize) -> usize {
    tensor.offset as usize + row % usize::from(tensor.ring_rows).max(1) * tensor.row_stride as usize
}

/// Bytes from the first channel of a row's first pixel to the last channel of its last.
#[inline]
pub fn row_bytes(tensor: &Tensor) -> usize {
    usize::from(tensor.width).saturating_sub(1) * usize::from(tensor.pixel_stride) + usize::from(tensor.channels)
}

/// Bytes of all rows of a ring, from its first row's first to its last row's last.
pub fn ring_bytes(tensor: &Tensor) -> usize {
    usize::from(tensor.ring_rows).saturating_sub(1) * tensor.row_stride as usize + row_bytes(tensor)
}

/// Whether two rings lie behind each other, so that they cannot share a byte.
pub fn are_apart(a: &Tensor, b: &Tensor) -> bool {
    let (first_a, first_b) = (a.offset as usize, b.offset as usize);
    first_a + ring_bytes(a) <= first_b || first_b + ring_bytes(b) <= first_a
}

/// Whether a row of `a` and the same row of `b` are the same bytes.
pub fn same_row(a: &Tensor, b: &Tensor, row: usize) -> bool {
    row_offset(a, row) == row_offset(b, row)
        && (a.width, a.channels, a.pixel_stride) == (b.width, b.channels, b.pixel_stride)
}

/// The part of a concatenation's `output` that one of its operands fills: the `channels` behind the first `before`.
pub fn member(output: &Tensor, before: u16, channels: u16) -> Tensor {
    Tensor { offset: output.offset.saturating_add(before.into()), channels, ..*output }
}

/// Bytes of the dense copy of an output row; 0 where the output is dense itself, and for operators that write pixel by
/// pixel.
pub fn dense_row_bytes(node: &Node, output: &Tensor) -> usize {
    let by_pixels = matches!(
        OpCode::from_code(node.op),
        Some(OpCode::GlobalAveragePool | OpCode::MaxPool | OpCode::AveragePool | OpCode::Resize | OpCode::Concat)
            | Some(OpCode::L2Norm | OpCode::InstanceNorm)
    );
    if by_pixels || output.pixel_stride == output.channels {
        return 0;
    }
    (usize::from(output.width) * usize::from(output.channels)).next_multiple_of(16)
}

/// Bytes that a node keeps between its steps, for each channel: a global pool's sum, an i32; an instance norm's sum,
/// multiplier and shift, each 32 bits.
pub fn state_len(node: &Node, output: &Tensor) -> usize {
    match OpCode::from_code(node.op) {
        Some(OpCode::GlobalAveragePool) => 4 * usize::from(output.channels),
        Some(OpCode::InstanceNorm) => 12 * usize::from(output.channels),
        _ => 0,
    }
}

/// Bytes of the weights of a convolution in the layout `kind`.
pub fn weights_len(node: &Node, input: &Tensor, output: &Tensor, kind: WeightKind) -> usize {
    let per_group = usize::from(input.channels) / usize::from(node.groups).max(1);
    let run = usize::from(node.kernel_w) * per_group;
    let run = match kind {
        WeightKind::Canonical => run,
        WeightKind::Pairs => run.next_multiple_of(4),
    };
    usize::from(output.channels) * usize::from(node.kernel_h) * run
}

/// Where weights of kind [`WeightKind::Pairs`] hold the weight of `channel`, kernel row `row` and element `k` of that
/// row's run of `kernel_w * channels` elements (`[kernel column][input channel]`).
pub fn pairs_index(kernel_h: usize, run: usize, channel: usize, row: usize, k: usize) -> usize {
    ((channel / 2 * kernel_h + row) * run.next_multiple_of(4) + k) * 2 + channel % 2
}
