//! The rows of `cargo xtask test`, in the order in which they run.

use crate::shell::{Failure, Run};
use crate::{rules, tools};
use std::path::PathBuf;
use std::time::Duration;

/// What every row may ask.
pub(crate) struct Context {
    /// The workspace's folder.
    pub(crate) root: PathBuf,
    /// How long each fuzzing row runs.
    pub(crate) fuzz_seconds: u32,
}

/// One line of the table.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// Machine, target or board.
    pub(crate) place: &'static str,
    pub(crate) about: &'static str,
    /// Runs the row; gives a remark for the table.
    pub(crate) check: fn(&Context) -> Result<String, Failure>,
}

/// Every row. Each prepares the tools that it needs, so that it also runs alone.
pub(crate) const ROWS: &[Row] = &[
    Row { name: "tools", place: "host", about: "toolchains and emulators, found or installed", check: all_tools },
    Row { name: "fmt", place: "host", about: "formatting", check: format },
    Row {
        name: "rules",
        place: "host",
        about: "crate arrows, module order, unsafe, machine paths",
        check: house_rules,
    },
    Row { name: "clippy", place: "host", about: "lints, warnings denied", check: clippy },
    Row { name: "doc", place: "host", about: "documentation and its links", check: doc },
    Row { name: "test", place: "host", about: "unit, property and pipeline tests", check: test },
    Row { name: "lean", place: "host", about: "the builder without tract, the runtime without std", check: lean },
    Row { name: "thumbv6m", place: "thumbv6m-none-eabi", about: "the runtime for Cortex-M0 and M0+", check: thumbv6m },
    Row { name: "thumbv7m", place: "thumbv7m-none-eabi", about: "the runtime for Cortex-M3", check: thumbv7m },
    Row {
        name: "thumbv7em",
        place: "thumbv7em-none-eabihf",
        about: "the runtime for Cortex-M4 and M7",
        check: thumbv7em,
    },
    Row { name: "thumbv8m", place: "thumbv8m.main-none-eabihf", about: "the runtime for Cortex-M33", check: thumbv8m },
    Row { name: "aarch64", place: "aarch64-unknown-linux-gnu", about: "the runtime for Raspberry Pi", check: aarch64 },
    Row {
        name: "kernels-m4",
        place: "QEMU mps2-an386",
        about: "Cortex-M4 kernels against the reference",
        check: kernels_m4,
    },
    Row { name: "fuzz-stone", place: "host", about: "any bytes as a packed model", check: fuzz_stone },
    Row { name: "fuzz-onnx", place: "host", about: "any bytes as an ONNX file", check: fuzz_onnx },
];

const FIRMWARE: &str = "firmware-examples";
/// An emulated program that says nothing for so long hangs.
const EMULATION_LIMIT: Duration = Duration::from_secs(300);

impl Context {
    fn cargo(&self, arguments: &str) -> Run {
        Run::line(&format!("cargo {arguments}"), &self.root)
    }
}

fn silent(result: Result<(), Failure>) -> Result<String, Failure> {
    result.map(|()| String::new())
}

fn all_tools(context: &Context) -> Result<String, Failure> {
    tools::ensure(&tools::PACKAGES)?;
    tools::ensure_components()?;
    let compilers = tools::TARGETS.map(tools::compiler).into_iter().collect::<Result<Vec<_>, _>>()?;
    tools::fuzzer(&context.root)?;
    let debian = compilers.iter().filter(|c| **c == tools::Compiler::Debian).count();
    let of_debian = if debian > 0 { format!(", {debian} by Debian's rustc-web") } else { String::new() };
    Ok(format!("{} packages, {} targets{of_debian}", tools::PACKAGES.len(), compilers.len()))
}

fn format(context: &Context) -> Result<String, Failure> {
    tools::ensure_components()?;
    for manifest in ["Cargo.toml", "firmware-examples/Cargo.toml", "tests/fuzz/Cargo.toml"] {
        context.cargo(&format!("fmt --all --manifest-path {manifest} --check")).pass()?;
    }
    Ok(String::new())
}

fn house_rules(context: &Context) -> Result<String, Failure> {
    rules::check(&context.root)
}

fn clippy(context: &Context) -> Result<String, Failure> {
    tools::ensure_components()?;
    silent(context.cargo("clippy --workspace --all-targets -- -D warnings").pass())
}

fn doc(context: &Context) -> Result<String, Failure> {
    silent(context.cargo("doc --workspace --no-deps").env("RUSTDOCFLAGS", "-D warnings").pass())
}

fn test(context: &Context) -> Result<String, Failure> {
    silent(context.cargo("test --workspace").pass())
}

fn lean(context: &Context) -> Result<String, Failure> {
    context.cargo("check -p skipstone-builder --no-default-features").pass()?;
    silent(context.cargo("check -p skipstone-runtime --no-default-features").pass())
}

/// Builds and, where the compiler has its lints, lints the runtime for a target: the host never sees the code of other
/// instruction sets.
fn runtime_for(context: &Context, target: &str, features: &str) -> Result<String, Failure> {
    let compiler = tools::compiler(target)?;
    let cargo = |line: &str| compiler.cargo(line, target, &context.root);
    cargo(&format!("build -p skipstone-runtime {features}")).pass()?;
    match compiler {
        tools::Compiler::Default => {
            tools::ensure_components()?;
            silent(cargo(&format!("clippy -p skipstone-runtime {features} -- -D warnings")).pass())
        }
        tools::Compiler::Debian => Ok("built, not linted: with Debian's rustc-web".into()),
    }
}

fn thumbv6m(context: &Context) -> Result<String, Failure> {
    runtime_for(context, "thumbv6m-none-eabi", "--no-default-features")
}

fn thumbv7m(context: &Context) -> Result<String, Failure> {
    runtime_for(context, "thumbv7m-none-eabi", "--no-default-features")
}

fn thumbv7em(context: &Context) -> Result<String, Failure> {
    runtime_for(context, "thumbv7em-none-eabihf", "--no-default-features")
}

fn thumbv8m(context: &Context) -> Result<String, Failure> {
    runtime_for(context, "thumbv8m.main-none-eabihf", "--no-default-features")
}

fn aarch64(context: &Context) -> Result<String, Failure> {
    tools::ensure(&[&tools::AARCH64_GCC, &tools::AARCH64_LIBC])?;
    runtime_for(context, "aarch64-unknown-linux-gnu", "--no-default-features")?;
    runtime_for(context, "aarch64-unknown-linux-gnu", "--features std")
}

fn kernels_m4(context: &Context) -> Result<String, Failure> {
    let target = "thumbv7em-none-eabihf";
    tools::ensure(&[&tools::QEMU_ARM])?;
    let compiler = tools::compiler(target)?;
    let firmware = context.root.join(FIRMWARE);
    if compiler == tools::Compiler::Default {
        tools::ensure_components()?;
        compiler.cargo("clippy --release --workspace -- -D warnings", target, &firmware).pass()?;
    }
    compiler.cargo("build --release -p kernel-tests", target, &firmware).pass()?;
    let emulator = "qemu-system-arm -machine mps2-an386 -nographic -monitor none -serial none -kernel";
    silent(
        Run::line(emulator, &firmware)
            .args([format!("target/{target}/release/kernel-tests")])
            .args(["-semihosting-config", "enable=on,target=native"])
            .limit(EMULATION_LIMIT)
            .pass(),
    )
}

fn fuzz_stone(context: &Context) -> Result<String, Failure> {
    fuzz(context, "stone")
}

fn fuzz_onnx(context: &Context) -> Result<String, Failure> {
    fuzz(context, "onnx")
}

/// Fuzzes one target of `tests/fuzz`, starting from small valid files that the project's own code writes.
fn fuzz(context: &Context, target: &str) -> Result<String, Failure> {
    let fuzzer = tools::fuzzer(&context.root)?;
    context.cargo("run -p skipstone-tests --example seeds -- target/fuzz-seeds").pass()?;
    // What the fuzzer finds goes into the first folder, so that the second keeps only seeds.
    let found = context.root.join("target/fuzz-corpus").join(target);
    std::fs::create_dir_all(&found).map_err(|e| Failure(format!("cannot create {}: {e}", found.display())))?;
    let seconds = context.fuzz_seconds;
    let folders = format!("target/fuzz-corpus/{target} target/fuzz-seeds/{target}");
    let limits = format!("-max_total_time={seconds} -timeout=20 -max_len=65536 -print_final_stats=1 -verbosity=0");
    fuzzer.cargo("run", &format!("{target} {folders} -- {limits}"), &context.root).pass()?;
    Ok(format!("{seconds} s, {}", fuzzer.remark()))
}
