//! Where the logical channels of each tensor lie among those of memory.
//!
//! Channels of feature maps are padded to multiples of 4, behind the last one. A concatenation puts padded maps side by
//! side, which leaves gaps inside; what it becomes element by element has the same gaps.

use super::PackError;
use crate::quant::{QConv, QGraph, QNode, QOp, TensorIndex};

/// Channels of feature maps are padded to multiples of this.
pub(super) const CHANNEL_MULTIPLE: usize = 4;

/// The channels of a tensor in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channels {
    /// How many there are, those included that only pad.
    pub count: usize,
    /// For each logical channel the one that it is.
    pub positions: Vec<usize>,
}

impl Channels {
    /// As they come, without padding: the image's.
    fn plain(count: usize) -> Self {
        Self { count, positions: (0..count).collect() }
    }

    /// As they come, and padding behind them.
    fn padded(channels: usize) -> Self {
        Self { count: channels.next_multiple_of(CHANNEL_MULTIPLE), ..Self::plain(channels) }
    }

    /// Whether nothing only pads.
    fn is_full(&self) -> bool {
        self.count == self.positions.len()
    }

    /// The logical channels of pixels that lie one after another, in order.
    ///
    /// # Panics
    /// If a pixel has other channels than these.
    pub fn strip<T: Copy>(&self, values: &[T]) -> Vec<T> {
        let pixels = values.chunks_exact(self.count);
        assert!(pixels.remainder().is_empty(), "{} values of {} channels", values.len(), self.count);
        pixels.flat_map(|pixel| self.positions.iter().map(|&channel| pixel[channel])).collect()
    }

    /// One for each channel in memory: those of `logical` at their positions, `other` elsewhere.
    pub(super) fn spread<T: Copy>(&self, logical: impl IntoIterator<Item = T>, other: T) -> Vec<T> {
        let mut all = vec![other; self.count];
        self.positions.iter().zip(logical).for_each(|(&channel, value)| all[channel] = value);
        all
    }
}

/// The channels of every tensor.
///
/// # Errors
/// [`PackError::Channels`] naming a node that means something else over padded channels.
pub fn channels(qgraph: &QGraph) -> Result<Vec<Channels>, PackError> {
    let mut layouts = Layouts::new(qgraph);
    let all: Vec<Channels> = (0..qgraph.tensors.len()).map(|index| layouts.of(index)).collect();
    qgraph.nodes.iter().try_for_each(|node| check(qgraph, node, &all))?;
    Ok(all)
}

/// Whether every group of a convolution has one input and one output channel.
pub(super) fn is_depthwise(conv: &QConv) -> bool {
    let per_group = conv.weights.len() / conv.bias.len() / conv.kernel[0] / conv.kernel[1];
    conv.groups > 1 && conv.groups == conv.bias.len() && per_group == 1
}

/// Tensors that are computed element by element from each other have their channels in the same places.
struct Layouts<'q> {
    qgraph: &'q QGraph,
    /// A tensor of the same places, until one stands for itself.
    same: Vec<TensorIndex>,
    /// Of those that stand for others: the node that decides the places, if a convolution does not.
    decides: Vec<Option<&'q QNode>>,
    known: Vec<Option<Channels>>,
}

impl<'q> Layouts<'q> {
    fn new(qgraph: &'q QGraph) -> Self {
        let count = qgraph.tensors.len();
        let mut layouts =
            Self { qgraph, same: (0..count).collect(), decides: vec![None; count], known: vec![None; count] };
        for node in &qgraph.nodes {
            match &node.op {
                QOp::Conv(conv) => {
                    node.operand.into_iter().for_each(|index| layouts.join(index, node.output));
                    if is_depthwise(conv) && node.input != qgraph.input {
                        layouts.join(node.input, node.output);
                    }
                }
                _ if decides(qgraph, node) => {}
                _ => {
                    let reads = [Some(node.input), node.operand].into_iter().flatten();
                    reads.for_each(|index| layouts.join(index, node.output));
                }
            }
        }
        for node in qgraph.nodes.iter().filter(|node| decides(qgraph, node)) {
            let root = layouts.root(node.output);
            layouts.decides[root].get_or_insert(node);
        }
        layouts.known[qgraph.input] = Some(Channels::plain(qgraph.tensors[qgraph.input].dims[0]));
        layouts
    }

    fn root(&self, mut index: TensorIndex) -> TensorIndex {
        while self.same[index] != index {
            index = self.same[index];
        }
        index
    }

    /// The earlier one stands for both: the image, where it is among them.
    fn join(&mut self, a: TensorIndex, b: TensorIndex) {
        let (a, b) = (self.root(a), self.root(b));
        self.same[a.max(b)] = a.min(b);
    }

    fn of(&mut self, index: TensorIndex) -> Channels {
        let root = self.root(index);
        if let Some(known) = &self.known[root] {
            return known.clone();
        }
        // Each is decided by tensors of fewer channels, so this ends.
        let channels = match self.decides[root] {
            None => Channels::padded(self.qgraph.tensors[root].dims[0]),
            Some(node) => {
                let input = self.of(node.input);
                let operand = node.operand.map(|index| self.of(index));
                decided(self.qgraph, node, &input, operand.as_ref())
            }
        };
        self.known[root] = Some(channels.clone());
        channels
    }
}

/// Whether a node puts channels where others may not.
fn decides(qgraph: &QGraph, node: &QNode) -> bool {
    let widens = qgraph.tensors[node.input].dims[0] != qgraph.tensors[node.output].dims[0];
    match node.op {
        QOp::Concat => true,
        QOp::Shortcut { .. } => widens || node.input == qgraph.input,
        _ => false,
    }
}

/// Where a node that decides puts the channels of its result.
fn decided(qgraph: &QGraph, node: &QNode, input: &Channels, operand: Option<&Channels>) -> Channels {
    let behind = |before: usize, channels: &Channels| -> Vec<usize> {
        channels.positions.iter().map(|position| before + position).collect()
    };
    match (&node.op, operand) {
        (QOp::Shortcut { channels_before, .. }, _) => {
            let zeros = qgraph.tensors[node.output].dims[0] - channels_before - input.positions.len();
            let end = channels_before + input.count;
            let positions = (0..*channels_before).chain(behind(*channels_before, input)).chain(end..end + zeros);
            Channels { count: (end + zeros).next_multiple_of(CHANNEL_MULTIPLE), positions: positions.collect() }
        }
        (_, Some(operand)) => Channels {
            count: input.count + operand.count,
            positions: input.positions.iter().copied().chain(behind(input.count, operand)).collect(),
        },
        (_, None) => input.clone(),
    }
}

/// Whether the operator still means the same over these channels.
fn check(qgraph: &QGraph, node: &QNode, all: &[Channels]) -> Result<(), PackError> {
    let fail = |reason: String| Err(PackError::Channels { node: node.name.clone(), op: node.op.name(), reason });
    let (input, output) = (&all[node.input], &all[node.output]);
    let is_image = |index: &TensorIndex| *index == qgraph.input && !all[*index].count.is_multiple_of(CHANNEL_MULTIPLE);
    let reads = [Some(node.input), node.operand].into_iter().flatten();
    let image = match node.op {
        QOp::Conv(_) | QOp::Shortcut { .. } => node.operand.filter(is_image),
        _ => reads.into_iter().find(is_image),
    };
    if let Some(image) = image {
        let channels = all[image].count;
        return fail(format!(
            "it reads the image, whose {channels} channels are not padded to a multiple of {CHANNEL_MULTIPLE}; let a \
             convolution read the image first"
        ));
    }
    if decides(qgraph, node) && *output != decided(qgraph, node, input, node.operand.map(|index| &all[index])) {
        return fail(
            "its channels, padded, do not lie where those of a map lie that it meets; make the channels of all that is \
             put side by side multiples of 4"
                .into(),
        );
    }
    if let QOp::Conv(conv) = &node.op
        && conv.groups > 1
        && !(input.is_full() && output.is_full() || is_depthwise(conv) && input == output)
    {
        let (input, output, groups) = (input.positions.len(), output.positions.len(), conv.groups);
        return fail(format!(
            "{input} to {output} channels in {groups} groups cannot be padded to multiples of {CHANNEL_MULTIPLE}"
        ));
    }
    Ok(())
}
