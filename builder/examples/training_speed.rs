//! How fast training is: ResNet-8 on CIFAR-10's training split, one line per 20 steps.
//!
//! ```text
//! cargo run --release -p skipstone-builder --example training_speed -- FOLDER [STEPS]
//! ```
//! FOLDER holds CIFAR-10's binary batches.

use skipstone_builder::autograd::loss::{Loss, targets};
use skipstone_builder::autograd::{Noise, Tape};
use skipstone_builder::data::{self, Augmentation, Split};
use skipstone_builder::zoo;
use std::time::Instant;

const BATCH: usize = 128;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("give the folder of CIFAR-10's binary batches")?;
    let steps: usize = arguments.next().map_or(Ok(200), |steps| steps.parse())?;
    let spec: data::Spec = format!("cifar10:{folder}").parse()?;
    let set = data::load(&spec, Split::Train)?;
    let mut graph = zoo::build("resnet8", &zoo::Options { seed: 1, ..zoo::Options::default() })?;
    let macs = 3.0 * graph.macs() as f64;
    let mut tape = Tape::new();
    let (mut loss, mut seconds) = (0.0, 0.0);
    for step in 0..steps {
        let indices: Vec<usize> = (0..BATCH).map(|i| (step * BATCH + i) % set.len()).collect();
        let images = Augmentation::NONE.batch(&set, &indices, &spec.normalization(), 0, 0);
        let labels: Vec<u16> = indices.iter().map(|&index| set.labels[index]).collect();
        let targets = targets(&labels, set.class_names.len(), 0.0);
        let start = Instant::now();
        loss += tape.step(&mut graph, images, &targets, Loss::CrossEntropy, Noise::default()).loss;
        let ids: Vec<_> = graph.parameters().filter(|(_, _, p)| p.trainable).map(|(id, ..)| id).collect();
        for id in ids {
            if let (Some(weight), Some(gradient)) = (graph.parameter_mut(id), tape.gradient(id)) {
                weight.data_mut().iter_mut().zip(gradient).for_each(|(w, g)| *w -= 0.05 * g);
            }
        }
        seconds += start.elapsed().as_secs_f64();
        if (step + 1) % 20 == 0 {
            let rate = 20.0 * BATCH as f64 / seconds;
            println!(
                "step {:4}  loss {:.4}  {rate:6.0} images/s  {:5.1} GMAC/s",
                step + 1,
                loss / 20.0,
                rate * macs / 1e9
            );
            (loss, seconds) = (0.0, 0.0);
        }
    }
    Ok(())
}
