//! nRF52840 DK: LED 1, and the debug probe's serial port.
#![no_std]

use board_real::{Real, Serial};
use embassy_nrf::bind_interrupts;
use embassy_nrf::gpio::{Level, Output, OutputDrive};
use embassy_nrf::peripherals::UARTE0;
use embassy_nrf::uarte::{Config, InterruptHandler, Uarte};
use embedded_hal::digital::PinState;

const CLOCK_HZ: u32 = 64_000_000;

bind_interrupts!(struct Interrupts {
    UARTE0 => InterruptHandler<UARTE0>;
});

/// The board.
pub type Board = Real<Output<'static>, Port>;

/// Its serial port.
pub struct Port(Uarte<'static>);

/// Starts LED, which a low pin lights, and serial port.
pub fn start() -> Board {
    let chip = embassy_nrf::init(Default::default());
    let led = Output::new(chip.P0_13, Level::High, OutputDrive::Standard);
    let port = Uarte::new(chip.UARTE0, chip.P0_08, chip.P0_06, Interrupts, Config::default());
    Real::start((led, PinState::Low), Port(port), CLOCK_HZ)
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
