//! Whether a packed model fits a board's memories.

use super::suit::{of_format, packed_for};
use super::{Board, Support};
use skipstone_runtime::Model;
use skipstone_runtime::format::records::{Node, OpCode};
use skipstone_runtime::kernels::layout::RowElement;
use skipstone_runtime::kernels::spec::ConvSpec;
use skipstone_runtime::ops::conv::conv_shape;
use skipstone_runtime::schedule::Network;

/// A program without operators and kernels: that of `classify` of `firmware-examples/emulated`, which prints text.
/// `--profile small` takes less than half.
const BARE_BYTES: u64 = 32 * 1024;
/// An operator.
const OPERATOR_BYTES: u64 = 1536;
/// A second copy of the convolution's step, where padded rows are of two kinds.
const STEP_BYTES: u64 = 8 * 1024;
/// RAM beside the arena: stack and the program's own variables, but for those of a board's HAL.
pub const STACK_BYTES: u64 = skipstone_targets::STACK_BYTES as u64;

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

/// Memories that model and program have to fit, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Flash for the model and the program around it.
    pub flash: u64,
    /// RAM for the arena, the stack and the program's variables.
    pub ram: u64,
    /// What of both the board's HAL takes.
    pub support: Support,
}

impl Limits {
    /// Memories without a HAL.
    pub fn new(flash: u64, ram: u64) -> Self {
        Self { flash, ram, support: Support::default() }
    }

    /// The memories of a board, with its HAL.
    pub fn of(board: &Board) -> Self {
        Self { flash: board.flash.bytes.into(), ram: board.ram.bytes.into(), support: board.support }
    }

    /// The memories of a board, of which the program uses the core alone.
    pub fn of_core(board: &Board) -> Self {
        Self { support: Support::default(), ..Self::of(board) }
    }

    /// What there is for the arena.
    pub fn arena(self) -> u64 {
        self.ram.saturating_sub(self.stack_and_variables())
    }

    /// What there is for the model and a program without a HAL.
    pub fn flash_without_support(self) -> u64 {
        self.flash.saturating_sub(self.support.flash.into())
    }

    /// RAM beside the arena.
    pub fn stack_and_variables(self) -> u64 {
        STACK_BYTES + u64::from(self.support.ram)
    }
}

/// A program of some operators and kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Program {
    operators: usize,
    code_bytes: u64,
    /// Whether a kernel reads rows of bytes, and whether one reads rows of 16-bit words.
    elements: [bool; 2],
}

impl Program {
    /// How many different operators nodes have.
    pub(crate) fn operators(nodes: &[Node]) -> usize {
        let mut operators: Vec<u8> = nodes.iter().map(|node| node.op).collect();
        operators.sort_unstable();
        operators.dedup();
        operators.len()
    }

    /// One that has so many operators and no kernels yet.
    pub(crate) fn of_operators(operators: usize) -> Self {
        Self { operators, code_bytes: 0, elements: [false; 2] }
    }

    /// Adds a kernel that it does not have.
    pub(crate) fn add(&mut self, kernel: &ConvSpec) {
        self.code_bytes += kernel.code_bytes as u64;
        self.elements[0] |= kernel.layout.element == RowElement::Int8;
        self.elements[1] |= kernel.layout.element == RowElement::Int16;
    }

    /// Whether it is not larger than `other`, whatever kernels are added to both.
    pub(crate) fn within(&self, other: &Self) -> bool {
        let elements = self.elements.iter().zip(other.elements).all(|(&own, other)| !own || other);
        self.code_bytes <= other.code_bytes && elements && self.operators <= other.operators
    }

    /// Bytes of its operators, its kernels and what every program has, about.
    pub(crate) fn bytes(&self) -> u64 {
        let steps = if self.elements == [true; 2] { STEP_BYTES } else { 0 };
        BARE_BYTES + OPERATOR_BYTES * self.operators as u64 + self.code_bytes + steps
    }
}

impl Need {
    /// What `model` needs, with a program of the operators and kernels that it names.
    pub fn of(model: &Model<'_>) -> Self {
        let kernels = of_format(packed_for(model)).kernels();
        let mut specs: Vec<&ConvSpec> = Vec::new();
        for node in model.nodes().iter().filter(|node| OpCode::from_code(node.op) == Some(OpCode::Conv)) {
            let shape = conv_shape(node, model.tensor(node.input.into()), model.tensor(node.output.into()));
            let runs = |spec: &&&ConvSpec| spec.layout.code == node.layout && (spec.suits)(&shape);
            specs.extend(kernels.iter().find(runs));
        }
        specs.sort_unstable_by_key(|spec| spec.path);
        specs.dedup_by_key(|spec| spec.path);
        let mut program = Program::of_operators(Program::operators(model.nodes()));
        specs.into_iter().for_each(|spec| program.add(spec));
        Self {
            model_bytes: model.as_bytes().len() as u64,
            arena_bytes: model.arena_len() as u64,
            program_bytes: program.bytes(),
        }
    }

    /// Flash that model and program take.
    pub fn flash_bytes(self) -> u64 {
        self.model_bytes + self.program_bytes
    }

    /// What it leaves of some memories, with [`STACK_BYTES`] and the HAL.
    pub fn left(self, limits: Limits) -> Fit {
        let left = |bytes: u64, used: u64| i64::try_from(bytes).unwrap_or(i64::MAX) - used as i64;
        Fit {
            flash_spare: left(limits.flash, self.flash_bytes() + u64::from(limits.support.flash)),
            ram_spare: left(limits.ram, self.arena_bytes + limits.stack_and_variables()),
        }
    }

    /// What it leaves of a board.
    pub fn on(self, board: &Board) -> Fit {
        self.left(Limits::of(board))
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
        let program_bytes = 48 * 1024;
        let fit = |model_bytes, arena_bytes| Need { model_bytes, arena_bytes, program_bytes }.on(board);
        let full = fit(208 * 1024, 12 * 1024);
        assert_eq!((full, full.fits()), (Fit { flash_spare: 0, ram_spare: 0 }, true));
        let over = fit(208 * 1024 + 1, 12 * 1024 - 5);
        assert_eq!((over, over.fits()), (Fit { flash_spare: -1, ram_spare: 5 }, false));
        assert!(!fit(0, 12 * 1024 + 1).fits());
    }

    #[test]
    fn a_boards_hal_takes_its_share() {
        let board = Board::named("pico").unwrap();
        let Support { flash, ram } = board.support;
        assert!(flash > 0 && ram > 0);
        let limits = Limits::of(board);
        let need = Need {
            model_bytes: limits.flash_without_support() - 48 * 1024,
            arena_bytes: limits.arena(),
            program_bytes: 48 * 1024,
        };
        assert_eq!(need.on(board), Fit { flash_spare: 0, ram_spare: 0 });
        let without = Fit { flash_spare: flash.into(), ram_spare: ram.into() };
        assert_eq!(need.left(Limits::of_core(board)), without);
        let given = Limits { flash: 100_000, ..limits };
        assert_eq!(need.left(given).flash_spare, 100_000 - i64::from(board.flash.bytes));
    }
}
