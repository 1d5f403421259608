//! A step of a node, as operators see it.

use crate::arena::Maps;
use crate::arith::Requant;
use crate::bounds;
use crate::format::records::{Node, Tensor};
use crate::kernels::Backend;
use crate::kernels::load::{self, MapRow};
use crate::model::Model;
use crate::network::Network;
use crate::rows::{self, is_slice};
use core::ops::Range;

/// Channels that operators without scratch work on at a time.
pub(crate) const BLOCK: usize = 16;

/// A step of a node, with the records that it needs.
pub(crate) struct Step<'s, 'm> {
    pub(crate) model: &'s Model<'m>,
    pub(crate) backend: &'static Backend,
    pub(crate) node: &'s Node,
    pub(crate) input: &'s Tensor,
    pub(crate) output: &'s Tensor,
    /// The node's steps before this one.
    pub(crate) step: usize,
}

impl<'m> Step<'_, 'm> {
    /// The rows that it makes.
    pub(crate) fn rows(&self) -> Range<usize> {
        rows::output_rows(self.node, self.output, self.step)
    }

    /// The node's conversions, of which there are `count`.
    pub(crate) fn requants(&self, count: usize) -> &'m [Requant] {
        self.model.requants(self.node.requant, count)
    }

    /// The one conversion of a node that has one.
    pub(crate) fn requant(&self) -> Option<&'m Requant> {
        self.requants(1).first()
    }

    /// Brings the second operand's row to where the output row is made, unless it lies there.
    pub(crate) fn load_operand(&self, row: usize, maps: &mut Maps<'_>, dense: &mut [i8]) {
        let operand = self.model.tensor(self.node.operand.into());
        if is_slice(self.output) {
            load::gather(maps.row(operand, row), dense);
        } else if !rows::same_row(operand, self.output, row) {
            let (from, to) = maps.row_and_dense_row_mut((operand, row), (self.output, row));
            load::gather(from, to);
        }
    }

    /// Where the output row is made, dense.
    pub(crate) fn out_row<'o>(&self, row: usize, maps: &'o mut Maps<'_>, dense: &'o mut [i8]) -> &'o mut [i8] {
        if is_slice(self.output) { self.dense_part(dense) } else { maps.dense_row_mut(self.output, row) }
    }

    /// A row to read, and where the output row is made, dense.
    pub(crate) fn in_and_out_row<'o>(
        &self,
        (input, input_row): (&Tensor, usize),
        row: usize,
        maps: &'o mut Maps<'_>,
        dense: &'o mut [i8],
    ) -> (MapRow<'o>, &'o mut [i8]) {
        if is_slice(self.output) {
            (maps.row(input, input_row), self.dense_part(dense))
        } else {
            maps.row_and_dense_row_mut((input, input_row), (self.output, row))
        }
    }

    fn dense_part<'o>(&self, dense: &'o mut [i8]) -> &'o mut [i8] {
        bounds::part_mut(dense, 0, usize::from(self.output.width) * usize::from(self.output.channels))
    }

    /// Moves a row that was made in scratch to its place.
    pub(crate) fn put(&self, row: usize, maps: &mut Maps<'_>, dense: &mut [i8]) {
        if is_slice(self.output) {
            maps.scatter(self.dense_part(dense), self.output, row);
        }
    }

    /// The output's channels, [`BLOCK`] at a time.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let channels = usize::from(self.output.channels);
        (0..channels).step_by(BLOCK).map(move |first| first..channels.min(first + BLOCK))
    }
}
