//! The host's end of the line: it asks, keeps time, and asks again.

use crate::frame::{self, frame_len};
use crate::message::{Identity, Refusal, Reply, Request, Room, Status, VERSION, Want};
use skipstone_runtime::format::records::Header;
use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

/// Longest frame that a board may send.
const LONGEST: usize = 1 << 16;
/// A request that was answered by so many damaged frames is given up.
const DAMAGED: u32 = 40;
/// Blocks are a multiple of this, the largest unit in which flash is written.
const UNIT: usize = crate::slots::RECORD_LEN;

/// How long the host waits.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Before it asks again.
    pub again: Duration,
    /// For a sign that there is a board.
    pub hello: Duration,
    /// For any other answer: a slow board computes, or erases flash.
    pub answer: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let [again, hello, answer] = [500, 3_000, 60_000].map(Duration::from_millis);
        Self { again, hello, answer }
    }
}

/// Why a board did not do what it was asked.
#[derive(Debug)]
#[non_exhaustive]
pub enum ClientError {
    /// The line failed.
    Port(std::io::Error),
    /// The other end has closed the line.
    Closed,
    /// Nothing came.
    NoAnswer {
        /// For so long.
        waited: Duration,
    },
    /// What came was damaged, again and again.
    Garbled {
        /// Damaged frames.
        frames: u32,
    },
    /// The board's program speaks another version of the messages.
    Version {
        /// The board's.
        found: u8,
    },
    /// The board said why.
    Refused(Refusal),
    /// An answer to something else.
    Unexpected,
    /// The board's frames are too short for a row of the image.
    LongRow {
        /// Bytes of a row.
        row: usize,
        /// Bytes that a frame takes.
        block: usize,
    },
    /// An image that is not the model's.
    Image {
        /// Bytes of an image of the model.
        expected: usize,
        /// Bytes of this one.
        found: usize,
    },
    /// What is to be sent is no packed model.
    NotAModel,
}

impl std::fmt::Display for ClientError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Port(error) => write!(f, "the line failed: {error}"),
            Self::Closed => f.write_str("the other end has closed the line"),
            Self::NoAnswer { waited } => write!(
                f,
                "no answer for {:.1} seconds: is the board on, does its program speak the serial protocol, is this its \
                 port and baud rate?",
                waited.as_secs_f64()
            ),
            Self::Garbled { frames } => write!(
                f,
                "the transfer is garbled: {frames} damaged frames for one request; check cable and ground, the baud rate \
                 at both ends, or take a lower one"
            ),
            Self::Version { found } => write!(
                f,
                "the board's program speaks version {found} of the serial protocol, this one version {VERSION}: build both \
                 from the same release"
            ),
            Self::Refused(refusal) => write!(f, "the board refuses: {refusal}"),
            Self::Unexpected => f.write_str("the board answered something else than what was asked"),
            Self::LongRow { row, block } => {
                write!(
                    f,
                    "a row of the image has {row} bytes, the board's frames take {block}: give its link longer ones"
                )
            }
            Self::Image { expected, found } => {
                write!(f, "the image has {found} bytes, the board's model takes {expected}")
            }
            Self::NotAModel => f.write_str("no packed model: it is too short"),
        }
    }
}

impl std::error::Error for ClientError {}

impl From<std::io::Error> for ClientError {
    fn from(error: std::io::Error) -> Self {
        Self::Port(error)
    }
}

/// What a board made of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// int8 scores.
    pub scores: Vec<i8>,
    /// For each node the CRC-32 of the rows that it made, in their order, if they were asked for.
    pub checksums: Vec<u32>,
    /// For each node these rows, if they were asked for.
    pub outputs: Vec<Vec<i8>>,
}

/// A session with a board. The port's reads end after some time without bytes, as `WouldBlock` or `TimedOut`.
pub struct Client<P> {
    port: P,
    patience: Patience,
    sequence: u16,
    /// Bytes that are no whole frame yet.
    arrived: Vec<u8>,
    frame: Vec<u8>,
    name: String,
    block: usize,
    model: Option<Identity>,
    updates: Option<Room>,
    repeated: u64,
}

impl<P: Read + Write> Client<P> {
    /// Begins a session.
    ///
    /// # Errors
    /// [`ClientError`]: there is no board, or it speaks another version.
    pub fn open(port: P, patience: Patience) -> Result<Self, ClientError> {
        // Any number: an answer to an earlier session is none to this one.
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let sequence = now.map_or(0, |now| now.subsec_micros() as u16);
        let mut client = Self {
            port,
            patience,
            sequence,
            arrived: Vec::new(),
            frame: Vec::new(),
            name: String::new(),
            block: 0,
            model: None,
            updates: None,
            repeated: 0,
        };
        client.hello()?;
        Ok(client)
    }

    /// Asks the board again who it is, as after an update.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn hello(&mut self) -> Result<(), ClientError> {
        let hello = self.patience.hello;
        let Reply::Hello(board) = self.ask_within(&Request::Hello { version: VERSION }, hello)? else {
            return Err(ClientError::Unexpected);
        };
        if board.version != VERSION {
            return Err(ClientError::Version { found: board.version });
        }
        let (name, block) = (board.name.to_owned(), board.block.into());
        (self.model, self.updates) = (board.model, board.updates);
        (self.name, self.block) = (name, block);
        Ok(())
    }

    /// The port.
    pub fn port(&self) -> &P {
        &self.port
    }

    /// The port, to be changed.
    pub fn port_mut(&mut self) -> &mut P {
        &mut self.port
    }

    /// The board's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The board's model, if it has one.
    pub fn model(&self) -> Option<Identity> {
        self.model
    }

    /// What the board takes as updates; `None` if it takes none.
    pub fn updates(&self) -> Option<Room> {
        self.updates
    }

    /// Requests that were sent again since the session began.
    pub fn repeated(&self) -> u64 {
        self.repeated
    }

    /// Has the board classify an image, `[height][width][channels]` of pixels.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn classify(&mut self, pixels: &[u8], want: Want) -> Result<Answer, ClientError> {
        let model = self.model.ok_or(ClientError::Refused(Refusal::NoModel))?;
        let [height, width, channels] = model.image.map(usize::from);
        let row = width * channels;
        if pixels.len() != height * row {
            return Err(ClientError::Image { expected: height * row, found: pixels.len() });
        }
        let rows = self.block.checked_div(row).filter(|&rows| rows > 0);
        let rows = rows.ok_or(ClientError::LongRow { row, block: self.block })?;
        let nodes = usize::from(model.nodes);
        let mut answer = Answer::default();
        if want == Want::Outputs {
            answer.outputs.resize(nodes, Vec::new());
        }
        let Reply::More = self.ask(&Request::Image { want })? else { return Err(ClientError::Unexpected) };
        for pixels in pixels.chunks(rows * row) {
            let mut request = Request::Pixels(pixels);
            loop {
                match self.ask(&request)? {
                    Reply::More => break,
                    Reply::Rows { node, data } => {
                        let output = answer.outputs.get_mut(usize::from(node)).ok_or(ClientError::Unexpected)?;
                        output.extend(data.iter().map(|&byte| byte as i8));
                    }
                    Reply::Scores(data) => {
                        answer.scores.extend(data.iter().map(|&byte| byte as i8));
                        if answer.scores.len() >= model.classes.into() {
                            break;
                        }
                    }
                    _ => return Err(ClientError::Unexpected),
                }
                request = Request::Next;
            }
        }
        let mut sums = Vec::new();
        while want == Want::Checksums && sums.len() < 4 * nodes {
            let Reply::Checksums(data) = self.ask(&Request::Next)? else { return Err(ClientError::Unexpected) };
            sums.extend_from_slice(data);
        }
        answer.checksums = sums.as_chunks().0.iter().map(|&sum| u32::from_le_bytes(sum)).collect();
        let whole = answer.scores.len() == usize::from(model.classes) && sums.len() == 4 * answer.checksums.len();
        if whole { Ok(answer) } else { Err(ClientError::Unexpected) }
    }

    /// Sends a new model, which the board checks and switches to; `progress` is told how many bytes have arrived.
    ///
    /// # Errors
    /// [`ClientError`]: then the board keeps its model, or, where only the last answer was lost, has the new one:
    /// [`hello`](Self::hello) tells.
    pub fn update(&mut self, stone: &[u8], mut progress: impl FnMut(usize)) -> Result<(), ClientError> {
        let header = stone.first_chunk::<{ Header::LEN }>().ok_or(ClientError::NotAModel)?;
        let block = self.block / UNIT * UNIT;
        if block == 0 {
            return Err(ClientError::LongRow { row: UNIT, block: self.block });
        }
        let Reply::More = self.ask(&Request::Begin(header))? else { return Err(ClientError::Unexpected) };
        for (index, data) in stone.chunks(block).enumerate() {
            let offset = (index * block) as u32;
            let Reply::More = self.ask(&Request::Block { offset, data })? else { return Err(ClientError::Unexpected) };
            progress(index * block + data.len());
        }
        match self.ask(&Request::End)? {
            Reply::Switched { checksum } if checksum == Header::parse(header).checksum => self.hello(),
            _ => Err(ClientError::Unexpected),
        }
    }

    /// What the board's slots hold.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn status(&mut self) -> Result<Status, ClientError> {
        match self.ask(&Request::Status)? {
            Reply::Status(status) => Ok(status),
            _ => Err(ClientError::Unexpected),
        }
    }

    fn ask(&mut self, request: &Request<'_>) -> Result<Reply<'_>, ClientError> {
        let patience = self.patience.answer;
        match self.ask_within(request, patience)? {
            Reply::Refused(refusal) => Err(ClientError::Refused(refusal)),
            reply => Ok(reply),
        }
    }

    /// Sends a request until its answer arrives.
    fn ask_within(&mut self, request: &Request<'_>, patience: Duration) -> Result<Reply<'_>, ClientError> {
        self.sequence = self.sequence.wrapping_add(1);
        let payload = match request {
            Request::Pixels(bytes) | Request::Begin(bytes) | Request::Block { data: bytes, .. } => bytes.len(),
            _ => 0,
        };
        let mut buffer = vec![0; 1 + frame_len(payload)];
        // A zero first ends what a lost zero has left open.
        let frame = frame::encode(self.sequence, request, &mut buffer[1..]).ok_or(ClientError::Unexpected)?.len();
        let frame = &buffer[..=frame];
        self.send(frame)?;
        let start = Instant::now();
        let (mut sent, mut damaged) = (start, 0);
        loop {
            let arrived = self.receive()?;
            match arrived.then(|| frame::parse::<Reply>(&self.frame)) {
                Some(Some((sequence, reply))) if sequence == self.sequence && reply != Reply::Garbled => break,
                // An answer that comes twice.
                Some(Some((_, reply))) if reply != Reply::Garbled => continue,
                Some(_) => {
                    damaged += 1;
                    if damaged == DAMAGED {
                        return Err(ClientError::Garbled { frames: damaged });
                    }
                }
                None if start.elapsed() > patience => {
                    return Err(match damaged {
                        0 if self.arrived.is_empty() => ClientError::NoAnswer { waited: start.elapsed() },
                        frames => ClientError::Garbled { frames: frames.max(1) },
                    });
                }
                None if sent.elapsed() < self.patience.again => continue,
                None => {}
            }
            self.repeated += 1;
            sent = Instant::now();
            self.send(frame)?;
        }
        frame::parse(&self.frame).map(|(_, reply)| reply).ok_or(ClientError::Unexpected)
    }

    fn send(&mut self, frame: &[u8]) -> Result<(), ClientError> {
        self.port.write_all(frame)?;
        Ok(self.port.flush()?)
    }

    /// Whether a frame has arrived within the port's time, in `self.frame` without COBS; an empty one if it is damaged.
    fn receive(&mut self) -> Result<bool, ClientError> {
        loop {
            if let Some(end) = self.arrived.iter().position(|&byte| byte == 0) {
                self.frame.clear();
                self.frame.extend(self.arrived.drain(..=end));
                self.frame.pop();
                if self.frame.is_empty() {
                    continue;
                }
                let len = frame::unstuff(&mut self.frame).unwrap_or(0);
                self.frame.truncate(len);
                return Ok(true);
            }
            if self.arrived.len() > LONGEST {
                self.arrived.clear();
                self.frame.clear();
                return Ok(true);
            }
            let mut bytes = [0; 1024];
            match self.port.read(&mut bytes) {
                Ok(0) => return Err(ClientError::Closed),
                Ok(len) => self.arrived.extend_from_slice(&bytes[..len]),
                Err(error) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()) => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
