//! What training steps of networks cost, operator by operator, and the same in PyTorch beside it.
//!
//! ```text
//! cargo bench -p skipstone --bench training_cost -- resnet8 resnet20 --precision bf16 --pytorch VENV/bin/python
//! ```
//! The images are noise of 3x32x32, the optimizer is SGD with Nesterov momentum. Slices of a few steps of each side
//! alternate; a ratio is the median of those of neighbouring slices, so that what else the machine does meets both.

mod pytorch;
#[path = "../timing/mod.rs"]
mod timing;
#[path = "../workload/mod.rs"]
mod workload;

use clap::Parser;
use pytorch::PyTorch;
use skipstone::autograd::Precision;
use skipstone::train;
use skipstone_onnx::{Conv, Graph, Node, Op};
use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use timing::median;
use workload::Workload;

#[derive(Parser)]
#[command(about = "What training steps of networks cost, and the same in PyTorch")]
struct Cli {
    /// `cargo bench` passes it to every bench.
    #[arg(long, hide = true)]
    bench: bool,
    /// Architectures, as `skipstone zoo` names them
    #[arg(default_value = "resnet8", value_name = "NETWORK")]
    networks: Vec<String>,
    /// Images per step
    #[arg(long, default_value_t = 128, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    batch: u16,
    /// Slices of steps
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Steps of a slice
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    steps: u16,
    /// Threads of each side
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: u16,
    /// In what Skipstone multiplies: float32 or bf16
    #[arg(long, default_value_t)]
    precision: Precision,
    /// A Python with torch to compare with: `python3 -m venv V && V/bin/pip install torch onnx`, then V/bin/python
    #[arg(long, value_name = "PYTHON")]
    pytorch: Option<PathBuf>,
}

/// Time of one slice.
#[derive(Clone, Copy)]
struct Slice {
    seconds: f64,
    /// Of all threads; `None` where the system has no account of it.
    cpu_seconds: Option<f64>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<(), Box<dyn Error + Send + Sync>> {
    let threads = rayon::ThreadPoolBuilder::new().num_threads(cli.threads.into()).build()?;
    if !cli.precision.is_available() {
        return Err(format!("this processor does not multiply in {}", cli.precision).into());
    }
    for arch in &cli.networks {
        threads.install(|| measure(cli, arch))?;
    }
    Ok(())
}

fn measure(cli: &Cli, arch: &str) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut workload = Workload::new(arch, cli.batch.into(), cli.precision)?;
    let mut peer = cli.pytorch.as_deref().map(|python| PyTorch::start(python, cli, &workload.graph)).transpose()?;
    let modes = peer.as_ref().map_or_else(Vec::new, |peer| peer.modes.clone());
    let mut ours = Vec::new();
    let mut theirs = vec![Vec::new(); modes.len()];
    for _ in 0..cli.rounds {
        ours.push(slice(&mut workload, cli.steps));
        if let Some(peer) = &mut peer {
            for (mode, slices) in modes.iter().zip(&mut theirs) {
                slices.push(peer.slice(mode, cli.steps)?);
            }
        }
    }
    let images = f64::from(cli.batch) * f64::from(cli.steps);
    let rate = |slices: &[Slice]| median(slices.iter().map(|slice| images / slice.seconds));
    let cpu = |slices: &[Slice]| match slices.iter().map(|slice| slice.cpu_seconds).collect::<Option<Vec<f64>>>() {
        Some(seconds) => format!("{:.3} ms", 1e3 * median(seconds.into_iter()) / images),
        None => "no account".into(),
    };
    println!("{arch}, batch {}, {} threads", cli.batch, cli.threads);
    println!("  {:<26} {:>8} {:>10} {:>14}", "", "images/s", "ratio", "CPU per image");
    println!("  {:<26} {:>8.0} {:>10} {:>14}", format!("Skipstone, {}", cli.precision), rate(&ours), "", cpu(&ours));
    let line = |name: &str, slices: &[Slice]| {
        let ratio = median(ours.iter().zip(slices).map(|(ours, theirs)| theirs.seconds / ours.seconds));
        println!("  {name:<26} {:>8.0} {ratio:>9.2}x {:>14}", rate(slices), cpu(slices));
    };
    for (mode, slices) in modes.iter().zip(&theirs) {
        line(&format!("PyTorch, {mode}"), slices);
    }
    if let Some(best) = theirs.iter().max_by(|a, b| rate(a).total_cmp(&rate(b))) {
        line("PyTorch, the best of these", best);
    }
    println!(
        "  {:.1} GMAC/s, {} MiB of activations and gradients, {} resident",
        3.0 * workload.graph.macs() as f64 * rate(&ours) / 1e9,
        workload.tape.peak_bytes() >> 20,
        train::peak_bytes().map_or_else(|| "unknown".into(), |bytes| format!("{} MiB", bytes >> 20))
    );
    print_operators(&workload, cli.batch);
    Ok(())
}

fn slice(workload: &mut Workload, steps: u16) -> Slice {
    let (start, cpu) = (Instant::now(), cpu_seconds());
    (0..steps).for_each(|_| workload.step());
    let cpu_seconds = cpu.zip(cpu_seconds()).map(|(before, after)| after - before);
    Slice { seconds: start.elapsed().as_secs_f64(), cpu_seconds }
}

/// CPU time of this process's threads, by Linux's account.
fn cpu_seconds() -> Option<f64> {
    let mut nanoseconds = 0;
    for task in std::fs::read_dir("/proc/self/task").ok()? {
        let account = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        nanoseconds += account.split_whitespace().next()?.parse::<u64>().ok()?;
    }
    Some(nanoseconds as f64 / 1e9)
}

/// Milliseconds of a step by kind of operator, the most expensive one first.
fn print_operators(workload: &Workload, batch: u16) {
    let mut kinds: BTreeMap<String, [Duration; 2]> = BTreeMap::new();
    let mut macs: BTreeMap<String, f64> = BTreeMap::new();
    for (node, times) in workload.graph.nodes().iter().zip(&workload.nodes) {
        let kind = kind(&workload.graph, node);
        let total = kinds.entry(kind.clone()).or_default();
        total[0] += times[0];
        total[1] += times[1];
        if let Op::Conv(_) = node.op {
            let weights: usize = workload.graph.value(node.inputs[1]).dims[1..].iter().product();
            let outputs: usize = workload.graph.value(node.output).dims.iter().product();
            *macs.entry(kind).or_default() += (weights * outputs) as f64 * f64::from(batch);
        }
    }
    kinds.insert("optimizer".into(), [workload.optimizing, Duration::ZERO]);
    let mut kinds: Vec<_> = kinds.into_iter().collect();
    kinds.sort_by_key(|(_, [forward, backward])| std::cmp::Reverse(*forward + *backward));
    let all: Duration = kinds.iter().flat_map(|(_, times)| times).sum();
    println!("  {:<34} {:>8} {:>9} {:>6} {:>16}", "ms per step", "forward", "backward", "share", "GMAC/s");
    for (kind, times) in kinds {
        let seconds = times.map(|time| time.as_secs_f64() / f64::from(workload.steps));
        let rates = macs.get(&kind).map_or_else(String::new, |macs| {
            // The backward pass has two gradients.
            format!("{:>7.1} {:>8.1}", macs / seconds[0] / 1e9, 2.0 * macs / seconds[1] / 1e9)
        });
        println!(
            "  {kind:<34} {:>8.2} {:>9.2} {:>5.1}% {rates}",
            1e3 * seconds[0],
            1e3 * seconds[1],
            100.0 * times.iter().sum::<Duration>().as_secs_f64() / all.as_secs_f64()
        );
    }
    println!();
}

/// The operator; of a convolution with its kernel, stride, groups, channels and the rows of its result.
fn kind(graph: &Graph, node: &Node) -> String {
    let Op::Conv(Conv { kernel: [height, width], stride: [stride, _], groups, .. }) = node.op else {
        return node.op.name().into();
    };
    let (x, y) = (&graph.value(node.inputs[0]).dims, &graph.value(node.output).dims);
    let groups = if groups == 1 { String::new() } else { format!(" /{groups}") };
    format!("Conv {height}x{width} s{stride}{groups} {} to {} on {}", x[0], y[0], y[1])
}
