//! What `quantize` and `verify` say of other people's files and data.

use serde_json::Value;
use skipstone_onnx::proto::{
    AttributeProto, DataType, Dim, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto,
};
use std::path::Path;
use std::process::{Command, Output};

fn skipstone(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_skipstone")).args(arguments).output().expect("the program starts")
}

/// What a command that succeeds prints as JSON, and what it says.
fn json(arguments: &[&str]) -> (Value, String) {
    let output = skipstone(&[arguments, &["--json"]].concat());
    let remarks = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {remarks}");
    (serde_json::from_slice(&output.stdout).unwrap(), remarks)
}

/// The line with which a command fails, and what it printed before.
fn failure(arguments: &[&str]) -> (String, String) {
    let output = skipstone(arguments);
    let [result, errors] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {result}{errors}");
    (errors.lines().last().unwrap_or_default().to_owned(), result)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders have names in UTF-8")
}

/// Digits through a convolution, a 2x2 average of equal scale, and a linear layer, as operators on integers; `first` is
/// the first of the weights.
fn integers(first: i8) -> ModelProto {
    let node = |op: &str, inputs: &[&str], output: &str, attribute: Vec<AttributeProto>| {
        let domain = if ["QGemm", "QLinearAveragePool"].contains(&op) { "com.microsoft" } else { "" };
        NodeProto {
            domain: domain.into(),
            ..NodeProto::new(op, format!("{output}.node"), inputs, &[output], attribute)
        }
    };
    let ints = |name: &str, values: &[i64]| AttributeProto::ints(name, values);
    let conv = ["x.q", "x.s", "z", "w", "w.s", "w.z", "s", "low", "b"];
    let linear = ["flat.q", "s", "low", "v", "w.s", "w.z", "c", "y.s", "z"];
    let nodes = vec![
        node("QuantizeLinear", &["image", "x.s", "z"], "x.q", vec![]),
        node("QLinearConv", &conv, "conv.q", vec![ints("kernel_shape", &[3, 3]), ints("pads", &[1, 1, 1, 1])]),
        node(
            "QLinearAveragePool",
            &["conv.q", "s", "low", "s", "low"],
            "mean.q",
            vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])],
        ),
        node("Flatten", &["mean.q"], "flat.q", vec![]),
        node("QGemm", &linear, "y.q", vec![AttributeProto::int("transB", 1)]),
        node("DequantizeLinear", &["y.q", "y.s", "z"], "scores", vec![]),
    ];
    let weights = |count: usize| -> Vec<i8> { (0..count).map(|i| ((i * 47) % 101) as i8 - 50).collect() };
    let filters = [&[first], &weights(36)[1..]].concat();
    let number = |name: &str, value: f32| TensorProto::f32(name, &[], &[value]);
    let initializer = vec![
        number("x.s", 1.0),
        number("w.s", 1.0 / 256.0),
        number("s", 0.25),
        number("y.s", 2.0),
        TensorProto::i8("z", &[], &[0]),
        TensorProto::i8("w.z", &[], &[0]),
        TensorProto::i8("low", &[], &[-128]),
        TensorProto::i8("w", &[4, 1, 3, 3], &filters),
        TensorProto::i32("b", &[4], &[100, -50, 7, 0]),
        TensorProto::i8("v", &[10, 64], &weights(640)),
        TensorProto::i32("c", &[10], &[5; 10]),
    ];
    let info = |name: &str, dims: &[usize]| {
        let dims: Vec<Dim<'_>> = dims.iter().map(|&dim| Dim::Fixed(dim)).collect();
        ValueInfoProto::tensor(name, DataType::Float, &dims)
    };
    let graph = GraphProto {
        node: nodes,
        name: "integers".into(),
        initializer,
        input: vec![info("image", &[1, 1, 8, 8])],
        output: vec![info("scores", &[1, 10])],
        ..GraphProto::default()
    };
    ModelProto::new(graph, 17)
}

#[test]
fn operators_on_integers_are_verified_and_never_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| text(&folder.path().join(name)).to_owned();
    let (file, other, stone) = (path("integers.onnx"), path("other.onnx"), path("m.stone"));
    std::fs::write(&file, integers(-50).to_bytes()).unwrap();
    std::fs::write(&other, integers(-40).to_bytes()).unwrap();
    let verify = ["verify", &file, "--data", "digits", "--raw", "--count", "40"];
    let (found, remarks) = json(&verify);
    assert_eq!((&found["file_layers"], &found["file_unexplained"]), (&4.into(), &0.into()), "{found}");
    assert_eq!((&found["int8_unexplained"], &found["int8_max_steps"]), (&0.into(), &1.into()), "{found}");
    // A quarter of the means are ties: that is no failure, and is said.
    assert!(found["int8_exact_fraction"].as_f64().unwrap() < 0.9999, "{found}");
    assert!(found["int8_ties"].as_u64().unwrap() > 100, "{found}");
    assert!(remarks.contains("exactly in the middle") && remarks.contains("both are right"), "{remarks}");
    let quantize = ["quantize", &file, "--calib", "digits", "--raw", "--count", "20", "-o", &stone];
    let (_, remarks) = json(&quantize);
    assert!(remarks.contains("exactly in the middle"), "{remarks}");

    // A weight of the packed model is another.
    let (line, result) = failure(&["verify", &other, "--stone", &stone, "--data", "digits", "--raw", "--count", "5"]);
    assert!(line.starts_with(&format!("error: {other}: ")) && line.contains("unexplained"), "{line}");
    assert!(result.contains("FAIL int8 layers") && result.contains("ok   4 layers of the quantized file"), "{result}");
    let skipped = [&verify[..], &["--skip-file"]].concat();
    let (found, remarks) = json(&skipped);
    assert!(found.get("file_layers").is_none() && remarks.contains("--skip-file"), "{found} {remarks}");
}

#[test]
fn calibration_needs_no_labels() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| text(&folder.path().join(name)).to_owned();
    let (seven, ten, stone) = (path("seven.onnx"), path("ten.onnx"), path("m.stone"));
    json(&["export", "--arch", "resnet8", "--input", "1x8x8", "--classes", "7", "-o", &seven]);
    json(&["export", "--arch", "resnet8", "--input", "1x8x8", "-o", &ten]);
    let quantize = |file: &str, options: &[&str]| {
        json(&[&["quantize", file, "--calib", "digits", "--count", "30", "-o", &stone], options].concat())
    };
    let (found, remarks) = quantize(&seven, &[]);
    assert!(found["accuracy_float"].is_null() && found["accuracy_int8"].is_null(), "{found}");
    assert!(found.get("accuracy_int8").is_some() && found["arena_bytes"].as_u64() > Some(0), "{found}");
    for part in ["accuracies are not measured", "seven.onnx", "7 classes", "has 10"] {
        assert!(remarks.contains(part), "{part}: {remarks}");
    }
    // Small sets are measured whole.
    let (found, remarks) = quantize(&ten, &[]);
    assert!(found["accuracy_int8"].is_f64() && found["eval_count"] == 364, "{found}");
    assert!(remarks.contains("evaluating on 364 images"), "{remarks}");
    let (found, remarks) = quantize(&ten, &["--eval-count", "50"]);
    assert!(found["accuracy_int8"].is_f64() && found["eval_count"] == 50, "{found}");
    assert!(remarks.contains("50 of 364 test images"), "{remarks}");
    let (found, remarks) = quantize(&ten, &["--eval-count", "0"]);
    assert!(found["accuracy_float"].is_null() && remarks.contains("--eval-count is 0"), "{found} {remarks}");

    // Images of another size do not do.
    let other = path("other.onnx");
    json(&["export", "--arch", "resnet8", "--input", "1x9x9", "-o", &other]);
    let (line, _) = failure(&["quantize", &other, "--calib", "digits", "--eval-count", "0", "-o", &stone]);
    assert!(line.contains("other.onnx") && line.contains("1x9x9") && line.contains("1x8x8"), "{line}");
}

/// Whatever goes wrong, the line names the file.
#[test]
fn failures_name_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| text(&folder.path().join(name)).to_owned();
    let (whole, huge, stone) = (path("whole.onnx"), path("huge.onnx"), path("m.stone"));
    json(&["export", "--arch", "resnet8", "--input", "1x8x8", "-o", &whole]);
    let mut model = ModelProto::from_bytes(&std::fs::read(&whole).unwrap()).unwrap();
    // Weights from which activations overflow.
    for tensor in &mut model.graph.as_mut().unwrap().initializer {
        if tensor.dims.len() == 4 {
            let count = tensor.dims.iter().product::<i64>() as usize;
            tensor.raw_data = Some([1e30f32; 1].repeat(count).iter().flat_map(|x| x.to_le_bytes()).collect());
        }
    }
    std::fs::write(&huge, model.to_bytes()).unwrap();
    for command in [
        &["quantize", &huge, "--calib", "digits", "--count", "5", "-o", &stone][..],
        &["verify", &huge, "--data", "digits", "--count", "5"],
        &["inspect", &huge, "--quantization", "--calib", "digits", "--count", "5"],
        &["train", "--qat", "--init", &huge, "--data", "digits", "--out", &path("run")],
    ] {
        let (line, _) = failure(command);
        assert!(line.starts_with(&format!("error: {huge}: ")), "{command:?}: {line}");
    }
    let (line, _) = failure(&["export", &path("absent.onnx"), "-o", &path("y.onnx")]);
    assert!(line.contains("absent.onnx"), "{line}");
}
