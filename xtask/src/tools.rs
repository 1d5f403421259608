//! Tools that the rows need: found, installed where that can be done, or named.
//!
//! Installing is attempted as root on a system with `apt-get`, through `rustup` where it is found, and with
//! `cargo install` for cargo-fuzz. Everything else fails with the command to type.

use crate::shell::{Failure, Run, fail, found};
use skipstone_targets::Core;
use std::path::Path;

/// A file that must exist, and the Debian package that brings it.
pub(crate) struct Package {
    /// A program on `PATH`, or an absolute path.
    file: &'static str,
    debian: &'static str,
}

pub(crate) const C_COMPILER: Package = Package { file: "cc", debian: "gcc" };
pub(crate) const CPP_COMPILER: Package = Package { file: "c++", debian: "g++" };
pub(crate) const QEMU_ARM: Package = Package { file: "qemu-system-arm", debian: "qemu-system-arm" };
pub(crate) const QEMU_AARCH64: Package = Package { file: "qemu-aarch64", debian: "qemu-user" };
pub(crate) const AARCH64_GCC: Package = Package { file: "aarch64-linux-gnu-gcc", debian: "gcc-aarch64-linux-gnu" };
pub(crate) const AARCH64_LIBC: Package =
    Package { file: "/usr/aarch64-linux-gnu/lib/crt1.o", debian: "libc6-dev-arm64-cross" };
pub(crate) const CLANG: Package = Package { file: "clang", debian: "clang" };
pub(crate) const LLD: Package = Package { file: "ld.lld", debian: "lld" };
pub(crate) const MAKE: Package = Package { file: "make", debian: "make" };
pub(crate) const MPIRUN: Package = Package { file: "mpirun", debian: "openmpi-bin" };
pub(crate) const MPI: Package = Package { file: "mpicc", debian: "libopenmpi-dev" };
/// Reads the library's header when the crate `mpi` is built.
pub(crate) const LIBCLANG: Package = Package { file: "/var/lib/dpkg/info/libclang-dev.list", debian: "libclang-dev" };
pub(crate) const CHROMIUM: Package = Package { file: "chromium", debian: "chromium" };
const RUSTFMT: Package = Package { file: "cargo-fmt", debian: "rustfmt-web" };
const CLIPPY: Package = Package { file: "cargo-clippy", debian: "rust-web-clippy" };
/// Debian's compiler with the library's source, for targets that rustup cannot fetch.
const DEBIAN_RUST: [Package; 4] = [
    Package { file: "/usr/bin/rustc", debian: "rustc-web" },
    Package { file: "/usr/bin/cargo", debian: "cargo-web" },
    Package { file: "/usr/lib/rustlib/src/rust/library/core/Cargo.toml", debian: "rust-web-src" },
    Package { file: "/usr/bin/ld.lld", debian: "lld" },
];

const PYTHON: Package = Package { file: "python3", debian: "python3" };
/// Brings `ensurepip`, without which a virtual environment has no pip.
const PYTHON_VENV: &str = "python3-venv";

/// All packages of the test run.
pub(crate) const PACKAGES: [&Package; 6] =
    [&C_COMPILER, &CPP_COMPILER, &QEMU_ARM, &QEMU_AARCH64, &AARCH64_GCC, &AARCH64_LIBC];

impl Package {
    fn present(&self) -> bool {
        if self.file.starts_with('/') { Path::new(self.file).exists() } else { found(self.file) }
    }
}

/// Finds or installs packages.
///
/// # Errors
/// With the `apt-get` command that would help, where it cannot be run or does not help.
pub(crate) fn ensure(packages: &[&Package]) -> Result<(), Failure> {
    let missing = || packages.iter().filter(|p| !p.present()).map(|p| p.debian).collect::<Vec<_>>();
    let names = missing();
    if names.is_empty() {
        return Ok(());
    }
    let advice = format!("install what is missing: apt-get install -y {}", names.join(" "));
    let here = Path::new("/");
    let root = Run::line("id -u", here).read().is_ok_and(|id| id.trim() == "0");
    if !root || !found("apt-get") {
        return fail(advice);
    }
    // Another installation may be under way.
    let apt = |line: &str| {
        Run::line("apt-get -q -o DPkg::Lock::Timeout=300", here)
            .args(line.split(' '))
            .env("DEBIAN_FRONTEND", "noninteractive")
    };
    let installed = apt("update").quiet().and_then(|()| apt("install -y --no-install-recommends").args(&names).quiet());
    match (installed, missing().is_empty()) {
        (Ok(()), true) => {
            println!("installed {}", names.join(", "));
            Ok(())
        }
        (Err(_), true) => Ok(()),
        (Err(failure), false) => fail(format!("{advice} ({failure})")),
        (Ok(()), false) => fail(format!("apt-get did not bring {}", missing().join(" "))),
    }
}

/// Finds or installs `cargo fmt` and `cargo clippy`.
///
/// # Errors
/// With the command that would help.
pub(crate) fn ensure_components() -> Result<(), Failure> {
    let here = Path::new("/");
    for (component, package) in [("rustfmt", &RUSTFMT), ("clippy", &CLIPPY)] {
        let present = || Run::new("cargo", here).args([&package.file["cargo-".len()..], "--version"]).succeeds();
        if present() {
            continue;
        }
        if found("rustup") {
            Run::new("rustup", here).args(["component", "add", component]).pass()?;
        } else {
            ensure(&[package])?;
        }
        if !present() {
            return fail(format!("cargo {component} does not start: rustup component add {component}"));
        }
    }
    Ok(())
}

/// The Python of `target/venv`, a virtual environment with the given packages, which are installed by pip if they
/// cannot be imported.
///
/// # Errors
/// With what is missing: Python, pip, or a way to the packages.
pub(crate) fn python(root: &Path, packages: &[&str]) -> Result<String, Failure> {
    let folder = root.join("target/venv");
    let python = folder.join("bin/python").display().to_string();
    let works = || Run::new(&python, root).args(["-m", "pip", "--version"]).succeeds();
    if !works() {
        ensure(&[&PYTHON])?;
        let create = || Run::line("python3 -m venv --clear", root).args([&folder]).pass();
        if create().is_err() && found("apt-get") {
            // Debian's python3 comes without it.
            let installed = Run::line("apt-get -q install -y --no-install-recommends", root).args([PYTHON_VENV]).pass();
            installed.and_then(|()| create()).or_else(|_| fail(format!("apt-get install -y {PYTHON_VENV}")))?;
        }
        if !works() {
            return fail(format!("python3 -m venv gives no pip: install what it lacks (Debian: {PYTHON_VENV})"));
        }
    }
    for package in packages {
        // Isolated: a folder of the package's name that stands where this runs is no package.
        let imports = || Run::new(&python, root).args(["-I", "-c", &format!("import {package}")]).succeeds();
        if imports() {
            continue;
        }
        let installed = Run::new(&python, root).args(["-m", "pip", "install", "--quiet", package]).pass();
        if !imports() {
            let reason = installed.err().map_or_else(|| "it cannot be imported".into(), |failure| failure.0);
            return fail(format!(
                "Python package {package}: `{python} -m pip install {package}` does not help ({reason})"
            ));
        }
    }
    Ok(python)
}

/// The compiler that builds for a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compiler {
    /// The one that runs the tests; it has the target's library.
    Default,
    /// Debian's rustc-web, which compiles the library from its source.
    Debian,
}

/// Finds a compiler for `target`, adding the target with rustup or installing Debian's compiler where need be.
///
/// # Errors
/// With the command that would help.
pub(crate) fn compiler(target: &str) -> Result<Compiler, Failure> {
    let here = Path::new("/");
    let has = || {
        let folder = Run::new("rustc", here).args(["--print", "target-libdir", "--target", target]).read();
        folder.is_ok_and(|folder| Path::new(folder.trim()).read_dir().is_ok_and(|mut files| files.next().is_some()))
    };
    if has() || (found("rustup") && Run::line("rustup target add", here).args([target]).quiet().is_ok() && has()) {
        return Ok(Compiler::Default);
    }
    match ensure(&DEBIAN_RUST.each_ref()) {
        Ok(()) => Ok(Compiler::Debian),
        Err(failure) => fail(format!("no Rust library for {target}: rustup target add {target}, or {failure}")),
    }
}

/// What emulates boards and the Raspberry Pi, which an aarch64 Linux is itself.
pub(crate) fn emulator_packages() -> &'static [&'static Package] {
    const ALL: [&Package; 4] = [&QEMU_ARM, &QEMU_AARCH64, &AARCH64_GCC, &AARCH64_LIBC];
    let native = cfg!(all(target_os = "linux", target_arch = "aarch64", target_env = "gnu"));
    if native { &ALL[..1] } else { &ALL }
}

/// Finds or installs what runs packed models on emulated devices.
///
/// # Errors
/// With the command that would help.
pub(crate) fn emulators() -> Result<(), Failure> {
    ensure(emulator_packages())?;
    Core::triples().into_iter().try_for_each(|target| compiler(target).map(drop))
}

impl Compiler {
    /// `cargo <arguments>` for `target`; the first argument is cargo's subcommand.
    pub(crate) fn cargo(self, arguments: &str, target: &str, dir: &Path) -> Run {
        let linux = target.contains("linux");
        let linker = format!("CARGO_TARGET_{}_LINKER", target.replace(['-', '.'], "_").to_uppercase());
        let (subcommand, rest) = arguments.split_once(' ').unwrap_or((arguments, ""));
        let run = Run::line(&format!("cargo {subcommand} --target {target}"), dir);
        let run = match (self, linux) {
            (Self::Default, true) => run.env(&linker, "aarch64-linux-gnu-gcc"),
            (Self::Default, false) => run,
            (Self::Debian, true) => debian(run.args(["-Zbuild-std"])).env(&linker, "aarch64-linux-gnu-gcc"),
            (Self::Debian, false) => debian(run.args(["-Zbuild-std=core"])).env(&linker, "ld.lld"),
        };
        run.args(rest.split_whitespace())
    }

    /// `make`, whose cargo this is.
    pub(crate) fn make(self, run: Run) -> Run {
        match self {
            Self::Default => run,
            Self::Debian => debian(run.args(["CARGOFLAGS=-Zbuild-std=core"])),
        }
    }
}

/// Debian's own compiler, whatever stands before it on `PATH`.
fn debian(run: Run) -> Run {
    run.without(&["CARGO", "RUSTC", "RUSTUP_TOOLCHAIN"]).env("PATH", "/usr/bin:/bin").env("RUSTC_BOOTSTRAP", "1")
}

/// cargo-fuzz with the compiler that runs the tests: `RUSTC_BOOTSTRAP=1` opens its unstable options, so that no nightly
/// toolchain is needed and none of another age is used.
pub(crate) struct Fuzzer {
    /// Whether the compiler comes with AddressSanitizer's library, as rustup's do.
    address_sanitizer: bool,
}

/// Finds or installs cargo-fuzz and what its targets link.
///
/// # Errors
/// With the command that would help.
pub(crate) fn fuzzer(root: &Path) -> Result<Fuzzer, Failure> {
    ensure(&[&C_COMPILER, &CPP_COMPILER])?;
    if !Run::line("cargo fuzz --version", root).succeeds()
        && let Err(failure) = Run::line("cargo install cargo-fuzz --locked", root).pass()
    {
        return fail(format!("install what is missing: cargo install cargo-fuzz --locked ({failure})"));
    }
    let libraries = Run::line("rustc --print target-libdir", root).read()?;
    let libraries = Path::new(libraries.trim()).read_dir().into_iter().flatten().flatten();
    let address_sanitizer = libraries.map(|file| file.file_name()).any(|name| {
        let name = name.to_string_lossy();
        name.starts_with("librustc") && name.ends_with("_rt.asan.a")
    });
    Ok(Fuzzer { address_sanitizer })
}

impl Fuzzer {
    /// `cargo fuzz <subcommand> <arguments>`.
    pub(crate) fn cargo(&self, subcommand: &str, arguments: &str, root: &Path) -> Run {
        let sanitizer = if self.address_sanitizer { "address" } else { "none" };
        let line = format!("cargo fuzz {subcommand} --fuzz-dir tests/fuzz --sanitizer {sanitizer} {arguments}");
        Run::line(&line, root).env("RUSTC_BOOTSTRAP", "1")
    }

    /// For the table.
    pub(crate) fn remark(&self) -> &'static str {
        if self.address_sanitizer {
            "with AddressSanitizer"
        } else {
            "without AddressSanitizer: this compiler lacks its library"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_present_needs_no_installation() {
        ensure(&[&Package { file: "sh", debian: "dash" }, &Package { file: "/", debian: "base-files" }]).unwrap();
    }

    #[test]
    fn the_host_compiler_knows_its_own_target() {
        let version = Run::line("rustc -vV", Path::new("/")).read().unwrap();
        let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
        assert_eq!(compiler(host).unwrap(), Compiler::Default);
    }
}
