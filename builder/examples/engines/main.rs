//! How far three engines agree on one QDQ file: Skipstone, tract and ONNX Runtime, end to end and layer by layer.
//!
//! ```text
//! cargo run --release -p skipstone-builder --example engines -- MODEL.onnx --data cifar10:DIR --onnxruntime VENV/bin/python
//! ```
//! The network is quantized as `skipstone verify` does it. Layer by layer, tract gets the inputs that the other engine
//! gave its own layer; end to end every engine goes on from its own.

use clap::Parser;
use skipstone_builder::data::{Dataset, Spec, Split, load};
use skipstone_builder::pack::{Options, Quantized, quantize};
use skipstone_builder::simulate::{Trace, trace};
use skipstone_builder::tensor::Tensor;
use skipstone_builder::verify::{Int8Agreement, Layers};
use skipstone_onnx::{Normalization, import};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

#[derive(Parser)]
#[command(about = "How far Skipstone, tract and ONNX Runtime agree on one QDQ file")]
struct Cli {
    /// The float network.
    #[arg(value_name = "MODEL.onnx")]
    model: PathBuf,
    /// The images: calibrated on the training split, compared on the test split.
    #[arg(long, value_name = "SPEC")]
    data: Spec,
    /// Images to compare.
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    /// Pixels 0..=255 as they are, for a file that does not say.
    #[arg(long, conflicts_with = "mean")]
    raw: bool,
    /// Means of x/255, for a file that does not say.
    #[arg(long, value_delimiter = ',', requires = "std")]
    mean: Vec<f32>,
    /// Deviations of x/255.
    #[arg(long, value_delimiter = ',')]
    std: Vec<f32>,
    /// A Python with onnx and onnxruntime.
    #[arg(long, value_name = "PYTHON")]
    onnxruntime: PathBuf,
}

/// Calibration images, as many as `skipstone verify` takes.
const CALIBRATION: usize = 1024;

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<(), Box<dyn Error>> {
    let mut graph = import(&std::fs::read(&cli.model)?)?;
    let channels = graph.value(graph.input()).dims[0];
    let given = match (cli.raw, cli.mean.is_empty()) {
        (true, _) => Some(Normalization { mean: vec![0.0; channels], std: vec![1.0 / 255.0; channels] }),
        (false, false) => Some(Normalization { mean: cli.mean.clone(), std: cli.std.clone() }),
        (false, true) => graph.metadata.normalization.clone(),
    };
    let normalization =
        given.ok_or("the file does not say how its input is normalized: give --raw, or --mean and --std")?;
    graph.metadata.normalization = Some(normalization.clone());
    let calibration = part(&load(&cli.data, Split::Train)?, CALIBRATION);
    let test = Spec { split: Some(Split::Test), ..cli.data.clone() };
    let images = part(&load(&test, Split::Test)?, cli.count as usize);
    let quantized = quantize(&graph, &calibration, &Options::default())?;

    let all: Vec<usize> = (0..images.len()).collect();
    let batch = images.batch(&all, &normalization);
    let layers = Layers::new(&quantized.qgraph)?;
    let traces = all.iter().map(|&index| trace(&quantized.stone, images.image(index)));
    let ours = layers.values(&traces.collect::<Result<Vec<Trace>, _>>()?);
    show("Skipstone, tract", &against_tract(&quantized, &layers, &batch, &ours)?);
    for optimization in ["ORT_DISABLE_ALL", "ORT_ENABLE_ALL"] {
        let theirs = onnxruntime(cli, &quantized, &layers, &batch, optimization)?;
        show(&format!("{optimization}, tract"), &against_tract(&quantized, &layers, &batch, &theirs)?);
        let pairs = || ours.iter().flatten().zip(theirs.iter().flatten());
        let steps = pairs().map(|(a, b)| a.abs_diff(*b)).max().unwrap_or_default();
        let equal = pairs().filter(|(a, b)| a == b).count() as f64 / pairs().count() as f64;
        println!(
            "{:<24} end to end {:.4} % equal, at most {steps} steps",
            format!("Skipstone, {optimization}"),
            100.0 * equal
        );
    }
    Ok(())
}

fn show(engines: &str, agreement: &Int8Agreement) {
    println!(
        "{engines:<24} end to end {:.4} % equal, labels {:.2} %; layer by layer {:.6} %, at most {} steps, others at most \
         {:.1e} steps from a tie",
        100.0 * agreement.int8_end_to_end_fraction,
        100.0 * agreement.int8_top1_agreement,
        100.0 * agreement.int8_exact_fraction,
        agreement.int8_max_steps,
        agreement.int8_tie_distance,
    );
}

/// The first of every so many images.
fn part(images: &Dataset, count: usize) -> Dataset {
    let count = count.min(images.len());
    let indices: Vec<usize> = (0..count).map(|index| index * images.len() / count).collect();
    Dataset {
        dims: images.dims,
        pixels: indices.iter().flat_map(|&index| images.image(index)).copied().collect(),
        labels: indices.iter().map(|&index| images.labels[index]).collect(),
        class_names: images.class_names.clone(),
    }
}

fn against_tract(
    quantized: &Quantized,
    layers: &Layers<'_>,
    batch: &Tensor,
    values: &[Vec<i8>],
) -> Result<Int8Agreement, Box<dyn Error>> {
    let mut check = layers.check(&quantized.qdq)?;
    layers.compare(&mut check, batch, values)?;
    Ok(check.finish())
}

/// What ONNX Runtime makes of each tensor, channels last.
fn onnxruntime(
    cli: &Cli,
    quantized: &Quantized,
    layers: &Layers<'_>,
    batch: &Tensor,
    optimization: &str,
) -> Result<Vec<Vec<i8>>, Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name);
    let write = |name: &str, bytes: &[u8]| std::fs::write(path(name), bytes);
    write("onnxruntime.py", include_bytes!("onnxruntime.py"))?;
    write("model.qdq.onnx", &quantized.qdq)?;
    write("images.f32", &channels_first(batch))?;
    let count = batch.batch();
    let names = layers.tensors().iter().map(|tensor| &tensor.name);
    let files = ["onnxruntime.py", "model.qdq.onnx", "images.f32"].map(path);
    let status = Command::new(&cli.onnxruntime)
        .args(files.iter().map(|file| file.as_path()))
        .args([Path::new(&count.to_string()), Path::new(optimization), &path("tensors.i8")])
        .args(names)
        .status()?;
    if !status.success() {
        return Err(format!("{} ended with {status}; its own message stands above", cli.onnxruntime.display()).into());
    }
    let bytes = std::fs::read(path("tensors.i8"))?;
    let mut rest: &[i8] = bytemuck::cast_slice(&bytes);
    let sizes = layers.tensors().iter().map(|tensor| count * tensor.dims.iter().product::<usize>());
    sizes
        .map(|size| {
            let (tensor, behind) = rest.split_at_checked(size).ok_or("ONNX Runtime wrote too few elements")?;
            rest = behind;
            Ok(tensor.to_vec())
        })
        .collect()
}

/// `[N, H, W, C]` as the bytes of `[N, C, H, W]`.
fn channels_first(images: &Tensor) -> Vec<u8> {
    let channels = images.dims()[3];
    let area = images.dims()[1] * images.dims()[2];
    let image = |index| {
        let image: &[f32] = images.image(index);
        (0..channels * area).map(|at| image[at % area * channels + at / area]).collect::<Vec<f32>>()
    };
    (0..images.batch()).flat_map(image).flat_map(f32::to_le_bytes).collect()
}
