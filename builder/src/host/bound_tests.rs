//! Each operator's error against the float network's, beside the bound that follows from the scales.

use super::trace;
use crate::autograd;
use crate::data::Dataset;
use crate::pack::{Options, Quantized, channels, quantize};
use crate::quant::fixtures::{error_bound, random_graph, random_images, random_norms};
use crate::quant::{Function, QNode, QOp, QTensor};
use crate::tensor::Tensor;
use skipstone_onnx::{Graph, ResizeKernel};
use std::collections::{BTreeMap, HashMap};

/// How many random networks are measured.
const NETWORKS: u64 = 300;

/// Images of each network; it is calibrated on the same, so that nothing leaves its ranges.
const IMAGES: usize = 6;

/// What was seen of an operator; errors and bounds in steps of its output.
#[derive(Default)]
struct Seen {
    nodes: usize,
    elements: usize,
    worst: f64,
    /// Error and bound of the node that came nearest to its bound.
    nearest: [f64; 2],
}

fn label(node: &QNode) -> &'static str {
    match (&node.op, node.operand) {
        (QOp::Conv(conv), None) if conv.prologue.is_some() => "convolution after an affine",
        (QOp::Conv(conv), _) if conv.prologue.is_some() => "convolution after an affine, and sum",
        (QOp::Conv(_), None) => "convolution, linear layer",
        (QOp::Conv(_), Some(_)) => "convolution and sum",
        (QOp::Add, _) => "sum",
        (QOp::GlobalAveragePool, _) => "global average",
        (QOp::AveragePool { .. }, _) => "average of a window",
        (QOp::Copy(_), _) => "copy",
        (QOp::Blocks, _) => "blocks of pixels",
        (QOp::Affine(_), _) => "affine",
        (QOp::MaxPool { .. }, _) => "max pool",
        (QOp::Lookup { function: Function::Sigmoid, .. }, _) => "sigmoid",
        (QOp::Lookup { function: Function::Clip { .. }, .. }, _) => "clip",
        (QOp::Lookup { function: Function::Unary(unary), .. }, _) => unary.name(),
        (QOp::Gate { one_plus: false }, _) => "gate",
        (QOp::Gate { one_plus: true }, _) => "gate of one plus the mask",
        (QOp::Resize(resize), _) if resize.kernel != ResizeKernel::Linear || resize.antialias => {
            "resize, other kernels"
        }
        (QOp::Resize(_), _) => "resize",
        (QOp::Concat, _) => "concatenation",
        (QOp::L2Norm, _) => "L2 norm",
        (QOp::InstanceNorm { .. }, _) => "instance norm",
        (QOp::GroupNorm { .. }, _) => "group norm",
    }
}

/// The largest distance of an image's int8 elements from the float network's. Last rows that nothing reads are missing.
fn error(tensor: &QTensor, made: &[i8], float: &[f32]) -> f64 {
    assert!(!made.is_empty() && made.len() <= float.len(), "{}", tensor.name);
    let real = |&q: &i8| (f64::from(q) - f64::from(tensor.params.zero_point)) * f64::from(tensor.params.scale);
    made.iter().zip(float).map(|(q, &x)| (real(q) - f64::from(x)).abs()).fold(0.0, f64::max)
}

/// Measures every node of a network, given the errors of what it reads.
fn measure(graph: &Graph, images: &Dataset, quantized: &Quantized, seen: &mut BTreeMap<&'static str, Seen>) {
    let qgraph = &quantized.qgraph;
    let channels = channels(qgraph).unwrap();
    let all: Vec<usize> = (0..images.len()).collect();
    let batch = images.batch_for(graph, &all);
    let mut float: HashMap<String, Tensor> = HashMap::new();
    autograd::observe(graph, &batch, &mut |id, tensor| {
        float.insert(graph.value(id).name.clone(), tensor.clone());
    });
    let traces: Vec<_> = all.iter().map(|&index| trace(&quantized.stone, images.image(index)).unwrap()).collect();
    let mut errors = vec![0.0; qgraph.tensors.len()];
    let image = &qgraph.tensors[qgraph.input];
    errors[qgraph.input] =
        all.iter().map(|&i| error(image, &traces[i].image, float[&image.name].image(i))).fold(0.0, f64::max);
    for (index, node) in qgraph.nodes.iter().enumerate() {
        let output = &qgraph.tensors[node.output];
        let bound = error_bound(qgraph, node, &errors);
        // Of parts of concatenations, and of maps that are copied or rounded for some reader, the float network knows
        // nothing.
        let Some(expected) = float.get(&output.name) else {
            assert!(matches!(node.op, QOp::Concat | QOp::Copy(_) | QOp::Blocks | QOp::Affine(_)), "{}", node.name);
            errors[node.output] = bound;
            continue;
        };
        let made = |i: usize| channels[node.output].strip(&traces[i].nodes[index].values);
        let found = all.iter().map(|&i| error(output, &made(i), expected.image(i))).fold(0.0, f64::max);
        assert!(found <= bound, "{} ({}) is off by {found}, at most {bound} expected", node.name, label(node));
        errors[node.output] = found;
        let [found, bound] = [found, bound].map(|error| error / f64::from(output.params.scale));
        let seen = seen.entry(label(node)).or_default();
        seen.nodes += 1;
        seen.elements += expected.data().len();
        seen.worst = seen.worst.max(found);
        if bound > 0.0 && found * seen.nearest[1] >= seen.nearest[0] * bound {
            seen.nearest = [found, bound];
        }
    }
}

#[test]
fn no_operator_is_farther_from_float_than_its_scales_say() {
    let mut seen = BTreeMap::new();
    for seed in 0..NETWORKS {
        let graph = random_graph(seed);
        let images = random_images(&graph, IMAGES, seed);
        measure(&graph, &images, &quantize(&graph, &images, &Options::default()).unwrap(), &mut seen);
    }
    for seed in 0..NETWORKS / 10 {
        let graph = random_norms(seed);
        let images = random_images(&graph, IMAGES, seed);
        measure(&graph, &images, &quantize(&graph, &images, &Options::default()).unwrap(), &mut seen);
    }
    println!("| operator | nodes | elements | worst error | nearest to its bound: error, bound |");
    println!("|---|---:|---:|---:|---|");
    for (label, Seen { nodes, elements, worst, nearest: [error, bound] }) in &seen {
        println!("| {label} | {nodes} | {elements} | {worst:.2} | {error:.2}, {bound:.2} |");
    }
    assert!(seen.len() >= 16, "{:?}", seen.keys());
}
