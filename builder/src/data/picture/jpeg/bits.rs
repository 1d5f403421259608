//! The bits of a JPEG file, and what can be wrong with them.

/// Why a picture is not whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The data ends before the picture does.
    Short,
    /// The data is no JPEG's.
    Damaged,
}

/// The bits of a scan, up to the marker that ends it.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    pub(super) at: usize,
    /// The last bits that were read, of which the lowest `count` are still to be used.
    held: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    /// The bits that `bytes` begin with.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, held: 0, count: 0 }
    }

    /// Reads on until there are at least 16 bits, if the data has as many.
    fn fill(&mut self) {
        while self.count < 16 {
            let Some(&byte) = self.bytes.get(self.at) else { return };
            if byte != 0xff {
                self.at += 1;
            } else {
                let next = self.bytes[self.at..].iter().position(|&byte| byte != 0xff);
                let Some(next) = next.map(|offset| self.at + offset).filter(|&next| self.bytes[next] == 0) else {
                    return;
                };
                self.at = next + 1;
            }
            self.held = self.held << 8 | u64::from(byte);
            self.count += 8;
        }
    }

    /// Bits that can be had, up to 16 or a few more.
    pub(super) fn left(&self) -> u32 {
        self.count
    }

    /// The next 16 bits, ones where the data has ended.
    pub(super) fn peek(&mut self) -> u32 {
        self.fill();
        let missing = 16u32.saturating_sub(self.count);
        let ahead = self.held << missing | ((1 << missing) - 1);
        (ahead >> (self.count + missing - 16)) as u32 & 0xffff
    }

    /// Passes over at most 16 bits.
    pub(super) fn skip(&mut self, count: u32) -> Result<(), Fault> {
        self.fill();
        self.count = self.count.checked_sub(count).ok_or(Fault::Short)?;
        Ok(())
    }

    /// The next bits as a number, at most 16.
    pub(super) fn take(&mut self, count: u32) -> Result<u32, Fault> {
        let ahead = self.peek();
        self.skip(count)?;
        Ok(ahead >> (16 - count))
    }

    /// Goes on after the next marker, which has to be a restart.
    pub(super) fn restart(&mut self) -> Result<(), Fault> {
        (self.held, self.count) = (0, 0);
        let is_marker = |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0 | 0xff);
        let marker = self.bytes[self.at..].windows(2).position(is_marker).ok_or(Fault::Short)?;
        self.at += marker + 2;
        if matches!(self.bytes[self.at - 1], 0xd0..=0xd7) { Ok(()) } else { Err(Fault::Short) }
    }
}
