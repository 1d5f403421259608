//! Instructions, counted by the core's timer.

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

/// Counts executed instructions, where the emulator runs with `-icount shift=0` so that each takes a nanosecond.
pub struct Clock(());

impl Clock {
    /// Starts the core's SysTick; `None` if it was started before.
    pub fn start() -> Option<Self> {
        systick::start(&mut cortex_m::Peripherals::take()?.SYST);
        Some(Self(()))
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

    /// Ticks since the start.
    pub fn ticks() -> u64 {
        systick::ticks()
    }
}
