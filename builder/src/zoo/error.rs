//! Why an architecture cannot be built.

use super::{Choice, dims_text};
use skipstone_onnx::GraphError;

/// An architecture that cannot be built.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ZooError {
    /// No architecture has this name.
    #[error("unknown architecture `{name}`: there are {similar}; `skipstone zoo` lists all")]
    Unknown {
        /// The name asked for.
        name: String,
        /// The names that have most letters from the start in common with it.
        similar: String,
    },
    /// Fewer than two classes, or more than labels can count.
    #[error("{arch} cannot tell {classes} classes apart: give at least 2, at most {most}")]
    Classes {
        /// The architecture.
        arch: &'static str,
        /// The number asked for.
        classes: usize,
        /// The most that a label can count.
        most: usize,
    },
    /// An image on which nothing would be left of the last maps.
    #[error("{arch} halves its maps too often for an input of {}: height and width must be at least {least}", dims_text(*.input))]
    InputTooSmall {
        /// The architecture.
        arch: &'static str,
        /// The dimensions asked for.
        input: [usize; 3],
        /// The least height and width.
        least: usize,
    },
    /// An image without channels, or so large that its maps cannot be counted.
    #[error("{arch} cannot take an input of {}: give 1 to 1024 channels and at most 4096 rows and columns", dims_text(*.input))]
    Input {
        /// The architecture.
        arch: &'static str,
        /// The dimensions asked for.
        input: [usize; 3],
    },
    /// A choice that the architecture does not leave.
    #[error("{arch} takes no {choice}: {reason}", reason = choice.reason())]
    Choice {
        /// The architecture.
        arch: &'static str,
        /// What was asked for.
        choice: Choice,
    },
    /// A probability that is none, or 1.
    #[error("the rate of {choice} is {rate}: give at least 0 and below 1")]
    Rate {
        /// What it is the rate of.
        choice: Choice,
        /// The rate asked for.
        rate: f32,
    },
    /// The constructor is at odds with itself.
    #[error("{arch}: {source}")]
    Graph {
        /// The architecture.
        arch: &'static str,
        /// What does not fit.
        source: GraphError,
    },
}
