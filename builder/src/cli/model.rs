//! MODEL: a run, an `.onnx` file or a `.stone` file.

use super::console::remark;
use super::failure::Failure;
use super::framing::{Framing, check_scale};
use crate::files;
use crate::passes::absorb_preprocessing;
use skipstone_onnx::proto::ModelProto;
use skipstone_onnx::{Graph, ImportError, Imported, Normalization, Source, import as onnx};
use std::path::{Path, PathBuf};

/// The file that a run keeps its best network in.
pub(super) const RUN_MODEL: &str = "model.onnx";

/// The file that a run keeps its settings in.
pub(super) const CONFIG: &str = "config.toml";

/// What a MODEL argument names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A float network.
    Onnx,
    /// A packed int8 network.
    Stone,
}

/// The file that `model` stands for, and what it holds.
pub(super) fn locate(model: &Path) -> Result<(PathBuf, Kind), Failure> {
    if model.is_dir() {
        let file = model.join(RUN_MODEL);
        if !file.is_file() {
            let reason = format!("holds no {RUN_MODEL}: it is no run, or its first epoch is not over");
            return Err(Failure::at(model, reason));
        }
        return Ok((file, Kind::Onnx));
    }
    match model.extension().and_then(|extension| extension.to_str()) {
        Some("onnx") => Ok((model.into(), Kind::Onnx)),
        Some("stone") => Ok((model.into(), Kind::Stone)),
        _ if !model.exists() => {
            Err(files::read(model).err().map_or_else(|| Failure::at(model, "cannot be read"), Failure::from))
        }
        _ => Err(Failure::Usage(format!("{} is neither a run's folder nor an .onnx or .stone file", model.display()))),
    }
}

/// The `.onnx` file that `model` stands for.
pub(super) fn locate_graph(model: &Path) -> Result<PathBuf, Failure> {
    match locate(model)? {
        (file, Kind::Onnx) => Ok(file),
        (file, Kind::Stone) => Err(Failure::Usage(format!(
            "{} is packed for a device: give the run or the .onnx file that it was made from",
            file.display()
        ))),
    }
}

/// Reads a float network from a run or an `.onnx` file; also gives the file.
pub(super) fn read_graph(model: &Path) -> Result<(PathBuf, Graph), Failure> {
    let file = locate_graph(model)?;
    let graph = import(&file)?;
    Ok((file, graph))
}

/// The network of `file` without what it does to its input first; its normalization stands for both.
pub(super) fn absorbed(file: &Path, graph: Graph) -> Result<Graph, Failure> {
    absorb_preprocessing(graph).map_err(|error| Failure::at(file, error))
}

/// Reads an `.onnx` file, with the weights that it keeps beside it.
pub(super) fn import(file: &Path) -> Result<Graph, Failure> {
    load(file).map(|(_, imported)| imported.graph)
}

/// As [`import`]; also gives the file's own model, and says how it differs from the graph.
pub(super) fn load(file: &Path) -> Result<(ModelProto, Imported), Failure> {
    let read = || {
        let model = onnx::load(file)?;
        let imported = onnx::read(&model)?;
        Ok((model, imported))
    };
    read().map_err(|error: ImportError| match error {
        ImportError::File { .. } => error.into(),
        // Reading it here says what stands in its place, if something does.
        error => files::read(file).err().map_or_else(|| Failure::at(file, error), Failure::from),
    })
}

/// How the file that was read takes its image; `None` where its graph does not say how pixels are normalized.
pub(super) fn source(imported: &Imported) -> Option<Source> {
    Some(Source {
        channels_last: imported.channels_last,
        integers: imported.graph.metadata.quantization.input,
        ending: imported.ending,
        normalization: imported.graph.metadata.normalization.clone()?,
    })
}

/// Channels, height, width of an image that a network takes.
pub(super) fn input_dims(graph: &Graph) -> [usize; 3] {
    graph.value(graph.input()).dims.as_slice().try_into().expect("a graph's input is an image")
}

/// What to do if a file carries its own normalization.
pub(super) const LEAVE_OUT: &str = "leave out --raw, --mean and --std, --channels, --fit, --resize and --filter";

/// How pixels become the input of a network whose file does not say it.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Pixels {
    /// The network takes pixels 0..255 as they are (for files without normalization).
    #[arg(long, conflicts_with_all = ["mean", "std"])]
    raw: bool,
    /// Mean of each channel, of pixels scaled to 0..1 (for files without normalization).
    #[arg(long, value_name = "M,M,M", value_delimiter = ',', requires = "std", allow_hyphen_values = true)]
    mean: Option<Vec<f32>>,
    /// Standard deviation of each channel, of pixels scaled to 0..1.
    #[arg(long, value_name = "S,S,S", value_delimiter = ',', requires = "mean", allow_hyphen_values = true)]
    std: Option<Vec<f32>>,
    #[command(flatten)]
    framing: Framing,
}

impl Pixels {
    /// Whether the command says how.
    pub(super) fn given(&self) -> bool {
        self.raw || self.mean.is_some() || self.framing.given()
    }

    /// Sets preprocessing and normalization of a network that was read from `file`; refuses to guess a normalization,
    /// or to override the file's own.
    pub(super) fn complete(&self, graph: &mut Graph, file: &Path) -> Result<(), Failure> {
        let shown = file.display();
        let channels = input_dims(graph)[0];
        // What integers of a file are is a default, which the command may override.
        let integers = graph.metadata.quantization.input;
        if let Some(integers) = integers.filter(|_| self.mean.is_none()) {
            let what = if integers.signed { "int8: pixels less 128" } else { "uint8: pixels as they are" };
            remark(format!("{shown} takes {what}"));
        }
        let normalization = match (&graph.metadata.normalization, &self.mean, &self.std) {
            (Some(_), ..) if self.given() && integers.is_none() => {
                return Err(Failure::Usage(format!("{shown} carries the normalization of its input: {LEAVE_OUT}")));
            }
            (_, Some(mean), Some(std)) => {
                check_scale(mean, std)?;
                Normalization { mean: mean.clone(), std: std.clone() }
            }
            (Some(own), ..) => own.clone(),
            (None, ..) if self.raw => Normalization { mean: vec![0.0; channels], std: vec![1.0 / 255.0; channels] },
            (None, ..) => {
                return Err(Failure::Usage(format!(
                    "{shown} does not say how pixels become its input: give --raw if it takes them as 0..255, or \
                     --mean and --std"
                )));
            }
        };
        for (flag, values) in [("--mean", &normalization.mean), ("--std", &normalization.std)] {
            let count = values.len();
            if count != channels {
                return Err(Failure::Usage(format!(
                    "{flag} has {count} values, the input of {shown} has {channels} channels"
                )));
            }
            if values.iter().any(|value| !value.is_finite()) {
                return Err(Failure::Usage(format!("{flag} must be finite")));
            }
        }
        if normalization.std.iter().any(|&std| std <= 0.0) {
            return Err(Failure::Usage("--std must be positive".into()));
        }
        let preprocessing = self.framing.apply(graph.metadata.preprocessing, input_dims(graph))?;
        graph.metadata.preprocessing = preprocessing;
        graph.metadata.normalization = Some(normalization);
        Ok(())
    }
}
