//! Our execution against tract: what is compared, and what has to hold.

use super::console::Console;
use super::failure::Failure;
use super::table::Table;
use crate::data::Dataset;
use crate::infer::Plan;
use crate::quant::QGraph;
use crate::simulate::{self, Trace};
use crate::tensor::Tensor;
use crate::verify::{self, FloatAgreement, Int8Agreement, LayerAgreement, Layers};
use rayon::prelude::*;
use skipstone_onnx::proto::ModelProto;
use skipstone_onnx::{Batch, Graph, Normalization};

/// Images compared at a time.
const BATCH: usize = 64;

/// Largest difference of two float scores, for scores up to 1; larger scores may differ by as much in proportion.
pub(super) const FLOAT_LIMIT: f32 = 1e-4;
/// Least part of the int8 elements that are equal, layer by layer.
const EXACT_LIMIT: f64 = 0.9999;
/// Largest difference of two int8 elements, layer by layer.
const STEPS_LIMIT: u32 = 1;
/// Of so many images one may have another label, end to end.
const LABELS_ONE_IN: usize = 200;

/// Compares our float scores of `images` with tract's of the exported network. Also gives the largest score.
pub(super) fn float(
    graph: &Graph,
    normalization: &Normalization,
    images: &Dataset,
    console: &Console,
) -> Result<(FloatAgreement, f32), Failure> {
    let model = skipstone_onnx::export::to_model(graph, Batch::Any);
    float_of_file(graph, &model, false, normalization, images, console)
}

/// As [`float`], with the file `model` that the network was read from, whose output holds the scores and whose input is
/// `[N, H, W, C]` if `channels_last`.
pub(super) fn float_of_file(
    graph: &Graph,
    model: &ModelProto,
    channels_last: bool,
    normalization: &Normalization,
    images: &Dataset,
    console: &Console,
) -> Result<(FloatAgreement, f32), Failure> {
    let plan = Plan::new(graph);
    let bar = console.bar("float", images.len(), "images");
    let (mut largest, mut difference, mut same) = (0f32, 0f32, 0.0);
    for indices in batches(images.len()) {
        let batch = images.batch(&indices, normalization);
        let scores = plan.run(&batch);
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

/// Compares the packed model `stone`, run by the engine, with tract's execution of its QDQ file.
pub(super) fn int8(
    qgraph: &QGraph,
    qdq: &[u8],
    stone: &[u8],
    normalization: &Normalization,
    images: &Dataset,
    console: &Console,
) -> Result<Int8Agreement, Failure> {
    let layers = Layers::new(qgraph)?;
    let mut check = layers.check(qdq)?;
    let bar = console.bar("int8", images.len(), "images");
    for indices in batches(images.len()) {
        let traces = indices.par_iter().map(|&index| simulate::trace(stone, images.image(index)));
        let traces = traces.collect::<Result<Vec<Trace>, _>>()?;
        for trace in &traces {
            let names = trace.nodes.iter().map(|node| &node.name);
            if !names.eq(qgraph.nodes.iter().map(|node| &node.name)) {
                return Err(Failure::Work(
                    "the packed model has other layers: it was made from another network".into(),
                ));
            }
        }
        layers.compare(&mut check, &images.batch(&indices, normalization), &layers.values(&traces))?;
        bar.inc(indices.len() as u64);
    }
    bar.finish_and_clear();
    Ok(check.finish())
}

/// Compares the scores of the packed model `stone` with those that tract computes from the quantized file `model` that
/// the network was read from: the part of the images with the same label, and the largest difference in steps.
pub(super) fn quantized_file(
    qgraph: &QGraph,
    stone: &[u8],
    model: &ModelProto,
    channels_last: bool,
    normalization: &Normalization,
    images: &Dataset,
) -> Result<(f64, f32), Failure> {
    let output = &qgraph.tensors[qgraph.output];
    let (mut same, mut steps) = (0.0, 0f32);
    for indices in batches(images.len()) {
        let traces = indices.par_iter().map(|&index| simulate::trace(stone, images.image(index)));
        let traces = traces.collect::<Result<Vec<Trace>, _>>()?;
        let real = |&score: &i8| (f32::from(score) - f32::from(output.zero_point)) * output.scale;
        let scores: Vec<f32> = traces.iter().flat_map(|trace| trace.scores.iter().map(real)).collect();
        let scores = Tensor::new([indices.len(), scores.len() / indices.len()], scores);
        let batch = images.batch(&indices, normalization);
        let agreement = verify::float_model(model.clone(), channels_last, &batch, &scores)?;
        same += agreement.float_top1_agreement * indices.len() as f64;
        steps = steps.max(agreement.float_max_abs_diff / output.scale);
    }
    Ok((same / images.len() as f64, steps))
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
        let exact = agreement.int8_exact_fraction;
        let text = format!(
            "int8 layers equal tract's in {:.4} % of the elements (at least {:.2} %)",
            100.0 * exact,
            100.0 * EXACT_LIMIT
        );
        self.add(text, exact >= EXACT_LIMIT);
        let steps = agreement.int8_max_steps;
        self.add(format!("int8 layers differ by at most {steps} (limit {STEPS_LIMIT})"), steps <= STEPS_LIMIT);
        let (distance, unexplained) = (agreement.int8_tie_distance, agreement.int8_unexplained);
        let text = format!(
            "int8 elements that differ are at most {distance:.1e} steps from a tie; {unexplained} of them (limit 0) \
             farther than float32 can be wrong"
        );
        self.add(text, unexplained == 0);
        let labels = agreement.int8_top1_agreement;
        let different = agreement.count - (labels * agreement.count as f64).round() as usize;
        // One other label says nothing about a small set.
        let allowed = (agreement.count / LABELS_ONE_IN).max(1);
        let text = format!(
            "int8 labels end to end are tract's on {:.2} % of {} images (at most {allowed} other)",
            100.0 * labels,
            agreement.count
        );
        self.add(text, different <= allowed);
    }

    /// Adds the check of the integers against the quantized file that they came from.
    pub(super) fn add_quantized_file(&mut self, labels: f64, steps: f32, count: usize) {
        let different = count - (labels * count as f64).round() as usize;
        let allowed = (count / LABELS_ONE_IN).max(1);
        let text = format!(
            "int8 labels are those of the quantized file on {:.2} % of {count} images (at most {allowed} other); scores \
             differ by at most {steps:.0} steps",
            100.0 * labels
        );
        self.add(text, different <= allowed);
    }

    /// Shows all checks.
    pub(super) fn show(&self, console: &Console) -> Result<(), Failure> {
        self.0
            .iter()
            .try_for_each(|(text, holds)| console.show(format!("{} {text}", if *holds { "ok  " } else { "FAIL" })))
    }

    /// Fails if a check does not hold.
    pub(super) fn verdict(&self) -> Result<(), Failure> {
        let failed: Vec<&str> = self.0.iter().filter(|(_, holds)| !holds).map(|(text, _)| text.as_str()).collect();
        match failed.as_slice() {
            [] => Ok(()),
            failed => Err(Failure::Work(format!("a check does not hold: {}", failed.join("; ")))),
        }
    }
}

/// Whether an int8 layer is tract's but for values on the other side of a tie.
pub(super) fn layer_holds(layer: &LayerAgreement) -> bool {
    // Of few elements one may differ.
    let allowed = (layer.elements as f64 * (1.0 - EXACT_LIMIT)).max(1.0);
    layer.max_steps <= STEPS_LIMIT && layer.different as f64 <= allowed
}

/// The int8 layers for people: `all`, or those that are not equal everywhere, if there are any.
pub(super) fn layers(agreement: &Int8Agreement, all: bool) -> Option<Table> {
    let mut table = Table::new(&["layer", "elements", "different", "largest", "from a tie"]);
    let mut any = false;
    for layer in agreement.layers.iter().filter(|layer| all || layer.different > 0) {
        any = true;
        table.row([
            layer.name.clone(),
            layer.elements.to_string(),
            layer.different.to_string(),
            layer.max_steps.to_string(),
            format!("{:.1e}", layer.tie_distance),
        ]);
    }
    any.then_some(table)
}

fn batches(count: usize) -> impl Iterator<Item = Vec<usize>> {
    (0..count).step_by(BATCH).map(move |start| (start..count.min(start + BATCH)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn int8(exact: f64, steps: u32, unexplained: u64, labels: f64, count: usize) -> Checks {
        let mut checks = Checks::new();
        checks.add_int8(&Int8Agreement {
            int8_exact_fraction: exact,
            int8_max_steps: steps,
            int8_tie_distance: 1e-6,
            int8_unexplained: unexplained,
            int8_end_to_end_fraction: 1.0,
            int8_top1_agreement: labels,
            count,
            layers: Vec::new(),
        });
        checks
    }

    #[test]
    fn limits_are_those_of_the_design() {
        int8(0.9999, 1, 0, 0.995, 1000).verdict().unwrap();
        // Of few images one may differ.
        int8(1.0, 0, 0, 0.9, 10).verdict().unwrap();
        for checks in [
            int8(0.99985, 1, 0, 1.0, 100),
            int8(1.0, 2, 0, 1.0, 100),
            int8(1.0, 1, 1, 1.0, 100),
            int8(1.0, 0, 0, 0.994, 1000),
            int8(1.0, 0, 0, 362.0 / 364.0, 364),
        ] {
            assert!(matches!(checks.verdict(), Err(Failure::Work(_))));
        }
        for (difference, holds) in [(1e-4, true), (1.1e-4, false), (f32::NAN, false)] {
            let mut checks = Checks::new();
            checks
                .add_float(&FloatAgreement { float_max_abs_diff: difference, float_top1_agreement: 1.0 }, FLOAT_LIMIT);
            assert_eq!(checks.verdict().is_ok(), holds, "{difference}");
        }
    }
}
