//! Nucleo-U575ZI-Q: LED 1, and the debug probe's serial port.
#![no_std]
#![forbid(unsafe_code)]

#[path = "../../stm32.rs"]
mod stm32;

pub use stm32::{Board, Port};

use board_real::Real;
use embassy_stm32::gpio::{Level, Output, Speed};
use embassy_stm32::rcc::*;
use embassy_stm32::usart::{Config as PortConfig, Uart};
use embedded_hal::digital::PinState;

const CLOCK_HZ: u32 = 160_000_000;

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
