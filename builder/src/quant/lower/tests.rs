use super::*;
use crate::quant::fixtures::Net;
use crate::quant::requant::MULTIPLIER_LIMIT;
use skipstone_onnx::{Conv, GraphBuilder, Normalization, Op, Tensor};

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
    let steps = 0.25 / (f64::from(qgraph.tensors[0].scale) * f64::from(conv.weight_scales[0]));
    assert_eq!(conv.bias, [steps.round() as i32, 0]);
}

#[test]
fn a_bias_beside_no_weights_fits() {
    let qgraph = lowered(&graph(&[0.0, 1e-12, 1.0], &[3.0, -3.0, 0.0]), -3.0, 3.0).unwrap();
    let conv = conv(&qgraph);
    for (channel, expected) in [3.0, -3.0].into_iter().enumerate() {
        let real =
            f64::from(conv.bias[channel]) * f64::from(conv.weight_scales[channel]) * f64::from(qgraph.tensors[0].scale);
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
        let multiplier = f64::from(qgraph.tensors[0].scale) * f64::from(conv(&qgraph).weight_scales[0])
            / f64::from(qgraph.tensors[1].scale);
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
