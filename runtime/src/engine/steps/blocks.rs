//! Pools and interpolation: sums over pixels of several input rows, some channels at a time, so that they need neither
//! scratch nor a dense output row.

use super::Step;
use crate::engine::Made;
use crate::engine::store::{Maps, RowOffsets};
use crate::geometry::{self, Position};
use crate::kernels::elementwise;
use core::ops::Range;

/// Channels that are summed at a time.
pub(super) const BLOCK: usize = 16;

impl Step<'_, '_> {
    pub(super) fn max_pool(&self, row: usize, maps: &mut Maps<'_>) {
        let windows = geometry::window_columns(&self.node, &self.input);
        let down = geometry::window_rows(&self.node, &self.input);
        let (height, counted_height) = (down.inside(row).len(), down.counted(row, &self.node));
        let rows = self.window_offsets(row);
        for x in 0..self.output.width.into() {
            let columns = windows.inside(x);
            let has_padding = counted_height * windows.counted(x, &self.node) > height * columns.len();
            let least = if has_padding { self.input.zero_point } else { i8::MIN };
            for channels in self.blocks() {
                let mut best = [least; BLOCK];
                for row in rows.clone() {
                    for column in columns.clone() {
                        elementwise::largest(maps.pixel(&self.input, row, column, &channels), &mut best);
                    }
                }
                let out = maps.pixel_mut(&self.output, geometry::row_offset(&self.output, row), x, &channels);
                for (out, best) in out.iter_mut().zip(best) {
                    *out = best.max(self.node.lo).min(self.node.hi);
                }
            }
        }
    }

    pub(super) fn average_pool(&self, row: usize, maps: &mut Maps<'_>) {
        let node = &self.node;
        let requants = self.model.requant(node);
        let windows = geometry::window_columns(node, &self.input);
        let down = geometry::window_rows(node, &self.input);
        let (height, counted_height) = (down.inside(row).len(), down.counted(row, node));
        let rows = self.window_offsets(row);
        for x in 0..self.output.width.into() {
            let columns = windows.inside(x);
            let counted = counted_height * windows.counted(x, node);
            let padding = counted.saturating_sub(height * columns.len());
            let Some(requant) = requants.get(counted.saturating_sub(1)) else { return };
            for channels in self.blocks() {
                // Padding is the zero point.
                let mut sums = [padding as i32 * i32::from(self.input.zero_point); BLOCK];
                for row in rows.clone() {
                    for column in columns.clone() {
                        elementwise::weigh(maps.pixel(&self.input, row, column, &channels), 1, &mut sums);
                    }
                }
                let out = maps.pixel_mut(&self.output, geometry::row_offset(&self.output, row), x, &channels);
                elementwise::average(&sums, requant, node.lo, node.hi, out);
            }
        }
    }

    pub(super) fn resize(&self, row: usize, maps: &mut Maps<'_>) {
        let node = &self.node;
        let Some(requant) = self.model.requant(node).first() else { return };
        let down = geometry::resize_rows(node, &self.input, &self.output);
        let across = geometry::resize_columns(node, &self.input, &self.output);
        let y = down.position(row);
        let rows = RowOffsets::new(&self.input, y.first..y.end()).zip(weights(y, down.weight()));
        for at in 0..self.output.width.into() {
            let x = across.position(at);
            let columns = (x.first..x.end()).zip(weights(x, across.weight()));
            for channels in self.blocks() {
                let mut sums = [0; BLOCK];
                for (row, down) in rows.clone() {
                    for (column, across) in columns.clone() {
                        elementwise::weigh(maps.pixel(&self.input, row, column, &channels), down * across, &mut sums);
                    }
                }
                let out = maps.pixel_mut(&self.output, geometry::row_offset(&self.output, row), at, &channels);
                elementwise::average(&sums, requant, node.lo, node.hi, out);
            }
        }
    }

    /// Adds one input row to the sums; the last makes the output.
    pub(super) fn global_pool(&self, maps: &mut Maps<'_>, observe: &mut impl FnMut(Made<'_>)) {
        let Some(requant) = self.model.requant(&self.node).first() else { return };
        let (state, channels) = (self.node.state as usize, usize::from(self.output.channels));
        let (row, sums) = maps.row_and_sums((&self.input, self.step), state, channels);
        if self.step == 0 {
            sums.fill(0);
        }
        elementwise::accumulate(row, sums);
        if self.step + 1 == usize::from(self.input.height) {
            // One pixel has no gaps, whatever its stride is.
            let pixel = geometry::row_offset(&self.output, 0);
            let (sums, out) = maps.sums_and_bytes(state, channels, pixel);
            elementwise::average(sums, requant, self.node.lo, self.node.hi, out);
            self.show(0, maps, observe);
        }
    }

    /// Where the rows of a window lie.
    fn window_offsets(&self, row: usize) -> RowOffsets {
        RowOffsets::new(&self.input, geometry::window_rows(&self.node, &self.input).inside(row))
    }

    /// The output's channels, [`BLOCK`] at a time.
    pub(super) fn blocks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let channels = usize::from(self.output.channels);
        (0..channels).step_by(BLOCK).map(move |first| first..channels.min(first + BLOCK))
    }
}

/// The weights of the elements of a position.
fn weights(position: Position, sum: u32) -> impl Iterator<Item = i32> + Clone {
    [sum.saturating_sub(position.fraction) as i32, position.fraction as i32].into_iter()
}
