//! The crates that firmware is built from, as they are in the command.

use toml::{Table, Value};

/// Files by their names below `sources/`.
static FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/sources.rs"));

/// The crates, with the manifest of the workspace that each is of.
const CRATES: [(&str, &str); 7] = [
    ("skipstone-runtime", "workspace.toml"),
    ("skipstone-targets", "workspace.toml"),
    ("board-model", "firmware.toml"),
    ("board-qemu", "firmware.toml"),
    ("board-rtt", "firmware.toml"),
    ("lines", "firmware.toml"),
    ("systick", "firmware.toml"),
];

/// What boards are supported by: in an emulator, and by a debug probe.
pub(super) const SUPPORTS: [&str; 2] = ["board-qemu", "board-rtt"];

/// What a manifest keeps outside of its workspace.
const SECTIONS: [&str; 4] = ["package", "features", "dependencies", "build-dependencies"];
const PACKAGE: [&str; 7] = ["name", "description", "version", "edition", "rust-version", "license", "authors"];

/// The versions of others' crates that the examples are tested with.
pub(super) fn lock() -> &'static str {
    file("firmware.lock")
}

/// The files of the crates that a project with the support `support` of its board needs, each crate in a folder of its
/// name.
pub(super) fn files(support: &str) -> impl Iterator<Item = (String, String)> {
    let needed = move |(name, _): &(&str, &str)| *name == support || !SUPPORTS.contains(name);
    CRATES.into_iter().filter(needed).flat_map(|(name, workspace)| {
        let own = move |path: &&str| path.strip_prefix(name).is_some_and(|rest| rest.starts_with('/'));
        FILES.iter().filter(move |(path, _)| own(path)).map(move |&(path, text)| {
            match path.strip_suffix("manifest.toml") {
                Some(folder) => {
                    (format!("{folder}Cargo.toml"), alone(&table(text), &table(file(workspace))).to_string())
                }
                None => (path.to_owned(), text.to_owned()),
            }
        })
    })
}

fn file(name: &str) -> &'static str {
    FILES.iter().find(|(path, _)| *path == name).map(|&(_, text)| text).expect("the build has put it there")
}

fn table(manifest: &str) -> Table {
    manifest.parse().expect("cargo has read it")
}

/// A crate's manifest without its workspace: what it takes from there stands in it, and crates of ours lie beside it.
fn alone(manifest: &Table, workspace: &Table) -> Table {
    let shared = &workspace["workspace"];
    let is_shared = |value: &Value| value.get("workspace").is_some();
    let mut alone = Table::new();
    for section in SECTIONS {
        let Some(Value::Table(entries)) = manifest.get(section) else { continue };
        let entries = entries.iter().filter(|(key, _)| section != "package" || PACKAGE.contains(&key.as_str()));
        let entries = entries.map(|(key, value)| {
            let from = if section == "package" { "package" } else { "dependencies" };
            let value = if is_shared(value) { merged(&shared[from][key], value) } else { value.clone() };
            (key.clone(), if section.ends_with("dependencies") { beside(key, value) } else { value })
        });
        alone.insert(section.into(), Value::Table(entries.collect()));
    }
    alone
}

/// A dependency of the workspace with what a crate adds to it; any other value as it is.
fn merged(shared: &Value, own: &Value) -> Value {
    let (mut dependency, Value::Table(own)) = (
        match shared {
            Value::Table(shared) => shared.clone(),
            Value::String(_) if own.as_table().is_some_and(|own| own.len() > 1) => {
                Table::from_iter([("version".into(), shared.clone())])
            }
            other => return other.clone(),
        },
        own,
    ) else {
        return shared.clone();
    };
    for (key, value) in own.iter().filter(|(key, _)| *key != "workspace") {
        match (dependency.get_mut(key), value) {
            (Some(Value::Array(all)), Value::Array(more)) => all.extend(more.iter().cloned()),
            _ => drop(dependency.insert(key.clone(), value.clone())),
        }
    }
    Value::Table(dependency)
}

/// A dependency on the crate `name`, which if it is ours lies beside the one that depends on it.
fn beside(name: &str, mut dependency: Value) -> Value {
    if let Some(path) = dependency.get_mut("path") {
        *path = Value::String(format!("../{name}"));
    }
    dependency
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_stands_without_its_workspace() {
        let workspace = table(
            "[workspace.package]\nversion = '1.2.0'\n[workspace.dependencies]\nlines = { path = 'x/lines' }\n\
             one = '1'\ntwo = { version = '2', default-features = false, features = ['a'] }",
        );
        let manifest = table(
            "[package]\nname = 'n'\nversion.workspace = true\nreadme = 'R'\n[lints]\nworkspace = true\n\
             [features]\nf = ['dep:one']\n[dependencies]\nlines.workspace = true\n\
             one = { workspace = true, optional = true }\ntwo = { workspace = true, features = ['b'] }\nthree = '3'",
        );
        let expected = table(
            "[package]\nname = 'n'\nversion = '1.2.0'\n[features]\nf = ['dep:one']\n[dependencies]\n\
             lines = { path = '../lines' }\none = { version = '1', optional = true }\n\
             two = { version = '2', default-features = false, features = ['a', 'b'] }\nthree = '3'",
        );
        assert_eq!(alone(&manifest, &workspace), expected);
    }

    #[test]
    fn the_command_has_the_sources_of_all_crates() {
        let files: Vec<(String, String)> = SUPPORTS.into_iter().flat_map(files).collect();
        assert!(!super::files(SUPPORTS[0]).any(|(path, _)| path.starts_with(SUPPORTS[1])));
        for (name, _) in CRATES {
            let manifest = files.iter().find(|(path, _)| *path == format!("{name}/Cargo.toml"));
            let manifest = manifest.map(|(_, text)| text).unwrap_or_else(|| panic!("{name}"));
            assert!(!manifest.contains("workspace") && manifest.contains(&format!("name = \"{name}\"")), "{manifest}");
            assert!(files.iter().any(|(path, _)| *path == format!("{name}/src/lib.rs")), "{name}");
        }
        assert!(lock().contains("name = \"cortex-m-rt\""));
    }
}
