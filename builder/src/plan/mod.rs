//! Where every feature map lies in the arena, and in which order the steps run.
//!
//! Maps stream through rings of rows within a segment; what crosses from one segment to the next is kept whole. The
//! planner searches the cuts that need the least memory (`cuts`), follows the schedule that the device will follow to
//! see how many rows each ring keeps and when (`rings`), and gives the rings offsets (`place`).

mod cuts;
mod network;
mod place;
mod rings;

use network::Network;
use place::{Span, peak, place};
use rings::{Before, Ring, Step, rings, schedule};
use skipstone_runtime::format::records::{ALIGNMENT, Node, Segment, Tensor};
use skipstone_runtime::geometry;

/// A network that has no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the network needs an arena of {bytes} bytes, 2 GiB or more")]
pub struct PlanError {
    /// Bytes needed.
    pub bytes: usize,
}

/// Records with addresses, and what they cost.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The tensors, with offset, strides and ring.
    pub tensors: Vec<Tensor>,
    /// The nodes, with their state's place.
    pub nodes: Vec<Node>,
    /// The order of the steps.
    pub segments: Vec<Segment>,
    /// Arena offset of scratch.
    pub scratch: usize,
    /// Bytes of scratch.
    pub scratch_len: usize,
    /// Arena offset of the step counters.
    pub counters: usize,
    /// Bytes of the whole arena: rings, states, counters and scratch. The image is fed row by row.
    pub arena_bytes: usize,
    /// Bytes of the arena of a plan that keeps the whole int8 image until its last reader is done.
    pub input_resident_bytes: usize,
    /// What the maps alone need, by the way in which they are run.
    pub maps: MapBytes,
    /// The most that is alive at once.
    pub peak: Peak,
}

/// Bytes of feature maps and of what nodes keep between steps, without counters and scratch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MapBytes {
    /// Of the plan, whose image is fed row by row.
    pub fed: usize,
    /// Of a plan that keeps the whole image.
    pub resident: usize,
    /// Of a plan that keeps the whole image and runs one node after the other.
    pub layer_by_layer: usize,
}

/// When most bytes of feature maps are alive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peak {
    /// The node that runs then.
    pub node: usize,
    /// The tensor whose ring is the largest then.
    pub tensor: usize,
    /// Bytes alive.
    pub bytes: usize,
}

/// Plans a network. `tensors` have their shapes, scales and producers, `nodes` their operands and shapes, in the order of
/// execution; the tensor without a producer is the image. What the plan decides is overwritten.
///
/// # Errors
/// [`PlanError`] if the arena does not fit 31 bits.
pub fn plan(mut tensors: Vec<Tensor>, mut nodes: Vec<Node>) -> Result<Plan, PlanError> {
    for tensor in &mut tensors {
        tensor.pixel_stride = tensor.channels;
        tensor.row_stride = (u32::from(tensor.width) * u32::from(tensor.channels)).next_multiple_of(4);
        tensor.ring_rows = tensor.height;
    }
    let network = Network::new(&nodes, &tensors);
    let image_rows = usize::from(tensors[network.image].height);
    let layer_by_layer = Layout::new(&network, single_nodes(nodes.len()), image_rows);
    let resident = Layout::best(&network, image_rows);
    let fed = Layout::best(&network, 0);
    let maps = MapBytes { fed: fed.bytes, resident: resident.bytes, layer_by_layer: layer_by_layer.bytes };

    // Counters and scratch are nobody else's at any time.
    let scratch_len = nodes.iter().map(|node| {
        let (input, output) = (&tensors[usize::from(node.input)], &tensors[usize::from(node.output)]);
        geometry::scratch_len(node, input, output)
    });
    let scratch_len = scratch_len.max().unwrap_or(0);
    let counters_len = 2 * nodes.len();
    let arena = |maps: usize| {
        let counters = maps.next_multiple_of(ALIGNMENT);
        let scratch = (counters + counters_len).next_multiple_of(ALIGNMENT);
        (counters, scratch, (scratch + scratch_len).next_multiple_of(ALIGNMENT))
    };
    let (counters, scratch, arena_bytes) = arena(maps.fed);
    if arena_bytes >= 1 << 31 {
        return Err(PlanError { bytes: arena_bytes });
    }
    let (input_resident_bytes, peak) = (arena(maps.resident).2, fed.peak);
    let Layout { segments, rings, states, .. } = fed;
    for (ring, offset) in rings {
        for tensor in ring.tensors {
            (tensors[tensor].offset, tensors[tensor].ring_rows) = (offset as u32, ring.rows as u16);
        }
    }
    for (node, offset, len) in states {
        (nodes[node].state, nodes[node].state_len) = (offset as u32, len as u32);
    }
    Ok(Plan { tensors, nodes, segments, scratch, scratch_len, counters, arena_bytes, input_resident_bytes, maps, peak })
}

fn single_nodes(count: usize) -> Vec<Segment> {
    (0..count as u16).map(|first| Segment { first, end: first + 1, operand_first: 0 }).collect()
}

/// Segments and the places of what they make.
struct Layout {
    segments: Vec<Segment>,
    rings: Vec<(Ring, usize)>,
    /// Node, offset and length of what it keeps between its steps.
    states: Vec<(usize, usize, usize)>,
    /// The end of the highest.
    bytes: usize,
    peak: Peak,
}

impl Layout {
    /// The smallest: with the best cuts, with none, or layer by layer.
    fn best(network: &Network, image_rows: usize) -> Self {
        let count = network.nodes.len();
        let layers = Self::new(network, single_nodes(count), image_rows);
        let whole = |operand_first| vec![Segment { first: 0, end: count as u16, operand_first }];
        let streaming = (0..=1).map(|operand_first| Self::new(network, whole(operand_first), image_rows));
        let cut = cuts::segments(network, image_rows, layers.peak.bytes);
        let cut = cut.map(|segments| Self::new(network, segments, image_rows));
        let smaller = |best: Self, other: Self| if other.bytes < best.bytes { other } else { best };
        cut.into_iter().chain(streaming).fold(layers, smaller)
    }

    fn new(network: &Network, segments: Vec<Segment>, image_rows: usize) -> Self {
        let nothing = vec![0; network.nodes.len()];
        let steps = schedule(network, &segments, &mut nothing.clone(), image_rows);
        let rings = rings(network, &steps, Before { done: &nothing, image_rows });
        let states = states(network, &steps);
        let mut spans: Vec<Span> = rings.iter().map(|ring| ring.span(network)).collect();
        spans.extend(states.iter().map(|(_, span)| *span));
        let (offsets, bytes) = place(&spans);
        let (alive, at) = peak(&spans);
        let node = match steps.get(at) {
            Some(&Step::Node(node)) => node,
            _ => 0,
        };
        let largest = rings.iter().filter(|ring| (ring.first..=ring.last).contains(&at));
        let largest = largest.max_by_key(|ring| ring.span(network).bytes);
        let tensor = largest.and_then(|ring| ring.tensors.first().copied()).unwrap_or(network.image);
        let of_states = offsets[rings.len()..].iter();
        Self {
            states: states.iter().zip(of_states).map(|((node, span), &offset)| (*node, offset, span.bytes)).collect(),
            rings: rings.into_iter().zip(offsets).collect(),
            segments,
            bytes,
            peak: Peak { node, tensor, bytes: alive },
        }
    }
}

/// What nodes keep between their steps: from their first step to their last.
fn states(network: &Network, steps: &[Step]) -> Vec<(usize, Span)> {
    let mut states: Vec<(usize, Span)> = Vec::new();
    for (node, record) in network.nodes.iter().enumerate() {
        let bytes = geometry::state_len(record, &network.tensors[usize::from(record.output)]);
        if bytes > 0 {
            let own = Step::Node(node);
            let first = steps.iter().position(|&step| step == own).unwrap_or(0);
            let last = steps.iter().rposition(|&step| step == own).unwrap_or(steps.len());
            states.push((node, Span { bytes, first, last }));
        }
    }
    states
}

#[cfg(test)]
mod tests;
