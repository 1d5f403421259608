//! What the programs for emulated boards share (`mps2-an386` and its like, `microbit`): they talk by semihosting, end
//! with an exit code, count instructions and measure their stack.
#![no_std]

mod clock;
mod stack;

pub use clock::Clock;
pub use cortex_m_semihosting::hprintln as println;
pub use stack::{paint_stack, stack_high_water};

use cortex_m_rt::{ExceptionFrame, exception};
use cortex_m_semihosting::debug;
use cortex_m_semihosting::hio::{self, HostStream};
use lines::Sink;

include!(concat!(env!("OUT_DIR"), "/name.rs"));

/// The emulator's standard output.
pub struct Output {
    stream: HostStream,
    is_whole: bool,
}

impl Output {
    /// Opens it; `None` where semihosting is off.
    pub fn open() -> Option<Self> {
        hio::hstdout().ok().map(|stream| Self { stream, is_whole: true })
    }

    /// Whether all that was written has arrived.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }
}

impl Sink for Output {
    #[inline(never)]
    fn write(&mut self, ascii: &[u8]) {
        self.is_whole &= self.stream.write_all(ascii).is_ok();
    }
}

/// Ends the program: the emulator exits with 0 for success and 1 for failure.
pub fn exit(success: bool) -> ! {
    loop {
        debug::exit(if success { debug::EXIT_SUCCESS } else { debug::EXIT_FAILURE });
    }
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    if let Some(mut out) = Output::open() {
        lines::panic_place(&mut out, info);
    }
    exit(false)
}

// SAFETY: the handler never returns and reads nothing but its frame.
#[exception]
unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
    if let Some(mut out) = Output::open() {
        out.text("hard fault at ");
        out.hex(frame.pc());
        out.text("\n");
    }
    exit(false)
}

/// The vectors of the board's devices: none but the first, as no program here enables an interrupt of a device.
// SAFETY: the section and the name are those by which cortex-m-rt's linker script places the vectors.
#[unsafe(link_section = ".vector_table.interrupts")]
#[unsafe(no_mangle)]
pub static __INTERRUPTS: [unsafe extern "C" fn(); 1] = [DefaultHandler];

unsafe extern "C" {
    fn DefaultHandler();
}
