//! How far three engines agree on one QDQ file: Skipstone, tract and ONNX Runtime, end to end and layer by layer.
//!
//! ```text
//! cargo bench -p skipstone --bench engines -- MODEL.onnx --data cifar10:DIR --onnxruntime VENV/bin/python
//! ```
//! The network is quantized as `skipstone verify` does it. A file that others quantized to int8 is compared itself, in
//! the tensors that it rounds by QuantizeLinear. Layer by layer, tract gets the inputs that the other engine gave its
//! own layer; end to end every engine goes on from its own.

use clap::Parser;
use skipstone::data::{Spec, Split, load};
use skipstone::host::{Trace, trace};
use skipstone::pack::{Options, Quantized, quantize};
use skipstone::tensor::Tensor;
use skipstone::verify::{
    Difference, Int8Agreement, Int8Check, LayerAgreement, Layers, TracedLayer, TracedTensor, to_channels_first,
};
use skipstone_onnx::proto::{DataType, ModelProto};
use skipstone_onnx::{Normalization, import};
use std::collections::HashMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

#[derive(Parser)]
#[command(about = "How far Skipstone, tract and ONNX Runtime agree on one QDQ file")]
struct Cli {
    /// `cargo bench` passes it to every bench.
    #[arg(long, hide = true)]
    bench: bool,
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
    #[arg(long, value_delimiter = ',', requires = "mean")]
    std: Vec<f32>,
    /// A Python with onnx and onnxruntime.
    #[arg(long, value_name = "PYTHON")]
    onnxruntime: PathBuf,
}

/// Calibration images, as many as `skipstone verify` takes.
const CALIBRATION: usize = 1024;

fn main() -> ExitCode {
    if std::env::args().skip(1).eq(["--bench"]) {
        eprintln!("engines: nothing to compare; name a model, --data and --onnxruntime");
        return ExitCode::SUCCESS;
    }
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<(), Box<dyn Error>> {
    let of_file = |error: &dyn Error| format!("{}: {error}", cli.model.display());
    let bytes = std::fs::read(&cli.model).map_err(|error| of_file(&error))?;
    let mut graph = import(&bytes).map_err(|error| of_file(&error))?;
    let channels = graph.value(graph.input()).dims[0];
    let given = match (cli.raw, cli.mean.is_empty()) {
        (true, _) => Some(Normalization { mean: vec![0.0; channels], std: vec![1.0 / 255.0; channels] }),
        (false, false) => Some(Normalization { mean: cli.mean.clone(), std: cli.std.clone() }),
        (false, true) => graph.metadata.normalization.clone(),
    };
    let normalization =
        given.ok_or("the file does not say how its input is normalized: give --raw, or --mean and --std")?;
    if [&normalization.mean, &normalization.std].iter().any(|numbers| numbers.len() != channels) {
        return Err(format!("--mean and --std need {channels} numbers each, one for each channel").into());
    }
    graph.metadata.normalization = Some(normalization.clone());
    let calibration = load(&cli.data, Split::Train)?.spread(CALIBRATION);
    let test = Spec { split: Some(Split::Test), ..cli.data.clone() };
    let images = load(&test, Split::Test)?.spread(cli.count as usize);
    let quantized = quantize(&graph, &calibration, &Options::default())?;

    let all: Vec<usize> = (0..images.len()).collect();
    let batch = images.batch(&all, &normalization);
    let layers = Layers::new(&quantized.qgraph)?;
    let file = if graph.metadata.quantization.is_empty() {
        File::ours(&quantized, &layers)
    } else {
        File::theirs(bytes, &layers)?
    };
    println!("{} of {} layers are compared", file.layers.len(), layers.layers().len());
    let traces = all.iter().map(|&index| trace(&quantized.stone, images.image(index)));
    let ours = layers.values(&traces.collect::<Result<Vec<Trace>, _>>()?);
    let exact = |difference: Difference| {
        layers.exact(&ours, batch.batch(), file.layers[difference.layer?].0, difference.image, difference.at)
    };
    let ours_there: Vec<Vec<i8>> = file.tensors.iter().map(|&(index, _)| ours[index].clone()).collect();
    let mut check = file.check(&quantized)?;
    check.add(&batch, &ours_there, &exact)?;
    let agreement = check.finish();
    show("Skipstone, tract", &agreement);
    show_ties(&agreement);
    for optimization in ["ORT_DISABLE_ALL", "ORT_ENABLE_ALL"] {
        let theirs = onnxruntime(cli, &file, &batch, optimization)?;
        let mut check = file.check(&quantized)?;
        check.add(&batch, &theirs, &|_| None)?;
        show(&format!("{optimization}, tract"), &check.finish());
        let pairs = || ours_there.iter().flatten().zip(theirs.iter().flatten());
        let steps = pairs().map(|(a, b)| a.abs_diff(*b)).max().unwrap_or_default();
        let equal = pairs().filter(|(a, b)| a == b).count() as f64 / pairs().count() as f64;
        let engines = format!("Skipstone, {optimization}");
        println!("{engines:<28} end to end {:.4} % equal, at most {steps} steps", 100.0 * equal);
    }
    Ok(())
}

/// A file with pairs of QuantizeLinear and DequantizeLinear, and what of it is compared.
struct File {
    bytes: Vec<u8>,
    /// Tensors: their indices among our engine's, and as the file has them.
    tensors: Vec<(usize, TracedTensor)>,
    /// Layers: their indices among our engine's, and between which of `tensors` they stand.
    layers: Vec<(usize, TracedLayer)>,
}

impl File {
    /// What Skipstone writes: all layers.
    fn ours(quantized: &Quantized, layers: &Layers<'_>) -> Self {
        Self {
            bytes: quantized.qdq.clone(),
            tensors: layers.tensors().iter().cloned().enumerate().collect(),
            layers: layers.layers().iter().cloned().enumerate().collect(),
        }
    }

    /// What others wrote: the layers whose tensors it rounds under our names.
    fn theirs(bytes: Vec<u8>, layers: &Layers<'_>) -> Result<Self, Box<dyn Error>> {
        let model = ModelProto::from_bytes(&bytes)?;
        let graph = model.graph.as_ref().ok_or("the file has no graph")?;
        let is_int8 = |name: &String| {
            let int8 = i32::from(DataType::Int8);
            graph.initializer.iter().any(|tensor| tensor.name == *name && tensor.data_type == int8)
        };
        let nodes = graph.node.iter().filter(|node| node.op_type == "QuantizeLinear");
        let rounded: HashMap<String, String> = nodes
            .filter(|node| node.input.get(2).is_some_and(is_int8))
            // Where rounding is a ReLU, the importer has put one before it.
            .flat_map(|node| [node.input[0].clone(), format!("{}.relu.out", node.name)].map(|name| (name, node)))
            .map(|(name, node)| (format!("{name}_quantized"), node.output[0].clone()))
            .collect();
        let tensors: Vec<(usize, TracedTensor)> = (layers.tensors().iter().enumerate())
            .filter_map(|(index, tensor)| {
                Some((index, TracedTensor { name: rounded.get(&tensor.name)?.clone(), ..tensor.clone() }))
            })
            .collect();
        let place = |index: usize| tensors.iter().position(|&(known, _)| known == index);
        let layers = (layers.layers().iter().enumerate()).filter_map(|(index, layer)| {
            let inputs = layer.inputs.iter().map(|&input| place(input)).collect::<Option<Vec<usize>>>()?;
            Some((index, TracedLayer { inputs, output: place(layer.output)?, ..layer.clone() }))
        });
        let layers: Vec<(usize, TracedLayer)> = layers.collect();
        if layers.is_empty() {
            return Err("the file has no layer between two QuantizeLinear to int8: uint8, and operators on integers, \
                        are compared by `skipstone verify` alone"
                .into());
        }
        Ok(Self { bytes, tensors, layers })
    }

    fn check(&self, quantized: &Quantized) -> Result<Int8Check, Box<dyn Error>> {
        let input = quantized.qgraph.tensors[quantized.qgraph.input].dims;
        let tensors = self.tensors.iter().map(|(_, tensor)| tensor.clone()).collect();
        let layers = self.layers.iter().map(|(_, layer)| layer.clone()).collect();
        Ok(Int8Check::new(&self.bytes, input, tensors, layers)?)
    }
}

fn show(engines: &str, agreement: &Int8Agreement) {
    println!(
        "{engines:<28} end to end {:.4} % equal, labels {:.2} %; layer by layer {:.6} %, at most {} steps",
        100.0 * agreement.int8_end_to_end_fraction,
        100.0 * agreement.int8_top1_agreement,
        100.0 * agreement.int8_exact_fraction,
        agreement.int8_max_steps,
    );
}

/// How far from ties our elements are that differ.
fn show_ties(agreement: &Int8Agreement) {
    for layer in agreement.layers.iter().filter(|layer| layer.different > 0) {
        let LayerAgreement { name, elements, different, tie_distance, unexplained, .. } = layer;
        println!(
            "    {name}: {different} of {elements} differ, at most {tie_distance:.1e} steps from a tie; {unexplained} \
             farther than float32 can be wrong"
        );
    }
}

/// What ONNX Runtime makes of each tensor, channels last.
fn onnxruntime(cli: &Cli, file: &File, batch: &Tensor, optimization: &str) -> Result<Vec<Vec<i8>>, Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name);
    let write = |name: &str, bytes: &[u8]| std::fs::write(path(name), bytes);
    write("peer.py", include_bytes!("peer.py"))?;
    write("model.onnx", &file.bytes)?;
    let dims = batch.dims();
    let images = to_channels_first(batch.data(), &[dims[3], dims[1], dims[2]]);
    write("images.f32", bytemuck::cast_slice(&images))?;
    let count = batch.batch();
    let names = file.tensors.iter().map(|(_, tensor)| &tensor.name);
    let files = ["peer.py", "model.onnx", "images.f32"].map(path);
    let status = Command::new(&cli.onnxruntime)
        .args(files.iter().map(|file| file.as_path()))
        .args([Path::new(&count.to_string()), Path::new(optimization), &path("tensors.i8")])
        .args(names)
        .status()
        .map_err(|error| format!("{}: {error}", cli.onnxruntime.display()))?;
    if !status.success() {
        return Err(format!("{} ended with {status}; its own message stands above", cli.onnxruntime.display()).into());
    }
    let bytes = std::fs::read(path("tensors.i8"))?;
    let mut rest: &[i8] = bytemuck::cast_slice(&bytes);
    let sizes = file.tensors.iter().map(|(_, tensor)| count * tensor.dims.iter().product::<usize>());
    sizes
        .map(|size| {
            let (tensor, after) = rest.split_at_checked(size).ok_or("ONNX Runtime wrote too few elements")?;
            rest = after;
            Ok(tensor.to_vec())
        })
        .collect()
}
