//! The first UART of the MPS2 boards, a CMSDK UART (Arm DDI 0479, "APB UART").

use core::ptr;
use core::sync::atomic::{AtomicBool, Ordering};
use cortex_m::interrupt::InterruptNumber;
use cortex_m::peripheral::NVIC;
use embedded_io::{ErrorType, Read, Write};

const DATA: usize = 0x4000_4000;
const STATE: usize = 0x4000_4004;
const CONTROL: usize = 0x4000_4008;
const INTERRUPTS: usize = 0x4000_400C;
const DIVISOR: usize = 0x4000_4010;
/// Bits of the state: no room for a byte to send; a byte has arrived.
const SEND_FULL: u32 = 1;
const RECEIVE_FULL: u32 = 2;
/// Bits of the control: sends, receives, interrupts when a byte has arrived.
const ON: u32 = 1 | 2 | 8;
/// Bit of the interrupts: a byte has arrived.
const RECEIVED: u32 = 2;
/// 25 MHz to 115,200 baud; the emulator does not look at it.
const DIVIDE: u32 = 217;

/// Its interrupt when a byte has arrived.
#[derive(Clone, Copy)]
struct ByteArrived;

// SAFETY: the boards have this interrupt, and the number is always the same.
unsafe impl InterruptNumber for ByteArrived {
    fn number(self) -> u16 {
        0
    }
}

static OPEN: AtomicBool = AtomicBool::new(false);

/// A UART that sleeps until a byte arrives. Interrupts are off: they only wake the core.
pub struct Uart(());

impl Uart {
    /// Switches it on; `None` if it is, or the board has none.
    pub fn open() -> Option<Self> {
        // Nothing else writes it, and no interrupt does; Cortex-M0 has no atomic exchange.
        if !crate::is_here() || OPEN.load(Ordering::Relaxed) {
            return None;
        }
        OPEN.store(true, Ordering::Relaxed);
        cortex_m::interrupt::disable();
        // SAFETY: no critical section relies on its mask, as all interrupts are off.
        unsafe { NVIC::unmask(ByteArrived) };
        let mut uart = Self(());
        uart.write_register(DIVISOR, DIVIDE);
        uart.write_register(CONTROL, ON);
        Some(uart)
    }

    fn read_register(&mut self, address: usize) -> u32 {
        // SAFETY: the board has this register, and only the one `Uart` uses it.
        unsafe { ptr::read_volatile(address as *const u32) }
    }

    fn write_register(&mut self, address: usize, value: u32) {
        // SAFETY: as above; the register is no memory.
        unsafe { ptr::write_volatile(address as *mut u32, value) }
    }
}

impl ErrorType for Uart {
    type Error = core::convert::Infallible;
}

impl Read for Uart {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Self::Error> {
        let Some(first) = buffer.first_mut() else { return Ok(0) };
        while self.read_register(STATE) & RECEIVE_FULL == 0 {
            cortex_m::asm::wfi();
        }
        // Before the byte is taken, so that the next one's interrupt stays.
        self.write_register(INTERRUPTS, RECEIVED);
        NVIC::unpend(ByteArrived);
        *first = self.read_register(DATA) as u8;
        Ok(1)
    }
}

impl Write for Uart {
    fn write(&mut self, buffer: &[u8]) -> Result<usize, Self::Error> {
        for &byte in buffer {
            while self.read_register(STATE) & SEND_FULL != 0 {}
            self.write_register(DATA, byte.into());
        }
        Ok(buffer.len())
    }

    fn flush(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}
