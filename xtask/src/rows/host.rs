//! Rows that run on the host.

use super::{Context, silent};
use crate::shell::Failure;
use crate::{demo, rules, tools};
use skipstone_targets::Core;

/// Every workspace's.
const MANIFESTS: [&str; 5] = [
    "Cargo.toml",
    "c/Cargo.toml",
    "firmware-examples/Cargo.toml",
    "tests/fuzz/Cargo.toml",
    "xtask/generate/Cargo.toml",
];

pub(super) fn tools(context: &Context) -> Result<String, Failure> {
    tools::ensure(&tools::PACKAGES)?;
    tools::ensure_components()?;
    let compilers = Core::triples().into_iter().map(tools::compiler).collect::<Result<Vec<_>, _>>()?;
    tools::fuzzer(&context.root)?;
    let debian = compilers.iter().filter(|c| **c == tools::Compiler::Debian).count();
    let of_debian = if debian > 0 { format!(", {debian} by Debian's rustc-web") } else { String::new() };
    Ok(format!("{} packages, {} targets{of_debian}", tools::PACKAGES.len(), compilers.len()))
}

pub(super) fn format(context: &Context) -> Result<String, Failure> {
    tools::ensure_components()?;
    for manifest in MANIFESTS {
        context.cargo(&format!("fmt --all --manifest-path {manifest} --check")).pass()?;
    }
    Ok(String::new())
}

pub(super) fn house_rules(context: &Context) -> Result<String, Failure> {
    rules::check(&context.root)
}

pub(super) fn clippy(context: &Context) -> Result<String, Failure> {
    tools::ensure_components()?;
    silent(context.cargo("clippy --workspace --all-targets -- -D warnings").pass())
}

pub(super) fn doc(context: &Context) -> Result<String, Failure> {
    silent(context.cargo("doc --workspace --no-deps").env("RUSTDOCFLAGS", "-D warnings").pass())
}

pub(super) fn test(context: &Context) -> Result<String, Failure> {
    silent(context.cargo("test --workspace").pass())
}

pub(super) fn zoo(context: &Context) -> Result<String, Failure> {
    let large = "-- --ignored --nocapture every_architecture_for_large_images";
    context.cargo(&format!("test -p skipstone --lib {large}")).pass()?;
    silent(context.cargo(&format!("test -p skipstone-tests --test tract {large}")).pass())
}

/// Training by several processes. The command is built without tract, which has no part in it.
pub(super) fn mpi(context: &Context) -> Result<String, Failure> {
    tools::ensure(&[&tools::MPIRUN, &tools::MPI, &tools::LIBCLANG])?;
    let test = "test -p skipstone --no-default-features --features cli,mpi --test mpi -- --test-threads=1";
    context.cargo(test).pass().map(|()| "1, 2 and 4 processes".into())
}

/// The page of `skipstone report` in Chromium, as wide as a phone and as a screen.
pub(super) fn report(context: &Context) -> Result<String, Failure> {
    tools::ensure(&[&tools::CHROMIUM])?;
    let test = "test -p skipstone --test report the_page_fits -- --ignored --nocapture";
    context.cargo(test).pass().map(|()| "screenshots in target/tmp/report".into())
}

pub(super) fn demo(context: &Context) -> Result<String, Failure> {
    tools::emulators()?;
    let out = context.root.join("target/demo");
    // A run directory that holds a run is refused, as it should be.
    if out.exists() {
        std::fs::remove_dir_all(&out).map_err(|e| Failure(format!("cannot remove {}: {e}", out.display())))?;
    }
    silent(demo::chain("target/demo", &context.root))
}
