//! `skipstone verify`

use super::agreement::{self, Checks, FLOAT_LIMIT};
use super::console::Console;
use super::failure::Failure;
use super::images::Images;
use super::model::{self, Pixels, absorbed};
use super::packed::Packed;
use super::{classifier, per_node};
use crate::data::{Dataset, Spec, Split};
use crate::pack::{self, Options};
use crate::passes::fold_batch_norm;
use crate::quant::{lower_with_scales, to_qdq};
use crate::verify::{FloatAgreement, Int8Agreement};
use serde::Serialize;
use skipstone_onnx::proto::ModelProto;
use skipstone_onnx::{Batch, Graph, Normalization};
use std::path::PathBuf;

/// Calibration images where no packed model is given.
const CALIBRATION: usize = 1024;

/// Compare our execution with tract: float scores, and int8 layer by layer on the same inputs and end to end.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// A run or an .onnx file.
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// The packed model that was made from it; without one, it is quantized here.
    #[arg(long, value_name = "FILE")]
    stone: Option<PathBuf>,
    /// The images to compare on; of the test split, unless it names another.
    #[arg(long, value_name = "SPEC")]
    data: Spec,
    /// Number of images.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    /// Also compare every float node on the same operands, list every node and layer, and name the first that differs.
    #[arg(long)]
    per_node: bool,
    /// Compare float scores alone: for networks that cannot be quantized.
    #[arg(long, conflicts_with = "stone")]
    float_only: bool,
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
    /// The number of images, where `int8` does not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<usize>,
    #[serde(flatten)]
    nodes: Option<per_node::Output>,
}

pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<(), Failure> {
    let file = model::locate_graph(&arguments.model)?;
    let (model, imported) = model::load(&file)?;
    let model = imported.in_float(model);
    let (mut graph, channels_last) = (imported.graph, imported.channels_last);
    let normalization = arguments.pixels.complete(&mut graph, &file)?;
    let dims = model::input_dims(&graph);
    let mut data = arguments.images.load(&arguments.data, Split::Test, dims, &graph.metadata.preprocessing, console)?;
    classifier::align(&file, &graph, &mut data, console)?;
    let images = data.spread(arguments.count as usize);

    // A file that rounds its activations does not have the float network's scores.
    let quantized = !graph.metadata.quantization.is_empty();
    let (float, largest) = if quantized {
        console.say("the file is quantized: its weights are compared as a float network, its integers with ours");
        agreement::float(&graph, &normalization, &images, console)?
    } else {
        agreement::float_of_file(&graph, &model, channels_last, &normalization, &images, console)?
    };
    let mut checks = Checks::new();
    checks.add_float(&float, FLOAT_LIMIT * largest.max(1.0));
    let mut nodes = arguments.per_node.then(|| per_node::compare(&graph, &normalization, &images)).transpose()?;
    if let Some(nodes) = &nodes {
        nodes.show(console)?;
        nodes.check(&mut checks);
    }
    let mut int8 = None;
    if !arguments.float_only {
        let file = quantized.then_some((&model, channels_last));
        let agreement = compare_int8(arguments, graph, normalization, &images, file, &mut checks, console)?;
        checks.add_int8(&agreement);
        if let Some(table) = agreement::layers(&agreement, arguments.per_node) {
            console.show(table)?;
        }
        let equal = 100.0 * agreement.int8_end_to_end_fraction;
        console.show(format!("int8 end to end: {equal:.4} % of the elements are equal"))?;
        if let Some(nodes) = &mut nodes {
            nodes.add_int8(&agreement, console)?;
        }
        int8 = Some(agreement);
    }
    checks.show(console)?;
    let count = int8.is_none().then_some(images.len());
    console.result(&Output { float, int8, count, nodes })?;
    checks.verdict()
}

/// Packs the network, or reads the packed model, and compares it with the QDQ file; and with `file`, the network's own,
/// where that is quantized.
fn compare_int8(
    arguments: &Arguments,
    graph: Graph,
    normalization: Normalization,
    images: &Dataset,
    file: Option<(&ModelProto, bool)>,
    checks: &mut Checks,
    console: &Console,
) -> Result<Int8Agreement, Failure> {
    let (graph, normalization) = absorbed(graph, normalization)?;
    let (qgraph, stone) = if let Some(path) = &arguments.stone {
        let packed = Packed::read(path)?;
        let folded = fold_batch_norm(&graph)?;
        let qgraph = lower_with_scales(&folded, &packed.model()).map_err(|error| Failure::at(path, error))?;
        (qgraph, packed.bytes().to_vec())
    } else {
        let train = Spec { split: Some(Split::Train), ..arguments.data.clone() };
        let (dims, preprocessing) = (model::input_dims(&graph), &graph.metadata.preprocessing);
        let calibration = arguments.images.load(&train, Split::Train, dims, preprocessing, console)?;
        let calibration = calibration.spread(CALIBRATION);
        console.say(format!("quantizing, calibrated on {} images of the train split", calibration.len()));
        let quantized = pack::quantize(&graph, &calibration, &Options::default())?;
        (quantized.qgraph, quantized.stone)
    };
    if let Some((model, channels_last)) = file {
        match agreement::quantized_file(&qgraph, &stone, model, channels_last, &normalization, images) {
            Ok((labels, steps)) => checks.add_quantized_file(labels, steps, images.len()),
            // Operators of ONNX Runtime.
            Err(Failure::Usage(reason) | Failure::Work(reason)) => {
                console.say(format!("the file itself is not compared: {reason}"));
            }
        }
    }
    let qdq = to_qdq(&qgraph, Batch::Any).to_bytes();
    agreement::int8(&qgraph, &qdq, &stone, &normalization, images, console)
}
