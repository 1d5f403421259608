//! Cycles of the core.

/// Starts the counter; with the feature `cache` also the core's caches.
pub(crate) fn start() {
    let Some(mut core) = cortex_m::Peripherals::take() else { return };
    #[cfg(feature = "cache")]
    {
        core.SCB.enable_icache();
        core.SCB.enable_dcache(&mut core.CPUID);
    }
    systick::start(&mut core.SYST);
}
