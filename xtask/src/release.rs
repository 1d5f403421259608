//! What is still to be done before a release: `cargo xtask release --dry-run`.

use crate::rows::{PUBLISHED, ROWS};
use crate::shell::{Failure, Run, fail};
use crate::{passed, rules};
use clap::Args;
use serde_json::Value;
use std::path::Path;
use std::process::ExitCode;

/// Options of `cargo xtask release`.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Only look. Nothing is published: that is done by hand, by the commands that are printed where nothing is missing
    #[arg(long, required = true)]
    dry_run: bool,
}

/// What a release looks at: a name, and what was found or is missing.
type Check = (&'static str, fn(&Path) -> Result<String, Failure>);

const CHECKS: [Check; 8] = [
    ("versions", versions),
    ("changelog", changelog),
    ("metadata", metadata),
    ("licences", licences),
    ("house rules", rules::check),
    ("commit", commit),
    ("tests", tests),
    ("tag", tag),
];

/// Prints a line for each check, and exit code 1 where something is missing.
pub(crate) fn run(args: &Arguments, root: &Path) -> ExitCode {
    debug_assert!(args.dry_run);
    let found: Vec<_> = CHECKS.iter().map(|(name, check)| (*name, check(root))).collect();
    println!();
    for line in lines(&found) {
        println!("{line}");
    }
    let missing = found.iter().filter(|(_, outcome)| outcome.is_err()).count();
    if missing > 0 {
        println!("not ready: {missing} of {} checks", found.len());
        return ExitCode::FAILURE;
    }
    println!("ready; what is left to do by hand:");
    for line in by_hand(&version(root).unwrap_or_default()) {
        println!("  {line}");
    }
    ExitCode::SUCCESS
}

fn lines(found: &[(&str, Result<String, Failure>)]) -> Vec<String> {
    let line = |(name, outcome): &(&str, Result<String, Failure>)| match outcome {
        Ok(remark) => format!("{name:12} ready    {remark}"),
        Err(failure) => format!("{name:12} MISSING  {failure}"),
    };
    found.iter().map(line).collect()
}

/// Publishes each crate after those that it depends on.
fn by_hand(version: &str) -> Vec<String> {
    let publish = PUBLISHED.iter().map(|(name, _)| format!("cargo publish -p {name}"));
    publish.chain([format!("git tag v{version}"), format!("git push origin v{version}")]).collect()
}

/// Packages of a workspace, as cargo sees them.
fn packages(root: &Path, manifest: &str) -> Result<Vec<Value>, Failure> {
    let line = "cargo metadata --format-version 1 --no-deps --manifest-path";
    let json = Run::line(line, root).args([manifest]).read()?;
    let metadata: Value = serde_json::from_str(&json).map_err(|e| Failure(format!("cargo metadata: {e}")))?;
    metadata["packages"]
        .as_array()
        .cloned()
        .ok_or_else(|| Failure(format!("cargo metadata of {manifest} has no packages")))
}

/// The workspace's version.
fn version(root: &Path) -> Result<String, Failure> {
    let packages = packages(root, "Cargo.toml")?;
    let main = packages.iter().find(|package| package["name"] == "skipstone");
    let version = main.and_then(|package| package["version"].as_str());
    version.map(str::to_owned).ok_or_else(|| Failure("no package is named skipstone".into()))
}

/// Every package has the version, and asks for it where it depends on another.
fn versions(root: &Path) -> Result<String, Failure> {
    let version = version(root)?;
    let mut all = Vec::new();
    for manifest in ["Cargo.toml", "c/Cargo.toml", "firmware-examples/Cargo.toml", "xtask/generate/Cargo.toml"] {
        all.extend(packages(root, manifest)?);
    }
    match others(&all, &version).as_slice() {
        [] => Ok(format!("{version} in {} packages", all.len())),
        others => fail(format!("the version is {version}: change {}", others.join(", "))),
    }
}

/// Packages of another version, and dependencies of published ones on another version of ours.
fn others(packages: &[Value], version: &str) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut others = Vec::new();
    for package in packages {
        let name = text(&package["name"]);
        if package["version"] != version {
            others.push(format!("{name} ({})", text(&package["version"])));
        }
        let published = PUBLISHED.iter().any(|(published, _)| *published == name);
        for dependency in package["dependencies"].as_array().into_iter().flatten().filter(|_| published) {
            let of = text(&dependency["name"]);
            let ours = PUBLISHED.iter().any(|(published, _)| *published == of);
            if ours && dependency["req"] != format!("^{version}") {
                others.push(format!("{name} -> {of} ({})", text(&dependency["req"])));
            }
        }
    }
    others
}

fn changelog(root: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(root.join("CHANGELOG.md")).map_err(|e| Failure(format!("CHANGELOG.md: {e}")))?;
    section(&text, &version(root)?)
}

/// The section of a version: it has a date, and says something; what comes after it is not to be released.
fn section(changelog: &str, version: &str) -> Result<String, Failure> {
    let start = format!("## [{version}] - ");
    let mut lines = changelog.lines().skip_while(|line| !line.starts_with(&start));
    let Some(date) = lines.next().map(|line| &line[start.len()..]) else {
        return fail(format!("CHANGELOG.md has no section `{start}DATE`: give [Unreleased] this name"));
    };
    let is_date = date.len() == 10 && date.split('-').map(str::len).eq([4, 2, 2]);
    if !is_date || !date.chars().all(|c| c.is_ascii_digit() || c == '-') {
        return fail(format!("CHANGELOG.md: `{date}` is no date of the form 2030-01-31"));
    }
    let entries = lines.take_while(|line| !line.starts_with("## ")).filter(|line| line.starts_with("- ")).count();
    if entries == 0 {
        return fail(format!("CHANGELOG.md: the section of {version} has no entries"));
    }
    Ok(format!("{version} of {date}, {entries} entries"))
}

/// What the registry and its readers want of each published crate.
fn metadata(root: &Path) -> Result<String, Failure> {
    let packages = packages(root, "Cargo.toml")?;
    let lacking = lacking(&packages);
    if lacking.is_empty() {
        return Ok(format!("of {} crates", PUBLISHED.len()));
    }
    fail(format!("set in Cargo.toml: {}", lacking.join(", ")))
}

fn lacking(packages: &[Value]) -> Vec<String> {
    let mut lacking = Vec::new();
    for (name, _) in PUBLISHED {
        let package = packages.iter().find(|package| package["name"] == name).unwrap_or(&Value::Null);
        let is_set = |field: &&str| match &package[*field] {
            Value::String(text) => !text.is_empty(),
            Value::Array(list) => !list.is_empty(),
            _ => false,
        };
        let fields = ["description", "license", "readme", "repository", "keywords", "categories", "rust_version"];
        let missing: Vec<_> = fields.into_iter().filter(|field| !is_set(field)).collect();
        if !missing.is_empty() {
            lacking.push(format!("{} of {name}", missing.join(", ")));
        }
    }
    lacking
}

/// Both licences stand in each published crate, as they are at the top.
fn licences(root: &Path) -> Result<String, Failure> {
    let mut wrong = Vec::new();
    for file in ["LICENSE-MIT", "LICENSE-APACHE"] {
        let whole = std::fs::read(root.join(file)).map_err(|e| Failure(format!("{file}: {e}")))?;
        let differs = |folder: &str| std::fs::read(root.join(folder).join(file)).ok().as_ref() != Some(&whole);
        wrong.extend(
            PUBLISHED.iter().filter(|(_, folder)| differs(folder)).map(|(_, folder)| format!("{folder}/{file}")),
        );
    }
    if wrong.is_empty() {
        Ok("MIT and Apache-2.0 in each crate".into())
    } else {
        fail(format!("copy {}", wrong.join(", ")))
    }
}

fn commit(root: &Path) -> Result<String, Failure> {
    match passed::changes(root)? {
        0 => Ok("nothing is uncommitted".into()),
        count => fail(format!("{count} files are changed or new: commit or remove them (git status)")),
    }
}

/// Every row that runs without being asked for has passed on this commit: packages, documents, the README's figures.
fn tests(root: &Path) -> Result<String, Failure> {
    let passed = passed::on_this_commit(root)?;
    let left: Vec<&str> =
        ROWS.iter().filter(|row| !row.full && !passed.contains(row.name)).map(|row| row.name).collect();
    match left.len() {
        0 => Ok(format!("{} rows passed on this commit", passed.len())),
        _ if passed.is_empty() => fail("none has passed on this commit: cargo xtask test"),
        _ => fail(format!("not passed on this commit: cargo xtask test --only {}", left.join(" "))),
    }
}

fn tag(root: &Path) -> Result<String, Failure> {
    let tag = format!("v{}", version(root)?);
    let there = Run::line("git tag --list", root).args([&tag]).read()?;
    if there.trim().is_empty() {
        Ok(format!("{tag} is free"))
    } else {
        fail(format!("{tag} exists: raise the version"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_changelog_needs_a_section_with_a_date_and_entries() {
        let text = |heading: &str, rest: &str| {
            format!("# Changelog\n\n## [Unreleased]\n\n## {heading}\n{rest}## [0.0.9] - 2029-01-01\n- x\n")
        };
        assert_eq!(
            section(&text("[1.2.0] - 2030-01-31", "### Added\n\n- a\n- b\n"), "1.2.0").unwrap(),
            "1.2.0 of 2030-01-31, 2 entries"
        );
        for (heading, rest, reason) in [
            ("[1.1.0] - 2030-01-31", "- a\n", "no section `## [1.2.0] - DATE`"),
            ("[1.2.0] - soon", "- a\n", "`soon` is no date"),
            ("[1.2.0] - 2030-01-31", "", "has no entries"),
        ] {
            let failure = section(&text(heading, rest), "1.2.0").unwrap_err().to_string();
            assert!(failure.contains(reason), "{failure}");
        }
    }

    #[test]
    fn other_versions_and_missing_fields_are_named() {
        let package = |name: &str, version: &str, req: &str| {
            json!({ "name": name, "version": version, "dependencies": [{ "name": "skipstone-runtime", "req": req }],
                "description": "d", "license": "MIT", "readme": "README.md", "keywords": ["k"], "categories": [],
                "rust_version": "1.91", "repository": null })
        };
        let packages = [package("skipstone", "1.2.0", "^1.1.0"), package("xtask", "1.0.0", "*")];
        assert_eq!(others(&packages, "1.2.0"), ["skipstone -> skipstone-runtime (^1.1.0)", "xtask (1.0.0)"]);
        assert!(others(&[package("skipstone", "1.2.0", "^1.2.0")], "1.2.0").is_empty());
        assert!(lacking(&packages).contains(&"repository, categories of skipstone".to_owned()));
    }

    #[test]
    fn this_checkout_has_one_version_and_its_licences() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        versions(root).unwrap();
        licences(root).unwrap();
    }

    #[test]
    fn lines_say_what_is_missing_and_publishing_keeps_the_order() {
        let found = [("tests", Ok("2 rows".into())), ("tag", fail("v1 exists"))];
        assert_eq!(lines(&found), ["tests        ready    2 rows", "tag          MISSING  v1 exists"]);
        let commands = by_hand("1.2.0");
        assert_eq!(commands.first().unwrap(), "cargo publish -p skipstone-onnx");
        assert!(commands.contains(&"git tag v1.2.0".to_owned()));
    }
}
