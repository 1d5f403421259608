//! Where the windows of a pool lie.

use super::map_dims;
use crate::tensor::Tensor;
use skipstone_onnx::Window;
use std::ops::Range;

/// The windows of a pool over maps of one size.
#[derive(Clone, Copy)]
pub(super) struct Windows {
    size: [usize; 2],
    count: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    before: [usize; 2],
    after: [usize; 2],
}

/// One window.
pub(super) struct At {
    /// The rows of the map that it covers.
    pub(super) rows: Range<usize>,
    /// The columns.
    pub(super) columns: Range<usize>,
    /// Its positions with padding, without what lies beyond.
    pub(super) padded: usize,
}

impl At {
    /// Calls `each` with the positions inside the map, row by row, and the channels' places there.
    #[inline(always)]
    pub(super) fn pixels(&self, width: usize, channels: usize, mut each: impl FnMut(usize, Range<usize>)) {
        for row in self.rows.clone() {
            for column in self.columns.clone() {
                let pixel = row * width + column;
                each(pixel, pixel * channels..(pixel + 1) * channels);
            }
        }
    }
}

impl Windows {
    pub(super) fn new(window: &Window, x: &Tensor, y: &Tensor) -> Self {
        let [height, width, _] = map_dims(x);
        let [rows, columns, _] = map_dims(y);
        let [top, left, bottom, right] = window.pads;
        Self {
            size: [height, width],
            count: [rows, columns],
            kernel: window.kernel,
            stride: window.stride,
            before: [top, left],
            after: [bottom, right],
        }
    }

    /// The windows, row by row.
    pub(super) fn iter(self) -> impl Iterator<Item = At> {
        (0..self.count[0] * self.count[1]).map(move |index| {
            let (rows, tall) = self.axis(0, index / self.count[1]);
            let (columns, wide) = self.axis(1, index % self.count[1]);
            At { rows, columns, padded: tall * wide }
        })
    }

    /// What a window covers on one axis, and how many positions with padding.
    fn axis(&self, axis: usize, index: usize) -> (Range<usize>, usize) {
        let (size, before) = (self.size[axis], self.before[axis]);
        let start = index * self.stride[axis];
        let end = start + self.kernel[axis];
        let inside = start.saturating_sub(before)..end.saturating_sub(before).min(size);
        (inside, end.min(before + size + self.after[axis]) - start)
    }
}
