//! The crates as they are published.

use super::{Context, silent};
use crate::shell::{Failure, Run, fail};
use std::path::Path;

/// What is published, each after those that it depends on, with the folder that it is in.
pub(crate) const PUBLISHED: [(&str, &str); 5] = [
    ("skipstone-onnx", "onnx"),
    ("skipstone-runtime", "runtime"),
    ("skipstone-serial", "serial"),
    ("skipstone-targets", "targets"),
    ("skipstone", "builder"),
];
/// What the library must not bring along: crates of the command, and the ONNX engine of `verify`.
const HEAVY: [&str; 3] = ["clap", "indicatif", "tract"];

/// Checks the library and the command with fewer features, and what the library brings along.
pub(super) fn lean(context: &Context) -> Result<String, Failure> {
    context.cargo("check -p skipstone --lib --no-default-features").pass()?;
    context.cargo("check -p skipstone --no-default-features --features cli").pass()?;
    context.cargo("check -p skipstone-runtime --no-default-features").pass()?;
    let tree = |features: &str| {
        context.cargo(&format!("tree -p skipstone -e normal,build --prefix none --format {{p}} {features}")).read()
    };
    let brought = brought_along(&tree("--no-default-features")?);
    if !brought.is_empty() {
        return fail(format!("the library without features depends on {}", brought.join(", ")));
    }
    // With all features it does: else the list above has not been read.
    if brought_along(&tree("")?).len() < HEAVY.len() {
        return fail(format!("`cargo tree` of the default features does not name {}", HEAVY.join(", ")));
    }
    Ok(String::new())
}

/// Which of [`HEAVY`] stand in a list of packages, one a line.
fn brought_along(tree: &str) -> Vec<&'static str> {
    let is_of = |line: &str, name: &str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '-']));
    HEAVY.into_iter().filter(|name| tree.lines().any(|line| is_of(line, name))).collect()
}

/// Packages each crate, and compiles all of them from what the packages hold: a file that is left out is missed.
pub(super) fn package(context: &Context) -> Result<String, Failure> {
    let names = PUBLISHED.map(|(name, _)| format!("-p {name}")).join(" ");
    // Who has compiled xtask has the part of the registry's index that this needs.
    context.cargo(&format!("package {names} --no-verify --allow-dirty --offline")).pass()?;
    let folder = context.root.join("target/package");
    let mut members = Vec::new();
    for (name, source) in PUBLISHED {
        let version = version(context, name)?;
        let member = format!("{name}-{version}");
        let unpacked = folder.join(&member);
        if unpacked.exists() {
            std::fs::remove_dir_all(&unpacked).map_err(|e| failed("remove", &unpacked, &e))?;
        }
        // Packages say that all their files are equally old; cargo would take the ones of before for the same.
        Run::line(&format!("tar -xzmf {member}.crate"), &folder).pass()?;
        for file in ["README.md", "LICENSE-MIT", "LICENSE-APACHE", "Cargo.toml", "src/lib.rs"] {
            if !unpacked.join(file).is_file() {
                return fail(format!("the package of {source}/ has no {file}"));
            }
        }
        members.push((name, member));
    }
    let manifest = context.root.join("Cargo.toml");
    let manifest = std::fs::read_to_string(&manifest).map_err(|e| failed("read", &manifest, &e))?;
    write(&folder.join("Cargo.toml"), &workspace(&members, &manifest))?;
    let lock = context.root.join("Cargo.lock");
    std::fs::copy(&lock, folder.join("Cargo.lock")).map_err(|e| failed("copy", &lock, &e))?;
    silent(Run::line("cargo check --workspace --target-dir ..", &folder).pass())
}

/// The version of a package of the workspace.
fn version(context: &Context, name: &str) -> Result<String, Failure> {
    let id = context.cargo(&format!("pkgid -p {name}")).read()?;
    match id.trim().rsplit_once(['#', '@']) {
        Some((_, version)) => Ok(version.to_string()),
        None => fail(format!("`cargo pkgid` of {name} names no version: {id}")),
    }
}

/// A workspace of unpacked packages, which take each other as from the registry. Its profiles are those of the main
/// workspace's `manifest`, so that what others wrote is compiled once.
fn workspace(members: &[(&str, String)], manifest: &str) -> String {
    let folders = members.iter().map(|(_, folder)| format!("{folder:?}")).collect::<Vec<_>>().join(", ");
    let mut text = format!("[workspace]\nresolver = \"3\"\nmembers = [{folders}]\n\n[patch.crates-io]\n");
    for (name, folder) in members {
        text += &format!("{name} = {{ path = {folder:?} }}\n");
    }
    let profiles = manifest.find("[profile").map_or("", |at| &manifest[at..]);
    format!("{text}\n{profiles}")
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|e| failed("write", path, &e))
}

fn failed(what: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure(format!("cannot {what} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heavy_crates_are_found_by_their_names_and_families() {
        let tree = "skipstone v0.1.0\nclap v4.6.0\nclapper v1.0.0\ntract-onnx v0.23.9 (*)\n";
        assert_eq!(brought_along(tree), ["clap", "tract"]);
        assert!(brought_along("skipstone v0.1.0\nclapper v1.0.0\n").is_empty());
    }

    #[test]
    fn packages_take_each_other_from_their_folders() {
        let text =
            workspace(&[("a", "a-0.1.0".into()), ("b", "b-0.1.0".into())], "[workspace]\n[profile.dev]\nx = 1\n");
        let expected = "[workspace]\nresolver = \"3\"\nmembers = [\"a-0.1.0\", \"b-0.1.0\"]\n\n[patch.crates-io]\n\
                        a = { path = \"a-0.1.0\" }\nb = { path = \"b-0.1.0\" }\n\n[profile.dev]\nx = 1\n";
        assert_eq!(text, expected);
    }
}
