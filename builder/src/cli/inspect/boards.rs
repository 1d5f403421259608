//! Boards that a packed model may be meant for.

use crate::cli::table::{Table, grouped};

/// Flash that the program around the model takes: that of `firmware-examples/classifier`, which has all operators and
/// prints text, with some room.
pub(super) const PROGRAM_BYTES: u64 = 76 * 1024;
/// RAM beside the arena: stack and the program's own variables.
pub(super) const STACK_BYTES: u64 = 4 * 1024;

struct Board {
    name: &'static str,
    core: &'static str,
    flash_kib: u64,
    /// The largest contiguous RAM; the arena is one piece.
    ram_kib: u64,
}

/// Source: the manufacturers' data sheets.
const BOARDS: &[Board] = &[
    Board { name: "BBC micro:bit v1 (nRF51822)", core: "Cortex-M0", flash_kib: 256, ram_kib: 16 },
    Board { name: "Raspberry Pi Pico (RP2040)", core: "Cortex-M0+", flash_kib: 2048, ram_kib: 256 },
    Board { name: "Blue Pill (STM32F103C8)", core: "Cortex-M3", flash_kib: 64, ram_kib: 20 },
    Board { name: "BBC micro:bit v2 (nRF52833)", core: "Cortex-M4", flash_kib: 512, ram_kib: 128 },
    Board { name: "Arduino Nano 33 BLE (nRF52840)", core: "Cortex-M4", flash_kib: 1024, ram_kib: 256 },
    Board { name: "Arduino Uno R4 (RA4M1)", core: "Cortex-M4", flash_kib: 256, ram_kib: 32 },
    Board { name: "Netduino Plus 2 (STM32F405)", core: "Cortex-M4", flash_kib: 1024, ram_kib: 128 },
    Board { name: "Black Pill (STM32F411)", core: "Cortex-M4", flash_kib: 512, ram_kib: 128 },
    Board { name: "Nucleo-L476RG (STM32L476)", core: "Cortex-M4", flash_kib: 1024, ram_kib: 96 },
    Board { name: "Nucleo-H743ZI (STM32H743)", core: "Cortex-M7", flash_kib: 2048, ram_kib: 512 },
    Board { name: "Raspberry Pi Pico 2 (RP2350)", core: "Cortex-M33", flash_kib: 4096, ram_kib: 512 },
];

/// Which boards hold a model of `model_bytes` with an arena of `arena_bytes`.
pub(super) fn table(model_bytes: u64, arena_bytes: u64) -> Table {
    let mut table = Table::new(&["board", "core", "flash KiB", "RAM KiB", "fits"]);
    for board in BOARDS {
        table.row([
            board.name.into(),
            board.core.into(),
            board.flash_kib.to_string(),
            board.ram_kib.to_string(),
            verdict(board, model_bytes, arena_bytes),
        ]);
    }
    table
}

fn verdict(board: &Board, model_bytes: u64, arena_bytes: u64) -> String {
    let flash = (model_bytes + PROGRAM_BYTES).saturating_sub(board.flash_kib * 1024);
    let ram = (arena_bytes + STACK_BYTES).saturating_sub(board.ram_kib * 1024);
    match (flash, ram) {
        (0, 0) => "yes".into(),
        (flash, 0) => format!("no: flash {} bytes short", grouped(flash)),
        (0, ram) => format!("no: RAM {} bytes short", grouped(ram)),
        (flash, ram) => format!("no: flash {}, RAM {} bytes short", grouped(flash), grouped(ram)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_name_what_is_short() {
        let board = Board { name: "", core: "", flash_kib: 128, ram_kib: 20 };
        assert_eq!(verdict(&board, 52 * 1024, 16 * 1024), "yes");
        assert_eq!(verdict(&board, 52 * 1024 + 1, 16 * 1024), "no: flash 1 bytes short");
        assert_eq!(verdict(&board, 0, 16 * 1024 + 1500), "no: RAM 1,500 bytes short");
        assert!(
            verdict(&board, 1 << 20, 1 << 20).contains("flash") && verdict(&board, 1 << 20, 1 << 20).contains("RAM")
        );
    }
}
