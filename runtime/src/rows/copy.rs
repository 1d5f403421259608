//! What a copy takes of a map, and where it puts that: part of it, strided, inside padding.

use crate::format::records::{Node, PadMode, Tensor};
use core::ops::Range;

/// A copy on one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// The first element that is copied.
    pub first: usize,
    /// Elements from one that is copied to the next.
    pub stride: usize,
    /// How many are copied.
    pub count: usize,
    /// Padding before them.
    pub before: usize,
    /// Padding after them.
    pub after: usize,
    /// What the padding is.
    pub mode: PadMode,
}

/// What a copy does with the rows of its input.
pub fn copied_rows(node: &Node, output: &Tensor) -> Copied {
    let (before, after) = (usize::from(node.pad_top), usize::from(node.pad_bottom));
    Copied {
        first: node.first_row.into(),
        stride: node.stride_h.into(),
        count: usize::from(output.height).saturating_sub(before + after),
        before,
        after,
        mode: PadMode::from_code(node.flags).unwrap_or(PadMode::Zero),
    }
}

/// What a copy does with the pixels of a row.
pub fn copied_pixels(node: &Node, output: &Tensor) -> Copied {
    let (before, after) = (usize::from(node.pad_left), usize::from(node.pad_right));
    Copied {
        first: node.groups.into(),
        stride: node.stride_w.into(),
        count: usize::from(output.width).saturating_sub(before + after),
        before,
        after,
        mode: PadMode::from_code(node.flags).unwrap_or(PadMode::Zero),
    }
}

impl Copied {
    /// Whether something is copied, all that is copied is among `size` elements, and mirrors and what wraps reach no
    /// further.
    pub fn fits(&self, size: usize) -> bool {
        let padding = self.before.max(self.after);
        let reaches = match self.mode {
            PadMode::Zero | PadMode::Edge => true,
            PadMode::Reflect => padding < self.count,
            PadMode::Wrap => padding <= self.count,
        };
        self.count > 0 && self.at(self.count - 1) < size && reaches
    }

    /// The element that element `index` of the result is; `None` for a zero.
    pub fn source(&self, index: usize) -> Option<usize> {
        let last = self.count.saturating_sub(1);
        let copied = index.checked_sub(self.before).filter(|&at| at <= last);
        let at = match (copied, self.mode) {
            (Some(at), _) => at,
            (None, PadMode::Zero) => return None,
            (None, PadMode::Edge) => index.saturating_sub(self.before).min(last),
            (None, PadMode::Reflect) if index < self.before => (self.before - index).min(last),
            (None, PadMode::Reflect) => (2 * last).saturating_sub(index - self.before),
            (None, PadMode::Wrap) if index < self.before => (index + self.count).saturating_sub(self.before),
            (None, PadMode::Wrap) => (index - self.before).saturating_sub(self.count).min(last),
        };
        Some(self.at(at))
    }

    /// The elements that those of `made` need, and all after them that later ones do; what is before them is not needed
    /// any more. Empty where `made` are zeros.
    pub fn read(&self, made: Range<usize>) -> Range<usize> {
        let sources = || made.clone().filter_map(|index| self.source(index));
        let Some(end) = sources().max().map(|last| last + 1) else {
            let next = if made.end <= self.before { self.first } else { self.at(self.count.saturating_sub(1)) + 1 };
            return next..next;
        };
        let start = sources().min().unwrap_or(end);
        let later = match self.mode {
            PadMode::Reflect if made.start < self.before => self.first,
            PadMode::Reflect => self.source((self.before + self.count + self.after).saturating_sub(1)).unwrap_or(start),
            PadMode::Wrap if made.start < self.before || self.after > 0 => self.first,
            PadMode::Zero | PadMode::Edge | PadMode::Wrap => start,
        };
        start.min(later)..end
    }

    fn at(&self, index: usize) -> usize {
        self.first + index * self.stride
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(copied: Copied) -> (Vec<Option<usize>>, Vec<Range<usize>>) {
        let length = copied.before + copied.count + copied.after;
        ((0..length).map(|i| copied.source(i)).collect(), (0..length).map(|i| copied.read(i..i + 1)).collect())
    }

    #[test]
    fn padding_is_zero_or_the_edge_or_a_mirror_or_the_other_end() {
        // Elements 1, 3, 5 of a map, two before them and one after.
        let zero = Copied { first: 1, stride: 2, count: 3, before: 2, after: 1, mode: PadMode::Zero };
        let (sources, read) = rows(zero);
        assert_eq!(sources, [None, None, Some(1), Some(3), Some(5), None]);
        assert_eq!(read, [1..1, 1..1, 1..2, 3..4, 5..6, 6..6]);
        let (sources, read) = rows(Copied { mode: PadMode::Edge, ..zero });
        assert_eq!(sources, [1, 1, 1, 3, 5, 5].map(Some));
        assert_eq!(read, [1..2, 1..2, 1..2, 3..4, 5..6, 5..6]);
        // A mirror reads rows again: none before them is given up.
        let (sources, read) = rows(Copied { mode: PadMode::Reflect, ..zero });
        assert_eq!(sources, [5, 3, 1, 3, 5, 3].map(Some));
        assert_eq!(read, [1..6, 1..4, 1..2, 3..4, 3..6, 3..4]);
        // What wraps at the end needs the first row until then.
        let (sources, read) = rows(Copied { mode: PadMode::Wrap, ..zero });
        assert_eq!(sources, [3, 5, 1, 3, 5, 1].map(Some));
        assert_eq!(read, [1..4, 1..6, 1..2, 1..4, 1..6, 1..2]);
        let (_, read) = rows(Copied { mode: PadMode::Wrap, after: 0, ..zero });
        assert_eq!(read, [1..4, 1..6, 1..2, 3..4, 5..6]);
    }

    #[test]
    fn what_is_copied_is_there() {
        let copied = Copied { first: 1, stride: 2, count: 3, before: 0, after: 0, mode: PadMode::Zero };
        assert!(copied.fits(6) && !copied.fits(5));
        assert!(!Copied { count: 0, ..copied }.fits(6));
        let mirrored = Copied { after: 3, mode: PadMode::Reflect, ..copied };
        assert!(!mirrored.fits(6) && Copied { after: 2, ..mirrored }.fits(6));
        let wrapped = Copied { mode: PadMode::Wrap, ..mirrored };
        assert!(wrapped.fits(6) && !Copied { after: 4, ..wrapped }.fits(6));
    }

    #[test]
    fn later_elements_need_nothing_before_what_is_read() {
        for mode in [PadMode::Zero, PadMode::Edge, PadMode::Reflect, PadMode::Wrap] {
            for case in 0..4 * 4 * 3 * 4 {
                let (before, after) = (case % 4, case / 4 % 4);
                let copied = Copied { first: case / 48, stride: 1 + case / 16 % 3, count: 4, before, after, mode };
                let read = rows(copied).1;
                assert!(read.is_sorted_by_key(|rows| rows.start), "{copied:?} {read:?}");
            }
        }
    }
}
