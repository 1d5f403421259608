//! Packed models in files, run as the device runs them.

use super::failure::Failure;
use crate::files;
use crate::host::{self, HostError};
use crate::pack::AlignedBytes;
use crate::tensor::Tensor;
use rayon::prelude::*;
use skipstone_runtime::engine::InputError;
use skipstone_runtime::format::LoadError;
use skipstone_runtime::{Engine, Model};
use std::path::Path;

/// Images that one engine classifies before it is set up anew.
const CHUNK: usize = 16;

/// The checked contents of a `.stone` file.
pub(super) struct Packed(AlignedBytes);

impl Packed {
    /// Reads and checks a file.
    pub(super) fn read(file: &Path) -> Result<Self, Failure> {
        Self::new(&files::read(file)?).map_err(|reason| Failure::at(file, reason))
    }

    /// Checks the contents of a file.
    pub(super) fn new(bytes: &[u8]) -> Result<Self, LoadError> {
        let bytes = AlignedBytes::copy(bytes);
        Model::from_bytes(bytes.as_slice())?;
        Ok(Self(bytes))
    }

    /// The model.
    pub(super) fn model(&self) -> Model<'_> {
        Model::from_bytes(self.bytes()).expect("checked when it was read")
    }

    /// The file's contents.
    pub(super) fn bytes(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// Real values of the scores of `count` images, `[N, classes]`; `classify` runs an engine on image number `i`.
    pub(super) fn scores(
        &self,
        count: usize,
        classify: impl Fn(&mut Engine, usize) -> Result<(), InputError> + Sync,
    ) -> Result<Tensor, Failure> {
        let model = self.model();
        let (classes, output) = (model.class_count(), model.output());
        let mut scores = Tensor::zeros([count, classes]);
        scores.data_mut().par_chunks_mut(CHUNK * classes).enumerate().try_for_each(|(chunk, scores)| {
            let mut arena = AlignedBytes::zeros(model.arena_len());
            let mut engine = host::engine(&model, &mut arena)?;
            for (index, scores) in scores.chunks_exact_mut(classes).enumerate() {
                classify(&mut engine, chunk * CHUNK + index).map_err(HostError::Input)?;
                for (real, &score) in scores.iter_mut().zip(engine.scores()) {
                    *real = f32::from(i16::from(score) - i16::from(output.zero_point)) * output.scale;
                }
            }
            Ok::<_, Failure>(())
        })?;
        Ok(scores)
    }
}
