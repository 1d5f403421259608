//! Whether a packed model fits a board's memories.

use super::Board;
use super::suit::{of_format, packed_for};
use skipstone_runtime::Model;
use skipstone_runtime::format::records::OpCode;
use skipstone_runtime::kernels::layout::RowElement;
use skipstone_runtime::kernels::spec::ConvSpec;
use skipstone_runtime::ops::conv::conv_shape;
use skipstone_runtime::schedule::Network;

/// Flash that the program around a model takes at least: that of `firmware-examples/classifier`, which has the operators and
/// kernels of its model and prints text, with some room. `--profile small` takes less than half.
pub const PROGRAM_BYTES: u64 = 48 * 1024;
/// A program without operators and kernels.
const BARE_BYTES: u64 = 32 * 1024;
/// An operator.
const OPERATOR_BYTES: u64 = 1536;
/// A second copy of the convolution's step, where padded rows are of two kinds.
const STEP_BYTES: u64 = 8 * 1024;
/// RAM beside the arena: stack and the program's own variables.
pub const STACK_BYTES: u64 = 4 * 1024;

/// What a packed model needs of a board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// Bytes of the packed model.
    pub model_bytes: u64,
    /// Bytes of its arena.
    pub arena_bytes: u64,
    /// Bytes of the program around it, about.
    pub program_bytes: u64,
}

/// What is left of a board's memories, in bytes; negative where they are too small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fit {
    /// Of flash, after model and program.
    pub flash_spare: i64,
    /// Of RAM, after arena, stack and variables.
    pub ram_spare: i64,
}

impl Need {
    /// What `model` needs, with a program of the operators and kernels that it names.
    pub fn of(model: &Model<'_>) -> Self {
        let kernels = of_format(packed_for(model)).kernels();
        let mut operators: Vec<u8> = model.nodes().iter().map(|node| node.op).collect();
        operators.sort_unstable();
        operators.dedup();
        let mut specs: Vec<&ConvSpec> = Vec::new();
        for node in model.nodes().iter().filter(|node| OpCode::from_code(node.op) == Some(OpCode::Conv)) {
            let shape = conv_shape(node, model.tensor(node.input.into()), model.tensor(node.output.into()));
            let runs = |spec: &&&ConvSpec| spec.layout.code == node.layout && (spec.suits)(&shape);
            specs.extend(kernels.iter().find(runs));
        }
        specs.sort_unstable_by_key(|spec| spec.path);
        specs.dedup_by_key(|spec| spec.path);
        let has = |element: RowElement| specs.iter().any(|spec| spec.layout.element == element);
        let steps = if has(RowElement::Int8) && has(RowElement::Int16) { STEP_BYTES } else { 0 };
        let code: u64 = specs.iter().map(|spec| spec.code_bytes as u64).sum();
        let program_bytes = BARE_BYTES + OPERATOR_BYTES * operators.len() as u64 + code + steps;
        Self {
            model_bytes: model.as_bytes().len() as u64,
            arena_bytes: model.arena_len() as u64,
            program_bytes: program_bytes.max(PROGRAM_BYTES),
        }
    }

    /// What it leaves of a board, with [`STACK_BYTES`].
    pub fn on(self, board: &Board) -> Fit {
        let left = |bytes: u32, used: u64| i64::from(bytes) - used as i64;
        Fit {
            flash_spare: left(board.flash.bytes, self.model_bytes + self.program_bytes),
            ram_spare: left(board.ram.bytes, self.arena_bytes + STACK_BYTES),
        }
    }
}

impl Fit {
    /// Whether nothing is missing.
    pub fn fits(self) -> bool {
        self.flash_spare >= 0 && self.ram_spare >= 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_negative() {
        let board = Board::named("microbit").unwrap();
        let program_bytes = PROGRAM_BYTES;
        let fit = |model_bytes, arena_bytes| Need { model_bytes, arena_bytes, program_bytes }.on(board);
        let full = fit(208 * 1024, 12 * 1024);
        assert_eq!((full, full.fits()), (Fit { flash_spare: 0, ram_spare: 0 }, true));
        let over = fit(208 * 1024 + 1, 12 * 1024 - 5);
        assert_eq!((over, over.fits()), (Fit { flash_spare: -1, ram_spare: 5 }, false));
        assert!(!fit(0, 12 * 1024 + 1).fits());
    }
}
