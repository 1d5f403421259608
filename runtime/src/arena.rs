//! The arena as steps see it: maps before and after scratch, and scratch.

use crate::bounds;
use crate::format::records::{Header, Tensor};
use crate::kernels::conv::MAX_ROWS;
use crate::kernels::load::{self, MapRow};
use crate::network::Counters;
use crate::rows;
use core::num::NonZero;
use core::ops::Range;

/// Everything in the arena but scratch. Offsets are the arena's; what does not exist is empty.
pub(crate) struct Maps<'a> {
    before: &'a mut [i8],
    after: &'a mut [i8],
    /// Arena offset of `after`.
    scratch_end: usize,
    /// Arena offset of the step counters.
    counters: usize,
}

/// Divides an arena into maps and scratch.
pub(crate) fn divide<'a>(arena: &'a mut [i8], header: &Header) -> Option<(Maps<'a>, &'a mut [i8])> {
    let (before, rest) = arena.split_at_mut_checked(header.scratch as usize)?;
    let (scratch, after) = rest.split_at_mut_checked(header.scratch_len as usize)?;
    let scratch_end = before.len() + scratch.len();
    Some((Maps { before, after, scratch_end, counters: header.counters as usize }, scratch))
}

impl Maps<'_> {
    pub(crate) fn bytes(&self, offset: usize, len: usize) -> &[i8] {
        let (piece, at) = match offset.checked_sub(self.scratch_end) {
            Some(at) => (&*self.after, at),
            None => (&*self.before, offset),
        };
        bounds::part(piece, at, len)
    }

    pub(crate) fn bytes_mut(&mut self, offset: usize, len: usize) -> &mut [i8] {
        let (piece, at) = match offset.checked_sub(self.scratch_end) {
            Some(at) => (&mut *self.after, at),
            None => (&mut *self.before, offset),
        };
        bounds::part_mut(piece, at, len)
    }

    /// Bytes to read and other bytes to write.
    fn read_and_write(&mut self, read: Range<usize>, write: Range<usize>) -> (&[i8], &mut [i8]) {
        let end = self.scratch_end;
        let after = |range: &Range<usize>| range.start.saturating_sub(end)..range.end.saturating_sub(end);
        let pair = match (read.start < end, write.start < end) {
            (true, true) => in_one(self.before, read, write),
            (false, false) => in_one(self.after, after(&read), after(&write)),
            (true, false) => self.before.get(read).zip(self.after.get_mut(after(&write))),
            (false, true) => self.after.get(after(&read)).zip(self.before.get_mut(write)),
        };
        pair.unwrap_or((&[], &mut []))
    }

    pub(crate) fn row(&self, tensor: &Tensor, row: usize) -> MapRow<'_> {
        map_row(tensor, self.bytes(rows::row_offset(tensor, row), rows::row_bytes(tensor)))
    }

    /// A row with pixels that follow each other without gaps.
    pub(crate) fn dense_row_mut(&mut self, tensor: &Tensor, row: usize) -> &mut [i8] {
        self.bytes_mut(rows::row_offset(tensor, row), rows::row_bytes(tensor))
    }

    /// [`dense_row_mut`](Self::dense_row_mut) of some rows that follow each other, no more than the ring has.
    pub(crate) fn dense_rows_mut(&mut self, tensor: &Tensor, made: Range<usize>) -> [&mut [i8]; MAX_ROWS] {
        if made.len() == 1 {
            let mut out: [&mut [i8]; MAX_ROWS] = Default::default();
            if let Some(first) = out.first_mut() {
                *first = self.dense_row_mut(tensor, made.start);
            }
            return out;
        }
        let (piece, start) = match (tensor.offset as usize).checked_sub(self.scratch_end) {
            Some(_) => (&mut *self.after, self.scratch_end),
            None => (&mut *self.before, 0),
        };
        let bytes = rows::row_bytes(tensor);
        // In the order in which they lie: after the end of a ring come its first rows.
        let ring = bounds::size(tensor.ring_rows);
        let wrapped = made.end.min(made.start - made.start % ring + ring.get());
        let mut out: [&mut [i8]; MAX_ROWS] = Default::default();
        let (mut rest, mut at) = (piece, start);
        for row in (wrapped..made.end).chain(made.start..wrapped) {
            let from = rows::row_offset(tensor, row);
            let split = rest.split_at_mut_checked(from - at).and_then(|(_, rest)| rest.split_at_mut_checked(bytes));
            let Some((pixels, after)) = split else { break };
            if let Some(out) = out.get_mut(row - made.start) {
                *out = pixels;
            }
            (rest, at) = (after, from + bytes);
        }
        out
    }

    /// A row to read, and a dense row to write.
    pub(crate) fn row_and_dense_row_mut(
        &mut self,
        (read, read_row): (&Tensor, usize),
        (write, write_row): (&Tensor, usize),
    ) -> (MapRow<'_>, &mut [i8]) {
        let from = rows::row_offset(read, read_row);
        let to = rows::row_offset(write, write_row);
        let (bytes, out) = self.read_and_write(from..from + rows::row_bytes(read), to..to + rows::row_bytes(write));
        (map_row(read, bytes), out)
    }

    /// Writes dense pixels to a row whose pixels have gaps between them.
    pub(crate) fn scatter(&mut self, dense: &[i8], tensor: &Tensor, row: usize) {
        let (channels, stride) = (usize::from(tensor.channels), usize::from(tensor.pixel_stride));
        let target = self.bytes_mut(rows::row_offset(tensor, row), rows::row_bytes(tensor));
        for (to, from) in bounds::pixels_mut(target, stride).zip(bounds::pixels(dense, channels)) {
            load::copy(from, to);
        }
    }

    /// Some channels of pixel `x` of the row at arena offset `row`.
    pub(crate) fn pixel(&self, tensor: &Tensor, row: usize, x: usize, channels: &Range<usize>) -> &[i8] {
        self.bytes(row + x * usize::from(tensor.pixel_stride) + channels.start, channels.len())
    }

    /// [`pixel`](Self::pixel) to be written.
    pub(crate) fn pixel_mut(&mut self, tensor: &Tensor, row: usize, x: usize, channels: &Range<usize>) -> &mut [i8] {
        self.bytes_mut(row + x * usize::from(tensor.pixel_stride) + channels.start, channels.len())
    }

    /// Copies a row to the same row of another tensor of the same size, with which it may be interleaved.
    pub(crate) fn copy_row(&mut self, from: &Tensor, to: &Tensor, row: usize) {
        let (mut read, mut write) = (rows::row_offset(from, row), rows::row_offset(to, row));
        let channels = usize::from(from.channels);
        for _ in 0..to.width {
            let (pixel, out) = self.read_and_write(read..read + channels, write..write + channels);
            load::copy(pixel, out);
            read += usize::from(from.pixel_stride);
            write += usize::from(to.pixel_stride);
        }
    }

    /// State of a pool at `state`, and the row that it reads.
    pub(crate) fn row_and_sums(
        &mut self,
        (tensor, row): (&Tensor, usize),
        state: usize,
        channels: usize,
    ) -> (MapRow<'_>, &mut [i32]) {
        let from = rows::row_offset(tensor, row);
        let (bytes, state) = self.read_and_write(from..from + rows::row_bytes(tensor), state..state + 4 * channels);
        (map_row(tensor, bytes), bounds::cast_mut(state))
    }

    /// State of a pool at `state`, and as many bytes at `offset` to write.
    pub(crate) fn sums_and_bytes(&mut self, state: usize, channels: usize, offset: usize) -> (&[i32], &mut [i8]) {
        let (state, bytes) = self.read_and_write(state..state + 4 * channels, offset..offset + channels);
        (bounds::cast(state), bytes)
    }

    /// Some channels of a pixel to read, and the same of another one to write; each as its tensor and its row's offset.
    pub(crate) fn pixel_pair(
        &mut self,
        (read, read_row): (&Tensor, usize),
        (write, write_row): (&Tensor, usize),
        x: usize,
        channels: &Range<usize>,
    ) -> (&[i8], &mut [i8]) {
        let from = read_row + x * usize::from(read.pixel_stride) + channels.start;
        let to = write_row + x * usize::from(write.pixel_stride) + channels.start;
        self.read_and_write(from..from + channels.len(), to..to + channels.len())
    }

    /// State of `words` numbers at `state`.
    pub(crate) fn state_mut(&mut self, state: usize, words: usize) -> &mut [i32] {
        bounds::cast_mut(self.bytes_mut(state, 4 * words))
    }

    /// State of `words` numbers at `state`, and some channels of a pixel to write.
    pub(crate) fn state_and_pixel_mut(
        &mut self,
        (state, words): (usize, usize),
        (tensor, row): (&Tensor, usize),
        x: usize,
        channels: &Range<usize>,
    ) -> (&[i32], &mut [i8]) {
        let to = row + x * usize::from(tensor.pixel_stride) + channels.start;
        let (state, pixel) = self.read_and_write(state..state + 4 * words, to..to + channels.len());
        (bounds::cast(state), pixel)
    }

    /// No node has taken a step.
    pub(crate) fn reset_counters(&mut self, nodes: usize) {
        self.bytes_mut(self.counters, 2 * nodes).fill(0);
    }

    fn counter(&self, node: usize) -> u16 {
        match self.bytes(self.counters + 2 * node, 2) {
            [low, high] => u16::from_le_bytes([*low as u8, *high as u8]),
            _ => 0,
        }
    }
}

/// The arena offsets of neighbouring rows, without a division for each.
#[derive(Clone)]
pub(crate) struct RowOffsets {
    slot: usize,
    slots: NonZero<usize>,
    left: usize,
    start: usize,
    row_stride: usize,
}

impl RowOffsets {
    pub(crate) fn new(tensor: &Tensor, rows: Range<usize>) -> Self {
        let slots = bounds::size(tensor.ring_rows);
        let (start, row_stride) = (tensor.offset as usize, tensor.row_stride as usize);
        Self { slot: rows.start % slots, slots, left: rows.len(), start, row_stride }
    }
}

impl Iterator for RowOffsets {
    type Item = usize;
    fn next(&mut self) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        let offset = self.start + self.slot * self.row_stride;
        self.slot += 1;
        if self.slot == self.slots.get() {
            self.slot = 0;
        }
        Some(offset)
    }
}

impl Counters for Maps<'_> {
    fn done(&self, node: usize) -> usize {
        self.counter(node).into()
    }
    fn advance(&mut self, node: usize) {
        let count = self.counter(node).wrapping_add(1).to_le_bytes().map(|byte| byte as i8);
        load::copy(&count, self.bytes_mut(self.counters + 2 * node, 2));
    }
}

fn map_row<'b>(tensor: &Tensor, bytes: &'b [i8]) -> MapRow<'b> {
    MapRow { bytes, channels: tensor.channels.into(), pixel_stride: tensor.pixel_stride.into() }
}

fn in_one(piece: &mut [i8], read: Range<usize>, write: Range<usize>) -> Option<(&[i8], &mut [i8])> {
    let [read, write] = piece.get_disjoint_mut([read, write]).ok()?;
    Some((read, write))
}
