//! Why a quantized network cannot be packed.

use crate::plan::PlanError;
use crate::quant::QuantError;
use skipstone_runtime::format::LoadError;

/// A network that does not fit the packed format. Nothing has been written.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The network cannot be quantized.
    #[error(transparent)]
    Quant(#[from] QuantError),
    /// The network has no memory plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A number that is too large for its field.
    #[error("`{name}`: {what} is {value}, a packed model holds at most {most}")]
    TooLarge {
        /// The tensor or node, or `model`.
        name: String,
        /// The number's meaning.
        what: &'static str,
        /// The number.
        value: usize,
        /// The largest that fits.
        most: usize,
    },
    /// Class names that are not those of the scores.
    #[error("the network has {scores} scores and {names} class names")]
    ClassNames {
        /// Number of scores.
        scores: usize,
        /// Number of names.
        names: usize,
    },
    /// The runtime refuses what was packed.
    #[error("the runtime refuses the packed model: {0}")]
    Refused(LoadError),
}
