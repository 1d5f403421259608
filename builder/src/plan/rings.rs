//! How many rows each tensor keeps, and when it is alive, under a schedule.

use super::network::Network;
use super::place::Span;
use skipstone_runtime::format::records::Segment;
use skipstone_runtime::schedule::{Pull, Records, Turn};

/// One entry of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The next row of the image arrives.
    Feed,
    /// The next step of a node.
    Node(usize),
}

/// The order of steps that the pull rule gives for `segments`; `done` counts the steps of nodes in earlier segments.
/// Image rows are fed when they are needed, unless the whole image is there.
pub(super) fn schedule(network: &Network, segments: &[Segment], done: &mut [u16], image_rows: usize) -> Vec<Step> {
    let records = Records { nodes: network.nodes, tensors: network.tensors, segments };
    let (mut pull, mut fed, mut steps) = (Pull::default(), image_rows, Vec::new());
    loop {
        match pull.next(&records, done, fed) {
            Turn::Step { node, .. } => steps.push(Step::Node(node)),
            Turn::NeedsInputRow => {
                fed += 1;
                steps.push(Step::Feed);
            }
            Turn::Done => return steps,
        }
    }
}

/// The ring that one or several tensors share: each of them takes, row by row, the place of the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ring {
    pub(super) tensors: Vec<usize>,
    pub(super) rows: usize,
    /// First and last step during which it is alive, relative to the schedule.
    pub(super) first: usize,
    pub(super) last: usize,
}

impl Ring {
    pub(super) fn span(&self, network: &Network) -> Span {
        Span { bytes: self.rows * network.row_bytes(self.tensors[0]), first: self.first, last: self.last }
    }
}

/// The state of an execution: what was done before the schedule begins.
#[derive(Clone, Copy)]
pub(super) struct Before<'a> {
    /// Steps that each node has taken.
    pub(super) done: &'a [u16],
    /// Rows of the image that are there.
    pub(super) image_rows: usize,
}

/// The rings of all tensors that the schedule makes or reads.
pub(super) fn rings(network: &Network, steps: &[Step], before: Before) -> Vec<Ring> {
    let heads = heads(network, steps, before);
    let mut made: Vec<usize> = vec![0; network.tensors.len()];
    made[network.image] = before.image_rows;
    for (node, &done) in before.done.iter().enumerate().filter(|(_, done)| **done > 0) {
        made[network.output(node)] = network.rows_made(node, done.into());
    }
    let mut done = before.done.to_vec();
    let mut rings: Vec<Option<Ring>> = vec![None; network.tensors.len()];
    let touch = |rings: &mut Vec<Option<Ring>>, tensor: usize, at: usize, there_before: bool| {
        let ring = rings[heads[tensor]].get_or_insert_with(|| {
            let first = if there_before { 0 } else { at };
            Ring { tensors: Vec::new(), rows: 0, first, last: at }
        });
        ring.last = at;
        if !ring.tensors.contains(&tensor) {
            ring.tensors.push(tensor);
            ring.tensors.sort_unstable_by_key(|&tensor| (tensor != heads[tensor], tensor));
        }
    };
    if before.image_rows > 0 {
        // All rows of an image that is there at once have to be kept.
        touch(&mut rings, network.image, 0, true);
        if let Some(ring) = &mut rings[network.image] {
            ring.rows = before.image_rows;
        }
    }
    for (at, step) in steps.iter().enumerate() {
        let (output, rows) = match *step {
            Step::Feed => (network.image, made[network.image] + 1),
            Step::Node(node) => (network.output(node), network.rows_made(node, usize::from(done[node]) + 1)),
        };
        if let Step::Node(node) = *step {
            for tensor in network.reads(node) {
                let there_before = made[tensor] > 0 && rings[heads[tensor]].is_none();
                touch(&mut rings, tensor, at, there_before);
            }
        }
        if rows > made[output] {
            let first_written = made[output];
            made[output] = rows;
            touch(&mut rings, output, at, false);
            if let Some(ring) = &mut rings[heads[output]] {
                let mut oldest = first_written;
                let mut newest = rows;
                for &member in &ring.tensors {
                    let needed = network.first_needed(member, &done, None);
                    if needed < made[member] {
                        oldest = oldest.min(needed);
                    }
                    newest = newest.max(made[member]);
                }
                ring.rows = ring.rows.max(newest - oldest);
            }
        }
        if let Step::Node(node) = *step {
            done[node] += 1;
        }
    }
    let mut rings: Vec<Ring> = rings.into_iter().flatten().collect();
    for ring in &mut rings {
        // A map that was there before and was not added to.
        let kept = ring.tensors.iter().map(|&tensor| {
            let (needed, there) =
                (network.first_needed(tensor, before.done, None), made_before(network, tensor, before));
            there.saturating_sub(needed)
        });
        ring.rows = ring.rows.max(kept.max().unwrap_or(0));
        // The scores stay.
        if ring.tensors.iter().any(|&tensor| network.last_reader(tensor).is_none()) {
            ring.last = steps.len();
        }
    }
    rings
}

fn made_before(network: &Network, tensor: usize, before: Before) -> usize {
    if tensor == network.image {
        return before.image_rows;
    }
    let producer = usize::from(network.tensors[tensor].producer);
    network.rows_made(producer, before.done[producer].into())
}

/// For each tensor the first one of the ring that it lies in: a sum takes the place of its operand where every row of
/// the operand is dead for all others when it is overwritten.
fn heads(network: &Network, steps: &[Step], before: Before) -> Vec<usize> {
    let mut operands: Vec<Option<usize>> = vec![None; network.nodes.len()];
    for step in steps {
        if let Step::Node(node) = *step {
            operands[node] = network.in_place_operand(node);
        }
    }
    let mut done = before.done.to_vec();
    for step in steps {
        let Step::Node(node) = *step else { continue };
        let end = network.rows_made(node, usize::from(done[node]) + 1);
        if operands[node].is_some_and(|operand| network.first_needed(operand, &done, Some(node)) < end) {
            operands[node] = None;
        }
        done[node] += 1;
    }
    let mut heads: Vec<usize> = (0..network.tensors.len()).collect();
    let mut taken = vec![false; network.tensors.len()];
    // Nodes come after those whose outputs they read, so that the head of an operand is final.
    for (node, operand) in operands.into_iter().enumerate() {
        if let Some(operand) = operand.filter(|&operand| !taken[operand]) {
            taken[operand] = true;
            heads[network.output(node)] = heads[operand];
        }
    }
    heads
}
