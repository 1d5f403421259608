//! Nucleo-U575ZI-Q: LED 1, and the debug probe's serial port.
#![no_std]
#![forbid(unsafe_code)]

use board_real::{Real, Serial};
use embassy_stm32::gpio::{Level, Output, Speed};
use embassy_stm32::mode::Blocking;
use embassy_stm32::rcc::*;
use embassy_stm32::usart::{Config as PortConfig, Uart};
use embedded_hal::digital::PinState;

const CLOCK_HZ: u32 = 160_000_000;

/// The board.
pub type Board = Real<Output<'static>, Port>;

/// Its serial port.
pub struct Port(Uart<'static, Blocking>);

/// Starts clocks, LED and serial port.
pub fn start() -> Board {
    let mut config = embassy_stm32::Config::default();
    // The internal 16 MHz, times 10.
    config.rcc.hsi = true;
    config.rcc.pll1 = Some(Pll {
        source: PllSource::HSI,
        prediv: PllPreDiv::DIV1,
        mul: PllMul::MUL10,
        divp: None,
        divq: None,
        divr: Some(PllDiv::DIV1),
    });
    config.rcc.sys = Sysclk::PLL1_R;
    config.rcc.voltage_range = VoltageScale::RANGE1;
    let chip = embassy_stm32::init(config);
    let led = Output::new(chip.PC7, Level::Low, Speed::Low);
    let Ok(port) = Uart::new_blocking(chip.USART1, chip.PA10, chip.PA9, PortConfig::default()) else {
        unreachable!("115,200 baud are possible")
    };
    Real::start((led, PinState::High), Port(port), CLOCK_HZ)
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
