//! Writes which operators and kernels the library has: those of the model that `SKIPSTONE_MODEL` names, or all.

use skipstone_runtime::{AlignedBytes, Model, codegen};
use std::path::Path;

const EVERY: &str = "\
fn program() -> skipstone_runtime::Program {
    skipstone_runtime::Program::any()
}

fn rules() -> &'static skipstone_runtime::ops::RuleTable {
    &skipstone_runtime::ops::EVERY
}
";
const OF_A_MODEL: &str = "
fn program() -> skipstone_runtime::Program {
    PROGRAM
}

fn rules() -> &'static skipstone_runtime::ops::RuleTable {
    &RULES
}
";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=SKIPSTONE_MODEL");
    if let Err(error) = write() {
        println!("cargo::error={error}");
    }
}

fn write() -> Result<(), String> {
    let variable = |name: &str| std::env::var(name).map_err(|e| format!("{name}: {e}"));
    let source = match std::env::var("SKIPSTONE_MODEL") {
        Ok(path) => {
            println!("cargo::rerun-if-changed={path}");
            let bytes = std::fs::read(&path).map_err(|e| format!("SKIPSTONE_MODEL: cannot read {path}: {e}"))?;
            let bytes = AlignedBytes::copy(&bytes);
            let of_model = |e: &dyn std::fmt::Display| format!("SKIPSTONE_MODEL: {path}: {e}");
            let model = Model::from_bytes(bytes.as_slice()).map_err(|e| of_model(&e))?;
            let told = codegen::Extension::of_package();
            codegen::program(&model, &variable("TARGET")?, told).map_err(|e| of_model(&e))? + OF_A_MODEL
        }
        Err(_) => EVERY.into(),
    };
    let file = Path::new(&variable("OUT_DIR")?).join("program.rs");
    std::fs::write(&file, source).map_err(|e| format!("cannot write {}: {e}", file.display()))
}
