//! Writes the seeds of the fuzzing targets: small valid files, one folder for each target.
//!
//! Usage: `cargo run -p skipstone-tests --example seeds -- FOLDER`

use skipstone_builder::pack::{Options, Target, quantize};
use skipstone_onnx::{Batch, export};
use skipstone_tests::{forms, small_images, small_residual};
use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).ok_or("usage: seeds FOLDER")?;
    let folder = Path::new(&folder);
    let graph = small_residual()?;
    let write = |target: &str, name: &str, bytes: &[u8]| {
        std::fs::create_dir_all(folder.join(target))?;
        std::fs::write(folder.join(target).join(name), bytes)
    };
    write("onnx", "one.onnx", &export(&graph, Batch::One))?;
    write("onnx", "any.onnx", &export(&graph, Batch::Any))?;
    for form in forms::forms() {
        write("onnx", &format!("{}.onnx", form.name.replace(' ', "-")), &form.model.to_bytes())?;
    }
    for (name, target) in [("canonical.stone", Target::Generic), ("pairs.stone", Target::CortexM)] {
        write("stone", name, &quantize(&graph, &small_images(8), &Options { target, ..Options::default() })?.stone)?;
    }
    Ok(())
}
