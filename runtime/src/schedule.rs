//! The pull rule: which step comes next, without a table.
//!
//! From the segment's last node walk to the first input that lacks a row; where every input is there, make the next
//! step of that node. When the last node is complete, the next segment begins. The order follows from the records
//! alone, so that the host's planner, the check of a model and the engine agree on it step for step.

use crate::arena::Maps;
use crate::format::records::{NONE, Node, Segment, Tensor};
use crate::model::Model;
pub use crate::network::{Counters, Member, Members, Network, Records, is_view, members};
use crate::ops::{self, Operators};
use crate::rows;
use core::ops::Deref;

/// Records with what knows which rows their nodes read.
pub trait Scheduled: Network {
    /// The operators of the nodes.
    fn operators(&self) -> &'static Operators;
}

impl Scheduled for Records<'_> {
    fn operators(&self) -> &'static Operators {
        &ops::ALL
    }
}

impl Scheduled for Model<'_> {
    fn operators(&self) -> &'static Operators {
        &ops::ALL
    }
}

/// A model by the operators of a table.
pub(crate) struct Tabled<'m, T: 'static> {
    pub(crate) model: Model<'m>,
    pub(crate) table: &'static T,
}

impl<'m, T> Deref for Tabled<'m, T> {
    type Target = Model<'m>;
    fn deref(&self) -> &Model<'m> {
        &self.model
    }
}

impl<T> Network for Tabled<'_, T> {
    #[inline(always)]
    fn nodes(&self) -> &[Node] {
        self.model.nodes()
    }
    #[inline(always)]
    fn tensors(&self) -> &[Tensor] {
        self.model.tensors()
    }
    #[inline(always)]
    fn segments(&self) -> &[Segment] {
        self.model.segments()
    }
}

impl<T: AsRef<Operators>> Scheduled for Tabled<'_, T> {
    #[inline(always)]
    fn operators(&self) -> &'static Operators {
        self.table.as_ref()
    }
}

/// Rows that exist after the steps that were counted.
pub trait RowsMade: Counters {
    /// Rows of `tensor` that have been made, overwritten ones included; `fed` of the image.
    #[inline]
    fn rows_made(&self, network: &impl Scheduled, fed: usize, tensor: &Tensor) -> usize {
        if tensor.producer == NONE {
            return fed;
        }
        let producer = usize::from(tensor.producer);
        let node = network.node(producer);
        network.operators().rows_made(node, network.tensor(node.input.into()), tensor, self.done(producer))
    }
}

impl RowsMade for [u16] {}

impl RowsMade for Maps<'_> {}

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
    /// The slot after the last one's.
    end: usize,
    count: usize,
}

impl Pull {
    /// Chooses the next step; `fed` rows of the image have arrived.
    pub fn next(&mut self, network: &impl Scheduled, counters: &mut (impl RowsMade + ?Sized), fed: usize) -> Turn {
        self.next_counted(network, counters, fed, &mut 0)
    }

    /// [`next`](Self::next), which adds the number of nodes that it looked at to `looked`.
    pub fn next_counted(
        &mut self,
        network: &impl Scheduled,
        counters: &mut (impl RowsMade + ?Sized),
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

fn is_complete(network: &impl Scheduled, counters: &(impl RowsMade + ?Sized), at: usize) -> bool {
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
    network: &impl Scheduled,
    counters: &(impl RowsMade + ?Sized),
    fed: usize,
    at: usize,
    step: usize,
    operand_first: bool,
) -> Missing {
    let node = network.node(at);
    let (input, output) = (network.tensor(node.input.into()), network.tensor(node.output.into()));
    for is_operand in [operand_first, !operand_first] {
        let (tensor, needed) = match is_operand {
            true if node.operand == NONE => continue,
            true => (network.tensor(node.operand.into()), rows::output_rows(node, output, step).end),
            false => (input, network.operators().input_rows(node, input, output, step).end),
        };
        if counters.rows_made(network, fed, tensor) < needed {
            return match tensor.producer {
                NONE => Missing::ImageRow,
                producer => Missing::RowOf(producer.into()),
            };
        }
    }
    Missing::Nothing
}
