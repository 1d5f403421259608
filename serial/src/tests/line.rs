//! A line between two threads.

use super::Random;
use std::io::ErrorKind;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// How often a line does what to a byte: one time in so many, or never if 0.
#[derive(Clone, Copy, Default)]
pub(super) struct Faults {
    pub(super) seed: u64,
    pub(super) drop: u64,
    pub(super) double: u64,
    pub(super) flip: u64,
}

/// An end of a line.
pub(super) struct End {
    to: Sender<u8>,
    from: Receiver<u8>,
    faults: Faults,
    random: Random,
    /// How long a read waits; forever if not said.
    limit: Option<Duration>,
}

/// The host's end, whose reads end after some time, and the board's, whose reads do not.
pub(super) fn line(faults: Faults) -> (End, End) {
    let ((to_board, of_board), (to_host, of_host)) = (channel(), channel());
    let end = |to, from, seed, limit| End { to, from, faults, random: Random::new(faults.seed + seed), limit };
    (end(to_board, of_host, 1, Some(Duration::from_millis(2))), end(to_host, of_board, 2, None))
}

impl End {
    fn read_byte(&mut self) -> Option<Result<u8, RecvTimeoutError>> {
        match self.limit {
            Some(limit) => match self.from.recv_timeout(limit) {
                Err(RecvTimeoutError::Disconnected) => None,
                other => Some(other),
            },
            None => self.from.recv().ok().map(Ok),
        }
    }

    fn write_bytes(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            let mut hits = |one_in: u64| one_in > 0 && self.random.below(one_in) == 0;
            let (dropped, doubled, flipped) =
                (hits(self.faults.drop), hits(self.faults.double), hits(self.faults.flip));
            let byte = if flipped { byte ^ 1 << self.random.below(8) } else { byte };
            let times = if dropped { 0 } else { 1 + usize::from(doubled) };
            // Where nobody reads any more, bytes are lost.
            (0..times).for_each(|_| _ = self.to.send(byte));
        }
    }
}

impl std::io::Read for End {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self.read_byte() {
            None => Ok(0),
            Some(Err(_)) => Err(ErrorKind::WouldBlock.into()),
            Some(Ok(byte)) => {
                buffer[0] = byte;
                let more = self.from.try_iter().take(buffer.len() - 1);
                let more: Vec<u8> = more.collect();
                buffer[1..=more.len()].copy_from_slice(&more);
                Ok(1 + more.len())
            }
        }
    }
}

impl std::io::Write for End {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.write_bytes(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl embedded_io::ErrorType for End {
    type Error = embedded_io::ErrorKind;
}

impl embedded_io::Read for End {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Self::Error> {
        match self.read_byte() {
            None => Ok(0),
            Some(Err(_)) => Err(embedded_io::ErrorKind::TimedOut),
            Some(Ok(byte)) => {
                buffer[0] = byte;
                Ok(1)
            }
        }
    }
}

impl embedded_io::Write for End {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Self::Error> {
        self.write_bytes(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}
