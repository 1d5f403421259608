//! Devices of the MPS2 boards with a Cortex-M3, M4 or M7: a UART, and flash in their PSRAM.
#![no_std]

mod flash;
mod uart;

pub use flash::Flash;
pub use uart::Uart;

/// Whether the program's board is one of them.
fn is_here() -> bool {
    matches!(board_qemu::NAME, "mps2-an385" | "mps2-an386" | "mps2-an500")
}
