//! Every architecture of the zoo quantizes, packs and runs as its definition says.

use super::Model;
use super::tests::{assert_engine_is_exact, quantized_zoo};
use crate::pack::{AlignedBytes, Quantized};
use crate::zoo::{self, Entry};
use rayon::prelude::*;
use skipstone_runtime::Engine;
use skipstone_runtime::engine::Made;
use skipstone_runtime::kernels::{self, Backend, reference};
use std::hash::{DefaultHasher, Hasher};
use std::time::Instant;

/// Networks with more multiply-accumulates for an image of 32x32 run on smaller images.
const LARGE: [(u64, usize); 2] = [(2_000_000_000, 8), (100_000_000, 16)];

/// What each node makes of an image, hashed row by row, and the scores.
fn run(quantized: &Quantized, pixels: &[u8], backend: &'static Backend) -> (Vec<u64>, Vec<i8>) {
    let stone = AlignedBytes::copy(&quantized.stone);
    let model = *Model::new(&stone).unwrap().view();
    let mut arena = AlignedBytes::zeros(model.arena_len());
    let mut engine = Engine::with_backend(&model, arena.as_mut_slice(), backend).unwrap();
    let mut rows = vec![DefaultHasher::new(); model.nodes().len()];
    let observe = |made: Made<'_>| {
        made.values.pixels().for_each(|pixel| rows[made.node].write(bytemuck::cast_slice(pixel)));
    };
    let scores = engine.run_observed(pixels, observe).unwrap().to_vec();
    (rows.iter().map(Hasher::finish).collect(), scores)
}

/// Compares the fastest back end with the reference, node by node, on an image of `side` x `side` pixels.
fn check(entry: &Entry, side: usize) -> Result<(), String> {
    let start = Instant::now();
    let (graph, images, quantized) = quantized_zoo(entry.name, [3, side, side]);
    if quantized.qgraph.macs != graph.macs() {
        return Err("counts other multiply-accumulates".into());
    }
    let [fast, reference] = [kernels::best(), &reference::BACKEND];
    let [fast, reference] = [fast, reference].map(|backend| run(&quantized, images.image(0), backend));
    let seconds = start.elapsed().as_secs_f64();
    println!("{:20} {side:2}x{side:<2} {} nodes, {seconds:.1} s", entry.name, fast.0.len());
    let differs = |(node, (a, b)): (&crate::quant::QNode, (&u64, &u64))| (a != b).then(|| node.name.clone());
    let first = quantized.qgraph.nodes.iter().zip(fast.0.iter().zip(&reference.0)).find_map(differs);
    match first {
        Some(node) => Err(format!("node `{node}` differs from the reference")),
        None if fast.1 != reference.1 => Err("other scores than the reference".into()),
        None if fast.1.iter().all(|score| *score == fast.1[0]) => Err("its scores do not differ".into()),
        None => Ok(()),
    }
}

/// Checks all architectures for images of `input`, each at the side that `side` gives.
fn check_all(input: &str, side: impl Fn(&Entry) -> usize + Sync) {
    let mut entries: Vec<Entry> = zoo::list().unwrap().into_iter().filter(|entry| entry.input == input).collect();
    assert!(entries.len() > 20);
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.macs));
    let failed: Vec<String> = entries
        .par_iter()
        .with_max_len(1)
        .filter_map(|entry| check(entry, side(entry)).err().map(|reason| format!("{}: {reason}", entry.name)))
        .collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn every_architecture_for_small_images_runs_in_int8() {
    let side = |entry: &Entry| LARGE.iter().find(|(macs, _)| entry.macs > *macs).map_or(32, |(_, side)| *side);
    check_all("3x32x32", side);
}

#[test]
#[ignore = "takes minutes: cargo xtask test --full --only zoo"]
fn every_architecture_for_large_images_runs_in_int8() {
    check_all("3x224x224", |_| 224);
}

#[test]
fn a_network_of_each_family_is_exact_term_by_term() {
    for (arch, side) in [
        ("preresnet164", 8),
        ("resnext20-8x2d", 16),
        ("densenet40-k12", 8),
        ("densenet-bc22-k8", 16),
        ("attention-mini", 18),
    ] {
        let (_, images, quantized) = quantized_zoo(arch, [3, side, side + 1]);
        assert_engine_is_exact(&quantized, images.image(0));
    }
}
