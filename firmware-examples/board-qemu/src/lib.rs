//! What the programs for emulated boards share (`mps2-an386` and its like, `microbit`): they talk by semihosting, end
//! with an exit code, count instructions and measure their stack.
#![no_std]

mod clock;
mod stack;

pub use clock::Clock;
pub use cortex_m_semihosting::hprintln as println;
pub use stack::{paint_stack, stack_high_water};

use core::fmt;
use cortex_m_rt::{ExceptionFrame, exception};
use cortex_m_semihosting::debug;
use cortex_m_semihosting::hio::{self, HostStream};

/// The emulator's standard output.
pub struct Output(HostStream);

impl Output {
    /// Opens it; `None` where semihosting is off.
    pub fn open() -> Option<Self> {
        hio::hstdout().ok().map(Self)
    }
}

impl fmt::Write for Output {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write_all(text.as_bytes()).map_err(|()| fmt::Error)
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
    println!("{}", info);
    exit(false)
}

// SAFETY: the handler never returns and reads nothing but its frame.
#[exception]
unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
    println!("hard fault at {:#010x}", frame.pc());
    exit(false)
}
