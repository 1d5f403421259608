//! What operators see of a pass: the forward pass's settings and records, the backward pass's gradients.

use super::fake::FakeQuantization;
use super::norm::{Norm, moments};
use super::pool::Pool;
use super::saved::{Recipe, Recomputed, Saved};
use super::shard::Shard;
use super::{Shared, activation_dims};
use crate::cluster::Cluster;
use crate::kernels::channels::Affine;
use crate::kernels::images::{chunk_images, zip_images};
use crate::kernels::pointwise;
use crate::kernels::x86::bf16::Bf16;
use crate::tensor::Tensor;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use skipstone_onnx::{Graph, Node, Op, ValueId};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// The backward closure of an operator: takes the gradient of its result and adds those of its operands.
pub(crate) type Backward<'g> = Box<dyn FnOnce(&mut Gradients, Shared) + 'g>;

/// Weight of a batch in the running statistics of batch normalization where no other is set.
pub(super) const BATCH_NORM_MOMENTUM: f32 = 0.1;

/// What the random masks of a training step (dropout, stochastic depth) are derived from: the same noise drops the same
/// elements.
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
    /// Place in the batch of the first image that this process has.
    first: usize,
}

impl Masks {
    /// Random numbers for image `index` of those that this process has.
    pub(crate) fn image(self, index: usize) -> ChaCha8Rng {
        let mut seed = [0; 32];
        let words = [self.noise.seed, self.noise.step, self.node, (self.first + index) as u64];
        for (bytes, word) in seed.as_chunks_mut::<8>().0.iter_mut().zip(words) {
            *bytes = word.to_le_bytes();
        }
        ChaCha8Rng::from_seed(seed)
    }
}

/// What an operator may use in the forward pass.
pub(crate) struct Forward<'g, 'a> {
    pub(crate) graph: &'g Graph,
    /// Fake quantization. With it, batch normalization uses its running statistics in training too.
    pub(crate) fake: Option<&'g FakeQuantization>,
    /// Parameters that training leaves as they are, by the index of the value; empty if there are none.
    pub(super) frozen: &'g [bool],
    /// What this process has of the batch.
    pub(super) shard: Shard,
    /// Weight of a batch in the running statistics of batch normalization.
    pub(super) batch_norm_momentum: f32,
    /// For products of convolutions in bfloat16.
    pub(super) bf16: Option<Bf16>,
    pub(crate) pool: &'a Pool,
    /// Batch statistics are used and a [`Backward`] is wanted.
    pub(crate) training: bool,
    /// New running statistics of batch normalization.
    pub(crate) statistics: Vec<(ValueId, Vec<f32>)>,
    /// Activations that the backward pass recomputes, so that they are not kept.
    recipes: HashMap<ValueId, Rc<Recomputed>>,
    /// Results of batch norms and additions that include the ReLU after them.
    rectified: HashSet<ValueId>,
    /// Sums of activations and of their squares.
    moments: HashMap<ValueId, Vec<[f64; 2]>>,
    /// What additions must do to their operands.
    lent: HashMap<ValueId, Arc<Affine>>,
    /// Batch norms that the reader of a value must compute.
    entries: HashMap<ValueId, Norm<'g>>,
    /// Keep every activation, to compare with recomputation.
    #[cfg(test)]
    pub(crate) keep: bool,
    noise: Noise,
    /// Position of the node that is being computed.
    pub(super) node: usize,
    /// Time that the nodes took, in order.
    pub(super) times: Vec<Duration>,
}

impl<'g, 'a> Forward<'g, 'a> {
    /// A pass in evaluation mode; in training mode with the noise of a step.
    pub(crate) fn new(graph: &'g Graph, pool: &'a Pool, training: Option<Noise>) -> Self {
        let noise = training.unwrap_or_default();
        Self {
            graph,
            fake: None,
            frozen: &[],
            shard: Shard::default(),
            batch_norm_momentum: BATCH_NORM_MOMENTUM,
            bf16: None,
            pool,
            training: training.is_some(),
            statistics: Vec::new(),
            recipes: HashMap::new(),
            rectified: HashSet::new(),
            moments: HashMap::new(),
            lent: HashMap::new(),
            entries: HashMap::new(),
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

    /// The random masks of the current node, for `images` that this process has.
    pub(crate) fn masks(&self, images: usize) -> Masks {
        Masks { noise: self.noise, node: self.node as u64, first: self.shard.cluster.rank() * images }
    }

    /// Images in a chunk of work, for `images` that this process has: those of the whole batch are cut alike however
    /// many processes share it.
    pub(crate) fn chunk_images(&self, images: usize) -> usize {
        chunk_images(images * self.shard.cluster.size())
    }

    /// The processes whose images batch statistics are taken over.
    pub(crate) fn statistics_over(&self) -> Cluster {
        if self.shard.sync_bn { self.shard.cluster.clone() } else { Cluster::default() }
    }

    /// Whether batch statistics are taken of a result, perhaps beside others.
    pub(crate) fn takes_moments(&self, node: &Node) -> bool {
        let reads = |other: &Node| {
            other.inputs.contains(&node.output)
                && match other.op {
                    Op::BatchNorm { .. } => !self.is_frozen(other.inputs[3]),
                    Op::Concat => true,
                    _ => false,
                }
        };
        self.training && self.fake.is_none() && self.graph.nodes()[self.node..].iter().any(reads)
    }

    /// Sums of an activation and of its square over the images of this process, channel by channel.
    pub(crate) fn moments(&mut self, id: ValueId, x: &Tensor) -> Vec<[f64; 2]> {
        let chunk = self.chunk_images(x.batch());
        self.moments.entry(id).or_insert_with(|| moments(x, chunk)).clone()
    }

    /// Records the sums of a result as [`Forward::moments`] gives them.
    pub(crate) fn publish_moments(&mut self, node: &Node, moments: Vec<[f64; 2]>) {
        self.moments.insert(node.output, moments);
    }

    /// A claim to an activation for the backward pass, which ends the caller's hold on `tensor`.
    pub(crate) fn save(&self, id: ValueId, tensor: Shared) -> Saved {
        match self.recomputed(id) {
            Some(saved) => {
                self.pool.release(tensor);
                saved
            }
            None => Saved::Kept(tensor),
        }
    }

    /// A claim to an activation for the backward pass if it will be recomputed.
    pub(crate) fn recomputed(&self, id: ValueId) -> Option<Saved> {
        self.recipes.get(&id).map(Recomputed::claim)
    }

    /// Claims to the parts of an activation that is a concatenation and will be recomputed.
    pub(crate) fn parts(&self, id: ValueId) -> Option<Vec<Saved>> {
        self.recipes.get(&id)?.parts()
    }

    /// Whether the current node's result goes into a ReLU and nowhere else; then the node must do the ReLU's work.
    pub(crate) fn relu_follows(&mut self) -> bool {
        let Some(node) = self.graph.nodes().get(self.node) else { return false };
        let follows =
            !self.is_rounded(node.output) && self.only_reader(node.output).is_some_and(|reader| reader.op == Op::Relu);
        if follows {
            self.rectified.insert(node.output);
        }
        follows
    }

    /// The result of the ReLU after the current node, if only a convolution of single pixels reads it, which can
    /// compute both as it reads.
    pub(crate) fn enters(&self, node: &Node) -> Option<ValueId> {
        let relu = self.only_reader(node.output).filter(|relu| relu.op == Op::Relu && self.fake.is_none())?;
        let Op::Conv(conv) = &self.only_reader(relu.output)?.op else { return None };
        let suits = pointwise::suits(conv) && conv.stride == [1, 1];
        suits.then_some(relu.output)
    }

    /// The node after the current one that reads a value, once, if nothing else does.
    fn only_reader(&self, id: ValueId) -> Option<&'g Node> {
        let graph = self.graph;
        let mut readers = graph.nodes()[self.node..].iter().filter(|other| other.inputs.contains(&id));
        let reader = readers.next().filter(|_| readers.next().is_none() && graph.output() != id)?;
        (reader.inputs.iter().filter(|&&input| input == id).count() == 1).then_some(reader)
    }

    /// Whether the current node's result is added to another and read by nothing else.
    pub(crate) fn addition_follows(&self, node: &Node) -> bool {
        self.fake.is_none() && self.only_reader(node.output).is_some_and(|reader| reader.op == Op::Add)
    }

    /// Records what the addition that follows must do to the result of `node`, which is its operand as it is.
    pub(crate) fn lend(&mut self, node: &Node, affine: Arc<Affine>) {
        self.lent.insert(node.output, affine);
    }

    /// What is to be done to an operand of an addition.
    pub(crate) fn lent(&mut self, id: ValueId) -> Option<Arc<Affine>> {
        self.lent.remove(&id)
    }

    /// Leaves a batch norm and its ReLU to the reader of its result.
    pub(crate) fn hand_over(&mut self, result: ValueId, norm: Norm<'g>) {
        self.entries.insert(result, norm);
    }

    /// The batch norm with ReLU that the reader of a value must compute.
    pub(crate) fn entry(&mut self, id: ValueId) -> Option<Norm<'g>> {
        self.entries.remove(&id)
    }

    /// Whether the node that gave this result did the work of the ReLU after it.
    pub(crate) fn is_rectified(&self, id: ValueId) -> bool {
        self.rectified.contains(&id)
    }

    /// Records that the result of `node` is its first operand: the backward pass recomputes both in the same way.
    pub(crate) fn alias(&mut self, node: &Node) {
        if !self.is_rounded(node.output)
            && let Some(recomputed) = self.recipes.get(&node.inputs[0])
        {
            self.recipes.insert(node.output, Rc::clone(recomputed));
        }
    }

    /// Records how to recompute the result of `node`, so that it need not be kept for the backward pass.
    pub(crate) fn publish(&mut self, node: &Node, recipe: Recipe) {
        #[cfg(test)]
        if self.keep {
            return;
        }
        if self.training && !self.is_rounded(node.output) {
            self.recipes.insert(node.output, Recomputed::new(recipe));
        }
    }

    /// Whether a value is fake-quantized.
    fn is_rounded(&self, id: ValueId) -> bool {
        self.fake.is_some_and(|fake| fake.grid(id).is_some())
    }

    /// A value as it is after fake quantization, and the backward pass through it to `backward`.
    pub(super) fn fake_quantize(
        &self,
        id: ValueId,
        x: Shared,
        backward: Option<Backward<'g>>,
    ) -> (Shared, Option<Backward<'g>>) {
        let Some(grid) = self.fake.and_then(|fake| fake.grid(id)) else { return (x, backward) };
        let y = Arc::new(grid.rounded(&x, self.pool));
        let Some(backward) = backward else {
            self.pool.release(x);
            return (y, None);
        };
        let masked = move |gradients: &mut Gradients, grad| {
            let grad = grid.pass(gradients.pool, grad, &x);
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
    pub(super) activations: Vec<Option<Shared>>,
    pub(super) parameters: Vec<Option<Vec<f32>>>,
    pub(super) wanted: Vec<bool>,
    /// Time that the nodes took, the last one first.
    pub(super) times: Vec<Duration>,
}

impl Gradients<'_> {
    /// Whether the gradient of a value is needed.
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
                zip_images(&mut sum, &other, |sum, other| {
                    sum.iter_mut().zip(other).for_each(|(sum, other)| *sum += other);
                });
                self.pool.release(other);
                Arc::new(sum)
            }
        });
    }

    /// What there is of the gradient of an activation, free to be added to; afterwards there is none.
    pub(crate) fn take(&mut self, id: ValueId) -> Option<Tensor> {
        let sum = self.activations[id.index()].take()?;
        Some(self.pool.own(sum))
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

/// Whether training leaves a parameter as it is.
pub(super) fn is_frozen(frozen: &[bool], id: ValueId) -> bool {
    frozen.get(id.index()).is_some_and(|&frozen| frozen)
}
