//! Zero points that are left out, and several pairs on one tensor.

use super::quantized::{constants, file, node, unsigned, zero};
use super::*;
use crate::{Op, QuantParams};

fn operators(graph: &Graph) -> Vec<&'static str> {
    graph.nodes().iter().map(|node| node.op.name()).collect()
}

fn rounding(graph: &Graph, node: usize) -> Option<QuantParams> {
    let name = &graph.value(graph.nodes()[node].output).name;
    graph.metadata.quantization.activations.get(name).copied()
}

fn refusal(nodes: Vec<NodeProto>, extra: Vec<TensorProto>) -> String {
    let error = file(nodes, constants().into_iter().chain(extra).collect()).unwrap_err().to_string();
    assert!(error.starts_with("node `") && !error.contains('\n'), "{error}");
    error
}

#[test]
fn a_missing_zero_point_is_0_of_the_operands_type() {
    let mut named = node("QuantizeLinear", &["image", "s.in"], "q");
    named.attribute.push(AttributeProto::int("output_dtype", i32::from(DataType::Int8).into()));
    let cases = [
        (node("QuantizeLinear", &["image", "s.in", "z"], "q"), zero("z", 0), 0),
        (node("QuantizeLinear", &["image", "s.in", "z"], "q"), unsigned("z", &[0]), -128),
        (node("QuantizeLinear", &["image", "s.in"], "q"), zero("z", 0), -128),
        (named, zero("z", 0), 0),
    ];
    for (quantize, zero_point, expected) in cases {
        let mut pool = node("MaxPool", &["q"], "pool");
        pool.attribute.push(AttributeProto::ints("kernel_shape", &[2, 2]));
        let mut dequantize = node("DequantizeLinear", &["pool", "s.in"], "pool.dq");
        dequantize.attribute.extend([AttributeProto::int("block_size", 0), AttributeProto::int("axis", 1)]);
        let nodes = vec![quantize, pool, dequantize, node("Flatten", &["pool.dq"], "scores")];
        let graph = file(nodes, constants().into_iter().chain([zero_point]).collect()).unwrap();
        let known = QuantParams { scale: 0.25, zero_point: expected };
        assert_eq!(graph.metadata.quantization.activations["image"], known);
        assert_eq!(rounding(&graph, 0), Some(known));
    }
}

#[test]
fn other_types_are_refused_by_their_names() {
    let kind = |kind: DataType| TensorProto { data_type: kind.into(), ..TensorProto::i32("z", &[], &[0]) };
    let rounded = |zero| {
        let nodes = vec![node("QuantizeLinear", &["image", "s.in", "z"], "q"), node("Flatten", &["q"], "scores")];
        refusal(nodes, vec![zero])
    };
    for (data_type, name) in
        [(DataType::Int16, "Int16"), (DataType::Uint16, "Uint16"), (DataType::Float8e5m2, "Float8")]
    {
        assert!(rounded(kind(data_type)).contains(&format!("activations of type {name}")), "{name}");
    }
    let mut named = node("QuantizeLinear", &["image", "s.in"], "q");
    named.attribute.push(AttributeProto::int("output_dtype", i32::from(DataType::Int4).into()));
    let error = refusal(vec![named, node("Flatten", &["q"], "scores")], vec![]);
    assert!(error.contains("activations of type Int4"), "{error}");
    let wide = TensorProto {
        data_type: DataType::Int16.into(),
        raw_data: Some(vec![0; 8]),
        ..TensorProto::i8("wide", &[2, 2, 1, 1], &[0; 4])
    };
    let nodes = vec![
        node("DequantizeLinear", &["wide", "s.in"], "weight"),
        node("Conv", &["image", "weight"], "conv"),
        node("Flatten", &["conv"], "scores"),
    ];
    assert!(refusal(nodes, vec![wide]).contains("constants of type Int16 are not supported"));
}

#[test]
fn operators_that_compute_with_integers_are_refused() {
    for op in ["Relu", "Sigmoid", "GlobalAveragePool"] {
        let nodes = vec![
            node("QuantizeLinear", &["image", "s.in", "z"], "q"),
            node(op, &["q"], "computed"),
            node("Flatten", &["computed"], "scores"),
        ];
        assert!(refusal(nodes, vec![zero("z", 3)]).contains("computes with the integers"), "{op}");
    }
    // A padding with 0 is no padding with the real 0.
    let pads = || TensorProto::i64("pads", &[8], &[0, 0, 1, 1, 0, 0, 1, 1]);
    let padded = |inputs: &[&str]| {
        vec![
            node("QuantizeLinear", &["image", "s.in", "z"], "q"),
            node("Pad", inputs, "padded"),
            node("DequantizeLinear", &["padded", "s.in", "z"], "real"),
            node("Flatten", &["real"], "scores"),
        ]
    };
    assert!(
        refusal(padded(&["q", "pads"]), vec![zero("z", 3), pads()])
            .contains("pads integers with 0, where 3 stands for 0")
    );
    let initializers = constants().into_iter().chain([zero("z", 3), pads()]).collect();
    assert_eq!(operators(&file(padded(&["q", "pads", "z"]), initializers).unwrap()), ["Pad", "Flatten"]);
}

/// A convolution whose result is rounded by two pairs, which are added up.
fn two_pairs(second: [&str; 2], chained: bool) -> Vec<NodeProto> {
    let from = if chained { "a.dq" } else { "conv" };
    vec![
        node("DequantizeLinear", &["w", "s.in", "z.in"], "weight"),
        node("Conv", &["image", "weight"], "conv"),
        node("QuantizeLinear", &["conv", "s.out", "low"], "a"),
        node("DequantizeLinear", &["a", "s.out", "low"], "a.dq"),
        node("QuantizeLinear", &[from, second[0], second[1]], "y"),
        node("DequantizeLinear", &["y", second[0], second[1]], "y.dq"),
        node("Add", &["a.dq", "y.dq"], "sum"),
        node("Flatten", &["sum"], "scores"),
    ]
}

#[test]
fn pairs_of_one_scale_are_one() {
    let extra =
        || constants().into_iter().chain([zero("z.in", 0), zero("low", -128), zero("z", 0)]).collect::<Vec<_>>();
    for chained in [false, true] {
        let graph = file(two_pairs(["s.out", "low"], chained), extra()).unwrap();
        assert_eq!(operators(&graph), ["Conv", "Relu", "Add", "Flatten"]);
        assert_eq!(rounding(&graph, 1), Some(QuantParams { scale: 0.5, zero_point: -128 }));
    }
}

#[test]
fn pairs_of_several_scales_each_round_what_the_file_says() {
    let extra =
        || constants().into_iter().chain([zero("z.in", 0), zero("low", -128), zero("z", 0)]).collect::<Vec<_>>();
    let graph = file(two_pairs(["s.in", "z"], false), extra()).unwrap();
    assert_eq!(operators(&graph), ["Conv", "Relu", "Conv", "Add", "Flatten"]);
    assert_eq!(rounding(&graph, 1), Some(QuantParams { scale: 0.5, zero_point: -128 }));
    assert_eq!(rounding(&graph, 2), Some(QuantParams { scale: 0.25, zero_point: 0 }));
    // Rounded twice.
    let graph = file(two_pairs(["s.in", "z"], true), extra()).unwrap();
    assert_eq!(operators(&graph), ["Conv", "Relu", "Clip", "Add", "Flatten"]);
    assert_eq!(graph.nodes()[2].op, Op::Clip { min: -32.0, max: 31.75 });
    assert_eq!(rounding(&graph, 2), Some(QuantParams { scale: 0.25, zero_point: 0 }));
}

#[test]
fn maps_beside_each_other_come_to_the_scale_of_both() {
    let nodes = vec![
        node("DequantizeLinear", &["w", "s.in", "z"], "weight"),
        node("Conv", &["image", "weight"], "a"),
        node("QuantizeLinear", &["a", "s.out", "z"], "a.q"),
        node("DequantizeLinear", &["a.q", "s.out", "z"], "a.dq"),
        node("Conv", &["a.dq", "weight"], "y"),
        NodeProto::new("Concat", "concat", &["a.dq", "y"], &["joined"], vec![AttributeProto::int("axis", 1)]),
        node("QuantizeLinear", &["joined", "s.in", "z"], "joined.q"),
        node("DequantizeLinear", &["joined.q", "s.in", "z"], "joined.dq"),
        node("Flatten", &["joined.dq"], "scores"),
    ];
    let graph = file(nodes, constants().into_iter().chain([zero("z", 0)]).collect()).unwrap();
    assert_eq!(operators(&graph), ["Conv", "Conv", "Clip", "Concat", "Flatten"]);
    let quarter = Some(QuantParams { scale: 0.25, zero_point: 0 });
    assert_eq!([2, 3].map(|index| rounding(&graph, index)), [quarter; 2]);
    assert_eq!(rounding(&graph, 0), Some(QuantParams { scale: 0.5, zero_point: 0 }));
}

#[test]
fn what_only_moves_or_limits_rounded_elements_has_their_steps() {
    let mut pool = node("MaxPool", &["relu"], "pool");
    pool.attribute.push(AttributeProto::ints("kernel_shape", &[2, 2]));
    let nodes = vec![
        node("DequantizeLinear", &["w", "s.in", "z"], "weight"),
        node("Conv", &["image", "weight"], "a"),
        node("QuantizeLinear", &["a", "s.out", "z"], "a.q"),
        node("DequantizeLinear", &["a.q", "s.out", "z"], "a.dq"),
        node("Relu", &["a.dq"], "relu"),
        pool,
        node("Conv", &["pool", "weight"], "y"),
        node("Flatten", &["y"], "scores"),
    ];
    let graph = file(nodes, constants().into_iter().chain([zero("z", 0)]).collect()).unwrap();
    let known = Some(QuantParams { scale: 0.5, zero_point: 0 });
    assert_eq!([0, 1, 2, 3].map(|index| rounding(&graph, index)), [known, known, known, None]);
    // A vector is the map that it was.
    let nodes = vec![
        node("GlobalAveragePool", &["image"], "pool"),
        node("Flatten", &["pool"], "flat"),
        node("QuantizeLinear", &["flat", "s.out", "z"], "q"),
        node("DequantizeLinear", &["q", "s.out", "z"], "scores"),
    ];
    let graph = file(nodes, constants().into_iter().chain([zero("z", 0)]).collect()).unwrap();
    assert_eq!(rounding(&graph, 0), known);
}

#[test]
fn an_alpha_scales_weights_and_bias_of_integers() {
    let mut gemm = node("QGemm", &["flat", "s.in", "z", "m", "s.out", "z", "mb", "s.in", "z"], "gemm.q");
    gemm.domain = "com.microsoft".into();
    gemm.attribute.extend([AttributeProto::float("alpha", 0.75), AttributeProto::int("transB", 1)]);
    let nodes = vec![
        node("QuantizeLinear", &["image", "s.in", "z"], "image.q"),
        node("Flatten", &["image.q"], "flat"),
        gemm,
        node("DequantizeLinear", &["gemm.q", "s.in", "z"], "scores"),
    ];
    let extra = [zero("z", 0), TensorProto::i8("m", &[1, 32], &[5; 32]), TensorProto::i32("mb", &[1], &[-9])];
    let graph = file(nodes, constants().into_iter().chain(extra).collect()).unwrap();
    let known = &graph.metadata.quantization.parameters;
    assert_eq!((known["m.real"].scales[0], known["m.real"].values[0]), (0.375, 5));
    assert_eq!((known["mb.real"].scales[0], known["mb.real"].values[0]), (0.25 * 0.5 * 0.75, -9));
}
