//! Instructions, counted by the core's timer.

use core::sync::atomic::{AtomicU32, Ordering};
use cortex_m::peripheral::{SYST, syst::SystClkSource};
use cortex_m_rt::exception;

// Ticks of an emulated second, `CLOCK_HZ`: the processor clock of the board.
include!(concat!(env!("OUT_DIR"), "/board.rs"));
const NANOSECONDS: u64 = 1_000_000_000;
/// What instructions of a tick and ticks of an instruction have in common: no library is needed to divide by what is
/// left of them, a power of two.
const COMMON: u64 = {
    let (mut a, mut b) = (NANOSECONDS, CLOCK_HZ);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
};
const PERIOD: u32 = 1 << 24;
static PERIODS: AtomicU32 = AtomicU32::new(0);

/// Counts executed instructions, where the emulator runs with `-icount shift=0` so that each takes a nanosecond.
pub struct Clock(SYST);

impl Clock {
    /// Starts the core's SysTick; `None` if it was started before.
    pub fn start() -> Option<Self> {
        let mut timer = cortex_m::Peripherals::take()?.SYST;
        timer.set_clock_source(SystClkSource::Core);
        timer.set_reload(PERIOD - 1);
        timer.clear_current();
        timer.enable_counter();
        timer.enable_interrupt();
        Some(Self(timer))
    }

    /// Instructions that `work` executes, to those of a tick.
    pub fn instructions(&self, work: impl FnOnce()) -> u64 {
        let start = Self::ticks();
        work();
        Self::in_instructions(Self::ticks() - start)
    }

    /// Instructions that are executed in `ticks`.
    pub fn in_instructions(ticks: u64) -> u64 {
        ticks * (NANOSECONDS / COMMON) / (CLOCK_HZ / COMMON)
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
}

#[exception]
fn SysTick() {
    // Nothing else writes it; Cortex-M0 has no atomic addition.
    PERIODS.store(PERIODS.load(Ordering::SeqCst).wrapping_add(1), Ordering::SeqCst);
}
