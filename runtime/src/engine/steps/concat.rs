//! Concatenation: nothing to do where the operands are slices of the output already.

use super::Step;
use crate::engine::store::Maps;
use crate::geometry;
use crate::schedule::{Member, Network, members};

impl Step<'_, '_> {
    pub(super) fn concat(&self, row: usize, maps: &mut Maps<'_>) {
        let operand = self.model.tensor(self.node.operand.into());
        let operand = Member { index: self.node.operand, tensor: operand, before: self.input.channels };
        for Member { tensor: from, before, .. } in members(self.model, self.node.input).chain([operand]) {
            let to = geometry::member(&self.output, before, from.channels);
            if !geometry::same_row(&from, &to, row) {
                maps.copy_row(&from, &to, row);
            }
        }
    }
}
