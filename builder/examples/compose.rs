//! Composes a network of one's own from the zoo's blocks, and trains it for one epoch on the built-in digits:
//!
//! ```text
//! cargo run -p skipstone --example compose
//! ```

use skipstone::data::{self, Spec, Split};
use skipstone::train::{Config, Job, train};
use skipstone::zoo::blocks::{AttentionModule, Block, DenseLayer, Net, Style, conv3x3};
use skipstone_onnx::{Graph, GraphError};
use std::error::Error;

/// A stage of each kind: residual in groups, dense, and with attention.
fn network(input: [usize; 3], classes: usize) -> Result<Graph, GraphError> {
    let mut net = Net::new("mixed", input, Style::PYTORCH, Some(1))?;
    let mut x = net.conv_bn_relu("stem", "", net.input(), conv3x3(16))?;
    x = net.stages(x, &[(2, Block::basic(16)), (1, Block::bottleneck(16, 32).groups(4).stride(2))], 0.0)?;
    for n in 1..=2 {
        let layer = DenseLayer { growth: 8, bottleneck: false, dropout: 0.0 };
        x = net.dense_layer(&format!("dense.layer{n}"), x, &layer)?;
    }
    x = net.attention_module("attention", x, &AttentionModule::new(Block::bottleneck(12, 48), 1))?;
    let scores = net.head(x, classes)?;
    net.finish(scores)
}

fn main() -> Result<(), Box<dyn Error>> {
    let spec: Spec = "digits".parse()?;
    let mut graph = network(spec.dims(), spec.classes()?)?;
    graph.metadata.normalization = Some(spec.normalization());
    println!("{} parameters, {} multiply-accumulates per image", graph.parameter_count(), graph.macs());
    let out = tempfile::tempdir()?;
    let config = Config { epochs: 1, warmup: 0.0, ..Config::new(&graph.name, &spec) };
    let sets = [data::load(&spec, Split::Train)?, data::load(&spec, Split::Test)?];
    let outcome = train(Job::new(graph, config, sets, out.path().join("run")), &mut ())?;
    println!("{:.1} % of the test images after one epoch", 100.0 * outcome.accuracy);
    Ok(())
}
