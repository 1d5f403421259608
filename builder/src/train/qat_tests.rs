//! Training for int8, up to the packed model.

use super::tests::{config, job, tiny};
use super::*;
use crate::autograd::fake::{Grid, Layer};
use crate::autograd::loss::{Loss, targets};
use crate::autograd::{Noise, Tape, observe_quantized};
use crate::data::{Dataset, Spec, Split, load};
use crate::host;
use crate::pack::{channels, pack};
use crate::passes::fold_batch_norm;
use crate::quant::fixtures::{random_graph, random_images};
use crate::quant::{self, Quantization, Settings, fake_quantization};
use crate::target::Core;
use crate::tensor::Tensor;
use skipstone_onnx::{Node, Op, QuantParams};

/// The annotated network, as `train --qat` starts with it.
fn annotated(graph: &Graph, images: &Dataset) -> (Graph, FakeQuantization) {
    let Quantization { mut rounded, qgraph, .. } = quant::quantize(graph, images, &Settings::default()).unwrap();
    let fake = fake_quantization(&rounded, &qgraph);
    rounded.metadata.activation_scales = quant::activation_scales(&qgraph);
    (rounded, fake)
}

#[test]
fn fake_quantization_is_what_the_engine_computes_but_for_ties() {
    let (mut elements, mut different) = (0u64, 0u64);
    for seed in 0..32 {
        let graph = random_graph(seed);
        let images = random_images(&graph, 2, seed);
        let Quantization { rounded, qgraph, .. } = quant::quantize(&graph, &images, &Settings::default()).unwrap();
        let stone = pack(&qgraph, Core::Generic).unwrap().bytes;
        let trace = host::trace(&stone, images.image(0)).unwrap();
        let channels = channels(&qgraph).unwrap();
        let fake = fake_quantization(&rounded, &qgraph);
        let batch = images.batch_for(&rounded, &[0]);
        observe_quantized(&fake.with_rounded_parameters(&rounded), &fake, &batch, &mut |id, tensor| {
            let name = &rounded.value(id).name;
            let made =
                qgraph.nodes.iter().zip(&trace.nodes).find(|(node, _)| qgraph.tensors[node.output].name == *name);
            let Some((node, made)) = made else { return };
            let quantized = &qgraph.tensors[node.output];
            let made = channels[node.output].strip(&made.values);
            for (&q, &x) in made.iter().zip(tensor.data()) {
                let steps = x / quantized.params.scale + f32::from(quantized.params.zero_point);
                assert!((steps - steps.round()).abs() < 1e-3, "{name}: {x} is no int8 value");
                let off = (steps - f32::from(q)).abs().round();
                assert!(off <= 2.0, "seed {seed}, {name}: {q} is {steps}");
                elements += 1;
                different += u64::from(off > 0.0);
            }
        });
    }
    // A tie that falls the other way is seen again by the layers after it.
    assert!(elements > 10_000 && different * 2000 <= elements, "{different} of {elements}");
}

#[test]
fn the_exported_network_quantizes_to_what_was_trained() {
    let folder = tempfile::tempdir().unwrap();
    let float = train(job(&folder.path().join("float"), false), &mut ()).unwrap();
    let data = |split| load(&"digits".parse::<Spec>().unwrap(), split).unwrap();
    let (calibration, test) = (data(Split::Train), data(Split::Test));
    let accuracy = |graph: &Graph| {
        let quantized = quant::quantize(graph, &calibration, &Settings::default()).unwrap();
        let stone = pack(&quantized.qgraph, Core::Generic).unwrap().bytes;
        (quantized.qgraph, host::evaluate(&stone, &test).unwrap().accuracy)
    };
    let (_, before) = accuracy(&float.best);

    let (graph, fake) = annotated(&float.best, &calibration);
    let config = Config { qat: true, lr: 0.01, warmup: 0.0, ..config() };
    let start = job(&folder.path().join("qat"), false);
    let job = Job { graph, fake: Some(fake.clone()), config, test: test.clone().into(), ..start };
    let scales = job.graph.metadata.activation_scales.clone();
    let trained = train(job, &mut ()).unwrap();
    let file = crate::files::read(&folder.path().join("qat/model.onnx")).unwrap();
    let exported = skipstone_onnx::import::import(&file).unwrap();
    assert_eq!(exported.metadata.activation_scales, scales);
    let (qgraph, after) = accuracy(&exported);
    assert_eq!(quant::activation_scales(&qgraph), scales);
    assert_eq!(fake_quantization(&exported, &qgraph).grid(exported.output()), fake.grid(trained.best.output()));
    assert!((after - trained.accuracy).abs() <= 1.0 / test.len() as f64, "{after} was {}", trained.accuracy);
    assert!(after >= before, "{after} was {before}");
}

fn is_layer(node: &Node) -> bool {
    matches!(node.op, Op::Conv(_) | Op::Gemm)
}

/// The gradients of all parameters.
fn gradients(mut tape: Tape, graph: &Graph, images: &Dataset) -> Vec<Option<Vec<f32>>> {
    let all: Vec<usize> = (0..images.len()).collect();
    let batch = images.batch_for(graph, &all);
    let targets = targets(&images.labels, images.class_names.len(), 0.0);
    tape.step(&mut graph.clone(), batch, &targets, Loss::CrossEntropy, Noise::default());
    graph.parameters().map(|(id, ..)| tape.gradient(id).map(<[f32]>::to_vec)).collect()
}

#[test]
fn gradients_of_weights_are_those_of_the_rounded_network() {
    let graph = fold_batch_norm(&random_graph(3)).unwrap();
    let images = random_images(&graph, 4, 3);
    let layers = graph.producers().into_iter().flatten().filter(|&node| is_layer(graph.node(node)));
    let fake = FakeQuantization::new(&graph, [], layers.map(|node| Layer { node, input_scale: 0.01 }).collect());
    let rounded = fake.with_rounded_parameters(&graph);
    assert_ne!(rounded, graph);
    let expected = gradients(Tape::new(), &rounded, &images);
    assert_eq!(gradients(Tape::with_fake_quantization(fake), &graph, &images), expected);
}

#[test]
fn what_is_clipped_has_no_gradient() {
    let graph = fold_batch_norm(&tiny()).unwrap();
    let set = load(&"digits".parse::<Spec>().unwrap(), Split::Test).unwrap();
    let mut images = set.clone();
    images.pixels.truncate(8 * 64);
    images.labels.truncate(8);
    let grid = |scale| Grid { params: QuantParams { scale, zero_point: -128 }, lo: -128, hi: 127 };
    let first = graph.nodes().iter().find(|node| node.op == Op::Relu).unwrap().output;
    let weight = graph.parameters().position(|(_, name, _)| name == "conv1.weight").unwrap();
    let norm = |scale| {
        let fake = FakeQuantization::new(&graph, [(first, grid(scale))], Vec::new());
        let gradients = gradients(Tape::with_fake_quantization(fake), &graph, &images);
        gradients[weight].as_ref().unwrap().iter().map(|g| g * g).sum::<f32>()
    };
    // All values above 255 steps are clipped: nearly all of those that a ReLU leaves.
    assert!(norm(1e-9) < 1e-9 && norm(0.05) > 1e-6, "{} {}", norm(1e-9), norm(0.05));
}

#[test]
fn frozen_batch_norm_keeps_its_statistics() {
    let mut graph = tiny();
    let images = Tensor::new([4, 8, 8, 1], (0..256).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0).collect());
    let mut tape = Tape::with_fake_quantization(FakeQuantization::default());
    let targets = targets(&[1, 2, 3, 4], 10, 0.0);
    let before = graph.clone();
    let step = tape.step(&mut graph, images.clone(), &targets, Loss::CrossEntropy, Noise::default());
    assert_eq!(graph, before);
    // Central differences of the loss in evaluation mode.
    let loss = |graph: &Graph| Loss::CrossEntropy.value(&crate::autograd::infer(graph, &images), &targets).loss;
    assert!((loss(&graph) - step.loss).abs() < 1e-6);
    for name in ["conv1.weight", "conv1.gamma", "conv1.beta", "conv2.gamma"] {
        let id = graph.parameters().find(|(_, known, _)| *known == name).unwrap().0;
        let gradient = tape.gradient(id).unwrap();
        for element in [0, 3] {
            let at = |delta: f32| {
                let mut moved = graph.clone();
                moved.parameter_mut(id).unwrap().data_mut()[element] += delta;
                loss(&moved)
            };
            let expected = (at(1e-3) - at(-1e-3)) / 2e-3;
            let found = f64::from(gradient[element]);
            assert!((found - expected).abs() < 1e-2 * expected.abs().max(0.1), "{name}: {found}, {expected}");
        }
    }
}
