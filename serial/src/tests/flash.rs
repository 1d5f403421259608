//! Flash that is as strict as hardware, and whose power can be cut within any write.

use super::Random;
use crate::slots::Mapped;
use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash, check_erase, check_read, check_write,
};
use skipstone_runtime::AlignedBytes;

/// Flash of pages of 512 bytes, written in units of `WRITE` bytes.
pub(super) struct Fake<const WRITE: usize> {
    bytes: AlignedBytes,
    /// Writes of a unit and erases of a page so far.
    pub(super) steps: u64,
    /// The step within which the power is cut.
    pub(super) cut: Option<u64>,
    random: Random,
}

impl<const WRITE: usize> Fake<WRITE> {
    /// Flash of so many bytes, of any contents.
    pub(super) fn new(len: usize) -> Self {
        let mut random = Random::new(len as u64);
        let mut bytes = AlignedBytes::zeros(len);
        bytes.as_mut_slice().iter_mut().for_each(|byte| *byte = random.below(256) as u8);
        Self { bytes, steps: 0, cut: None, random }
    }

    /// The power comes back.
    pub(super) fn restart(&mut self, cut: Option<u64>) {
        (self.steps, self.cut) = (0, cut);
    }

    /// Changes a byte from outside.
    pub(super) fn damage(&mut self, at: usize) {
        self.bytes.as_mut_slice()[at] ^= 0x10;
    }

    /// Takes a step: `work` on these bytes, or on a part of their bits if the power is cut within it.
    fn step(&mut self, at: usize, len: usize, work: impl Fn(usize, u8) -> u8) -> Result<(), NorFlashErrorKind> {
        self.steps += 1;
        if self.cut.is_some_and(|cut| self.steps > cut) {
            return Err(NorFlashErrorKind::Other);
        }
        let cut = self.cut == Some(self.steps);
        for (index, byte) in self.bytes.as_mut_slice()[at..at + len].iter_mut().enumerate() {
            let changes = *byte ^ work(index, *byte);
            *byte ^= if cut { changes & self.random.below(256) as u8 } else { changes };
        }
        if cut { Err(NorFlashErrorKind::Other) } else { Ok(()) }
    }
}

impl<const WRITE: usize> ErrorType for Fake<WRITE> {
    type Error = NorFlashErrorKind;
}

impl<const WRITE: usize> ReadNorFlash for Fake<WRITE> {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        check_read(self, offset, bytes.len())?;
        bytes.copy_from_slice(&self.bytes.as_slice()[offset as usize..][..bytes.len()]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.bytes.as_slice().len()
    }
}

impl<const WRITE: usize> NorFlash for Fake<WRITE> {
    const WRITE_SIZE: usize = WRITE;
    const ERASE_SIZE: usize = 512;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        check_erase(self, from, to).unwrap();
        (from..to).step_by(Self::ERASE_SIZE).try_for_each(|at| self.step(at as usize, Self::ERASE_SIZE, |_, _| 0xFF))
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        check_write(self, offset, bytes.len()).unwrap();
        for (at, unit) in (offset as usize..).step_by(WRITE).zip(bytes.chunks(WRITE)) {
            let erased = self.bytes.as_slice()[at..at + WRITE].iter().all(|&byte| byte == 0xFF);
            assert!(erased, "a unit is written twice at {at}");
            self.step(at, WRITE, |index, old| old & unit[index])?;
        }
        Ok(())
    }
}

impl<const WRITE: usize> Mapped for Fake<WRITE> {
    fn mapped(&self, offset: u32, len: usize) -> Option<&[u8]> {
        self.bytes.as_slice().get(offset as usize..)?.get(..len)
    }
}
