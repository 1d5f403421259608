//! How long a packed model takes on this host, one image on one thread, beside engines of others in one run.
//!
//! ```text
//! cargo bench -p skipstone-runtime --bench int8_speed -- resnet8.stone --python VENV/bin/python \
//!     resnet8-int8.tflite resnet8.qdq.onnx
//! ```
//! A TFLite file is run by LiteRT (with XNNPACK) and OpenVINO, a QDQ file, as `skipstone quantize` writes it beside the
//! `.stone`, by ONNX Runtime and OpenVINO. All backends of this program that read the model's weights run as well. Engines
//! take turns, so that what else the machine does meets all; the least time is what the code needs.

use clap::Parser;
use skipstone_runtime::kernels::{BACKENDS, reference};
use skipstone_runtime::{Engine, Model};
use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

#[derive(Parser)]
#[command(about = "Time of one int8 inference, beside LiteRT, OpenVINO and ONNX Runtime")]
struct Cli {
    /// `cargo bench` passes it to every bench.
    #[arg(long, hide = true)]
    bench: bool,
    /// The model.
    #[arg(value_name = "FILE.stone")]
    stone: Option<PathBuf>,
    /// The same network for the others.
    #[arg(value_name = "FILE.tflite|FILE.onnx", requires = "python")]
    others: Vec<PathBuf>,
    /// A Python with ai-edge-litert, openvino, onnxruntime and numpy, as far as the files need them.
    #[arg(long, value_name = "PYTHON")]
    python: Option<PathBuf>,
    /// Turns of each engine; one more warms up.
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Milliseconds of a turn.
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    turn: u16,
}

type Failure = Box<dyn Error>;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let Some(stone) = &cli.stone else {
        eprintln!("int8_speed: nothing to time; name a .stone file");
        return ExitCode::SUCCESS;
    };
    match compare(&cli, stone) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// An engine's name and what makes it run for a while: the nanoseconds of each run.
type Timed<'t> = (String, Box<dyn FnMut(Duration) -> Result<Vec<u64>, Failure> + 't>);

fn compare(cli: &Cli, stone: &Path) -> Result<(), Failure> {
    let bytes = std::fs::read(stone).map_err(|error| format!("{}: {error}", stone.display()))?;
    // At a multiple of 16, as models have to lie.
    let mut aligned = vec![0u128; bytes.len().div_ceil(16)];
    bytemuck::cast_slice_mut(&mut aligned)[..bytes.len()].copy_from_slice(&bytes);
    let model = Model::from_bytes(&bytemuck::cast_slice(&aligned)[..bytes.len()])
        .map_err(|error| format!("{}: {error}", stone.display()))?;
    let image = noise(&model);
    let arena = vec![0u128; model.arena_len().div_ceil(16)];
    let runs = |name: &str| name != reference::BACKEND.name && name != "portable";
    let backends = BACKENDS.iter().filter(|backend| (backend.available)() && runs(backend.name));
    let mut arenas: Vec<_> = backends.map(|backend| (*backend, arena.clone())).collect();
    let mut engines: Vec<Timed<'_>> = Vec::new();
    let mut scores: Vec<Vec<i8>> = Vec::new();
    for (backend, arena) in &mut arenas {
        let mut engine = Engine::with_backend(&model, bytemuck::cast_slice_mut(arena), backend)?;
        scores.push(engine.run(&image)?.to_vec());
        let image = &image;
        let run = move |turn| timed(turn, || engine.run(image).map(drop).map_err(Into::into));
        engines.push((format!("Skipstone, {}", backend.name), Box::new(run)));
    }
    if scores.iter().any(|other| *other != scores[0]) {
        return Err("backends compute different scores".into());
    }
    if let Some(python) = &cli.python {
        for file in &cli.others {
            let is_tflite = file.extension().is_some_and(|extension| extension == "tflite");
            for engine in [if is_tflite { "litert" } else { "onnxruntime" }, "openvino"] {
                // Some engines crash on some files: a process each.
                match Peer::start(python, engine, file) {
                    Ok((name, mut peer)) => engines.push((name, Box::new(move |turn| peer.turn(turn)))),
                    Err(error) => eprintln!("{engine} does not run {}: {error}", file.display()),
                }
            }
        }
    }
    let mut times: Vec<Vec<u64>> = vec![Vec::new(); engines.len()];
    for round in 0..=cli.rounds {
        for ((_, run), times) in engines.iter_mut().zip(&mut times) {
            let took = run(Duration::from_millis(cli.turn.into()))?;
            if round > 0 {
                times.extend(took);
            }
        }
    }
    println!("{}, one image, one thread; microseconds", stone.display());
    println!("{:<64} {:>9} {:>9} {:>11}", "", "least", "median", "ours is");
    times.iter_mut().for_each(|times| times.sort_unstable());
    let ours = times.first().and_then(|times| times.first()).copied().unwrap_or(0) as f64;
    for ((name, _), times) in engines.iter().zip(&times) {
        let (least, median) = (times[0] as f64, times[times.len() / 2] as f64);
        println!("{name:<64} {:>9.1} {:>9.1} {:>10.2}x", least / 1e3, median / 1e3, ours / least);
    }
    Ok(())
}

/// Pixels; what an inference takes does not depend on them.
fn noise(model: &Model<'_>) -> Vec<u8> {
    let input = model.input();
    let len = [input.height, input.width, input.channels].map(usize::from).iter().product();
    let mut state = 1u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// Runs `run` for about as long as `turn`, at least once.
fn timed(turn: Duration, mut run: impl FnMut() -> Result<(), Failure>) -> Result<Vec<u64>, Failure> {
    let (start, mut took) = (Instant::now(), Vec::new());
    while took.is_empty() || start.elapsed() < turn {
        let begin = Instant::now();
        run()?;
        took.push(begin.elapsed().as_nanos() as u64);
    }
    Ok(took)
}

/// `peer.py` at work; it ends when this is dropped.
struct Peer {
    child: Child,
    /// Closing it ends the process.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Peer {
    /// Starts an engine, and says its name.
    fn start(python: &Path, engine: &str, file: &Path) -> Result<(String, Self), Failure> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/int8_speed/peer.py");
        let mut child = Command::new(python)
            .arg(script)
            .args([Path::new(engine), file])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{}: {error}; --python takes a Python interpreter", python.display()))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("Python started without pipes".into());
        };
        let mut peer = Self { child, input: Some(input), output: BufReader::new(output) };
        let name = peer.line()?;
        Ok((format!("{name}, {}", file.file_name().unwrap_or_default().display()), peer))
    }

    fn line(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            self.input = None;
            return Err(format!("Python ended with {}", self.child.wait()?).into());
        }
        Ok(line.trim_end().into())
    }

    fn turn(&mut self, turn: Duration) -> Result<Vec<u64>, Failure> {
        let input = self.input.as_mut().ok_or("Python has ended")?;
        writeln!(input, "{}", turn.as_secs_f64())?;
        Ok(self.line()?.split(' ').map(str::parse).collect::<Result<_, _>>()?)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.input = None;
        // It has nothing left to do.
        let _ = self.child.wait();
    }
}
