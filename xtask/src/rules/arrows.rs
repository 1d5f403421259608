//! Which crate may depend on which, and on what else the two small ones may.

use crate::shell::{Failure, Run, fail};
use serde_json::Value;
use std::path::Path;

/// What a package may depend on.
struct Allowed {
    package: &'static str,
    /// Our own crates.
    ours: &'static [&'static str],
    /// Others' crates; `None`: any.
    others: Option<&'static [&'static str]>,
}

/// The arrows of `docs/architecture.md`.
const ARROWS: [Allowed; 7] = [
    Allowed { package: "skipstone-onnx", ours: &[], others: Some(&["half", "libm", "prost", "thiserror"]) },
    Allowed {
        package: "skipstone-runtime",
        ours: &[],
        others: Some(&["bytemuck", "defmt", "heapless", "micromath", "no-std-compat"]),
    },
    Allowed { package: "skipstone-targets", ours: &[], others: Some(&[]) },
    // Both ends of the serial line, and what a board does at its end: with the runtime, which knows nothing of it.
    Allowed {
        package: "skipstone-serial",
        ours: &["skipstone-runtime"],
        others: Some(&["cobs", "crc", "embedded-io", "embedded-storage", "postcard", "serde"]),
    },
    Allowed {
        package: "skipstone",
        ours: &["skipstone-onnx", "skipstone-runtime", "skipstone-serial", "skipstone-targets"],
        others: None,
    },
    Allowed {
        package: "skipstone-tests",
        ours: &["skipstone-onnx", "skipstone-runtime", "skipstone-serial", "skipstone"],
        others: None,
    },
    Allowed { package: "xtask", ours: &["skipstone-targets"], others: None },
];

/// Programs of a workspace beside the main one.
struct Programs {
    manifest: &'static str,
    ours: &'static [&'static str],
}

const PROGRAMS: [Programs; 4] = [
    Programs { manifest: "c/Cargo.toml", ours: &["skipstone-runtime"] },
    Programs { manifest: "xtask/generate/Cargo.toml", ours: &[] },
    Programs {
        manifest: "firmware-examples/Cargo.toml",
        ours: &["skipstone-runtime", "skipstone-serial", "skipstone-targets"],
    },
    Programs { manifest: "tests/fuzz/Cargo.toml", ours: &["skipstone-onnx", "skipstone-runtime"] },
];

/// A package's name and its dependencies: name, and whether only tests, benches and examples see it.
type Package = (String, Vec<(String, bool)>);

/// Dependencies that are not allowed, one line each.
///
/// # Errors
/// If `cargo metadata` fails or names no packages.
pub(super) fn check(root: &Path) -> Result<Vec<String>, Failure> {
    let mut broken = Vec::new();
    for package in packages(root, "Cargo.toml")? {
        match ARROWS.iter().find(|allowed| allowed.package == package.0) {
            Some(allowed) => broken.extend(judge(&package, allowed.ours, allowed.others)),
            None => broken.push(format!("package `{}` is not in the table of crates", package.0)),
        }
    }
    for programs in &PROGRAMS {
        if !root.join(programs.manifest).exists() {
            return fail(format!("{} is missing", programs.manifest));
        }
        for package in packages(root, programs.manifest)? {
            broken.extend(judge(&package, programs.ours, None));
        }
    }
    Ok(broken)
}

fn judge((name, dependencies): &Package, ours: &[&str], others: Option<&[&str]>) -> Vec<String> {
    let wrong = dependencies.iter().filter(|(dependency, testing)| {
        if dependency == "skipstone" || dependency.starts_with("skipstone-") {
            !ours.contains(&dependency.as_str())
        } else {
            !testing && others.is_some_and(|others| !others.contains(&dependency.as_str()))
        }
    });
    wrong.map(|(dependency, _)| format!("{name} must not depend on {dependency}")).collect()
}

fn packages(root: &Path, manifest: &str) -> Result<Vec<Package>, Failure> {
    let json =
        Run::line("cargo metadata --format-version 1 --no-deps --manifest-path", root).args([manifest]).read()?;
    let unexpected = || Failure(format!("cargo metadata of {manifest} is not as expected"));
    let metadata: Value = serde_json::from_str(&json).map_err(|_| unexpected())?;
    let text = |value: &Value| value.as_str().map(str::to_string).ok_or_else(unexpected);
    let packages = metadata["packages"].as_array().filter(|list| !list.is_empty()).ok_or_else(unexpected)?;
    let package = |package: &Value| {
        let dependencies = package["dependencies"].as_array().ok_or_else(unexpected)?.iter();
        let dependencies = dependencies.map(|d| Ok((text(&d["name"])?, d["kind"] == "dev")));
        Ok((text(&package["name"])?, dependencies.collect::<Result<_, Failure>>()?))
    };
    packages.iter().map(package).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_arrows_pass() {
        let package = |list: &[(&str, bool)]| -> Package {
            ("skipstone-onnx".into(), list.iter().map(|(name, dev)| (name.to_string(), *dev)).collect())
        };
        let others: &[&str] = &["prost"];
        let judge = |list| judge(&package(list), &["skipstone-runtime"], Some(others));
        assert!(judge(&[("prost", false), ("proptest", true), ("skipstone-runtime", false)]).is_empty());
        assert_eq!(judge(&[("rayon", false)]), ["skipstone-onnx must not depend on rayon"]);
        assert_eq!(judge(&[("skipstone", true)]), ["skipstone-onnx must not depend on skipstone"]);
    }
}
