//! What stands between the image and the first layer: its order, its type, arithmetic.

use super::*;
use crate::{InputIntegers, Normalization};

/// Nodes from `image` of `kind` and `dims` to `scores`.
fn file(
    kind: DataType,
    dims: [usize; 4],
    nodes: Vec<NodeProto>,
    initializer: Vec<TensorProto>,
) -> Result<Imported, ImportError> {
    read(&ModelProto::new(
        GraphProto {
            node: nodes,
            initializer,
            input: vec![ValueInfoProto::tensor("image", kind, &dims.map(Dim::Fixed))],
            output: vec![ValueInfoProto::tensor("scores", DataType::Float, &[])],
            ..GraphProto::default()
        },
        17,
    ))
}

fn node(op: &str, inputs: &[&str], output: &str, attributes: Vec<AttributeProto>) -> NodeProto {
    NodeProto::new(op, format!("{output}.node"), inputs, &[output], attributes)
}

fn nchw(input: &str, output: &str) -> NodeProto {
    node("Transpose", &[input], output, vec![AttributeProto::ints("perm", &[0, 3, 1, 2])])
}

/// A convolution of `x` with 3x3 pixels of three channels, and its weights.
fn conv(x: &str) -> (Vec<NodeProto>, TensorProto) {
    let data: Vec<f32> = (0..54).map(|i| i as f32).collect();
    let nodes = vec![node("Conv", &[x, "w"], "y", vec![]), node("Flatten", &["y"], "scores", vec![])];
    (nodes, TensorProto::f32("w", &[2, 3, 3, 3], &data))
}

fn list(name: &str, values: &[i64]) -> TensorProto {
    TensorProto::i64(name, &[values.len()], values)
}

#[test]
fn the_order_is_told_by_the_operator_that_needs_channels() {
    let float = DataType::Float;
    // All axes have three elements.
    let (nodes, weight) = conv("image");
    assert!(!file(float, [1, 3, 3, 3], nodes, vec![weight]).unwrap().channels_last);
    let (mut nodes, weight) = conv("x");
    nodes.insert(0, nchw("image", "x"));
    assert!(file(float, [1, 3, 3, 3], nodes, vec![weight]).unwrap().channels_last);
    // Nobody needs channels.
    let flat = || vec![node("Relu", &["image"], "x", vec![]), node("Flatten", &["x"], "scores", vec![])];
    assert!(!file(float, [1, 3, 3, 3], flat(), vec![]).unwrap().channels_last);
    // A pool over what is height and width channels last, and a layer of the channels.
    let nodes = vec![
        node(
            "ReduceMean",
            &["image"],
            "x",
            vec![AttributeProto::ints("axes", &[1, 2]), AttributeProto::int("keepdims", 0)],
        ),
        node("MatMul", &["x", "w"], "scores", vec![]),
    ];
    let weight = TensorProto::f32("w", &[3, 2], &[1.0; 6]);
    assert!(file(float, [1, 3, 3, 3], nodes, vec![weight]).unwrap().channels_last);
}

#[test]
fn the_error_is_that_of_the_files_order() {
    // Constants that differ from position to position, and channels first.
    let (mut nodes, weight) = conv("x");
    nodes.insert(0, node("Sub", &["image", "mean"], "x", vec![]));
    let mean = TensorProto::f32("mean", &[1, 3, 3, 3], &(0..27).map(|i| i as f32).collect::<Vec<_>>());
    let error = file(DataType::Float, [1, 3, 3, 3], nodes, vec![weight, mean]).unwrap_err().to_string();
    assert!(error.contains("x.node") && error.contains("one for each channel"), "{error}");
    // An unknown operator after a convolution channels last.
    let (mut nodes, weight) = conv("x");
    nodes.insert(0, nchw("image", "x"));
    nodes[2] = node("Unheard", &["y"], "scores", vec![]);
    let error = file(DataType::Float, [1, 3, 3, 3], nodes, vec![weight]).unwrap_err().to_string();
    assert!(error.contains("Unheard"), "{error}");
}

#[test]
fn bgr_is_an_order_of_weights() {
    let reversed: Vec<f32> = [0, 27]
        .iter()
        .flat_map(|at| [18, 9, 0].map(|from| at + from))
        .flat_map(|at| at..at + 9)
        .map(|i| i as f32)
        .collect();
    for (op, inputs, attributes) in [
        ("Slice", vec!["starts", "ends", "axes", "steps"], vec![]),
        ("Gather", vec!["order"], vec![AttributeProto::int("axis", -1)]),
    ] {
        let (mut nodes, weight) = conv("x");
        let inputs: Vec<&str> = ["image"].into_iter().chain(inputs).collect();
        nodes.insert(0, node(op, &inputs, "bgr", attributes));
        nodes.insert(1, nchw("bgr", "x"));
        let lists = [("starts", -1), ("ends", i64::MIN), ("axes", -1), ("steps", -1)];
        let mut initializer: Vec<TensorProto> = lists.iter().map(|(name, value)| list(name, &[*value])).collect();
        initializer.extend([weight, list("order", &[2, -2, 0])]);
        let graph = file(DataType::Float, [1, 4, 5, 3], nodes, initializer).unwrap().graph;
        let operators: Vec<&str> = graph.nodes().iter().map(|node| node.op.name()).collect();
        assert_eq!(operators, ["Conv", "Flatten"], "{op}");
        assert_eq!(graph.parameter(graph.nodes()[0].inputs[1]).unwrap().data(), reversed, "{op}");
    }
}

#[test]
fn maps_are_resized_channels_last() {
    let (mut nodes, weight) = conv("x");
    let mode = vec![AttributeProto::string("mode", "linear")];
    nodes.insert(0, node("Resize", &["image", "", "", "sizes"], "large", mode));
    nodes.insert(1, nchw("large", "x"));
    let imported = file(DataType::Float, [1, 3, 3, 3], nodes, vec![weight, list("sizes", &[1, 6, 9, 3])]).unwrap();
    assert!(imported.channels_last);
    let resize = Resize::new([6, 9], Coordinates::HalfPixel);
    assert_eq!(imported.graph.nodes()[0].op, Op::Resize(resize));
}

#[test]
fn a_factor_is_multiplied_into_weights_once() {
    for (op, attributes) in [
        ("MaxPool", vec![AttributeProto::ints("kernel_shape", &[1, 1])]),
        ("AveragePool", vec![AttributeProto::ints("kernel_shape", &[2, 1])]),
    ] {
        let (mut nodes, weight) = conv("image");
        nodes.truncate(1);
        nodes.push(node("Mul", &["y", "two"], "doubled", vec![]));
        nodes.push(node(op, &["doubled"], "pooled", attributes));
        nodes.push(node("Flatten", &["pooled"], "scores", vec![]));
        let two = TensorProto::scalar("two", 2.0);
        let graph = file(DataType::Float, [1, 3, 4, 3], nodes, vec![weight, two]).unwrap().graph;
        assert_eq!(graph.parameter(graph.nodes()[0].inputs[1]).unwrap().data()[..3], [0.0, 2.0, 4.0], "{op}");
    }
}

/// A file of `kind` whose image `nodes` make `x` of, and that convolves `x`.
fn of_integers(kind: DataType, mut nodes: Vec<NodeProto>) -> Result<Imported, ImportError> {
    let (body, weight) = conv("x");
    nodes.extend(body);
    let unsigned = |name: &str, value: u8| TensorProto {
        data_type: DataType::Uint8.into(),
        raw_data: Some(vec![value]),
        ..TensorProto::i8(name, &[], &[0])
    };
    let constants = vec![
        weight,
        TensorProto::scalar("one", 1.0),
        TensorProto::scalar("half", 0.5),
        TensorProto::i8("low", &[], &[-128]),
        unsigned("ten", 10),
        TensorProto::i32("offset", &[], &[128]),
    ];
    file(kind, [1, 3, 3, 3], nodes, constants)
}

#[test]
fn integers_are_pixels_or_pixels_less_128() {
    let cast = |input: &str, output: &str, to: i64| node("Cast", &[input], output, vec![AttributeProto::int("to", to)]);
    let (signed, unsigned) = (DataType::Int8, DataType::Uint8);
    let half = vec![node("DequantizeLinear", &["image", "half", "ten"], "x", vec![])];
    let moved = vec![nchw("image", "moved"), node("DequantizeLinear", &["moved", "one", "low"], "x", vec![])];
    let wide =
        vec![cast("image", "wide", 6), node("Sub", &["wide", "offset"], "centred", vec![]), cast("centred", "x", 1)];
    for (kind, nodes, scale, zero_point, [dark, bright], rounded) in [
        (signed, moved, 1.0, -128, [0.0, 255.0], true),
        (unsigned, half, 0.5, 10, [-5.0, 122.5], true),
        (unsigned, vec![cast("image", "x", 1)], 1.0, 0, [0.0, 255.0], false),
        (signed, vec![cast("image", "x", 1)], 1.0, 0, [-128.0, 127.0], false),
        (unsigned, wide, 1.0, 0, [0.0, 255.0], false),
    ] {
        let imported = of_integers(kind, nodes).unwrap();
        let metadata = &imported.graph.metadata;
        let signed = kind == DataType::Int8;
        assert_eq!(metadata.quantization.input, Some(InputIntegers { signed, scale, zero_point }));
        let Normalization { mean, std } = metadata.normalization.as_ref().unwrap();
        for (pixel, expected) in [(0.0, dark), (1.0, bright)] {
            assert!(((pixel - mean[2]) / std[2] - expected).abs() < 1e-4, "{mean:?} {std:?}");
        }
        assert_eq!(metadata.quantization.activations.contains_key("image"), rounded);
    }
}

#[test]
fn integers_are_not_taken_for_numbers() {
    let unsigned = DataType::Uint8;
    let cast = |to: i64| node("Cast", &["image"], "x", vec![AttributeProto::int("to", to)]);
    let two = vec![
        node("DequantizeLinear", &["image", "half", "ten"], "a", vec![]),
        node("DequantizeLinear", &["image", "one", "ten"], "b", vec![]),
        node("Add", &["a", "b"], "x", vec![]),
    ];
    for (nodes, part) in [
        (vec![node("Sub", &["image", "ten"], "x", vec![])], "takes the input's integers (Uint8) as they are"),
        (vec![node("Relu", &["image"], "x", vec![])], "takes the input's integers"),
        (vec![node("Identity", &["image"], "x", vec![])], "takes the input's integers"),
        (vec![cast(3)], "casts the input's integers to Int8"),
        (vec![node("Concat", &["image", "ten"], "x", vec![AttributeProto::int("axis", 1)])], "beside other numbers"),
        (two, "another operator with 0.5 and 10"),
    ] {
        let error = of_integers(unsigned, nodes).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    for kind in [DataType::Double, DataType::Float16, DataType::Int32] {
        let error = of_integers(kind, vec![node("Identity", &["image"], "x", vec![])]).unwrap_err().to_string();
        assert!(error.contains("must hold float32, int8 or uint8"), "{error}");
    }
}
