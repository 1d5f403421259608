//! What programs for boards with a debug probe share: they talk by RTT and count cycles. Only the core is used, at the
//! clock that it has after a reset: a chip's devices are a HAL's.
#![no_std]

mod boot;
mod clock;

pub use clock::Clock;

use core::sync::atomic::{AtomicBool, Ordering};
use cortex_m_rt::{ExceptionFrame, exception};
use lines::Sink;
use rtt_target::{ChannelMode, UpChannel, rtt_init};

/// The probe's log: RTT's first channel.
pub struct Output(UpChannel);

impl Output {
    /// Opens it; `None` if it was opened before.
    pub fn open() -> Option<Self> {
        static IS_OPEN: AtomicBool = AtomicBool::new(false);
        let first = !IS_OPEN.load(Ordering::SeqCst);
        // Cortex-M0 has no atomic exchange; interrupts open no output.
        IS_OPEN.store(true, Ordering::SeqCst);
        // Without a probe nothing reads: what does not fit the buffer is dropped, so that the program goes on.
        first.then(|| Self(rtt_init! { up: { 0: { size: 1024, mode: ChannelMode::NoBlockTrim, name: "log" } } }.up.0))
    }
}

impl Sink for Output {
    #[inline(never)]
    fn write(&mut self, ascii: &[u8]) {
        // A log may be cut: see `open`.
        let _ = self.0.write(ascii);
    }
}

/// Ends the work. The probe's program runs until it is stopped, and a board has nowhere to go.
pub fn exit(_success: bool) -> ! {
    loop {
        cortex_m::asm::wfi();
    }
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    if let Some(mut out) = last_words() {
        lines::panic_place(&mut out, info);
    }
    exit(false)
}

// SAFETY: the handler never returns and reads nothing but its frame.
#[exception]
unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
    if let Some(mut out) = last_words() {
        out.text("hard fault at ");
        out.hex(frame.pc());
        out.text("\n");
    }
    exit(false)
}

/// The log, for a program that says why it does not go on; `None` if it was never opened.
fn last_words() -> Option<Output> {
    cortex_m::interrupt::disable();
    // SAFETY: interrupts stay off and the program does not go on, so that nothing else writes the channel.
    unsafe { UpChannel::conjure(0) }.map(Output)
}

/// The vectors of the chip's devices: none but the first, as no program here enables an interrupt of a device.
// SAFETY: the section and the name are those by which cortex-m-rt's linker script places the vectors.
#[unsafe(link_section = ".vector_table.interrupts")]
#[unsafe(no_mangle)]
pub static __INTERRUPTS: [unsafe extern "C" fn(); 1] = [DefaultHandler];

unsafe extern "C" {
    fn DefaultHandler();
}
