//! Files of networks that others quantized.

use super::*;
use crate::{Integers, QuantParams, Quantization};

/// Nodes from `image` `[2, 4, 4]` to `scores`, and initializers, as a file.
pub(super) fn file(nodes: Vec<NodeProto>, initializer: Vec<TensorProto>) -> Result<Graph, ImportError> {
    let dims = [1, 2, 4, 4].map(Dim::Fixed);
    from_model(&ModelProto::new(
        GraphProto {
            node: nodes,
            initializer,
            input: vec![ValueInfoProto::tensor("image", DataType::Float, &dims)],
            output: vec![ValueInfoProto::tensor("scores", DataType::Float, &[])],
            ..GraphProto::default()
        },
        17,
    ))
}

pub(super) fn node(op: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto::new(op, format!("{output}.node"), inputs, &[output], vec![])
}

pub(super) fn scale(name: &str, value: f32) -> TensorProto {
    TensorProto::f32(name, &[], &[value])
}

pub(super) fn zero(name: &str, value: i8) -> TensorProto {
    TensorProto::i8(name, &[], &[value])
}

pub(super) fn unsigned(name: &str, values: &[u8]) -> TensorProto {
    TensorProto {
        data_type: DataType::Uint8.into(),
        raw_data: Some(values.to_vec()),
        ..TensorProto::i8(name, &[], &vec![0; values.len()])
    }
}

/// Weights of two channels of scales 0.5 and 0.25, and a bias whose last digit float32 does not have.
const BIG: i32 = (1 << 28) + 1;

pub(super) fn constants() -> Vec<TensorProto> {
    vec![
        scale("s.in", 0.25),
        scale("s.out", 0.5),
        TensorProto::i8("w", &[2, 2, 1, 1], &[127, -3, 5, 100]),
        TensorProto::f32("s.w", &[2], &[0.5, 0.25]),
        TensorProto::i8("z.w", &[2], &[0, 0]),
        TensorProto::i32("b", &[2], &[BIG, -7]),
        TensorProto::f32("s.b", &[2], &[0.125, 0.0625]),
        TensorProto::i32("z.b", &[2], &[0, 0]),
    ]
}

fn expected(graph: &Graph, activations: &[(&str, f32, i8)], weight: &str, bias: &str) {
    let rounding = |&(name, scale, zero_point): &(&str, f32, i8)| (name.to_owned(), QuantParams { scale, zero_point });
    let parameters = [
        (weight.to_owned(), Integers { scales: vec![0.5, 0.25], values: vec![127, -3, 5, 100] }),
        (bias.to_owned(), Integers { scales: vec![0.125, 0.0625], values: vec![BIG, -7] }),
    ];
    let quantization = Quantization {
        activations: activations.iter().map(rounding).collect(),
        parameters: parameters.into_iter().collect(),
        input: None,
    };
    assert_eq!(graph.metadata.quantization, quantization);
    let weights = graph.parameters().find(|(_, name, _)| *name == weight).unwrap().2.tensor.data();
    assert_eq!(weights, [63.5, -1.5, 1.25, 25.0]);
}

fn axis(mut node: NodeProto) -> NodeProto {
    node.attribute.push(AttributeProto::int("axis", 0));
    node
}

#[test]
fn pairs_leave_their_scales_and_integers() {
    let mut initializers = constants();
    initializers.extend([unsigned("z.in", &[128]), unsigned("z.out", &[0])]);
    let nodes = vec![
        node("QuantizeLinear", &["image", "s.in", "z.in"], "image.q"),
        node("DequantizeLinear", &["image.q", "s.in", "z.in"], "image.dq"),
        axis(node("DequantizeLinear", &["w", "s.w", "z.w"], "weight")),
        axis(node("DequantizeLinear", &["b", "s.b", "z.b"], "bias")),
        node("Conv", &["image.dq", "weight", "bias"], "conv"),
        node("Relu", &["conv"], "relu"),
        node("QuantizeLinear", &["relu", "s.out", "z.out"], "relu.q"),
        // A pool of integers.
        NodeProto::new("MaxPool", "max", &["relu.q"], &["max.q"], vec![AttributeProto::ints("kernel_shape", &[4, 4])]),
        node("DequantizeLinear", &["max.q", "s.out", "z.out"], "max.dq"),
        node("Flatten", &["max.dq"], "scores"),
    ];
    let graph = file(nodes, initializers).unwrap();
    let operators: Vec<&str> = graph.nodes().iter().map(|node| node.op.name()).collect();
    assert_eq!(operators, ["Conv", "Relu", "MaxPool", "Flatten"]);
    expected(
        &graph,
        &[("image", 0.25, 0), ("relu", 0.5, -128), ("max.q", 0.5, -128), ("scores", 0.5, -128)],
        "weight",
        "bias",
    );
}

#[test]
fn operators_on_integers_are_pairs_around_floats() {
    let mut initializers = constants();
    initializers.extend([zero("z.in", 3), zero("z.out", -128)]);
    let mut pool = node("QLinearGlobalAveragePool", &["conv.q", "s.out", "z.out", "s.out", "z.out"], "pool.q");
    pool.domain = "com.microsoft".into();
    pool.attribute.push(AttributeProto::int("channels_last", 0));
    let nodes = vec![
        node("QuantizeLinear", &["image", "s.in", "z.in"], "image.q"),
        node("QLinearConv", &["image.q", "s.in", "z.in", "w", "s.w", "z.w", "s.out", "z.out", "b"], "conv.q"),
        pool,
        node("DequantizeLinear", &["pool.q", "s.out", "z.out"], "pool.dq"),
        node("Flatten", &["pool.dq"], "scores"),
    ];
    let graph = file(nodes, initializers).unwrap();
    // The zero point is a ReLU that was left out.
    let operators: Vec<&str> = graph.nodes().iter().map(|node| node.op.name()).collect();
    assert_eq!(operators, ["Conv", "Relu", "GlobalAveragePool", "Flatten"]);
    let relu = &graph.value(graph.nodes()[1].output).name;
    let pool = &graph.value(graph.nodes()[2].output).name;
    expected(
        &graph,
        &[("image", 0.25, 3), (relu, 0.5, -128), (pool, 0.5, -128), ("scores", 0.5, -128)],
        "w.real",
        "b.real",
    );
}

#[test]
fn scores_before_a_softmax_of_integers_are_a_tensor_of_the_file() {
    let mut softmax = node("QLinearSoftmax", &["flat", "s.in", "z", "s.out", "z"], "soft.q");
    softmax.domain = "com.microsoft".into();
    let nodes = vec![
        node("QuantizeLinear", &["image", "s.in", "z"], "image.q"),
        node("Flatten", &["image.q"], "flat"),
        softmax,
        node("DequantizeLinear", &["soft.q", "s.out", "z"], "scores"),
    ];
    let dims = [1, 2, 4, 4].map(Dim::Fixed);
    let graph = GraphProto {
        node: nodes,
        initializer: constants().into_iter().chain([zero("z", -128)]).collect(),
        input: vec![ValueInfoProto::tensor("image", DataType::Float, &dims)],
        output: vec![ValueInfoProto::tensor("scores", DataType::Float, &[])],
        ..GraphProto::default()
    };
    let imported = read(&ModelProto::new(graph, 17)).unwrap();
    assert_eq!((imported.ending, imported.scores.as_str()), (Ending::Softmax, "flat"));
}

#[test]
fn what_cannot_be_kept_is_refused_in_one_line() {
    let rounded = |extra: Vec<TensorProto>, inputs: &[&str], again: &[&str]| {
        let nodes = vec![
            node("QuantizeLinear", inputs, "q"),
            node("DequantizeLinear", again, "again"),
            node("Flatten", &["again"], "scores"),
        ];
        file(nodes, constants().into_iter().chain(extra).collect()).unwrap_err().to_string()
    };
    let same = ["q", "s.in", "z"];
    let first = ["image", "s.in", "z"];
    let z = || zero("z", 0);
    let cases = [
        rounded(vec![z()], &first, &["q", "s.out", "z"]),
        rounded(vec![TensorProto::i32("z", &[], &[0])], &first, &same),
        rounded(vec![z()], &["image", "s.w", "z"], &same),
        rounded(vec![z(), scale("negative", -1.0)], &["image", "negative", "z"], &same),
        rounded(vec![z()], &["image", "w", "z"], &same),
        rounded(vec![z()], &["image", "image", "z"], &same),
    ];
    let parts = [
        "rounded with scale 0.25 and zero point 0 (of int8) already",
        "of type Int32 are not supported",
        "2 scales for one activation",
        "its scale is -1",
        "must be a float scale",
        "must be a constant",
    ];
    for (error, part) in cases.iter().zip(parts) {
        assert!(error.starts_with("node `") && error.contains(part) && !error.contains('\n'), "{error}: {part}");
    }
}

#[test]
fn rounded_values_are_found_in_the_file() {
    let mut initializers = constants();
    initializers.extend([unsigned("z.in", &[128]), unsigned("z.out", &[0])]);
    let dims = [1, 4, 4, 2].map(Dim::Fixed);
    let last =
        |node: NodeProto, order: &[i64]| NodeProto { attribute: vec![AttributeProto::ints("perm", order)], ..node };
    let mean = vec![AttributeProto::ints("axes", &[1, 2]), AttributeProto::int("keepdims", 0)];
    let nodes = vec![
        last(node("Transpose", &["image"], "image.first"), &[0, 3, 1, 2]),
        node("QuantizeLinear", &["image.first", "s.in", "z.in"], "image.q"),
        node("QLinearConv", &["image.q", "s.in", "z.in", "w", "s.w", "z.w", "s.out", "z.out", "b"], "conv.q"),
        NodeProto::new("MaxPool", "max", &["conv.q"], &["max.q"], vec![AttributeProto::ints("kernel_shape", &[2, 2])]),
        last(node("Transpose", &["max.q"], "max.last"), &[0, 2, 3, 1]),
        node("DequantizeLinear", &["max.last", "s.out", "z.out"], "max.dq"),
        NodeProto::new("ReduceMean", "mean.node", &["max.dq"], &["mean"], mean),
    ];
    let model = ModelProto::new(
        GraphProto {
            node: nodes,
            initializer: initializers,
            input: vec![ValueInfoProto::tensor("image", DataType::Float, &dims)],
            output: vec![ValueInfoProto::tensor("mean", DataType::Float, &[])],
            ..GraphProto::default()
        },
        17,
    );
    let imported = read(&model).unwrap();
    let found = |index: usize| {
        let RoundedTensor { value, tensor, places } = &imported.rounded[index];
        (value.as_str(), tensor.as_str(), places.as_ref().map(|places| places[..3].to_vec()))
    };
    let [relu, max] = [0, 1].map(|index| imported.graph.value(imported.graph.nodes()[index + 1].output).name.as_str());
    // The convolution's own dequantization is the importer's; its result goes on as integers.
    let pairs = as_pairs(model.clone());
    let made = |name: &str| pairs.graph.as_ref().unwrap().node.iter().any(|node| node.output[0] == name);
    assert_eq!(imported.rounded.len(), 3);
    assert!(imported.rounded.iter().all(|tensor| made(&tensor.tensor)), "{:?}", imported.rounded);
    assert_eq!(found(0).0, "image");
    // Of 3x3 pixels with 2 channels, the channels of a pixel come first.
    assert_eq!(found(1), (max, "max.dq", Some(vec![0, 9, 1])));
    assert_eq!(found(2), (relu, "conv.q", None));
    // No zero point is left out, that of a bias neither; files of pairs stay as they are.
    let of_pair = |node: &&NodeProto| ["QuantizeLinear", "DequantizeLinear"].contains(&node.op_type.as_str());
    assert!(pairs.graph.as_ref().unwrap().node.iter().filter(of_pair).all(|node| node.input.len() == 3));
    let mut names: Vec<&str> = pairs.graph.as_ref().unwrap().node.iter().map(|node| node.name.as_str()).collect();
    names.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
    let kinds: Vec<i32> =
        pairs.graph.as_ref().unwrap().initializer.iter().rev().map(|tensor| tensor.data_type).collect();
    assert_eq!(kinds[0], i32::from(DataType::Int32));
    assert_eq!(as_pairs(pairs.clone()), pairs);
}

#[test]
fn a_map_that_is_rounded_as_a_vector_is_rounded() {
    let mut initializers = constants();
    initializers.push(zero("z", 3));
    let model = |twice: bool| {
        let mut nodes = vec![
            node("GlobalAveragePool", &["image"], "pool"),
            node("Flatten", &["pool"], "flat"),
            node("QuantizeLinear", &["flat", "s.in", "z"], "flat.q"),
            node("DequantizeLinear", &["flat.q", "s.in", "z"], "flat.dq"),
        ];
        let scores = if twice {
            nodes.push(node("Sigmoid", &["pool"], "gate"));
            nodes.push(node("Flatten", &["gate"], "gate.flat"));
            node("Add", &["flat.dq", "gate.flat"], "scores")
        } else {
            node("Relu", &["flat.dq"], "scores")
        };
        nodes.push(scores);
        let dims = [1, 2, 4, 4].map(Dim::Fixed);
        let graph = GraphProto {
            node: nodes,
            initializer: initializers.clone(),
            input: vec![ValueInfoProto::tensor("image", DataType::Float, &dims)],
            output: vec![ValueInfoProto::tensor("scores", DataType::Float, &[])],
            ..GraphProto::default()
        };
        read(&ModelProto::new(graph, 17)).unwrap()
    };
    let names = |imported: &Imported| -> Vec<String> {
        imported.graph.metadata.quantization.activations.keys().cloned().collect()
    };
    let alone = model(false);
    let pool = alone.graph.value(alone.graph.nodes()[0].output).name.clone();
    assert!(names(&alone).contains(&pool), "{:?}", names(&alone));
    assert!(
        alone.rounded.iter().any(|tensor| tensor.value == pool && tensor.tensor == "flat.dq"),
        "{:?}",
        alone.rounded
    );
    // What others read too is rounded for them as well.
    assert!(names(&model(true)).contains(&pool));
}
