//! `last.safetensors`: everything that training needs to go on.

use super::sgd::Sgd;
use super::{EpochRecord, TrainError};
use crate::files;
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use serde::{Deserialize, Serialize};
use skipstone_onnx::Graph;
use std::collections::HashMap;
use std::path::Path;

/// The key of the counters among the file's metadata.
const COUNTERS: &str = "skipstone";
/// What stands before a parameter's name in the name of its velocity.
const VELOCITY: &str = "velocity/";

/// Where training stands, besides its tensors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Counters {
    /// Whole epochs that are done.
    pub(super) epoch: usize,
    /// Batches of the current epoch that are done.
    pub(super) batch: usize,
    /// Summed loss of the current epoch's images.
    pub(super) loss: f64,
    /// Images of the current epoch that were classified correctly.
    pub(super) correct: usize,
    /// Images of the current epoch that are done.
    pub(super) images: usize,
    /// Seconds of work in the current epoch.
    pub(super) epoch_seconds: f64,
    /// Finished epochs.
    pub(super) history: Vec<EpochRecord>,
}

impl Counters {
    /// The finished epoch with the best test accuracy, the earliest among equals.
    pub(super) fn best(&self) -> Option<&EpochRecord> {
        self.history.iter().reduce(|best, record| if record.test_accuracy > best.test_accuracy { record } else { best })
    }
}

/// Writes the state.
pub(super) fn save(path: &Path, graph: &Graph, sgd: &Sgd, counters: &Counters) -> Result<(), TrainError> {
    let damaged = |reason: String| TrainError::Damaged { path: path.to_path_buf(), reason };
    let mut tensors: Vec<(String, Vec<usize>, &[f32])> = Vec::new();
    for (_, name, parameter) in graph.parameters() {
        tensors.push((name.into(), parameter.tensor.dims().to_vec(), parameter.tensor.data()));
    }
    for slot in &sgd.slots {
        tensors.push((format!("{VELOCITY}{}", slot.name), vec![slot.velocity.len()], &slot.velocity));
    }
    let bytes: Vec<Vec<u8>> =
        tensors.iter().map(|(_, _, data)| data.iter().flat_map(|x| x.to_le_bytes()).collect()).collect();
    let mut views = Vec::with_capacity(tensors.len());
    for ((name, dims, _), bytes) in tensors.iter().zip(&bytes) {
        let view = TensorView::new(Dtype::F32, dims.clone(), bytes).map_err(|e| damaged(e.to_string()))?;
        views.push((name.as_str(), view));
    }
    let counters = serde_json::to_string(counters).map_err(|e| damaged(e.to_string()))?;
    let metadata = HashMap::from([(COUNTERS.to_string(), counters)]);
    let file = serialize(views, Some(metadata)).map_err(|e| damaged(e.to_string()))?;
    Ok(files::write(path, &file)?)
}

/// Reads the state back into a graph and an optimizer of the same shapes.
pub(super) fn load(path: &Path, graph: &mut Graph, sgd: &mut Sgd) -> Result<Counters, TrainError> {
    let bytes = files::read(path)?;
    let damaged = |reason: String| TrainError::Damaged { path: path.to_path_buf(), reason };
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| damaged(format!("no safetensors file: {e}")))?;
    let tensors = SafeTensors::deserialize(&bytes).map_err(|e| damaged(format!("no safetensors file: {e}")))?;
    let counters = header.metadata().as_ref().and_then(|metadata| metadata.get(COUNTERS));
    let counters = counters.ok_or_else(|| damaged("it was not written by training".into()))?;
    let counters = serde_json::from_str(counters).map_err(|e| damaged(format!("counters: {e}")))?;
    let read = |name: &str, to: &mut [f32]| {
        let view = tensors.tensor(name).map_err(|_| damaged(format!("`{name}` is missing")))?;
        if view.dtype() != Dtype::F32 || view.data().len() != 4 * to.len() {
            return Err(damaged(format!("`{name}` has {:?} elements {:?}", view.shape(), view.dtype())));
        }
        for (to, from) in to.iter_mut().zip(view.data().as_chunks::<4>().0) {
            *to = f32::from_le_bytes(*from);
        }
        Ok(())
    };
    let names: Vec<_> = graph.parameters().map(|(id, name, _)| (id, name.to_string())).collect();
    for (id, name) in names {
        if let Some(tensor) = graph.parameter_mut(id) {
            read(&name, tensor.data_mut())?;
        }
    }
    for slot in &mut sgd.slots {
        read(&format!("{VELOCITY}{}", slot.name), &mut slot.velocity)?;
    }
    Ok(counters)
}
