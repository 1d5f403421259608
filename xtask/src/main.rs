//! The project's commands: `cargo xtask demo` shows what it does, `cargo xtask test` checks it, `cargo xtask bench`
//! measures.
//!
//! `test` prepares the tools it needs where it can, runs every row of [`rows::ROWS`] with its output passed through,
//! and ends with a table of what ran where. Nothing is skipped: a row that cannot run fails and says what to install.
#![forbid(unsafe_code)]

mod bench;
mod demo;
mod disk;
mod generate;
mod passed;
mod release;
mod rows;
mod rules;
mod shell;
mod table;
mod tools;

use clap::{Args, Parser, Subcommand};
use rows::{Context, ROWS, Row};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;
use table::Entry;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Demo, checks and measurements of the Skipstone workspace")]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// From training to an emulated Cortex-M4 and Raspberry Pi, and a report; installs what is missing where it can
    Demo(demo::Arguments),
    /// Formatting, lints, house rules, tests, target builds, emulated boards, the demo and short fuzzing
    Test(TestArgs),
    /// Instructions of one inference: networks of the zoo on emulated cores, against benches/budgets.toml
    Bench(bench::Arguments),
    /// What is still to be done before a release, as a table
    Release(release::Arguments),
    /// Make c/include/skipstone.h of the C interface's source
    Header,
}

#[derive(Args)]
struct TestArgs {
    /// Run these rows and no others, in the table's order
    #[arg(long, num_args = 1.., value_name = "NAME")]
    only: Vec<String>,
    /// Run the rows that take minutes, too
    #[arg(long)]
    full: bool,
    /// Print the rows' names and leave
    #[arg(long)]
    list: bool,
    /// Seconds that each fuzzing row runs
    #[arg(long, default_value_t = 30, value_name = "N")]
    fuzz_seconds: u32,
}

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask stands inside the workspace");
    match Cli::parse().command {
        Task::Demo(args) => finish(demo::run(&args, root)),
        Task::Test(args) => test(args, root),
        Task::Bench(args) => finish(bench::run(&args, root)),
        Task::Release(args) => release::run(&args, root),
        Task::Header => finish(rows::write_header(root)),
    }
}

fn finish(result: Result<(), shell::Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn test(args: TestArgs, root: &Path) -> ExitCode {
    if args.list {
        for row in ROWS {
            let full = if row.full { "; with --full" } else { "" };
            println!("{:14} {} ({}{full})", row.name, row.about, row.place);
        }
        return ExitCode::SUCCESS;
    }
    if let Some(unknown) = args.only.iter().find(|name| ROWS.iter().all(|row| row.name != name.as_str())) {
        eprintln!("error: no row is named {unknown:?}; cargo xtask test --list names them");
        return ExitCode::from(2);
    }
    let context = Context { root: root.to_path_buf(), fuzz_seconds: args.fuzz_seconds, full: args.full };
    let named = |row: &Row| args.only.iter().any(|name| name == row.name);
    let chosen = ROWS.iter().filter(|row| if args.only.is_empty() { args.full || !row.full } else { named(row) });
    let before = passed::tested(root);
    println!("{}", disk::summary(root));
    let entries: Vec<Entry> = chosen.map(|row| run(row, &context)).collect();
    print!("\n{}", table::render(&entries));
    let names = entries.iter().filter(|entry| entry.outcome.is_ok()).map(|entry| entry.name);
    if let Err(failure) = before.and_then(|before| passed::note(root, &before, names)) {
        println!("not noted for `cargo xtask release`: {failure}");
    }
    if args.only.is_empty() && !args.full {
        let left: Vec<&str> = ROWS.iter().filter(|row| row.full).map(|row| row.name).collect();
        println!("not run without --full: {}", left.join(", "));
    }
    if entries.iter().all(|entry| entry.outcome.is_ok()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(row: &'static Row, context: &Context) -> Entry {
    println!("\n== {}: {}", row.name, row.about);
    let start = Instant::now();
    let outcome = (row.check)(context).map_err(|failure| disk::explained(failure, &context.root));
    if let Err(failure) = &outcome {
        println!("-- {}: FAILED: {failure}", row.name);
    }
    Entry { name: row.name, place: row.place, took: start.elapsed(), outcome }
}
