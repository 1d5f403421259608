//! Operators that make a whole dense row out of one input row, and the second operand's row where there is one.

use super::Step;
use crate::engine::store::Maps;
use crate::format::records::OpCode;
use crate::geometry;
use crate::kernels::elementwise;
use crate::schedule::{Network, members};

impl Step<'_, '_> {
    pub(super) fn whole_row(&self, row: usize, maps: &mut Maps<'_>, dense: &mut [i8]) {
        let node = &self.node;
        let (lo, hi) = (node.lo, node.hi);
        let requants = self.model.requant(node);
        match OpCode::from_code(node.op) {
            Some(OpCode::Add) => {
                let Some(requant) = requants.first() else { return };
                self.load_operand(row, maps, dense);
                let (input, out) = self.in_and_out_row(row, row, maps, dense);
                elementwise::add(input, requant, node.operand_multiplier, lo, hi, out);
            }
            Some(OpCode::Gate) => {
                let Some(requant) = requants.first() else { return };
                let zero_point = self.model.tensor(node.operand.into()).zero_point;
                self.load_operand(row, maps, dense);
                let mask_row = row.min(usize::from(self.input.height).saturating_sub(1));
                let (mask, out) = self.in_and_out_row(mask_row, row, maps, dense);
                elementwise::gate(mask, node.operand_multiplier, zero_point, requant, lo, hi, out);
            }
            Some(OpCode::Affine) => {
                let (input, out) = self.in_and_out_row(row, row, maps, dense);
                elementwise::affine_row(input, requants, lo, hi, out);
            }
            Some(OpCode::Lookup) => {
                let Some(table) = self.model.table(node) else { return };
                let (input, out) = self.in_and_out_row(row, row, maps, dense);
                elementwise::lookup(input, table, out);
            }
            Some(OpCode::Copy) => self.copy(row, maps, dense),
            _ => return,
        }
        self.put(row, maps, dense);
    }

    /// Of a view, each member gives some channels of each pixel.
    fn copy(&self, row: usize, maps: &mut Maps<'_>, dense: &mut [i8]) {
        let (node, output) = (&self.node, &self.output);
        self.out_row(row, maps, dense).fill(output.zero_point);
        let Some(from) = geometry::copied_rows(node, output).source(row) else { return };
        let (pixels, runs) = (geometry::copied_pixels(node, output), self.model.runs(node));
        for member in members(self.model, node.input) {
            let member_step = Step { input: member.tensor, ..*self };
            let (input, out) = member_step.in_and_out_row(from, row, maps, dense);
            for (x, out) in out.chunks_mut(usize::from(output.channels).max(1)).enumerate() {
                if let Some(x) = pixels.source(x) {
                    elementwise::copy_runs(input.pixel(x), member.before.into(), runs, out);
                }
            }
        }
    }
}
