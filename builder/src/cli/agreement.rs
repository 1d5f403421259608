//! Our execution against tract: what is compared, and what has to hold.

use super::console::Console;
use super::failure::Failure;
use super::table::{Table, grouped};
use crate::data::Dataset;
use crate::host::{self, Trace};
use crate::quant::{QGraph, rerounding_bounds, to_qdq};
use crate::session::Session;
use crate::verify::{
    self, FileAgreement, FileCheck, FloatAgreement, Int8Agreement, LayerAgreement, Layers, QuantizedFile, VerifyError,
};
use rayon::prelude::*;
use skipstone_onnx::proto::ModelProto;
use skipstone_onnx::{Batch, Graph};
use std::path::Path;

/// Images compared at a time.
const BATCH: usize = 64;

/// Largest difference of two float scores, for scores up to 1; larger scores may differ by as much in proportion.
pub(super) const FLOAT_LIMIT: f32 = 1e-4;
/// Of so many int8 elements one may be on the other side of a tie because float32 is not exact, layer by layer.
const NEAR_ONE_IN: u64 = 10_000;
/// Largest difference of two int8 elements, layer by layer.
const STEPS_LIMIT: u32 = 1;
/// Why labels differ where no layer does but at ties.
const FEEDBACK: &str = "single steps at ties feed on each other";
/// Part of a layer's elements that are exact ties from which on that is said.
const TIE_SHARE: f64 = 1.0 / 1024.0;

/// Compares our float scores of `images` with tract's of the exported network. Also gives the largest score.
pub(super) fn float(graph: &Graph, images: &Dataset, console: &Console) -> Result<(FloatAgreement, f32), Failure> {
    let model = skipstone_onnx::export::to_model(graph, Batch::Any);
    float_of_file(graph, &model, false, images, console)
}

/// As [`float`], with the file `model` that the network was read from, whose output holds the scores and whose input is
/// `[N, H, W, C]` if `channels_last`.
pub(super) fn float_of_file(
    graph: &Graph,
    model: &ModelProto,
    channels_last: bool,
    images: &Dataset,
    console: &Console,
) -> Result<(FloatAgreement, f32), Failure> {
    let session = Session::new(graph);
    let bar = console.bar("float", images.len(), "images");
    let (mut largest, mut difference, mut same) = (0f32, 0f32, 0.0);
    for indices in batches(images.len()) {
        let batch = images.batch_for(graph, &indices);
        let scores = session.run(&batch);
        let agreement = verify::float_model(model.clone(), channels_last, &batch, &scores)?;
        largest = scores.data().iter().fold(largest, |largest, score| largest.max(score.abs()));
        difference = difference.max(agreement.float_max_abs_diff);
        same += agreement.float_top1_agreement * indices.len() as f64;
        bar.inc(indices.len() as u64);
    }
    bar.finish_and_clear();
    let agreement = FloatAgreement { float_max_abs_diff: difference, float_top1_agreement: same / images.len() as f64 };
    Ok((agreement, largest))
}

/// Compares the packed model `stone`, run by the engine, with tract's execution of its QDQ file; and with the quantized
/// file that the network was read from, if it was.
pub(super) fn int8(
    (graph, qgraph): (&Graph, &QGraph),
    stone: &host::Model<'_>,
    file: Option<&QuantizedFile<'_>>,
    images: &Dataset,
    console: &Console,
) -> Result<(Int8Agreement, Option<FileAgreement>), Failure> {
    let qdq = to_qdq(qgraph, Batch::Any);
    let layers = Layers::new(qgraph)?;
    let mut check = layers.check(&qdq.to_bytes())?;
    let mut of_file = file
        .map(|file| FileCheck::new(&layers, &qdq, file, &rerounding_bounds(graph, qgraph)))
        .transpose()
        .map_err(uncompared)?;
    let bar = console.bar("int8", images.len(), "images");
    for indices in batches(images.len()) {
        let traces = indices.par_iter().map(|&index| stone.trace(images.image(index)));
        let traces = traces.collect::<Result<Vec<Trace>, _>>()?;
        for trace in &traces {
            let names = trace.nodes.iter().map(|node| &node.name);
            if !names.eq(qgraph.nodes.iter().map(|node| &node.name)) {
                return Err(Failure::Work(
                    "the packed model has other layers: it was made from another network".into(),
                ));
            }
        }
        let (batch, values) = (images.batch_for(graph, &indices), layers.values(&traces));
        layers.compare(&mut check, &batch, &values)?;
        if let Some(of_file) = &mut of_file {
            of_file.add(&batch, &values).map_err(uncompared)?;
        }
        bar.inc(indices.len() as u64);
    }
    bar.finish_and_clear();
    Ok((check.finish(), of_file.map(FileCheck::finish)))
}

/// A file whose integers cannot be compared is no file that agrees.
fn uncompared(error: VerifyError) -> Failure {
    Failure::Work(format!("its integers cannot be compared with ours: {error}; --skip-file leaves that out"))
}

/// What has to hold, and what was found.
pub(super) struct Checks(Vec<(String, bool)>);

impl Checks {
    /// No checks yet.
    pub(super) fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a check that holds or does not.
    pub(super) fn add(&mut self, found: String, holds: bool) {
        self.0.push((found, holds));
    }

    /// Adds the checks of a float comparison; `limit` is the largest difference of two scores.
    pub(super) fn add_float(&mut self, agreement: &FloatAgreement, limit: f32) {
        let difference = agreement.float_max_abs_diff;
        let text = format!("float scores differ from tract's by at most {difference:.1e} (limit {limit:.1e})");
        self.add(text, difference <= limit);
    }

    /// Adds the checks of an int8 comparison.
    pub(super) fn add_int8(&mut self, agreement: &Int8Agreement) {
        let sum = |count: fn(&LayerAgreement) -> u64| agreement.layers.iter().map(count).sum::<u64>();
        let (elements, float32) = (sum(|layer| layer.elements), sum(LayerAgreement::float32));
        let text = format!(
            "int8 layers equal tract's in {:.4} % of {} elements; {} others are ties, which integers round up and \
             float32 engines to even, and {} as near to a tie as float32 can be wrong (at most 1 in {NEAR_ONE_IN})",
            100.0 * agreement.int8_exact_fraction,
            grouped(elements),
            grouped(agreement.int8_ties),
            grouped(float32),
        );
        self.add(text, float32 <= near_limit(elements));
        let (steps, unexplained) = (agreement.int8_max_steps, agreement.int8_unexplained);
        let text = format!(
            "int8 layers differ by at most {steps} (limit {STEPS_LIMIT}), and nowhere else: {} elements differ \
             unexplained (limit 0)",
            grouped(unexplained)
        );
        self.add(text, steps <= STEPS_LIMIT && unexplained == 0);
        let others = others(agreement.int8_top1_agreement, agreement.count);
        self.add(
            labels("int8 labels end to end are tract's", others, agreement.count, unexplained, FEEDBACK),
            others == 0 || unexplained == 0,
        );
    }

    /// Adds the checks of the layers against the quantized file that they came from.
    pub(super) fn add_file(&mut self, agreement: &FileAgreement, count: usize) {
        let unexplained = agreement.file_unexplained;
        let text = format!(
            "{} layers of the quantized file make of its own integers what ours come to before they round: {} of {} \
             elements differ unexplained (limit 0)",
            agreement.file_layers,
            grouped(unexplained),
            grouped(agreement.layers.iter().map(|layer| layer.elements).sum::<u64>()),
        );
        let rerounded = match agreement.file_rerounded {
            0 => String::new(),
            count => format!("; {} differ by no more than weights that were rounded anew explain", grouped(count)),
        };
        self.add(text + &rerounded, unexplained == 0);
        if !agreement.rescaled.is_empty() {
            let first = agreement.file_clipped.first().map_or(String::new(), |name| format!(" (`{name}`)"));
            let text = format!(
                "{} tensors have another scale or zero point than in the file; {}{first} of them do not hold all numbers \
                 that its integers stand for (limit 0)",
                agreement.rescaled.len(),
                agreement.file_clipped.len(),
            );
            self.add(text, agreement.file_clipped.is_empty());
        }
        let others = others(agreement.file_top1_agreement, count);
        let cause = match (agreement.rescaled.is_empty(), agreement.file_rerounded) {
            (true, 0) => FEEDBACK,
            (true, _) => "weights were rounded anew",
            (false, _) => "tensors are rounded by other scales",
        };
        self.add(
            labels("int8 labels are the quantized file's", others, count, unexplained, cause),
            others == 0 || unexplained == 0,
        );
    }

    /// Shows all checks.
    pub(super) fn show(&self, console: &Console) -> Result<(), Failure> {
        self.0
            .iter()
            .try_for_each(|(text, holds)| console.show(format!("{} {text}", if *holds { "ok  " } else { "FAIL" })))
    }

    /// Fails if a check of `file` does not hold.
    pub(super) fn verdict(&self, file: &Path) -> Result<(), Failure> {
        let failed: Vec<&str> = self.0.iter().filter(|(_, holds)| !holds).map(|(text, _)| text.as_str()).collect();
        match failed.as_slice() {
            [] => Ok(()),
            failed => Err(Failure::at(file, format!("a check does not hold: {}", failed.join("; ")))),
        }
    }
}

/// How many images have another label, of whose labels `agreement` are the same.
fn others(agreement: f64, count: usize) -> usize {
    count - (agreement * count as f64).round() as usize
}

/// `cause` is why labels may differ where every layer is right.
fn labels(what: &str, others: usize, count: usize, unexplained: u64, cause: &str) -> String {
    let why = match (others, unexplained) {
        (0, _) => String::new(),
        (_, 0) => format!("; every layer's differences are explained, but {cause}"),
        _ => "; layers differ unexplained".into(),
    };
    format!("{what} on {} of {count} images{why}", count - others)
}

/// How many of `elements` may be on the other side of a tie because float32 is not exact; one of few.
fn near_limit(elements: u64) -> u64 {
    (elements / NEAR_ONE_IN).max(1)
}

/// Whether an int8 layer is tract's but for values on the other side of a tie.
pub(super) fn layer_holds(layer: &LayerAgreement) -> bool {
    layer.max_steps <= STEPS_LIMIT && layer.unexplained == 0 && layer.float32() <= near_limit(layer.elements)
}

/// The int8 layers for people: `all`, or those that are not equal everywhere, if there are any.
pub(super) fn layers(agreement: &Int8Agreement, all: bool) -> Option<Table> {
    let mut table = Table::new(&["layer", "elements", "different", "ties", "unexplained", "largest", "from a tie"]);
    let mut any = false;
    for layer in agreement.layers.iter().filter(|layer| all || layer.different > 0) {
        any = true;
        table.row([
            layer.name.clone(),
            layer.elements.to_string(),
            layer.different.to_string(),
            layer.ties.to_string(),
            layer.unexplained.to_string(),
            layer.max_steps.to_string(),
            format!("{:.1e}", layer.tie_distance),
        ]);
    }
    any.then_some(table)
}

/// The layers of the quantized file for people: `all`, or those that are wrong, if there are any.
pub(super) fn file_layers(agreement: &FileAgreement, all: bool) -> Option<Table> {
    let mut table = Table::new(&["layer of the file", "elements", "unexplained", "farthest (steps)"]);
    let mut any = false;
    for layer in agreement.layers.iter().filter(|layer| all || layer.unexplained > 0) {
        any = true;
        let distance = format!("{:.4}", layer.distance);
        table.row([layer.name.clone(), layer.elements.to_string(), layer.unexplained.to_string(), distance]);
    }
    any.then_some(table)
}

/// Which tensors our integers round otherwise than the file, in a line.
pub(super) fn rescaled(agreement: &FileAgreement) -> Option<String> {
    let first = agreement.rescaled.first()?;
    Some(format!(
        "{} tensors (`{first}`) have another scale or zero point here than in the file, as the maps of a concatenation \
         share one: labels may differ by that",
        agreement.rescaled.len()
    ))
}

/// What a quantized file rounds otherwise than the integers do, in a line, if that is often.
pub(super) fn rounding_remark(qgraph: &QGraph) -> Option<String> {
    if qgraph.metadata.quantization.is_empty() {
        return None;
    }
    let shares: Vec<(&str, f64)> = (qgraph.nodes.iter())
        .map(|node| (node.name.as_str(), qgraph.tie_share(node)))
        .filter(|(_, share)| *share >= TIE_SHARE)
        .collect();
    let &(name, share) = shares.iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
    Some(format!(
        "in {} of {} layers the file's scales are multiples of each other by powers of two, so that up to {:.1} % of \
         the elements (`{name}`) are exactly in the middle between two integers: integers round these up, engines that \
         run the file to even; either is half a step off, so both are right, and `verify` counts them apart \
         (docs/quantization.md, \"Ties\")",
        shares.len(),
        qgraph.nodes.len(),
        100.0 * share
    ))
}

fn batches(count: usize) -> impl Iterator<Item = Vec<usize>> {
    (0..count).step_by(BATCH).map(move |start| (start..count.min(start + BATCH)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of 100,000 elements.
    fn checks(different: u64, ties: u64, unexplained: u64, steps: u32, labels: f64, count: usize) -> Checks {
        let layer = LayerAgreement {
            elements: 100_000,
            different,
            ties,
            unexplained,
            max_steps: steps,
            ..LayerAgreement::default()
        };
        assert_eq!(layer_holds(&layer), steps <= 1 && unexplained == 0 && different <= ties + 10);
        let mut checks = Checks::new();
        checks.add_int8(&Int8Agreement {
            int8_exact_fraction: 1.0 - different as f64 / 100_000.0,
            int8_max_steps: steps,
            int8_tie_distance: 1e-6,
            int8_ties: ties,
            int8_unexplained: unexplained,
            int8_end_to_end_fraction: 1.0,
            int8_top1_agreement: labels,
            count,
            image: LayerAgreement::default(),
            layers: vec![layer],
        });
        checks
    }

    #[test]
    fn the_verdict_rests_on_what_is_unexplained() {
        checks(10, 0, 0, 1, 0.995, 1000).verdict(Path::new("a.onnx")).unwrap();
        // Ties are right, however many they are, and so are labels that differ because of them.
        checks(25_010, 25_000, 0, 1, 0.9, 1000).verdict(Path::new("a.onnx")).unwrap();
        for checks in [
            checks(11, 0, 0, 1, 1.0, 100),
            checks(25_011, 25_000, 0, 1, 1.0, 100),
            checks(1, 0, 1, 1, 1.0, 100),
            checks(1, 1, 0, 2, 1.0, 100),
            checks(1, 0, 1, 1, 0.9, 100),
        ] {
            assert!(matches!(checks.verdict(Path::new("a.onnx")), Err(Failure::Work(_))));
        }
    }

    #[test]
    fn other_labels_are_explained_in_words() {
        let text = |labels, unexplained| {
            let checks = checks(20, 19 - unexplained, unexplained, 1, labels, 100);
            checks.0.last().unwrap().clone()
        };
        assert_eq!(text(1.0, 0), ("int8 labels end to end are tract's on 100 of 100 images".into(), true));
        let (explained, holds) = text(0.97, 0);
        assert!(holds && explained.contains("on 97 of 100 images") && explained.contains("ties feed on each other"));
        let (wrong, holds) = text(0.97, 1);
        assert!(!holds && wrong.contains("unexplained"));
    }

    #[test]
    fn float_scores_have_a_limit() {
        for (difference, holds) in [(1e-4, true), (1.1e-4, false), (f32::NAN, false)] {
            let mut checks = Checks::new();
            checks
                .add_float(&FloatAgreement { float_max_abs_diff: difference, float_top1_agreement: 1.0 }, FLOAT_LIMIT);
            assert_eq!(checks.verdict(Path::new("a.onnx")).is_ok(), holds, "{difference}");
        }
    }
}
