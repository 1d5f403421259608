//! Concatenation: nothing to do where the operands are slices of the output already.

use super::Step;
use crate::engine::store::Maps;
use crate::geometry;
use crate::schedule::Network;

impl Step<'_, '_> {
    pub(super) fn concat(&self, row: usize, maps: &mut Maps<'_>) {
        let operand = self.model.tensor(self.node.operand.into());
        for (from, before) in [(&self.input, 0), (&operand, self.input.channels)] {
            let to = geometry::member(&self.output, before, from.channels);
            if !geometry::same_row(from, &to, row) {
                maps.copy_row(from, &to, row);
            }
        }
    }
}
