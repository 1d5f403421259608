//! The records of a network as a graph: nodes and tensors by index, views and their members, steps that were taken.

use crate::bounds;
use crate::format::records::{NONE, Node, Segment, Tensor};
use crate::rows;

/// Records, wherever they lie.
pub trait Network {
    /// All nodes, in topological order.
    fn nodes(&self) -> &[Node];
    /// All tensors.
    fn tensors(&self) -> &[Tensor];
    /// All segments, in order of execution.
    fn segments(&self) -> &[Segment];
    /// Node `index`; an empty record if there is none.
    #[inline(always)]
    fn node(&self, index: usize) -> &Node {
        bounds::record(self.nodes(), index, &Node::EMPTY)
    }
    /// Tensor `index`; an empty record if there is none.
    #[inline(always)]
    fn tensor(&self, index: usize) -> &Tensor {
        bounds::record(self.tensors(), index, &Tensor::EMPTY)
    }
    /// Segment `index`.
    #[inline(always)]
    fn segment(&self, index: usize) -> Option<&Segment> {
        self.segments().get(index)
    }
}

/// Records in memory, as a planner holds them.
#[derive(Clone, Copy, Debug)]
pub struct Records<'a> {
    /// In topological order.
    pub nodes: &'a [Node],
    /// In any order.
    pub tensors: &'a [Tensor],
    /// In order of execution.
    pub segments: &'a [Segment],
}

impl Network for Records<'_> {
    fn nodes(&self) -> &[Node] {
        self.nodes
    }
    fn tensors(&self) -> &[Tensor] {
        self.tensors
    }
    fn segments(&self) -> &[Segment] {
        self.segments
    }
}

/// A tensor whose bytes are some channels of another one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Member<'n> {
    /// Its index.
    pub index: u16,
    /// Its record.
    pub tensor: &'n Tensor,
    /// Channels before its own.
    pub before: u16,
}

/// A walk over the tensors that hold the rows of one: itself, or the members of a view, the last channels first.
#[derive(Clone, Copy, Debug)]
pub struct Members {
    next: u16,
    /// Channels up to the next one's last.
    end: u16,
    /// The last producer seen; the next one is an earlier node, so that the walk ends whatever the records say.
    latest: u16,
}

impl Members {
    /// Starts at tensor `index`.
    pub fn new(network: &impl Network, index: u16) -> Self {
        Self { next: index, end: network.tensor(index.into()).channels, latest: NONE }
    }

    /// The next one.
    #[inline]
    pub fn next<'n>(&mut self, network: &'n impl Network) -> Option<Member<'n>> {
        let index = core::mem::replace(&mut self.next, NONE);
        if index == NONE {
            return None;
        }
        let tensor = network.tensor(index.into());
        if tensor.producer < self.latest {
            let node = network.node(tensor.producer.into());
            if rows::is_view(node) {
                let operand = network.tensor(node.operand.into());
                self.latest = tensor.producer;
                self.end = self.end.saturating_sub(operand.channels);
                self.next = node.input;
                return Some(Member { index: node.operand, tensor: operand, before: self.end });
            }
        }
        Some(Member { index, tensor, before: 0 })
    }
}

/// Whether a tensor has no bytes of its own.
pub fn is_view(network: &impl Network, tensor: &Tensor) -> bool {
    tensor.producer != NONE && rows::is_view(network.node(tensor.producer.into()))
}

/// The tensors that hold the rows of tensor `index`.
pub fn members<'n>(network: &'n impl Network, index: u16) -> impl Iterator<Item = Member<'n>> {
    let mut members = Members::new(network, index);
    core::iter::from_fn(move || members.next(network))
}

/// Steps that each node has taken.
pub trait Counters {
    /// Steps that `node` has taken.
    fn done(&self, node: usize) -> usize;
    /// Counts one more step of `node`.
    fn advance(&mut self, node: usize);
}

impl Counters for [u16] {
    fn done(&self, node: usize) -> usize {
        self.get(node).copied().unwrap_or(0).into()
    }
    fn advance(&mut self, node: usize) {
        if let Some(count) = self.get_mut(node) {
            *count = count.wrapping_add(1);
        }
    }
}
