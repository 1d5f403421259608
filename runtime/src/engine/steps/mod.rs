//! What one step of each operator does to the arena.
//!
//! Convolutions (`conv`) and operators on whole rows (`rows`) make a dense row, in place or in scratch; the others write
//! some channels of a pixel at a time (`blocks`, `norms`) or move pixels (`concat`).

mod blocks;
mod concat;
mod conv;
mod norms;
mod rows;

use super::Made;
use super::store::Maps;
use crate::format::records::{Node, OpCode, Tensor};
use crate::geometry;
use crate::kernels::{Backend, pad};
use crate::model::Model;
use crate::schedule::Network;
pub(in crate::engine) use conv::readable_kind;

/// A step of a node, with the records that it needs.
pub(super) struct Step<'s, 'm> {
    pub(super) model: &'s Model<'m>,
    pub(super) backend: &'static Backend,
    pub(super) index: usize,
    pub(super) node: &'s Node,
    pub(super) input: &'s Tensor,
    pub(super) output: &'s Tensor,
    pub(super) step: usize,
}

impl<'s, 'm> Step<'s, 'm> {
    pub(super) fn new(model: &'s Model<'m>, backend: &'static Backend, index: usize, step: usize) -> Self {
        let node = model.node(index);
        let (input, output) = (model.tensor(node.input.into()), model.tensor(node.output.into()));
        Self { model, backend, index, node, input, output, step }
    }

    pub(super) fn run(&self, maps: &mut Maps<'_>, scratch: &mut [i8], observe: &mut impl FnMut(Made<'_>)) {
        if geometry::is_view(&self.node) {
            return;
        }
        let (padded, dense) =
            scratch.split_at_mut_checked(geometry::padded_rows_bytes(&self.node, &self.input)).unwrap_or_default();
        let output_rows = geometry::output_rows(&self.node, &self.output, self.step);
        match OpCode::from_code(self.node.op) {
            Some(OpCode::GlobalAveragePool) => return self.global_pool(maps, observe),
            Some(OpCode::Conv) => self.convolution(maps, padded, dense),
            Some(OpCode::MaxPool) => output_rows.clone().for_each(|row| self.max_pool(row, maps)),
            Some(OpCode::AveragePool) => output_rows.clone().for_each(|row| self.average_pool(row, maps)),
            Some(OpCode::Resize) => output_rows.clone().for_each(|row| self.resize(row, maps)),
            Some(OpCode::Concat) => output_rows.clone().for_each(|row| self.concat(row, maps)),
            Some(OpCode::L2Norm) => output_rows.clone().for_each(|row| self.l2_norm(row, maps)),
            Some(OpCode::InstanceNorm) => {
                if self.step == 0 {
                    self.instance_moments(maps);
                }
                output_rows.clone().for_each(|row| self.instance_norm(row, maps));
            }
            Some(_) => output_rows.clone().for_each(|row| self.whole_row(row, maps, dense)),
            None => {}
        }
        for row in output_rows {
            self.show(row, maps, observe);
        }
    }

    /// Brings the second operand's row to where the output row is made, unless it lies there.
    fn load_operand(&self, row: usize, maps: &mut Maps<'_>, dense: &mut [i8]) {
        let operand = self.model.tensor(self.node.operand.into());
        if self.is_slice() {
            pad::gather(maps.row(&operand, row), dense);
        } else if !geometry::same_row(&operand, &self.output, row) {
            let (from, to) = maps.row_and_dense_row_mut((&operand, row), (&self.output, row));
            pad::gather(from, to);
        }
    }

    /// Whether the output's pixels have gaps, so that its rows are made in scratch.
    fn is_slice(&self) -> bool {
        self.output.pixel_stride != self.output.channels
    }

    /// Where the output row is made, dense.
    fn out_row<'o>(&self, row: usize, maps: &'o mut Maps<'_>, dense: &'o mut [i8]) -> &'o mut [i8] {
        if self.is_slice() { self.dense_part(dense) } else { maps.dense_row_mut(&self.output, row) }
    }

    fn in_and_out_row<'o>(
        &self,
        input_row: usize,
        row: usize,
        maps: &'o mut Maps<'_>,
        dense: &'o mut [i8],
    ) -> (pad::MapRow<'o>, &'o mut [i8]) {
        if self.is_slice() {
            (maps.row(&self.input, input_row), self.dense_part(dense))
        } else {
            maps.row_and_dense_row_mut((&self.input, input_row), (&self.output, row))
        }
    }

    fn dense_part<'o>(&self, dense: &'o mut [i8]) -> &'o mut [i8] {
        dense.get_mut(..usize::from(self.output.width) * usize::from(self.output.channels)).unwrap_or_default()
    }

    /// Moves a row that was made in scratch to its place.
    fn put(&self, row: usize, maps: &mut Maps<'_>, dense: &mut [i8]) {
        if self.is_slice() {
            maps.scatter(self.dense_part(dense), &self.output, row);
        }
    }

    fn show(&self, row: usize, maps: &Maps<'_>, observe: &mut impl FnMut(Made<'_>)) {
        observe(Made { node: self.index, row, values: maps.row(&self.output, row) });
    }
}
