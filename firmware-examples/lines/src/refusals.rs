//! Errors as lines of few words; what is wrong with a record is a code, which `skipstone inspect` of the same file puts in
//! words.

use crate::{Sink, numbers};
use skipstone_runtime::{EngineError, LoadError, Place};

/// Writes the line that says why bytes are no model.
pub fn load_error(error: &LoadError, out: &mut impl Sink) {
    let (what, number) = match *error {
        LoadError::NotAModel => ("not a model", 0),
        LoadError::Version { found } => ("version ", found.into()),
        LoadError::Misaligned => ("model misaligned", 0),
        LoadError::Length { found, .. } => ("length ", found as u64),
        LoadError::Checksum { computed, .. } => ("checksum ", computed.into()),
        LoadError::Invalid { place: Place::Tensor(index), .. } => ("tensor ", index as u64),
        LoadError::Invalid { place: Place::Node(index), .. } => ("node ", index as u64),
        LoadError::Invalid { place: Place::Segment(index), .. } => ("segment ", index as u64),
        _ => ("header ", 0),
    };
    let reason = if let LoadError::Invalid { reason, .. } = error { reason.code() } else { 0 };
    out.text("error ");
    numbers(out, &[(what, number), (" reason ", reason.into())]);
}

/// Writes the line that says why no engine runs a model.
pub fn engine_error(error: &EngineError, out: &mut impl Sink) {
    out.text(match error {
        EngineError::ArenaTooSmall { .. } => "error arena too small\n",
        EngineError::ArenaMisaligned => "error arena misaligned\n",
        EngineError::NoKernel { .. } => "error no kernel\n",
        EngineError::NoOperator { .. } => "error no operator\n",
        _ => "error engine\n",
    });
}
