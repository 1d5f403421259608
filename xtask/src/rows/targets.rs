//! Rows for the targets: builds and lints, kernels and whole models under emulation.

use super::{Context, silent};
use crate::bench;
use crate::shell::{Failure, Run, fail};
use crate::tools::{self, Compiler};
use skipstone_targets::{AARCH64_ROOT, Board, Core};
use std::time::Duration;

const FIRMWARE: &str = "firmware-examples";
/// Cores whose kernels are run on their emulated boards: those that have kernels of their own.
const KERNELS: [Core; 5] = [Core::CortexM0, Core::CortexM3, Core::CortexM4, Core::CortexM33, Core::CortexM55];
/// Cores whose programs are linked without a panic: the smallest, one with SMLAD and one with Helium.
const NO_PANIC: [Core; 3] = [Core::CortexM0, Core::CortexM4, Core::CortexM55];
/// An emulated program that runs so long hangs.
const EMULATION_LIMIT: Duration = Duration::from_secs(300);

/// Builds and, where the compiler has its lints, lints the runtime for a core: the host never sees the code of other
/// instruction sets.
fn runtime(context: &Context, core: Core, features: &str) -> Result<String, Failure> {
    let target = triple(core)?;
    let compiler = tools::compiler(target)?;
    let cargo = |line: &str| compiler.cargo(&told(core, line), target, &context.root);
    cargo(&format!("build -p skipstone-runtime {features}")).pass()?;
    match compiler {
        Compiler::Default => {
            tools::ensure_components()?;
            silent(cargo(&format!("clippy -p skipstone-runtime {features} -- -D warnings")).pass())
        }
        Compiler::Debian => Ok("built, not linted: by Debian's rustc-web".into()),
    }
}

fn triple(core: Core) -> Result<&'static str, Failure> {
    core.triple().ok_or_else(|| Failure(format!("{} has no compiler target of its own", core.name())))
}

/// Tells a build what the compiler does not: which extension an Armv8-M core has.
fn told(core: Core, line: &str) -> String {
    let Some(feature) = core.feature() else { return line.into() };
    line.replacen("-p ", &format!("--features skipstone-runtime/{feature} -p "), 1)
}

pub(super) fn thumbv6m(context: &Context) -> Result<String, Failure> {
    runtime(context, Core::CortexM0, "--no-default-features")
}

pub(super) fn thumbv7m(context: &Context) -> Result<String, Failure> {
    runtime(context, Core::CortexM3, "--no-default-features")
}

pub(super) fn thumbv7em(context: &Context) -> Result<String, Failure> {
    runtime(context, Core::CortexM4, "--no-default-features")
}

pub(super) fn thumbv8m(context: &Context) -> Result<String, Failure> {
    // Without the DSP extension: nothing tells the build of it.
    let target = triple(Core::CortexM33)?;
    tools::compiler(target)?.cargo("build -p skipstone-runtime --no-default-features", target, &context.root).pass()?;
    runtime(context, Core::CortexM33, "--no-default-features")?;
    runtime(context, Core::CortexM55, "--no-default-features")
}

pub(super) fn aarch64(context: &Context) -> Result<String, Failure> {
    tools::ensure(&[&tools::AARCH64_GCC, &tools::AARCH64_LIBC])?;
    runtime(context, Core::Neon, "--no-default-features")?;
    runtime(context, Core::Neon, "--features std")
}

/// Links a program that calls everything and has no panic handler that could be linked, and then one that can panic,
/// which must not link: so the proof is one.
pub(super) fn no_panic(context: &Context) -> Result<String, Failure> {
    let firmware = context.root.join(FIRMWARE);
    for core in NO_PANIC {
        let target = triple(core)?;
        let build = |features: &str| {
            let line = format!("build --release --target-dir target -p no-panic {features}");
            tools::compiler(target).map(|compiler| compiler.cargo(&told(core, &line), target, &firmware))
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

pub(super) fn kernels_cortex_m(context: &Context) -> Result<String, Failure> {
    tools::ensure(&[&tools::QEMU_ARM])?;
    let firmware = context.root.join(FIRMWARE);
    let mut ran = Vec::new();
    for core in KERNELS {
        let target = triple(core)?;
        let board = core.emulated_board();
        let machine = board.and_then(Board::emulator_arguments);
        let (Some(board), Some(machine)) = (board, machine) else {
            return fail(format!("no emulated board has a {}", core.title()));
        };
        let compiler = tools::compiler(target)?;
        lint(compiler, "-p kernel-tests -p board-qemu -p programs", core, context)?;
        let line = "build --release --target-dir target -p kernel-tests --bin kernel-tests";
        compiler.cargo(&told(core, line), target, &firmware).env("SKIPSTONE_BOARD", board.name).pass()?;
        let program = format!("target/{target}/release/kernel-tests");
        let run = Run::new("qemu-system-arm", &firmware).args(machine).args(["-kernel", &program]);
        run.limit(EMULATION_LIMIT).pass()?;
        ran.push(board.name);
    }
    Ok(ran.join(", "))
}

pub(super) fn kernels_neon(context: &Context) -> Result<String, Failure> {
    tools::ensure(&[&tools::QEMU_AARCH64, &tools::AARCH64_GCC, &tools::AARCH64_LIBC])?;
    let target = triple(Core::Neon)?;
    let compiler = tools::compiler(target)?;
    lint(compiler, "-p raspberry-pi", Core::Neon, context)?;
    let cpus = || Core::ALL.into_iter().flat_map(|core| core.emulated_cpus());
    for cpu in cpus() {
        let runner = format!("qemu-aarch64 -L {AARCH64_ROOT} -cpu {cpu}");
        let test = compiler.cargo("test -p skipstone-runtime --lib", target, &context.root);
        test.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER", &runner).pass()?;
    }
    Ok(cpus().copied().collect::<Vec<_>>().join(", "))
}

pub(super) fn devices(context: &Context) -> Result<String, Failure> {
    tools::emulators()?;
    let lines = "test -p lines -p raspberry-pi --manifest-path firmware-examples/Cargo.toml --target-dir firmware-examples/target";
    context.cargo(lines).pass()?;
    context.cargo("test -p skipstone --test firmware -- --ignored --test-threads=1").pass()?;
    silent(context.cargo("test -p skipstone-tests --test devices --test raspberry_pi -- --ignored").pass())
}

/// From photos to an emulated board, as the guide says it.
pub(super) fn guide(context: &Context) -> Result<String, Failure> {
    tools::ensure(&[&tools::QEMU_ARM])?;
    tools::compiler(triple(Core::CortexM4)?)?;
    silent(context.cargo("test -p skipstone --test guide -- --include-ignored --nocapture").pass())
}

/// The field update on an emulated board whose power is cut.
pub(super) fn field_update(context: &Context) -> Result<String, Failure> {
    tools::ensure(&[&tools::QEMU_ARM])?;
    let core = Core::CortexM4;
    lint(tools::compiler(triple(core)?)?, "-p field-update", core, context)?;
    context.cargo("check -p skipstone-serial --no-default-features").pass()?;
    let cuts = if context.full { 200 } else { 60 };
    let run = context.cargo("test -p skipstone-tests --test field_update -- --ignored --nocapture");
    run.env("SKIPSTONE_POWER_CUTS", &cuts.to_string()).pass().map(|()| format!("{cuts} power cuts"))
}

pub(super) fn budgets(context: &Context) -> Result<String, Failure> {
    tools::emulators()?;
    bench::check(&context.root)
}

/// Lints programs of the firmware's workspace, where the compiler has its lints.
fn lint(compiler: Compiler, packages: &str, core: Core, context: &Context) -> Result<(), Failure> {
    if compiler == Compiler::Debian {
        return Ok(());
    }
    tools::ensure_components()?;
    let line = format!("clippy --release {packages} -- -D warnings");
    compiler.cargo(&told(core, &line), triple(core)?, &context.root.join(FIRMWARE)).pass()
}
