//! PyTorch in a process of its own, which waits while Skipstone works.

use super::{Cli, Slice};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use skipstone_onnx::{Batch, Graph, export};
use std::collections::BTreeMap;
use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// `benches/pytorch.py` at work on one network; it ends when this is dropped.
pub(crate) struct PyTorch {
    /// Ways to run a network that work here.
    pub(crate) modes: Vec<String>,
    child: Child,
    /// Closing it ends the process.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

#[derive(Deserialize)]
struct Setup {
    torch: String,
    parameters: usize,
    modes: Vec<String>,
    left_out: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Answer<T> {
    Failure { error: String },
    Success(T),
}

#[derive(Deserialize)]
struct Time {
    seconds: f64,
    cpu_seconds: f64,
}

impl PyTorch {
    /// Starts Python and builds the network of the graph there.
    pub(crate) fn start(python: &Path, cli: &Cli, graph: &Graph) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let file = tempfile::Builder::new().suffix(".onnx").tempfile()?;
        std::fs::write(file.path(), export(graph, Batch::default()))?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/pytorch.py");
        let mut child =
            Command::new(python).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(|error| {
                format!("{}: {error}; --pytorch takes a Python with torch and onnx", python.display())
            })?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("Python started without pipes".into());
        };
        let mut peer = Self { modes: Vec::new(), child, input: Some(input), output: BufReader::new(output) };
        let setup: Setup = peer.ask(&format!("setup\t{}\t{}\t{}", file.path().display(), cli.batch, cli.threads))?;
        if setup.parameters != graph.parameter_count() {
            let (theirs, ours) = (setup.parameters, graph.parameter_count());
            return Err(format!("{}: {theirs} parameters in PyTorch, {ours} in Skipstone", graph.name).into());
        }
        for (mode, reason) in setup.left_out {
            eprintln!("PyTorch {}, {mode}: does not work here: {reason}", setup.torch);
        }
        if setup.modes.is_empty() {
            return Err(format!("PyTorch {} cannot train {} here", setup.torch, graph.name).into());
        }
        peer.modes = setup.modes;
        Ok(peer)
    }

    /// Times some steps.
    pub(crate) fn slice(&mut self, mode: &str, steps: u16) -> Result<Slice, Box<dyn Error + Send + Sync>> {
        let Time { seconds, cpu_seconds } = self.ask(&format!("time\t{mode}\t{steps}"))?;
        Ok(Slice { seconds, cpu_seconds: Some(cpu_seconds) })
    }

    fn ask<T: DeserializeOwned>(&mut self, question: &str) -> Result<T, Box<dyn Error + Send + Sync>> {
        // A process that ended without being asked has said why.
        let _ = self.input.as_ref().map(|mut input| writeln!(input, "{question}"));
        let mut answer = String::new();
        if self.output.read_line(&mut answer)? == 0 {
            return Err(format!("Python ended at `{question}`; its own message stands above").into());
        }
        match serde_json::from_str(&answer).map_err(|error| format!("Python said {answer:?}: {error}"))? {
            Answer::Failure { error } => Err(error.into()),
            Answer::Success(answer) => Ok(answer),
        }
    }
}

impl Drop for PyTorch {
    fn drop(&mut self) {
        self.input = None;
        // A process that is gone already needs no waiting for.
        let _ = self.child.wait();
    }
}
