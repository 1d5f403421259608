//! `skipstone run`

use super::classifier::Classifier;
use super::console::Console;
use super::failure::Failure;
use super::model::{LEAVE_OUT, Pixels};
use super::npy::{Array, Kind};
use super::{outputs, tensors};
use crate::data::{self, Dataset};
use crate::files;
use crate::tensor::Tensor;
use serde::Serialize;
use skipstone_onnx::Preprocessing;
use std::path::{Path, PathBuf};

/// Classes shown of each image.
const TOP: usize = 5;

/// Classify PNG or JPEG files, or compute scores of a float tensor.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  skipstone run cifar.stone photo.png")]
pub(super) struct Arguments {
    /// A run, an .onnx file or a .stone file.
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// PNG or JPEG files; their centre is scaled to the size that the network takes.
    #[arg(value_name = "IMAGE", required_unless_present = "input", conflicts_with = "input")]
    images: Vec<PathBuf>,
    /// A .npy file of float32 [N, C, H, W] that the network gets as it is; [N, H, W, C] if the .onnx file takes that.
    /// For an .onnx file that takes integers: those, or float32 of what they stand for. A .stone file takes what its
    /// .onnx file took.
    #[arg(long, value_name = "X.npy", requires = "output")]
    input: Option<PathBuf>,
    /// Where to write the scores, float32 [N, classes].
    #[arg(long, value_name = "Y.npy")]
    output: Option<PathBuf>,
    #[command(flatten)]
    pixels: Pixels,
}

#[derive(Serialize)]
struct Classified {
    image: String,
    top: Vec<Class>,
}

/// A class of an image.
#[derive(Serialize)]
pub(super) struct Class {
    pub(super) class: usize,
    pub(super) label: String,
    /// Softmax of the network's scores.
    pub(super) score: f64,
}

pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<(), Failure> {
    if let (Some(input), Some(output)) = (&arguments.input, &arguments.output) {
        return run_tensor(arguments, input, output, console);
    }
    let classifier = Classifier::open(&arguments.model, &arguments.pixels)?;
    if let Some(output) = &arguments.output {
        outputs::check_file(output)?;
    }
    let names = classifier.class_names();
    let network = classifier.prepare();
    let mut results = Vec::with_capacity(arguments.images.len());
    let mut all = Vec::new();
    for path in &arguments.images {
        let image = read_image(path, classifier.dims(), &classifier.preprocessing())?;
        let scores = network.scores(&image, &[0]).map_err(|error| match error {
            Failure::Work(reason) => Failure::at(path, reason),
            usage => usage,
        })?;
        let top: Vec<Class> = top(scores.data())
            .into_iter()
            .map(|(class, score)| Class { class, label: names[class].clone(), score })
            .collect();
        let list: Vec<String> = top.iter().map(|c| format!("{} {:.1} %", c.label, 100.0 * c.score)).collect();
        console.show(format!("{}: {}", path.display(), list.join(", ")))?;
        results.push(Classified { image: path.display().to_string(), top });
        all.extend(scores.into_data());
    }
    if let Some(output) = &arguments.output {
        let scores = Tensor::new([results.len(), names.len()], all);
        write(tensors::finished(scores, classifier.ending()), output, console)?;
    }
    console.results(&results)
}

/// Reads an image as `preprocessing` says, at `dims`.
pub(super) fn read_image(path: &Path, dims: [usize; 3], preprocessing: &Preprocessing) -> Result<Dataset, Failure> {
    let channels = dims[0];
    if ![1, 3].contains(&channels) {
        return Err(Failure::Usage(format!(
            "the network takes {channels} channels, image files give 1 or 3: give --input X.npy"
        )));
    }
    let pixels = data::read_image(path, dims, preprocessing)?;
    Ok(Dataset { dims, pixels, labels: vec![0], class_names: Vec::new() })
}

fn run_tensor(arguments: &Arguments, input: &Path, output: &Path, console: &Console) -> Result<(), Failure> {
    if arguments.pixels.given() {
        return Err(Failure::Usage(format!("--input goes to the network as it is: {LEAVE_OUT}")));
    }
    outputs::check_file(output)?;
    let scores = tensors::scores(&arguments.model, input)?;
    let dims = scores.dims().to_vec();
    write(scores, output, console)?;
    console.result(&serde_json::json!({ "output": output, "dims": dims }))
}

fn write(scores: Tensor, output: &Path, console: &Console) -> Result<(), Failure> {
    let array = Array { dims: scores.dims().to_vec(), data: scores.into_data(), kind: Kind::F32 };
    files::write(output, &array.to_bytes())?;
    console.show(format!("{}: scores {:?}", output.display(), array.dims))
}

/// The likeliest classes with their softmax, the likeliest first.
pub(super) fn top(scores: &[f32]) -> Vec<(usize, f64)> {
    let peak = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let odds: Vec<f64> = scores.iter().map(|&score| f64::from(score - peak).exp()).collect();
    let sum: f64 = odds.iter().sum();
    let mut classes: Vec<(usize, f64)> = odds.into_iter().map(|odds| odds / sum).enumerate().collect();
    classes.sort_by(|a, b| b.1.total_cmp(&a.1));
    classes.truncate(TOP);
    classes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softmax_sums_to_one_and_the_first_of_equal_scores_leads() {
        let classes = top(&[1000.0, 1001.0, -1000.0, 1001.0]);
        assert_eq!(classes.iter().map(|c| c.0).collect::<Vec<_>>(), [1, 3, 0, 2]);
        assert!((classes.iter().map(|c| c.1).sum::<f64>() - 1.0).abs() < 1e-12);
        assert!((classes[0].1 - 1.0 / (2.0 + (-1f64).exp())).abs() < 1e-6);
    }

    #[test]
    fn images_are_resized_and_converted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("red.png");
        image::RgbImage::from_pixel(5, 7, image::Rgb([255, 0, 0])).save(&path).unwrap();
        let colour = read_image(&path, [3, 4, 6], &Preprocessing::default()).unwrap();
        assert_eq!(colour.image(0), [255, 0, 0].repeat(24));
        let gray = read_image(&path, [1, 8, 8], &Preprocessing::default()).unwrap();
        assert!(gray.image(0).iter().all(|&pixel| pixel == gray.image(0)[0] && pixel > 0));
        assert_eq!(gray.image(0).len(), 64);
    }
}
