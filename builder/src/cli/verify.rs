//! `skipstone verify`

use super::agreement::{self, Checks, FLOAT_LIMIT};
use super::console::Console;
use super::failure::Failure;
use super::images::Images;
use super::model::{self, Pixels, absorbed};
use super::packed::Packed;
use super::verify_board::{OnBoard, Told};
use super::{classifier, per_node, verify_board};
use crate::data::{Dataset, Spec, Split};
use crate::pack::{self, Options};
use crate::passes::fold_batch_norm;
use crate::quant::lower_with_scales;
use crate::verify::{FileAgreement, FloatAgreement, Int8Agreement, QuantizedFile};
use serde::Serialize;
use skipstone_onnx::{Graph, Imported};
use std::path::{Path, PathBuf};

/// Calibration images where no packed model is given.
const CALIBRATION: usize = 1024;

/// Compare with tract: float scores, and int8 layer by layer on the same inputs and end to end.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  skipstone verify runs/cifar --stone cifar.stone --data cifar10:DIR --count 100")]
pub(super) struct Arguments {
    /// A run or an .onnx file; with --on also a .stone file.
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// The packed model that was made from it. Without one, it is quantized here.
    #[arg(long, value_name = "FILE")]
    stone: Option<PathBuf>,
    /// The images to compare on; of the test split, unless it names another.
    #[arg(long, value_name = "SPEC")]
    data: Spec,
    /// Number of images.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 100,
        allow_negative_numbers = true,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    count: u32,
    /// Also compare every float node on the same operands, list every node and layer, and name the first that differs.
    #[arg(long)]
    per_node: bool,
    /// Compare only the float scores: for networks that cannot be quantized.
    #[arg(long, conflicts_with = "stone")]
    float_only: bool,
    /// Compare the integers only with our own QDQ file, not with those of a quantized MODEL: for files that tract
    /// cannot run.
    #[arg(long, conflicts_with = "float_only")]
    skip_file: bool,
    #[command(flatten)]
    on_board: OnBoard,
    #[command(flatten)]
    pixels: Pixels,
    #[command(flatten)]
    images: Images,
}

#[derive(Serialize)]
struct Output {
    #[serde(flatten)]
    float: FloatAgreement,
    #[serde(flatten)]
    int8: Option<Int8Agreement>,
    #[serde(flatten)]
    of_file: Option<FileAgreement>,
    /// The number of images, where `int8` does not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<usize>,
    #[serde(flatten)]
    nodes: Option<per_node::Output>,
}

pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<(), Failure> {
    if arguments.on_board.given() {
        let Arguments { model, stone, data, count, on_board, pixels, images, .. } = arguments;
        let told = Told { model, stone: stone.as_deref(), data, count: *count as usize, pixels, images: *images };
        return verify_board::run(on_board, &told, console);
    }
    let file = model::locate_graph(&arguments.model)?;
    let (model, imported) = model::load(&file)?;
    let model = imported.in_float(model);
    let Imported { mut graph, channels_last, scores, rounded, .. } = imported;
    arguments.pixels.complete(&mut graph, &file)?;
    let dims = model::input_dims(&graph);
    let mut data = arguments.images.load(&arguments.data, Split::Test, dims, &graph.metadata.preprocessing, console)?;
    classifier::align(&file, &graph, &mut data, console)?;
    let images = data.spread(arguments.count as usize)?;

    // A file that rounds its activations does not have the float network's scores.
    let quantized = !graph.metadata.quantization.is_empty();
    let float = if quantized {
        console.say("the file is quantized: its weights are compared as a float network, its integers with ours");
        agreement::float(&graph, &images, console)
    } else {
        agreement::float_of_file(&graph, &model, channels_last, &images, console)
    };
    let (float, largest) = float.map_err(|failure| failure.of(&file))?;
    let mut checks = Checks::new();
    checks.add_float(&float, FLOAT_LIMIT * largest.max(1.0));
    let compare_nodes = || per_node::compare(&graph, &images).map_err(|failure| failure.of(&file));
    let mut nodes = arguments.per_node.then(compare_nodes).transpose()?;
    if let Some(nodes) = &nodes {
        nodes.show(console)?;
        nodes.check(&mut checks);
    }
    let (mut int8, mut of_file) = (None, None);
    if !arguments.float_only {
        let theirs = QuantizedFile { model: &model, channels_last, scores: &scores, rounded: &rounded };
        let theirs = Some(&theirs).filter(|_| quantized && !arguments.skip_file);
        if quantized && theirs.is_none() {
            console.say("--skip-file: our integers are compared with our own QDQ file, not with those of the file");
        }
        let agreement;
        (agreement, of_file) = compare_int8(arguments, &file, graph, &images, theirs, console)?;
        show_int8(arguments, &agreement, of_file.as_ref(), &mut checks, console)?;
        if let Some(nodes) = &mut nodes {
            nodes.add_int8(&agreement, console)?;
        }
        int8 = Some(agreement);
    }
    checks.show(console)?;
    let count = int8.is_none().then_some(images.len());
    console.result(&Output { float, int8, of_file, count, nodes })?;
    checks.verdict(&file)
}

/// Shows the layers, and adds the checks of them.
fn show_int8(
    arguments: &Arguments,
    agreement: &Int8Agreement,
    of_file: Option<&FileAgreement>,
    checks: &mut Checks,
    console: &Console,
) -> Result<(), Failure> {
    checks.add_int8(agreement);
    if let Some(table) = agreement::layers(agreement, arguments.per_node) {
        console.show(table)?;
    }
    if let Some(of_file) = of_file {
        checks.add_file(of_file, agreement.count);
        if let Some(table) = agreement::file_layers(of_file, arguments.per_node) {
            console.show(table)?;
        }
        if let Some(remark) = agreement::rescaled(of_file) {
            console.show(remark)?;
        }
    }
    let equal = 100.0 * agreement.int8_end_to_end_fraction;
    console.show(format!("int8 end to end: {equal:.4} % of the elements are equal"))
}

/// Packs the network, or reads the packed model, and compares it with the QDQ file; and with `theirs`, the network's
/// own file, where that is quantized.
fn compare_int8(
    arguments: &Arguments,
    file: &Path,
    graph: Graph,
    images: &Dataset,
    theirs: Option<&QuantizedFile<'_>>,
    console: &Console,
) -> Result<(Int8Agreement, Option<FileAgreement>), Failure> {
    let graph = absorbed(file, graph)?;
    let (folded, qgraph, packed) = if let Some(path) = &arguments.stone {
        let packed = Packed::read(path)?;
        let folded = fold_batch_norm(&graph).map_err(|error| Failure::at(file, error))?;
        let qgraph = lower_with_scales(&folded, &packed.model()).map_err(|error| Failure::at(path, error))?;
        (folded, qgraph, packed)
    } else {
        let train = Spec { split: Some(Split::Train), ..arguments.data.clone() };
        let (dims, preprocessing) = (model::input_dims(&graph), &graph.metadata.preprocessing);
        let calibration = arguments.images.load(&train, Split::Train, dims, preprocessing, console)?;
        let calibration = calibration.spread(CALIBRATION)?;
        console.say(format!("quantizing, calibrated on {} images of the train split", calibration.len()));
        let quantized = pack::quantize(&graph, &calibration, &Options::default());
        let quantized = quantized.map_err(|error| Failure::at(file, error))?;
        let packed = Packed::new(&quantized.stone).map_err(pack::PackError::Refused)?;
        (quantized.float, quantized.qgraph, packed)
    };
    if let Some(remark) = agreement::rounding_remark(&qgraph) {
        console.say(remark);
    }
    agreement::int8((&folded, &qgraph), packed.on_host(), theirs, images, console).map_err(|failure| failure.of(file))
}
