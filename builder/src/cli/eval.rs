//! `skipstone eval`

use super::classifier::Classifier;
use super::console::Console;
use super::failure::Failure;
use super::images::Images;
use super::model::Pixels;
use crate::data::augment::{VIEWS, scores_of_views};
use crate::data::{Dataset, ImageSet, Spec, Split};
use crate::metrics::{self, Evaluation};
use crate::tensor::Tensor;
use std::path::PathBuf;

/// Images classified at a time.
const BATCH: usize = 128;

/// Measure accuracy and loss of a run, an .onnx or a .stone file on a data set.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  skipstone eval runs/cifar --data cifar10:DIR")]
pub(super) struct Arguments {
    /// A run, an .onnx file or a .stone file.
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// The data set; its test split, unless it names another.
    #[arg(long, value_name = "SPEC")]
    data: Spec,
    /// Views of each image whose scores are averaged: 1; 2, with its mirror image; or 6, both also shifted.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = number_of_views)]
    views: usize,
    #[command(flatten)]
    pixels: Pixels,
    #[command(flatten)]
    images: Images,
}

pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<(), Failure> {
    let classifier = Classifier::open(&arguments.model, &arguments.pixels)?;
    let mut data =
        arguments.images.load(&arguments.data, Split::Test, classifier.dims(), &classifier.preprocessing(), console)?;
    classifier.align(&arguments.model, &mut data, console)?;
    let evaluation = evaluate_all(&classifier, &data, arguments.views, console);
    let evaluation = evaluation.map_err(|failure| failure.of(&arguments.model))?;
    let Evaluation { accuracy, loss, count, images_per_second } = evaluation;
    console.show(format!(
        "accuracy {:.2} %, loss {loss:.4}, {count} images, {images_per_second:.0} a second",
        100.0 * accuracy
    ))?;
    console.result(&evaluation)
}

fn number_of_views(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|views| VIEWS.contains(views)).ok_or_else(|| "not 1, 2 or 6".into())
}

/// Classifies all of `data`, on all cores, whether it is in memory or not, by so many views of each image.
fn evaluate_all(
    classifier: &Classifier,
    data: &ImageSet,
    views: usize,
    console: &Console,
) -> Result<Evaluation, Failure> {
    let bar = console.bar("evaluating", data.len(), "images");
    let classifier = classifier.prepare();
    let evaluation = metrics::evaluate_images(data, BATCH, None, |images| {
        let scores = scores_of_views(images, views, |images, batch| classifier.scores(images, batch))?;
        bar.inc(images.len() as u64);
        Ok(scores)
    });
    bar.finish_and_clear();
    evaluation
}

/// Classifies all of `data`, on all cores; `label` names the work.
pub(super) fn evaluate(
    classifier: &Classifier,
    data: &Dataset,
    label: &str,
    console: &Console,
) -> Result<Evaluation, Failure> {
    evaluate_watched(classifier, data, label, console, |_| {})
}

/// As [`evaluate`]; `watch` sees the scores, batch after batch, `[N, classes]`.
pub(super) fn evaluate_watched(
    classifier: &Classifier,
    data: &Dataset,
    label: &str,
    console: &Console,
    mut watch: impl FnMut(&Tensor),
) -> Result<Evaluation, Failure> {
    let bar = console.bar(label, data.len(), "images");
    let classifier = classifier.prepare();
    let evaluation = metrics::evaluate(data, BATCH, |batch| {
        let scores = classifier.scores(data, batch)?;
        watch(&scores);
        bar.inc(batch.len() as u64);
        Ok(scores)
    });
    bar.finish_and_clear();
    evaluation
}
