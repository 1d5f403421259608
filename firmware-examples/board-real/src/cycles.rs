//! Cycles of the core, counted by SysTick: every Cortex-M has it, the emulator too, which lacks DWT's counter.

use core::sync::atomic::{AtomicU32, Ordering};
use cortex_m::peripheral::{SYST, syst::SystClkSource};
use cortex_m_rt::exception;

const PERIOD: u32 = 1 << 24;
static PERIODS: AtomicU32 = AtomicU32::new(0);

/// Starts the counter; with the feature `cache` also the core's caches.
pub(crate) fn start() {
    let Some(mut core) = cortex_m::Peripherals::take() else { return };
    #[cfg(feature = "cache")]
    {
        core.SCB.enable_icache();
        core.SCB.enable_dcache(&mut core.CPUID);
    }
    let timer = &mut core.SYST;
    timer.set_clock_source(SystClkSource::Core);
    timer.set_reload(PERIOD - 1);
    timer.clear_current();
    timer.enable_counter();
    timer.enable_interrupt();
}

/// Cycles since the start. A period that ends between two reads of the count is seen by reading it again.
pub(crate) fn now() -> u64 {
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
