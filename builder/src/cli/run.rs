//! `skipstone run`

use super::classifier::{self, Classifier};
use super::console::Console;
use super::failure::Failure;
use super::model::{self, Kind, Pixels};
use super::npy::{self, Array};
use super::outputs;
use super::packed::Packed;
use crate::data::{self, Dataset};
use crate::infer::Plan;
use crate::tensor::Tensor;
use crate::{files, zoo};
use serde::Serialize;
use skipstone_onnx::{Ending, Imported, InputIntegers, Preprocessing};
use skipstone_runtime::format::records;
use std::path::{Path, PathBuf};

/// Classes shown of each image.
const TOP: usize = 5;

/// Classify PNG or JPEG files, or compute scores of a float tensor.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// A run, an .onnx file or a .stone file.
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// PNG or JPEG files; their centre is scaled to the size that the network takes.
    #[arg(value_name = "IMAGE", required_unless_present = "input", conflicts_with = "input")]
    images: Vec<PathBuf>,
    /// A .npy file of float32 [N, C, H, W], or [N, H, W, C] where an .onnx file takes that, given to the network as it is.
    /// Where an .onnx file takes integers: those, or float32 of what they stand for.
    #[arg(long, value_name = "X.npy", requires = "output")]
    input: Option<PathBuf>,
    /// Where to write the scores, float32 [N, classes].
    #[arg(long, value_name = "Y.npy", requires = "input")]
    output: Option<PathBuf>,
    #[command(flatten)]
    pixels: Pixels,
}

#[derive(Serialize)]
struct Classified {
    image: String,
    top: Vec<Class>,
}

#[derive(Serialize)]
struct Class {
    class: usize,
    label: String,
    /// Softmax of the network's scores.
    score: f64,
}

pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<(), Failure> {
    if let (Some(input), Some(output)) = (&arguments.input, &arguments.output) {
        return run_tensor(arguments, input, output, console);
    }
    let classifier = Classifier::open(&arguments.model, &arguments.pixels)?;
    let names = classifier.class_names();
    let network = classifier.prepare();
    let mut results = Vec::with_capacity(arguments.images.len());
    for path in &arguments.images {
        let image = read_image(path, classifier.dims(), &classifier.preprocessing())?;
        let scores = network.scores(&image, &[0])?;
        let top: Vec<Class> = top(scores.data())
            .into_iter()
            .map(|(class, score)| Class { class, label: names[class].clone(), score })
            .collect();
        let list: Vec<String> = top.iter().map(|c| format!("{} {:.1} %", c.label, 100.0 * c.score)).collect();
        console.show(format!("{}: {}", path.display(), list.join(", ")))?;
        results.push(Classified { image: path.display().to_string(), top });
    }
    console.result(&results)
}

/// Reads an image as `preprocessing` says, at `dims`.
fn read_image(path: &Path, dims: [usize; 3], preprocessing: &Preprocessing) -> Result<Dataset, Failure> {
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
        return Err(Failure::Usage("--input goes to the network as it is: leave out --raw, --mean and --std".into()));
    }
    outputs::check_file(output)?;
    let array = Array::from_bytes(&files::read(input)?).map_err(|reason| Failure::at(input, reason))?;
    let scores = match model::locate(&arguments.model)? {
        (file, Kind::Onnx) => {
            let (_, Imported { graph, channels_last, ending, .. }) = model::load(&file)?;
            let array = given(array, input, graph.metadata.quantization.input)?;
            let batch = images(&array, input, model::input_dims(&graph), channels_last)?;
            finished(Plan::new(&graph).run(&batch), ending)
        }
        (file, Kind::Stone) => {
            let packed = Packed::read(&file)?;
            let image = packed.model().input();
            let images = images(&array, input, [image.channels, image.height, image.width].map(usize::from), false)?;
            packed.scores(images.batch(), |engine, index| {
                let quantized: Vec<i8> = images.image(index).iter().map(|&x| quantize(&image, x)).collect();
                engine.run_int8(&quantized).map(drop)
            })?
        }
    };
    classifier::check_finite(&scores)?;
    let array = Array { dims: scores.dims().to_vec(), data: scores.into_data(), kind: npy::Kind::F32 };
    files::write(output, &array.to_bytes())?;
    console.show(format!("{}: scores {:?}", output.display(), array.dims))?;
    console.result(&serde_json::json!({ "output": output, "dims": array.dims }))
}

/// What an array gives to a network: its numbers, or where the network's file takes `integers` and the array holds some,
/// what these stand for.
fn given(mut array: Array, file: &Path, integers: Option<InputIntegers>) -> Result<Array, Failure> {
    let Some(integers) = integers.filter(|_| array.kind != npy::Kind::F32) else { return Ok(array) };
    let takes = if integers.signed { npy::Kind::I8 } else { npy::Kind::U8 };
    if array.kind != takes {
        let reason = format!("holds {}, the network takes {}", array.kind.name(), takes.name());
        return Err(Failure::at(file, reason));
    }
    for x in &mut array.data {
        *x = integers.scale * (*x - integers.zero_point as f32);
    }
    Ok(array)
}

/// What the file that a network was read from makes of its scores.
fn finished(mut scores: Tensor, ending: Ending) -> Tensor {
    if ending == Ending::Scores {
        return scores;
    }
    let classes = scores.dims()[1];
    for scores in scores.data_mut().chunks_exact_mut(classes) {
        let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = scores.iter().map(|score| f64::from(score - largest).exp()).sum();
        for score in scores {
            let log = f64::from(*score - largest) - sum.ln();
            *score = if ending == Ending::Softmax { log.exp() as f32 } else { log as f32 };
        }
    }
    scores
}

/// The array `[N, C, H, W]`, or `[N, H, W, C]` if `channels_last`, as a batch `[N, H, W, C]` of images of `dims`.
fn images(array: &Array, file: &Path, dims: [usize; 3], channels_last: bool) -> Result<Tensor, Failure> {
    let order = if channels_last { "[N, H, W, C]" } else { "[N, C, H, W]" };
    let &[count, a, b, c] = array.dims.as_slice() else {
        return Err(Failure::at(file, format!("has dimensions {:?}, must be {order}", array.dims)));
    };
    let [c, h, w] = if channels_last { [c, a, b] } else { [a, b, c] };
    let [channels, height, width] = dims;
    if [c, h, w] != dims || count == 0 {
        let (has, takes) = (zoo::text([c, h, w]), zoo::text(dims));
        return Err(Failure::at(file, format!("holds {count} images of {has}, the network takes {takes}")));
    }
    if channels_last {
        return Ok(Tensor::new([count, height, width, channels], array.data.clone()));
    }
    let area = height * width;
    let mut data = Vec::with_capacity(array.data.len());
    for image in array.data.chunks_exact(channels * area) {
        for pixel in 0..area {
            data.extend((0..channels).map(|channel| image[channel * area + pixel]));
        }
    }
    Ok(Tensor::new([count, height, width, channels], data))
}

/// As ONNX's QuantizeLinear: ties go to the even number.
fn quantize(input: &records::Tensor, value: f32) -> i8 {
    ((value / input.scale).round_ties_even() + f32::from(input.zero_point)).clamp(-128.0, 127.0) as i8
}

/// The likeliest classes with their softmax, the likeliest first.
fn top(scores: &[f32]) -> Vec<(usize, f64)> {
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
    fn integers_are_what_they_stand_for() {
        let array = |kind, x: f32| Array { dims: vec![1], data: vec![x], kind };
        let integers = Some(InputIntegers { signed: true, scale: 0.5, zero_point: -128 });
        let file = Path::new("x.npy");
        let numbers = |kind, integers| given(array(kind, 100.0), file, integers).map(|array| array.data[0]);
        assert_eq!(numbers(npy::Kind::I8, integers).unwrap(), 114.0);
        assert_eq!(numbers(npy::Kind::F32, integers).unwrap(), 100.0);
        assert_eq!(numbers(npy::Kind::U8, None).unwrap(), 100.0);
        assert!(numbers(npy::Kind::U8, integers).is_err());
    }

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
