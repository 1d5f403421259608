//! Checks backward passes against central differences.

use crate::autograd::context::{Forward, Noise};
use crate::autograd::pool::Pool;
use crate::autograd::tape;
use crate::tensor::Tensor;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use skipstone_onnx::{Graph, GraphBuilder, GraphError, Op, Tensor as Parameter, ValueId};

const STEP: f32 = 1.0 / 128.0;
const NOISE: Noise = Noise { seed: 3, step: 4 };

/// An operator under test, between random images and a random projection of its result.
pub(super) struct Check {
    builder: GraphBuilder,
    rng: ChaCha8Rng,
    batch: usize,
    distinct: bool,
}

impl Check {
    pub(super) fn new(dims: [usize; 3], batch: usize) -> Self {
        let builder = GraphBuilder::new("check", "image", dims).unwrap();
        Self { builder, rng: ChaCha8Rng::seed_from_u64(1), batch, distinct: false }
    }

    /// Images of numbers that are further from each other than differences reach, in random order: for operators
    /// that have no derivative where two numbers are equal.
    pub(super) fn distinct(mut self) -> Self {
        self.distinct = true;
        self
    }

    /// A parameter with random contents.
    pub(super) fn parameter(&mut self, name: &str, dims: &[usize]) -> ValueId {
        let data = random(&mut self.rng, dims.iter().product());
        self.builder.parameter(name, Parameter::new(dims, data).unwrap(), true).unwrap()
    }

    /// A vector of zeros.
    pub(super) fn zeros(&mut self, name: &str, len: usize) -> ValueId {
        self.builder.parameter(name, Parameter::filled([len], 0.0), true).unwrap()
    }

    /// A vector of ones.
    pub(super) fn ones(&mut self, name: &str, len: usize) -> ValueId {
        self.builder.parameter(name, Parameter::filled([len], 1.0), true).unwrap()
    }

    /// As [`Check::parameter`], but one that takes no part in training.
    pub(super) fn statistic(&mut self, name: &str, dims: &[usize]) -> ValueId {
        let data = random(&mut self.rng, dims.iter().product());
        self.builder.parameter(name, Parameter::new(dims, data).unwrap(), false).unwrap()
    }

    /// The network, a batch of images and the projection of its result.
    fn build(
        mut self,
        build: impl FnOnce(&mut GraphBuilder, ValueId) -> Result<ValueId, GraphError>,
    ) -> (Graph, Tensor, Tensor) {
        let input = self.builder.input();
        let [c, h, w] = *self.builder.dims(input) else { unreachable!() };
        let mut output = build(&mut self.builder, input).unwrap();
        if self.builder.dims(output).len() == 3 {
            output = self.builder.push("last", Op::Flatten, &[output]).unwrap();
        }
        let graph = self.builder.finish(output).unwrap();
        let count = self.batch * c * h * w;
        let mut pixels = random(&mut self.rng, count);
        if self.distinct {
            pixels = (0..count).map(|i| (i as f32 - count as f32 / 2.0) * 3.0 * STEP).collect();
            pixels.shuffle(&mut self.rng);
        }
        let images = Tensor::new([self.batch, h, w, c], pixels);
        let classes = graph.value(output).dims[0];
        let projection = Tensor::new([self.batch, classes], random(&mut self.rng, self.batch * classes));
        (graph, images, projection)
    }

    /// Gradients of all parameters and of the input, and the bytes that activations took: as training has them, and
    /// where every activation is kept for the backward pass.
    pub(super) fn gradients_made_and_kept(
        self,
        build: impl FnOnce(&mut GraphBuilder, ValueId) -> Result<ValueId, GraphError>,
    ) -> [(Vec<Vec<f32>>, usize); 2] {
        let (graph, images, projection) = self.build(build);
        [false, true].map(|keep| {
            let pool = Pool::default();
            let mut cx = Forward::new(&graph, &pool, Some(NOISE));
            cx.keep = keep;
            let (_, closures) = tape::forward(&mut cx, images.clone(), &mut |_, _| ());
            drop(cx);
            let wanted = vec![true; graph.values().len()];
            let gradients = tape::backward(&graph, closures, projection.clone(), wanted, &pool);
            let parameters = graph.parameters().filter_map(|(id, ..)| gradients.parameter(id));
            (parameters.chain(gradients.activation(graph.input())).map(<[f32]>::to_vec).collect(), pool.peak_bytes())
        })
    }

    /// Builds the network and compares the gradients of the input and of all parameters with differences.
    pub(super) fn run(self, build: impl FnOnce(&mut GraphBuilder, ValueId) -> Result<ValueId, GraphError>) {
        let (graph, images, projection) = self.build(build);
        let input = graph.input();
        let pool = Pool::default();
        let mut cx = Forward::new(&graph, &pool, Some(NOISE));
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
                assert!(!parameter.trainable || ["mean", "variance"].contains(&name), "{name} has no gradient");
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

/// The result of one operator over maps, `[N, features]`, in evaluation.
pub(super) fn one_operator(op: Op, images: &Tensor) -> Tensor {
    tape::evaluate(&network(op, images), None, images.clone(), &Pool::default(), &mut |_, _| ())
}

/// As [`one_operator`], in training.
pub(super) fn train_one_operator(op: Op, images: &Tensor, noise: Noise) -> Tensor {
    let (graph, pool) = (network(op, images), Pool::default());
    let mut cx = Forward::new(&graph, &pool, Some(noise));
    let (output, _) = tape::forward(&mut cx, images.clone(), &mut |_, _| ());
    pool.own(output)
}

fn network(op: Op, images: &Tensor) -> Graph {
    let [_, h, w, c] = *images.dims() else { unreachable!("images have four dimensions") };
    let mut builder = GraphBuilder::new("one", "image", [c, h, w]).unwrap();
    let result = builder.push("one", op, &[builder.input()]).unwrap();
    let output = builder.push("last", Op::Flatten, &[result]).unwrap();
    builder.finish(output).unwrap()
}

/// Random numbers that stay away from zero, where ReLU has no derivative.
fn random(rng: &mut ChaCha8Rng, count: usize) -> Vec<f32> {
    (0..count).map(|_| rng.random_range(0.1f32..1.0) * if rng.random_bool(0.5) { 1.0 } else { -1.0 }).collect()
}

fn objective(graph: &Graph, images: Tensor, projection: &Tensor) -> f64 {
    let pool = Pool::default();
    let mut cx = Forward::new(graph, &pool, Some(NOISE));
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
