//! Nucleo-H743ZI: LED 1, and the debug probe's serial port.
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

const CLOCK_HZ: u32 = 400_000_000;

/// Starts clocks, LED and serial port.
pub fn start() -> Board {
    let mut config = embassy_stm32::Config::default();
    // The internal 64 MHz, over 4, times 50, over 2.
    config.rcc.hsi = Some(HSIPrescaler::DIV1);
    config.rcc.pll1 = Some(Pll {
        source: PllSource::HSI,
        prediv: PllPreDiv::DIV4,
        mul: PllMul::MUL50,
        fracn: None,
        divp: Some(PllDiv::DIV2),
        divq: None,
        divr: None,
    });
    config.rcc.sys = Sysclk::PLL1_P;
    config.rcc.ahb_pre = AHBPrescaler::DIV2;
    config.rcc.apb1_pre = APBPrescaler::DIV2;
    config.rcc.apb2_pre = APBPrescaler::DIV2;
    config.rcc.apb3_pre = APBPrescaler::DIV2;
    config.rcc.apb4_pre = APBPrescaler::DIV2;
    config.rcc.voltage_scale = VoltageScale::Scale1;
    let chip = embassy_stm32::init(config);
    let led = Output::new(chip.PB0, Level::Low, Speed::Low);
    let Ok(port) = Uart::new_blocking(chip.USART3, chip.PD9, chip.PD8, PortConfig::default()) else {
        unreachable!("115,200 baud are possible")
    };
    Real::start((led, PinState::High), Port(port), CLOCK_HZ)
}
