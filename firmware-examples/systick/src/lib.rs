//! The core's SysTick as a counter that does not wrap. Every Cortex-M but a few M0 has it, the emulator's as well,
//! which lacks DWT's counter.
#![no_std]
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU32, Ordering};
use cortex_m::peripheral::{SYST, syst::SystClkSource};
use cortex_m_rt::exception;

const PERIOD: u32 = 1 << 24;
static PERIODS: AtomicU32 = AtomicU32::new(0);

/// Starts the counter at the core's clock.
pub fn start(timer: &mut SYST) {
    timer.set_clock_source(SystClkSource::Core);
    timer.set_reload(PERIOD - 1);
    timer.clear_current();
    timer.enable_counter();
    timer.enable_interrupt();
}

/// Ticks since the start. A period that ends between two reads of the count is seen by reading it again.
pub fn ticks() -> u64 {
    loop {
        let periods = PERIODS.load(Ordering::SeqCst);
        let count = SYST::get_current();
        if periods == PERIODS.load(Ordering::SeqCst) {
            // The count falls to 0, where the period ends and the next one begins.
            return u64::from(periods) * u64::from(PERIOD) + u64::from((PERIOD - count) % PERIOD);
        }
    }
}

#[exception]
fn SysTick() {
    // Nothing else writes it; Cortex-M0 has no atomic addition.
    PERIODS.store(PERIODS.load(Ordering::SeqCst).wrapping_add(1), Ordering::SeqCst);
}
