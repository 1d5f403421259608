//! The board's end of the line. It answers, and never speaks first, so that it needs no clock: what is lost is asked for
//! again by the host, and a request that comes twice is answered twice and done once.

use crate::frame::{self, block_len};
use crate::message::{Reply, Request};
use embedded_io::{Read, Write};

/// The line has ended: there is nothing to read any more. A UART never does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

/// Longest frame that is read while pieces of an answer are sent: [`Request::Next`].
const SHORT: usize = 32;

/// Most bytes of a piece of an answer.
const PIECE: usize = 256;

/// A line, and a buffer of `FRAME` bytes for each direction: [`frame_len`](crate::frame_len) of at least 64.
pub struct Link<P, const FRAME: usize> {
    inbox: [u8; FRAME],
    talk: Talk<P, FRAME>,
}

/// The part of a [`Link`] that answers while a request is still being read.
pub(crate) struct Talk<P, const FRAME: usize> {
    port: P,
    outbox: [u8; FRAME],
    /// Bytes of the last answer; 0 if the request has none yet.
    answered: usize,
    /// Of the request.
    sequence: u16,
}

impl<P: Read + Write, const FRAME: usize> Link<P, FRAME> {
    /// A link over `port`.
    pub const fn new(port: P) -> Self {
        const { assert!(FRAME >= frame::frame_len(64), "a frame has no room for 64 bytes") };
        Self { inbox: [0; FRAME], talk: Talk { port, outbox: [0; FRAME], answered: 0, sequence: 0 } }
    }

    /// Answers a request of which nothing is needed any more.
    pub(crate) fn reply(&mut self, reply: &Reply<'_>) {
        self.talk.reply(reply);
    }

    /// Waits for the next request, which has to be answered.
    pub(crate) fn request(&mut self) -> Result<(Request<'_>, &mut Talk<P, FRAME>), Closed> {
        let len = loop {
            let len = self.talk.read(&mut self.inbox)?;
            let parsed = len.and_then(|len| frame::parse::<Request>(self.inbox.get(..len)?));
            let Some((sequence, request)) = parsed else {
                self.talk.garbled();
                continue;
            };
            // A session that begins may count from anywhere.
            if sequence == self.talk.sequence && self.talk.answered > 0 && !matches!(request, Request::Hello { .. }) {
                self.talk.repeat();
                continue;
            }
            (self.talk.sequence, self.talk.answered) = (sequence, 0);
            break len.unwrap_or(0);
        };
        match frame::parse(self.inbox.get(..len).unwrap_or_default()) {
            Some((_, request)) => Ok((request, &mut self.talk)),
            // It was parsed above.
            None => Err(Closed),
        }
    }
}

impl<P: Read + Write, const FRAME: usize> Talk<P, FRAME> {
    /// Answers the request. What cannot be written is lost, as what is damaged on the way: the host asks again.
    pub(crate) fn reply(&mut self, reply: &Reply<'_>) {
        self.answered = frame::encode(self.sequence, reply, &mut self.outbox).map_or(0, <[u8]>::len);
        self.repeat();
    }

    /// Most bytes of pixels or of a block in a request.
    pub(crate) const fn block(&self) -> usize {
        block_len(FRAME)
    }

    /// Tells a piece of an answer: the first one at once, the others when the host asks for the next. Gives whether it
    /// does.
    pub(crate) fn piece(&mut self, reply: &Reply<'_>) -> Result<bool, Closed> {
        let wanted = self.answered == 0 || self.next()?;
        if wanted {
            self.reply(reply);
        }
        Ok(wanted)
    }

    /// Tells bytes, piece by piece.
    pub(crate) fn pieces(
        &mut self,
        mut bytes: impl Iterator<Item = u8>,
        wrap: impl Fn(&[u8]) -> Reply<'_>,
    ) -> Result<bool, Closed> {
        let mut piece = [0; PIECE];
        let most = PIECE.min(self.block());
        loop {
            let mut len = 0;
            for (place, byte) in piece.iter_mut().take(most).zip(&mut bytes) {
                *place = byte;
                len += 1;
            }
            let Some(piece) = piece.get(..len).filter(|piece| !piece.is_empty()) else { return Ok(true) };
            if !self.piece(&wrap(piece))? {
                return Ok(false);
            }
        }
    }

    /// Waits until the host asks for the next piece of the answer; gives whether it does: after anything else the rest
    /// of the answer is not wanted.
    fn next(&mut self) -> Result<bool, Closed> {
        let mut inbox = [0; SHORT];
        loop {
            let len = self.read(&mut inbox)?;
            let parsed = len.and_then(|len| frame::parse::<Request>(inbox.get(..len)?));
            match parsed {
                Some((sequence, _)) if sequence == self.sequence => self.repeat(),
                Some((sequence, Request::Next)) => {
                    (self.sequence, self.answered) = (sequence, 0);
                    return Ok(true);
                }
                // The host sends it again, and then it is read as a request.
                Some(_) => return Ok(false),
                None => {
                    // Perhaps the request again, which is too long for this buffer.
                    self.repeat();
                    self.garbled();
                }
            }
        }
    }

    fn repeat(&mut self) {
        let frame = self.outbox.get(..self.answered).unwrap_or_default();
        let _ = self.port.write_all(frame).and_then(|()| self.port.flush());
    }

    fn garbled(&mut self) {
        let mut buffer = [0; SHORT];
        let frame = frame::encode(0, &Reply::Garbled, &mut buffer).unwrap_or_default();
        let _ = self.port.write_all(frame).and_then(|()| self.port.flush());
    }

    /// Reads a frame and undoes COBS; `None` if it is damaged or too long.
    fn read(&mut self, inbox: &mut [u8]) -> Result<Option<usize>, Closed> {
        let (mut len, mut good) = (0, true);
        loop {
            let mut byte = [0];
            match self.port.read(&mut byte) {
                Ok(0) => return Err(Closed),
                // An overrun: bytes are missing.
                Err(_) => good = false,
                // Zeros between frames.
                Ok(_) if byte == [0] && len == 0 && good => {}
                Ok(_) if byte == [0] => break,
                Ok(_) => match inbox.get_mut(len) {
                    Some(place) => {
                        [*place] = byte;
                        len += 1;
                    }
                    None => good = false,
                },
            }
        }
        Ok(inbox.get_mut(..len).filter(|_| good).and_then(frame::unstuff))
    }
}
