//! `skipstone export`

use super::console::Console;
use super::failure::Failure;
use super::table::grouped;
use super::{model, outputs};
use crate::{files, passes, zoo};
use skipstone_onnx::export::{Batch, Opset, Options, Weights};
use skipstone_onnx::{Graph, Normalization};
use std::path::PathBuf;

/// Write a network as an ONNX file that any engine reads: a run's best weights, or an untrained architecture.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  skipstone export runs/cifar -o cifar.onnx")]
pub(super) struct Arguments {
    /// The run, or an .onnx file to rewrite.
    #[arg(value_name = "RUN", required_unless_present = "arch", conflicts_with = "arch")]
    run: Option<PathBuf>,
    /// An untrained architecture, with non-trivial batch-norm statistics.
    #[arg(long, value_name = "NAME")]
    arch: Option<String>,
    /// Number of classes, instead of the published one.
    #[arg(long, value_name = "N", requires = "arch")]
    classes: Option<usize>,
    /// Size of the image, instead of the published one.
    #[arg(long, value_name = "CxHxW", requires = "arch", value_parser = dims)]
    input: Option<Dims>,
    /// Seed of the weights and statistics.
    #[arg(long, value_name = "N", default_value_t = 0, requires = "arch")]
    seed: u64,
    /// Version of the standard operator set, 13 to 21.
    #[arg(long, value_name = "N", default_value = "17")]
    opset: Opset,
    /// Batch dimension: `any` is symbolic, `1` is for engines that need it fixed.
    #[arg(long, value_name = "any|1", default_value = "any", value_parser = batch)]
    batch: Batch,
    /// Fold batch normalizations into the convolutions before them, where there is one. Without this they stay, so
    /// that the file can be trained further.
    #[arg(long)]
    fold_batch_norm: bool,
    /// Store the weights of convolutions and linear layers rounded to float16: half the size, the same speed.
    #[arg(long)]
    float16: bool,
    /// The file to write.
    #[arg(short, long, value_name = "FILE.onnx")]
    output: PathBuf,
}

/// Channels, height, width.
pub(super) type Dims = [usize; 3];

pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<(), Failure> {
    outputs::check_file(&arguments.output)?;
    let (origin, mut graph) = match (&arguments.arch, &arguments.run) {
        (Some(name), _) => (name.into(), untrained(name, arguments)?),
        (None, Some(run)) => model::read_graph(run)?,
        (None, None) => return Err(Failure::Usage("give a run or --arch".into())),
    };
    if arguments.fold_batch_norm {
        graph = passes::fold_batch_norm(&graph).map_err(|error| Failure::at(&origin, error))?;
    }
    let weights = if arguments.float16 { Weights::Float16 } else { Weights::Float32 };
    let options = Options { opset: arguments.opset, batch: arguments.batch, weights };
    let bytes = skipstone_onnx::export(&graph, options);
    files::write(&arguments.output, &bytes)?;
    let (params, macs) = (grouped(graph.parameter_count() as u64), grouped(graph.macs()));
    console.show(format!(
        "{}: {}, opset {}, {params} parameters, {macs} multiply-accumulates, {} bytes",
        arguments.output.display(),
        graph.name,
        options.opset.version(),
        grouped(bytes.len() as u64)
    ))?;
    console.result(&serde_json::json!({
        "file": arguments.output,
        "opset": options.opset.version(),
        "params": graph.parameter_count(),
        "macs": graph.macs(),
    }))
}

fn untrained(name: &str, arguments: &Arguments) -> Result<Graph, Failure> {
    let &Arguments { classes, input, seed, .. } = arguments;
    let options = zoo::Options { classes, input, seed, ..Default::default() };
    let graph = zoo::build(name, &options).map_err(super::zoo::usage)?;
    let mut graph = zoo::with_nontrivial_statistics(graph, arguments.seed);
    let channels = graph.value(graph.input()).dims[0];
    // Without data there are no statistics of it: pixels are mapped to -1..1.
    graph.metadata.normalization = Some(Normalization { mean: vec![0.5; channels], std: vec![0.5; channels] });
    graph.metadata.command = Some(format!("skipstone export --arch {name} --seed {}", arguments.seed));
    Ok(graph)
}

/// Reads `any` or `1`.
fn batch(text: &str) -> Result<Batch, String> {
    match text {
        "any" => Ok(Batch::Any),
        "1" => Ok(Batch::One),
        _ => Err(format!("`{text}` must be `any` or `1`")),
    }
}

/// Reads `3x32x32`.
pub(super) fn dims(text: &str) -> Result<Dims, String> {
    let fail = || format!("`{text}` must be CHANNELSxHEIGHTxWIDTH, such as 3x32x32");
    let sizes: Result<Vec<usize>, _> = text.split('x').map(str::parse).collect();
    sizes.ok().and_then(|sizes| sizes.try_into().ok()).ok_or_else(fail)
}
