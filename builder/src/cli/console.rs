//! Where results and messages go.

use super::failure::Failure;
use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use serde::Serialize;
use std::fmt::{Display, Write};
use std::io::Write as _;

/// Standard output for programs, standard error for people.
#[derive(Debug)]
pub(super) struct Console {
    json: bool,
}

impl Console {
    /// A console that prints results as JSON, or not at all.
    pub(super) fn new(json: bool) -> Self {
        Self { json }
    }

    /// A line for people.
    pub(super) fn say(&self, text: impl Display) {
        // Messages are not the result: where standard error is closed nobody misses them.
        let _ = writeln!(std::io::stderr(), "{text}");
    }

    /// The command's result, printed if programs asked for it.
    pub(super) fn result(&self, value: &impl Serialize) -> Result<(), Failure> {
        if !self.json {
            return Ok(());
        }
        let text = serde_json::to_string(value)?;
        match writeln!(std::io::stdout(), "{text}") {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(Failure::Work(format!("cannot write to standard output: {error}")))
            }
            _ => Ok(()),
        }
    }

    /// A bar over `count` units of `unit`, drawn if standard error is a terminal.
    pub(super) fn bar(&self, label: &str, count: usize, unit: &str) -> ProgressBar {
        let template = format!("{{prefix:>12}} [{{bar:30}}] {{pos}}/{{len}} {unit} {{per_sec}} {{msg}}");
        let bar = ProgressBar::new(count as u64).with_style(style(&template));
        bar.set_prefix(label.to_owned());
        bar
    }

    /// A bar over the batches of an epoch, drawn if standard error is a terminal.
    pub(super) fn batches(&self) -> ProgressBar {
        ProgressBar::new(0).with_style(style("{prefix:>12} [{bar:30}] {pos}/{len} {eta:>4} {msg}"))
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
