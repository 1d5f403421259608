//! Trains a tiny residual network on the built-in digits and packs it: the model of the runtime's documentation.
//!
//! ```text
//! cargo run -p skipstone --example digits -- runtime/tests/digits.stone
//! ```

use skipstone::data::{self, Spec, Split};
use skipstone::pack::{Options, quantize};
use skipstone::train::{Config, Job, train};
use skipstone::zoo::blocks::{Block, Net, Style, conv3x3};
use skipstone_onnx::{Graph, GraphError};
use std::error::Error;

/// A stem and two residual blocks.
fn network(input: [usize; 3], classes: usize) -> Result<Graph, GraphError> {
    let mut net = Net::new("digits", input, Style::PYTORCH, Some(1))?;
    let x = net.conv_bn_relu("stem", "", net.input(), conv3x3(8))?;
    let x = net.stages(x, &[(1, Block::basic(8)), (1, Block::basic(16).stride(2))], 0.0)?;
    let scores = net.head(x, classes)?;
    net.finish(scores)
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: digits FILE.stone")?;
    let spec: Spec = "digits".parse()?;
    let mut graph = network(spec.dims(), spec.classes()?)?;
    graph.metadata.normalization = Some(spec.normalization());
    let out = tempfile::tempdir()?;
    let config = Config { epochs: 30, ..Config::new(&graph.name, &spec) };
    let sets = [data::load(&spec, Split::Train)?, data::load(&spec, Split::Test)?];
    let calibration = sets[0].clone();
    let outcome = train(Job::new(graph, config, sets, out.path().join("run")), &mut ())?;
    let quantized = quantize(&outcome.best, &calibration, &Options::default())?;
    std::fs::write(&path, &quantized.stone)?;
    println!("{:.1} % of the test images in float; {} bytes", 100.0 * outcome.accuracy, quantized.stone.len());
    Ok(())
}
