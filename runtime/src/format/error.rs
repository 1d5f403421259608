use super::reason::Reason;
use super::records::VERSION;
use core::fmt;

/// Why bytes are not a model that this program can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum LoadError {
    /// The bytes do not start as a packed model does.
    NotAModel,
    /// The layout has another version.
    Version {
        /// The file's version.
        found: u16,
    },
    /// The bytes do not start at a multiple of 16 in memory.
    Misaligned,
    /// There are fewer or more bytes than the header says.
    Length {
        /// Bytes that the header states.
        stated: usize,
        /// Bytes that are there.
        found: usize,
    },
    /// The checksum does not fit the bytes.
    Checksum {
        /// The file's checksum.
        stated: u32,
        /// The checksum of the bytes that are there.
        computed: u32,
    },
    /// The bytes are as they were written, but what was written cannot be run.
    Invalid {
        /// The record.
        place: Place,
        /// What is wrong with it.
        reason: Reason,
    },
}

/// A record of a packed model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Place {
    /// The head of the file.
    Header,
    /// A tensor, by index.
    Tensor(usize),
    /// A node, by index.
    Node(usize),
    /// A segment, by index.
    Segment(usize),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAModel => f.write_str("not a packed model: it does not start with SKIPSTON"),
            Self::Version { found } => {
                write!(f, "written for format version {found}, this program reads {VERSION}: pack the model again")
            }
            Self::Misaligned => f.write_str("the model does not start at a multiple of 16 in memory: align its bytes"),
            Self::Length { stated, found } if found < stated => {
                write!(f, "damaged: cut short after {found} of {stated} bytes")
            }
            Self::Length { stated, found } => {
                write!(f, "damaged: {found} bytes where the header states {stated}")
            }
            Self::Checksum { stated, computed } => {
                write!(f, "damaged: checksum {computed:08x} where the header states {stated:08x}")
            }
            Self::Invalid { place, reason } => write!(f, "not a valid model: {place}: {reason}"),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header => f.write_str("header"),
            Self::Tensor(index) => write!(f, "tensor {index}"),
            Self::Node(index) => write!(f, "node {index}"),
            Self::Segment(index) => write!(f, "segment {index}"),
        }
    }
}

impl core::error::Error for LoadError {}
