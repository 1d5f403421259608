//! Choices that an architecture leaves or does not.

use std::fmt;

/// A choice that some families leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Dropout after convolutions.
    Dropout,
    /// Residual branches that training leaves out at random.
    StochasticDepth,
    /// Branches whose last batch norm starts at gamma 0.
    ZeroGamma,
    /// Attention without residual learning.
    NaiveAttention,
    /// Masks by another activation than the sigmoid of each element.
    MaskActivation,
}

impl Choice {
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Dropout => "only dense networks were published with it",
            Self::StochasticDepth => "it needs residual branches without masks",
            Self::ZeroGamma => "it needs residual branches that end in a batch norm",
            Self::NaiveAttention | Self::MaskActivation => "it has no attention modules",
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dropout => "dropout",
            Self::StochasticDepth => "stochastic depth",
            Self::ZeroGamma => "zero gamma",
            Self::NaiveAttention => "naive attention",
            Self::MaskActivation => "mask activation",
        })
    }
}
