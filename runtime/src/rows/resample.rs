//! Which elements of a map a resampling weighs: on each axis a fixed number of them around each position.

use super::Axis;
use crate::format::records::{Node, ResizeMode, Tensor};
use core::ops::Range;

/// The elements around the positions on one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Around {
    /// The positions.
    pub axis: Axis,
    /// How many elements before the one at or before a position are weighed.
    pub before: usize,
    /// How many elements are weighed.
    pub count: usize,
}

/// The rows that those of a resampling are made of.
pub fn resampled_rows(node: &Node, input: &Tensor, output: &Tensor) -> Around {
    let axis = Axis::new(ResizeMode::from_code(node.flags), input.height, output.height);
    Around { axis, before: node.pad_top.into(), count: node.kernel_h.into() }
}

/// The pixels of a row that those of a resampling are made of.
pub fn resampled_columns(node: &Node, input: &Tensor, output: &Tensor) -> Around {
    let axis = Axis::new(ResizeMode::from_code(node.flags), input.width, output.width);
    Around { axis, before: node.pad_left.into(), count: node.kernel_w.into() }
}

impl Around {
    /// The first element around position number `index`, which may lie outside the map.
    pub fn first(&self, index: usize) -> i32 {
        self.axis.floor(index).saturating_sub(self.before as i32)
    }

    /// The elements of the map around position number `index`.
    pub fn inside(&self, index: usize) -> Range<usize> {
        let (first, size) = (self.first(index), self.axis.size as i32);
        let end = first.saturating_add(self.count as i32).min(size).max(0);
        first.min(end).max(0) as usize..end as usize
    }

    /// How many of the elements around position number `index` come before the map.
    pub fn outside(&self, index: usize) -> usize {
        self.first(index).min(0).unsigned_abs() as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cubic_kernel_reaches_two_elements_to_each_side() {
        // Positions -1/4, 1/4, 3/4, 5/4, 7/4, 9/4 of 3.
        let axis = Axis::new(Some(ResizeMode::HalfPixel), 3, 6);
        let around = Around { axis, before: 1, count: 4 };
        assert_eq!((0..6).map(|i| around.first(i)).collect::<Vec<_>>(), [-2, -1, -1, 0, 0, 1]);
        assert_eq!((0..6).map(|i| around.inside(i)).collect::<Vec<_>>(), [0..2, 0..3, 0..3, 0..3, 0..3, 1..3]);
        assert_eq!((0..6).map(|i| around.outside(i)).collect::<Vec<_>>(), [2, 1, 1, 0, 0, 0]);
    }

    #[test]
    fn later_positions_need_no_earlier_elements() {
        for mode in [ResizeMode::AlignCorners, ResizeMode::HalfPixel, ResizeMode::Asymmetric] {
            for case in 0..9 * 9 * 4 * 4 {
                let (size, out) = (1 + case % 9, 1 + case / 9 % 9);
                let axis = Axis::new(Some(mode), size, out);
                let around = Around { axis, before: (case / 81 % 4).into(), count: (1 + case / 324).into() };
                let inside: Vec<_> = (0..out.into()).map(|i| around.inside(i)).collect();
                assert!(inside.is_sorted_by_key(|range| range.start), "{around:?} {inside:?}");
                assert!(inside.iter().all(|range| range.start <= range.end && range.end <= size.into()));
            }
        }
    }
}
