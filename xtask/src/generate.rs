//! The program `xtask/generate`, which a row compiles when it needs it: mdBook and cbindgen are not small, and
//! whoever runs another row does not wait for them.

use crate::shell::{Failure, Run};
use std::path::Path;

/// What it prints when it generates `what`.
pub(crate) fn run(root: &Path, what: &str) -> Result<String, Failure> {
    let generate = |subcommand: &str| {
        Run::line(
            &format!(
                "cargo {subcommand} --manifest-path xtask/generate/Cargo.toml --target-dir target/generate --locked"
            ),
            root,
        )
    };
    generate("build").pass()?;
    generate("run -q").args(["--", what]).read()
}

/// Its tests and lints.
pub(crate) fn test(root: &Path) -> Result<(), Failure> {
    let line = "cargo test --manifest-path xtask/generate/Cargo.toml --target-dir target/generate --locked";
    Run::line(line, root).pass()
}
