//! The input and output of the file that a network was read from, where they differ from the graph's.

use crate::{InputIntegers, Normalization};

/// How a file takes its image and gives its scores: what a tensor made for the file means to a network that was made from
/// it.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// Whether the input is `[N, H, W, C]`.
    pub channels_last: bool,
    /// The integers that the input holds, if it is not float32.
    pub integers: Option<InputIntegers>,
    /// What the output is of the scores.
    pub ending: Ending,
    /// How pixels become the input, or what its integers stand for.
    pub normalization: Normalization,
}

/// What a file's last node makes of the scores that are the graph's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Nothing: the file's output are the scores.
    Scores,
    /// Their softmax.
    Softmax,
    /// The logarithm of their softmax.
    LogSoftmax,
}
