//! Images per second of float evaluation, beside tract's, ONNX Runtime's and OpenVINO's in one run.
//!
//! ```text
//! cargo bench -p skipstone --bench float_speed -- --data cifar10:DIR --onnxruntime VENV/bin/python \
//!     --openvino VENV/bin/python
//! ```
//! Each engine classifies the same images, prepared beforehand, in its own order of axes. Slices alternate; a ratio is
//! the median of those of neighbouring slices, so that what else the machine does meets all. Scores are compared first.

mod peers;
#[path = "../timing/mod.rs"]
mod timing;

use clap::Parser;
use peers::{Engine, InPython, Slice, Tract};
use skipstone::data::{Spec, Split, load};
use skipstone::session::Session;
use skipstone::tensor::Tensor;
use skipstone::zoo;
use skipstone_onnx::{Batch, Graph, Normalization, export, import};
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;
use timing::median;

#[derive(Parser)]
#[command(about = "Images per second of float evaluation, beside tract, ONNX Runtime and OpenVINO")]
struct Cli {
    /// `cargo bench` passes it to every bench.
    #[arg(long, hide = true)]
    bench: bool,
    /// An architecture of `skipstone zoo`, or an .onnx file
    #[arg(long, default_value = "resnet8", value_name = "NAME|FILE.onnx")]
    model: String,
    /// The images
    #[arg(long, default_value = "digits", value_name = "SPEC")]
    data: Spec,
    /// Images classified at a time
    #[arg(long, default_value = "1,64,256", value_name = "N,N", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..))]
    batches: Vec<u16>,
    /// Slices of each engine; one more warms up
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Threads of each engine
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: u16,
    /// Images of a slice, at most those of the data set
    #[arg(long, default_value_t = 10_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    /// A Python with onnxruntime: `python3 -m venv V && V/bin/pip install onnxruntime`, then V/bin/python
    #[arg(long, value_name = "PYTHON")]
    onnxruntime: Option<PathBuf>,
    /// A Python with openvino, likewise
    #[arg(long, value_name = "PYTHON")]
    openvino: Option<PathBuf>,
}

type Failure = Box<dyn Error + Send + Sync>;

/// Largest difference of scores between engines, in parts of the largest score.
const LIMIT: f32 = 1e-4;

struct Ours<'g> {
    session: Session<'g>,
    images: &'g Tensor,
}

impl Engine for Ours<'_> {
    fn name(&self) -> String {
        "Skipstone".into()
    }

    fn scores(&mut self) -> Result<Vec<f32>, Failure> {
        Ok(self.session.run(self.images).into_data())
    }

    fn slice(&mut self, batch: usize) -> Result<Slice, Failure> {
        let &[_, height, width, channels] = self.images.dims() else { return Err("no images".into()) };
        let image = height * width * channels;
        let parts = self.images.data().chunks(batch * image);
        let batches: Vec<Tensor> =
            parts.map(|part| Tensor::new([part.len() / image, height, width, channels], part.to_vec())).collect();
        // In the pool: so the caller is one of the threads, as it is with the other engines.
        rayon::scope(|_| {
            peers::timed(|| {
                for batch in &batches {
                    std::hint::black_box(self.session.run(batch));
                }
                Ok(())
            })
        })
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(cli.threads.into()).build_global();
    match pool.map_err(Into::into).and_then(|()| compare(&cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn network(cli: &Cli, dims: [usize; 3]) -> Result<Graph, Failure> {
    if cli.model.ends_with(".onnx") {
        let of_file = |error: &dyn Error| format!("{}: {error}", cli.model);
        let bytes = std::fs::read(&cli.model).map_err(|error| of_file(&error))?;
        return Ok(import(&bytes).map_err(|error| of_file(&error))?);
    }
    let options = zoo::Options { input: Some(dims), ..zoo::Options::default() };
    Ok(zoo::with_nontrivial_statistics(zoo::build(&cli.model, &options)?, 0))
}

fn compare(cli: &Cli) -> Result<(), Failure> {
    let data = load(&cli.data, Split::Test)?;
    let graph = network(cli, data.dims)?;
    let normalization = graph.metadata.normalization.clone().unwrap_or_else(|| {
        let half = vec![0.5; data.dims[0]];
        Normalization { mean: half.clone(), std: half }
    });
    let indices: Vec<usize> = (0..data.len().min(cli.count as usize)).collect();
    let images = data.batch(&indices, &normalization);
    let file = export(&graph, Batch::Any);
    let mut engines: Vec<Box<dyn Engine + '_>> =
        vec![Box::new(Ours { session: Session::new(&graph), images: &images })];
    engines.push(Box::new(Tract::new(&file, &images, cli.threads.into())?));
    for (name, package, python) in
        [("ONNX Runtime", "onnxruntime", &cli.onnxruntime), ("OpenVINO", "openvino", &cli.openvino)]
    {
        if let Some(python) = python {
            engines.push(Box::new(InPython::start((name, package, python), &file, &images, cli.threads.into())?));
        }
    }
    check_scores(&mut engines)?;
    let macs = graph.macs() as f64 / 1e6;
    println!("{}, {macs:.1} M multiply-accumulates, {} images, {} threads", graph.name, indices.len(), cli.threads);
    for &batch in &cli.batches {
        measure(cli, &mut engines, batch.into(), indices.len() as f64)?;
    }
    Ok(())
}

/// Engines that compute different scores need no comparison of their speed.
fn check_scores(engines: &mut [Box<dyn Engine + '_>]) -> Result<(), Failure> {
    let ours = engines[0].scores()?;
    let peak = ours.iter().fold(0f32, |peak, score| peak.max(score.abs()));
    for engine in &mut engines[1..] {
        let theirs = engine.scores()?;
        let difference = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        if theirs.len() != ours.len() || difference.is_nan() || difference > LIMIT * peak {
            return Err(format!("scores differ from those of {} by {difference} of {peak}", engine.name()).into());
        }
    }
    Ok(())
}

fn measure(cli: &Cli, engines: &mut [Box<dyn Engine + '_>], batch: usize, count: f64) -> Result<(), Failure> {
    let start = Instant::now();
    let mut slices: Vec<Vec<Slice>> = vec![Vec::new(); engines.len()];
    for round in 0..=cli.rounds {
        for (engine, slices) in engines.iter_mut().zip(&mut slices) {
            let slice = engine.slice(batch)?;
            if round > 0 {
                slices.push(slice);
            }
        }
    }
    println!("batch {batch}, {:.0} s", start.elapsed().as_secs_f64());
    println!("  {:<28} {:>9} {:>10} {:>16}", "", "images/s", "ours is", "CPU ms per image");
    for (engine, slices_of) in engines.iter().zip(&slices) {
        let rate = median(slices_of.iter().map(|slice| count / slice.seconds));
        let ratio = median(slices_of.iter().zip(&slices[0]).map(|(theirs, ours)| theirs.seconds / ours.seconds));
        let cpu = median(slices_of.iter().map(|slice| 1e3 * slice.cpu_seconds / count));
        println!("  {:<28} {rate:>9.0} {ratio:>9.2}x {cpu:>16.3}", engine.name());
    }
    Ok(())
}
