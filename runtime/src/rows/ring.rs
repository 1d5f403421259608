//! Where the rows of a feature map lie in the arena.

use crate::bounds;
use crate::format::records::Tensor;

/// Arena offset of a row, of its first channel of its first pixel.
#[inline]
pub fn row_offset(tensor: &Tensor, row: usize) -> usize {
    tensor.offset as usize + row % bounds::size(tensor.ring_rows) * tensor.row_stride as usize
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

/// Whether two rings lie one after the other, so that they cannot share a byte.
pub fn are_apart(a: &Tensor, b: &Tensor) -> bool {
    let (first_a, first_b) = (a.offset as usize, b.offset as usize);
    first_a + ring_bytes(a) <= first_b || first_b + ring_bytes(b) <= first_a
}

/// Whether a row of `a` and the same row of `b` are the same bytes.
pub fn same_row(a: &Tensor, b: &Tensor, row: usize) -> bool {
    row_offset(a, row) == row_offset(b, row)
        && (a.width, a.channels, a.pixel_stride) == (b.width, b.channels, b.pixel_stride)
}

/// The part of a concatenation's `output` that one of its operands fills: the `channels` after the first `before`.
pub fn member(output: &Tensor, before: u16, channels: u16) -> Tensor {
    Tensor { offset: output.offset.saturating_add(before.into()), channels, ..*output }
}

/// Whether a map's pixels have gaps between them: it is a slice of a concatenation.
pub fn is_slice(tensor: &Tensor) -> bool {
    tensor.pixel_stride != tensor.channels
}
