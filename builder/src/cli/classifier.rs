//! A MODEL that classifies: a float network, or a packed one as the device runs it.

use super::classes;
use super::console::Console;
use super::failure::Failure;
use super::framing;
use super::model::{self, Kind, LEAVE_OUT, Pixels};
use super::packed::Packed;
use super::tensors;
use crate::data::{Dataset, ImageSet};
use crate::session::Session;
use crate::tensor::Tensor;
use crate::zoo;
use skipstone_onnx::{Ending, Graph, Imported, Preprocessing};
use std::path::Path;

/// A network that gives scores for images.
pub(super) enum Classifier {
    /// In float32; and what its file gives of the scores.
    Float(Box<Graph>, Ending),
    /// In int8, by the engine.
    Packed(Packed),
}

impl Classifier {
    /// Reads MODEL; `pixels` says how pixels become its input where the file does not.
    pub(super) fn open(model: &Path, pixels: &Pixels) -> Result<Self, Failure> {
        match model::locate(model)? {
            (file, Kind::Onnx) => {
                let (_, Imported { mut graph, ending, .. }) = model::load(&file)?;
                pixels.complete(&mut graph, &file)?;
                Ok(Self::Float(Box::new(graph), ending))
            }
            (file, Kind::Stone) if pixels.given() => {
                Err(Failure::Usage(format!("{} carries the normalization of its input: {LEAVE_OUT}", file.display())))
            }
            (file, Kind::Stone) => Ok(Self::Packed(Packed::read(&file)?)),
        }
    }

    /// Channels, height, width of an image.
    pub(super) fn dims(&self) -> [usize; 3] {
        match self {
            Self::Float(graph, ..) => model::input_dims(graph),
            Self::Packed(packed) => {
                let input = packed.model().input();
                [input.channels, input.height, input.width].map(usize::from)
            }
        }
    }

    /// How images become its pixels.
    pub(super) fn preprocessing(&self) -> Preprocessing {
        match self {
            Self::Float(graph, ..) => graph.metadata.preprocessing,
            Self::Packed(packed) => framing::of_graph(&packed.model().preprocessing()),
        }
    }

    /// What the network's file gives of the scores.
    pub(super) fn ending(&self) -> Ending {
        match self {
            Self::Float(_, ending) => *ending,
            Self::Packed(packed) => tensors::ending(&packed.model()),
        }
    }

    /// Names of the classes, in the order of the scores; numbers where the file has no names.
    pub(super) fn class_names(&self) -> Vec<String> {
        let (names, count): (Vec<String>, usize) = match self {
            Self::Float(graph, ..) => (graph.metadata.class_names.clone(), graph.value(graph.output()).dims[0]),
            Self::Packed(packed) => {
                let model = packed.model();
                (model.class_names().map(str::to_owned).collect(), model.class_count())
            }
        };
        let name = |class: usize| names.get(class).filter(|name| !name.is_empty()).cloned();
        (0..count).map(|class| name(class).unwrap_or_else(|| class.to_string())).collect()
    }

    /// The network made ready to run.
    pub(super) fn prepare(&self) -> Prepared<'_> {
        match self {
            Self::Float(graph, _) => Prepared::Float(Session::new(graph), graph),
            Self::Packed(packed) => Prepared::Packed(packed),
        }
    }

    /// As [`align`], for the network in `model`.
    pub(super) fn align(&self, model: &Path, data: &mut ImageSet, console: &Console) -> Result<(), Failure> {
        check_dims(model, self.dims(), data.dims)?;
        match self {
            Self::Float(graph, ..) => align(model, graph, data, console),
            Self::Packed(packed) => {
                let packed = packed.model();
                let names: Vec<String> = packed.class_names().map(str::to_owned).collect();
                classes::align(model, packed.class_count(), &names, data, console)
            }
        }
    }
}

/// A [`Classifier`] that is ready to run.
pub(super) enum Prepared<'c> {
    /// In float32.
    Float(Session<'c>, &'c Graph),
    /// In int8, by the engine.
    Packed(&'c Packed),
}

impl Prepared<'_> {
    /// The scores of the chosen images before softmax, `[N, classes]`.
    ///
    /// # Errors
    /// Where a score is no number: damaged weights, or pixels normalized in a way that no network can take.
    pub(super) fn scores(&self, data: &Dataset, indices: &[usize]) -> Result<Tensor, Failure> {
        match self {
            Self::Float(session, graph) => {
                let scores = session.run(&data.batch_for(graph, indices));
                tensors::check_finite(&scores)?;
                Ok(scores)
            }
            Self::Packed(packed) => {
                packed.scores(indices.len(), |engine, index| engine.run(data.image(indices[index])).map(drop))
            }
        }
    }
}

/// Checks that the images of `data` have the size that a network takes and that their classes are its own, by name
/// where both have names. Classes in another order are brought into the network's, which is said.
pub(super) fn align(model: &Path, graph: &Graph, data: &mut ImageSet, console: &Console) -> Result<(), Failure> {
    check_dims(model, model::input_dims(graph), data.dims)?;
    let count = graph.value(graph.output()).dims[0];
    classes::align(model, count, &graph.metadata.class_names, data, console)
}

/// Checks that the images of a data set, of `has`, have the size that a network takes.
pub(super) fn check_dims(model: &Path, takes: [usize; 3], has: [usize; 3]) -> Result<(), Failure> {
    if has == takes {
        return Ok(());
    }
    let (takes, has) = (zoo::dims_text(takes), zoo::dims_text(has));
    Err(Failure::at(model, format!("takes images of {takes}, the data set has {has}")))
}
