//! Where to cut a network into segments: within one, maps stream row by row; what crosses a cut is kept whole.

use super::network::Network;
use super::place::{Span, peak};
use super::rings::{Before, rings, schedule};
use skipstone_runtime::format::records::Segment;

/// The segments whose greatest need of memory is least, found by dynamic programming over all cuts between nodes; of
/// equal ones the fewest. `bound` is a need that some plan is known to meet.
pub(super) fn segments(network: &Network, image_rows: usize, bound: usize) -> Option<Vec<Segment>> {
    let count = network.nodes.len();
    let crossing = Crossing::new(network);
    // The best way to the cut before each node: greatest need, number of segments, the last segment.
    let mut best: Vec<Option<(usize, usize, Segment)>> = vec![None; count + 1];
    let mut done: Vec<u16> = vec![0; count];
    for first in 0..count {
        if first > 0 {
            done[first - 1] = network.steps(first - 1) as u16;
        }
        let so_far = match best[first] {
            Some((need, segments, _)) => (need, segments),
            None if first == 0 => (0, 0),
            None => continue,
        };
        let ends = first + 1..=count;
        for end in ends {
            if crossing.bytes(end) > bound {
                continue;
            }
            let mut streaming: Option<usize> = None;
            for operand_first in 0..=1 {
                let segment = Segment { first: first as u16, end: end as u16, operand_first };
                let Some(need) = need(network, segment, &mut done, image_rows) else { continue };
                streaming = Some(streaming.map_or(need.streaming, |least| least.min(need.streaming)));
                let total = (so_far.0.max(need.all), so_far.1 + 1);
                let better = best[end].is_none_or(|(need, segments, _)| total < (need, segments));
                if total.0 <= bound && better {
                    best[end] = Some((total.0, total.1, segment));
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
        let (_, _, segment) = best[end]?;
        segments.push(segment);
        end = segment.first.into();
    }
    segments.reverse();
    Some(segments)
}

/// Bytes that a segment needs.
struct Need {
    /// With the whole maps that cross its ends.
    all: usize,
    /// Of the rings that begin and end in it.
    streaming: usize,
}

/// `None` if the segment's last node does not need all the others: the pull rule would leave some of them for later.
/// `done` has the steps of all nodes before the segment, and is left so.
fn need(network: &Network, segment: Segment, done: &mut [u16], image_rows: usize) -> Option<Need> {
    let (first, end) = (usize::from(segment.first), usize::from(segment.end));
    done[first..end].fill(0);
    let height = usize::from(network.tensors[network.image].height);
    let image_is_read = network.last_reader(network.image).is_some_and(|reader| reader >= first);
    let mut after = done.to_vec();
    let steps = schedule(network, &[segment], &mut after, if first > 0 { height } else { image_rows });
    if (first..end).any(|node| usize::from(after[node]) < network.steps(node)) {
        return None;
    }
    let image_rows = match first {
        0 => image_rows,
        _ if image_is_read => height,
        _ => 0,
    };
    let before = Before { done, image_rows };
    let mut spans: Vec<Span> = Vec::new();
    let mut streaming: Vec<Span> = Vec::new();
    let mut seen = vec![false; network.tensors.len()];
    for ring in rings(network, &steps, before) {
        let mut span = ring.span(network);
        let is_before = |tensor: usize| is_made_before(network, tensor, first);
        let is_read_later = |tensor: usize| network.last_reader(tensor).is_none_or(|reader| reader >= end);
        let comes = ring.tensors.iter().any(|&tensor| is_before(tensor));
        let stays = ring.tensors.iter().any(|&tensor| is_read_later(tensor));
        if comes {
            span.first = 0;
        }
        if stays {
            span.last = steps.len();
        }
        if comes || stays {
            span.bytes = network.map_bytes(ring.tensors[0]);
        } else {
            streaming.push(span);
        }
        for tensor in ring.tensors {
            seen[tensor] = true;
        }
        spans.push(span);
    }
    // Maps that pass by: made before, read after, not touched here.
    for (tensor, seen) in seen.into_iter().enumerate() {
        let passes = !seen
            && is_made_before(network, tensor, first)
            && network.last_reader(tensor).is_some_and(|reader| reader >= end);
        if passes {
            spans.push(Span { bytes: network.map_bytes(tensor), first: 0, last: steps.len() });
        }
    }
    Some(Need { all: peak(&spans).0, streaming: peak(&streaming).0 })
}

/// Whether a tensor is made before node `first` begins; the image is not, unless it has been read before.
fn is_made_before(network: &Network, tensor: usize, first: usize) -> bool {
    if tensor == network.image { first > 0 } else { usize::from(network.tensors[tensor].producer) < first }
}

/// Bytes of the maps that are alive at each cut at least.
struct Crossing(Vec<usize>);

impl Crossing {
    fn new(network: &Network) -> Self {
        let mut bytes = vec![0; network.nodes.len() + 1];
        for tensor in 0..network.tensors.len() {
            let made = if tensor == network.image { 0 } else { usize::from(network.tensors[tensor].producer) };
            let Some(last) = network.last_reader(tensor) else { continue };
            for cut in &mut bytes[made + 1..=last] {
                *cut += network.map_bytes(tensor);
            }
        }
        Self(bytes)
    }

    /// Of the maps that cross the cut before node `end`.
    fn bytes(&self, end: usize) -> usize {
        self.0[end]
    }
}
