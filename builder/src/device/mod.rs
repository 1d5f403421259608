//! Runs a packed model on emulated devices: builds the program of `firmware-examples` around it and parses the
//! program's output.

mod elf;
#[cfg(feature = "cli")]
pub(crate) mod firmware;
mod images;
mod lines;
mod place;
mod process;
mod profile;
pub(crate) mod tools;

pub use images::TestImages;
pub use place::Device;
pub use profile::{LayerCost, Profile, profile};
pub use tools::Missing;

use crate::files::{self, FileError};
use crate::host::HostError;
use crate::pack::AlignedBytes;
use crate::target::{Need, STACK_BYTES};
use lines::Told;
use place::Place;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tools::Toolchain;

/// Longest time that compiling a program may take; its first time compiles the dependencies, perhaps the library.
const BUILD_LIMIT: Duration = Duration::from_secs(600);
/// Longest time that a program may run.
const RUN_LIMIT: Duration = Duration::from_secs(300);

/// What a device computed for a set of images.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceRun {
    /// The class with the highest score, for each image.
    pub labels: Vec<usize>,
    /// The int8 scores of each image.
    pub scores: Vec<Vec<i8>>,
    /// For each image and each node of the packed model: the CRC-32 of the rows that the node made, in their order.
    pub layer_checksums: Vec<Vec<u32>>,
    /// Instructions that it takes to check the model and to set up its engine; counted on microcontrollers.
    pub instructions_to_load: Option<u64>,
    /// Instructions that one image takes; counted on microcontrollers.
    pub instructions_per_inference: Option<u64>,
    /// Bytes of flash that the program and the model take, without the test images; of microcontrollers.
    pub flash_bytes: Option<u64>,
    /// Bytes of RAM: static data with the arena, and the deepest stack; of microcontrollers.
    pub ram_bytes: Option<u64>,
    /// Bytes of the arena.
    pub arena_bytes: u64,
    /// Bytes of the deepest stack; of microcontrollers.
    pub stack_bytes: Option<u64>,
    /// The backend of the runtime that ran.
    pub backend: String,
    /// The kernels that ran the convolutions.
    pub kernels: Vec<String>,
}

/// Why a model was not run on a device.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// Something has to be installed.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is no `firmware-examples` folder.
    #[error(
        "no folder firmware-examples in {from} or above it: run this inside of a clone of Skipstone, which has the \
         programs for the devices",
        from = from.display()
    )]
    NoFirmware {
        /// Where the search began.
        from: PathBuf,
    },
    /// The images do not fit their own dimensions.
    #[error("test images: {0}")]
    Images(&'static str),
    /// A process could not be started.
    #[error("cannot run {program}: {source}")]
    Start {
        /// Its name.
        program: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A process took too long and was ended.
    #[error("{program} was stopped after {seconds} seconds")]
    Timeout {
        /// Its name.
        program: String,
        /// The limit.
        seconds: u64,
    },
    /// The program for the device did not compile.
    #[error("building {package} for {target} failed: {reason}")]
    Build {
        /// The package of `firmware-examples`, or what else was built.
        package: &'static str,
        /// The compiler's target.
        target: &'static str,
        /// The compiler's first error.
        reason: String,
    },
    /// The program ended with failure.
    #[error("the program on {device} failed: {reason}")]
    Program {
        /// The device's name.
        device: &'static str,
        /// What it said last.
        reason: String,
    },
    /// A line of the program's output that cannot be parsed.
    #[error("the program on {device} said \"{line}\": {reason}")]
    Line {
        /// The device's name.
        device: &'static str,
        /// Its line.
        line: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Nothing counts instructions on the device.
    #[error(
        "on {device} instructions are counted by a plugin of QEMU: name its file by --plugin (docs/targets.md says what it \
         has to do)"
    )]
    NoPlugin {
        /// The device's name.
        device: &'static str,
    },
    /// A plugin of the emulator did not do what it has to.
    #[error("{path}: {reason}", path = path.display())]
    Plugin {
        /// The plugin.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A model that the host cannot load.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The board's memories are too small for model and program.
    #[error(
        "the model does not fit {board}: it takes {flash} bytes of flash with a program, of which there are {flash_there}, and \
         {ram} bytes of RAM with the stack, of which there are {ram_there}"
    )]
    Room {
        /// The board's name.
        board: &'static str,
        /// Bytes of flash that model and program take.
        flash: u64,
        /// Bytes of flash.
        flash_there: u32,
        /// Bytes of RAM that arena and stack take.
        ram: u64,
        /// Bytes of RAM.
        ram_there: u32,
    },
    /// The built program is not an ELF file.
    #[error("{path}: {reason}", path = path.display())]
    Elf {
        /// The program.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// Whether everything that [`run`] needs for `device` is installed.
///
/// # Errors
/// [`Missing`] says in one line what is not, and how to get it.
pub fn available(device: Device) -> Result<(), Missing> {
    tools::toolchain(device)?;
    tools::emulator(device).map(drop)
}

/// Classifies `images` by the packed model in the file `model` on `device`. The program's build checks the model, so
/// that the program does not carry the checker.
///
/// # Errors
/// [`DeviceError`]: what is missing, or what failed, in one line.
pub fn run(device: Device, model: &Path, images: &TestImages) -> Result<DeviceRun, DeviceError> {
    run_program(device, Program::default(), model, images)
}

/// What a microcontroller's program is built for; those for Linux are all alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// It checks the model when it loads it, as one does whose model comes from elsewhere.
    pub checker: bool,
    /// It is as small as the compiler makes it; otherwise as fast.
    pub small: bool,
}

/// [`run`] by another program.
///
/// # Errors
/// As [`run`].
pub fn run_program(
    device: Device,
    program: Program,
    model: &Path,
    images: &TestImages,
) -> Result<DeviceRun, DeviceError> {
    let features: &[&str] = if program.checker { &["--features", "checker"] } else { &[] };
    let profile = if program.small { "small" } else { RELEASE };
    let built = Built::new(device, model, images, (profile, CLASSIFY), features)?;
    let mut command = tools::emulator(device)?;
    let told = built.run(&mut command)?;
    let Place::Board(board) = device.place else { return Ok(told.run) };
    let sizes = elf::sizes(&built.program, board.ram)?;
    Ok(DeviceRun {
        flash_bytes: Some(sizes.flash.saturating_sub(built.images_bytes)),
        ram_bytes: Some(sizes.ram + told.stack_bytes),
        stack_bytes: Some(told.stack_bytes),
        ..told.run
    })
}

/// Runs the program `selftest` around the packed model in the file `model` on an emulated board: what each of the model's
/// test vectors gave, `Ok` or what differs, in the program's words: `node 3 stage1.conv1`, `scores`.
///
/// # Errors
/// [`DeviceError`]: what is missing, or what failed, in one line; no test vectors among it.
pub fn self_test(device: Device, model: &Path) -> Result<Vec<Result<(), String>>, DeviceError> {
    let toolchain = tools::toolchain(device)?;
    let mut emulator = tools::emulator(device)?;
    let folder = tempfile::tempdir().map_err(|e| FileError::new("create", &std::env::temp_dir(), e))?;
    let model = std::fs::canonicalize(model).map_err(|e| FileError::new("read", model, e))?;
    check_room(device, &model)?;
    let program = folder.path().join("program");
    build(device, &toolchain, (RELEASE, SELFTEST), &[], &[("SKIPSTONE_MODEL", &model)], &program)?;
    lines::parse_self_test(device, &process::output(emulator.arg("-kernel").arg(&program), RUN_LIMIT)?)
}

/// Refuses what a board has no room for, before anything is built. What is no valid model, its build refuses.
fn check_room(device: Device, model: &Path) -> Result<(), DeviceError> {
    let Place::Board(board) = device.place else { return Ok(()) };
    let stone = AlignedBytes::copy(&files::read(model)?);
    let Ok(model) = skipstone_runtime::Model::from_bytes(stone.as_slice()) else { return Ok(()) };
    let need = Need::of(&model);
    if need.on(board).fits() {
        return Ok(());
    }
    Err(DeviceError::Room {
        board: board.name,
        flash: need.model_bytes + need.program_bytes,
        flash_there: board.flash.bytes,
        ram: need.arena_bytes + STACK_BYTES,
        ram_there: board.ram.bytes,
    })
}

/// The profile of programs as fast as the compiler makes them.
const RELEASE: &str = "release";
/// Programs of the package for emulated boards.
const CLASSIFY: &str = "classify";
const SELFTEST: &str = "selftest";
const BENCH: &str = "bench";

/// A device's program, built for a model and images.
struct Built {
    device: Device,
    model: PathBuf,
    images: PathBuf,
    images_bytes: u64,
    count: usize,
    program: PathBuf,
    /// Where images and program are.
    folder: tempfile::TempDir,
}

impl Built {
    fn new(
        device: Device,
        model: &Path,
        images: &TestImages,
        (profile, bin): (&str, &str),
        options: &[&str],
    ) -> Result<Self, DeviceError> {
        let images_file = images.to_bytes()?;
        let folder = tempfile::tempdir().map_err(|e| FileError::new("create", &std::env::temp_dir(), e))?;
        let file = folder.path().join("images.bin");
        files::write(&file, &images_file)?;
        let toolchain = tools::toolchain(device)?;
        tools::emulator(device)?;
        let model = std::fs::canonicalize(model).map_err(|e| FileError::new("read", model, e))?;
        check_room(device, &model)?;
        let program = folder.path().join("program");
        let inputs = [("SKIPSTONE_MODEL", model.as_path()), ("SKIPSTONE_IMAGES", &file)];
        let inputs = if let Place::Board(_) = device.place { &inputs[..] } else { &[] };
        build(device, &toolchain, (profile, bin), options, inputs, &program)?;
        let images_bytes = images.pixels.len() as u64;
        let count = if bin == BENCH { 1 } else { images.count() };
        Ok(Self { device, model, images: file, images_bytes, count, program, folder })
    }

    /// Runs the program by the emulator's command line.
    fn run(&self, emulator: &mut Command) -> Result<Told, DeviceError> {
        if let Place::Board(_) = self.device.place {
            emulator.arg("-kernel").arg(&self.program);
            return lines::parse(self.device, &process::output(emulator, RUN_LIMIT)?, self.count);
        }
        let mut native = Command::new(&self.program);
        let command = if emulator.get_program().is_empty() { &mut native } else { emulator.arg(&self.program) };
        run_linux(self.device, command, &self.model, std::slice::from_ref(&self.images), self.count)
    }
}

/// The program of a Raspberry Pi, built for a processor of the emulator.
#[derive(Debug)]
pub struct LinuxProgram {
    device: Device,
    program: PathBuf,
    _folder: tempfile::TempDir,
}

impl LinuxProgram {
    /// Builds it for `device`, which runs Linux.
    ///
    /// # Errors
    /// As [`run`].
    pub fn build(device: Device) -> Result<Self, DeviceError> {
        let toolchain = tools::toolchain(device)?;
        let folder = tempfile::tempdir().map_err(|e| FileError::new("create", &std::env::temp_dir(), e))?;
        let program = folder.path().join("program");
        build(device, &toolchain, (RELEASE, CLASSIFY), &[], &[], &program)?;
        Ok(Self { device, program, _folder: folder })
    }

    /// It on another processor.
    ///
    /// # Panics
    /// If `device` needs another program.
    pub fn on(&mut self, device: Device) -> &Self {
        assert_eq!((device.package(), device.triple()), (self.device.package(), self.device.triple()));
        self.device = device;
        self
    }

    /// The command that runs it, to be continued by its arguments.
    ///
    /// # Errors
    /// [`Missing`]: the emulator.
    pub fn command(&self) -> Result<Command, Missing> {
        linux_command(self.device, &self.program)
    }

    /// Classifies PNG and JPEG files by the packed model in the file `model`.
    ///
    /// # Errors
    /// As [`run`].
    pub fn run(&self, model: &Path, pictures: &[PathBuf]) -> Result<DeviceRun, DeviceError> {
        run_linux(self.device, &mut self.command()?, model, pictures, pictures.len()).map(|told| told.run)
    }
}

/// The emulator's command line with the program; the program's own where the host is the device.
fn linux_command(device: Device, program: &Path) -> Result<Command, Missing> {
    let mut emulator = tools::emulator(device)?;
    if emulator.get_program().is_empty() {
        return Ok(Command::new(program));
    }
    emulator.arg(program);
    Ok(emulator)
}

/// Classifies the `count` images in `pictures` by the program for Linux that `command` runs.
fn run_linux(
    device: Device,
    command: &mut Command,
    model: &Path,
    pictures: &[PathBuf],
    count: usize,
) -> Result<Told, DeviceError> {
    command.arg("--lines").arg(model).args(pictures);
    lines::parse(device, &process::output(command, RUN_LIMIT)?, count)
}

/// Compiles the device's program and copies it to `to`.
fn build(
    device: Device,
    toolchain: &Toolchain,
    (profile, bin): (&str, &str),
    options: &[&str],
    inputs: &[(&str, &Path)],
    to: &Path,
) -> Result<(), DeviceError> {
    compile(device, (device.package(), profile, bin), toolchain, options, inputs, to)
}

/// Compiles a program of `firmware-examples` that needs no model, `package`, for an emulated board, and copies it to `to`.
///
/// # Errors
/// [`DeviceError`]: what is missing, or the compiler's first error.
pub fn build_package(device: Device, package: &'static str, to: &Path) -> Result<(), DeviceError> {
    compile(device, (package, RELEASE, package), &tools::toolchain(device)?, &[], &[], to)
}

/// Compiles a program of a package in a profile. Only one process at a time builds, because the next one replaces the program.
fn compile(
    device: Device,
    (package, profile, bin): (&'static str, &str, &str),
    toolchain: &Toolchain,
    options: &[&str],
    inputs: &[(&str, &Path)],
    to: &Path,
) -> Result<(), DeviceError> {
    let target = device.triple();
    let firmware = firmware_folder()?;
    let folder = firmware.join("target");
    files::create_dir(&folder)?;
    let lock_path = folder.join(".emulate.lock");
    let lock = std::fs::File::create(&lock_path).map_err(|e| FileError::new("create", &lock_path, e))?;
    lock.lock().map_err(|e| FileError::new("lock", &lock_path, e))?;

    let mut command = toolchain.cargo(target);
    command.args(["--profile", profile, "--quiet", "--locked", "--target", target, "--package", package]);
    command.args(options);
    command.arg("--target-dir").arg(&folder).current_dir(firmware);
    // What the caller's environment names is not meant.
    command.env_remove("SKIPSTONE_IMAGES").envs(inputs.iter().copied());
    if let Place::Board(board) = device.place {
        command.args(["--bin", bin]).env("SKIPSTONE_BOARD", board.name);
    }
    if let Some(feature) = device.core().feature() {
        command.args(["--features", feature]);
    }
    let output = process::output(&mut command, BUILD_LIMIT)?;
    if !output.status.success() {
        return Err(DeviceError::Build { package, target, reason: process::first_error(&output) });
    }
    let program = if let Place::Board(_) = device.place { bin } else { package };
    let built = folder.join(target).join(profile).join(program);
    std::fs::copy(&built, to).map_err(|e| FileError::new("read", &built, e))?;
    Ok(())
}

/// The folder of the programs: beside the current folder or one above it, or where this crate was compiled.
fn firmware_folder() -> Result<PathBuf, DeviceError> {
    let from = std::env::current_dir().unwrap_or_default();
    let beside = from.ancestors().map(|folder| folder.join("firmware-examples"));
    let compiled = Path::new(env!("CARGO_MANIFEST_DIR")).join("../firmware-examples");
    beside
        .chain([compiled])
        .find(|folder| folder.join("emulated/Cargo.toml").is_file())
        .ok_or(DeviceError::NoFirmware { from })
}
