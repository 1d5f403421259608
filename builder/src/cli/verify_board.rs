//! `skipstone verify --on`: what a board makes of images, layer by layer, against the same model here.

use super::classifier::{Classifier, check_dims};
use super::console::Console;
use super::failure::Failure;
use super::framing;
use super::images::Images;
use super::inspect::describe;
use super::line::{Address, Board};
use super::model::{self, Kind, Pixels};
use super::npy::{self, Array};
use super::outputs;
use super::packed::Packed;
use super::table::{Table, grouped};
use crate::data::{Dataset, Spec, Split};
use crate::files;
use crate::host::Trace;
use crate::metrics::argmax;
use serde::Serialize;
use skipstone_runtime::format::records::Node;
use skipstone_runtime::schedule::Network;
use skipstone_serial::{Answer, ClientError, Refusal, Want};
use std::path::{Path, PathBuf};

/// What is compared, and where.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct OnBoard {
    /// Run the packed model on a board and compare every layer with the same model here: serial:PORT, serial:PORT@BAUD
    /// or tcp:HOST:PORT. MODEL may be the .stone file itself.
    #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["per_node", "float_only", "skip_file"])]
    on: Option<Address>,
    /// With --on: save the images and the scores of both sides as .npy files in this folder, and the layers' outputs as
    /// far as they are fetched.
    #[arg(long, value_name = "DIR", requires = "on")]
    save: Option<PathBuf>,
    /// With --on: fetch the outputs of all layers, not only for images whose checksums differ.
    #[arg(long, requires = "on")]
    outputs: bool,
}

impl OnBoard {
    /// Whether the model is to run on a board.
    pub(super) fn given(&self) -> bool {
        self.on.is_some()
    }
}

/// The rest of what `verify` was told.
pub(super) struct Told<'a> {
    pub(super) model: &'a Path,
    pub(super) stone: Option<&'a Path>,
    pub(super) data: &'a Spec,
    pub(super) count: usize,
    pub(super) pixels: &'a Pixels,
    pub(super) images: Images,
}

#[derive(Serialize)]
struct Report {
    board: String,
    /// Checksum of the model.
    model: String,
    count: usize,
    /// Part of the images that the board gives their label.
    accuracy_board: f64,
    /// Part of the images that the model gives their label here.
    accuracy_host: f64,
    /// Part of the images that have the same label on the board and here.
    top1_agreement: f64,
    /// Part of the images that have the same label on the board and by the float network, if MODEL is one.
    float_top1_agreement: Option<f64>,
    #[serde(flatten)]
    scores: Difference,
    layers: Vec<Layer>,
    /// Requests that were sent again.
    repeated: u64,
}

#[derive(Serialize)]
struct Layer {
    name: String,
    op: String,
    /// Images for which the layer's checksum is another one.
    images: usize,
    #[serde(flatten)]
    difference: Difference,
}

/// How the elements of the board differ from those made here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
struct Difference {
    elements: u64,
    differing: u64,
    /// Root of the mean square of the differences, in real numbers.
    rmse: f64,
    /// The largest difference, in real numbers.
    max_abs_diff: f64,
    #[serde(skip)]
    squares: f64,
}

impl Difference {
    fn add(&mut self, board: &[i8], host: &[i8], scale: f32) {
        for (&board, &host) in board.iter().zip(host) {
            let difference = f64::from(i16::from(board) - i16::from(host)).abs() * f64::from(scale);
            self.differing += u64::from(board != host);
            self.squares += difference * difference;
            self.max_abs_diff = self.max_abs_diff.max(difference);
        }
        // Elements that are missing, or too many, are none that agree.
        let missing = board.len().abs_diff(host.len()) as u64;
        self.differing += missing;
        self.elements += host.len() as u64;
        self.rmse = (self.squares / self.elements.max(1) as f64).sqrt();
    }
}

pub(super) fn run(on_board: &OnBoard, told: &Told<'_>, console: &Console) -> Result<(), Failure> {
    let Some(address) = &on_board.on else { return Ok(()) };
    let (stone, float) = files_of(told)?;
    let packed = Packed::read(&stone)?;
    let float = float.map(|file| Classifier::open(&file, told.pixels)).transpose()?;
    if let Some(folder) = &on_board.save {
        outputs::check_folder(folder)?;
    }
    let dims = packed.on_host().image_dims();
    let preprocessing = framing::of_graph(&packed.model().preprocessing());
    let mut data = told.images.load(told.data, Split::Test, dims, &preprocessing, console)?;
    let classifier = Classifier::Packed(packed);
    classifier.align(&stone, &mut data, console)?;
    let Classifier::Packed(packed) = &classifier else { return Ok(()) };
    let images = data.spread(told.count)?;
    let float = float.map(|float| float_labels(&float, told.model, &images)).transpose()?;

    let mut board = address.connect()?;
    board.expect(packed, &stone)?;
    console.say(format!("{address}: {}", board.client.name()));
    let bar = console.bar("board", images.len(), "images");
    let mut comparison = Comparison::new(packed, on_board);
    for index in 0..images.len() {
        comparison.add(&mut board, images.image(index))?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    if let Some(folder) = &on_board.save {
        comparison.save(folder, &images, console)?;
    }
    let report = comparison.report(&board, &images, float.as_deref());
    show(&report, console)?;
    console.result(&report)?;
    verdict(&report).map_err(|reason| board.failed(reason))
}

/// The packed model, and the float network that it was made from, if that is given.
fn files_of(told: &Told<'_>) -> Result<(PathBuf, Option<PathBuf>), Failure> {
    match (model::locate(told.model)?, told.stone) {
        ((_, Kind::Stone), Some(_)) => Err(Failure::Usage("MODEL is a .stone file: leave out --stone".into())),
        ((file, Kind::Stone), None) => Ok((file, None)),
        ((file, Kind::Onnx), Some(stone)) => Ok((stone.into(), Some(file))),
        ((_, Kind::Onnx), None) => {
            Err(Failure::Usage("--on runs a packed model: give the one that is on the board by --stone FILE".into()))
        }
    }
}

/// The labels that the float network gives.
fn float_labels(float: &Classifier, file: &Path, images: &Dataset) -> Result<Vec<usize>, Failure> {
    check_dims(file, float.dims(), images.dims)?;
    let indices: Vec<usize> = (0..images.len()).collect();
    let scores = float.prepare().scores(images, &indices)?;
    Ok(indices.iter().map(|&index| argmax(scores.image(index))).collect())
}

/// What a board made of the images so far.
struct Comparison<'p> {
    packed: &'p Packed,
    on_board: &'p OnBoard,
    layers: Vec<Layer>,
    scores: Difference,
    /// Of the board and of the host, image after image.
    all_scores: [Vec<Vec<i8>>; 2],
    /// What the layers made, of the board and of the host, if it was fetched of every image.
    outputs: [Vec<Vec<i8>>; 2],
}

impl<'p> Comparison<'p> {
    fn new(packed: &'p Packed, on_board: &'p OnBoard) -> Self {
        let model = packed.model();
        let layer = |node: &Node| Layer {
            name: model.string(node.name).into(),
            op: describe(node),
            images: 0,
            difference: Difference::default(),
        };
        let layers: Vec<Layer> = model.nodes().iter().map(layer).collect();
        let outputs = [const { Vec::new() }; 2].map(|_: Vec<Vec<i8>>| vec![Vec::new(); layers.len()]);
        Self { packed, on_board, layers, scores: Difference::default(), all_scores: Default::default(), outputs }
    }

    fn add(&mut self, board: &mut Board<'_>, pixels: &[u8]) -> Result<(), Failure> {
        let trace = self.packed.on_host().trace(pixels)?;
        let whole = self.on_board.outputs;
        let answer = if whole { None } else { checksums(board, pixels)? };
        // Where a checksum differs, or the board keeps none for so many layers, the layers themselves are fetched.
        let same = |answer: &Answer| answer.checksums.iter().eq(trace.nodes.iter().map(|node| &node.checksum));
        let differed = answer.as_ref().is_some_and(|answer| !same(answer));
        let answer = match answer.filter(same) {
            Some(answer) => answer,
            None => board.ask(|client| client.classify(pixels, Want::Outputs))?,
        };
        let before = self.differing();
        self.compare(&answer, &trace);
        if differed && self.differing() == before {
            let reason = "the board makes something else of an image each time: its memory or its clock is not stable";
            return Err(board.failed(reason));
        }
        Ok(())
    }

    /// Elements of layers that differ.
    fn differing(&self) -> u64 {
        self.layers.iter().map(|layer| layer.difference.differing).sum()
    }

    fn compare(&mut self, answer: &Answer, trace: &Trace) {
        let model = self.packed.model();
        for (index, (layer, node)) in self.layers.iter_mut().zip(model.nodes()).enumerate() {
            let traced = &trace.nodes[index];
            // A view makes no rows.
            let view = skipstone_runtime::rows::is_view(node);
            let host = if view { &[][..] } else { &traced.values };
            let scale = model.tensor(node.output.into()).scale;
            let board = answer.outputs.get(index).map_or(host, Vec::as_slice);
            let before = layer.difference.differing;
            layer.difference.add(board, host, scale);
            layer.images += usize::from(layer.difference.differing > before);
            if self.on_board.outputs && self.on_board.save.is_some() {
                self.outputs[0][index].extend(board);
                self.outputs[1][index].extend(host);
            }
        }
        self.scores.add(&answer.scores, &trace.scores, model.output().scale);
        self.all_scores[0].push(answer.scores.clone());
        self.all_scores[1].push(trace.scores.clone());
    }

    fn report(self, board: &Board<'_>, images: &Dataset, float: Option<&[usize]>) -> Report {
        let [on_board, host] = self.all_scores.map(|all| all.iter().map(|scores| argmax(scores)).collect::<Vec<_>>());
        let count = images.len();
        let part = |labels: &[usize], of: &dyn Fn(usize) -> usize| {
            let same = labels.iter().enumerate().filter(|&(index, &label)| label == of(index)).count();
            same as f64 / count as f64
        };
        let given = |index: usize| usize::from(images.labels[index]);
        Report {
            board: board.client.name().to_owned(),
            model: format!("{:08x}", self.packed.model().header().checksum),
            count,
            accuracy_board: part(&on_board, &given),
            accuracy_host: part(&host, &given),
            top1_agreement: part(&on_board, &|index| host[index]),
            float_top1_agreement: float.map(|float| part(&on_board, &|index| float[index])),
            scores: self.scores,
            layers: self.layers,
            repeated: board.client.repeated(),
        }
    }

    /// Writes the images and the scores, and the layers if all were fetched.
    fn save(&self, folder: &Path, images: &Dataset, console: &Console) -> Result<(), Failure> {
        files::create_dir(folder)?;
        let write = |name: &str, dims: Vec<usize>, kind, data: Vec<f32>| -> Result<(), Failure> {
            Ok(files::write(&folder.join(name), &Array { dims, data, kind }.to_bytes())?)
        };
        let [channels, height, width] = images.dims;
        let count = images.len();
        let pixels = (0..count).flat_map(|index| images.image(index)).map(|&pixel| pixel.into()).collect();
        write("inputs.npy", vec![count, height, width, channels], npy::Kind::U8, pixels)?;
        for (side, (scores, outputs)) in ["board", "host"].into_iter().zip(self.all_scores.iter().zip(&self.outputs)) {
            let classes = scores.first().map_or(0, Vec::len);
            let data = scores.iter().flatten().map(|&score| score.into()).collect();
            write(&format!("scores-{side}.npy"), vec![count, classes], npy::Kind::I8, data)?;
            for (index, values) in outputs.iter().enumerate().filter(|(_, values)| !values.is_empty()) {
                let data = values.iter().map(|&value| value.into()).collect();
                let dims = vec![count, values.len() / count];
                write(&format!("layer-{index:03}-{side}.npy"), dims, npy::Kind::I8, data)?;
            }
        }
        console.say(format!("{}: inputs and outputs of {count} images", folder.display()));
        Ok(())
    }
}

/// The scores and the layers' checksums; `None` where the board keeps none for so many layers.
fn checksums(board: &mut Board<'_>, pixels: &[u8]) -> Result<Option<Answer>, Failure> {
    match board.client.classify(pixels, Want::Checksums) {
        Ok(answer) => Ok(Some(answer)),
        Err(ClientError::Refused(Refusal::TooManyNodes { .. })) => Ok(None),
        Err(error) => Err(board.failed(error)),
    }
}

fn show(report: &Report, console: &Console) -> Result<(), Failure> {
    let mut table = Table::new(&["layer", "operator", "elements", "differing", "RMSE", "largest difference"]);
    for layer in &report.layers {
        let Difference { elements, differing, rmse, max_abs_diff, .. } = layer.difference;
        let numbers = [grouped(elements), grouped(differing), format!("{rmse:.2e}"), format!("{max_abs_diff:.2e}")];
        let names = [layer.name.clone(), layer.op.clone()];
        table.row(names.into_iter().chain(numbers).collect::<Vec<_>>());
    }
    console.show(&table)?;
    let percent = |part: f64| format!("{:.2} %", 100.0 * part);
    console.show(format!(
        "{}, {} images: accuracy {} (here {}), same label as here {}{}; scores RMSE {:.2e}, largest difference {:.2e}",
        report.board,
        report.count,
        percent(report.accuracy_board),
        percent(report.accuracy_host),
        percent(report.top1_agreement),
        report.float_top1_agreement.map_or(String::new(), |part| format!(", as the float network {}", percent(part))),
        report.scores.rmse,
        report.scores.max_abs_diff,
    ))
}

/// Every element of every layer has to be the same.
fn verdict(report: &Report) -> Result<(), String> {
    match report.layers.iter().find(|layer| layer.images > 0) {
        Some(layer) => Err(format!(
            "layer {} ({}) is the first that differs on the board: in {} of {} elements, of {} of {} images",
            layer.name, layer.op, layer.difference.differing, layer.difference.elements, layer.images, report.count
        )),
        None if report.scores.differing > 0 => Err("the scores differ on the board, no layer does".into()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_counted_in_real_numbers() {
        let mut difference = Difference::default();
        difference.add(&[1, -2, 127], &[1, 2, -128], 0.5);
        difference.add(&[3], &[3, 4], 0.5);
        assert_eq!((difference.elements, difference.differing, difference.max_abs_diff), (5, 3, 127.5));
        assert!((difference.rmse - ((4.0 + 127.5 * 127.5) / 5.0f64).sqrt()).abs() < 1e-9);
    }
}
