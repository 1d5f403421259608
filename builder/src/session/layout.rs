//! Where activations lie: maps with a frame of zeros, so that convolutions need no copy for their padding.

use crate::kernels::tiles::Grid;

/// A map in a buffer, NHWC, with as many rows and columns of zeros around it as its readers need. A vector is a map of
/// one pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Map {
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) channels: usize,
    /// Zeros at top, left, bottom, right.
    pub(super) frame: [usize; 4],
}

/// A map and the buffer that it lies in.
pub(super) type Operand<'a> = (&'a Map, &'a [f32]);

impl Map {
    /// A map without a frame; `dims` are those of one image, `[C, H, W]` or `[features]`.
    pub(super) fn new(dims: &[usize]) -> Self {
        let (channels, height, width) = match *dims {
            [channels, height, width] => (channels, height, width),
            _ => (dims.iter().product(), 1, 1),
        };
        Self { height, width, channels, frame: [0; 4] }
    }

    /// Widens the frame to at least `pads`.
    pub(super) fn widen(&mut self, pads: [usize; 4]) {
        self.frame.iter_mut().zip(pads).for_each(|(frame, pad)| *frame = pad.max(*frame));
    }

    /// Elements of a row, frame included.
    pub(super) fn row(&self) -> usize {
        (self.frame[1] + self.width + self.frame[3]) * self.channels
    }

    /// Elements, frame included.
    pub(super) fn len(&self) -> usize {
        (self.frame[0] + self.height + self.frame[2]) * self.row()
    }

    /// The map's pixels, without the frame.
    pub(super) fn grid(&self) -> Grid {
        let start = self.frame[0] * self.row() + self.frame[1] * self.channels;
        Grid { start, row_step: self.row(), column_step: self.channels }
    }

    /// The corners of patches of a convolution with these pads and strides.
    pub(super) fn patches(&self, pads: [usize; 4], [down, right]: [usize; 2]) -> Grid {
        let start = (self.frame[0] - pads[0]) * self.row() + (self.frame[1] - pads[1]) * self.channels;
        Grid { start, row_step: down * self.row(), column_step: right * self.channels }
    }

    /// The map's rows in a buffer, without the frame.
    pub(super) fn rows<'b>(&self, buffer: &'b [f32]) -> impl Iterator<Item = &'b [f32]> + use<'b> {
        let (start, len) = (self.frame[1] * self.channels, self.width * self.channels);
        let rows = buffer[..self.len()].chunks_exact(self.row()).skip(self.frame[0]).take(self.height);
        rows.map(move |row| &row[start..start + len])
    }

    /// As [`Map::rows`], to be written.
    pub(super) fn rows_mut<'b>(&self, buffer: &'b mut [f32]) -> impl Iterator<Item = &'b mut [f32]> + use<'b> {
        let (start, len) = (self.frame[1] * self.channels, self.width * self.channels);
        let (skip, take, row) = (self.frame[0], self.height, self.row());
        let rows = buffer[..self.len()].chunks_exact_mut(row).skip(skip).take(take);
        rows.map(move |row| &mut row[start..start + len])
    }

    /// Writes the frame's zeros.
    pub(super) fn clear_frame(&self, buffer: &mut [f32]) {
        if self.frame == [0; 4] {
            return;
        }
        let (left, right) = (self.frame[1] * self.channels, self.frame[3] * self.channels);
        for (index, row) in buffer[..self.len()].chunks_exact_mut(self.row()).enumerate() {
            if index < self.frame[0] || index >= self.frame[0] + self.height {
                row.fill(0.0);
            } else {
                let end = row.len();
                row[..left].fill(0.0);
                row[end - right..].fill(0.0);
            }
        }
    }

    /// Writes a map and its frame from elements without one.
    pub(super) fn fill(&self, buffer: &mut [f32], dense: &[f32]) {
        self.clear_frame(buffer);
        let rows = dense.chunks_exact(self.width * self.channels);
        self.rows_mut(buffer).zip(rows).for_each(|(to, from)| to.copy_from_slice(from));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_stands_around_the_map() {
        let mut map = Map::new(&[2, 1, 2]);
        map.widen([1, 0, 0, 1]);
        map.widen([0, 1, 0, 0]);
        let mut buffer = vec![9.0; map.len() + 3];
        map.fill(&mut buffer, &[1.0, 2.0, 3.0, 4.0]);
        let zeros = [0.0; 8];
        assert_eq!(buffer[..8], zeros);
        assert_eq!(buffer[8..], [0.0, 0.0, 1.0, 2.0, 3.0, 4.0, 0.0, 0.0, 9.0, 9.0, 9.0]);
        assert_eq!(map.rows(&buffer).collect::<Vec<_>>(), [[1.0, 2.0, 3.0, 4.0]]);
        assert_eq!(map.grid(), Grid { start: 10, row_step: 8, column_step: 2 });
        assert_eq!(map.patches([1, 0, 0, 0], [2, 1]), Grid { start: 2, row_step: 16, column_step: 2 });
    }
}
