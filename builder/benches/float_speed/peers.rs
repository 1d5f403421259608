//! The other engines.

use super::Failure;
use rayon::prelude::*;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use skipstone::tensor::Tensor as Images;
use skipstone::verify::to_channels_first;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;
use tempfile::TempDir;
use tract_onnx::prelude::*;

/// An engine that knows a model and images.
pub(crate) trait Engine {
    fn name(&self) -> String;
    /// The scores of all images, one after another.
    fn scores(&mut self) -> Result<Vec<f32>, Failure>;
    /// Times the classification of all images, `batch` at a time.
    fn slice(&mut self, batch: usize) -> Result<Slice, Failure>;
}

/// Time of all images.
#[derive(Clone, Copy, Deserialize)]
pub(crate) struct Slice {
    pub(crate) seconds: f64,
    /// Of all threads.
    pub(crate) cpu_seconds: f64,
}

/// Times work of this process.
pub(crate) fn timed(work: impl FnOnce() -> Result<(), Failure>) -> Result<Slice, Failure> {
    let (start, cpu) = (Instant::now(), cpu_seconds());
    work()?;
    Ok(Slice { seconds: start.elapsed().as_secs_f64(), cpu_seconds: cpu_seconds() - cpu })
}

/// CPU time of this process's threads, by Linux's account; no number elsewhere.
fn cpu_seconds() -> f64 {
    let nanoseconds = || {
        let mut nanoseconds = 0;
        for task in std::fs::read_dir("/proc/self/task").ok()? {
            let account = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
            nanoseconds += account.split_whitespace().next()?.parse::<u64>().ok()?;
        }
        Some(nanoseconds as f64)
    };
    nanoseconds().map_or(f64::NAN, |nanoseconds| nanoseconds / 1e9)
}

/// `[N, H, W, C]` to `[N, C, H, W]`.
fn channels_first(images: &Images) -> Vec<f32> {
    let dims = images.dims();
    to_channels_first(images.data(), &[dims[3], dims[1], dims[2]])
}

/// tract in its optimized form. It runs on one thread; batches are cut into a part for each.
pub(crate) struct Tract<'a> {
    file: &'a [u8],
    images: Vec<f32>,
    dims: [usize; 3],
    threads: usize,
    plans: HashMap<usize, Arc<TypedRunnableModel>>,
}

impl<'a> Tract<'a> {
    pub(crate) fn new(file: &'a [u8], images: &Images, threads: usize) -> Result<Self, Failure> {
        let &[_, height, width, channels] = images.dims() else { return Err("no images".into()) };
        let dims = [channels, height, width];
        Ok(Self { file, images: channels_first(images), dims, threads, plans: HashMap::new() })
    }

    fn plan(&mut self, batch: usize) -> Result<Arc<TypedRunnableModel>, Failure> {
        if let Some(plan) = self.plans.get(&batch) {
            return Ok(plan.clone());
        }
        let [channels, height, width] = self.dims;
        let prepare = || {
            let mut file = self.file;
            let model = tract_onnx::onnx().with_ignore_output_shapes(true).model_for_read(&mut file)?;
            let mut model = model;
            let fact = model.input_fact(0)?.clone();
            model.set_input_fact(0, fact.with_shape([batch, channels, height, width]))?;
            model.into_optimized()?.into_runnable()
        };
        let plan = prepare().map_err(|error| format!("tract: {error:#}"))?;
        self.plans.insert(batch, plan.clone());
        Ok(plan)
    }

    /// The images in tensors of `batch` or fewer, each with the plan for it.
    fn batches(&mut self, batch: usize) -> Result<Vec<(Arc<TypedRunnableModel>, TValue)>, Failure> {
        let [channels, height, width] = self.dims;
        let image = channels * height * width;
        let count = self.images.len() / image;
        (0..count)
            .step_by(batch)
            .map(|first| {
                let size = batch.min(count - first);
                let data = &self.images[first * image..][..size * image];
                let tensor = Tensor::from_shape(&[size, channels, height, width], data)
                    .map_err(|error| format!("tract: {error:#}"))?;
                Ok((self.plan(size)?, tensor.into()))
            })
            .collect()
    }
}

fn run(plan: &Arc<TypedRunnableModel>, images: &TValue) -> Result<Vec<f32>, Failure> {
    let scores = || -> TractResult<Vec<f32>> {
        let output = plan.run(tvec!(images.clone()))?;
        Ok(output[0].try_as_plain_ram()?.as_slice::<f32>()?.to_vec())
    };
    scores().map_err(|error| format!("tract: {error:#}").into())
}

impl Engine for Tract<'_> {
    fn name(&self) -> String {
        "tract, optimized".into()
    }

    fn scores(&mut self) -> Result<Vec<f32>, Failure> {
        let mut scores = Vec::new();
        for (plan, images) in self.batches(64)? {
            scores.extend(run(&plan, &images)?);
        }
        Ok(scores)
    }

    fn slice(&mut self, batch: usize) -> Result<Slice, Failure> {
        let parts = self.threads.min(batch);
        let batches = self.batches(batch.div_ceil(parts))?;
        timed(|| {
            for batch in batches.chunks(parts) {
                if let [(plan, images)] = batch {
                    run(plan, images)?;
                } else {
                    batch.par_iter().try_for_each(|(plan, images)| run(plan, images).map(drop))?;
                }
            }
            Ok(())
        })
    }
}

/// An engine in Python, by `benches/runtime.py`; it ends when this is dropped.
pub(crate) struct InPython {
    name: &'static str,
    version: String,
    child: Child,
    /// Closing it ends the process.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    _files: TempDir,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Answer<T> {
    Failure { error: String },
    Success(T),
}

#[derive(Deserialize)]
struct Setup {
    version: String,
}

#[derive(Deserialize)]
struct Scores {
    scores: Vec<f32>,
}

impl InPython {
    /// Starts Python and loads the model and the images there. `package` is the engine's, and the option that names
    /// Python.
    pub(crate) fn start(
        (name, package, python): (&'static str, &str, &Path),
        file: &[u8],
        images: &Images,
        threads: usize,
    ) -> Result<Self, Failure> {
        let files = tempfile::tempdir()?;
        let (model, pixels) = (files.path().join("model.onnx"), files.path().join("images"));
        std::fs::write(&model, file)?;
        std::fs::write(&pixels, channels_first(images).into_iter().flat_map(f32::to_le_bytes).collect::<Vec<u8>>())?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/runtime.py");
        let mut command = Command::new(python);
        let mut child = command
            .arg(script)
            .arg(package)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{}: {error}; --{package} takes a Python with {package}", python.display()))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("Python started without pipes".into());
        };
        let (input, output) = (Some(input), BufReader::new(output));
        let mut peer = Self { name, version: String::new(), child, input, output, _files: files };
        let &[_, height, width, channels] = images.dims() else { return Err("no images".into()) };
        let (model, pixels) = (model.display(), pixels.display());
        let setup: Setup = peer.ask(&format!("setup {model} {pixels} {channels} {height} {width} {threads}"))?;
        peer.version = setup.version;
        Ok(peer)
    }

    fn ask<T: DeserializeOwned>(&mut self, question: &str) -> Result<T, Failure> {
        // A process that ended without being asked has said why.
        let _ = self.input.as_ref().map(|mut input| writeln!(input, "{question}"));
        let mut answer = String::new();
        if self.output.read_line(&mut answer)? == 0 {
            return Err(format!("Python ended at `{question}`; its own message stands above").into());
        }
        match serde_json::from_str(&answer).map_err(|error| format!("Python answered `{question}` with {error}"))? {
            Answer::Failure { error } => Err(error.into()),
            Answer::Success(answer) => Ok(answer),
        }
    }
}

impl Engine for InPython {
    fn name(&self) -> String {
        format!("{} {}", self.name, self.version)
    }

    fn scores(&mut self) -> Result<Vec<f32>, Failure> {
        let Scores { scores } = self.ask("scores")?;
        Ok(scores)
    }

    fn slice(&mut self, batch: usize) -> Result<Slice, Failure> {
        self.ask(&format!("time {batch}"))
    }
}

impl Drop for InPython {
    fn drop(&mut self) {
        self.input = None;
        // A process that is gone already needs no waiting for.
        let _ = self.child.wait();
    }
}
