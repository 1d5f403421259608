//! Packed models on the host, run by the device's own engine.

mod relay;
mod timing;
mod trace;
mod vectors;

pub use timing::Timing;
pub use trace::{Trace, TracedNode};
pub use vectors::with_test_vectors;

use crate::data::Dataset;
use crate::metrics::{self, Evaluation};
use crate::pack::AlignedBytes;
use crate::tensor::Tensor;
use rayon::prelude::*;
use skipstone_runtime::Engine;
use skipstone_runtime::engine::{EngineError, InputError};
use skipstone_runtime::format::LoadError;
use skipstone_runtime::kernels::{BACKENDS, Backend, best};
use std::sync::OnceLock;

/// Images that are evaluated together.
const BATCH: usize = 1024;

/// Images that one engine classifies before it is set up anew.
const CHUNK: usize = 16;

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
    /// More test vectors than a file holds.
    #[error("{count} test vectors do not fit a packed model, which has less than 4 GiB: take fewer")]
    Vectors {
        /// How many.
        count: usize,
    },
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

/// A packed model in memory: checked once, with the kernels that are the fastest here among those that read its
/// weights.
///
/// [`scores`](Self::scores) and [`evaluate`](Self::evaluate) lay its weights out again where other layouts are faster
/// here; [`engine`](Self::engine) and [`trace`](Self::trace) run the file as it is.
pub struct Model<'b> {
    view: skipstone_runtime::Model<'b>,
    /// `None` where no kernels here read them: such a model can be looked at.
    backend: Option<&'static Backend>,
    /// The model as it is fastest here, made when it is first asked for; `None` where that is the file.
    faster: OnceLock<Option<AlignedBytes>>,
}

impl<'b> Model<'b> {
    /// Checks a packed model and chooses its kernels.
    ///
    /// # Errors
    /// [`LoadError`] if the bytes are no valid packed model.
    pub fn new(stone: &'b AlignedBytes) -> Result<Self, LoadError> {
        let view = skipstone_runtime::Model::from_bytes(stone.as_slice())?;
        let mut arena = AlignedBytes::zeros(view.arena_len());
        let mut runs = |backend: &&'static Backend| {
            (backend.available)() && Engine::with_backend(&view, arena.as_mut_slice(), backend).is_ok()
        };
        let backend = BACKENDS.iter().copied().find(|backend| runs(backend));
        Ok(Self { view, backend, faster: OnceLock::new() })
    }

    /// The model as the engine sees it.
    pub fn view(&self) -> &skipstone_runtime::Model<'b> {
        &self.view
    }

    /// Channels, height, width of the model's image.
    pub fn image_dims(&self) -> [usize; 3] {
        let input = self.view.input();
        [input.channels, input.height, input.width].map(usize::from)
    }

    /// An arena for [`engine`](Self::engine).
    pub fn arena(&self) -> AlignedBytes {
        AlignedBytes::zeros(self.view.arena_len())
    }

    /// An engine in an [`arena`](Self::arena).
    ///
    /// # Errors
    /// [`HostError::Engine`] if no kernels here read the weights, or the arena is another model's.
    pub fn engine<'a>(&self, arena: &'a mut AlignedBytes) -> Result<Engine<'b, 'a>, HostError> {
        // Where no kernels read them, the fastest ones' refusal is the message.
        let backend = self.backend.unwrap_or_else(best);
        Engine::with_backend(&self.view, arena.as_mut_slice(), backend).map_err(HostError::Engine)
    }

    /// Real values of the scores of `count` images, `[N, classes]`, on all cores of the current rayon pool; `classify`
    /// runs an engine on image number `i`.
    ///
    /// # Errors
    /// [`HostError`] if the model cannot run here, or `classify` fails.
    pub fn scores(
        &self,
        count: usize,
        classify: impl Fn(&mut Engine, usize) -> Result<(), InputError> + Sync,
    ) -> Result<Tensor, HostError> {
        let faster = self
            .faster
            .get_or_init(|| {
                // What is not a valid model would be slower, not wrong: then the file itself is run.
                relay::for_host(&self.view)
                    .filter(|stone| skipstone_runtime::Model::from_bytes(stone.as_slice()).is_ok())
            })
            .as_ref();
        let (view, backend) = match faster {
            Some(stone) => {
                let view = skipstone_runtime::Model::from_checked(stone.as_slice()).map_err(HostError::Load)?;
                (view, best())
            }
            // Where no kernels read them, the fastest ones' refusal is the message.
            None => (self.view, self.backend.unwrap_or_else(best)),
        };
        let (classes, output) = (view.class_count(), view.output());
        let mut scores = Tensor::zeros([count, classes]);
        scores.data_mut().par_chunks_mut(CHUNK * classes).enumerate().try_for_each(|(chunk, scores)| {
            let mut arena = AlignedBytes::zeros(view.arena_len());
            let mut engine = Engine::with_backend(&view, arena.as_mut_slice(), backend).map_err(HostError::Engine)?;
            for (index, scores) in scores.chunks_exact_mut(classes).enumerate() {
                classify(&mut engine, chunk * CHUNK + index).map_err(HostError::Input)?;
                for (real, &score) in scores.iter_mut().zip(engine.scores()) {
                    *real = f32::from(i16::from(score) - i16::from(output.zero_point)) * output.scale;
                }
            }
            Ok(())
        })?;
        Ok(scores)
    }

    /// Runs the model on every image of a data set. Accuracy and loss do not depend on the number of cores.
    ///
    /// # Errors
    /// [`HostError`] if the model cannot run here, or does not fit the data set.
    pub fn evaluate(&self, set: &Dataset) -> Result<Evaluation, HostError> {
        let (expected, classes) = (self.image_dims(), self.view.class_count());
        if set.is_empty() {
            return Err(HostError::NoImages);
        }
        if set.dims != expected {
            return Err(HostError::ImageDims { found: set.dims, expected });
        }
        if let Some(image) = set.labels.iter().position(|&label| usize::from(label) >= classes) {
            return Err(HostError::Label { image, label: set.labels[image], classes });
        }
        metrics::evaluate(set, BATCH, |indices| {
            self.scores(indices.len(), |engine, index| engine.run(set.image(indices[index])).map(drop))
        })
    }
}

/// Evaluates the packed model `stone`, as [`Model::evaluate`].
///
/// # Errors
/// [`HostError`] if the model is not valid, cannot run here, or does not fit the data set.
pub fn evaluate(stone: &[u8], set: &Dataset) -> Result<Evaluation, HostError> {
    let stone = AlignedBytes::copy(stone);
    Model::new(&stone).map_err(HostError::Load)?.evaluate(set)
}

/// Traces the packed model `stone` on one image, as [`Model::trace`].
///
/// # Errors
/// [`HostError`] if the model is not valid, cannot run here, or takes images of another size.
pub fn trace(stone: &[u8], pixels: &[u8]) -> Result<Trace, HostError> {
    let stone = AlignedBytes::copy(stone);
    Model::new(&stone).map_err(HostError::Load)?.trace(pixels)
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
mod vectors_tests;
#[cfg(test)]
mod zoo_tests;
