//! Rows for the targets: builds and lints, kernels and whole models under emulation.

use super::{Context, silent};
use crate::shell::{Failure, Run, fail};
use crate::tools::{self, Compiler};
use std::time::Duration;

const FIRMWARE: &str = "firmware-examples";
const CORTEX_M4: &str = "thumbv7em-none-eabihf";
const AARCH64: &str = "aarch64-unknown-linux-gnu";
/// Raspberry Pi 3, 4 and 5.
const CORTEX_A: [&str; 3] = ["cortex-a53", "cortex-a72", "cortex-a76"];
/// An emulated program that runs so long hangs.
const EMULATION_LIMIT: Duration = Duration::from_secs(300);

/// Builds and, where the compiler has its lints, lints the runtime for a target: the host never sees the code of other
/// instruction sets. `dsp` tells what rustc does not: that an Armv8-M core has SMLAD.
fn runtime(context: &Context, target: &str, features: &str, dsp: bool) -> Result<String, Failure> {
    let compiler = tools::compiler(target)?;
    let cargo = |line: &str| {
        let run = compiler.cargo(line, target, &context.root);
        if dsp { run.env("SKIPSTONE_DSP", "1") } else { run }
    };
    cargo(&format!("build -p skipstone-runtime {features}")).pass()?;
    match compiler {
        Compiler::Default => {
            tools::ensure_components()?;
            silent(cargo(&format!("clippy -p skipstone-runtime {features} -- -D warnings")).pass())
        }
        Compiler::Debian => Ok("built, not linted: by Debian's rustc-web".into()),
    }
}

pub(super) fn thumbv6m(context: &Context) -> Result<String, Failure> {
    runtime(context, "thumbv6m-none-eabi", "--no-default-features", false)
}

pub(super) fn thumbv7m(context: &Context) -> Result<String, Failure> {
    runtime(context, "thumbv7m-none-eabi", "--no-default-features", false)
}

pub(super) fn thumbv7em(context: &Context) -> Result<String, Failure> {
    runtime(context, CORTEX_M4, "--no-default-features", false)
}

pub(super) fn thumbv8m(context: &Context) -> Result<String, Failure> {
    let target = "thumbv8m.main-none-eabihf";
    runtime(context, target, "--no-default-features", false)?;
    runtime(context, target, "--no-default-features", true)
}

pub(super) fn aarch64(context: &Context) -> Result<String, Failure> {
    tools::ensure(&[&tools::AARCH64_GCC, &tools::AARCH64_LIBC])?;
    runtime(context, AARCH64, "--no-default-features", false)?;
    runtime(context, AARCH64, "--features std", false)
}

/// Links a program that calls everything and has no panic handler that could be linked, and then one that can panic, which
/// must not link: so the proof is one.
pub(super) fn no_panic(context: &Context) -> Result<String, Failure> {
    let firmware = context.root.join(FIRMWARE);
    for target in ["thumbv6m-none-eabi", CORTEX_M4] {
        let build = |features: &str| {
            let line = format!("build --release --target-dir target -p no-panic {features}");
            tools::compiler(target).map(|compiler| compiler.cargo(&line, target, &firmware))
        };
        build("")?.pass()?;
        if build("--features panics")?.succeeds() {
            return fail(format!(
                "{target}: a program that can panic linked all the same, so the proof proves nothing"
            ));
        }
    }
    Ok(String::new())
}

pub(super) fn kernels_m4(context: &Context) -> Result<String, Failure> {
    tools::ensure(&[&tools::QEMU_ARM])?;
    let compiler = tools::compiler(CORTEX_M4)?;
    let firmware = context.root.join(FIRMWARE);
    lint(compiler, "-p kernel-tests -p board-qemu", CORTEX_M4, context)?;
    compiler
        .cargo("build --release --target-dir target -p kernel-tests --bin kernel-tests", CORTEX_M4, &firmware)
        .pass()?;
    let board = "-machine mps2-an386 -cpu cortex-m4 -nographic -semihosting-config enable=on,target=native";
    let program = format!("qemu-system-arm {board} -icount shift=0 -kernel target/{CORTEX_M4}/release/kernel-tests");
    silent(Run::line(&program, &firmware).limit(EMULATION_LIMIT).pass())
}

pub(super) fn kernels_neon(context: &Context) -> Result<String, Failure> {
    tools::ensure(&[&tools::QEMU_AARCH64, &tools::AARCH64_GCC, &tools::AARCH64_LIBC])?;
    let compiler = tools::compiler(AARCH64)?;
    lint(compiler, "-p raspberry-pi", AARCH64, context)?;
    for cpu in CORTEX_A {
        let runner = format!("qemu-aarch64 -L /usr/aarch64-linux-gnu -cpu {cpu}");
        let test = compiler.cargo("test -p skipstone-runtime --lib", AARCH64, &context.root);
        test.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER", &runner).pass()?;
    }
    Ok(CORTEX_A.join(", "))
}

pub(super) fn devices(context: &Context) -> Result<String, Failure> {
    tools::emulators()?;
    silent(context.cargo("test -p skipstone-tests --test devices -- --ignored").pass())
}

/// Lints programs of the firmware's workspace, where the compiler has its lints.
fn lint(compiler: Compiler, packages: &str, target: &str, context: &Context) -> Result<(), Failure> {
    if compiler == Compiler::Debian {
        return Ok(());
    }
    tools::ensure_components()?;
    let line = format!("clippy --release {packages} -- -D warnings");
    compiler.cargo(&line, target, &context.root.join(FIRMWARE)).pass()
}
