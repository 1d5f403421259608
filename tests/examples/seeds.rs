//! Writes the seeds of the fuzzing targets: small valid files, one folder for each target.
//!
//! Usage: `cargo run -p skipstone-tests --example seeds -- FOLDER`

use skipstone::data::Dataset;
use skipstone::host;
use skipstone::pack::{Options, quantize};
use skipstone::target::Core;
use skipstone_onnx::proto::{
    AttributeProto, DataType, Dim, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto,
};
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
    let integers = integers().to_bytes();
    import::import(&integers)?;
    write("onnx", "integers.onnx", &integers)?;
    let pack = |name: &str, graph: &Graph, images: &Dataset| {
        for (weights, target) in [("canonical", Core::Generic), ("pairs", Core::CortexM4)] {
            match quantize(graph, images, &Options { target, ..Options::default() }) {
                Ok(packed) => {
                    write("onnx", &format!("{name}.qdq.onnx"), &packed.qdq)?;
                    write("stone", &format!("{name}-{weights}.stone"), &packed.stone)?;
                    if name == "residual" {
                        let images = [images.image(0), images.image(1)];
                        let tested = host::with_test_vectors(&packed.stone, &images).map_err(std::io::Error::other)?;
                        write("stone", &format!("{name}-{weights}-tested.stone"), &tested)?;
                    }
                }
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

/// A network of operators on integers: convolution, pool, linear layer.
fn integers() -> ModelProto {
    let node = |op: &str, inputs: &[&str], output: &str| {
        let domain = if ["QLinearGlobalAveragePool", "QGemm"].contains(&op) { "com.microsoft" } else { "" };
        NodeProto { domain: domain.into(), ..NodeProto::new(op, format!("{output}.node"), inputs, &[output], vec![]) }
    };
    let mut pool = node("QLinearGlobalAveragePool", &["conv.q", "s", "z", "s", "z"], "pool.q");
    pool.attribute.push(AttributeProto::int("channels_last", 0));
    let mut linear = node("QGemm", &["flat.q", "s", "z", "fc.w", "s", "z", "fc.b", "s", "z"], "scores.q");
    linear.attribute.push(AttributeProto::int("transB", 1));
    let nodes = vec![
        node("QuantizeLinear", &["image", "s", "z"], "image.q"),
        node("QLinearConv", &["image.q", "s", "z", "w", "s.w", "z.w", "s", "z", "b"], "conv.q"),
        pool,
        node("Flatten", &["pool.q"], "flat.q"),
        linear,
        node("DequantizeLinear", &["scores.q", "s", "z"], "scores"),
    ];
    let initializer = vec![
        TensorProto::f32("s", &[], &[0.25]),
        TensorProto::i8("z", &[], &[3]),
        TensorProto::i8("w", &[2, 2, 1, 1], &[127, -3, 5, 100]),
        TensorProto::f32("s.w", &[2], &[0.5, 0.25]),
        TensorProto::i8("z.w", &[2], &[0, 0]),
        TensorProto::i32("b", &[2], &[9, -7]),
        TensorProto::i8("fc.w", &[3, 2], &[1, -2, 3, -4, 5, -6]),
        TensorProto::i32("fc.b", &[3], &[1, 2, 3]),
    ];
    let input = vec![ValueInfoProto::tensor("image", DataType::Float, &[1, 2, 4, 4].map(Dim::Fixed))];
    let output = vec![ValueInfoProto::tensor("scores", DataType::Float, &[])];
    let name = "integers".into();
    ModelProto::new(GraphProto { node: nodes, name, initializer, input, output, ..GraphProto::default() }, 17)
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
