//! Packed models on the host, run by the device's own engine.

mod evaluate;
mod trace;

pub use evaluate::{Evaluation, evaluate};
pub use trace::{Trace, TracedNode, trace};

use crate::pack::AlignedBytes;
use skipstone_runtime::engine::{EngineError, InputError};
use skipstone_runtime::format::LoadError;
use skipstone_runtime::kernels::{BACKENDS, Backend};
use skipstone_runtime::{Engine, Model};

/// A packed model that cannot be run on images.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum HostError {
    /// The bytes are not a valid packed model.
    #[error("not a valid packed model: {0}")]
    Load(LoadError),
    /// No kernels of this host read the model's weights.
    #[error("cannot run the packed model here: {0}")]
    Engine(EngineError),
    /// There is nothing to run on.
    #[error("there are no images")]
    NoImages,
    /// Images of another shape than the model's.
    #[error("images are {found:?} (channels, height, width), the model takes {expected:?}")]
    ImageDims {
        /// Of the images.
        found: [usize; 3],
        /// Of the model.
        expected: [usize; 3],
    },
    /// An image of another length than the model's.
    #[error("{0}")]
    Input(InputError),
    /// A label that the model has no score for.
    #[error("image {image} has label {label}, the model has {classes} classes")]
    Label {
        /// The image.
        image: usize,
        /// Its label.
        label: u16,
        /// Number of scores.
        classes: usize,
    },
}

/// Checks `stone`, which must be aligned, as [`AlignedBytes`] are.
fn load(stone: &AlignedBytes) -> Result<Model<'_>, HostError> {
    Model::from_bytes(stone.as_slice()).map_err(HostError::Load)
}

/// An engine on the fastest kernels of this processor that read all of the model's weights.
///
/// # Errors
/// [`HostError::Engine`] if no kernels here read them, or the arena is too short.
pub fn engine<'m, 'a>(model: &Model<'m>, arena: &'a mut AlignedBytes) -> Result<Engine<'m, 'a>, HostError> {
    let available = || BACKENDS.iter().copied().filter(|backend| (backend.available)());
    let runs = |backend: &&'static Backend| {
        let mut arena = AlignedBytes::zeros(model.arena_len());
        Engine::with_backend(model, arena.as_mut_slice(), backend).is_ok()
    };
    // Where no backend reads the weights, the fastest one's refusal is the message.
    let backend = available().find(runs).unwrap_or_else(skipstone_runtime::kernels::best);
    Engine::with_backend(model, arena.as_mut_slice(), backend).map_err(HostError::Engine)
}

/// Channels, height, width of the model's image.
fn image_dims(model: &Model<'_>) -> [usize; 3] {
    let input = model.input();
    [input.channels, input.height, input.width].map(usize::from)
}

#[cfg(test)]
mod bound_tests;
#[cfg(all(test, feature = "tract"))]
mod family_tests;
#[cfg(all(test, feature = "tract"))]
mod qdq_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod zoo_tests;
