//! Steps of convolutions: padded input rows in scratch, then one call of a kernel for each output row.

use super::Step;
use crate::engine::store::Maps;
use crate::format::records::{NONE, Node, WeightKind};
use crate::geometry;
use crate::kernels::{Backend, ConvKernel, ConvRow, Element, elementwise, pad};
use crate::schedule::{is_view, members};

impl Step<'_, '_> {
    pub(super) fn convolution(&self, maps: &mut Maps<'_>, padded: &mut [i8], dense: &mut [i8]) {
        match readable_kind(&self.node, self.backend) {
            Some(WeightKind::Pairs) => {
                if let (Some(kernel), Ok(padded)) = (&self.backend.pairs, bytemuck::try_cast_slice_mut(padded)) {
                    self.convolve(kernel, self.backend.widen, maps, padded, dense);
                }
            }
            _ => self.convolve(&self.backend.canonical, pad::copy, maps, padded, dense),
        }
    }

    fn convolve<T: Element + From<i8>>(
        &self,
        kernel: &ConvKernel<T>,
        convert: fn(&[i8], &mut [T]),
        maps: &mut Maps<'_>,
        padded: &mut [T],
        dense: &mut [i8],
    ) {
        let (node, input) = (&self.node, &self.input);
        let row_len = geometry::padded_row_len(node, input, T::KIND);
        let rows = geometry::output_rows(node, &self.output, self.step);
        let stride_h = usize::from(node.stride_h);
        let span = rows.len().saturating_sub(1) * stride_h + usize::from(node.kernel_h);
        let left = usize::from(node.pad_left) * usize::from(input.channels);
        let prologue = self.model.prologue(node);
        let gathers = is_view(self.model, input);
        for (y, padded) in padded.chunks_mut(row_len.max(1)).take(span).enumerate() {
            let y = (rows.start * stride_h + y).checked_sub(node.pad_top.into());
            let y = y.filter(|&y| y < input.height.into());
            let zero_point = if node.prologue == 0 { input.zero_point } else { node.prologue_zero };
            if gathers {
                pad::load(None, left, zero_point, padded, convert);
            }
            // Of a view, each member fills some channels of each pixel.
            for member in members(self.model, node.input) {
                let row = y.map(|y| maps.row(&member.tensor, y));
                let before = usize::from(member.before);
                let part = pad::Part { left: left + before, pixel_stride: input.channels.into() };
                let prologue = prologue.get(before..).unwrap_or(&[]);
                let prologue = prologue.get(..member.tensor.channels.into()).unwrap_or(&[]);
                let through = |from: &[i8], to: &mut [T]| {
                    elementwise::affine(from, prologue, node.prologue_lo, node.prologue_hi, to);
                };
                match (gathers, node.prologue) {
                    (false, 0) => pad::load(row, left, zero_point, padded, convert),
                    (false, _) => pad::load(row, left, zero_point, padded, through),
                    (true, 0) => pad::load_part(row, part, padded, convert),
                    (true, _) => pad::load_part(row, part, padded, through),
                }
            }
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
            self.put(row, maps, dense);
        }
    }
}

/// The kind of weights by which `backend` runs a convolution; `None` if it reads none that the file holds.
pub(in crate::engine) fn readable_kind(node: &Node, backend: &Backend) -> Option<WeightKind> {
    let kind = WeightKind::from_code(node.weight_kind)?;
    if backend.reads(kind) { Some(kind) } else { (node.canonical != 0).then_some(WeightKind::Canonical) }
}
