//! What the benches `training` and `training_cost` measure: steps of training on images that are in memory.

use skipstone::autograd::loss::{Loss, targets};
use skipstone::autograd::{Noise, Precision, Tape};
use skipstone::data::Spec;
use skipstone::tensor::Tensor;
use skipstone::train::{Config, OptimizerState};
use skipstone::zoo;
use skipstone_onnx::{Conv, Graph, GraphBuilder, Op, Tensor as Parameter};
use std::error::Error;
use std::time::{Duration, Instant};

/// A network for 3x32x32 and 10 classes under training: one batch of noise, again and again. `conv-C-K-S` is a single
/// 3x3 convolution from C to K channels on maps of S x S.
pub(crate) struct Workload {
    pub(crate) graph: Graph,
    pub(crate) tape: Tape,
    /// Steps that count.
    pub(crate) steps: u32,
    /// Time of each node in these steps, forward and backward.
    pub(crate) nodes: Vec<[Duration; 2]>,
    /// Time of the optimizer in these steps.
    pub(crate) optimizing: Duration,
    optimizer: OptimizerState,
    images: Tensor,
    targets: Tensor,
}

impl Workload {
    /// With two steps done, which take the memory and do not count.
    pub(crate) fn new(arch: &str, batch: usize, precision: Precision) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let graph = match arch.strip_prefix("conv-") {
            Some(shape) => convolution(arch, shape)?,
            None => {
                let input = Some([3, 32, 32]);
                zoo::build(arch, &zoo::Options { input, classes: Some(10), seed: 1, ..zoo::Options::default() })?
            }
        };
        let [channels, height, width] = graph.value(graph.input()).dims[..] else { return Err("no images".into()) };
        let noise = |i: usize| ((i * 7919 + i / 3 * 104_729) % 1000) as f32 / 250.0 - 2.0;
        let data = (0..batch * channels * height * width).map(noise).collect();
        let images = Tensor::new([batch, height, width, channels], data);
        let labels: Vec<u16> = (0..batch).map(|i| (i % 10) as u16).collect();
        let spec: Spec = "digits".parse()?;
        let mut workload = Self {
            tape: Tape::new().with_precision(precision),
            steps: 0,
            nodes: vec![[Duration::ZERO; 2]; graph.nodes().len()],
            optimizing: Duration::ZERO,
            optimizer: OptimizerState::new(&graph, &Config::new(arch, &spec)),
            targets: targets(&labels, 10, 0.0),
            graph,
            images,
        };
        workload.step();
        workload.step();
        workload.steps = 0;
        workload.nodes.fill([Duration::ZERO; 2]);
        workload.optimizing = Duration::ZERO;
        Ok(workload)
    }

    /// One step of SGD with Nesterov momentum.
    pub(crate) fn step(&mut self) {
        let noise = Noise { seed: 0, step: self.steps.into() };
        self.tape.step(&mut self.graph, self.images.clone(), &self.targets, Loss::CrossEntropy, noise);
        for (total, times) in self.nodes.iter_mut().zip(self.tape.times()) {
            total[0] += times[0];
            total[1] += times[1];
        }
        let start = Instant::now();
        self.optimizer.step(&mut self.graph, |id| self.tape.gradient(id), 1e-3);
        self.optimizing += start.elapsed();
        self.steps += 1;
    }
}

fn convolution(name: &str, shape: &str) -> Result<Graph, Box<dyn Error + Send + Sync>> {
    let sizes = shape.split('-').map(str::parse).collect::<Result<Vec<usize>, _>>()?;
    let [channels, outputs, size] = sizes[..] else { return Err(format!("{name}: no conv-C-K-S").into()) };
    let mut b = GraphBuilder::new(name, "image", [channels, size, size])?;
    let mut parameter = |name: &str, dims: &[usize]| -> Result<_, Box<dyn Error + Send + Sync>> {
        let len = dims.iter().product();
        let noise = (0..len).map(|i| ((i * 7919 + i / 9 * 31) % 1000) as f32 / 1e4 - 0.05).collect();
        Ok(b.parameter(name, Parameter::new(dims.to_vec(), noise)?, true)?)
    };
    let weight = parameter("weight", &[outputs, channels, 3, 3])?;
    let linear = parameter("linear", &[10, outputs])?;
    // The gradient of the images is not computed, that of the ReLU's result is.
    let input = b.input();
    let x = b.push("relu", Op::Relu, &[input])?;
    let x = b.push("conv", Op::Conv(Conv::square(3, 1, 1)), &[x, weight])?;
    let x = b.push("pool", Op::GlobalAveragePool, &[x])?;
    let x = b.push("flat", Op::Flatten, &[x])?;
    let x = b.push("scores", Op::Gemm, &[x, linear])?;
    Ok(b.finish(x)?)
}
