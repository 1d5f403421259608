//! The command line: one file per command.
//!
//! The result goes to standard output: with `--json` one JSON object or array, else text for people. Progress, remarks,
//! warnings and errors go to standard error. Exit codes: 0; 1 where the work failed or a check did not hold; 2 for
//! wrong usage.

mod agreement;
mod bench;
mod check;
mod classes;
mod classifier;
mod console;
mod demo;
mod doctor;
mod eval;
mod export;
mod failure;
mod firmware;
mod flash;
mod framing;
mod images;
mod inspect;
mod line;
mod manual;
mod model;
mod npy;
mod numbers;
mod outputs;
mod packed;
mod per_node;
mod quantize;
mod report;
mod run;
mod send;
mod shell;
mod table;
mod targets;
mod tensors;
mod train;
mod update;
mod verify;
mod verify_board;
mod zoo;

use clap::{CommandFactory, Parser, Subcommand};
use console::Console;
use failure::Failure;
use std::ffi::OsString;
use std::process::ExitCode;

/// Trains residual image classifiers, exports them as ONNX, quantizes them to int8 and packs them for
/// microcontrollers.
#[derive(Debug, Parser)]
#[command(name = "skipstone", version, propagate_version = true, disable_help_subcommand = true)]
#[command(max_term_width = 100)]
struct Arguments {
    /// Print JSON on standard output instead of text.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Arguments),
    Zoo(zoo::Arguments),
    Train(train::Arguments),
    Eval(eval::Arguments),
    Export(export::Arguments),
    Quantize(quantize::Arguments),
    Verify(verify::Arguments),
    Inspect(inspect::Arguments),
    Run(run::Arguments),
    Report(report::Arguments),
    Doctor(doctor::Arguments),
    Completions(manual::Completions),
    Man(manual::Man),
    Send(send::Arguments),
    Update(update::Arguments),
    Bench(bench::Arguments),
    Check(check::Arguments),
    Firmware(firmware::Arguments),
    Flash(flash::Arguments),
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if arguments.len() < 2 {
        let _ = Arguments::command().print_help();
        return ExitCode::SUCCESS;
    }
    let parsed = match Arguments::try_parse_from(&arguments) {
        Ok(parsed) => parsed,
        Err(error) if !error.use_stderr() => {
            // Help and version. Where standard output is closed nothing reads them.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        Err(error) => return Failure::from_clap(&error).report(),
    };
    let console = Console::new(parsed.json);
    let result = match parsed.command {
        Command::Bench(arguments) => bench::run(&arguments, &console),
        Command::Check(arguments) => check::run(&arguments, &console),
        Command::Firmware(arguments) => firmware::run(&arguments, &console),
        Command::Flash(arguments) => flash::run(&arguments, &console),
        Command::Zoo(arguments) => zoo::run(&arguments, &console),
        Command::Demo(arguments) => demo::run(&arguments, &console),
        Command::Train(arguments) => train::run(&arguments, &console),
        Command::Quantize(arguments) => quantize::run(&arguments, &console),
        Command::Verify(arguments) => verify::run(&arguments, &console),
        Command::Eval(arguments) => eval::run(&arguments, &console),
        Command::Export(arguments) => export::run(&arguments, &console),
        Command::Inspect(arguments) => inspect::run(&arguments, &console),
        Command::Run(arguments) => run::run(&arguments, &console),
        Command::Report(arguments) => report::run(&arguments, &console),
        Command::Doctor(arguments) => doctor::run(&arguments, &console),
        Command::Completions(arguments) => manual::completions::<Arguments>(&arguments, &console),
        Command::Man(arguments) => manual::man::<Arguments>(&arguments, &console),
        Command::Send(arguments) => send::run(&arguments, &console),
        Command::Update(arguments) => update::run(&arguments, &console),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// The commands in the fenced blocks of a document, without comments and what a shell does with them.
    fn commands(markdown: &str) -> Vec<Vec<String>> {
        let joined = markdown.replace("\\\n", " ");
        let mut inside = false;
        let in_blocks = joined.lines().filter(|line| {
            inside ^= line.starts_with("```");
            inside
        });
        let words = |line: &str| {
            let line =
                [" #", " | ", " > ", " && "].iter().fold(line, |line, end| line.split(end).next().unwrap_or(line));
            line.split_whitespace().map(str::to_owned).collect()
        };
        in_blocks.filter(|line| line.starts_with("skipstone ")).map(words).collect()
    }

    #[test]
    fn every_command_in_the_documents_parses() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let pages = std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
        let others = ["README.md", "builder/README.md", "models/README.md"].map(|name| root.join(name));
        let mut count = 0;
        for file in pages.chain(others).filter(|file| file.extension().is_some_and(|extension| extension == "md")) {
            for words in commands(&std::fs::read_to_string(&file).unwrap()) {
                let parsed = Arguments::try_parse_from(&words);
                assert!(parsed.is_ok(), "{}: `{}`: {}", file.display(), words.join(" "), parsed.unwrap_err());
                count += 1;
            }
        }
        assert!(count > 40, "{count} commands");
        let page = "skipstone no\n```\nskipstone zoo --arch \\\n  resnet8 # b\n```\nskipstone no\n";
        assert_eq!(commands(page), [["skipstone", "zoo", "--arch", "resnet8"].map(str::to_owned)]);
    }

    #[test]
    fn the_help_of_every_command_ends_with_an_example_that_parses() {
        for command in Arguments::command().get_subcommands() {
            let name = command.get_name();
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let example = help.strip_prefix("Example:\n  ").unwrap_or_else(|| panic!("{name} has no example: {help}"));
            let words = example.split(" > ").next().unwrap_or_default().split(' ');
            assert!(words.clone().nth(1) == Some(name), "{example}");
            Arguments::try_parse_from(words).unwrap_or_else(|error| panic!("{example}: {error}"));
        }
    }

    #[test]
    fn help_fits_a_terminal() {
        let mut program = Arguments::command();
        program.build();
        for command in program.get_subcommands_mut() {
            let help = command.render_long_help().to_string();
            for line in help.lines().take_while(|line| !line.starts_with("Example:")) {
                assert!(line.chars().count() <= 100, "{}: {line}", command.get_name());
            }
        }
    }
}
