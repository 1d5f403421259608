//! Raspberry Pi Pico and Pico 2: the LED, and UART 0 on pins 0 (sends) and 1 (receives).
#![no_std]
#![forbid(unsafe_code)]

use board_real::{Real, Serial};
use embassy_rp::clocks::clk_sys_freq;
use embassy_rp::gpio::{Level, Output};
use embassy_rp::uart::{Blocking, Config, Uart};
use embedded_hal::digital::PinState;

/// The board.
pub type Board = Real<Output<'static>, Port>;

/// Its serial port.
pub struct Port(Uart<'static, Blocking>);

/// Starts clocks, LED and serial port.
pub fn start() -> Board {
    let chip = embassy_rp::init(Default::default());
    let led = Output::new(chip.PIN_25, Level::Low);
    let port = Uart::new_blocking(chip.UART0, chip.PIN_0, chip.PIN_1, Config::default());
    Real::start((led, PinState::High), Port(port), clk_sys_freq())
}

impl Serial for Port {
    fn write(&mut self, bytes: &[u8]) {
        // Nobody may listen: what is not sent is lost.
        let _ = self.0.blocking_write(bytes);
    }

    fn read(&mut self, bytes: &mut [u8]) -> bool {
        self.0.blocking_read(bytes).is_ok()
    }
}
