//! Compilers and emulators, found or named with the command that brings them.

use super::place::{Device, Place};
use crate::target::AARCH64_ROOT;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where Debian's compiler and its library's source lie.
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_SOURCE: &str = "/usr/lib/rustlib/src/rust/library";

/// A program that is started here, and how to get it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    pub(crate) get: &'static str,
}

pub(crate) const QEMU_ARM: Tool = Tool { name: "qemu-system-arm", get: "apt-get install qemu-system-arm" };
pub(crate) const QEMU_AARCH64: Tool = Tool { name: "qemu-aarch64", get: "apt-get install qemu-user" };
pub(crate) const AARCH64_GCC: Tool =
    Tool { name: "aarch64-linux-gnu-gcc", get: "apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross" };
#[cfg(feature = "cli")]
pub(crate) const PROBE: Tool = Tool {
    name: if cfg!(windows) { "probe-rs.exe" } else { "probe-rs" },
    get: "cargo install probe-rs-tools --locked, or see https://probe.rs/docs/getting-started/installation",
};

impl Tool {
    /// Where it is.
    pub(crate) fn find(self) -> Option<PathBuf> {
        find(self.name)
    }

    /// Where it is, to work on `device`.
    fn require(self, device: &'static str) -> Result<PathBuf, Missing> {
        self.find().ok_or_else(|| Missing { what: self.name.into(), device, get: self.get.into() })
    }
}

/// Something that has to be installed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} is missing, so nothing runs on {device}: {get}")]
pub struct Missing {
    /// What.
    pub what: String,
    /// The device that needs it.
    pub device: &'static str,
    /// How to get it.
    pub get: String,
}

/// A compiler for a device.
pub(super) enum Toolchain {
    /// The one that runs here, with the target installed.
    Rustup(OsString),
    /// Debian's, which compiles the library from its source.
    Debian,
}

impl Toolchain {
    /// `cargo build`, to be continued with arguments.
    pub(super) fn cargo(&self, target: &str) -> Command {
        let linux = target.contains("linux");
        let linker = format!("CARGO_TARGET_{}_LINKER", target.to_uppercase().replace(['-', '.'], "_"));
        let mut command = match self {
            Self::Rustup(cargo) => Command::new(cargo),
            Self::Debian => Command::new(DEBIAN_CARGO),
        };
        command.arg("build");
        if let Self::Debian = self {
            command.env("PATH", "/usr/bin:/bin").env("RUSTC_BOOTSTRAP", "1");
            // The environment of another cargo, in which this may run, names its own compiler.
            for variable in ["RUSTC", "RUSTDOC", "CARGO", "RUSTC_WRAPPER", "RUSTUP_TOOLCHAIN"] {
                command.env_remove(variable);
            }
            command.arg(if linux { "-Zbuild-std=std,panic_abort" } else { "-Zbuild-std=core" });
            if !linux {
                command.env(&linker, "ld.lld");
            }
        }
        if linux && !is_native() {
            command.env(&linker, AARCH64_GCC.name);
        }
        command
    }
}

/// A compiler for the device, with its linker.
pub(super) fn toolchain(device: Device) -> Result<Toolchain, Missing> {
    toolchain_for(device.triple(), device.name())
}

/// A compiler for a target, with its linker; the programs are for `device`.
pub(super) fn toolchain_for(target: &str, device: &'static str) -> Result<Toolchain, Missing> {
    let linux = target.contains("linux");
    if linux && !is_native() {
        AARCH64_GCC.require(device)?;
    }
    if let Some(cargo) = cargo_with(target) {
        return Ok(Toolchain::Rustup(cargo));
    }
    if has_debian_for(target) {
        return Ok(Toolchain::Debian);
    }
    let get = format!("rustup target add {target}, or on Debian apt-get install rustc-web cargo-web rust-web-src lld");
    Err(Missing { what: format!("a Rust compiler for {target}"), device, get })
}

/// [`emulator`] with a plugin, which counts; so time need not.
pub(super) fn emulator_with_plugin(device: Device, plugin: &OsStr) -> Result<Command, Missing> {
    let plain = emulator(device)?;
    let mut command = Command::new(plain.get_program());
    let timing = |argument: &&OsStr| *argument != "-icount" && *argument != "shift=0";
    command.args(plain.get_args().filter(timing)).arg("-plugin").arg(plugin);
    Ok(command)
}

/// The emulator's command line up to the program; without a program where the host is the device.
pub(super) fn emulator(device: Device) -> Result<Command, Missing> {
    let tool = match device.place {
        Place::Board(_) => QEMU_ARM,
        Place::Linux(_) if is_native() => return Ok(Command::new("")),
        Place::Linux(_) => QEMU_AARCH64,
    };
    let mut command = Command::new(tool.require(device.name())?);
    match device.place {
        Place::Board(board) => command.args(board.emulator_arguments().into_iter().flatten()),
        Place::Linux(cpu) => command.args(["-L", AARCH64_ROOT, "-cpu", cpu]),
    };
    Ok(command)
}

/// Whether there is probe-rs, which flashes the board `device`.
#[cfg(feature = "cli")]
pub(super) fn probe(device: &'static str) -> Result<(), Missing> {
    PROBE.require(device).map(drop)
}

/// Whether the host itself is an aarch64 device.
pub(super) fn is_native() -> bool {
    cfg!(all(target_os = "linux", target_arch = "aarch64", target_env = "gnu"))
}

/// The cargo that runs here, if its compiler has the library for `target`.
fn cargo_with(target: &str) -> Option<OsString> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", target])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let folder = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim_end());
    let is_core = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("libcore-"))
    };
    std::fs::read_dir(folder).ok()?.any(is_core).then(|| std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Whether firmware for `target` can be compiled here.
#[cfg(feature = "cli")]
pub(crate) fn has_target(target: &str) -> bool {
    cargo_with(target).is_some() || has_debian_for(target)
}

/// Whether Debian's compiler is there, with the library's source and a linker for `target`.
fn has_debian_for(target: &str) -> bool {
    let linker = target.contains("linux") || Path::new("/usr/bin/ld.lld").is_file();
    Path::new(DEBIAN_CARGO).is_file() && Path::new(DEBIAN_SOURCE).is_dir() && linker
}

/// The file `name` in the folders of `PATH`.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_one_line_with_the_remedy() {
        let missing = Missing { what: "qemu-system-arm".into(), device: "Cortex-M4", get: "apt-get install x".into() };
        let expected = "qemu-system-arm is missing, so nothing runs on Cortex-M4: apt-get install x";
        assert_eq!(missing.to_string(), expected);
    }

    #[test]
    fn an_unknown_target_has_no_compiler() {
        assert_eq!(cargo_with("thumbv9-none-eabi"), None);
        assert_eq!(find("skipstone-absent"), None);
    }

    #[test]
    fn debian_compiles_the_library() {
        let command = Toolchain::Debian.cargo("thumbv7em-none-eabihf");
        let arguments: Vec<_> = command.get_args().collect();
        assert_eq!(
            (command.get_program().to_str(), arguments.as_slice()),
            (Some("/usr/bin/cargo"), &["build".as_ref(), "-Zbuild-std=core".as_ref()][..])
        );
        let has = |name: &str, value| command.get_envs().any(|(n, v)| n == name && v == Some(value));
        assert!(
            has("CARGO_TARGET_THUMBV7EM_NONE_EABIHF_LINKER", "ld.lld".as_ref()) && has("RUSTC_BOOTSTRAP", "1".as_ref())
        );
    }
}
