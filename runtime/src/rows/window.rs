//! Windows that move over a padded map: those of convolutions and of pools.

use crate::format::records::{COUNT_INCLUDE_PAD, Node, OpCode, Tensor};
use core::ops::Range;

/// The windows on one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Elements of the map.
    pub size: usize,
    /// Elements of a window.
    pub kernel: usize,
    /// Elements from a window to the next.
    pub stride: usize,
    /// Padding before the map.
    pub before: usize,
    /// Padding after the map.
    pub after: usize,
}

/// The windows of a convolution or a pool over the rows of its input.
pub fn window_rows(node: &Node, input: &Tensor) -> Windows {
    Windows {
        size: input.height.into(),
        kernel: node.kernel_h.into(),
        stride: node.stride_h.into(),
        before: node.pad_top.into(),
        after: node.pad_bottom.into(),
    }
}

/// The windows of a convolution or a pool over the pixels of its input's rows.
pub fn window_columns(node: &Node, input: &Tensor) -> Windows {
    Windows {
        size: input.width.into(),
        kernel: node.kernel_w.into(),
        stride: node.stride_w.into(),
        before: node.pad_left.into(),
        after: node.pad_right.into(),
    }
}

impl Windows {
    /// Elements of the map that window number `index` covers.
    pub fn inside(&self, index: usize) -> Range<usize> {
        let start = index * self.stride;
        let end = (start + self.kernel).saturating_sub(self.before);
        start.saturating_sub(self.before).min(self.size)..end.min(self.size)
    }

    /// Elements that a pool counts in window number `index` on this axis: those of the map, and with
    /// [`COUNT_INCLUDE_PAD`] those of the padding. What lies after the padding never counts.
    pub fn counted(&self, index: usize, node: &Node) -> usize {
        let is_pool = matches!(OpCode::from_code(node.op), Some(OpCode::MaxPool | OpCode::AveragePool));
        if is_pool && node.flags == COUNT_INCLUDE_PAD {
            let start = index * self.stride;
            (start + self.kernel).min(self.before + self.size + self.after).saturating_sub(start)
        } else {
            self.inside(index).len()
        }
    }

    /// Whether none of the first `count` windows lies wholly outside the map.
    pub fn all_meet_the_map(&self, count: usize) -> bool {
        let last = count.saturating_sub(1) * self.stride;
        self.kernel > self.before && last < self.before + self.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn average(flags: u8) -> Node {
        Node { op: OpCode::AveragePool as u8, flags, ..Node::default() }
    }

    #[test]
    fn a_last_window_reaches_further_than_the_padding() {
        // 6 elements, windows of 3 by 2 with a padding of 1 on each side: the fourth starts at 5 and ends at 8.
        let windows = Windows { size: 6, kernel: 3, stride: 2, before: 1, after: 1 };
        assert_eq!((0..4).map(|i| windows.inside(i)).collect::<Vec<_>>(), [0..2, 1..4, 3..6, 5..6]);
        assert_eq!((0..4).map(|i| windows.counted(i, &average(0))).collect::<Vec<_>>(), [2, 3, 3, 1]);
        let with_padding = |i| windows.counted(i, &average(COUNT_INCLUDE_PAD));
        assert_eq!((0..4).map(with_padding).collect::<Vec<_>>(), [3, 3, 3, 2]);
        assert!(windows.all_meet_the_map(4) && !windows.all_meet_the_map(5));
        assert!(!Windows { before: 3, ..windows }.all_meet_the_map(1));
    }
}
