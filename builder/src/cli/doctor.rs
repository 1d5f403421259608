//! `skipstone doctor`

use super::console::Console;
use super::failure::Failure;
use super::table::Table;
use crate::device::tools::{AARCH64_GCC, PROBE, QEMU_AARCH64, QEMU_ARM, Tool, has_target};
use crate::target::Core;
use serde::Serialize;
use std::path::Path;
use std::process::{Command, Stdio};

/// Show which tools are installed, and for each missing one what it is for and how to get it.
///
/// Each tool is needed only for what it is for: training, export, quantization and reports need none of them.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  skipstone doctor")]
pub(super) struct Arguments {}

const RUST: &str = "https://rustup.rs, or on Debian apt-get install rustc-web cargo-web rust-web-src lld";

/// Programs that commands start, and what is not possible without them.
const TOOLS: [(Tool, &str); 8] = [
    (Tool { name: "rustc", get: RUST }, "building firmware"),
    (Tool { name: "cargo", get: RUST }, "building firmware"),
    (QEMU_ARM, "running firmware on emulated Cortex-M boards"),
    (QEMU_AARCH64, "running the Raspberry Pi program elsewhere"),
    (AARCH64_GCC, "building the Raspberry Pi program elsewhere"),
    (PROBE, "flashing real boards"),
    (
        Tool { name: "python3", get: "apt-get install python3 python3-venv" },
        "the tests that compare with the onnx package",
    ),
    (Tool { name: "chromium", get: "apt-get install chromium" }, "the test that looks at a report's page"),
];

#[derive(Serialize)]
struct Found {
    tool: String,
    found: bool,
    /// The first line that `--version` prints; `null` where it prints none.
    version: Option<String>,
    purpose: String,
    /// How to get it.
    get: String,
}

pub(super) fn run(_: &Arguments, console: &Console) -> Result<(), Failure> {
    let tools = TOOLS.iter().map(|&(tool, purpose)| {
        let path = tool.find();
        Found {
            tool: tool.name.into(),
            found: path.is_some(),
            version: path.as_deref().and_then(version),
            purpose: purpose.into(),
            get: tool.get.into(),
        }
    });
    let targets = Core::triples().into_iter().map(|target| Found {
        tool: target.into(),
        found: has_target(target),
        version: None,
        purpose: format!("firmware for {}", processors(target)),
        get: format!("rustup target add {target}"),
    });
    let found: Vec<Found> = tools.chain(targets).collect();
    let mut table = Table::of_text(&["tool", "", "for"]);
    for tool in &found {
        let state = if tool.found { tool.version.as_deref().unwrap_or("found") } else { "missing" };
        table.row([tool.tool.clone(), state.into(), tool.purpose.clone()]);
    }
    console.show(&table)?;
    let missing: Vec<&Found> = found.iter().filter(|tool| !tool.found).collect();
    if !missing.is_empty() {
        console.show("")?;
        console.show("to get what is missing:")?;
        for tool in missing {
            console.show(format!("  {}: {}", tool.tool, tool.get))?;
        }
    }
    console.results(&found)
}

/// The processors that programs for a target run on.
fn processors(target: &str) -> String {
    let cores = Core::ALL.into_iter().filter(|core| core.triple() == Some(target));
    cores.map(Core::title).collect::<std::collections::BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(", ")
}

/// What a program says of its version.
fn version(program: &Path) -> Option<String> {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let line = String::from_utf8_lossy(&output.stdout).lines().next()?.trim().to_owned();
    (output.status.success() && !line.is_empty()).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_says_whose_it_is() {
        for target in Core::triples() {
            assert!(!processors(target).is_empty(), "{target}");
        }
        assert_eq!(processors("thumbv8m.main-none-eabihf"), "Cortex-M33, Cortex-M55");
    }

    #[test]
    fn the_version_is_a_line() {
        let line = version(Path::new("cargo")).unwrap();
        assert!(line.starts_with("cargo 1."), "{line}");
        assert_eq!(version(Path::new("skipstone-absent")), None);
    }
}
