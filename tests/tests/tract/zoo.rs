//! Every architecture of the zoo: its file reads back as the network that it was, and means to tract what it means to
//! us.

use crate::networks::images;
use rayon::prelude::*;
use skipstone::passes::fold_batch_norm;
use skipstone::session::Session;
use skipstone::verify;
use skipstone::zoo::{self, Entry};
use skipstone_onnx::export::{Batch, OPSETS, Options, Weights};
use skipstone_onnx::{Graph, Normalization, export, import};
use std::time::Instant;

/// Largest difference of two scores in parts of the scores' spread.
const LIMIT: f32 = 1e-4;
/// Of networks with more multiply-accumulates one image is compared, of others two.
const LARGE: u64 = 500_000_000;

/// Size of the images of the networks that every test run compares.
const SMALL: &str = "3x32x32";

/// The network with statistics that are not trivial, and everything that a file carries besides.
fn network(entry: &Entry, seed: u64) -> Graph {
    let options = zoo::Options { seed, ..zoo::Options::default() };
    let mut graph = zoo::with_nontrivial_statistics(zoo::build(entry.name, &options).unwrap(), seed + 1);
    graph.metadata.normalization = Some(Normalization { mean: vec![0.5, 0.4, 0.3], std: vec![0.25, 0.2, 0.3] });
    graph.metadata.class_names = (0..entry.classes).map(|class| format!("class {class}")).collect();
    graph.metadata.command = Some(format!("skipstone export --arch {} --seed {seed}", entry.name));
    graph
}

/// What does not hold of one architecture, written with operator set `opset` and such weights, if anything.
fn check(entry: &Entry, opset: i64, weights: Weights) -> Result<(), String> {
    let start = Instant::now();
    let graph = network(entry, 7);
    let options = Options { opset: opset.to_string().parse().unwrap(), weights, ..Batch::Any.into() };
    let file = export(&graph, options);
    let read = import(&file).map_err(|error| error.to_string())?;
    // A file does not say that a batch norm learns no gamma, nor what weights were before they were rounded.
    let lost = weights == Weights::Float16
        || graph.parameters().any(|(_, name, parameter)| name.ends_with(".gamma") && !parameter.trainable);
    let same = if lost { export(&read, options) == file } else { read == graph };
    if !same {
        return Err("reads back as another network".into());
    }
    let dims = graph.value(graph.input()).dims.as_slice().try_into().unwrap();
    let set = images(if entry.macs > LARGE { 1 } else { 2 }, dims);
    let indices: Vec<usize> = (0..set.len()).collect();
    let batch = set.batch_for(&graph, &indices);
    let scores = Session::new(&read).run(&batch);
    let agreement = verify::float(&file, &batch, &scores).map_err(|error| error.to_string())?;
    let extreme = |fold: fn(f32, f32) -> f32, from| scores.data().iter().copied().fold(from, fold);
    let spread = extreme(f32::max, f32::MIN) - extreme(f32::min, f32::MAX);
    let difference = agreement.float_max_abs_diff / spread;
    println!("{:20} opset {opset}: {difference:.1e} of {spread:.3e}, {:.1?}", entry.name, start.elapsed());
    // Scores that do not differ are no comparison, and neither are those that rounding alone tells apart.
    if !(difference <= LIMIT && spread > 1e-3) {
        return Err(format!("differs from tract by {difference:.1e} of the scores' spread {spread:.1e}"));
    }
    Ok(())
}

/// Compares architectures, the heaviest first, so that no core waits for the last one.
fn check_all(choose: impl Fn(&Entry) -> bool) {
    let mut entries: Vec<Entry> = zoo::list().unwrap().into_iter().filter(choose).collect();
    assert!(!entries.is_empty());
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.macs));
    let failed: Vec<String> = entries
        .par_iter()
        .enumerate()
        .with_max_len(1)
        .filter_map(|(index, entry)| {
            // Each version of the operator set has its turn.
            let opset = OPSETS.start() + index as i64 % (OPSETS.end() - OPSETS.start() + 1);
            let weights = if index % 3 == 1 { Weights::Float16 } else { Weights::Float32 };
            check(entry, opset, weights).err().map(|reason| format!("{}, opset {opset}: {reason}", entry.name))
        })
        .collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn every_architecture_for_small_images_agrees() {
    check_all(|entry| entry.input == SMALL);
}

#[test]
#[ignore = "takes minutes: cargo xtask test --full"]
fn every_architecture_for_large_images_agrees() {
    check_all(|entry| entry.input != SMALL);
}

#[test]
fn files_without_batch_norm_agree_too() {
    for name in ["resnet8", "preresnet164", "densenet-bc22-k8", "attention-mini"] {
        let entry = zoo::entry(name).unwrap();
        let graph = network(&entry, 3);
        let folded = fold_batch_norm(&graph).unwrap();
        assert!(folded.nodes().len() < graph.nodes().len(), "{name}");
        let set = images(2, [3, 32, 32]);
        let batch = set.batch_for(&graph, &[0, 1]);
        let scores = Session::new(&graph).run(&batch);
        let agreement = verify::float(&export(&folded, Batch::Any), &batch, &scores).unwrap();
        let peak = scores.data().iter().fold(0f32, |peak, score| peak.max(score.abs()));
        assert!(agreement.float_max_abs_diff <= LIMIT * peak, "{name}: {agreement:?}, scores to {peak}");
    }
}
