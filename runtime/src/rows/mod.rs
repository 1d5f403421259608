//! Rows of feature maps: where they lie, and which ones windows, copies and interpolations read.

mod copy;
mod resample;
mod resize;
mod ring;
mod window;

pub use copy::{Copied, copied_pixels, copied_rows};
pub use resample::{Around, resampled_columns, resampled_rows};
pub use resize::{Axis, Position, resize_columns, resize_rows};
pub use ring::{are_apart, is_slice, member, ring_bytes, row_bytes, row_offset, same_row};
pub use window::{Windows, window_columns, window_rows};

use crate::format::records::{CONCAT_VIEW, Node, OpCode, Tensor};
use core::ops::Range;

/// Output rows that step number `step` of a node makes that makes some in each; these are also the rows of the second
/// operand that it reads.
#[inline]
pub fn output_rows(node: &Node, output: &Tensor, step: usize) -> Range<usize> {
    let (height, rows) = (usize::from(output.height), usize::from(node.rows_per_step));
    (step * rows).min(height)..((step + 1) * rows).min(height)
}

/// Whether a node only puts the rows of its operands side by side, for those that read its output.
#[inline]
pub fn is_view(node: &Node) -> bool {
    node.op == OpCode::Concat as u8 && node.flags == CONCAT_VIEW
}
