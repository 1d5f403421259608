//! Constants and shapes.

use super::one_node;
use crate::Op;
use crate::proto::{AttributeProto, DataType, Dim, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};

/// Nodes over constants whose result `c` is the shape to which an image of 2x3x4 is reshaped; gives what it becomes.
fn reshaped(nodes: Vec<NodeProto>, initializer: Vec<TensorProto>) -> Result<Vec<(&'static str, Vec<usize>)>, String> {
    let mut node = nodes;
    node.push(NodeProto::new("Reshape", "reshape", &["x", "c"], &["y"], vec![]));
    node.push(NodeProto::new("Flatten", "flatten", &["y"], &["scores"], vec![]));
    let dims: Vec<Dim> = [1, 2, 3, 4].map(Dim::Fixed).into();
    let model = ModelProto::new(
        GraphProto {
            node,
            initializer,
            input: vec![ValueInfoProto::tensor("x", DataType::Float, &dims)],
            output: vec![ValueInfoProto::tensor("scores", DataType::Float, &[])],
            ..GraphProto::default()
        },
        18,
    );
    let graph = crate::import::from_model(&model).map_err(|error| error.to_string())?;
    Ok(graph.nodes().iter().map(|node| (node.op.name(), graph.value(node.output).dims.clone())).collect())
}

fn ints(name: &str, values: &[i64]) -> TensorProto {
    TensorProto::i64(name, &[values.len()], values)
}

fn node(op: &str, inputs: &[&str], output: &str, attributes: Vec<AttributeProto>) -> NodeProto {
    NodeProto::new(op, format!("{output}.node"), inputs, &[output], attributes)
}

#[test]
fn arithmetic_of_shapes() {
    let axis = |value| vec![AttributeProto::int("axis", value)];
    let flat = Ok(vec![("Flatten", vec![24])]);
    let cases: Vec<(Vec<NodeProto>, Vec<TensorProto>)> = vec![
        // [1, 2 * 3 * 4]
        (
            vec![
                node("Shape", &["x"], "s", vec![AttributeProto::int("start", 1)]),
                node("ReduceProd", &["s"], "p", vec![]),
                node("Concat", &["one", "p"], "c", axis(0)),
            ],
            vec![ints("one", &[1])],
        ),
        // Where a computed size is negative, another is taken.
        (
            vec![
                node("Shape", &["x"], "s", vec![]),
                node("Gather", &["s", "first"], "g", axis(0)),
                node("Sub", &["g", "two"], "d", vec![]),
                node("Less", &["d", "zero"], "n", vec![]),
                node("Where", &["n", "g", "d"], "w", vec![]),
                node("Concat", &["w", "d"], "c", axis(0)),
            ],
            vec![ints("first", &[-4]), ints("two", &[2]), ints("zero", &[0])],
        ),
        (
            vec![
                node("Range", &["a", "b", "d"], "r", vec![]),
                node("Slice", &["r", "start", "end", "axes", "steps"], "t", vec![]),
                node("Mod", &["t", "modulus"], "c", vec![]),
            ],
            // 7, 4, 1, of which 1, 7 are taken; 1 mod 24 and 7 mod -2 are 1 and -1.
            vec![
                TensorProto::i64("a", &[], &[7]),
                TensorProto::i64("b", &[], &[0]),
                TensorProto::i64("d", &[], &[-3]),
                ints("start", &[-1]),
                ints("end", &[i64::MIN + 1]),
                ints("axes", &[0]),
                ints("steps", &[-2]),
                ints("modulus", &[24, -2]),
            ],
        ),
        (
            vec![
                node("Size", &["x"], "s", vec![]),
                node("Unsqueeze", &["s", "front"], "u", vec![]),
                node("Tile", &["one", "times"], "t", vec![]),
                node("Concat", &["t", "u"], "c", axis(0)),
            ],
            vec![ints("front", &[0]), ints("one", &[1]), ints("times", &[1])],
        ),
    ];
    for (index, (nodes, initializers)) in cases.into_iter().enumerate() {
        assert_eq!(reshaped(nodes, initializers), flat, "case {index}");
    }
}

#[test]
fn constants_that_do_not_fit_are_named() {
    let cases: Vec<(NodeProto, Vec<TensorProto>, &str)> = vec![
        (node("ConstantOfShape", &["d"], "c", vec![]), vec![ints("d", &[1 << 40])], "too large"),
        (node("ConstantOfShape", &["d"], "c", vec![]), vec![ints("d", &[1 << 20, 1 << 9])], "too large"),
        (node("ConstantOfShape", &["d"], "c", vec![]), vec![ints("d", &[-1])], "must be dimensions"),
        (node("Expand", &["d", "d"], "c", vec![]), vec![ints("d", &[1 << 40])], "too large"),
        (
            node("Range", &["a", "b", "d"], "c", vec![]),
            [("a", i64::MIN), ("b", i64::MAX), ("d", 1)].map(|(n, v)| TensorProto::i64(n, &[], &[v])).into(),
            "too large",
        ),
        (
            node("Range", &["a", "b", "d"], "c", vec![]),
            [("a", 0), ("b", 1), ("d", 0)].map(|(n, v)| TensorProto::i64(n, &[], &[v])).into(),
            "operand 2 is 0",
        ),
        (node("Tile", &["d", "d"], "c", vec![]), vec![ints("d", &[i64::MAX])], "too large"),
        (node("Gather", &["d", "d"], "c", vec![]), vec![ints("d", &[7])], "index 7"),
        (node("Slice", &["d", "d", "d", "z", "z"], "c", vec![]), vec![ints("d", &[1]), ints("z", &[0])], "step 0"),
        (node("Squeeze", &["d"], "c", vec![AttributeProto::ints("axes", &[0])]), vec![ints("d", &[1, 2])], "squeezed"),
        (node("Transpose", &["d"], "c", vec![AttributeProto::ints("perm", &[3])]), vec![ints("d", &[1])], "axes [3]"),
        (
            node("Concat", &["d", "f"], "c", vec![AttributeProto::int("axis", 0)]),
            vec![ints("d", &[1]), TensorProto::f32("f", &[1], &[1.0])],
            "integers and floats",
        ),
        (node("Add", &["d", "e"], "c", vec![]), vec![ints("d", &[1, 2]), ints("e", &[1, 2, 3])], "[2] and [3]"),
        (node("Cast", &["d"], "c", vec![AttributeProto::int("to", 8)]), vec![ints("d", &[1])], "type 8"),
        (node("Cast", &["d"], "c", vec![]), vec![ints("d", &[1])], "`to` is missing"),
        (node("Concat", &["d"], "c", vec![AttributeProto::float("axis", 0.0)]), vec![ints("d", &[1])], "of kind Float"),
        (node("Constant", &[], "c", vec![]), vec![], "no tensor or numbers"),
        (node("Identity", &["d"], "c", vec![]), vec![ints("d", &[5, -1])], "cannot reshape [1, 2, 3, 4] to [5, -1]"),
        (node("Identity", &["d"], "c", vec![]), vec![ints("d", &[-1, -1])], "cannot reshape"),
        (node("Identity", &["d"], "c", vec![]), vec![ints("d", &[0, 0, 0, 0, 0])], "cannot reshape"),
        (node("Identity", &["d"], "c", vec![]), vec![ints("d", &[i64::MAX, i64::MAX])], "cannot reshape"),
        (node("Identity", &["x"], "c", vec![]), vec![], "is computed, must be a constant"),
        (node("Elu", &["d"], "c", vec![]), vec![ints("d", &[1])], "is a constant"),
        (node("NonZero", &["d"], "c", vec![]), vec![ints("d", &[1])], "not supported"),
        (
            node("Gelu", &["x"], "c", vec![AttributeProto::string("approximate", "sigmoid")]),
            vec![],
            "must be `none` or `tanh`",
        ),
        (node("Celu", &["x"], "c", vec![AttributeProto::float("alpha", 0.0)]), vec![], "attribute `alpha` is 0"),
        (node("Elu", &["x"], "c", vec![AttributeProto::float("alpha", f32::NAN)]), vec![], "`alpha` is NaN"),
        (
            node("PRelu", &["x", "d"], "c", vec![]),
            vec![TensorProto::f32("d", &[3], &[1.0, 2.0, 3.0])],
            "only one slope",
        ),
    ];
    for (node, initializers, part) in cases {
        let (name, op) = (node.name.clone(), node.op_type.clone());
        let error = reshaped(vec![node], initializers).unwrap_err();
        let names_a_node = error.contains(&format!("node `{name}` ({op})")) || error.contains("node `reshape`");
        assert!(names_a_node && error.contains(part) && !error.contains('\n'), "{op}: `{error}` lacks `{part}`");
    }
}

/// The order of so many features would take a gibibyte to write down.
#[test]
fn features_that_no_weights_fit_are_refused() {
    let nodes = vec![
        node("Pad", &["x", "pads"], "padded", vec![]),
        node("Transpose", &["padded"], "last", vec![AttributeProto::ints("perm", &[0, 2, 3, 1])]),
        node("Flatten", &["last"], "flat", vec![]),
        node("MatMul", &["flat", "w"], "scores", vec![]),
    ];
    let initializer = vec![ints("pads", &[0, 0, 1 << 24, 0, 0, 0, 0, 0]), TensorProto::f32("w", &[1, 2], &[1.0, 2.0])];
    let dims: Vec<Dim> = [1, 2, 3, 4].map(Dim::Fixed).into();
    let input = vec![ValueInfoProto::tensor("x", DataType::Float, &dims)];
    let output = vec![ValueInfoProto::tensor("scores", DataType::Float, &[])];
    let graph = GraphProto { node: nodes, initializer, input, output, ..GraphProto::default() };
    let error = crate::import::from_model(&ModelProto::new(graph, 18)).unwrap_err().to_string();
    assert!(error.contains("node `scores.node` (MatMul)") && error.contains("134217752 features"), "{error}");
}

#[test]
fn constants_cannot_double_without_end() {
    let mut nodes = vec![node("Identity", &["d"], "c0", vec![])];
    for index in 0..60 {
        let (from, to) = (format!("c{index}"), format!("c{}", index + 1));
        nodes.push(node("Concat", &[&from, &from], &to, vec![AttributeProto::int("axis", 0)]));
    }
    nodes.push(node("Identity", &["c60"], "c", vec![]));
    assert!(reshaped(nodes, vec![ints("d", &[1; 8])]).unwrap_err().contains("too large"));
}

#[test]
fn numbers_of_others_types_are_read() {
    // A half-precision bias and a double-precision weight.
    let half = |name: &str| TensorProto {
        name: name.into(),
        dims: vec![1],
        data_type: DataType::Float16.into(),
        raw_data: Some(0x3e00u16.to_le_bytes().into()),
        ..TensorProto::default()
    };
    let double = TensorProto {
        name: "w".into(),
        dims: vec![1, 1, 1, 1],
        data_type: DataType::Double.into(),
        double_data: vec![-2.5],
        ..TensorProto::default()
    };
    let conv = NodeProto::new("Conv", "c", &["x", "w", "b"], &["y"], vec![]);
    let graph = one_node([1, 2, 2], conv, vec![double, half("b")]).unwrap();
    let parameters: Vec<&[f32]> = graph.parameters().map(|(_, _, parameter)| parameter.tensor.data()).collect();
    assert_eq!(parameters, [[-2.5], [1.5]]);
    // int8 weights with a scale are the floats that they stand for.
    let weights = TensorProto::i8("q", &[2, 1, 1, 1], &[2, 4]);
    let scale = TensorProto::f32("s", &[2], &[0.5, 0.25]);
    let zero = TensorProto::i8("z", &[2], &[0, -4]);
    let dequantize =
        NodeProto::new("DequantizeLinear", "d", &["q", "s", "z"], &["w"], vec![AttributeProto::int("axis", 0)]);
    let mut model = crate::export::to_model(&super::residual(), crate::Batch::One);
    let proto = model.graph.as_mut().unwrap();
    proto.initializer.extend([weights, scale, zero]);
    let image = "image".to_string();
    let conv = NodeProto::new("Conv", "first", &[image.as_str(), "w"], &["y"], vec![AttributeProto::int("group", 2)]);
    let flat = NodeProto::new("Flatten", "flat", &["y"], &["scores"], vec![]);
    proto.node = vec![dequantize, conv, flat];
    proto.input[0] = ValueInfoProto::tensor(image, DataType::Float, &[1, 2, 3, 3].map(Dim::Fixed));
    model.metadata_props.clear();
    let graph = crate::import::from_model(&model).unwrap();
    assert!(matches!(graph.nodes()[0].op, Op::Conv(_)));
    assert_eq!(graph.parameters().next().unwrap().2.tensor.data(), [1.0, 2.0]);
}
