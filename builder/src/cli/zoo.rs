//! `skipstone zoo`

use super::console::Console;
use super::failure::Failure;
use super::table::{Table, grouped};
use crate::zoo::{self, Entry, ZooError};

/// List the architectures with their exact numbers of parameters and multiply-accumulates.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  skipstone zoo --arch resnet8")]
pub(super) struct Arguments {
    /// List only this architecture.
    #[arg(long, value_name = "NAME")]
    arch: Option<String>,
}

pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<(), Failure> {
    let entries = match &arguments.arch {
        Some(name) => vec![zoo::entry(name).map_err(usage)?],
        None => zoo::list()?,
    };
    let mut table = Table::new(&["name", "family", "classes", "input", "params", "macs"]);
    for Entry { name, family, classes, input, params, macs } in &entries {
        table.row([
            (*name).into(),
            (*family).into(),
            classes.to_string(),
            input.clone(),
            grouped(*params as u64),
            grouped(*macs),
        ]);
    }
    console.show(table)?;
    console.results(&entries)
}

/// Architectures that cannot be built as asked are wrong usage; constructors at odds with themselves are not.
pub(super) fn usage(error: ZooError) -> Failure {
    match error {
        ZooError::Graph { .. } => error.into(),
        _ => Failure::Usage(error.to_string()),
    }
}
