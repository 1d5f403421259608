//! Where the logical channels of each tensor lie among those of memory.
//!
//! Channels of feature maps are padded to multiples of 4, after the last one. A concatenation puts padded maps side by
//! side, which leaves gaps inside; what it becomes element by element has the same gaps. Copies put channels anywhere.

use super::QuantError;
use super::graph::{QConv, QCopy, QGraph, QNode, QOp, QTensor, TensorIndex};

/// Channels of feature maps are padded to multiples of this.
const CHANNEL_MULTIPLE: usize = 4;

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

    /// As they come, and padding after them.
    fn padded(channels: usize) -> Self {
        Self { count: channels.next_multiple_of(CHANNEL_MULTIPLE), ..Self::plain(channels) }
    }

    /// Whether nothing lies between them.
    fn are_in_line(&self) -> bool {
        self.positions.iter().enumerate().all(|(channel, &position)| channel == position)
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
    pub(crate) fn spread<T: Copy>(&self, logical: impl IntoIterator<Item = T>, other: T) -> Vec<T> {
        let mut all = vec![other; self.count];
        self.positions.iter().zip(logical).for_each(|(&channel, value)| all[channel] = value);
        all
    }
}

/// The channels of every tensor.
///
/// # Errors
/// [`QuantError::Unsupported`] naming a node that cannot read or write channels where they are; not for the nodes of a
/// graph that [`lower`](super::lower()) made.
pub fn channels(qgraph: &QGraph) -> Result<Vec<Channels>, QuantError> {
    let all = layouts(qgraph);
    qgraph.nodes.iter().try_for_each(|node| check(qgraph, node, &all))?;
    Ok(all)
}

fn layouts(qgraph: &QGraph) -> Vec<Channels> {
    let mut layouts = Layouts::new(qgraph);
    (0..qgraph.tensors.len()).map(|index| layouts.of(index)).collect()
}

/// Copies the results of concatenations that cannot lie where those lie that they are combined with element by element,
/// and what is read or made of blocks of pixels where its channels do not lie in line.
/// `fresh` makes names.
pub(super) fn separate_concats(qgraph: &mut QGraph, mut fresh: impl FnMut(&str) -> String) {
    loop {
        let all = layouts(qgraph);
        if let Some(at) = qgraph.nodes.iter().position(|node| !reads_well(node, &all)) {
            let (node, joined) = (&mut qgraph.nodes[at], qgraph.tensors.len());
            let input = std::mem::replace(&mut node.input, joined);
            let op = QOp::Copy(QCopy::WHOLE);
            let name = fresh(&format!("{}.copy", node.name));
            let copy = QNode { name, op, input, operand: None, output: joined, lo: i8::MIN, hi: i8::MAX };
            let tensor = &qgraph.tensors[input];
            let name = fresh(&format!("{}.joined", tensor.name));
            qgraph.tensors.push(QTensor { name, ..tensor.clone() });
            qgraph.nodes.insert(at, copy);
            continue;
        }
        let Some(at) = qgraph.nodes.iter().position(|node| !lies_well(node, &all)) else { return };
        let (node, joined) = (&mut qgraph.nodes[at], qgraph.tensors.len());
        let output = std::mem::replace(&mut node.output, joined);
        let op = QOp::Copy(QCopy::WHOLE);
        let copy =
            QNode { name: fresh(&format!("{}.copy", node.name)), op, input: joined, operand: None, output, ..*node };
        let tensor = &qgraph.tensors[output];
        let name = fresh(&format!("{}.joined", tensor.name));
        qgraph.tensors.push(QTensor { name, ..tensor.clone() });
        qgraph.nodes.insert(at + 1, copy);
    }
}

/// Whether only convolutions and copies can read a tensor: the image, if its channels, which are not padded, are no
/// multiple of 4.
pub(super) fn is_odd(tensor: &QTensor) -> bool {
    !tensor.dims[0].is_multiple_of(CHANNEL_MULTIPLE)
}

/// The groups of a convolution over these channels, some of which may only pad. A group may hold several of the
/// convolution's own; weights between those are zeros then.
pub(crate) fn groups(conv: &QConv, input: &Channels, output: &Channels) -> usize {
    let per_group = |channels: &Channels| channels.positions.len() / conv.groups;
    let fits = |&groups: &usize| {
        let (from, to) = (input.count / groups, output.count / groups);
        output.positions.iter().enumerate().all(|(channel, position)| {
            let own = &input.positions[channel / per_group(output) * per_group(input)..][..per_group(input)];
            own.iter().all(|read| read / from == position / to)
        })
    };
    let divides = |groups: &usize| input.count.is_multiple_of(*groups) && output.count.is_multiple_of(*groups);
    match conv.groups {
        1 => 1,
        _ => (1..=input.count).rev().filter(divides).find(fits).unwrap_or(1),
    }
}

/// Whether every group of a convolution has one input and one output channel.
fn is_depthwise(conv: &QConv) -> bool {
    let per_group = conv.weights.len() / conv.bias.len() / conv.kernel[0] / conv.kernel[1];
    conv.groups > 1 && conv.groups == conv.bias.len() && per_group == 1
}

/// Tensors that are computed element by element from each other have their channels in the same places.
struct Layouts<'q> {
    qgraph: &'q QGraph,
    /// A tensor of the same places, until one stands for itself.
    same: Vec<TensorIndex>,
    /// Of those that stand for others: the first concatenation, if one decides the places.
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
                QOp::Concat | QOp::Copy(_) | QOp::Blocks => {}
                _ => {
                    let reads = [Some(node.input), node.operand].into_iter().flatten();
                    reads.for_each(|index| layouts.join(index, node.output));
                }
            }
        }
        for node in qgraph.nodes.iter().filter(|node| node.op == QOp::Concat) {
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
                let (input, operand) = (self.of(node.input), node.operand.map(|index| self.of(index)));
                joined(&input, operand.as_ref())
            }
        };
        self.known[root] = Some(channels.clone());
        channels
    }
}

/// Channels that lie one after the other.
fn joined(input: &Channels, operand: Option<&Channels>) -> Channels {
    let Some(operand) = operand else { return input.clone() };
    let after = operand.positions.iter().map(|position| input.count + position);
    Channels { count: input.count + operand.count, positions: input.positions.iter().copied().chain(after).collect() }
}

/// Whether a node puts channels where they belong, that does not put them anywhere.
fn lies_well(node: &QNode, all: &[Channels]) -> bool {
    match node.op {
        QOp::Concat => all[node.output] == joined(&all[node.input], node.operand.map(|index| &all[index])),
        QOp::Blocks => all[node.output].are_in_line(),
        _ => true,
    }
}

/// Whether a node finds the channels that it reads where it takes them to be.
fn reads_well(node: &QNode, all: &[Channels]) -> bool {
    node.op != QOp::Blocks || all[node.input].are_in_line()
}

/// Whether a node reads and writes channels where they are.
fn check(qgraph: &QGraph, node: &QNode, all: &[Channels]) -> Result<(), QuantError> {
    let reads = match node.op {
        QOp::Conv(_) | QOp::Copy(_) | QOp::Blocks => [None, node.operand],
        _ => [Some(node.input), node.operand],
    };
    let image = &qgraph.tensors[qgraph.input];
    let reason = if reads.contains(&Some(qgraph.input)) && is_odd(image) {
        format!("it reads the image, whose {} channels are not padded: let it read a copy", image.dims[0])
    } else if !reads_well(node, all) {
        "the channels that it reads do not lie in line: let it read a copy".into()
    } else if !lies_well(node, all) {
        "its channels do not lie where those of a map lie that it meets: copy its result".into()
    } else {
        return Ok(());
    };
    Err(QuantError::Unsupported { node: node.name.clone(), op: node.op.name(), reason })
}
