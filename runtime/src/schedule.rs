//! The pull rule: which step comes next, without a table.
//!
//! From the segment's last node walk to the first input that lacks a row; where every input is there, make the next
//! step of that node. When the last node is complete, the next segment begins. The order follows from the records
//! alone, so that the host's planner, the check of a model and the engine agree on it step for step.

use crate::format::records::{NONE, Node, Segment, Tensor};
use crate::ops::{self, Operators};
use crate::rows;

/// The records that the rule reads.
pub trait Network {
    /// Node `index`; an empty record if there is none.
    fn node(&self, index: usize) -> &Node;
    /// Tensor `index`; an empty record if there is none.
    fn tensor(&self, index: usize) -> &Tensor;
    /// Segment `index`.
    fn segment(&self, index: usize) -> Option<&Segment>;
    /// What knows which rows its nodes read.
    fn operators(&self) -> &'static Operators;
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
    fn node(&self, index: usize) -> &Node {
        self.nodes.get(index).unwrap_or(&Node::EMPTY)
    }
    fn tensor(&self, index: usize) -> &Tensor {
        self.tensors.get(index).unwrap_or(&Tensor::EMPTY)
    }
    fn segment(&self, index: usize) -> Option<&Segment> {
        self.segments.get(index)
    }
    fn operators(&self) -> &'static Operators {
        &ops::ALL
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
    /// Rows of `tensor` that have been made, overwritten ones included; `fed` of the image.
    #[inline]
    fn rows_made(&self, network: &impl Network, fed: usize, tensor: &Tensor) -> usize {
        if tensor.producer == NONE {
            return fed;
        }
        let producer = usize::from(tensor.producer);
        let node = network.node(producer);
        network.operators().rows_made(node, network.tensor(node.input.into()), tensor, self.done(producer))
    }
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

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Step number `step` of `node`, which is counted as done from now on.
    Step {
        /// The node.
        node: usize,
        /// Its steps before this one.
        step: usize,
    },
    /// Nothing can be done before the next row of the image arrives.
    NeedsInputRow,
    /// The scores are there.
    Done,
}

/// Most waiting nodes that are remembered.
const REMEMBERED: usize = 16;

/// Where the execution of one image stands, apart from the counters.
///
/// A step changes nothing for the nodes that wait for what the last one of them lacks, so that the walk goes on from that
/// one. Where all that are remembered have gone on, it starts anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pull {
    segment: usize,
    /// The last of the nodes that lack a row, each of the next one; a ring.
    waiting: [u16; REMEMBERED],
    /// The slot behind the last one's.
    end: usize,
    count: usize,
}

impl Pull {
    /// Chooses the next step; `fed` rows of the image have arrived.
    pub fn next(&mut self, network: &impl Network, counters: &mut (impl Counters + ?Sized), fed: usize) -> Turn {
        self.next_counted(network, counters, fed, &mut 0)
    }

    /// [`next`](Self::next), which adds the number of nodes that it looked at to `looked`.
    pub fn next_counted(
        &mut self,
        network: &impl Network,
        counters: &mut (impl Counters + ?Sized),
        fed: usize,
        looked: &mut u32,
    ) -> Turn {
        while let Some(segment) = network.segment(self.segment) {
            let mut at = match self.pop() {
                Some(node) => node,
                None => {
                    let last = usize::from(segment.end).saturating_sub(1);
                    if is_complete(network, counters, last) {
                        self.segment += 1;
                        continue;
                    }
                    last
                }
            };
            loop {
                *looked = looked.saturating_add(1);
                let step = counters.done(at);
                match missing(network, counters, fed, at, step, segment.operand_first != 0) {
                    Missing::Nothing => {
                        counters.advance(at);
                        return Turn::Step { node: at, step };
                    }
                    Missing::ImageRow => {
                        self.push(at);
                        return Turn::NeedsInputRow;
                    }
                    // Producers come first in a checked model, so the walk ends.
                    Missing::RowOf(producer) if producer < at => {
                        self.push(at);
                        at = producer;
                    }
                    Missing::RowOf(_) => return Turn::Done,
                }
            }
        }
        Turn::Done
    }

    fn push(&mut self, node: usize) {
        if let Some(slot) = self.waiting.get_mut(self.end % REMEMBERED) {
            *slot = node as u16;
        }
        self.end = self.end.wrapping_add(1);
        self.count = (self.count + 1).min(REMEMBERED);
    }

    fn pop(&mut self) -> Option<usize> {
        self.count = self.count.checked_sub(1)?;
        self.end = self.end.wrapping_sub(1);
        self.waiting.get(self.end % REMEMBERED).map(|&node| node.into())
    }
}

fn is_complete(network: &impl Network, counters: &(impl Counters + ?Sized), at: usize) -> bool {
    let node = network.node(at);
    let (input, output) = (network.tensor(node.input.into()), network.tensor(node.output.into()));
    counters.done(at) >= network.operators().steps(node, input, output)
}

enum Missing {
    Nothing,
    ImageRow,
    RowOf(usize),
}

fn missing(
    network: &impl Network,
    counters: &(impl Counters + ?Sized),
    fed: usize,
    at: usize,
    step: usize,
    operand_first: bool,
) -> Missing {
    let node = network.node(at);
    let (input, output) = (network.tensor(node.input.into()), network.tensor(node.output.into()));
    for is_operand in [operand_first, !operand_first] {
        let index = if is_operand { node.operand } else { node.input };
        if index == NONE {
            continue;
        }
        let needed = match is_operand {
            true => rows::output_rows(node, output, step).end,
            false => network.operators().input_rows(node, input, output, step).end,
        };
        let tensor = network.tensor(index.into());
        if counters.rows_made(network, fed, tensor) < needed {
            return match tensor.producer {
                NONE => Missing::ImageRow,
                producer => Missing::RowOf(producer.into()),
            };
        }
    }
    Missing::Nothing
}
