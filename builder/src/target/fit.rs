//! Whether a packed model fits a board's memories.

use super::Board;

/// Flash that the program around the model takes: that of `firmware-examples/classifier`, which has the operators and
/// kernels of its model and prints text, with some room. Kernels of `--optimize speed` for a Cortex-M4 take 6 KiB more;
/// `--profile small` takes less than half.
pub const PROGRAM_BYTES: u64 = 48 * 1024;
/// RAM beside the arena: stack and the program's own variables.
pub const STACK_BYTES: u64 = 4 * 1024;

/// What a packed model needs of a board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// Bytes of the packed model.
    pub model_bytes: u64,
    /// Bytes of its arena.
    pub arena_bytes: u64,
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
    /// What it leaves of a board, beside a program of [`PROGRAM_BYTES`] with [`STACK_BYTES`].
    pub fn on(self, board: &Board) -> Fit {
        let left = |bytes: u32, used: u64| i64::from(bytes) - used as i64;
        Fit {
            flash_spare: left(board.flash.bytes, self.model_bytes + PROGRAM_BYTES),
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
        let fit = |model_bytes, arena_bytes| Need { model_bytes, arena_bytes }.on(board);
        let full = fit(208 * 1024, 12 * 1024);
        assert_eq!((full, full.fits()), (Fit { flash_spare: 0, ram_spare: 0 }, true));
        let over = fit(208 * 1024 + 1, 12 * 1024 - 5);
        assert_eq!((over, over.fits()), (Fit { flash_spare: -1, ram_spare: 5 }, false));
        assert!(!fit(0, 12 * 1024 + 1).fits());
    }
}
