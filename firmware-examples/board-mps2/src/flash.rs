//! Flash, emulated over the PSRAM of the MPS2 boards. The emulator keeps it in a file, so that its contents outlive the
//! emulator, as those of flash outlive a power cut.

use board_qemu::exit;
use core::ptr;
use core::sync::atomic::{AtomicBool, Ordering};
use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash, check_erase, check_read, check_write,
};
use skipstone_serial::Mapped;

const ORIGIN: usize = 0x2100_0000;
const BYTES: usize = 16 << 20;
const PAGE: usize = 4096;
const UNIT: usize = 8;
const ERASED: u8 = 0xFF;

static OPEN: AtomicBool = AtomicBool::new(false);

/// Flash of pages of 4 KiB, written in units of 8 bytes, each of them once after the erase of its page; what breaks these
/// rules panics. The last page of the PSRAM is no part of it: a test reads there the number of steps so far, writes of a
/// unit and erases of a page (u32), and writes after it the step in whose midst the power is cut.
pub struct Flash {
    bytes: &'static mut [u8],
    steps: &'static mut [u32; 2],
}

impl Flash {
    /// The flash; `None` if it was opened before, or the board has no PSRAM.
    pub fn open() -> Option<Self> {
        // Nothing else writes it, and no interrupt does; Cortex-M0 has no atomic exchange.
        if !crate::is_here() || OPEN.load(Ordering::Relaxed) {
            return None;
        }
        OPEN.store(true, Ordering::Relaxed);
        // SAFETY: the PSRAM is memory that the linker places nothing in, and this is the one reference to its bytes.
        let bytes = unsafe { core::slice::from_raw_parts_mut(ORIGIN as *mut u8, BYTES - PAGE) };
        // SAFETY: as above, of the last page, which is aligned.
        let steps = unsafe { &mut *((ORIGIN + BYTES - PAGE) as *mut [u32; 2]) };
        Some(Self { bytes, steps })
    }

    /// Changes bytes by `work`; the power is cut after half of them if it is this step's turn.
    fn step(&mut self, at: usize, len: usize, work: impl Fn(usize, u8) -> u8) {
        let [steps, cut] = self.steps;
        let count = steps.wrapping_add(1);
        // SAFETY: a reference to a number can be written through. Volatile, as a test reads it from outside.
        unsafe { ptr::write_volatile(steps, count) };
        // SAFETY: a reference to a number can be read through. Volatile, as a test writes it from outside.
        let cut = unsafe { ptr::read_volatile(cut) } == count;
        let done = if cut { len / 2 } else { len };
        for (index, byte) in self.bytes[at..at + len].iter_mut().enumerate().take(done) {
            let new = work(index, *byte);
            // SAFETY: a reference to a byte can be written through. Volatile, so that nothing is told before it is true.
            unsafe { ptr::write_volatile(byte, new) };
        }
        if cut {
            exit(false);
        }
    }
}

impl ErrorType for Flash {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for Flash {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        check_read(self, offset, bytes.len())?;
        bytes.copy_from_slice(&self.bytes[offset as usize..][..bytes.len()]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl NorFlash for Flash {
    const WRITE_SIZE: usize = UNIT;
    const ERASE_SIZE: usize = PAGE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        check_erase(self, from, to)?;
        for page in (from as usize..to as usize).step_by(PAGE) {
            self.step(page, PAGE, |_, _| ERASED);
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        check_write(self, offset, bytes.len())?;
        for (at, unit) in (offset as usize..).step_by(UNIT).zip(bytes.chunks(UNIT)) {
            assert!(self.bytes[at..at + UNIT].iter().all(|&byte| byte == ERASED), "written twice");
            self.step(at, UNIT, |index, old| old & unit[index]);
        }
        Ok(())
    }
}

impl Mapped for Flash {
    fn mapped(&self, offset: u32, len: usize) -> Option<&[u8]> {
        self.bytes.get(offset as usize..)?.get(..len)
    }
}
