//! The program `xtask/generate`, which a row compiles when it needs it: mdBook and cbindgen are not small, and
//! whoever runs another row does not wait for them.

use crate::shell::{Failure, Run};
use std::path::Path;

/// What it prints when it generates `what`.
pub(crate) fn run(root: &Path, what: &str) -> Result<String, Failure> {
    cargo(root, "build").pass()?;
    cargo(root, "run -q").args(["--", what]).read()
}

/// Its tests.
pub(crate) fn test(root: &Path) -> Result<(), Failure> {
    cargo(root, "test").pass()
}

fn cargo(root: &Path, subcommand: &str) -> Run {
    let place = "--manifest-path xtask/generate/Cargo.toml --target-dir target/generate --locked";
    Run::line(&format!("cargo {subcommand} {place}"), root)
}
