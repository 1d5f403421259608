//! The rows of `cargo xtask test`, in the order in which they run.

mod book;
mod c;
mod firmware;
mod fuzz;
mod host;
mod package;
mod python;
mod targets;

pub(crate) use c::write_header;
pub(crate) use package::PUBLISHED;

use crate::shell::{Failure, Run};
use std::path::PathBuf;

/// What every row may ask.
pub(crate) struct Context {
    /// The workspace's folder.
    pub(crate) root: PathBuf,
    /// How long each fuzzing row runs.
    pub(crate) fuzz_seconds: u32,
    /// Whether what takes minutes shall run too.
    pub(crate) full: bool,
}

impl Context {
    /// `cargo <arguments>` in the workspace.
    fn cargo(&self, arguments: &str) -> Run {
        Run::line(&format!("cargo {arguments}"), &self.root)
    }
}

/// Runs a row; gives a remark for the table.
type Check = fn(&Context) -> Result<String, Failure>;

/// One line of the table.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// Machine, target or board.
    pub(crate) place: &'static str,
    pub(crate) about: &'static str,
    pub(crate) check: Check,
    /// Whether it runs with `--full` alone, or where it is named.
    pub(crate) full: bool,
}

/// Every row. Each prepares the tools that it needs, so that it also runs alone.
pub(crate) const ROWS: &[Row] = &[
    row("tools", "host", "toolchains and emulators, found or installed", host::tools),
    row("fmt", "host", "formatting", host::format),
    row("rules", "host", "crate arrows, module order, unsafe, machine paths", host::house_rules),
    row("clippy", "host", "lints, warnings denied", host::clippy),
    row("doc", "host", "documentation and its links", host::doc),
    row("test", "host", "unit, property and pipeline tests", host::test),
    row("lean", "host", "the library without the command and tract, the runtime without std", package::lean),
    row("package", "host", "the crates as they are published", package::package),
    row("thumbv6m", "thumbv6m-none-eabi", "the runtime for Cortex-M0 and M0+", targets::thumbv6m),
    row("thumbv7m", "thumbv7m-none-eabi", "the runtime for Cortex-M3", targets::thumbv7m),
    row("thumbv7em", "thumbv7em-none-eabihf", "the runtime for Cortex-M4 and M7", targets::thumbv7em),
    row(
        "thumbv8m",
        "thumbv8m.main-none-eabihf",
        "the runtime for Cortex-M33 and M55, and without extensions",
        targets::thumbv8m,
    ),
    row("aarch64", "aarch64-unknown-linux-gnu", "the runtime for Raspberry Pi", targets::aarch64),
    row(
        "no-panic",
        "Cortex-M0, M4, M55",
        "no panic is reachable from an engine: the linker's proof",
        targets::no_panic,
    ),
    row("kernels-cortex-m", "QEMU M4, M33, M55", "their kernels against the reference", targets::kernels_cortex_m),
    row("kernels-neon", "qemu-aarch64", "the runtime's tests, NEON kernels included", targets::kernels_neon),
    row("devices", "QEMU M0 to M55, A72", "packed models: every layer equals the host's", targets::devices),
    row("boards", "QEMU, 7 boards", "classify and selftest with a network of each family", firmware::emulated),
    row("firmware", "real boards", "programs of three boards build, with --full of six; sizes", firmware::real),
    row(
        "field-update",
        "QEMU M4",
        "a new model over a serial line, and power cuts (60; 200 with --full)",
        targets::field_update,
    ),
    row(
        "budgets",
        "QEMU M0 to M33",
        "instructions of an inference within 2 % of benches/budgets.toml",
        targets::budgets,
    ),
    row("c", "QEMU M4, host", "the C interface; firmware in C says what firmware in Rust does; sizes", c::interface),
    row("book", "host", "docs/ as a book: no warnings, no dead links", book::book),
    row("guide", "host and QEMU", "docs/guide.md, followed line by line", targets::guide),
    row("demo", "host and QEMU", "the README's first command, in the dev profile", host::demo),
    row("mpi", "Open MPI", "training by 2 and 4 processes gives the bytes of one; a killed process", host::mpi),
    row("report", "Chromium", "the page of `skipstone report` at 400 and 1,400 pixels", host::report),
    row("onnx-checker", "Python", "exported files against the onnx package's full checker", python::onnx_checker),
    full("zoo", "host", "architectures for ImageNet: float against tract, int8 against the reference", host::zoo),
    row("fuzz-stone", "host", "any bytes as a packed model", fuzz::stone),
    row("fuzz-onnx", "host", "any bytes as an ONNX file", fuzz::onnx),
];

const fn row(name: &'static str, place: &'static str, about: &'static str, check: Check) -> Row {
    Row { name, place, about, check, full: false }
}

const fn full(name: &'static str, place: &'static str, about: &'static str, check: Check) -> Row {
    Row { name, place, about, check, full: true }
}

fn silent(result: Result<(), Failure>) -> Result<String, Failure> {
    result.map(|()| String::new())
}
