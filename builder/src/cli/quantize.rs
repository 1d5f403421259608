//! `skipstone quantize`

use super::classifier::Classifier;
use super::console::Console;
use super::eval::evaluate;
use super::failure::Failure;
use super::images::Images;
use super::inspect::peak;
use super::model::{self, Pixels, absorbed};
use super::numbers::Numbers;
use super::packed::Packed;
use super::table::grouped;
use super::targets::{Target, taken};
use super::{agreement, classifier, outputs};
use crate::data::{Dataset, Spec, Split};
use crate::files;
use crate::host;
use crate::pack::{self, Options, PackError, Quantized, Report};
use crate::quant::{self, Rerounded};
use crate::target::{Core, Limits, Need};
use clap::ValueEnum;
use serde::Serialize;
use skipstone_onnx::{Ending, Graph, export};
use std::path::{Path, PathBuf};

/// Calibration images, by default.
pub(super) const COUNT: u32 = 1024;

/// Quantize a network to int8 and pack it for a device.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  skipstone quantize runs/cifar --calib cifar10:DIR --board nucleo-f446re -o cifar.stone"
)]
pub(super) struct Arguments {
    /// A run or an .onnx file.
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Images to calibrate on: the train split, unless it names another. Accuracies are measured on its test split, if
    /// its classes are the network's.
    #[arg(long, value_name = "SPEC")]
    calib: Spec,
    /// Number of calibration images, spread over the split; their labels do not matter.
    #[arg(
        long,
        value_name = "N",
        default_value_t = COUNT,
        allow_negative_numbers = true,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    count: u32,
    /// Number of test images, spread over the split, on which the accuracies are measured; 0 measures none [default:
    /// all; for large networks as many as take about 2e12 multiply-accumulates, at least 500].
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(0..))]
    eval_count: Option<u32>,
    /// The packed model to write.
    #[arg(short, long, value_name = "FILE.stone")]
    output: PathBuf,
    /// Also write the quantized network as a QDQ file, which any ONNX engine runs.
    #[arg(long, value_name = "FILE.onnx")]
    qdq: Option<PathBuf>,
    /// Also write the float network as --equalize and --bias-correction changed it, with its int8 scales: `verify` and
    /// `quantize` get the same integers from it.
    #[arg(long, value_name = "FILE.onnx")]
    float: Option<PathBuf>,
    #[command(flatten)]
    numbers: Numbers,
    #[command(flatten)]
    target: Target,
    /// What to optimize for: a small arena, speed, or little flash. With --board, --flash or --ram this choice is taken
    /// if it fits, and otherwise the fastest that fits [default: speed with one of these, otherwise ram].
    #[arg(long, value_enum)]
    optimize: Option<Optimize>,
    /// Number of test vectors in the packed model: calibration images with the checksum of every layer and the scores.
    /// With them `selftest` on the board proves that it computes what this computer does. Each takes flash: the bytes
    /// of an image, its scores, and 4 bytes for each layer.
    #[arg(long, value_name = "N", default_value_t = 0)]
    test_vectors: u16,
    #[command(flatten)]
    pixels: Pixels,
    #[command(flatten)]
    images: Images,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Optimize {
    /// The fewest instructions.
    Speed,
    /// The least flash.
    Size,
    /// A small arena.
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
    /// `null` where they are not measured.
    accuracy_float: Option<f64>,
    accuracy_int8: Option<f64>,
    /// Images on which they are measured.
    eval_count: usize,
}

/// Multiply-accumulates of the images on which accuracies are measured, and the fewest images, by
/// default.
const EVAL_MACS: u64 = 2_000_000_000_000;
const EVAL_LEAST: usize = 500;

/// The images that are classified by default with a network of `macs` multiply-accumulates.
pub(super) fn affordable(macs: u64) -> usize {
    usize::try_from(EVAL_MACS / macs.max(1)).unwrap_or(usize::MAX).max(EVAL_LEAST)
}

/// Says of which layers the weights are not the file's.
fn rerounded(layers: &[Rerounded]) -> Option<String> {
    /// Layers that are named.
    const NAMED: usize = 12;
    let name = |Rerounded { layer, channels, of }: &Rerounded| format!("{layer} ({channels} of {of} channels)");
    let mut named: Vec<String> = layers.iter().take(NAMED).map(name).collect();
    if layers.len() > NAMED {
        named.push(format!("{} more", layers.len() - NAMED));
    }
    (!layers.is_empty()).then(|| {
        format!(
            "weights that are no multiples of a scale for each output channel from -127 to 127 are rounded to one: {}",
            named.join(", ")
        )
    })
}

pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<(), Failure> {
    outputs::check_file(&arguments.output)?;
    for file in [&arguments.qdq, &arguments.float].into_iter().flatten() {
        outputs::check_file(file)?;
    }
    let settings = arguments.numbers.settings()?;
    let file = model::locate_graph(&arguments.model)?;
    let (_, mut imported) = model::load(&file)?;
    arguments.pixels.complete(&mut imported.graph, &file)?;
    let source = model::source(&imported);
    let mut graph = absorbed(&file, imported.graph)?;
    graph.metadata.source = source;
    let dims = model::input_dims(&graph);
    let calibration = &arguments.calib;
    let calibration = arguments.images.load(calibration, Split::Train, dims, &graph.metadata.preprocessing, console)?;
    classifier::check_dims(&file, dims, calibration.dims)?;
    let calibration = calibration.spread(arguments.count as usize)?;
    let test = test_images(arguments, &file, &graph, console)?;
    let classes = graph.value(graph.output()).dims[0];
    let named = test.as_ref().unwrap_or(&calibration);
    if graph.metadata.class_names.is_empty() && named.class_names.len() == classes {
        graph.metadata.class_names = named.class_names.clone();
    }

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
    let limits = arguments.target.limits();
    let by_default = if limits.is_some() { Optimize::Speed } else { Optimize::Ram };
    let goal = arguments.optimize.unwrap_or(by_default).into();
    let options = Options { target: arguments.target.core(), goal, limits, settings };
    let mut quantized = pack::quantize(&graph, &calibration, &options).map_err(|error| refusal(&file, error))?;
    if arguments.test_vectors > 0 {
        let vectors = calibration.spread(arguments.test_vectors.into());
        let images: Vec<&[u8]> = (0..vectors.len()).map(|index| vectors.image(index)).collect();
        add_vectors(&file, &mut quantized, &images, &options)?;
    }
    if quantized.goal != goal {
        console.say("what --optimize asks for does not fit: the fastest kernels that fit are taken");
    }
    if let Some(remark) = agreement::rounding_remark(&quantized.qgraph).filter(|_| !settings.recalibrate) {
        console.say(remark);
    }
    if let Some(line) = rerounded(&quant::rerounded(&quantized.float, &quantized.qgraph)) {
        console.say(line);
    }
    let accuracies = match &test {
        Some(test) => Some(accuracies(graph, &quantized, test, console)?),
        None => None,
    };
    let output = Output {
        report: quantized.report,
        accuracy_float: accuracies.map(|[float, _]| float),
        accuracy_int8: accuracies.map(|[_, int8]| int8),
        eval_count: test.as_ref().map_or(0, Dataset::len),
    };
    if let Some(qdq) = &arguments.qdq {
        files::write(qdq, &quantized.qdq)?;
    }
    if let Some(float) = &arguments.float {
        files::write(float, &export::export(&quantized.float, export::Batch::default()))?;
    }
    files::write(&arguments.output, &quantized.stone)?;
    show(arguments, &quantized, &output, console)?;
    console.result(&output)
}

/// Puts test vectors into the packed model, for which it is packed again where it does not fit with them.
fn add_vectors(file: &Path, quantized: &mut Quantized, images: &[&[u8]], options: &Options) -> Result<(), Failure> {
    let mut with = host::with_test_vectors(&quantized.stone, images)?;
    let need = Need::of(&Packed::new(&with)?.model());
    if let Some(limits) = options.limits.filter(|&limits| !need.left(limits).fits()) {
        let flash = limits.flash.saturating_sub((with.len() - quantized.stone.len()) as u64);
        let options = Options { limits: Some(Limits { flash, ..limits }), ..*options };
        quantized.pack_again(&options).map_err(|error| refusal(file, error))?;
        with = host::with_test_vectors(&quantized.stone, images)?;
    }
    quantized.stone = with;
    Ok(())
}

fn refusal(file: &Path, error: PackError) -> Failure {
    let unlimited = "; --target packs for a core whatever its memories are";
    let remedy = if matches!(error, PackError::Misfit { .. }) { unlimited } else { "" };
    Failure::at(file, format!("{error}{remedy}"))
}

fn show(arguments: &Arguments, quantized: &Quantized, output: &Output, console: &Console) -> Result<(), Failure> {
    let Report { weights_bytes, arena_bytes, input_resident_bytes, estimated_instructions } = output.report;
    console.show(format!(
        "{}: {} bytes, of which weights {}; arena {} bytes, {} with the image resident",
        arguments.output.display(),
        grouped(quantized.stone.len() as u64),
        grouped(weights_bytes as u64),
        grouped(arena_bytes as u64),
        grouped(input_resident_bytes as u64)
    ))?;
    let packed = Packed::new(&quantized.stone).map_err(|reason| Failure::at(&arguments.output, reason))?;
    arguments.target.check(&packed.model(), console);
    console.show(peak(&packed.model()))?;
    console.show(format!("convolutions: about {} instructions", grouped(estimated_instructions)))?;
    if let Some(limits) = arguments.target.limits() {
        console.show(taken(Need::of(&packed.model()), limits))?;
    }
    if let (Some(float), Some(int8)) = (output.accuracy_float, output.accuracy_int8) {
        let (float, int8) = (100.0 * float, 100.0 * int8);
        console
            .show(format!("accuracy on {} images: {float:.2} % in float, {int8:.2} % in int8", output.eval_count))?;
    }
    Ok(())
}

/// The images to measure accuracies on; none, and a line that says why, where the data set cannot tell them.
fn test_images(
    arguments: &Arguments,
    file: &Path,
    graph: &Graph,
    console: &Console,
) -> Result<Option<Dataset>, Failure> {
    let unmeasured = |reason: &str| {
        console.say(format!("accuracies are not measured: {reason}"));
        Ok(None)
    };
    if arguments.eval_count == Some(0) {
        return unmeasured("--eval-count is 0");
    }
    let dims = model::input_dims(graph);
    let spec = Spec { split: Some(Split::Test), ..arguments.calib.clone() };
    let mut test = arguments.images.load(&spec, Split::Test, dims, &graph.metadata.preprocessing, console)?;
    if let Err(Failure::Work(reason) | Failure::Usage(reason)) = classifier::align(file, graph, &mut test, console) {
        return unmeasured(&reason);
    }
    let count = arguments.eval_count.map_or_else(|| affordable(graph.macs()), |count| count as usize);
    if count < test.len() {
        console.say(format!("accuracies are those on {count} of {} test images: --eval-count N chooses", test.len()));
    }
    Ok(Some(test.spread(count)?))
}

/// Accuracies of the float network and of its integers.
fn accuracies(graph: Graph, quantized: &Quantized, test: &Dataset, console: &Console) -> Result<[f64; 2], Failure> {
    console.say(format!("evaluating on {} images", test.len()));
    // The same integers in the layout that this computer is fastest with.
    let generic = pack::pack(&quantized.qgraph, Core::Generic)?;
    let int8 = Packed::new(&generic.bytes).map_err(PackError::Refused)?;
    let float = evaluate(&Classifier::Float(Box::new(graph), Ending::Scores), test, "float", console)?;
    let int8 = evaluate(&Classifier::Packed(int8), test, "int8", console)?;
    Ok([float.accuracy, int8.accuracy])
}
