//! Packed models in files, run as the device runs them.

use super::failure::Failure;
use crate::files;
use crate::host;
use crate::pack::AlignedBytes;
use crate::tensor::Tensor;
use skipstone_runtime::engine::InputError;
use skipstone_runtime::format::LoadError;
use skipstone_runtime::{Engine, Model};
use std::path::Path;

/// The checked contents of a `.stone` file. A command reads few of them, and their bytes stay in memory until it ends.
pub(super) struct Packed(host::Model<'static>);

impl Packed {
    /// Reads and checks a file.
    pub(super) fn read(file: &Path) -> Result<Self, Failure> {
        Self::new(&files::read(file)?).map_err(|reason| Failure::at(file, reason))
    }

    /// Checks the contents of a file.
    pub(super) fn new(bytes: &[u8]) -> Result<Self, LoadError> {
        host::Model::new(Box::leak(Box::new(AlignedBytes::copy(bytes)))).map(Self)
    }

    /// The model.
    pub(super) fn model(&self) -> Model<'static> {
        *self.0.view()
    }

    /// The model with the kernels that run it here.
    pub(super) fn on_host(&self) -> &host::Model<'static> {
        &self.0
    }

    /// Real values of the scores of `count` images, `[N, classes]`; `classify` runs an engine on image number `i`.
    pub(super) fn scores(
        &self,
        count: usize,
        classify: impl Fn(&mut Engine, usize) -> Result<(), InputError> + Sync,
    ) -> Result<Tensor, Failure> {
        Ok(self.0.scores(count, classify)?)
    }

    /// Names of the classes, in the order of the scores; numbers where the file has no names.
    pub(super) fn class_names(&self) -> Vec<String> {
        let name = |(class, name): (usize, &str)| if name.is_empty() { class.to_string() } else { name.into() };
        self.model().class_names().enumerate().map(name).collect()
    }

    /// What int8 scores stand for.
    pub(super) fn real_scores(&self, scores: &[i8]) -> Vec<f32> {
        let model = self.model();
        let output = model.output();
        scores.iter().map(|&q| f32::from(i16::from(q) - i16::from(output.zero_point)) * output.scale).collect()
    }
}
