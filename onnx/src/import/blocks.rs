//! Blocks of pixels as channels: the map of each position in a block is a slice, and these stand side by side.

use super::Importer;
use super::draft::Id;
use super::failure::Failure;
use crate::{Op, Slice};

/// Most pixels of a block.
const POSITIONS: usize = 1024;

impl Importer<'_> {
    /// The map whose channels are those of blocks of `size`: row in the block, column in the block, channel.
    pub(super) fn blocks(&mut self, map: Id, size: [usize; 2], name: &str) -> Result<Id, Failure> {
        let slices = self.positions_in_blocks(map, size, name)?;
        self.push_fresh(&format!("{name}.blocks"), Op::Concat, &slices)
    }

    /// For each position of a block the map of that position.
    pub(super) fn positions_in_blocks(
        &mut self,
        map: Id,
        [rows, columns]: [usize; 2],
        name: &str,
    ) -> Result<Vec<Id>, Failure> {
        let &[channels, height, width] = self.draft.dims(map) else { return Err("takes maps [N, C, H, W]".into()) };
        if rows.saturating_mul(columns) > POSITIONS {
            return Err(
                format!("blocks of {rows}x{columns} pixels are too large, {POSITIONS} pixels are supported").into()
            );
        }
        let name = format!("{name}.position");
        (0..rows * columns)
            .map(|at| {
                let start = [0, at / columns, at % columns];
                let slice = Slice { start, end: [channels, height, width], step: [1, rows, columns] };
                self.push_fresh(&name, Op::Slice(slice), &[map])
            })
            .collect()
    }
}
