//! `skipstone completions` and `skipstone man`

use super::console::Console;
use super::failure::Failure;
use crate::files;
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use std::path::{Path, PathBuf};

/// Print completions for a shell.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  skipstone completions bash > /etc/bash_completion.d/skipstone")]
pub(super) struct Completions {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

/// Write man pages, one for each command.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  skipstone man /usr/local/share/man/man1")]
pub(super) struct Man {
    /// The folder to write to, such as /usr/local/share/man/man1.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// Prints completions of `shell`.
pub(super) fn completions<C: CommandFactory>(arguments: &Completions, console: &Console) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(arguments.shell, &mut C::command(), env!("CARGO_PKG_NAME"), &mut text);
    let script = String::from_utf8_lossy(&text);
    console.show(script.trim_end())?;
    console.result(&serde_json::json!({ "shell": arguments.shell.to_string(), "script": script }))
}

/// Writes the pages of all commands.
pub(super) fn man<C: CommandFactory>(arguments: &Man, console: &Console) -> Result<(), Failure> {
    files::create_dir(&arguments.folder)?;
    let mut command = C::command();
    command.build();
    let count = pages(&command, &arguments.folder)?;
    console.show(format!("{}: {count} pages", arguments.folder.display()))?;
    console.result(&serde_json::json!({ "dir": arguments.folder, "pages": count }))
}

/// Writes the pages of a command and those below it; gives their number.
fn pages(command: &Command, folder: &Path) -> Result<usize, Failure> {
    let man = clap_mangen::Man::new(command.clone());
    let mut page = Vec::new();
    man.render(&mut page)?;
    files::write(&folder.join(man.get_filename()), &page)?;
    command.get_subcommands().try_fold(1, |count, sub| Ok(count + pages(sub, folder)?))
}
