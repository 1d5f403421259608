//! Boards that a packed model may be meant for.

use crate::cli::table::{Table, grouped};

/// Flash that the program around the model takes: that of `firmware-examples/classifier`, which has all operators and
/// prints text, with some room.
pub(super) const PROGRAM_BYTES: u64 = 112 * 1024;
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
    let mut table = Table::new(&["board", "core", "flash KiB", "RAM KiB", "flash to spare", "RAM to spare", "fits"]);
    for board in BOARDS {
        let [flash, ram] = spare(board, model_bytes, arena_bytes);
        table.row([
            board.name.into(),
            board.core.into(),
            board.flash_kib.to_string(),
            board.ram_kib.to_string(),
            signed(flash),
            signed(ram),
            if flash >= 0 && ram >= 0 { "yes" } else { "no" }.into(),
        ]);
    }
    table
}

/// Bytes of flash and of RAM that are left over; negative where they are missing.
fn spare(board: &Board, model_bytes: u64, arena_bytes: u64) -> [i64; 2] {
    let left = |kib: u64, used: u64| (kib * 1024) as i64 - used as i64;
    [left(board.flash_kib, model_bytes + PROGRAM_BYTES), left(board.ram_kib, arena_bytes + STACK_BYTES)]
}

fn signed(bytes: i64) -> String {
    let sign = if bytes < 0 { "-" } else { "" };
    format!("{sign}{}", grouped(bytes.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_short_is_negative() {
        let board = Board { name: "", core: "", flash_kib: 128, ram_kib: 20 };
        assert_eq!(spare(&board, 16 * 1024, 16 * 1024), [0, 0]);
        assert_eq!(spare(&board, 16 * 1024 + 1, 16 * 1024 - 5), [-1, 5]);
        assert_eq!([-1_500, 0, 2_000].map(signed), ["-1,500", "0", "2,000"]);
        assert!(table(1 << 30, 1 << 30).to_string().lines().skip(1).all(|line| line.ends_with("no")));
        assert!(table(0, 0).to_string().lines().skip(2).any(|line| line.ends_with("yes")));
    }
}
