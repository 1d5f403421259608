//! The packed model, `.stone`: little endian, sections aligned to 16 bytes, read in place.
//!
//! `docs/model-format.md` is the normative description.

pub mod checksum;
mod codes;
mod error;
mod reason;
pub mod records;
pub mod strings;

pub use error::{LoadError, Place};
pub(crate) use reason::ensure;
pub use reason::{Reason, Verdict};
