//! `last.safetensors`: everything that is needed to resume training.

use super::average::Average;
use super::{EpochRecord, TrainError, optimizer};
use crate::files;
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use serde::{Deserialize, Serialize};
use skipstone_onnx::Graph;
use std::collections::HashMap;
use std::path::Path;

/// The key of the counters among the file's metadata.
const COUNTERS: &str = "skipstone";
/// The key of the names of the classes, as JSON.
const CLASSES: &str = "classes";
/// What stands before a parameter's name in the name of its average.
const AVERAGE: &str = "average/";

/// Where training stands, besides its tensors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Counters {
    /// Whole epochs that are done.
    pub(super) epoch: usize,
    /// Batches of the current epoch that are done.
    pub(super) batch: usize,
    /// Steps of the optimizer that are done.
    pub(super) steps: u64,
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

/// What changes from step to step.
pub(super) struct State {
    pub(super) graph: Graph,
    pub(super) optimizer: optimizer::State,
    pub(super) average: Option<Average>,
}

/// Writes the state; the optimizer's steps are among the counters.
pub(super) fn save(path: &Path, state: &State, counters: &Counters) -> Result<(), TrainError> {
    let damaged = |reason: String| TrainError::Damaged { path: path.to_path_buf(), reason };
    let mut tensors: Vec<(String, Vec<usize>, &[f32])> = Vec::new();
    let averages = state.average.as_ref().map(|average| &average.graph);
    for (prefix, graph) in [("", Some(&state.graph)), (AVERAGE, averages)] {
        for (_, name, parameter) in graph.into_iter().flat_map(Graph::parameters) {
            tensors.push((format!("{prefix}{name}"), parameter.tensor.dims().to_vec(), parameter.tensor.data()));
        }
    }
    for (name, vector) in state.optimizer.vectors() {
        tensors.push((name, vec![vector.len()], vector));
    }
    let bytes: Vec<Vec<u8>> =
        tensors.iter().map(|(_, _, data)| data.iter().flat_map(|x| x.to_le_bytes()).collect()).collect();
    let mut views = Vec::with_capacity(tensors.len());
    for ((name, dims, _), bytes) in tensors.iter().zip(&bytes) {
        let view = TensorView::new(Dtype::F32, dims.clone(), bytes).map_err(|e| damaged(e.to_string()))?;
        views.push((name.as_str(), view));
    }
    let counters = Counters { steps: state.optimizer.steps, ..counters.clone() };
    let counters = serde_json::to_string(&counters).map_err(|e| damaged(e.to_string()))?;
    let classes = serde_json::to_string(&state.graph.metadata.class_names).map_err(|e| damaged(e.to_string()))?;
    let metadata = HashMap::from([(COUNTERS.to_string(), counters), (CLASSES.to_string(), classes)]);
    let file = serialize(views, Some(metadata)).map_err(|e| damaged(e.to_string()))?;
    Ok(files::write(path, &file)?)
}

/// Whether the classes whose names are in a state are those of the network that it is for; older states have none.
fn check_classes(path: &Path, names: Option<&String>, state: &State) -> Result<(), TrainError> {
    let now = &state.graph.metadata.class_names;
    let was: Vec<String> = match names {
        Some(names) => serde_json::from_str(names)
            .map_err(|e| TrainError::Damaged { path: path.to_path_buf(), reason: format!("classes: {e}") })?,
        None => return Ok(()),
    };
    if was == *now {
        return Ok(());
    }
    let [was, is] = [&was, now].map(|names| names.join(", "));
    Err(TrainError::Classes { path: path.to_path_buf(), was, is })
}

/// Reads the state back into one of the same graph and settings, from the `bytes` of the file `path`.
pub(super) fn load(path: &Path, bytes: &[u8], state: &mut State) -> Result<Counters, TrainError> {
    let damaged = |reason: String| TrainError::Damaged { path: path.to_path_buf(), reason };
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| damaged(format!("no safetensors file: {e}")))?;
    let tensors = SafeTensors::deserialize(bytes).map_err(|e| damaged(format!("no safetensors file: {e}")))?;
    let counters = header.metadata().as_ref().and_then(|metadata| metadata.get(COUNTERS));
    let counters = counters.ok_or_else(|| damaged("it was not written by training".into()))?;
    let counters: Counters = serde_json::from_str(counters).map_err(|e| damaged(format!("counters: {e}")))?;
    check_classes(path, header.metadata().as_ref().and_then(|metadata| metadata.get(CLASSES)), state)?;
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
    let averages = state.average.as_mut().map(|average| &mut average.graph);
    for (prefix, graph) in [("", Some(&mut state.graph)), (AVERAGE, averages)] {
        let Some(graph) = graph else { continue };
        let names: Vec<_> = graph.parameters().map(|(id, name, _)| (id, format!("{prefix}{name}"))).collect();
        for (id, name) in names {
            if let Some(tensor) = graph.parameter_mut(id) {
                read(&name, tensor.data_mut())?;
            }
        }
    }
    for (name, vector) in state.optimizer.vectors_mut() {
        read(&name, vector)?;
    }
    state.optimizer.steps = counters.steps;
    Ok(counters)
}
