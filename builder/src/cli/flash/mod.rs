//! `skipstone flash`

mod probe;
mod replace;
mod uf2;

use super::console::Console;
use super::failure::Failure;
use super::firmware::{Project, read_for};
use super::packed::Packed;
use super::table::grouped;
use super::targets;
use crate::device::firmware::{self, Firmware};
use crate::files::{self, FileError};
use crate::target::{Board, Memory, Need};
use serde::Serialize;
use skipstone_runtime::Model;
use std::path::PathBuf;
use std::process::Command;
use uf2::Rom;

/// Put a model on a board: build firmware around it, flash it with probe-rs or by the board's drive, and show the log.
/// Boards that QEMU has are emulated.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  skipstone flash digits.stone --board nrf52840-dk")]
pub(super) struct Arguments {
    /// A .stone file.
    #[arg(value_name = "MODEL.stone")]
    model: PathBuf,
    /// The board.
    #[arg(long, value_name = "NAME", value_parser = targets::board)]
    board: &'static Board,
    /// Build and say what would be done, without touching a board.
    #[arg(long)]
    dry_run: bool,
    /// Replace only the model in the flash of a board that this command has flashed before.
    #[arg(long)]
    only_model: bool,
    /// Use probe-rs even if QEMU has the board or the board has a drive.
    #[arg(long)]
    probe: bool,
}

/// The name of the package.
const PACKAGE: &str = "firmware";
/// What a board has: the program, and the model around which it was built.
const FLASHED_PROGRAM: &str = "flashed.elf";
const FLASHED_MODEL: &str = "flashed.stone";
/// What a drive gets.
const UF2: &str = "firmware.uf2";

/// How an image gets to a board.
enum Way {
    Emulator,
    Probe,
    Drive(Rom),
}

#[derive(Serialize)]
struct Report {
    board: &'static str,
    program_bytes: usize,
    model_bytes: usize,
    model_address: u32,
    ram_bytes: u64,
    image: PathBuf,
    commands: Vec<String>,
}

pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<(), Failure> {
    let board = arguments.board;
    let packed = read_for(board, &arguments.model)?;
    let model = packed.model();
    let way = match Rom::of(board) {
        _ if board.machine.is_some() && !arguments.probe => Way::Emulator,
        Some(rom) if !arguments.probe => Way::Drive(rom),
        _ => Way::Probe,
    };
    // Each way has a program of its own.
    let folder = cache()?.join(if arguments.probe { format!("{}-probe", board.name) } else { board.name.into() });
    let session = Session { arguments, board, way, console, target: cache()?.join("target"), folder };
    if arguments.only_model { session.replace(&model) } else { session.whole(&model) }
}

/// One use of the command.
struct Session<'a> {
    arguments: &'a Arguments,
    board: &'static Board,
    way: Way,
    console: &'a Console,
    /// Where cargo keeps what it makes.
    target: PathBuf,
    /// The board's project.
    folder: PathBuf,
}

impl Session<'_> {
    /// Builds firmware around a model and flashes both.
    fn whole(&self, model: &Model<'_>) -> Result<(), Failure> {
        let project = Project::new(PACKAGE, self.board, self.arguments.probe, Need::of(model), model.as_bytes())?;
        // What is missing is said before the work, not after it.
        let commands = self.commands()?;
        files::create_dir(&self.folder)?;
        project.write(&self.folder, &self.folder)?;
        self.console.say(format!("building firmware for {}", self.board.title));
        let firmware = firmware::compile(self.board, &self.folder, PACKAGE, &self.target)?;
        self.hand_over(&firmware, &firmware.parts, model, project.region, commands)?;
        if !self.arguments.dry_run {
            // What the board has now.
            let flashed = self.folder.join(FLASHED_PROGRAM);
            std::fs::copy(&firmware.program, &flashed).map_err(|e| FileError::new("write", &flashed, e))?;
            files::write(&self.folder.join(FLASHED_MODEL), model.as_bytes())?;
        }
        Ok(())
    }

    /// Flashes a model alone, under the program that is on the board.
    fn replace(&self, model: &Model<'_>) -> Result<(), Failure> {
        let (name, program) = (self.board.name, self.folder.join(FLASHED_PROGRAM));
        if !program.exists() {
            let reason = format!("{name} has no program of this command yet: flash it once without --only-model");
            return Err(Failure::Work(reason));
        }
        let old = Packed::read(&self.folder.join(FLASHED_MODEL))?.model();
        let project = Project::new(PACKAGE, self.board, self.arguments.probe, Need::of(&old), old.as_bytes())?;
        if let Some(obstacle) = replace::obstacle(&old, model, self.board, project.region) {
            let reason = format!("cannot replace the model on {name}: {obstacle}; flash it without --only-model");
            return Err(Failure::at(&self.arguments.model, reason));
        }
        let firmware = Firmware::read(program, self.board)?;
        let address = project.region.origin;
        let stone = self.folder.join("replacement.stone");
        files::write(&stone, model.as_bytes())?;
        let commands = match self.way {
            Way::Emulator => {
                // An emulated flash is empty at each start: the program goes there without its own model.
                let bare = self.folder.join("bare.elf");
                files::write(&bare, &firmware.without_part(address)?)?;
                let mut command = firmware::emulator(self.board)?;
                let loader = format!("loader,file={},addr={address:#x},force-raw=on", stone.display());
                command.arg("-kernel").arg(bare).arg("-device").arg(loader);
                vec![command]
            }
            Way::Drive(_) => Vec::new(),
            Way::Probe => {
                let found = |subcommand| self.probe(subcommand);
                let (mut download, reset, mut attach) = (found("download")?, found("reset")?, found("attach")?);
                download.args(["--binary-format", "bin", "--base-address", &format!("{address:#x}")]).arg(&stone);
                attach.arg(&firmware.program);
                vec![download, reset, attach]
            }
        };
        self.hand_over(&firmware, &[(address, model.as_bytes().to_vec())], model, project.region, commands)
    }

    /// The commands that flash the whole program.
    fn commands(&self) -> Result<Vec<Command>, Failure> {
        let mut command = match self.way {
            Way::Emulator => {
                let mut command = firmware::emulator(self.board)?;
                command.arg("-kernel");
                command
            }
            Way::Probe => self.probe("run")?,
            Way::Drive(_) => return Ok(Vec::new()),
        };
        command.arg(self.folder.join(firmware::PROGRAM));
        Ok(vec![command])
    }

    /// A command of probe-rs; a dry run needs it only to be shown.
    fn probe(&self, subcommand: &str) -> Result<Command, Failure> {
        match firmware::probe_is_missing(self.board) {
            Some(missing) if self.arguments.dry_run => self.console.say(missing),
            Some(missing) => return Err(missing.into()),
            None => {}
        }
        Ok(firmware::probe(self.board, subcommand))
    }

    /// Says what goes where, and, unless nothing shall be touched, takes it there.
    fn hand_over(
        &self,
        firmware: &Firmware,
        parts: &[(u32, Vec<u8>)],
        model: &Model<'_>,
        region: Memory,
        mut commands: Vec<Command>,
    ) -> Result<(), Failure> {
        let (board, console) = (self.board, self.console);
        let is_program = |(address, _): &&(u32, Vec<u8>)| *address != region.origin;
        let program_bytes = firmware.parts.iter().filter(is_program).map(|(_, bytes)| bytes.len()).sum();
        let mut image = firmware.program.clone();
        let mut shown: Vec<String> = commands.iter().map(probe::shown).collect();
        let mut copies = None;
        if let Way::Drive(rom) = self.way {
            image = self.folder.join(UF2);
            files::write(&image, &rom.file(parts))?;
            copies = rom.drive().map(|drive| drive.join(UF2));
            let to = copies.as_ref().map_or_else(|| rom.drive_name().to_owned(), |copy| copy.display().to_string());
            shown.push(format!("cp {} {to}", image.display()));
        }
        let report = Report {
            board: board.name,
            program_bytes,
            model_bytes: model.as_bytes().len(),
            model_address: region.origin,
            ram_bytes: firmware.ram_bytes,
            image,
            commands: shown,
        };
        console.show(&report)?;
        console.result(&report)?;
        if self.arguments.dry_run {
            return Ok(());
        }
        match self.way {
            Way::Emulator => commands.iter_mut().try_for_each(|command| probe::emulate(command, board.name, console)),
            Way::Probe => commands.iter_mut().try_for_each(|command| probe::run(command, console)),
            Way::Drive(rom) => {
                let Some(copy) = copies else {
                    return Err(Failure::Work(format!(
                        "no drive {} is mounted: hold the button BOOTSEL while you plug {} in, then copy {} there, or \
                         name --probe to use a debug probe",
                        rom.drive_name(),
                        board.name,
                        report.image.display()
                    )));
                };
                std::fs::copy(&report.image, &copy).map_err(|e| FileError::new("write", &copy, e))?;
                Ok(())
            }
        }
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [program, model, ram] = [self.program_bytes as u64, self.model_bytes as u64, self.ram_bytes].map(grouped);
        let Self { board, model_address, image, .. } = self;
        writeln!(f, "{board}: program {program} bytes, model {model} bytes at {model_address:#010x}, RAM {ram} bytes")?;
        write!(f, "image: {}", image.display())?;
        self.commands.iter().try_for_each(|command| write!(f, "\ncommand: {command}"))
    }
}

/// Where firmware is built: `SKIPSTONE_CACHE`, or the system's folder for caches.
fn cache() -> Result<PathBuf, Failure> {
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let own = || Some(folder("XDG_CACHE_HOME").or_else(|| folder("LOCALAPPDATA"))?.join("skipstone"));
    let home = || Some(std::env::home_dir()?.join(".cache/skipstone"));
    let cache = folder("SKIPSTONE_CACHE").or_else(own).or_else(home);
    let cache = cache.and_then(|cache| std::path::absolute(cache.join("firmware")).ok());
    cache.ok_or_else(|| Failure::Work("there is no folder for caches: name one in SKIPSTONE_CACHE".into()))
}
