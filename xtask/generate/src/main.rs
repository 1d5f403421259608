//! What xtask makes by other people's libraries. In the project's folder: `generate book` builds the book of `docs/` in
//! `target/book` and fails on a warning or a dead link, `generate header` prints the C header.

mod book;
mod header;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let result = match std::env::args().nth(1).as_deref() {
        Some("book") => book::build(&root),
        Some("header") => header::generate(&root),
        _ => Err("what shall be generated: book or header?".into()),
    };
    let written = result.and_then(|made| std::io::stdout().write_all(&made).map_err(|e| e.to_string()));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
