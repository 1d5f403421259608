//! Where to cut a network into segments: within one, maps stream row by row; what crosses a cut is kept whole.

use super::network::Network;
use super::place::{Span, peak};
use super::rings::Simulation;
use skipstone_runtime::format::records::Segment;
use skipstone_runtime::ops;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

/// Segments of up to so many nodes are all tried; of longer ones, those that end where few bytes cross and a choice of
/// the others.
const DENSE: usize = 60;

/// Searches cuts of one network.
pub(super) struct Cuts<'n> {
    network: &'n Network<'n>,
    simulation: Simulation<'n>,
    /// Bytes of the maps that are alive at the cut before each node.
    crossing: Vec<usize>,
    /// What segments after the first need; that does not depend on how the image arrives.
    known: HashMap<(usize, usize, bool), Option<Need>>,
}

/// Bytes that a segment needs.
#[derive(Clone, Copy)]
struct Need {
    /// With the whole maps that cross its ends.
    all: usize,
    /// Without the rings that begin in it and do not end in it: what each longer segment needs, too.
    streaming: usize,
}

impl<'n> Cuts<'n> {
    pub(super) fn new(network: &'n Network<'n>) -> Self {
        let mut crossing = vec![0; network.nodes.len() + 1];
        for tensor in (0..network.tensors.len()).filter(|&tensor| has_bytes(network, tensor)) {
            let made = network.producer(tensor).unwrap_or(0);
            let Some(last) = network.last_reader(tensor) else { continue };
            for cut in &mut crossing[made + 1..=last] {
                *cut += network.map_bytes(tensor);
            }
        }
        Self { network, simulation: Simulation::new(network), crossing, known: HashMap::new() }
    }

    /// The segments whose greatest need of memory is least, if that is not more than `bound`.
    ///
    /// The cuts are the nodes of a graph and the segments its edges: from the cut that is reached with the least need,
    /// of several the furthest, all segments are tried until even their streaming rows need too much.
    pub(super) fn search(&mut self, image_rows: usize, mut bound: usize) -> Option<Vec<Segment>> {
        let count = self.network.nodes.len();
        let mut best: Vec<Option<(usize, Segment)>> = vec![None; count + 1];
        let mut settled = vec![false; count + 1];
        let mut reached = BinaryHeap::from([(Reverse(0), 0)]);
        while let Some((Reverse(so_far), first)) = reached.pop() {
            if first == count {
                break;
            }
            if std::mem::replace(&mut settled[first], true) {
                continue;
            }
            for end in first + 1..=count {
                if settled[end] || self.crossing[end] > bound || !self.is_tried(first, end) {
                    continue;
                }
                let mut streaming: Option<usize> = None;
                for operand_first in [true, false] {
                    let Some(need) = self.need(first, end, operand_first, image_rows) else { continue };
                    streaming = Some(streaming.map_or(need.streaming, |least| least.min(need.streaming)));
                    let total = so_far.max(need.all);
                    if total <= bound && best[end].is_none_or(|(need, _)| total < need) {
                        let operand_first = operand_first.into();
                        best[end] = Some((total, Segment { first: first as u16, end: end as u16, operand_first }));
                        reached.push((Reverse(total), end));
                        if end == count {
                            bound = total;
                        }
                    }
                    if total == so_far {
                        break;
                    }
                }
                // A longer segment keeps at least the rows that this one keeps.
                if streaming.is_some_and(|least| least > bound) {
                    break;
                }
            }
        }
        let mut segments = Vec::new();
        let mut end = count;
        while end > 0 {
            let (_, segment) = best[end]?;
            segments.push(segment);
            end = segment.first.into();
        }
        segments.reverse();
        Some(segments)
    }

    /// Whether the segment `first..end` is worth a try.
    fn is_tried(&self, first: usize, end: usize) -> bool {
        let length = end - first;
        // Before a view or after it is the same.
        if end < self.network.nodes.len() && self.network.is_view(end) {
            return false;
        }
        let least = |cut: &usize| self.crossing[end] < self.crossing[*cut];
        length <= DENSE
            || end + 1 == self.crossing.len()
            || length.is_multiple_of(length.ilog2() as usize)
            || [end - 1, end + 1].iter().all(least)
    }

    fn need(&mut self, first: usize, end: usize, operand_first: bool, image_rows: usize) -> Option<Need> {
        if first == 0 {
            return self.follow(first, end, operand_first, image_rows);
        }
        if let Some(&known) = self.known.get(&(first, end, operand_first)) {
            return known;
        }
        let need = self.follow(first, end, operand_first, usize::from(self.network.tensors[self.network.image].height));
        self.known.insert((first, end, operand_first), need);
        need
    }

    fn follow(&mut self, first: usize, end: usize, operand_first: bool, image_rows: usize) -> Option<Need> {
        let network = self.network;
        let segment = Segment { first: first as u16, end: end as u16, operand_first: operand_first.into() };
        let rings = self.simulation.run(&[segment], image_rows)?;
        let mut spans: Vec<Span> = Vec::with_capacity(rings.len() + 1);
        let mut streaming: Vec<Span> = Vec::with_capacity(rings.len());
        // Maps that are made before and read later and not touched here stay all the time.
        let mut passing = self.crossing[first];
        for ring in rings {
            let mut span = ring.span(network);
            let is_before = |tensor: usize| network.producer(tensor).map_or(first > 0, |producer| producer < first);
            let is_read_later = |tensor: usize| network.last_reader(tensor).is_none_or(|reader| reader >= end);
            let comes = ring.tensors.iter().any(|&tensor| is_before(tensor));
            let stays = ring.tensors.iter().any(|&tensor| is_read_later(tensor));
            if comes {
                (span.first, span.bytes) = (0, network.map_bytes(ring.tensors[0]));
            }
            if comes || !stays {
                streaming.push(span);
            } else {
                span.bytes = network.map_bytes(ring.tensors[0]);
            }
            let before = ring.tensors.iter().filter(|&&tensor| is_before(tensor));
            passing -= before.map(|&tensor| network.map_bytes(tensor)).sum::<usize>();
            spans.push(span);
        }
        let steps = self.simulation.steps().len();
        let passing = Span { bytes: passing, first: 0, last: steps };
        spans.push(passing);
        streaming.push(passing);
        for (node, bytes) in states(network, first..end) {
            let (first, last) = self.simulation.span_of_node(node);
            spans.push(Span { bytes, first, last });
        }
        Some(Need { all: peak(&spans).0, streaming: peak(&streaming).0 })
    }
}

/// The nodes that keep something between their steps, and how many bytes.
pub(super) fn states<'n>(
    network: &'n Network,
    nodes: std::ops::Range<usize>,
) -> impl Iterator<Item = (usize, usize)> + use<'n> {
    let bytes = |node: usize| ops::state_len(&network.nodes[node], &network.tensors[network.output(node)]);
    nodes.map(move |node| (node, bytes(node))).filter(|(_, bytes)| *bytes > 0)
}

/// Whether a tensor has bytes of its own.
pub(super) fn has_bytes(network: &Network, tensor: usize) -> bool {
    network.producer(tensor).is_none_or(|producer| !network.is_view(producer))
}
