//! The tape: nodes forward, closures backward.

use super::context::{BATCH_NORM_MOMENTUM, Backward, Forward, Gradients, Noise, is_frozen};
use super::fake::FakeQuantization;
use super::loss::{BatchScore, Loss};
use super::pool::Pool;
use super::precision::Precision;
use super::shard::Shard;
use super::{Shared, check_dims, ops};
use crate::tensor::Tensor;
use skipstone_onnx::{Graph, ValueId};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Runs the nodes in order; gives the output and, in training, each node's backward closure.
pub(crate) fn forward<'g>(
    forward: &mut Forward<'g, '_>,
    images: Tensor,
    visit: &mut dyn FnMut(ValueId, &Tensor),
) -> (Shared, Vec<Option<Backward<'g>>>) {
    let graph = forward.graph;
    let mut uses = vec![0usize; graph.values().len()];
    graph.nodes().iter().flat_map(|node| &node.inputs).for_each(|input| uses[input.index()] += 1);
    uses[graph.output().index()] += 1;
    let mut values: Vec<Option<Shared>> = vec![None; graph.values().len()];
    let (images, _) = forward.fake_quantize(graph.input(), Arc::new(images), None);
    visit(graph.input(), &images);
    values[graph.input().index()] = Some(images);
    let mut backward = Vec::with_capacity(graph.nodes().len());
    for (index, node) in graph.nodes().iter().enumerate() {
        let start = Instant::now();
        forward.node = index;
        let mut operands = Vec::with_capacity(2);
        for input in &node.inputs {
            let index = input.index();
            uses[index] -= 1;
            operands.extend(if uses[index] == 0 { values[index].take() } else { values[index].clone() });
        }
        let (output, closure) = ops::forward(forward, node, operands);
        let (output, closure) = forward.fake_quantize(node.output, output, closure);
        visit(node.output, &output);
        values[node.output.index()] = Some(output);
        backward.push(closure);
        forward.times.push(start.elapsed());
    }
    let output = values[graph.output().index()].take();
    (output.unwrap_or_else(|| unreachable!("the output is a node's result")), backward)
}

/// The network's output in evaluation mode.
pub(crate) fn evaluate(
    graph: &Graph,
    fake: Option<&FakeQuantization>,
    images: Tensor,
    pool: &Pool,
    visit: &mut dyn FnMut(ValueId, &Tensor),
) -> Tensor {
    let mut context = Forward::new(graph, pool, None);
    context.fake = fake;
    let (output, _) = forward(&mut context, images, visit);
    pool.own(output)
}

/// The gradients that follow from the gradient of the output: of activations where `wanted`, of all parameters.
pub(crate) fn backward<'a>(
    graph: &Graph,
    closures: Vec<Option<Backward<'_>>>,
    output: Tensor,
    wanted: Vec<bool>,
    pool: &'a Pool,
) -> Gradients<'a> {
    let count = graph.values().len();
    let times = Vec::with_capacity(graph.nodes().len());
    let mut gradients =
        Gradients { pool, activations: vec![None; count], parameters: vec![None; count], wanted, times };
    gradients.activations[graph.output().index()] = Some(Arc::new(output));
    for (node, closure) in graph.nodes().iter().zip(closures).rev() {
        let start = Instant::now();
        if let (Some(grad), Some(closure)) = (gradients.activations[node.output.index()].take(), closure) {
            closure(&mut gradients, grad);
        }
        gradients.times.push(start.elapsed());
    }
    gradients
}

/// Whether each value is an activation that depends on a parameter that is not frozen.
fn wanted(graph: &Graph, frozen: &[bool]) -> Vec<bool> {
    let mut wanted = vec![false; graph.values().len()];
    for node in graph.nodes() {
        let learns = |&id: &ValueId| match graph.value(id).parameter {
            // Without frozen parameters every activation is wanted.
            Some(_) => !is_frozen(frozen, id),
            None => wanted[id.index()],
        };
        wanted[node.output.index()] = frozen.is_empty() || node.inputs.iter().any(learns);
    }
    wanted
}

/// Computes gradients batch by batch and reuses its memory.
pub struct Tape {
    fake: Option<FakeQuantization>,
    frozen: Vec<bool>,
    shard: Shard,
    batch_norm_momentum: f32,
    precision: Precision,
    pool: Pool,
    gradients: Vec<Option<Vec<f32>>>,
    times: Vec<[Duration; 2]>,
}

impl Default for Tape {
    fn default() -> Self {
        Self {
            fake: None,
            frozen: Vec::new(),
            shard: Shard::default(),
            batch_norm_momentum: BATCH_NORM_MOMENTUM,
            precision: Precision::default(),
            pool: Pool::default(),
            gradients: Vec::new(),
            times: Vec::new(),
        }
    }
}

impl Tape {
    /// A tape without memory yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A tape whose steps run under fake quantization: the graph's parameters are rounded for each step, and
    /// gradients pass straight through the rounding. Batch normalization keeps its running statistics.
    pub fn with_fake_quantization(fake: FakeQuantization) -> Self {
        Self { fake: Some(fake), ..Self::default() }
    }

    /// The tape for a network with frozen parameters, by the index of the value (empty: none is). No gradient is
    /// computed for what depends on these alone; a batch normalization with frozen statistics uses them.
    #[must_use]
    pub fn with_frozen(self, frozen: Vec<bool>) -> Self {
        Self { frozen, ..self }
    }

    /// The tape of one of several processes: each step takes its part of a batch, as many images as any other's, and
    /// gives the gradient of the mean loss over them. The mean of all processes' gradients is the batch's.
    #[must_use]
    pub fn with_shard(self, shard: Shard) -> Self {
        Self { shard, ..self }
    }

    /// The tape with another weight of a batch in the running statistics than PyTorch's 0.1.
    #[must_use]
    pub fn with_batch_norm_momentum(self, batch_norm_momentum: f32) -> Self {
        Self { batch_norm_momentum, ..self }
    }

    /// From now on, computes no gradient of a parameter, of a network with frozen ones.
    pub fn freeze(&mut self, id: ValueId) {
        if let Some(frozen) = self.frozen.get_mut(id.index()) {
            *frozen = true;
        }
    }

    /// Whether steps leave the running statistics `id` as they are.
    pub(crate) fn keeps_statistics(&self, id: ValueId) -> bool {
        self.fake.is_some() || is_frozen(&self.frozen, id)
    }

    /// The tape that multiplies so, where the processor can; see [`Precision::is_available`].
    #[must_use]
    pub fn with_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// Runs a batch forward in training mode and back: afterwards [`Tape::gradient`] holds the gradient of the loss,
    /// and the graph holds new running statistics of batch normalization.
    ///
    /// `images` are normalized, `[N, H, W, C]`; `targets` are `[N, classes]`. `noise` decides what dropout and
    /// stochastic depth drop.
    ///
    /// # Panics
    /// If the images' dimensions are not those of the graph's input, or the targets' not those of the scores.
    pub fn step(
        &mut self,
        graph: &mut Graph,
        images: Tensor,
        targets: &Tensor,
        loss: Loss,
        noise: Noise,
    ) -> BatchScore {
        check_dims(graph, &images);
        self.pool.begin();
        let rounded = self.fake.as_ref().map(|fake| fake.with_rounded_parameters(graph));
        let run = rounded.as_ref().unwrap_or(graph);
        let mut context = Forward::new(run, &self.pool, Some(noise));
        context.fake = self.fake.as_ref();
        context.frozen = &self.frozen;
        context.shard = self.shard.clone();
        context.batch_norm_momentum = self.batch_norm_momentum;
        context.bf16 = self.precision.bf16();
        let (scores, closures) = forward(&mut context, images, &mut |_, _| ());
        let Forward { statistics, times, .. } = context;
        let (step, grad) = loss.gradient(&scores, targets);
        let mut wanted = wanted(graph, &self.frozen);
        wanted.resize(run.values().len(), false);
        let mut gradients = backward(run, closures, grad, wanted, &self.pool);
        self.times = times.into_iter().zip(gradients.times.drain(..).rev()).map(|(f, b)| [f, b]).collect();
        // What is rounded for each of its readers is one parameter.
        let operands =
            |graph: &Graph| -> Vec<ValueId> { graph.nodes().iter().flat_map(|node| &node.inputs).copied().collect() };
        for (copy, parameter) in operands(run).into_iter().zip(operands(graph)).filter(|(copy, own)| copy != own) {
            if let Some(gradient) = gradients.parameters[copy.index()].take() {
                gradients.add_parameter(parameter, gradient);
            }
        }
        self.gradients = gradients.parameters;
        for (id, values) in statistics {
            if let Some(tensor) = graph.parameter_mut(id) {
                tensor.data_mut().copy_from_slice(&values);
            }
        }
        step
    }

    /// Most bytes that activations and their gradients took at one time in a step so far.
    pub fn peak_bytes(&self) -> usize {
        self.pool.peak_bytes()
    }

    /// Time that each node of the graph took in the last step, forward and backward. Recomputation counts for
    /// the node that first needs it.
    pub fn times(&self) -> &[[Duration; 2]] {
        &self.times
    }

    /// The last step's gradient of a parameter; `None` for parameters without one, such as running statistics.
    pub fn gradient(&self, id: ValueId) -> Option<&[f32]> {
        self.gradients.get(id.index())?.as_deref()
    }
}
