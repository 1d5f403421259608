//! What the programs for real boards share: a log through the debug probe, a counter of cycles, the label on an LED and
//! on the serial port, images from the serial port.
#![no_std]
#![forbid(unsafe_code)]

mod cycles;
mod log;

pub use log::Log;

use embedded_hal::digital::{OutputPin, PinState};
use lines::Sink;
use programs::Board;
use programs::runtime::Model;

/// A serial port of the board, 115,200 baud.
pub trait Serial {
    /// Writes all bytes.
    fn write(&mut self, bytes: &[u8]);
    /// Reads until the buffer is full. Returns whether it is, and no byte was garbled.
    fn read(&mut self, bytes: &mut [u8]) -> bool;
}

/// A real board: its LED, its serial port, and its clock.
pub struct Real<L, S> {
    log: Log,
    led: L,
    /// The level that lights the LED.
    on: PinState,
    serial: S,
    clock_hz: u32,
}

/// What comes before the pixels of an image on the serial port.
const IMAGE: &[u8; 4] = b"SKIP";

impl<L: OutputPin, S: Serial> Real<L, S> {
    /// Starts log and counter. The level `on` lights the LED, the core's clock is `clock_hz`.
    pub fn start((led, on): (L, PinState), serial: S, clock_hz: u32) -> Self {
        cycles::start();
        Self { log: Log::start(), led, on, serial, clock_hz }
    }

    /// Lights the LED and puts it out, each for a part of a second.
    fn blink(&mut self, part: u32) {
        for level in [self.on, !self.on] {
            let _ = self.led.set_state(level);
            cortex_m::asm::delay(self.clock_hz / part);
        }
    }
}

impl<L: OutputPin, S: Serial> Board for Real<L, S> {
    type Log = Log;

    const COUNTS: &'static str = "cycles ";

    fn log(&mut self) -> &mut Log {
        &mut self.log
    }

    fn ticks() -> u64 {
        systick::ticks()
    }

    /// The LED blinks once for class 0, twice for class 1 and so on; the serial port gets a line with the name.
    fn show(&mut self, class: usize, model: &Model<'_>) {
        let name = model.class_names().nth(class).unwrap_or_default();
        for text in ["label ", name, "\r\n"] {
            self.serial.write(text.as_bytes());
        }
        for _ in 0..=class {
            self.blink(4);
        }
    }

    /// `SKIP` and the pixels, which the serial port delivers; what comes before is passed over.
    fn receive(&mut self, image: &mut [u8]) -> bool {
        self.serial.write(b"ready\r\n");
        loop {
            let mut last = [0; IMAGE.len()];
            while last != *IMAGE {
                let mut byte = [0];
                if self.serial.read(&mut byte) {
                    last.rotate_left(1);
                    last[IMAGE.len() - 1] = byte[0];
                }
            }
            if self.serial.read(image) {
                return true;
            }
            self.log.text("error a byte of an image was garbled\n");
        }
    }

    /// The LED is on for success, and blinks fast for failure.
    fn end(&mut self, success: bool) -> ! {
        let _ = self.led.set_state(self.on);
        loop {
            if success {
                cortex_m::asm::wfi();
            } else {
                self.blink(16);
            }
        }
    }
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    lines::panic_place(&mut Log::again(), info);
    loop {
        cortex_m::asm::bkpt();
    }
}
