use super::*;
use crate::quant::fixtures::Net;
use crate::quant::requant::MULTIPLIER_LIMIT;
use skipstone_onnx::{
    Conv, Coordinates, GraphBuilder, Integers, Normalization, Op, QuantParams, Resize, Tensor, Window,
};

/// A 1x1 convolution with the given weights (one for each output) and biases over a map of one channel.
fn graph(weights: &[f32], bias: &[f32]) -> Graph {
    let mut builder = GraphBuilder::new("net", "image", [1, 1, 1]).unwrap();
    builder.metadata_mut().normalization = Some(Normalization { mean: vec![0.0], std: vec![1.0] });
    let outputs = weights.len();
    let weight = Tensor::new([outputs, 1, 1, 1], weights.to_vec()).unwrap();
    let weight = builder.parameter("weight", weight, true).unwrap();
    let bias = builder.parameter("bias", Tensor::new([outputs], bias.to_vec()).unwrap(), true).unwrap();
    let conv = builder.push("conv", Op::Conv(Conv::square(1, 1, 0)), &[builder.input(), weight, bias]).unwrap();
    let flat = builder.push("flat", Op::Flatten, &[conv]).unwrap();
    builder.finish(flat).unwrap()
}

fn lowered(graph: &Graph, lo: f32, hi: f32) -> Result<QGraph, QuantError> {
    let mut ranges = Ranges::new(graph);
    for node in graph.nodes() {
        ranges.record(node.output, &[lo, hi]);
    }
    lower(graph, &ranges)
}

fn conv(qgraph: &QGraph) -> &QConv {
    let QOp::Conv(conv) = &qgraph.nodes[0].op else { panic!("a convolution") };
    conv
}

#[test]
fn the_largest_weight_of_a_channel_is_127() {
    let qgraph = lowered(&graph(&[0.5, -2.0], &[0.25, 0.0]), -2.0, 1.0).unwrap();
    let conv = conv(&qgraph);
    assert_eq!(conv.weights, [127, -127]);
    assert_eq!(conv.weight_scales, [0.5 / 127.0, 2.0 / 127.0]);
    let steps = 0.25 / (f64::from(qgraph.tensors[0].params.scale) * f64::from(conv.weight_scales[0]));
    assert_eq!(conv.bias, [steps.round() as i32, 0]);
}

#[test]
fn a_bias_beside_no_weights_fits() {
    let qgraph = lowered(&graph(&[0.0, 1e-12, 1.0], &[3.0, -3.0, 0.0]), -3.0, 3.0).unwrap();
    let conv = conv(&qgraph);
    for (channel, expected) in [3.0, -3.0].into_iter().enumerate() {
        let real = f64::from(conv.bias[channel])
            * f64::from(conv.weight_scales[channel])
            * f64::from(qgraph.tensors[0].params.scale);
        assert!((real - expected).abs() < 1e-5, "{real}");
        assert!(conv.bias[channel].unsigned_abs() <= (1 << 30) + 128, "{}", conv.bias[channel]);
    }
}

#[test]
fn an_output_scale_is_raised_until_the_multiplier_fits() {
    // Weights of 1000 on an output that calibration saw nothing of.
    for range in [(0.0, 0.0), (0.0, 1e-6), (-1e-20, 0.0)] {
        let graph = graph(&[50_000.0], &[0.0]);
        let qgraph = lowered(&graph, range.0, range.1).unwrap();
        let multiplier = f64::from(qgraph.tensors[0].params.scale) * f64::from(conv(&qgraph).weight_scales[0])
            / f64::from(qgraph.tensors[1].params.scale);
        assert!(multiplier < MULTIPLIER_LIMIT, "{multiplier}");
        assert_eq!(qgraph.requants(&qgraph.nodes[0]).unwrap().channels[0].s, 32);
    }
}

#[test]
fn what_is_not_a_number_is_named() {
    let error = lowered(&graph(&[1.0, f32::NAN], &[0.0; 2]), 0.0, 1.0).unwrap_err().to_string();
    assert!(error.starts_with("parameter `weight` is not finite at element 1 (NaN)"), "{error}");
    let error = lowered(&graph(&[1.0], &[f32::INFINITY]), 0.0, 1.0).unwrap_err().to_string();
    assert!(error.starts_with("parameter `bias` is not finite at element 0 (inf)"), "{error}");
    for odd in [f32::NAN, f32::INFINITY] {
        let error = lowered(&graph(&[1.0], &[0.0]), 0.0, odd).unwrap_err();
        assert_eq!(error, QuantError::NonFiniteActivation { name: "conv.out".into() });
    }
}

#[test]
fn an_unknown_normalization_and_missing_ranges_are_errors() {
    let mut unknown = graph(&[1.0], &[0.0]);
    unknown.metadata.normalization = None;
    assert_eq!(lowered(&unknown, 0.0, 1.0).unwrap_err(), QuantError::NoNormalization);
    let graph = graph(&[1.0], &[0.0]);
    assert_eq!(lower(&graph, &Ranges::new(&graph)).unwrap_err(), QuantError::NoImages);
}

#[test]
fn scores_must_be_one_pixel() {
    let mut net = Net::new(1, [2, 3, 3]);
    let x = net.conv(net.input(), 2, Conv::square(1, 1, 0), false);
    let flat = net.push(Op::Flatten, &[x]);
    let graph = net.builder.finish(flat).unwrap();
    let error = lowered(&graph, 0.0, 1.0).unwrap_err().to_string();
    assert!(error.contains("its 3x3 map is flattened into scores"), "{error}");
}

#[test]
fn a_pool_of_too_many_pixels_is_refused() {
    let mut net = Net::new(1, [1, 256, 128]);
    let x = net.conv(net.input(), 4, Conv::square(1, 1, 0), false);
    let pool = net.push(Op::GlobalAveragePool, &[x]);
    let flat = net.push(Op::Flatten, &[pool]);
    let graph = net.builder.finish(flat).unwrap();
    let error = lowered(&graph, 0.0, 1.0).unwrap_err().to_string();
    assert!(error.contains("it averages 32768 pixels"), "{error}");
}

#[test]
fn accumulators_that_could_overflow_are_refused_by_channel() {
    // 2^18 weights of 127: 128 * 127 * 2^18 is more than 32 bits hold.
    let features = 1 << 18;
    let mut builder = GraphBuilder::new("net", "image", [4, 256, 256]).unwrap();
    builder.metadata_mut().normalization = Some(Normalization { mean: vec![0.0; 4], std: vec![1.0; 4] });
    let flat = builder.push("flat", Op::Flatten, &[builder.input()]).unwrap();
    let mut weights = vec![0.0; features];
    weights.extend(vec![1.0; features]);
    let weight = builder.parameter("weight", Tensor::new([2, features], weights).unwrap(), true).unwrap();
    let fc = builder.push("fc", Op::Gemm, &[flat, weight]).unwrap();
    let error = lowered(&builder.finish(fc).unwrap(), 0.0, 1e6).unwrap_err().to_string();
    assert!(error.starts_with("node `fc`, output channel 1: its accumulator can reach"), "{error}");
}

/// `image -> ReLU'd convolution a, convolution b -> concatenation -> score`, with the ranges of the members.
#[test]
fn what_is_put_side_by_side_shares_a_scale() {
    let mut net = Net::new(1, [2, 3, 3]);
    let a = net.conv(net.input(), 3, Conv::square(1, 1, 0), true);
    let a = net.relu(a);
    let b = net.conv(net.input(), 2, Conv::square(1, 1, 0), true);
    let joined = net.push(Op::Concat, &[a, b]);
    let largest = net.push(Op::MaxPool(Window::whole([3, 3])), &[joined]);
    let graph = net.head(largest, 2);
    let mut ranges = Ranges::new(&graph);
    for node in graph.nodes() {
        ranges.record(node.output, &[0.0, 0.5]);
    }
    // docs/quantization.md, "Shared scales".
    ranges.record(a, &[0.0, 1.55]);
    ranges.record(b, &[-1.0, 0.5]);
    let qgraph = lower(&graph, &ranges).unwrap();
    for id in [a, b, joined, largest] {
        let tensor = qgraph.tensors.iter().find(|tensor| tensor.name == graph.value(id).name).unwrap();
        assert_eq!((tensor.params.scale, tensor.params.zero_point), (0.01, -28), "{}", tensor.name);
    }
    assert_eq!(qgraph.nodes[0].lo, -28);
}

/// The pixels decide the image's scale: beside other maps it is rounded to theirs.
#[test]
fn the_image_beside_other_maps_is_rounded_to_their_scale() {
    let mut net = Net::new(1, [3, 3, 3]);
    let a = net.conv(net.input(), 4, Conv::square(1, 1, 0), true);
    let largest = net.push(Op::MaxPool(Window::square(3, 1, 1)), &[net.input()]);
    let joined = net.push(Op::Concat, &[a, net.input(), largest, net.input()]);
    let qgraph = lowered(&net.head(joined, 2), -9.0, 12.0).unwrap();
    let named: Vec<(&str, &str)> = qgraph.nodes.iter().map(|node| (node.name.as_str(), node.op.name())).collect();
    let expected = [
        ("Conv3", "Conv"),
        ("image.padded.node", "Copy"),
        ("MaxPool4", "MaxPool"),
        ("image.padded.rescaled.node", "Affine"),
        ("Concat5.part1", "Concat"),
        ("MaxPool4.out.rescaled.node", "Affine"),
        ("Concat5.part2", "Concat"),
        ("Concat5", "Concat"),
    ];
    assert_eq!(named[..8], expected);
    let scale = |name: &str| {
        let tensor = qgraph.tensors.iter().find(|tensor| tensor.name == name).unwrap();
        (tensor.params.scale, tensor.params.zero_point)
    };
    assert_eq!(scale("image.padded"), scale("image"));
    assert_eq!(scale("MaxPool4.out"), scale("image"));
    for name in ["image.padded.rescaled", "MaxPool4.out.rescaled", "Concat5.out"] {
        assert_eq!(scale(name), scale("Conv3.out"), "{name}");
    }
    assert_ne!(scale("image"), scale("Conv3.out"));
}

#[test]
fn three_maps_side_by_side_are_two_concatenations() {
    let mut net = Net::new(1, [2, 3, 3]);
    let maps: Vec<ValueId> =
        [1, 2, 3].map(|channels| net.conv(net.input(), channels, Conv::square(1, 1, 0), true)).into();
    let joined = net.push(Op::Concat, &maps);
    let graph = net.head(joined, 2);
    let qgraph = lowered(&graph, 0.0, 1.0).unwrap();
    let concats: Vec<&QNode> = qgraph.nodes.iter().filter(|node| node.op == QOp::Concat).collect();
    let dims = |node: &QNode| qgraph.tensors[node.output].dims[0];
    assert_eq!(concats.iter().map(|node| dims(node)).collect::<Vec<usize>>(), [3, 6]);
    assert_eq!(concats[1].input, concats[0].output);
    assert_eq!(qgraph.tensors[concats[0].output].name, format!("{}.part1", graph.value(joined).name));
}

/// A batch normalization of one channel.
fn normed(gamma: f32, beta: f32, mean: f32, variance: f32) -> Graph {
    let mut builder = GraphBuilder::new("net", "image", [1, 1, 1]).unwrap();
    let numbers = [("gamma", gamma), ("beta", beta), ("mean", mean), ("variance", variance)]
        .map(|(name, number)| builder.parameter(name, Tensor::new([1], vec![number]).unwrap(), true).unwrap());
    let [gamma, beta, mean, variance] = numbers;
    let op = Op::BatchNorm { epsilon: 1e-5 };
    let norm = builder.push("norm", op, &[builder.input(), gamma, beta, mean, variance]).unwrap();
    let flat = builder.push("flat", Op::Flatten, &[norm]).unwrap();
    builder.finish(flat).unwrap()
}

#[test]
fn a_batch_norm_is_a_factor_and_a_constant() {
    let graph = normed(1.0, 0.1, 0.3, 0.25);
    let affine = affine::batch_norm(&graph, &graph.nodes()[0], 0.05, 0.025).unwrap();
    let factor = 1.0 / (0.25f64 + 1e-5).sqrt();
    assert!((f64::from(affine.factors[0]) - factor).abs() < 1e-6, "{affine:?}");
    assert!((f64::from(affine.constants[0]) - (0.1 - 0.3 * factor)).abs() < 1e-6, "{affine:?}");

    // docs/quantization.md, "Batch norm's factor": 316.2 does not fit, and the mean still becomes beta.
    let graph = normed(1.0, 0.1, 0.3, 0.0);
    let affine = affine::batch_norm(&graph, &graph.nodes()[0], 0.05, 0.025).unwrap();
    assert!((affine.factors[0] - 64.0 / (1.0 + 1.0 / 65536.0)).abs() < 1e-5, "{affine:?}");
    assert!((affine.factors[0] * 0.3 + affine.constants[0] - 0.1).abs() < 1e-5, "{affine:?}");
    assert!((affine.constants[0] + 19.1).abs() < 1e-3, "{affine:?}");

    let graph = normed(1.0, 0.0, 0.0, -1.0);
    let error = affine::batch_norm(&graph, &graph.nodes()[0], 0.05, 0.025).unwrap_err().to_string();
    assert!(error.starts_with("node `norm` (BatchNormalization): the variance of channel 0 is negative"), "{error}");
}

#[test]
fn a_sigmoid_is_a_table_without_ties() {
    let mut net = Net::new(1, [2, 3, 3]);
    let x = net.conv(net.input(), 3, Conv::square(1, 1, 0), true);
    let mask = net.push(Op::Sigmoid, &[x]);
    let x = net.conv(mask, 3, Conv::square(1, 1, 0), true);
    let graph = net.head(x, 2);
    let qgraph = lowered(&graph, -7.0, 5.0).unwrap();
    let QOp::Lookup { table, .. } = &qgraph.nodes[1].op else { panic!("{:?}", qgraph.nodes[1]) };
    let [input, output] = [qgraph.nodes[1].input, qgraph.nodes[1].output].map(|index| &qgraph.tensors[index]);
    assert_eq!((output.params.scale, output.params.zero_point), (1.0 / 256.0, -128));
    assert!(input.params.scale >= 12.0 / 255.0 && input.params.scale < 12.0 / 255.0 * 1.017, "{}", input.params.scale);
    assert_eq!(table[(128 + i32::from(input.params.zero_point)) as usize], 0);
    assert!(table.is_sorted());
    for (q, &entry) in (-128..=127).zip(table) {
        let x = f64::from(input.params.scale) * f64::from(q - i32::from(input.params.zero_point));
        let steps = 256.0 / (1.0 + (-x).exp()) - 128.0;
        assert!((f64::from(entry) - steps.min(127.0)).abs() < 0.5 - 1.0 / 4096.0, "{q}: {entry} for {steps}");
    }
}

#[test]
fn means_have_another_scale_than_what_they_are_the_means_of() {
    let mut net = Net::new(1, [2, 4, 4]);
    let x = net.conv(net.input(), 3, Conv::square(1, 1, 0), true);
    let window = Window::square(2, 2, 0);
    let pooled = net.push(Op::AveragePool { window, count_include_pad: false }, &[x]);
    let last = net.conv(pooled, 3, Conv::square(1, 1, 0), true);
    let qgraph = lowered(&net.head(last, 2), -1.0, 1.0).unwrap();
    let [x, pooled] = [1, 2].map(|index| f64::from(qgraph.tensors[index].params.scale));
    assert!((pooled / x - (1.0 + 1.0 / 2048.0)).abs() < 1e-6, "{x} {pooled}");
}

#[test]
fn a_resize_of_too_many_weights_is_refused() {
    let mut net = Net::new(1, [2, 251, 257]);
    let x = net.conv(net.input(), 1, Conv::square(1, 1, 0), true);
    let resize = Resize::new([359, 353], Coordinates::HalfPixel);
    let x = net.push(Op::Resize(resize), &[x]);
    let x = net.push(Op::GlobalMaxPool, &[x]);
    let error = lowered(&net.head(x, 2), 0.0, 1.0).unwrap_err().to_string();
    assert!(error.contains("(Resize): the weights of its positions add up to"), "{error}");
}

#[test]
fn norms_that_do_not_fit_are_refused() {
    let standardized = |dims: [usize; 3], epsilon: f32| {
        let mut net = Net::new(1, dims);
        let x = net.conv(net.input(), 2, Conv::square(1, 1, 0), true);
        let x = net.push(Op::InstanceNorm { epsilon }, &[x]);
        let x = net.push(Op::GlobalMaxPool, &[x]);
        lowered(&net.head(x, 2), -1.0, 1.0).map_err(|error| error.to_string())
    };
    assert!(standardized([2, 128, 255], 1e-5).is_ok());
    let error = standardized([2, 128, 256], 1e-5).unwrap_err();
    assert!(error.contains("(InstanceNorm): it averages 32768 pixels"), "{error}");
    let error = standardized([2, 128, 255], 1e9).unwrap_err();
    assert!(error.contains("(InstanceNorm): its epsilon") && error.contains("too large"), "{error}");
}

/// As [`graph`], of a file that has integers for it: weights of these scales, biases of others, and a rounded result.
fn of_integers(weights: (&[i32], &[f32]), biases: (&[i32], &[f32])) -> Graph {
    let integers = |(values, scales): (&[i32], &[f32])| Integers { scales: scales.to_vec(), values: values.to_vec() };
    let (weights, biases) = (integers(weights), integers(biases));
    let mut graph = graph(&weights.real(), &biases.real());
    let result = graph.value(graph.nodes()[0].output).name.clone();
    let known = &mut graph.metadata.quantization;
    known.parameters = [("weight".into(), weights), ("bias".into(), biases)].into();
    known.activations.insert("image".into(), QuantParams { scale: 1.0 / 255.0, zero_point: -128 });
    known.activations.insert(result, QuantParams { scale: 0.02, zero_point: -128 });
    graph
}

#[test]
fn a_dead_channel_is_its_bias_whatever_its_scale() {
    for scale in [1.0, 0.0, 1e6, -3.0] {
        let graph = of_integers((&[0, 1], &[scale, 0.5]), (&[3, 0], &[0.5, 1e-3]));
        let qgraph = lower(&graph, &Ranges::new(&graph)).unwrap();
        let requant = qgraph.requants(&qgraph.nodes[0]).unwrap().channels[0];
        assert_eq!((requant.m, requant.apply(0, -128, 127)), (0, -53), "{scale}");
        assert!(conv(&qgraph).weight_scales[0] > 0.0);
    }
    // Of a network without a file.
    let qgraph = lowered(&graph(&[0.0, 0.5], &[1.5, 0.0]), -1.0, 2.0).unwrap();
    let (requant, output) = (qgraph.requants(&qgraph.nodes[0]).unwrap().channels[0], &qgraph.tensors[1]);
    let steps = 1.5 / f64::from(output.params.scale) + f64::from(output.params.zero_point);
    assert_eq!((requant.m, f64::from(requant.apply(0, -128, 127))), (0, steps.round()));
}

#[test]
fn biases_of_a_file_are_exact_in_any_scale() {
    // The product of the scales is 1e-3 / 255.
    let product = 1e-3f32 * (1.0 / 255.0);
    let graph = of_integers((&[100, 100], &[1e-3, 1e-3]), (&[7, 7], &[product, 0.003]));
    let qgraph = lower(&graph, &Ranges::new(&graph)).unwrap();
    let conv = conv(&qgraph);
    assert_eq!((conv.bias.as_slice(), conv.bias_scales.as_slice()), (&[7, 7][..], &[None, Some(0.003)][..]));
    let requants = qgraph.requants(&qgraph.nodes[0]).unwrap().channels;
    // 0.021 is 1.05 steps; a black pixel is 0.
    assert_eq!(requants[1].apply(-128 * 100, -128, 127), -127);
    // One that is left in float.
    let mut graph = graph.clone();
    graph.metadata.quantization.parameters.remove("bias");
    let qgraph = lower(&graph, &Ranges::new(&graph)).unwrap();
    let QOp::Conv(conv) = &qgraph.nodes[0].op else { panic!("a convolution") };
    let real = graph.parameters().find(|(_, name, _)| *name == "bias").unwrap().2.tensor.data();
    let kept: Vec<f32> = (0..2).map(|channel| conv.real_bias(channel, qgraph.tensors[0].params.scale) as f32).collect();
    assert_eq!(kept, real);
}

#[test]
fn one_weight_is_always_a_whole_multiple() {
    let graph = of_integers((&[200, 100], &[1e-3, 1e-3]), (&[7, 7], &[1e-3, 1e-3]));
    let qgraph = lower(&graph, &Ranges::new(&graph)).unwrap();
    assert_eq!(crate::quant::rerounded(&graph, &qgraph), []);
    let scale = f64::from(conv(&qgraph).weight_scales[0]) * f64::from(conv(&qgraph).weights[0]);
    assert!((scale - 0.2).abs() < 1e-7, "{scale}");
}
