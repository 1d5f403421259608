//! A model's own test vectors: whether this processor makes what the host made.

use super::{Engine, InputError};
use crate::format::checksum::Crc32;
use crate::vectors::TestVector;
use core::fmt;

/// Why a test vector was not passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum SelfTestError {
    /// The room for checksums is not one for each node, or the vector is another model's.
    Room {
        /// Nodes of the model.
        needed: usize,
    },
    /// The image has another length than the model's.
    Input(InputError),
    /// The rows of this node, by index, are not those of the vector, and those of all nodes before it are.
    Layer(usize),
    /// All rows are those of the vector, and the scores are not.
    Scores,
}

impl Engine<'_, '_> {
    /// [`run`](Self::run), with the checksum of each node's rows in the order in which they are made: `layers` has room
    /// for one for each node.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_summed(&mut self, pixels: &[u8], layers: &mut [Crc32]) -> Result<&[i8], InputError> {
        layers.fill(Crc32::new());
        self.run_observed(pixels, |made| {
            if let Some(layer) = layers.get_mut(made.node) {
                made.values.pixels().for_each(|pixel| layer.update(pixel));
            }
        })
    }

    /// Runs a test vector and compares the rows of every node and the scores with what the host made. `layers` has room
    /// for one checksum for each node.
    ///
    /// # Errors
    /// [`SelfTestError`] names the first node that differs: nodes stand in topological order, so what it reads is right.
    pub fn self_test(&mut self, vector: &TestVector<'_>, layers: &mut [Crc32]) -> Result<(), SelfTestError> {
        let nodes = self.model.nodes().len();
        if layers.len() != nodes || vector.layers.len() != nodes {
            return Err(SelfTestError::Room { needed: nodes });
        }
        let made = self.run_summed(vector.pixels, layers);
        let scores_agree = made.map_err(SelfTestError::Input)? == vector.scores;
        match layers.iter().zip(vector.layers).position(|(made, &expected)| made.value() != expected) {
            Some(node) => Err(SelfTestError::Layer(node)),
            None if scores_agree => Ok(()),
            None => Err(SelfTestError::Scores),
        }
    }
}

impl fmt::Display for SelfTestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Room { needed } => write!(f, "a self-test of this model needs {needed} checksums"),
            Self::Input(error) => error.fmt(f),
            Self::Layer(node) => write!(f, "node {node} is the first whose rows are not the host's"),
            Self::Scores => f.write_str("the scores are not the host's, the rows of all nodes are"),
        }
    }
}

impl core::error::Error for SelfTestError {}
