//! `skipstone report`

mod accuracy;
mod charts;
mod costs;
mod device;
mod history;
mod judged;
mod page;
mod pictures;
mod shares;
mod tradeoff;

use super::classifier::Classifier;
use super::console::Console;
use super::failure::Failure;
use super::images::Images;
use super::model::{self, CONFIG, Kind, Pixels, absorbed};
use super::numbers::Numbers;
use super::packed::Packed;
use super::quantize::affordable;
use super::table::grouped;
use super::{outputs, quantize, shell, targets, train};
use crate::data::{Dataset, Spec, Split};
use crate::files;
use crate::pack::{self, PackError};
use crate::quant::{self, Quantization, Sensitivity};
use crate::target::{Board, Limits, packed_for};
use crate::train::Config;
use device::OnDevice;
use history::Epoch;
use judged::Answers;
use serde::Serialize;
use skipstone_onnx::{ChannelOrder, Ending, Graph};
use skipstone_runtime::Model;
use std::path::{Path, PathBuf};

/// Images on which the layers are ranked: at least, at most, and as many as take so many multiply-accumulates in all.
const RANKED: [usize; 2] = [32, 500];
const RANKED_MACS: u64 = 500_000_000_000;

/// Write a self-contained HTML page about a run, an .onnx or a .stone file: training curves, errors, the cost of int8,
/// and what it takes on a board.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  skipstone report runs/cifar -o report.html")]
pub(super) struct Arguments {
    /// A run, an .onnx file or a .stone file.
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// The page to write.
    #[arg(short, long, value_name = "FILE.html")]
    output: PathBuf,
    /// The data set to evaluate on: its test split, unless it names another. A run knows its own. Without one the page
    /// has no accuracies.
    #[arg(long, value_name = "SPEC")]
    data: Option<Spec>,
    /// The packed model, of a run or an .onnx file [default: the network is quantized here, calibrated on the data
    /// set's train split, and packed for the board].
    #[arg(long, value_name = "FILE.stone")]
    stone: Option<PathBuf>,
    /// The board whose core the layers' costs are for [default: nucleo-f446re, a Cortex-M4, or the first board of the
    /// core that the .stone file is packed for].
    #[arg(long, value_name = "NAME", value_parser = targets::board)]
    board: Option<&'static Board>,
    /// Number of test images, spread over the split [default: all; for large networks as many as take about 2e12
    /// multiply-accumulates, at least 500].
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..))]
    count: Option<u32>,
    #[command(flatten)]
    numbers: Numbers,
    #[command(flatten)]
    pixels: Pixels,
    #[command(flatten)]
    images: Images,
}

/// The images that a network is judged by.
struct Test {
    spec: Spec,
    /// Images of the split, of which `data` may be a part.
    of: usize,
    data: Dataset,
    /// Whether the channels are blue, green, red.
    bgr: bool,
}

/// All that the page tells.
struct Findings {
    name: String,
    config: Option<Config>,
    epochs: Option<Vec<Epoch>>,
    /// In float and in int8.
    networks: [Option<Classifier>; 2],
    device: Option<OnDevice>,
    test: Option<Test>,
    /// Of both networks.
    answers: [Option<Answers>; 2],
    sensitivity: Option<Sensitivity>,
    /// How to make it again.
    commands: Vec<String>,
}

impl Findings {
    /// The answers of the float and of the int8 network, where there are such.
    fn answers(&self) -> [Option<&Answers>; 2] {
        self.answers.each_ref().map(Option::as_ref)
    }

    /// The float network.
    fn graph(&self) -> Option<&Graph> {
        self.networks.iter().flatten().find_map(graph)
    }

    /// The packed model.
    fn model(&self) -> Option<Model<'static>> {
        self.networks.iter().flatten().find_map(model_of)
    }
}

fn graph(network: &Classifier) -> Option<&Graph> {
    match network {
        Classifier::Float(graph, _) => Some(graph),
        Classifier::Packed(_) => None,
    }
}

fn model_of(network: &Classifier) -> Option<Model<'static>> {
    match network {
        Classifier::Float(..) => None,
        Classifier::Packed(packed) => Some(packed.model()),
    }
}

#[derive(Serialize)]
struct Output {
    report: PathBuf,
    bytes: usize,
    /// `null` where there is no data set or no network of the kind.
    accuracy_float: Option<f64>,
    accuracy_int8: Option<f64>,
    /// Images on which they are measured.
    count: usize,
}

pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<(), Failure> {
    outputs::check_file(&arguments.output)?;
    let findings = gather(arguments, console)?;
    let page = page::page(&findings);
    files::write(&arguments.output, page.as_bytes())?;
    let [accuracy_float, accuracy_int8] = findings.answers().map(|answers| answers.map(Answers::accuracy));
    let count = findings.test.as_ref().map_or(0, |test| test.data.len());
    console.show(format!("{}: {} bytes", arguments.output.display(), grouped(page.len() as u64)))?;
    console.result(&Output {
        report: arguments.output.clone(),
        bytes: page.len(),
        accuracy_float,
        accuracy_int8,
        count,
    })
}

fn gather(arguments: &Arguments, console: &Console) -> Result<Findings, Failure> {
    let (file, kind) = model::locate(&arguments.model)?;
    let run = arguments.model.is_dir().then_some(arguments.model.as_path());
    let (config, epochs) = match run {
        Some(folder) => (train::stored_settings(folder)?, history::read(folder)?),
        None => (None, None),
    };
    if let (Some(folder), None) = (run, &epochs) {
        console.say(format!("{} holds no history.csv: the page has no curves", folder.display()));
    }
    let spec = match (&arguments.data, &config) {
        (Some(spec), _) => Some(spec.clone()),
        (None, Some(config)) => {
            Some(config.data.parse::<Spec>().map_err(|error| Failure::at(&arguments.model.join(CONFIG), error))?)
        }
        (None, None) => None,
    };
    let mut commands = Vec::new();
    let (float, packed) = match kind {
        Kind::Stone if arguments.stone.is_some() => {
            return Err(Failure::Usage("--stone is for a run or an .onnx file: MODEL is a .stone file".into()));
        }
        Kind::Stone => (None, Some(Packed::read(&file)?)),
        Kind::Onnx => {
            let mut graph = model::import(&file)?;
            arguments.pixels.complete(&mut graph, &file)?;
            commands.extend(graph.metadata.command.clone());
            let packed = arguments.stone.as_deref().map(Packed::read).transpose()?;
            (Some(absorbed(&file, graph)?), packed)
        }
    };
    if spec.is_none() {
        console.say("no data set is named: the page has no accuracies; --data names one");
    }
    let core = packed.as_ref().map(|packed| packed_for(&packed.model()));
    let board = device::board(arguments.board, core);
    if let (Some(packed), Some(board)) = (&packed, board) {
        let stone = arguments.stone.as_deref().unwrap_or(&file);
        targets::check_core(stone, &packed.model(), board.core, console)?;
    }
    let name = name(&file, float.as_ref(), run);
    let mut networks =
        [float.map(|graph| Classifier::Float(Box::new(graph), Ending::Scores)), packed.map(Classifier::Packed)];
    let test = match (&spec, networks.iter().flatten().next()) {
        (Some(spec), Some(network)) => Some(test_images(arguments, spec, &file, network, console)?),
        _ => None,
    };
    let quantization = match (networks[0].as_ref().and_then(graph), &spec) {
        (Some(graph), Some(spec)) => Some(quantize(arguments, graph, spec, &file, console)?),
        _ => None,
    };
    if let (None, Some(quantization), Some(board)) = (&networks[1], &quantization, board) {
        let (packed, target) = pack_for(quantization, board, console)?;
        networks[1] = Some(Classifier::Packed(packed));
        commands.push(quantize_command(arguments, spec.as_ref(), &target)?);
    }
    commands.push(report_command());
    let judge = |network: &Option<Classifier>, label| match (network, &test) {
        (Some(network), Some(test)) => Answers::of(network, &test.data, label, console).map(Some),
        _ => Ok(None),
    };
    let answers = [judge(&networks[0], "float")?, judge(&networks[1], "int8")?];
    let sensitivity = match (&quantization, &test) {
        (Some(quantization), Some(test)) => Some(rank(quantization, &test.data, console)),
        _ => None,
    };
    let device = match networks.iter().flatten().find_map(model_of) {
        Some(model) => Some(OnDevice::of(&model, board)?),
        None => None,
    };
    Ok(Findings { name, config, epochs, networks, device, test, answers, sensitivity, commands })
}

/// What the page is called.
fn name(file: &Path, float: Option<&Graph>, run: Option<&Path>) -> String {
    let of_path = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    match float {
        Some(graph) if run.is_some() && !graph.name.is_empty() => graph.name.clone(),
        _ => of_path(file),
    }
}

/// The images to judge by, with the classes of the network.
fn test_images(
    arguments: &Arguments,
    spec: &Spec,
    file: &Path,
    network: &Classifier,
    console: &Console,
) -> Result<Test, Failure> {
    let preprocessing = network.preprocessing();
    let mut data = arguments.images.load(spec, Split::Test, network.dims(), &preprocessing, console)?;
    network.align(file, &mut data, console)?;
    let of = data.len();
    let macs = graph(network).map(Graph::macs).or(model_of(network).map(|model| model.header().macs));
    let count = arguments.count.map_or_else(|| affordable(macs.unwrap_or(0)), |count| count as usize);
    let spec = Spec { split: Some(spec.split.unwrap_or(Split::Test)), ..spec.clone() };
    Ok(Test { spec, of, data: data.spread(count)?, bgr: preprocessing.channels == ChannelOrder::Bgr })
}

fn quantize(
    arguments: &Arguments,
    graph: &Graph,
    spec: &Spec,
    file: &Path,
    console: &Console,
) -> Result<Quantization, Failure> {
    let train = Spec { split: Some(Split::Train), ..spec.clone() };
    let (dims, preprocessing) = (model::input_dims(graph), &graph.metadata.preprocessing);
    let images = arguments.images.load(&train, Split::Train, dims, preprocessing, console)?;
    let images = images.spread(quantize::COUNT as usize)?;
    console.say(format!("quantizing, calibrated on {} images", images.len()));
    quant::quantize(graph, &images, &arguments.numbers.settings()?).map_err(|error| Failure::at(file, error))
}

/// Ranks the layers on as many images as are affordable.
fn rank(quantization: &Quantization, test: &Dataset, console: &Console) -> Sensitivity {
    let layers = quantization.qgraph.nodes.len();
    let macs = quantization.float.macs().saturating_mul(layers as u64).max(1);
    let [least, most] = RANKED;
    let images = test.spread(usize::try_from(RANKED_MACS / macs).unwrap_or(most).clamp(least, most));
    let bar = console.bar("ranking", layers, "layers");
    let sensitivity = quant::sensitivity(quantization, &images, &mut || bar.inc(1));
    bar.finish_and_clear();
    sensitivity
}

/// As `quantize --board` packs, or for the board's core where nothing fits the board; with the options that say so.
fn pack_for(quantization: &Quantization, board: &Board, console: &Console) -> Result<(Packed, String), Failure> {
    let qgraph = &quantization.qgraph;
    let (packed, target) = match pack::pack_within(qgraph, board.core, pack::Goal::Speed, Some(Limits::of(board))) {
        Err(error @ PackError::Misfit { .. }) => {
            console.say(format!("{}: {error}", board.name));
            (pack::pack(qgraph, board.core)?, format!("--target {}", board.core.name()))
        }
        packed => (packed?, format!("--board {}", board.name)),
    };
    Ok((Packed::new(&packed.bytes).map_err(PackError::Refused)?, target))
}

/// The command that makes the page's packed model; a comment where it needs options of the report's own command as
/// well.
fn quantize_command(arguments: &Arguments, spec: Option<&Spec>, target: &str) -> Result<String, Failure> {
    let data = spec.map_or(String::new(), |spec| format!(" --calib {}", Spec { split: None, ..spec.clone() }));
    let usual = !arguments.pixels.given() && arguments.numbers.settings()? == quant::Settings::default();
    let remark = if usual { "" } else { "  # and the options for pixels and numbers below" };
    Ok(format!("skipstone quantize {}{data} {target} -o model.stone{remark}", arguments.model.display()))
}

/// The command that runs.
fn report_command() -> String {
    shell::line(std::iter::once("skipstone".into()).chain(std::env::args_os().skip(1)))
}
