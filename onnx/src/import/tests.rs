mod external;
mod image;
mod plumbing;
mod quantized;
mod roundings;

use super::*;
use crate::export::{Batch, export, to_model};
use crate::fixtures::{branches, residual, tensor};
use crate::proto::{AttributeProto, DataType, Dim, NodeProto, StringStringEntryProto, TensorProto, ValueInfoProto};
use crate::{Conv, Coordinates, Op, Pad, Resize, ResizeKernel, Slice, Window};
use proptest::prelude::*;
use std::ops::Range;

/// The model of every operator after `change`.
fn changed(change: impl FnOnce(&mut ModelProto, &mut GraphProto)) -> ModelProto {
    let mut model = to_model(&residual(), Batch::One);
    let mut graph = model.graph.take().unwrap();
    change(&mut model, &mut graph);
    model.graph = Some(graph);
    model
}

fn changed_graph(change: impl FnOnce(&mut GraphProto)) -> ModelProto {
    changed(|_, graph| change(graph))
}

fn node<'a>(graph: &'a mut GraphProto, name: &str) -> &'a mut NodeProto {
    graph.node.iter_mut().find(|node| node.name == name).unwrap()
}

fn initializer<'a>(graph: &'a mut GraphProto, name: &str) -> &'a mut TensorProto {
    graph.initializer.iter_mut().find(|tensor| tensor.name == name).unwrap()
}

/// A network of one node and `Flatten` after it.
fn one_node(dims: [usize; 3], node: NodeProto, initializer: Vec<TensorProto>) -> Result<Graph, ImportError> {
    let dims: Vec<Dim> = [1].iter().chain(&dims).map(|&dim| Dim::Fixed(dim)).collect();
    let flatten = NodeProto::new("Flatten", "flatten", &["y"], &["scores"], vec![]);
    from_model(&ModelProto::new(
        GraphProto {
            node: vec![node, flatten],
            initializer,
            input: vec![ValueInfoProto::tensor("x", DataType::Float, &dims)],
            output: vec![ValueInfoProto::tensor("scores", DataType::Float, &[])],
            ..GraphProto::default()
        },
        18,
    ))
}

#[test]
fn what_was_exported_reads_back_identical() {
    for batch in [Batch::One, Batch::Any] {
        for graph in [residual(), branches()] {
            assert_eq!(import(&export(&graph, batch)).unwrap(), graph);
        }
    }
}

#[test]
fn float_data_constants_and_identities_mean_the_same() {
    let model = changed_graph(|graph| {
        let weight = initializer(graph, "conv1.weight");
        let raw = weight.raw_data.take().unwrap();
        weight.float_data = raw.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        let at = graph.initializer.iter().position(|tensor| tensor.name == "conv2.bias").unwrap();
        let bias = graph.initializer.remove(at);
        let constant = AttributeProto::tensor("value", TensorProto { name: String::new(), ..bias });
        graph.node.insert(0, NodeProto::new("Constant", "", &[""; 0], &["conv2.bias.0"], vec![constant]));
        graph.node.insert(1, NodeProto::new("Identity", "", &["conv2.bias.0"], &["conv2.bias"], vec![]));
        let at = graph.node.iter().position(|node| node.name == "pool").unwrap();
        graph.node[at].input = vec!["conv2.same".into()];
        graph.node.insert(at, NodeProto::new("Identity", "id", &["conv2.out"], &["conv2.same"], vec![]));
        node(graph, "bn1").attribute.push(AttributeProto::float("momentum", 0.9));
        graph.input.push(ValueInfoProto::tensor("fc.bias", DataType::Float, &[Dim::Fixed(3)]));
    });
    assert_eq!(from_model(&model).unwrap(), residual());
}

#[test]
fn gemm_without_transposition_is_transposed() {
    let model = changed_graph(|graph| {
        let weight = tensor(&[3, 6], "fc.weight".len());
        let data: Vec<f32> = (0..18).map(|i| weight.data()[i % 3 * 6 + i / 3]).collect();
        *initializer(graph, "fc.weight") = TensorProto::f32("fc.weight", &[6, 3], &data);
        node(graph, "fc").attribute.clear();
    });
    assert_eq!(from_model(&model).unwrap(), residual());
}

#[test]
fn a_constant_of_two_roles_becomes_two_parameters() {
    let model = changed_graph(|graph| node(graph, "bn1").input[3] = "bn1.bias".into());
    let graph = from_model(&model).unwrap();
    let roles: Vec<(&str, bool)> =
        graph.parameters().map(|(_, name, p)| (name, p.trainable)).filter(|(name, _)| name.contains("bias")).collect();
    assert_eq!(roles[..2], [("bn1.bias", true), ("bn1.bn1.bias", false)]);
}

#[test]
fn auto_pad_becomes_pads() {
    // Sizes 7 and 6 under a 3x2 kernel with stride 2: the result is 4x3, which needs 2 rows and no column.
    for (auto_pad, kernel, pads) in [
        ("SAME_UPPER", [3, 2], [1, 0, 1, 0]),
        ("SAME_UPPER", [4, 3], [1, 0, 2, 1]),
        ("SAME_LOWER", [4, 3], [2, 1, 1, 0]),
        ("VALID", [3, 2], [0; 4]),
        ("NOTSET", [3, 2], [0; 4]),
    ] {
        let weight = tensor(&[2, 1, kernel[0], kernel[1]], 1);
        let attributes = vec![AttributeProto::string("auto_pad", auto_pad), AttributeProto::ints("strides", &[2, 2])];
        let node = NodeProto::new("Conv", "c", &["x", "w"], &["y"], attributes);
        let graph = one_node([1, 7, 6], node, vec![TensorProto::f32("w", weight.dims(), weight.data())]).unwrap();
        assert_eq!(graph.nodes()[0].op, Op::Conv(Conv { kernel, stride: [2, 2], pads, groups: 1 }), "{auto_pad}");
    }
}

#[test]
fn slices_and_pads_as_exporters_write_them() {
    let ints = |name: &str, data: &[i64]| TensorProto::i64(name, &[data.len()], data);
    let node = NodeProto::new("Slice", "s", &["x", "starts", "ends", "axes", "steps"], &["y"], vec![]);
    let slice = |starts: &[i64], ends: &[i64], axes: &[i64], steps: &[i64]| {
        let lists = vec![ints("starts", starts), ints("ends", ends), ints("axes", axes), ints("steps", steps)];
        one_node([3, 8, 8], node.clone(), lists).map(|graph| graph.nodes()[0].op.clone()).map_err(|e| e.to_string())
    };
    let rows = |rows: Range<usize>| Op::Slice(Slice { start: [0, rows.start, 0], end: [3, rows.end, 8], step: [1; 3] });
    assert_eq!(
        slice(&[0, -7, 0], &[i64::MAX, i64::MAX, -1], &[0, -1, 2], &[1, 2, 3]).unwrap(),
        Op::Slice(Slice { start: [0, 0, 1], end: [3, 7, 8], step: [1, 3, 2] })
    );
    assert!(slice(&[0], &[4], &[1], &[-1]).unwrap_err().contains("step -1"));
    // All of the batch, which is one image, said in many ways; and none of it.
    for (start, end, step) in [
        (0, 1, 1),
        (0, 1_000_000_000, 1),
        (0, i32::MAX.into(), 1),
        (i64::MIN, i64::MAX, 1),
        (-1, i64::MAX, 1),
        (0, 1_000_000_000, 2),
        (-1, i64::MIN, -1),
        (0, -1_000_000_000, -1),
    ] {
        assert_eq!(slice(&[start, 1], &[end, 8], &[0, 2], &[step, 1]).unwrap(), rows(1..8), "{start}..{end} by {step}");
    }
    for (start, end, step) in [(0, 0, 1), (1, i64::MAX, 1), (0, -1, 1), (0, -1, -1), (-2, -5, -1), (0, 1, 0)] {
        let error = slice(&[start], &[end], &[0], &[step]).unwrap_err();
        assert!(error.contains("cuts the batch"), "{start}..{end} by {step}: {error}");
    }
    assert_eq!(slice(&[0], &[8], &[2], &[1]).unwrap(), Op::Flatten);
    assert!(slice(&[0, 0], &[1, 1], &[1, 1], &[1, 1]).unwrap_err().contains("axes [1, 1]"));
    assert!(slice(&[5], &[5], &[1], &[1]).unwrap_err().contains("3..3"));

    let node = NodeProto::new("Pad", "p", &["x", "pads", "", "axes"], &["y"], vec![]);
    let pad = |pads: &[i64], axes: &[i64]| {
        one_node([3, 8, 8], node.clone(), vec![ints("pads", pads), ints("axes", axes)])
            .map(|graph| graph.nodes()[0].op.clone())
            .map_err(|e| e.to_string())
    };
    assert_eq!(pad(&[1, 2], &[1]).unwrap(), Op::Pad(Pad { before: [1, 0, 0], after: [2, 0, 0] }));
    assert!(pad(&[-1, 2], &[1]).unwrap_err().contains("padding is"));
    assert!(pad(&[1, 0], &[0]).unwrap_err().contains("batch"));
    assert!(pad(&[i64::MAX, i64::MAX], &[1]).unwrap_err().contains("node `p` (Pad)"));
}

/// The operator that a node over an image of 3x7x6 reads as. Operands from `x` and constants.
fn read_node(op: &str, constants: Vec<TensorProto>, attributes: Vec<AttributeProto>) -> Result<Op, String> {
    let names: Vec<&str> = ["x"].into_iter().chain(constants.iter().map(|tensor| tensor.name.as_str())).collect();
    // A constant whose name starts with a dash is left out.
    let inputs: Vec<&str> = names.iter().map(|name| if name.starts_with('-') { "" } else { name }).collect();
    let node = NodeProto::new(op, "n", &inputs, &["y"], attributes);
    let constants = constants.iter().filter(|tensor| !tensor.name.starts_with('-')).cloned().collect();
    one_node([3, 7, 6], node, constants).map(|graph| graph.nodes()[0].op.clone()).map_err(|error| error.to_string())
}

#[test]
fn pools_as_exporters_write_them() {
    let kernel = || AttributeProto::ints("kernel_shape", &[3, 2]);
    let strides = || AttributeProto::ints("strides", &[2, 2]);
    let ceil = || AttributeProto::int("ceil_mode", 1);
    let window = Window { kernel: [3, 2], stride: [1, 1], pads: [0; 4], ceil_mode: false };
    assert_eq!(read_node("MaxPool", vec![], vec![kernel()]).unwrap(), Op::MaxPool(window.clone()));
    let auto_pad = AttributeProto::string("auto_pad", "SAME_UPPER");
    let order = AttributeProto::int("storage_order", 0);
    let same = Window { stride: [2, 2], pads: [1, 0, 1, 0], ..window.clone() };
    let attributes = vec![kernel(), strides(), auto_pad, order];
    assert_eq!(read_node("MaxPool", vec![], attributes).unwrap(), Op::MaxPool(same));
    let include = AttributeProto::int("count_include_pad", 1);
    let up = Window { stride: [2, 2], ceil_mode: true, ..window };
    let attributes = vec![kernel(), strides(), ceil(), include];
    let expected = Op::AveragePool { window: up, count_include_pad: true };
    assert_eq!(read_node("AveragePool", vec![], attributes).unwrap(), expected);

    for (attributes, part) in [
        (vec![strides()], "`kernel_shape` is missing"),
        (vec![kernel(), AttributeProto::ints("dilations", &[2, 1])], "dilated"),
        (vec![kernel(), AttributeProto::ints("pads", &[3, 0, 0, 0])], "without an element"),
        (vec![kernel(), ceil(), AttributeProto::string("auto_pad", "VALID")], "ambiguous"),
        (vec![AttributeProto::ints("kernel_shape", &[8, 1])], "does not fit"),
        (vec![AttributeProto::ints("kernel_shape", &[0, 1])], "at least 1"),
    ] {
        let error = read_node("MaxPool", vec![], attributes).unwrap_err();
        assert!(error.contains("`n` (MaxPool)") && error.contains(part), "{error}");
    }
}

#[test]
fn interpolation_as_exporters_write_it() {
    let linear = || AttributeProto::string("mode", "linear");
    let align = || AttributeProto::string("coordinate_transformation_mode", "align_corners");
    let left_out = || TensorProto::f32("-roi", &[0], &[]);
    let scales = |scales: &[f32]| vec![left_out(), TensorProto::f32("scales", &[scales.len()], scales)];
    let sizes = |sizes: &[i64]| vec![left_out(), left_out(), TensorProto::i64("sizes", &[sizes.len()], sizes)];
    let resize = |height, width, coordinates| Op::Resize(Resize::new([height, width], coordinates));
    let half = |height, width| resize(height, width, Coordinates::HalfPixel);
    let axes = || AttributeProto::ints("axes", &[2, -1]);
    for (constants, attributes, expected) in [
        (scales(&[1.0, 1.0, 2.0, 0.5]), vec![linear()], half(14, 3)),
        (sizes(&[1, 3, 5, 9]), vec![linear(), align()], resize(5, 9, Coordinates::AlignCorners)),
        (sizes(&[5, 9]), vec![linear(), axes()], half(5, 9)),
        (scales(&[1.0, 1.0, 3.0, 1.5]), vec![linear(), align()], resize(21, 9, Coordinates::AlignCorners)),
    ] {
        assert_eq!(read_node("Resize", constants, attributes).unwrap(), expected);
    }
    let text = AttributeProto::string;
    let nearest = |place, rounding| {
        vec![text("coordinate_transformation_mode", place), text("nearest_mode", rounding), text("mode", "nearest")]
    };
    let doubled = resize(14, 12, Coordinates::Nearest);
    for attributes in [vec![], nearest("asymmetric", "floor"), nearest("half_pixel", "round_prefer_ceil")] {
        assert_eq!(read_node("Resize", sizes(&[1, 3, 14, 12]), attributes).unwrap(), doubled);
    }
    let cubic = || text("mode", "cubic");
    let half_pixel = text("coordinate_transformation_mode", "pytorch_half_pixel");
    let of_torch = ResizeKernel::Cubic { coefficient: -0.75 };
    let excluding =
        vec![cubic(), AttributeProto::float("cubic_coeff_a", -0.5), AttributeProto::int("exclude_outside", 1)];
    let small = Resize::new([3, 3], Coordinates::HalfPixel);
    for (attributes, expected) in [
        (vec![cubic(), half_pixel], Resize { kernel: of_torch, ..small.clone() }),
        (
            excluding,
            Resize { kernel: ResizeKernel::Cubic { coefficient: -0.5 }, exclude_outside: true, ..small.clone() },
        ),
        (vec![linear(), AttributeProto::int("antialias", 1)], Resize { antialias: true, ..small.clone() }),
        (vec![linear(), AttributeProto::int("exclude_outside", 1)], small),
    ] {
        assert_eq!(read_node("Resize", sizes(&[1, 3, 3, 3]), attributes).unwrap(), Op::Resize(expected));
    }
    // Of the middle of two pixels the first or the second.
    let every = |start, end, step| Op::Slice(Slice { start: [0, 0, start], end: [3, 7, end], step: [1, 1, step] });
    for (columns, attributes, expected) in [
        (3, nearest("half_pixel", "round_prefer_floor"), resize(7, 3, Coordinates::Nearest)),
        (3, nearest("pytorch_half_pixel", "round_prefer_ceil"), every(1, 6, 2)),
        (3, nearest("tf_half_pixel_for_nn", "floor"), every(1, 6, 2)),
        (2, nearest("half_pixel", "round_prefer_floor"), every(1, 5, 3)),
        (2, nearest("align_corners", "floor"), every(0, 6, 5)),
        (1, nearest("half_pixel", "ceil"), every(3, 4, 1)),
    ] {
        assert_eq!(read_node("Resize", sizes(&[1, 3, 7, columns]), attributes).unwrap(), expected);
    }
    for (constants, attributes, part) in [
        (sizes(&[1, 3, 14, 12]), nearest("half_pixel", "nearest"), "`nearest`"),
        (scales(&[1.0, 1.0, 2.0, 2.0]), vec![text("mode", "lanczos")], "`mode` is `lanczos`"),
        (scales(&[1.0, 1.0, 2.0, 2.0]), vec![cubic(), AttributeProto::float("cubic_coeff_a", f32::NAN)], "is NaN"),
        (
            sizes(&[1, 3, 1, 6]),
            vec![cubic(), text("coordinate_transformation_mode", "pytorch_half_pixel")],
            "one pixel",
        ),
        (sizes(&[1, 3, 14, 12]), vec![AttributeProto::int("antialias", 1)], "`antialias`"),
        (scales(&[1.0, 1.0, 1.5, 1.5]), vec![linear()], "no whole number"),
        (scales(&[1.0, 1.0, 1.5, 1.5]), vec![linear(), align()], "no whole number"),
        (scales(&[1.0, 2.0, 1.0, 1.0]), vec![linear()], "the channels"),
        (scales(&[2.0, 1.0, 1.0, 1.0]), vec![linear()], "the batch"),
        (scales(&[1.0, f32::NAN, 1.0, 1.0]), vec![linear()], "positive scales"),
        (scales(&[1.0, 1.0]), vec![linear()], "2 scales or sizes for 4 axes"),
        (vec![left_out()], vec![linear()], "either scales or sizes"),
        (sizes(&[1, 3, 0, 9]), vec![linear()], "0x9"),
        (sizes(&[1, 3, -1, 9]), vec![linear()], "must be sizes"),
        (sizes(&[1, 3, 1 << 20, 1 << 20]), vec![linear()], "more than"),
    ] {
        let error = read_node("Resize", constants, attributes).unwrap_err();
        assert!(error.contains("`n` (Resize)") && error.contains(part), "{error}");
    }
}

#[test]
fn numbers_as_operands() {
    let scalar = |name: &str, value| TensorProto::scalar(name, value);
    let clip = |constants| read_node("Clip", constants, vec![]);
    let (min, max) = (f32::NEG_INFINITY, f32::INFINITY);
    assert_eq!(clip(vec![scalar("min", 0.0), scalar("max", 6.0)]).unwrap(), Op::Clip { min: 0.0, max: 6.0 });
    assert_eq!(clip(vec![scalar("-min", 0.0), scalar("max", 6.0)]).unwrap(), Op::Clip { min, max: 6.0 });
    assert_eq!(clip(vec![]).unwrap(), Op::Flatten);
    let attributes = vec![AttributeProto::float("min", f32::MIN), AttributeProto::float("max", 6.0)];
    assert_eq!(read_node("Clip", vec![], attributes).unwrap(), Op::Clip { min, max: 6.0 });
    assert_eq!(clip(vec![scalar("min", 0.0)]).unwrap(), Op::Clip { min: 0.0, max });
    assert!(clip(vec![scalar("min", 1.0), scalar("max", 0.0)]).unwrap_err().contains("limits are 1 and 0"));
    assert!(clip(vec![scalar("min", f32::NAN)]).unwrap_err().contains("limits are NaN"));
    assert!(clip(vec![TensorProto::f32("min", &[2], &[0.0; 2])]).unwrap_err().contains("one number"));

    let dropout = |constants, attributes| read_node("Dropout", constants, attributes);
    assert_eq!(dropout(vec![], vec![]).unwrap(), Op::Dropout { rate: 0.5 });
    assert_eq!(dropout(vec![scalar("ratio", 0.25)], vec![]).unwrap(), Op::Dropout { rate: 0.25 });
    let attribute = vec![AttributeProto::float("ratio", 0.125), AttributeProto::int("seed", 1)];
    assert_eq!(dropout(vec![], attribute).unwrap(), Op::Dropout { rate: 0.125 });
    assert!(dropout(vec![scalar("ratio", 1.0)], vec![]).unwrap_err().contains("rate is 1"));
    let training = vec![scalar("ratio", 0.5), TensorProto::i64("training", &[], &[1])];
    assert!(dropout(training, vec![]).unwrap_err().contains("training mode"));
}

#[test]
fn the_last_softmax_is_told_and_left_out() {
    for (op, ending) in [("Softmax", Ending::Softmax), ("LogSoftmax", Ending::LogSoftmax)] {
        let model = changed_graph(|graph| {
            graph.node.push(NodeProto::new(op, "last", &["scores"], &["probabilities"], vec![]));
            graph.node.push(NodeProto::new("Identity", "same", &["probabilities"], &["output"], vec![]));
            graph.output[0].name = "output".into();
        });
        let imported = read(&model).unwrap();
        let expected =
            Imported { graph: residual(), channels_last: false, ending, scores: "scores".into(), rounded: Vec::new() };
        assert_eq!(imported, expected);
    }
}

#[test]
fn errors_say_what_and_where() {
    let cases: Vec<(ModelProto, &[&str])> = vec![
        (changed_graph(|g| node(g, "relu").op_type = "LRN".into()), &["`relu` (LRN)", "not supported", "docs/onnx.md"]),
        (changed_graph(|g| node(g, "relu").op_type = "Softmax".into()), &["`relu` (Softmax)", "all features"]),
        (changed_graph(|g| node(g, "add").op_type = "Concat".into()), &["`add` (Concat)", "`axis` is missing"]),
        (
            changed_graph(|g| {
                let add = node(g, "add");
                add.op_type = "Concat".into();
                add.attribute.push(AttributeProto::int("axis", 0));
            }),
            &["`add` (Concat)", "the batch cannot"],
        ),
        (
            changed_graph(|g| {
                let add = node(g, "add");
                add.op_type = "Mul".into();
                add.input[1] = "image".into();
            }),
            &["`add` (Mul)", "[1, 8, 5, 4] and [1, 4, 9, 8]"],
        ),
        (changed_graph(|g| node(g, "relu").domain = "com.x".into()), &["`relu` (Relu)", "`com.x`"]),
        (changed_graph(|g| g.node.swap(2, 3)), &["`short.pad` (Pad)", "`short.slice`", "out of order"]),
        (changed_graph(|g| node(g, "conv1").input[0] = "relu.out".into()), &["`conv1` (Conv)", "cycle"]),
        (changed_graph(|g| g.initializer.retain(|t| t.name != "fc.bias")), &["`fc` (Gemm)", "`fc.bias`", "neither"]),
        (changed_graph(|g| node(g, "bn1").input.truncate(4)), &["`bn1`", "operand 4 is missing"]),
        (changed_graph(|g| node(g, "add").input[1] = "conv1.weight".into()), &["`add` (Add)", "is a constant"]),
        (changed_graph(|g| node(g, "conv2").input[1] = "relu.out".into()), &["`conv2`", "must be a constant"]),
        (changed_graph(|g| node(g, "conv1").attribute[3].ints = vec![9, 2]), &["`conv1` (Conv)", "19 does not fit"]),
        (
            changed_graph(|g| node(g, "conv1").attribute[3].ints = vec![0, 2]),
            &["`conv1` (Conv)", "`dilations` holds 0"],
        ),
        (
            changed_graph(|g| node(g, "conv1").attribute[3].ints = vec![1 << 40, 1 << 40]),
            &["`conv1` (Conv)", "too large"],
        ),
        (changed_graph(|g| node(g, "conv1").attribute[2].ints = vec![-1; 4]), &["`conv1`", "`pads`", "4 sizes"]),
        (changed_graph(|g| node(g, "conv1").attribute[2].ints = vec![i64::MAX; 4]), &["`conv1`", "too large"]),
        (changed_graph(|g| node(g, "conv1").attribute[1].ints = vec![0, 1]), &["`conv1`", "`strides`"]),
        (changed_graph(|g| node(g, "relu").attribute.push(AttributeProto::int("x", 1))), &["`relu`", "attribute `x`"]),
        (changed_graph(|g| node(g, "fc").attribute.push(AttributeProto::int("transA", 1))), &["`fc`", "`transA`"]),
        (
            changed_graph(|g| {
                node(g, "bn1").output.push("mean".into());
                node(g, "relu").input[0] = "mean".into();
                node(g, "conv2").input[0] = "relu.out".into();
                let add = NodeProto::new("Add", "both", &["add.out", "relu.out"], &["both.out"], vec![]);
                g.node.insert(6, add);
                node(g, "conv2").input[0] = "both.out".into();
            }),
            &["`bn1`", "`mean`"],
        ),
        (changed_graph(|g| node(g, "relu").output[0] = "add.out".into()), &["two values are named `add.out`"]),
        (changed_graph(|g| initializer(g, "fc.weight").dims = vec![6, 3]), &["`fc` (Gemm)", "3 columns"]),
        (changed_graph(|g| initializer(g, "fc.weight").dims = vec![3, 7]), &["`fc.weight`", "[3, 7]", "18 elements"]),
        (changed_graph(|g| initializer(g, "fc.weight").dims = vec![i64::MAX; 3]), &["`fc.weight`", "too many"]),
        (changed_graph(|g| initializer(g, "fc.weight").dims = vec![1 << 32, 1]), &["`fc.weight`", "18 elements"]),
        (changed_graph(|g| initializer(g, "fc.weight").dims = vec![-3, -6]), &["`fc.weight`", "negative"]),
        (changed_graph(|g| initializer(g, "fc.weight").data_type = 10), &["`fc.weight`", "36 elements"]),
        (changed_graph(|g| initializer(g, "fc.weight").data_type = 8), &["`fc.weight`", "String"]),
        (changed_graph(|g| initializer(g, "fc.weight").data_type = 99), &["`fc.weight`", "99"]),
        (changed_graph(|g| initializer(g, "fc.weight").raw_data.as_mut().unwrap().truncate(7)), &["`fc.weight`", "7"]),
        (changed_graph(|g| g.initializer.push(g.initializer[0].clone())), &["`conv1.weight`", "twice"]),
        (
            changed_graph(|g| {
                let raw = initializer(g, "fc.weight").raw_data.as_mut().unwrap();
                raw[..4].copy_from_slice(&f32::NAN.to_le_bytes());
            }),
            &["`fc.weight`", "NaN"],
        ),
        (
            changed_graph(|g| {
                let location = StringStringEntryProto::new("location", "w.data");
                initializer(g, "fc.weight").external_data.push(location);
            }),
            &["`fc.weight`", "`w.data`"],
        ),
        (changed_graph(|g| g.input.push(g.output[0].clone())), &["2 inputs", "image"]),
        // Nobody reads it, but other engines want it.
        (
            changed_graph(|g| {
                let second = ValueInfoProto { name: "second".into(), ..g.input[0].clone() };
                g.input.push(second);
            }),
            &["2 inputs", "`image`, `second`"],
        ),
        (
            changed_graph(|g| {
                let dims = [0, 4, 9, 8].map(Dim::Fixed);
                g.input[0] = ValueInfoProto::tensor("image", DataType::Float, &dims);
            }),
            &["`image`", "batch is 0"],
        ),
        (changed_graph(|g| g.input[0] = g.output[0].clone()), &["`scores`", "2 dimensions", "[N, C, H, W]"]),
        (changed_graph(|g| g.output.clear()), &["0 outputs"]),
        (changed_graph(|g| g.output[0].name = "x".into()), &["output `x`"]),
        (changed_graph(|g| g.output[0].name = "relu.out".into()), &["`relu.out`", "vector of scores"]),
        (changed(|m, _| m.opset_import[0].version = 6), &["operator set [6]", "7 to 25"]),
        (changed(|m, _| m.ir_version = 2), &["version 2", "3 to 13"]),
        (changed(|m, _| m.metadata_props[0].value = "x".into()), &["skipstone.mean"]),
        (
            changed(|m, _| m.metadata_props[..2].iter_mut().for_each(|prop| prop.value = "1,1".into())),
            &["normalization has 2 channels, its input 4"],
        ),
    ];
    for (index, (model, parts)) in cases.iter().enumerate() {
        let error = from_model(model).expect_err(&format!("case {index}: {parts:?}")).to_string();
        for part in *parts {
            assert!(error.contains(part), "case {index}: `{error}` must contain `{part}`");
        }
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn enormous_input_sizes_are_refused() {
    for dims in [[1 << 40, 1 << 40, 1], [usize::MAX >> 1, 3, 3], [0, 8, 8], [1, 1 << 20, 1 << 20]] {
        let node = NodeProto::new("Relu", "r", &["x"], &["y"], vec![]);
        let error = one_node(dims, node, vec![]).unwrap_err().to_string();
        assert!(error.contains("`x`"), "{error}");
    }
    // A map that only grows inside the network.
    let pads = TensorProto::i64("pads", &[8], &[0, 0, 0, 0, 0, 1 << 20, 1 << 20, 1 << 20]);
    let node = NodeProto::new("Pad", "p", &["x", "pads"], &["y"], vec![]);
    assert!(one_node([3, 8, 8], node, vec![pads]).unwrap_err().to_string().contains("node `p` (Pad)"));
}

#[test]
fn every_cut_is_an_error() {
    let bytes = export(&residual(), Batch::One);
    // The metadata stands at the end: a file cut between two of its entries is whole but for them.
    let whole = changed(|model, _| model.metadata_props.clear()).to_bytes().len();
    for length in 0..whole {
        assert!(import(&bytes[..length]).is_err(), "cut to {length} bytes");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = import(&bytes);
    }

    #[test]
    fn damaged_files_never_panic(
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = export(&residual(), Batch::Any);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let _ = import(&bytes);
    }
}
