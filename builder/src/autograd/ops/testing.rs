//! Checks backward passes against central differences.

use crate::autograd::pool::Pool;
use crate::autograd::tape::{self, Forward};
use crate::tensor::Tensor;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use skipstone_onnx::{Graph, GraphBuilder, GraphError, Op, Tensor as Parameter, ValueId};

const STEP: f32 = 1.0 / 128.0;

/// An operator under test, between random images and a random projection of its result.
pub(super) struct Check {
    builder: GraphBuilder,
    rng: ChaCha8Rng,
    batch: usize,
}

impl Check {
    pub(super) fn new(dims: [usize; 3], batch: usize) -> Self {
        let builder = GraphBuilder::new("check", "image", dims).unwrap();
        Self { builder, rng: ChaCha8Rng::seed_from_u64(1), batch }
    }

    /// A parameter with random contents.
    pub(super) fn parameter(&mut self, name: &str, dims: &[usize]) -> ValueId {
        let data = random(&mut self.rng, dims.iter().product());
        self.builder.parameter(name, Parameter::new(dims, data).unwrap(), true).unwrap()
    }

    /// Builds the network and compares the gradients of the input and of all parameters with differences.
    pub(super) fn run(mut self, build: impl FnOnce(&mut GraphBuilder, ValueId) -> Result<ValueId, GraphError>) {
        let input = self.builder.input();
        let [c, h, w] = *self.builder.dims(input) else { unreachable!() };
        let mut output = build(&mut self.builder, input).unwrap();
        if self.builder.dims(output).len() == 3 {
            output = self.builder.push("last", Op::Flatten, &[output]).unwrap();
        }
        let graph = self.builder.finish(output).unwrap();
        let images = Tensor::new([self.batch, h, w, c], random(&mut self.rng, self.batch * c * h * w));
        let classes = graph.value(output).dims[0];
        let projection = Tensor::new([self.batch, classes], random(&mut self.rng, self.batch * classes));

        let pool = Pool::default();
        let mut cx = Forward { graph: &graph, pool: &pool, training: true, statistics: Vec::new() };
        let (_, closures) = tape::forward(&mut cx, images.clone(), &mut |_, _| ());
        let wanted = vec![true; graph.values().len()];
        let gradients = tape::backward(&graph, closures, projection.clone(), wanted, &pool);

        let changed = |delta: f32, index: usize| {
            let mut images = images.clone();
            images.data_mut()[index] += delta;
            objective(&graph, images, &projection)
        };
        compare("image", gradients.activation(input).unwrap(), changed);
        for (id, name, parameter) in graph.parameters() {
            // The statistics of batch normalization take no part in training.
            let Some(gradient) = gradients.parameter(id) else {
                assert!(["mean", "variance"].contains(&name), "{name} has no gradient");
                continue;
            };
            assert_eq!(gradient.len(), parameter.tensor.data().len());
            compare(name, gradient, |delta, index| {
                let mut graph = graph.clone();
                graph.parameter_mut(id).unwrap().data_mut()[index] += delta;
                objective(&graph, images.clone(), &projection)
            });
        }
    }
}

/// Random numbers that stay away from zero, where ReLU has no derivative.
fn random(rng: &mut ChaCha8Rng, count: usize) -> Vec<f32> {
    (0..count).map(|_| rng.random_range(0.1f32..1.0) * if rng.random_bool(0.5) { 1.0 } else { -1.0 }).collect()
}

fn objective(graph: &Graph, images: Tensor, projection: &Tensor) -> f64 {
    let pool = Pool::default();
    let mut cx = Forward { graph, pool: &pool, training: true, statistics: Vec::new() };
    let (output, _) = tape::forward(&mut cx, images, &mut |_, _| ());
    output.data().iter().zip(projection.data()).map(|(&y, &p)| f64::from(y) * f64::from(p)).sum()
}

/// Compares some elements of a gradient, spread over all of it, with differences of `changed(delta, index)`.
fn compare(name: &str, gradient: &[f32], changed: impl Fn(f32, usize) -> f64) {
    let largest = gradient.iter().fold(0.1f32, |largest, g| largest.max(g.abs()));
    let step = gradient.len().div_ceil(150);
    for index in (0..gradient.len()).step_by(step) {
        let numeric = (changed(STEP, index) - changed(-STEP, index)) / f64::from(2.0 * STEP);
        let difference = (numeric - f64::from(gradient[index])).abs();
        assert!(
            difference < 2e-3 * f64::from(largest),
            "{name}[{index}]: backward says {}, differences say {numeric}",
            gradient[index]
        );
    }
}
