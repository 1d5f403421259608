//! Nucleo-F446RE: LED 2, and the debug probe's serial port.
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

const CLOCK_HZ: u32 = 168_000_000;

/// Starts clocks, LED and serial port.
pub fn start() -> Board {
    let mut config = embassy_stm32::Config::default();
    // The internal 16 MHz, over 8, times 168, over 2.
    config.rcc.pll =
        Some(Pll { prediv: PllPreDiv::DIV8, mul: PllMul::MUL168, divp: Some(PllPDiv::DIV2), divq: None, divr: None });
    config.rcc.apb1_pre = APBPrescaler::DIV4;
    config.rcc.apb2_pre = APBPrescaler::DIV2;
    config.rcc.sys = Sysclk::PLL1_P;
    let chip = embassy_stm32::init(config);
    let led = Output::new(chip.PA5, Level::Low, Speed::Low);
    let Ok(port) = Uart::new_blocking(chip.USART2, chip.PA3, chip.PA2, PortConfig::default()) else {
        unreachable!("115,200 baud are possible")
    };
    Real::start((led, PinState::High), Port(port), CLOCK_HZ)
}
