//! What is asked and answered. `docs/serial.md` says it in words.

use core::fmt;
use serde::{Deserialize, Serialize};
use skipstone_runtime::{EngineError, LoadError, Place};

/// Version of the messages.
pub const VERSION: u8 = 1;

/// What the host asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request<'a> {
    /// Who is there? Begins a session.
    Hello {
        /// The host's [`VERSION`].
        version: u8,
    },
    /// Begins an image; its pixels follow.
    Image {
        /// What is told of it.
        want: Want,
    },
    /// The next rows of the image, whole ones, `[row][width][channels]`.
    Pixels(#[serde(borrow)] &'a [u8]),
    /// The next piece of a long answer.
    Next,
    /// Begins an update: the header of the new model.
    Begin(#[serde(borrow)] &'a [u8]),
    /// Bytes of the new model, in their order.
    Block {
        /// Where they stand in it.
        offset: u32,
        /// The bytes.
        #[serde(borrow)]
        data: &'a [u8],
    },
    /// The new model is complete: check it, and switch to it.
    End,
    /// What the slots hold.
    Status,
}

/// What a board tells of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Want {
    /// Its scores.
    Scores,
    /// Its scores, and a checksum of what each node made.
    Checksums,
    /// All that each node makes, as it makes it, and the scores.
    Outputs,
}

/// What the board answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply<'a> {
    /// What arrived was no frame: send it again. No answer to a request.
    Garbled,
    /// To `Hello`.
    Hello(#[serde(borrow)] Board<'a>),
    /// It goes on: with rows of the image, with the next block.
    More,
    /// A part of what a node made.
    Rows {
        /// The node.
        node: u16,
        /// int8 elements that follow those told before of this node.
        #[serde(borrow)]
        data: &'a [u8],
    },
    /// int8 scores of the image.
    Scores(#[serde(borrow)] &'a [u8]),
    /// CRC-32 of what each node made, little endian.
    Checksums(#[serde(borrow)] &'a [u8]),
    /// To `Status`.
    Status(Status),
    /// To `End`: the new model works, and is the board's from now on.
    Switched {
        /// Its checksum.
        checksum: u32,
    },
    /// The request was not done.
    Refused(Refusal),
}

/// A board, and the model on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Board<'a> {
    /// Its [`VERSION`].
    pub version: u8,
    /// Its name.
    pub name: &'a str,
    /// Most bytes of pixels or of a block in a request.
    pub block: u16,
    /// Its model; `None` if it has none.
    pub model: Option<Identity>,
    /// What it takes as updates; `None` if it takes none.
    pub updates: Option<Room>,
}

/// A model, as far as both ends must agree on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The checksum in its header: of all its bytes.
    pub checksum: u32,
    /// Its bytes.
    pub len: u32,
    /// Height, width, channels of its images.
    pub image: [u16; 3],
    /// Its scores.
    pub classes: u16,
    /// Its nodes.
    pub nodes: u16,
}

/// What fits a board.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// Bytes of a model.
    pub model: u32,
    /// Bytes of an arena.
    pub arena: u32,
}

/// What the slots hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The slot of the model that runs; `None` if there is none.
    pub active: Option<u8>,
    /// The models that were switched to, if they are still whole as far as their records say.
    pub slots: [Option<Entry>; 2],
    /// Bytes of an update that have arrived; `None` if there is none under way.
    pub received: Option<u32>,
}

/// A slot's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Counts the updates: the higher one is the newer one.
    pub sequence: u32,
    /// Bytes of the model.
    pub len: u32,
    /// The model's checksum.
    pub checksum: u32,
}

/// Why a board does not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// There is no model.
    NoModel,
    /// The program takes no updates.
    NoUpdates,
    /// The request does not fit what came before it.
    OutOfOrder,
    /// Pixels that are not whole rows of the image.
    Pixels,
    /// The program keeps the checksums of fewer nodes.
    TooManyNodes {
        /// As many.
        most: u16,
    },
    /// The model is longer than a slot.
    TooLarge {
        /// Bytes of the model.
        needed: u32,
        /// Bytes that a slot takes.
        room: u32,
    },
    /// The model's arena is larger than the program's.
    Arena {
        /// Bytes that it needs.
        needed: u32,
        /// Bytes that there are.
        room: u32,
    },
    /// The bytes are no packed model.
    NotAModel,
    /// They are one of another format version.
    Version {
        /// Theirs.
        found: u16,
    },
    /// They are not as they were written.
    Damaged,
    /// A record cannot be run.
    Invalid {
        /// The node, if it is a node's record.
        node: Option<u16>,
        /// The runtime's code of the reason.
        reason: u16,
    },
    /// The weights of a node are laid out for another core.
    NoKernel {
        /// The node.
        node: u16,
    },
    /// The program lacks the operator of a node.
    NoOperator {
        /// The node.
        node: u16,
    },
    /// A test image of the model has other results here than on the host.
    SelfTest {
        /// The image.
        image: u16,
        /// The first node that differs; `None` if only the scores do.
        node: Option<u16>,
    },
    /// The flash could not be written, or does not hold what was written.
    Flash,
}

impl From<LoadError> for Refusal {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::NotAModel => Self::NotAModel,
            LoadError::Version { found } => Self::Version { found },
            LoadError::Invalid { place, reason } => {
                let node = if let Place::Node(node) = place { Some(node as u16) } else { None };
                Self::Invalid { node, reason: reason.code() }
            }
            _ => Self::Damaged,
        }
    }
}

impl From<EngineError> for Refusal {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::NoKernel { node, .. } => Self::NoKernel { node: node as u16 },
            EngineError::NoOperator { node, .. } => Self::NoOperator { node: node as u16 },
            EngineError::ArenaTooSmall { needed, found } => Self::Arena { needed: needed as u32, room: found as u32 },
            _ => Self::Arena { needed: 0, room: 0 },
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoModel => f.write_str("it has no model yet: send one with `skipstone update`"),
            Self::NoUpdates => f.write_str("its program takes no updates: flash it anew"),
            Self::OutOfOrder => f.write_str("the request does not fit what came before it"),
            Self::Pixels => f.write_str("the pixels are no whole rows of an image"),
            Self::TooManyNodes { most } => {
                write!(f, "its program keeps the checksums of {most} nodes, the model has more")
            }
            Self::TooLarge { needed, room } => write!(f, "the model has {needed} bytes, a slot takes {room}"),
            Self::Arena { needed, room } => write!(f, "the model needs an arena of {needed} bytes, there are {room}"),
            Self::NotAModel => f.write_str("what arrived is no packed model"),
            Self::Version { found } => write!(f, "it runs models of another format version than {found}"),
            Self::Damaged => f.write_str("what its flash holds is not what was sent"),
            Self::Invalid { node: Some(node), reason } => {
                write!(f, "node {node} of the model is not valid there (reason {reason})")
            }
            Self::Invalid { node: None, reason } => write!(f, "the model is not valid there (reason {reason})"),
            Self::NoKernel { node } => {
                write!(f, "the weights of node {node} are laid out for another core: pack the model for this board")
            }
            Self::NoOperator { node } => write!(f, "its program lacks the operator of node {node}"),
            Self::SelfTest { image, node: Some(node) } => {
                write!(f, "test image {image} of the model has another result there, from node {node} on")
            }
            Self::SelfTest { image, node: None } => write!(f, "test image {image} of the model has other scores there"),
            Self::Flash => f.write_str("its flash could not be written"),
        }
    }
}

impl core::error::Error for Refusal {}
