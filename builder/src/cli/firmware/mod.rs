//! `skipstone firmware new`

mod project;
mod sources;

pub(super) use project::Project;

use super::check;
use super::console::Console;
use super::failure::Failure;
use super::outputs;
use super::packed::Packed;
use super::targets::{board, misfit};
use crate::files::{self, FileError};
use crate::target::{Board, Limits, Need};
use clap::Subcommand;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Make firmware of your own around a model.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  skipstone firmware new doorbell --board mps2-an386 --model digits.stone")]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    New(New),
}

/// Make a project: `cargo run` there starts the model on the board, or in QEMU.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  skipstone firmware new doorbell --board mps2-an386 --model digits.stone\n  \
                        cd doorbell && cargo run")]
struct New {
    /// The project's folder: absent or empty.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// The board.
    #[arg(long, value_name = "NAME", value_parser = board)]
    board: &'static Board,
    /// A .stone file.
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// `cargo run` flashes the board by probe-rs, also where QEMU has it.
    #[arg(long)]
    probe: bool,
}

#[derive(Serialize)]
struct Made<'a> {
    dir: &'a Path,
    board: &'static str,
    package: &'a str,
}

pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<(), Failure> {
    let Command::New(arguments) = &arguments.command;
    let (folder, board) = (&arguments.folder, arguments.board);
    let packed = read_for(board, &arguments.model)?;
    let model = packed.model();
    let name = std::path::absolute(folder).ok();
    let name = name.as_deref().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
    let project = Project::new(&name, board, arguments.probe, Need::of(&model), model.as_bytes())?;

    // Aside first, so that a project is whole or absent.
    if std::fs::read_dir(folder).map_or(folder.exists(), |mut entries| entries.next().is_some()) {
        return Err(Failure::at(folder, "is there and not empty: name another folder"));
    }
    outputs::check_folder(folder)?;
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    files::create_dir(parent)?;
    let aside = tempfile::Builder::new().prefix(".skipstone-").tempdir_in(parent);
    let aside = aside.map_err(|e| FileError::new("create a folder in", parent, files::unnamed(e)))?.keep();
    let moved = project.write(&aside, folder).and_then(|()| {
        open_to_others(&aside);
        std::fs::rename(&aside, folder).map_err(|e| FileError::new("create", folder, e).into())
    });
    if moved.is_err() {
        // What failed is said below.
        let _ = std::fs::remove_dir_all(&aside);
    }
    moved?;
    let shown = folder.display();
    let triple = board.core.triple().unwrap_or_default();
    console.show(format!("{shown}: firmware for {} around {}", board.title, arguments.model.display()))?;
    console.show(format!("next: rustup target add {triple}; cd {shown}; cargo run"))?;
    console.result(&Made { dir: folder, board: board.name, package: &project.package })
}

/// Reads a packed model, and refuses one that does not run on `board`.
pub(super) fn read_for(board: &'static Board, model: &Path) -> Result<Packed, Failure> {
    let file = check::locate(model)?;
    let packed = Packed::read(&file)?;
    // The projects use the core alone.
    match misfit(&packed.model(), Need::of(&packed.model()), board.core, Limits::of_core(board)) {
        Some(reason) => Err(Failure::at(&file, format!("does not fit {}: {reason}", board.name))),
        None => Ok(packed),
    }
}

/// A temporary folder is for its owner alone; this one becomes a folder like any other.
fn open_to_others(folder: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // Where the mode cannot be changed the owner has the folder all the same.
        let _ = std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755));
    }
}
