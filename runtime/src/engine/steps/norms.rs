//! Norms: what they divide by follows from the values of the image.

use super::Step;
use super::blocks::BLOCK;
use crate::arith;
use crate::engine::store::Maps;
use crate::geometry;
use crate::kernels::{elementwise, pad};

impl Step<'_, '_> {
    pub(super) fn l2_norm(&self, row: usize, maps: &mut Maps<'_>) {
        let (input, output) = (&self.input, &self.output);
        let Some(numerator) = self.model.requant(&self.node).first() else { return };
        let mask = self.model.channel_mask(&self.node);
        let [from, to] = [input, output].map(|tensor| geometry::row_offset(tensor, row));
        let channels = 0..usize::from(output.channels);
        for x in 0..output.width.into() {
            let (pixel, out) = maps.pixel_pair((input, from), (output, to), x, &channels);
            let square = elementwise::squares(pixel, mask, input.zero_point);
            let requant = arith::over_root(square.into(), numerator, output.zero_point);
            elementwise::l2_norm(pixel, input.zero_point, &requant, self.node.lo, self.node.hi, out);
        }
    }

    /// What each channel of the whole map is divided by: sums, multipliers, shifts.
    pub(super) fn instance_moments(&self, maps: &mut Maps<'_>) {
        let Some(numerator) = self.model.requant(&self.node).first() else { return };
        let (state, channels) = (self.node.state as usize, usize::from(self.output.channels));
        maps.state_mut(state, 3 * channels).fill(0);
        for row in 0..self.input.height.into() {
            let (row, moments) = maps.row_and_sums((&self.input, row), state, 2 * channels);
            elementwise::moments(row, moments);
        }
        let count = u32::from(self.input.height) * u32::from(self.input.width);
        let fraction = self.node.operand_multiplier.unsigned_abs();
        elementwise::deviations(maps.state_mut(state, 3 * channels), count, fraction, numerator);
    }

    pub(super) fn instance_norm(&self, row: usize, maps: &mut Maps<'_>) {
        let (input, output) = (&self.input, &self.output);
        let count = u32::from(input.height) * u32::from(input.width);
        let words = 3 * usize::from(output.channels);
        let [from, to] = [input, output].map(|tensor| geometry::row_offset(tensor, row));
        for x in 0..output.width.into() {
            for channels in self.blocks() {
                let mut values = [0; BLOCK];
                pad::copy(maps.pixel(input, from, x, &channels), &mut values);
                let state = (self.node.state as usize, words);
                let (state, out) = maps.state_and_pixel_mut(state, (output, to), x, &channels);
                let zero_point = output.zero_point;
                let deviations = elementwise::Deviations { state, first: channels.start, count, zero_point };
                elementwise::instance_norm(&values, deviations, self.node.lo, self.node.hi, out);
            }
        }
    }
}
