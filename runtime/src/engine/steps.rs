//! What one step of each operator does to the arena.

use super::Made;
use super::store::Maps;
use crate::format::records::{NONE, Node, OpCode, Tensor, WeightKind};
use crate::geometry;
use crate::kernels::{Backend, ConvKernel, ConvRow, Element, elementwise, pad};
use crate::model::Model;
use crate::schedule::Network;

/// A step of a node, with the records that it needs.
pub(super) struct Step<'s, 'm> {
    pub(super) model: &'s Model<'m>,
    pub(super) backend: &'static Backend,
    pub(super) index: usize,
    pub(super) node: Node,
    pub(super) input: Tensor,
    pub(super) output: Tensor,
    pub(super) step: usize,
}

impl<'s, 'm> Step<'s, 'm> {
    pub(super) fn new(model: &'s Model<'m>, backend: &'static Backend, index: usize, step: usize) -> Self {
        let node = model.node(index);
        let (input, output) = (model.tensor(node.input.into()), model.tensor(node.output.into()));
        Self { model, backend, index, node, input, output, step }
    }

    pub(super) fn run(&self, maps: &mut Maps<'_>, scratch: &mut [i8], observe: &mut impl FnMut(Made<'_>)) {
        let (padded, dense) =
            scratch.split_at_mut_checked(geometry::padded_rows_bytes(&self.node, &self.input)).unwrap_or_default();
        match OpCode::from_code(self.node.op) {
            Some(OpCode::Conv) => match readable_kind(&self.node, self.backend) {
                Some(WeightKind::Pairs) => {
                    if let (Some(kernel), Ok(padded)) = (&self.backend.pairs, bytemuck::try_cast_slice_mut(padded)) {
                        self.convolution(kernel, self.backend.widen, maps, padded, dense, observe);
                    }
                }
                _ => self.convolution(&self.backend.canonical, pad::copy, maps, padded, dense, observe),
            },
            Some(OpCode::Add) => self.add(maps, dense, observe),
            Some(OpCode::GlobalAveragePool) => self.pool(maps, observe),
            Some(OpCode::Shortcut) => self.shortcut(maps, dense, observe),
            _ => {}
        }
    }

    fn convolution<T: Element + From<i8>>(
        &self,
        kernel: &ConvKernel<T>,
        convert: fn(&[i8], &mut [T]),
        maps: &mut Maps<'_>,
        padded: &mut [T],
        dense: &mut [i8],
        observe: &mut impl FnMut(Made<'_>),
    ) {
        let (node, input) = (&self.node, &self.input);
        let row_len = geometry::padded_row_len(node, input, T::KIND);
        let rows = geometry::output_rows(node, &self.output, self.step);
        let stride_h = usize::from(node.stride_h);
        let span = rows.len().saturating_sub(1) * stride_h + usize::from(node.kernel_h);
        let left = usize::from(node.pad_left) * usize::from(input.channels);
        for (y, padded) in padded.chunks_mut(row_len.max(1)).take(span).enumerate() {
            let y = (rows.start * stride_h + y).checked_sub(node.pad_top.into());
            let row = y.filter(|&y| y < input.height.into()).map(|y| maps.row(input, y));
            pad::load(row, left, input.zero_point, padded, convert);
        }
        for row in rows.clone() {
            let residual = (node.operand != NONE).then_some(node.operand_multiplier);
            if residual.is_some() {
                self.load_operand(row, maps, dense);
            }
            let first = (row - rows.start) * stride_h * row_len;
            let out = self.out_row(row, maps, dense);
            (kernel.run)(&mut ConvRow {
                rows: padded.get(first..).unwrap_or(&[]),
                row_len,
                kernel_h: node.kernel_h.into(),
                kernel_w: node.kernel_w.into(),
                stride_w: node.stride_w.into(),
                channels_in: input.channels.into(),
                groups: node.groups.into(),
                weights: self.model.weights(node, T::KIND),
                requant: self.model.requant(node),
                residual,
                lo: node.lo,
                hi: node.hi,
                out,
            });
            self.finish(row, maps, dense, observe);
        }
    }

    fn add(&self, maps: &mut Maps<'_>, dense: &mut [i8], observe: &mut impl FnMut(Made<'_>)) {
        let Some(requant) = self.model.requant(&self.node).first() else { return };
        for row in geometry::output_rows(&self.node, &self.output, self.step) {
            self.load_operand(row, maps, dense);
            let (input, out) = self.in_and_out_row(row, row, maps, dense);
            elementwise::add(input, requant, self.node.operand_multiplier, self.node.lo, self.node.hi, out);
            self.finish(row, maps, dense, observe);
        }
    }

    fn pool(&self, maps: &mut Maps<'_>, observe: &mut impl FnMut(Made<'_>)) {
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
            observe(Made { node: self.index, row: 0, values: out });
        }
    }

    fn shortcut(&self, maps: &mut Maps<'_>, dense: &mut [i8], observe: &mut impl FnMut(Made<'_>)) {
        let (node, output) = (&self.node, &self.output);
        for row in geometry::output_rows(node, output, self.step) {
            let (input, out) = self.in_and_out_row(row * usize::from(node.stride_h), row, maps, dense);
            let (before, channels) = (node.channels_before.into(), output.channels.into());
            elementwise::shortcut(input, node.stride_w.into(), before, channels, output.zero_point, out);
            self.finish(row, maps, dense, observe);
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

    /// Moves a row that was made in scratch to its place, and shows it.
    fn finish(&self, row: usize, maps: &mut Maps<'_>, dense: &mut [i8], observe: &mut impl FnMut(Made<'_>)) {
        if self.is_slice() {
            maps.scatter(self.dense_part(dense), &self.output, row);
        }
        observe(Made { node: self.index, row, values: self.out_row(row, maps, dense) });
    }
}

/// The kind of weights by which `backend` runs a convolution; `None` if it reads none that the file holds.
pub(super) fn readable_kind(node: &Node, backend: &Backend) -> Option<WeightKind> {
    let kind = WeightKind::from_code(node.weight_kind)?;
    if backend.reads(kind) { Some(kind) } else { (node.canonical != 0).then_some(WeightKind::Canonical) }
}
