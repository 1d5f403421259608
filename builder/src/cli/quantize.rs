//! `skipstone quantize`

use super::console::Console;
use super::failure::Failure;
use super::images::Images;
use super::inspect::peak;
use super::model::{self, Pixels, absorbed};
use super::numbers::Numbers;
use super::table::grouped;
use super::{classifier, outputs};
use crate::data::{Spec, Split};
use crate::pack::{self, Options, Report};
use crate::{files, simulate, train};
use clap::ValueEnum;
use serde::Serialize;
use skipstone_onnx::export;
use std::path::PathBuf;

/// Calibration images, where nobody says how many.
pub(super) const COUNT: u32 = 1024;

/// Quantize a network to int8 and pack it for a device.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// A run or an .onnx file.
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Images to calibrate on, of the train split unless it names another; the accuracies are those on its test split.
    #[arg(long, value_name = "SPEC")]
    calib: Spec,
    /// Number of calibration images, spread over the split.
    #[arg(long, value_name = "N", default_value_t = COUNT, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    /// The packed model to write.
    #[arg(short, long, value_name = "FILE.stone")]
    output: PathBuf,
    /// Also write the quantized network as a QDQ file, which any ONNX engine runs.
    #[arg(long, value_name = "FILE.onnx")]
    qdq: Option<PathBuf>,
    /// Also write the float network with what --equalize and --bias-correction changed, and its int8 scales: `verify` and
    /// `quantize` find the same integers from it.
    #[arg(long, value_name = "FILE.onnx")]
    float: Option<PathBuf>,
    #[command(flatten)]
    numbers: Numbers,
    /// The processor whose kernels the weights are laid out for.
    #[arg(long, value_enum, default_value_t = Target::Generic)]
    target: Target,
    /// What matters most: the arena, or how fast it runs (steps of two rows where kernels want them, for some more RAM), or
    /// the file (without the names of layers).
    #[arg(long, value_enum, default_value_t = Optimize::Ram)]
    optimize: Optimize,
    #[command(flatten)]
    pixels: Pixels,
    #[command(flatten)]
    images: Images,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Target {
    /// Runs everywhere.
    Generic,
    /// Cortex-M4, M7, M33.
    CortexM,
    /// aarch64.
    Neon,
    /// x86-64.
    X86,
}

impl From<Target> for pack::Target {
    fn from(target: Target) -> Self {
        match target {
            Target::Generic => Self::Generic,
            Target::CortexM => Self::CortexM,
            Target::Neon => Self::Neon,
            Target::X86 => Self::X86,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Optimize {
    /// The fastest steps.
    Speed,
    /// The smallest file.
    Size,
    /// The smallest arena.
    Ram,
}

impl From<Optimize> for pack::Goal {
    fn from(optimize: Optimize) -> Self {
        match optimize {
            Optimize::Speed => Self::Speed,
            Optimize::Size => Self::Size,
            Optimize::Ram => Self::Ram,
        }
    }
}

#[derive(Serialize)]
struct Output {
    #[serde(flatten)]
    report: Report,
    accuracy_float: f64,
    accuracy_int8: f64,
}

pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<(), Failure> {
    outputs::check_file(&arguments.output)?;
    for file in [&arguments.qdq, &arguments.float].into_iter().flatten() {
        outputs::check_file(file)?;
    }
    let settings = arguments.numbers.settings()?;
    let (file, mut graph) = model::read_graph(&arguments.model)?;
    let normalization = arguments.pixels.complete(&mut graph, &file)?;
    let (mut graph, normalization) = absorbed(graph, normalization)?;
    let dims = model::input_dims(&graph);
    let load = |spec: &Spec, split| arguments.images.load(spec, split, dims, &graph.metadata.preprocessing, console);
    let calibration = load(&arguments.calib, Split::Train)?;
    let test = Spec { split: Some(Split::Test), ..arguments.calib.clone() };
    let mut test = load(&test, Split::Test)?;
    classifier::align(&file, &graph, &mut test, console)?;
    if graph.metadata.class_names.is_empty() {
        graph.metadata.class_names = test.class_names.clone();
    }
    let calibration = calibration.spread(arguments.count as usize);

    let known = &graph.metadata.quantization;
    if !known.is_empty() && !settings.recalibrate {
        console.say(format!(
            "the file is quantized: the scales and zero points of {} activations and the integers of {} parameters are \
             taken over",
            known.activations.len(),
            known.parameters.len()
        ));
    } else if graph.metadata.activation_scales.is_empty() || settings.recalibrate {
        console.say(format!("calibrating on {} images", calibration.len()));
    } else {
        console.say("the network keeps the int8 scales that it was trained for");
    }
    let options = Options { target: arguments.target.into(), goal: arguments.optimize.into(), settings };
    let quantized = pack::quantize(&graph, &calibration, &options)?;
    console.say(format!("evaluating on {} images", test.len()));
    // The same integers in the layout that this computer is fastest with.
    let generic = pack::pack(&quantized.qgraph, pack::Target::Generic)?;
    let output = Output {
        report: quantized.report,
        accuracy_float: train::evaluate(&graph, &test, &normalization).accuracy,
        accuracy_int8: simulate::evaluate(&generic.bytes, &test)?.accuracy,
    };
    if let Some(qdq) = &arguments.qdq {
        files::write(qdq, &quantized.qdq)?;
    }
    if let Some(float) = &arguments.float {
        files::write(float, &export::export(&quantized.float, export::Batch::default()))?;
    }
    files::write(&arguments.output, &quantized.stone)?;
    let Report { weights_bytes, arena_bytes, input_resident_bytes } = output.report;
    console.show(format!(
        "{}: {} bytes, of which weights {}; arena {} bytes, {} with the image resident",
        arguments.output.display(),
        grouped(quantized.stone.len() as u64),
        grouped(weights_bytes as u64),
        grouped(arena_bytes as u64),
        grouped(input_resident_bytes as u64)
    ))?;
    let aligned = pack::AlignedBytes::copy(&quantized.stone);
    let model = skipstone_runtime::Model::from_bytes(aligned.as_slice()).map_err(pack::PackError::Refused)?;
    console.show(peak(&model))?;
    console.show(format!(
        "accuracy: {:.2} % in float, {:.2} % in int8",
        100.0 * output.accuracy_float,
        100.0 * output.accuracy_int8
    ))?;
    console.result(&output)
}
