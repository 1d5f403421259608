//! Where every feature map lies in the arena, and in which order the steps run.
//!
//! Maps stream through rings of rows within a segment; what crosses from one segment to the next is kept whole. The
//! planner searches the cuts that need the least memory (`cuts`), follows the schedule that the device will follow to
//! see how many rows each ring keeps and when (`rings`), and gives the rings offsets (`place`).

mod cuts;
mod layers;
mod network;
mod place;
mod rings;
mod timeline;

use cuts::{Cuts, has_bytes, states};
use layers::single_nodes;
use network::Network;
use place::{Span, peak, place};
use rings::{Ring, Simulation};
use skipstone_runtime::format::records::{ALIGNMENT, Node, Segment, Tensor};
use skipstone_runtime::ops;
pub use timeline::{Region, Timeline, layer_by_layer_bytes};

/// A network that has no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The arena would need 2 GiB or more.
    #[error("the network needs an arena of {bytes} bytes, 2 GiB or more")]
    TooLarge {
        /// Bytes needed.
        bytes: usize,
    },
    /// The scores need none of a node's results.
    #[error("the scores do not depend on all nodes: remove those that nothing reads")]
    Unread,
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

/// Plans a network. `tensors` have their shapes, scales and producers, `nodes` their operands and shapes, in the order
/// of execution, and the rows of their steps; the tensor without a producer is the image. What the plan decides is overwritten.
///
/// # Errors
/// [`PlanError`] if the arena does not fit 31 bits.
pub fn plan(mut tensors: Vec<Tensor>, mut nodes: Vec<Node>) -> Result<Plan, PlanError> {
    lay_out_densely(&mut tensors);
    network::choose_views(&mut nodes, &tensors);
    let network = Network::new(&nodes, &tensors);
    let image_rows = usize::from(tensors[network.image].height);
    let layer_by_layer = layers::least_bytes(&nodes, &tensors, image_rows).ok_or(PlanError::Unread)?;
    let mut cuts = Cuts::new(&network);
    let fed = Layout::best(&network, &mut cuts, 0)?;
    let resident = Layout::best(&network, &mut cuts, image_rows)?;
    // The cuts that serve the resident image best may serve rows as they are fed, too.
    let fed =
        Layout::new(&network, resident.segments.clone(), 0).filter(|layout| layout.bytes < fed.bytes).unwrap_or(fed);
    let maps = MapBytes { fed: fed.bytes, resident: resident.bytes, layer_by_layer };

    // Counters and scratch share their bytes with nothing.
    let scratch_len = nodes.iter().map(|node| {
        let (input, output) = (&tensors[usize::from(node.input)], &tensors[usize::from(node.output)]);
        ops::scratch_len(node, input, output)
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
        return Err(PlanError::TooLarge { bytes: arena_bytes });
    }
    let (input_resident_bytes, peak) = (arena(maps.resident).2, fed.peak);
    for tensor in (0..tensors.len()).filter(|&tensor| !has_bytes(&network, tensor)).collect::<Vec<_>>() {
        (tensors[tensor].offset, tensors[tensor].ring_rows) = (0, 1);
    }
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

/// Whole maps without gaps.
pub(crate) fn lay_out_densely(tensors: &mut [Tensor]) {
    for tensor in tensors {
        tensor.pixel_stride = tensor.channels;
        tensor.row_stride = (u32::from(tensor.width) * u32::from(tensor.channels)).next_multiple_of(4);
        tensor.ring_rows = tensor.height;
    }
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
    fn best(network: &Network, cuts: &mut Cuts, image_rows: usize) -> Result<Self, PlanError> {
        let count = network.nodes.len();
        let whole = |operand_first| vec![Segment { first: 0, end: count as u16, operand_first }];
        let simple = [single_nodes(count), whole(0), whole(1)];
        let layouts = simple.into_iter().filter_map(|segments| Self::new(network, segments, image_rows));
        let best = layouts.min_by_key(|layout| layout.bytes).ok_or(PlanError::Unread)?;
        let cut = cuts.search(image_rows, best.peak.bytes);
        let cut = cut.and_then(|segments| Self::new(network, segments, image_rows));
        Ok(cut.into_iter().fold(best, |best, cut| if cut.bytes < best.bytes { cut } else { best }))
    }

    /// `None` if a segment has nodes that its last node does not need.
    fn new(network: &Network, segments: Vec<Segment>, image_rows: usize) -> Option<Self> {
        let mut simulation = Simulation::new(network);
        let rings = simulation.run(&segments, image_rows)?;
        let states: Vec<(usize, usize)> = states(network, 0..network.nodes.len()).collect();
        let mut spans: Vec<Span> = rings.iter().map(|ring| ring.span(network)).collect();
        spans.extend(states.iter().map(|&(node, bytes)| {
            let (first, last) = simulation.span_of_node(node);
            Span { bytes, first, last }
        }));
        let (alive, at) = peak(&spans);
        let node =
            simulation.steps()[..=at.min(simulation.steps().len() - 1)].iter().rev().find_map(|step| match step {
                rings::Step::Node(node) => Some(*node),
                rings::Step::Feed => None,
            });
        let largest = rings.iter().zip(&spans).filter(|(_, span)| span.first <= at && at <= span.last);
        let tensor = largest.max_by_key(|(_, span)| span.bytes).map_or(0, |(ring, _)| ring.tensors[0]);
        let (offsets, bytes) = place(&spans);
        let of_states = &offsets[rings.len()..];
        Some(Self {
            states: states.iter().zip(of_states).map(|(&(node, bytes), &offset)| (node, offset, bytes)).collect(),
            rings: rings.into_iter().zip(offsets).collect(),
            segments,
            bytes,
            peak: Peak { node: node.unwrap_or(0), tensor, bytes: alive },
        })
    }
}

#[cfg(test)]
mod tests;
