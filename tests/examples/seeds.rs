//! Writes the seeds of the fuzzing targets: small valid files, one folder for each target.
//!
//! Usage: `cargo run -p skipstone-tests --example seeds -- FOLDER`

use skipstone_builder::data::Dataset;
use skipstone_builder::pack::{Options, Target, quantize};
use skipstone_onnx::{Batch, Graph, Normalization, export, import};
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
    let pack = |name: &str, graph: &Graph, images: &Dataset| {
        for (weights, target) in [("canonical", Target::Generic), ("pairs", Target::CortexM)] {
            match quantize(graph, images, &Options { target, ..Options::default() }) {
                Ok(packed) => write("stone", &format!("{name}-{weights}.stone"), &packed.stone)?,
                // Operators that are not quantized yet: the others still are seeds.
                Err(error) => eprintln!("no seed of {name}: {error}"),
            }
        }
        Ok::<_, std::io::Error>(())
    };
    pack("residual", &graph, &small_images(8))?;
    for form in forms::forms() {
        let mut graph = import::import(&form.model.to_bytes())?;
        let dims = graph.value(graph.input()).dims.clone();
        let [channels, height, width] = dims[..] else { return Err("an input that is no image".into()) };
        graph
            .metadata
            .normalization
            .get_or_insert(Normalization { mean: vec![0.5; channels], std: vec![0.25; channels] });
        pack(&form.name.replace(' ', "-"), &graph, &images([channels, height, width]))?;
    }
    Ok(())
}

/// Noise of three classes.
fn images(dims: [usize; 3]) -> Dataset {
    let pixel = |i: usize| (i * i * 7 + i * 37) % 256;
    Dataset {
        dims,
        pixels: (0..8 * dims.iter().product::<usize>()).map(|i| pixel(i) as u8).collect(),
        labels: (0..8).map(|i| i % 3).collect(),
        class_names: ["one", "two", "three"].map(String::from).into(),
    }
}
