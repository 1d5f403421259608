//! Makes the sources of the crates that firmware is built from a part of the command `skipstone`: a table of what is in
//! `sources/`, whose links lead to the crates. (A package has the files in their place.)

use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Files and folders that only tests compile.
const TESTS: [&str; 3] = ["tests", "tests.rs", "testing"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_CLI").is_none() {
        return;
    }
    if let Err(e) = embed() {
        println!("cargo::error=sources/: {e}");
    }
}

fn embed() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("sources");
    let mut files = Vec::new();
    list(&root, "", &mut files)?;
    let mut table = String::from("&[\n");
    for (name, path) in files {
        println!("cargo::rerun-if-changed={}", path.display());
        writeln!(table, "({name:?}, include_str!({path:?})),")?;
    }
    table += "]\n";
    std::fs::write(PathBuf::from(std::env::var("OUT_DIR")?).join("sources.rs"), table)?;
    Ok(())
}

/// Adds the files below a folder, in the order of their names; each with its name below `sources/`.
fn list(folder: &Path, name: &str, files: &mut Vec<(String, PathBuf)>) -> std::io::Result<()> {
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut entries = std::fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let (path, own) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        let below = if name.is_empty() { own.clone() } else { format!("{name}/{own}") };
        if TESTS.contains(&own.as_str()) {
            continue;
        }
        if path.is_dir() {
            list(&path, &below, files)?;
        } else {
            files.push((below, path.canonicalize()?));
        }
    }
    Ok(())
}
