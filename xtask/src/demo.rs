//! `cargo xtask demo`: the whole chain and its report, with the emulators installed while the program compiles.

use crate::shell::{Failure, Run};
use crate::tools;
use clap::Args;
use skipstone_targets::Core;
use std::path::Path;
use std::thread;

/// The cores that the demo's devices have.
const CORES: [Core; 2] = [Core::CortexM4, Core::Neon];

/// Options of `cargo xtask demo`.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Folder for the demo's files; an earlier demo's are replaced
    #[arg(long, value_name = "DIR", default_value = "runs/demo")]
    out: String,
}

/// Runs the demo. A device whose tools cannot be installed is left out, and the last lines say why.
///
/// # Errors
/// If the program cannot be built, or the demo fails.
pub(crate) fn run(arguments: &Arguments, root: &Path) -> Result<(), Failure> {
    println!("Compiling takes a few minutes; missing emulators are installed meanwhile.");
    let (installed, built) = thread::scope(|scope| {
        let tools = scope.spawn(install);
        let built = Run::line("cargo build -p skipstone", root).pass();
        (tools.join().expect("installing does not panic"), built)
    });
    built.and_then(|()| chain(&arguments.out, root))?;
    installed.iter().for_each(|failure| eprintln!("not everything ran: {failure}"));
    Ok(())
}

/// The demo and the report about its run, in the folder `out`.
///
/// # Errors
/// If one of them fails.
pub(crate) fn chain(out: &str, root: &Path) -> Result<(), Failure> {
    let skipstone = |line: &str| Run::line(&format!("cargo run -q -p skipstone -- {line}"), root);
    skipstone("demo --out").args([out]).pass()?;
    skipstone("report").args([out, "-o", &format!("{out}/report.html")]).pass()
}

/// Installs what the devices need; what failed.
fn install() -> Vec<Failure> {
    let targets = CORES.into_iter().filter_map(Core::triple).map(|target| tools::compiler(target).map(drop));
    let outcomes = std::iter::once(tools::ensure(tools::emulator_packages())).chain(targets);
    let failures: Vec<Failure> = outcomes.filter_map(Result::err).collect();
    failures.iter().for_each(|failure| eprintln!("warning: {failure}"));
    failures
}
