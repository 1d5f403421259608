//! Programs that a board is handed to: probe-rs, and the emulator.

use crate::cli::console::Console;
use crate::cli::failure::Failure;
use crate::cli::shell;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

/// What probe-rs says where it finds no probe, in its versions' words.
const NO_PROBE: [&str; 4] =
    ["no connected probes were found", "no probe was found", "probe was not found", "probe not found"];

/// Runs probe-rs: its log, which is the board's, goes to standard output. It ends when the program does, or when it is
/// interrupted.
pub(super) fn run(command: &mut Command, console: &Console) -> Result<(), Failure> {
    let started = command.stdout(console.output_of_others()).stderr(Stdio::piped()).spawn();
    let mut child = started.map_err(|e| Failure::Work(format!("cannot run {}: {e}", shown(command))))?;
    let mut said = Vec::new();
    for line in child.stderr.take().map(BufReader::new).into_iter().flat_map(BufRead::lines).map_while(Result::ok) {
        // Warnings while it works; what it fails of is told below, in one line.
        if line.contains("WARN") {
            console.say(&line);
        }
        said.push(line);
    }
    let status = child.wait()?;
    if status.success() { Ok(()) } else { Err(Failure::Work(reason(&said))) }
}

/// Runs an emulator, whose output is the program's.
pub(super) fn emulate(command: &mut Command, board: &str, console: &Console) -> Result<(), Failure> {
    let status = command.stdin(Stdio::null()).stdout(console.output_of_others()).status();
    let status = status.map_err(|e| Failure::Work(format!("cannot run {}: {e}", shown(command))))?;
    let failed = || Failure::Work(format!("the program on {board} ended with failure: its last line says why"));
    if status.success() { Ok(()) } else { Err(failed()) }
}

/// A command as one types it.
pub(super) fn shown(command: &Command) -> String {
    shell::line(std::iter::once(command.get_program()).chain(command.get_args()))
}

/// Why probe-rs failed, of the lines that it said.
fn reason(said: &[String]) -> String {
    let all = said.join(" ").to_lowercase();
    if NO_PROBE.iter().any(|message| all.contains(message)) {
        return "no debug probe is connected: plug in the board by its debug port, and see what `probe-rs list` finds"
            .into();
    }
    let error = said.iter().position(|line| line.trim_start().starts_with("Error"));
    let lines = error.map_or(&said[said.len().saturating_sub(1)..], |at| &said[at..]);
    let lines: Vec<&str> = lines.iter().map(|line| line.trim()).filter(|line| !line.is_empty()).collect();
    format!("probe-rs failed: {}", lines.join(" ").trim_start_matches("Error: "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_probe_rs_says_becomes_one_line() {
        let reason = |text: &str| reason(&text.lines().map(str::to_owned).collect::<Vec<_>>());
        let none = reason(" WARN probe_rs: old\nError: No connected probes were found.\n");
        assert!(none.starts_with("no debug probe is connected: plug in"), "{none}");
        let other = reason("Error: Failed to open the debug probe.\n\nCaused by:\n    0: USB error\n");
        assert_eq!(other, "probe-rs failed: Failed to open the debug probe. Caused by: 0: USB error");
        assert_eq!((reason(""), reason("x\ny")), ("probe-rs failed: ".into(), "probe-rs failed: y".into()));
    }

    #[test]
    fn a_command_is_shown_as_it_is_typed() {
        let mut command = Command::new("probe-rs");
        command.args(["run", "--chip", "RP2040", "/a folder/program.elf"]);
        assert_eq!(shown(&command), "probe-rs run --chip RP2040 '/a folder/program.elf'");
    }
}
