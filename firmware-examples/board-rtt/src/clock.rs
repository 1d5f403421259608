//! Cycles, counted by the core's timer.

/// Counts cycles of the core.
pub struct Clock(());

impl Clock {
    /// Starts the core's SysTick; `None` if it was started before.
    pub fn start() -> Option<Self> {
        systick::start(&mut cortex_m::Peripherals::take()?.SYST);
        Some(Self(()))
    }

    /// Cycles that `work` takes.
    pub fn cycles(&self, work: impl FnOnce()) -> u64 {
        let start = systick::ticks();
        work();
        systick::ticks() - start
    }
}
