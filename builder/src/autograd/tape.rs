//! The tape: nodes forward, closures backward.

use super::fake::FakeQuantization;
use super::loss::Loss;
use super::pool::Pool;
use super::saved::{Recipe, Remade, Saved};
use super::{Shared, activation_dims, check_dims, ops};
use crate::tensor::Tensor;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use skipstone_onnx::{Graph, Node, Op, ValueId};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What an operator leaves for the backward pass: takes the gradient of its result and adds those of its operands.
pub(crate) type Backward<'g> = Box<dyn FnOnce(&mut Gradients, Shared) + 'g>;

/// What the random masks of a training step follow from: the same noise drops the same elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Noise {
    /// The run's seed.
    pub seed: u64,
    /// Number of the step in the run.
    pub step: u64,
}

/// The random masks of one node in one step.
#[derive(Clone, Copy)]
pub(crate) struct Masks {
    noise: Noise,
    node: u64,
}

impl Masks {
    /// Random numbers for the image at position `index` of the batch.
    pub(crate) fn image(self, index: usize) -> ChaCha8Rng {
        let mut seed = [0; 32];
        let words = [self.noise.seed, self.noise.step, self.node, index as u64];
        for (bytes, word) in seed.as_chunks_mut::<8>().0.iter_mut().zip(words) {
            *bytes = word.to_le_bytes();
        }
        ChaCha8Rng::from_seed(seed)
    }
}

/// What an operator may use in the forward pass.
pub(crate) struct Forward<'g, 'a> {
    pub(crate) graph: &'g Graph,
    /// Under it batch normalization uses its running statistics, in training too.
    pub(crate) fake: Option<&'g FakeQuantization>,
    /// Parameters that training leaves as they are, by the index of the value; empty if there are none.
    frozen: &'g [bool],
    pub(crate) pool: &'a Pool,
    /// Batch statistics are used and a [`Backward`] is wanted.
    pub(crate) training: bool,
    /// New running statistics of batch normalization.
    pub(crate) statistics: Vec<(ValueId, Vec<f32>)>,
    /// Activations that the backward pass makes again instead of keeping them.
    recipes: HashMap<ValueId, Rc<Remade>>,
    /// Results of batch norms that include the ReLU after them.
    rectified: HashSet<ValueId>,
    /// Whether the backward pass shall find everything in memory, to compare with.
    #[cfg(test)]
    pub(crate) keep: bool,
    noise: Noise,
    /// Position of the node that is being computed.
    node: usize,
    /// Time that the nodes took, in order.
    times: Vec<Duration>,
}

impl<'g, 'a> Forward<'g, 'a> {
    /// A pass in evaluation mode; in training mode with the noise of a step.
    pub(crate) fn new(graph: &'g Graph, pool: &'a Pool, training: Option<Noise>) -> Self {
        let noise = training.unwrap_or_default();
        Self {
            graph,
            fake: None,
            frozen: &[],
            pool,
            training: training.is_some(),
            statistics: Vec::new(),
            recipes: HashMap::new(),
            rectified: HashSet::new(),
            #[cfg(test)]
            keep: false,
            noise,
            node: 0,
            times: Vec::with_capacity(graph.nodes().len()),
        }
    }

    /// Whether training leaves a parameter as it is.
    pub(crate) fn is_frozen(&self, id: ValueId) -> bool {
        is_frozen(self.frozen, id)
    }

    /// The random masks of the current node.
    pub(crate) fn masks(&self) -> Masks {
        Masks { noise: self.noise, node: self.node as u64 }
    }

    /// A claim to an activation for the backward pass, which ends the caller's hold on `tensor`.
    pub(crate) fn save(&self, id: ValueId, tensor: Shared) -> Saved {
        match self.remade(id) {
            Some(saved) => {
                self.pool.release(tensor);
                saved
            }
            None => Saved::Kept(tensor),
        }
    }

    /// A claim to an activation for the backward pass if it is one that will be made again.
    pub(crate) fn remade(&self, id: ValueId) -> Option<Saved> {
        self.recipes.get(&id).map(Remade::claim)
    }

    /// Claims to the parts of an activation that is a concatenation and will be made again.
    pub(crate) fn parts(&self, id: ValueId) -> Option<Vec<Saved>> {
        self.recipes.get(&id)?.parts()
    }

    /// Whether the current node's result goes into a ReLU and nowhere else; then the node must do the ReLU's work.
    pub(crate) fn relu_follows(&mut self) -> bool {
        let [node, rest @ ..] = &self.graph.nodes()[self.node..] else { return false };
        if self.is_rounded(node.output) {
            return false;
        }
        let mut readers = rest.iter().filter(|other| other.inputs.contains(&node.output));
        let follows = matches!((readers.next(), readers.next()), (Some(Node { op: Op::Relu, .. }), None));
        if follows {
            self.rectified.insert(node.output);
        }
        follows
    }

    /// Whether the node that gave this result did the work of the ReLU after it.
    pub(crate) fn is_rectified(&self, id: ValueId) -> bool {
        self.rectified.contains(&id)
    }

    /// Says that the result of `node` is its first operand, so that the backward pass makes it again in the same way.
    pub(crate) fn alias(&mut self, node: &Node) {
        if !self.is_rounded(node.output)
            && let Some(remade) = self.recipes.get(&node.inputs[0])
        {
            self.recipes.insert(node.output, Rc::clone(remade));
        }
    }

    /// Says how to make the result of `node` again, so that the backward pass need not keep it.
    pub(crate) fn publish(&mut self, node: &Node, recipe: Recipe) {
        #[cfg(test)]
        if self.keep {
            return;
        }
        if self.training && !self.is_rounded(node.output) {
            self.recipes.insert(node.output, Remade::new(recipe));
        }
    }

    /// Whether a value is fake-quantized.
    fn is_rounded(&self, id: ValueId) -> bool {
        self.fake.is_some_and(|fake| fake.grid(id).is_some())
    }

    /// A value as it is after fake quantization, and the backward pass through it to `backward`.
    fn fake_quantize(&self, id: ValueId, x: Shared, backward: Option<Backward<'g>>) -> (Shared, Option<Backward<'g>>) {
        let Some(grid) = self.fake.and_then(|fake| fake.grid(id)) else { return (x, backward) };
        let y = Arc::new(grid.rounded(&x, self.pool));
        let Some(backward) = backward else {
            self.pool.release(x);
            return (y, None);
        };
        let masked = move |gradients: &mut Gradients, grad| {
            let grad = grid.pass(gradients, grad, &x);
            gradients.pool.release(x);
            backward(gradients, grad);
        };
        (y, Some(Box::new(masked)))
    }

    /// A parameter's contents; operand positions were checked when the graph was built.
    pub(crate) fn parameter(&self, id: ValueId) -> &'g [f32] {
        self.graph.parameter(id).map_or(&[], |tensor| tensor.data())
    }

    /// A tensor with arbitrary contents for the result of `node`.
    pub(crate) fn output(&self, node: &Node, batch: usize) -> Tensor {
        let mut dims = activation_dims(self.graph, node.output);
        dims.insert(0, batch);
        self.pool.tensor(dims)
    }

    /// The backward closure where one is wanted.
    pub(crate) fn record(&self, backward: impl FnOnce(&mut Gradients, Shared) + 'g) -> Option<Backward<'g>> {
        self.training.then(|| Box::new(backward) as Backward<'g>)
    }
}

/// Gradients in the backward pass.
pub(crate) struct Gradients<'a> {
    pub(crate) pool: &'a Pool,
    activations: Vec<Option<Shared>>,
    parameters: Vec<Option<Vec<f32>>>,
    wanted: Vec<bool>,
    /// Time that the nodes took, the last one first.
    times: Vec<Duration>,
}

impl Gradients<'_> {
    /// Whether anybody needs the gradient of a value.
    pub(crate) fn wants(&self, id: ValueId) -> bool {
        self.wanted[id.index()]
    }

    /// Adds to the gradient of an activation.
    pub(crate) fn add(&mut self, id: ValueId, grad: Shared) {
        if !self.wants(id) {
            return self.pool.release(grad);
        }
        let slot = &mut self.activations[id.index()];
        *slot = Some(match slot.take() {
            None => grad,
            Some(sum) => {
                let (sum, other) = if Arc::strong_count(&sum) == 1 { (sum, grad) } else { (grad, sum) };
                let mut sum = self.pool.own(sum);
                ops::zip_images(&mut sum, &other, |sum, other| {
                    sum.iter_mut().zip(other).for_each(|(sum, other)| *sum += other);
                });
                self.pool.release(other);
                Arc::new(sum)
            }
        });
    }

    /// Adds to the gradient of a parameter.
    pub(crate) fn add_parameter(&mut self, id: ValueId, grad: Vec<f32>) {
        match &mut self.parameters[id.index()] {
            Some(sum) => sum.iter_mut().zip(grad).for_each(|(sum, grad)| *sum += grad),
            empty => *empty = Some(grad),
        }
    }
}

#[cfg(test)]
impl Gradients<'_> {
    pub(crate) fn activation(&self, id: ValueId) -> Option<&[f32]> {
        self.activations[id.index()].as_ref().map(|grad| grad.data())
    }

    pub(crate) fn parameter(&self, id: ValueId) -> Option<&[f32]> {
        self.parameters[id.index()].as_deref()
    }
}

/// Runs the nodes in order; gives the output and, in training, what each node left for the backward pass.
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
    let mut context = Forward { fake, ..Forward::new(graph, pool, None) };
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

/// Whether each value is an activation that a parameter which is not frozen has a part in.
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

fn is_frozen(frozen: &[bool], id: ValueId) -> bool {
    frozen.get(id.index()).is_some_and(|&frozen| frozen)
}

/// What one training step saw.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Mean loss of the batch.
    pub loss: f64,
    /// Images whose highest score was their highest target's.
    pub correct: usize,
}

/// Computes gradients batch by batch and keeps the memory for it.
#[derive(Default)]
pub struct Tape {
    fake: Option<FakeQuantization>,
    frozen: Vec<bool>,
    pool: Pool,
    gradients: Vec<Option<Vec<f32>>>,
    times: Vec<[Duration; 2]>,
}

impl Tape {
    /// A tape without memory yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A tape whose steps run under fake quantization: the graph's parameters are rounded for each step, and the gradient
    /// of a rounded number is that of the number. Batch normalization keeps its running statistics.
    pub fn with_fake_quantization(fake: FakeQuantization) -> Self {
        Self { fake: Some(fake), ..Self::default() }
    }

    /// The tape for a network some of whose parameters stay as they are, by the index of the value (empty: none does).
    /// No gradient goes where only such are; a batch normalization whose statistics are among them uses them.
    #[must_use]
    pub fn with_frozen(self, frozen: Vec<bool>) -> Self {
        Self { frozen, ..self }
    }

    /// Runs a batch forward in training mode and back: afterwards [`Tape::gradient`] holds the gradient of the loss,
    /// and the graph holds new running statistics of batch normalization.
    ///
    /// `images` are normalized, `[N, H, W, C]`; `targets` are `[N, classes]`. `noise` decides what dropout and
    /// stochastic depth drop.
    ///
    /// # Panics
    /// If the images' dimensions are not those of the graph's input, or the targets' not those of the scores.
    pub fn step(&mut self, graph: &mut Graph, images: Tensor, targets: &Tensor, loss: Loss, noise: Noise) -> Step {
        check_dims(graph, &images);
        self.pool.begin();
        let rounded = self.fake.as_ref().map(|fake| fake.with_rounded_parameters(graph));
        let run = rounded.as_ref().unwrap_or(graph);
        let mut context =
            Forward { fake: self.fake.as_ref(), frozen: &self.frozen, ..Forward::new(run, &self.pool, Some(noise)) };
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

    /// Time that each node of the graph took in the last step, forward and backward. What the backward pass makes again counts
    /// for the node that needs it first.
    pub fn times(&self) -> &[[Duration; 2]] {
        &self.times
    }

    /// The last step's gradient of a parameter; `None` for parameters without one, such as running statistics.
    pub fn gradient(&self, id: ValueId) -> Option<&[f32]> {
        self.gradients.get(id.index())?.as_deref()
    }
}
