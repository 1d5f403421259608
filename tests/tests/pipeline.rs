//! The main job on real digits: train, export, import, quantize, pack, run by every back end, compare with tract.

use skipstone::autograd::infer;
use skipstone::data::{self, Dataset, Spec, Split};
use skipstone::host::{evaluate, trace};
use skipstone::pack::{AlignedBytes, Options, Quantized, quantize};
use skipstone::target::Core;
use skipstone::train::{Config, Job, train};
use skipstone::verify::{self, Layers};
use skipstone::zoo;
use skipstone_onnx::{Batch, Graph, export, import};
use skipstone_runtime::engine::EngineError;
use skipstone_runtime::kernels::{BACKENDS, Backend, reference};
use skipstone_runtime::{Engine, Model};
use std::collections::BTreeSet;
use std::sync::OnceLock;

/// Digits that are compared layer by layer.
const TRACED: usize = 24;

struct Chain {
    /// The best network as training returned it.
    trained: Graph,
    /// Its accuracy on the test split.
    accuracy: f64,
    /// `model.onnx` of the run.
    file: Vec<u8>,
    /// The test split.
    test: Dataset,
    /// The network of `file`, quantized for processors that read canonical weights.
    quantized: Quantized,
    /// Its packed model with weights in pairs.
    pairs: Vec<u8>,
    /// Its packed model with weights in quads.
    quads: Vec<u8>,
}

fn chain() -> &'static Chain {
    static CHAIN: OnceLock<Chain> = OnceLock::new();
    CHAIN.get_or_init(|| {
        let spec: Spec = "digits".parse().unwrap();
        let load = |split| data::load(&spec, split).unwrap();
        let options = zoo::Options {
            classes: Some(spec.classes().unwrap()),
            input: Some(spec.dims()),
            seed: 7,
            ..Default::default()
        };
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("run");
        let mut graph = zoo::build("resnet8", &options).unwrap();
        graph.metadata.normalization = Some(spec.normalization());
        let config = Config { epochs: 2, ..Config::new("resnet8", &spec) };
        let sets = [load(Split::Train), load(Split::Test)];
        let outcome = train(Job::new(graph, config, sets, &out), &mut ()).unwrap();
        let file = std::fs::read(out.join("model.onnx")).unwrap();
        let graph = import(&file).unwrap();
        let calibration = calibration();
        let quantized = |target| quantize(&graph, &calibration, &Options { target, ..Options::default() }).unwrap();
        Chain {
            trained: outcome.best,
            accuracy: outcome.accuracy,
            file,
            test: load(Split::Test),
            pairs: quantized(Core::CortexM4).stone,
            quads: quantized(Core::X86).stone,
            quantized: quantized(Core::Generic),
        }
    })
}

/// Some images of the training split.
fn calibration() -> Dataset {
    let mut images = data::load(&"digits".parse().unwrap(), Split::Train).unwrap();
    images.labels.truncate(256);
    images.pixels.truncate(256 * images.dims.iter().product::<usize>());
    images
}

/// The first test images, normalized.
fn batch(chain: &Chain, count: usize) -> skipstone::tensor::Tensor {
    let indices: Vec<usize> = (0..count).collect();
    chain.test.batch_for(&chain.trained, &indices)
}

#[test]
fn training_learns_and_the_file_is_the_network() {
    let chain = chain();
    println!("accuracy after two epochs {}", chain.accuracy);
    assert!(chain.accuracy > 0.9, "{}", chain.accuracy);
    let read = import(&chain.file).unwrap();
    assert_eq!(read, chain.trained);
    for form in [Batch::One, Batch::Any] {
        assert_eq!(import(&export(&read, form)).unwrap(), chain.trained, "{form:?}");
    }
}

#[test]
fn float_scores_are_those_of_tract() {
    let chain = chain();
    let images = batch(chain, 64);
    let file = export(&chain.trained, Batch::Any);
    let agreement = verify::float(&file, &images, &infer(&chain.trained, &images)).unwrap();
    assert!(agreement.float_max_abs_diff <= 1e-4, "{agreement:?}");
    assert_eq!(agreement.float_top1_agreement, 1.0);
}

#[test]
fn quantization_costs_little_accuracy_and_gives_the_same_bytes_again() {
    let chain = chain();
    let int8 = evaluate(&chain.quantized.stone, &chain.test).unwrap();
    assert_eq!(int8.count, chain.test.len());
    assert!((int8.accuracy - chain.accuracy).abs() < 0.02, "int8 {}, float {}", int8.accuracy, chain.accuracy);
    let again = quantize(&chain.trained, &calibration(), &Options::default()).unwrap();
    assert_eq!((again.stone, again.qdq), (chain.quantized.stone.clone(), chain.quantized.qdq.clone()));
}

#[test]
fn qdq_file_means_what_the_engine_computes() {
    let chain = chain();
    let layers = Layers::new(&chain.quantized.qgraph).unwrap();
    let mut check = layers.check(&chain.quantized.qdq).unwrap();
    let traces: Vec<_> =
        (0..TRACED).map(|index| trace(&chain.quantized.stone, chain.test.image(index)).unwrap()).collect();
    let nodes = &chain.quantized.qgraph.nodes;
    for trace in &traces {
        assert!(trace.nodes.iter().map(|made| &made.name).eq(nodes.iter().map(|node| &node.name)));
    }
    layers.compare(&mut check, &batch(chain, TRACED), &layers.values(&traces)).unwrap();
    let agreement = check.finish();
    assert_eq!(agreement.layers.len(), nodes.len());
    assert!(agreement.int8_exact_fraction >= 0.9999 && agreement.int8_max_steps <= 1, "{agreement:?}");
    assert_eq!(agreement.int8_unexplained, 0, "{agreement:?}");
    assert_eq!(agreement.int8_top1_agreement, 1.0, "{agreement:?}");
}

/// A row that a node made: node, row, values.
type Row = (usize, usize, Vec<i8>);

/// Every row of every node for the traced digits, then their scores; the image at once, or row by row.
fn rows(stone: &[u8], backend: &'static Backend, fed: bool) -> Result<(Vec<Row>, Vec<Vec<i8>>), EngineError> {
    let chain = chain();
    let stone = AlignedBytes::copy(stone);
    let model = Model::from_bytes(stone.as_slice()).unwrap();
    let mut arena = AlignedBytes::zeros(model.arena_len());
    let mut engine = Engine::with_backend(&model, arena.as_mut_slice(), backend)?;
    let (mut rows, mut scores) = (Vec::new(), Vec::new());
    for index in 0..TRACED {
        let image = chain.test.image(index);
        let mut observe = |made: skipstone_runtime::engine::Made<'_>| {
            rows.push((made.node, made.row, made.values.pixels().flatten().copied().collect::<Vec<_>>()));
        };
        if fed {
            let input = model.input();
            let row_len = usize::from(input.width) * usize::from(input.channels);
            let ends: Vec<bool> =
                image.chunks(row_len).map(|row| engine.feed_row_observed(row, &mut observe).unwrap()).collect();
            assert_eq!(ends.iter().position(|&end| end), Some(ends.len() - 1));
        } else {
            engine.run_observed(image, observe).unwrap();
        }
        scores.push(engine.scores().to_vec());
    }
    Ok((rows, scores))
}

#[test]
fn every_backend_makes_the_rows_of_the_reference() {
    let chain = chain();
    let expected = rows(&chain.quantized.stone, &reference::BACKEND, false).unwrap();
    let layers: BTreeSet<usize> = expected.0.iter().map(|(node, ..)| *node).collect();
    assert_eq!(layers.len(), chain.quantized.qgraph.nodes.len());

    let mut ran = BTreeSet::new();
    let files = [("canonical", &chain.quantized.stone), ("pairs", &chain.pairs), ("quads", &chain.quads)];
    for (layout, stone) in files {
        for &backend in BACKENDS.iter().filter(|backend| (backend.available)()) {
            for fed in [false, true] {
                match rows(stone, backend, fed) {
                    Ok(made) => assert!(made == expected, "{layout} by {}, fed by rows: {fed}", backend.name),
                    Err(EngineError::NoKernel { .. }) => continue,
                    Err(error) => panic!("{layout} by {}: {error}", backend.name),
                }
                ran.insert((layout, backend.name));
            }
        }
    }
    let mut must = BTreeSet::from([("canonical", "reference"), ("canonical", "portable"), ("pairs", "reference")]);
    must.insert(("quads", "reference"));
    #[cfg(target_arch = "aarch64")]
    must.insert(("canonical", "neon"));
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("bmi2") {
        must.extend([("canonical", "avx2"), ("pairs", "avx2"), ("quads", "avx2")]);
        let has_avx512 =
            std::arch::is_x86_feature_detected!("avx512bw") && std::arch::is_x86_feature_detected!("avx512vl");
        if has_avx512 && std::arch::is_x86_feature_detected!("avx512vnni") {
            must.extend([("canonical", "avx512vnni"), ("pairs", "avx512vnni"), ("quads", "avx512vnni")]);
        }
    }
    println!("ran: {ran:?}");
    assert!(must.is_subset(&ran), "ran only {ran:?}");
}
