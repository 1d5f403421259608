//! Estimated instructions of a whole convolution, by its steps.

use super::layout::{TAPS, tile_of_taps, tiles_of_taps};
use super::shape::ConvShape;
use super::spec::ConvSpec;

/// Instructions in which weights of a pair of an input and an output channel are transformed, by kernels of stride 1
/// and of stride 2.
const TRANSFORM: [usize; 2] = [80, 40];

impl ConvSpec {
    /// Estimated instructions of `height` output rows in steps of `rows`.
    pub fn instructions(&self, shape: &ConvShape, rows: usize, height: usize) -> u64 {
        let (cost, most, rows) = ((self.cost)(shape), (self.rows)(shape), rows.max(1));
        let point = ConvShape { kernel_h: 1, kernel_w: 1, stride_h: 1, stride_w: 1, ..*shape };
        if (self.layout.suits)(&point) {
            // The estimate counts the input rows that a step of most rows copies; shorter steps copy some of them again.
            let row = self.layout.row_len(shape, 0) * self.layout.element.copy_cost();
            let read = |rows: usize| (0..shape.span(rows)).filter(|&row| shape.reads_row(row)).count();
            let copied = |rows: usize| (row * read(rows) / (10 * rows.max(1))) as u64;
            return (cost + copied(rows)).saturating_sub(copied(most)) * height as u64;
        }
        // Weights that are transformed for a window make tiles: a part of one takes as long as the whole.
        let taps = *self.layout == TAPS;
        let tile = if taps { tile_of_taps(shape) } else { most };
        let made = height / rows * rows.next_multiple_of(tile) + (height % rows).next_multiple_of(tile);
        // In each step all of them, for each part of its columns.
        let pairs = shape.channels_in * shape.channels_out;
        let parts = shape.width.div_ceil((tiles_of_taps(shape) * tile).max(1));
        let transform = parts * pairs * TRANSFORM[usize::from(shape.stride_h > 1)];
        let transforms = if taps { height.div_ceil(rows) * transform } else { 0 };
        cost * made as u64 + transforms as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::shape::MAX_ROWS;
    use crate::kernels::spec::{CONV_2X2_POLYPHASE, CONV_2X2_POLYPHASE_TAPS, TAPS_32, WINOGRAD_4X4_32};

    #[test]
    fn weights_are_transformed_in_each_step_whatever_its_rows() {
        let shape = |stride: usize| ConvShape {
            kernel_h: 3,
            kernel_w: 3,
            stride_h: stride,
            stride_w: stride,
            channels_in: 32,
            channels_out: 32,
            groups: 1,
            width: 8,
        };
        // One part of columns at this width.
        for (spec, base, stride, tile) in
            [(&TAPS_32, &WINOGRAD_4X4_32, 1, 4), (&CONV_2X2_POLYPHASE_TAPS, &CONV_2X2_POLYPHASE, 2, 2)]
        {
            let (shape, transform) = (shape(stride), (32 * 32 * TRANSFORM[stride - 1]) as u64);
            let of_rows = |height: usize| spec.instructions(&shape, MAX_ROWS, height);
            let row = (base.cost)(&shape);
            for (height, steps) in [(2usize, 1), (4, 1), (8, 1), (12, 2), (16, 2), (17, 3)] {
                let made = height.next_multiple_of(tile) as u64;
                assert_eq!(of_rows(height), made * row + steps * transform, "{} of {height} rows", spec.name);
            }
            assert!(base.instructions(&shape, (base.rows)(&shape), 8) < of_rows(8));
            // Wide maps transform for each part of the columns.
            let wide = ConvShape { width: 64 * 8, ..shape };
            assert!(spec.instructions(&wide, MAX_ROWS, 8) > 64 * 8 * row + 2 * transform);
        }
    }
}
