//! What a training step of an architecture costs: images per second, multiply-accumulates per second, memory.
//!
//! ```text
//! cargo run --release -p skipstone-builder --example training_cost -- ARCH [BATCH] [STEPS]
//! ```
//! The images are noise of 3x32x32. The first step, which takes the memory, is not timed.

use skipstone_builder::autograd::loss::{Loss, targets};
use skipstone_builder::autograd::{Noise, Tape};
use skipstone_builder::tensor::Tensor;
use skipstone_builder::{train, zoo};
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let arch = arguments.next().ok_or("give the name of an architecture")?;
    let batch: usize = arguments.next().map_or(Ok(128), |batch| batch.parse())?;
    let steps: u64 = arguments.next().map_or(Ok(3), |steps| steps.parse())?;
    let options = zoo::Options { input: Some([3, 32, 32]), seed: 1, ..zoo::Options::default() };
    let mut graph = zoo::build(&arch, &options)?;
    let noise = |i: usize| ((i * 7919 + i / 3 * 104_729) % 1000) as f32 / 250.0 - 2.0;
    let images = Tensor::new([batch, 32, 32, 3], (0..batch * 3072).map(noise).collect());
    let labels: Vec<u16> = (0..batch).map(|i| (i % 10) as u16).collect();
    let targets = targets(&labels, graph.value(graph.output()).dims[0], 0.0);
    let mut tape = Tape::new();
    let mut start = Instant::now();
    for step in 0..=steps {
        tape.step(&mut graph, images.clone(), &targets, Loss::CrossEntropy, Noise { seed: 0, step });
        if step == 0 {
            start = Instant::now();
        }
    }
    let seconds = start.elapsed().as_secs_f64() / steps as f64;
    println!(
        "{arch}, batch {batch}: {:.1} images/s, {:.1} GMAC/s, {:.0} MiB of activations and gradients, {} resident",
        batch as f64 / seconds,
        3.0 * graph.macs() as f64 * batch as f64 / seconds / 1e9,
        tape.peak_bytes() as f64 / (1 << 20) as f64,
        train::peak_bytes().map_or_else(|| "unknown".into(), |bytes| format!("{} MiB", bytes >> 20))
    );
    Ok(())
}
