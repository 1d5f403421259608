//! The command line `skipstone`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    skipstone::cli::main()
}
