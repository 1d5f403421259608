//! Where results and messages go.

use super::failure::Failure;
use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use serde::Serialize;
use std::fmt::{Display, Write};
use std::io::Write as _;
use std::process::Stdio;

/// The version of what `--json` prints. A new field leaves it as it is; one that goes, or means something else, raises
/// it.
const SCHEMA: u32 = 1;

/// A result with the version of its fields.
#[derive(Serialize)]
struct Versioned<'v, T> {
    schema: u32,
    #[serde(flatten)]
    value: &'v T,
}

impl<'v, T> Versioned<'v, T> {
    fn new(value: &'v T) -> Self {
        Self { schema: SCHEMA, value }
    }
}

/// Results go to standard output, everything else to standard error.
#[derive(Debug)]
pub(super) struct Console {
    json: bool,
    silent: bool,
}

impl Console {
    /// A console that prints results as JSON, or as text for people.
    pub(super) fn new(json: bool) -> Self {
        Self { json, silent: false }
    }

    /// The console of a process for which another one speaks: it prints nothing.
    pub(super) fn silent() -> Self {
        Self { json: false, silent: true }
    }

    /// Where the output of a program goes that is part of the result for people: not between JSON.
    pub(super) fn output_of_others(&self) -> Stdio {
        if self.json { Stdio::from(std::io::stderr()) } else { Stdio::inherit() }
    }

    /// A line about the work: progress, a remark, a warning.
    pub(super) fn say(&self, text: impl Display) {
        if !self.silent {
            remark(text);
        }
    }

    /// A part of the command's result for people: a table, a score, a verdict. Programs get [`result`](Self::result).
    pub(super) fn show(&self, text: impl Display) -> Result<(), Failure> {
        if self.json || self.silent { Ok(()) } else { print(text) }
    }

    /// The command's result, a struct or a map, printed as an object if programs asked for it.
    pub(super) fn result(&self, value: &impl Serialize) -> Result<(), Failure> {
        if self.json { print(serde_json::to_string(&Versioned::new(value))?) } else { Ok(()) }
    }

    /// The same of a command with a list of results, printed as an array.
    pub(super) fn results(&self, values: &[impl Serialize]) -> Result<(), Failure> {
        let list: Vec<_> = values.iter().map(Versioned::new).collect();
        if self.json { print(serde_json::to_string(&list)?) } else { Ok(()) }
    }

    /// A bar over `count` units of `unit`, drawn if standard error is a terminal.
    pub(super) fn bar(&self, label: &str, count: usize, unit: &str) -> ProgressBar {
        let template = format!("{{prefix:>12}} [{{bar:30}}] {{pos}}/{{len}} {unit} {{per_sec}} {{msg}}");
        if self.silent {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::new(count as u64).with_style(style(&template));
        bar.set_prefix(label.to_owned());
        bar
    }

    /// A bar over the batches of an epoch, drawn if standard error is a terminal.
    pub(super) fn batches(&self) -> ProgressBar {
        if self.silent {
            return ProgressBar::hidden();
        }
        ProgressBar::new(0).with_style(style("{prefix:>12} [{bar:20}] {pos}/{len} {wide_msg}"))
    }
}

/// A remark where no console is at hand.
pub(super) fn remark(text: impl Display) {
    // Messages are not the result: they may be lost where standard error is closed.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Prints a line on standard output. A closed pipe is no failure: `skipstone zoo | head` is fine.
fn print(line: impl Display) -> Result<(), Failure> {
    match writeln!(std::io::stdout(), "{line}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::Work(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .expect("the template is well formed")
        .with_key("per_sec", |state: &ProgressState, out: &mut dyn Write| {
            // The bar's text is built in memory, which takes everything.
            let _ = write!(out, "{:.0}/s", state.per_sec());
        })
        .progress_chars("=> ")
}
