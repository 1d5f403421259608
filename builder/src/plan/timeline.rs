//! What lies where in the arena, and when: a packed model's plan, read back from its records.

use super::layers;
use skipstone_runtime::Model;
use skipstone_runtime::format::records::{NONE, Node, Tensor};
use skipstone_runtime::schedule::{Pull, Turn, members};
use skipstone_runtime::{ops, rows};

/// The arena while one image is classified, whose rows are fed when they are needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeline {
    /// Rings of rows and what nodes keep between their steps, by their places.
    pub regions: Vec<Region>,
    /// Number of steps, rows of the image that arrive among them.
    pub steps: usize,
    /// The step after each segment's last.
    pub segment_ends: Vec<usize>,
    /// The first step at which most bytes are alive.
    pub peak_step: usize,
    /// The node that runs then, or next.
    pub peak_node: usize,
    /// Bytes alive then.
    pub peak_bytes: usize,
}

/// Bytes of the arena that hold something from one step to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// The tensors whose rows it keeps, each in the place of the one before; none if it keeps a node's state.
    pub tensors: Vec<usize>,
    /// The node that makes the first of them, or that keeps its state there; `None` for the image.
    pub node: Option<usize>,
    /// Arena offset.
    pub offset: usize,
    /// Length.
    pub bytes: usize,
    /// First and last step, both included, at which it is alive.
    pub first: usize,
    /// See `first`.
    pub last: usize,
}

impl Region {
    /// Whether it holds something at `step`.
    pub fn is_alive(&self, step: usize) -> bool {
        self.first <= step && step <= self.last
    }
}

impl Timeline {
    /// Follows the schedule of a model.
    pub fn new(model: &Model<'_>) -> Self {
        let nodes: Vec<Node> = model.nodes().to_vec();
        let tensors: Vec<Tensor> = model.tensors().to_vec();
        let mut alive: Vec<Option<(usize, usize)>> = vec![None; tensors.len()];
        let mut states: Vec<Option<(usize, usize)>> = vec![None; nodes.len()];
        let extend = |span: &mut Option<(usize, usize)>, at: usize| {
            *span = Some(span.map_or((at, at), |(first, _)| (first, at)));
        };
        let mut counters = vec![0u16; nodes.len()];
        let (mut pull, mut fed, mut at, mut running) = (Pull::default(), 0, 0, Vec::new());
        let mut segment_ends: Vec<usize> = vec![0; model.segments().len()];
        let ends: Vec<usize> = model.segments().iter().map(|segment| segment.end.into()).collect();
        loop {
            match pull.next(model, counters.as_mut_slice(), fed) {
                Turn::NeedsInputRow => {
                    extend(&mut alive[usize::from(model.header().input)], at);
                    fed += 1;
                }
                Turn::Step { node, step } => {
                    let record = &nodes[node];
                    if !rows::is_view(record) {
                        for operand in [record.input, record.operand].into_iter().filter(|&operand| operand != NONE) {
                            members(model, operand)
                                .for_each(|member| extend(&mut alive[usize::from(member.index)], at));
                        }
                        let [input, output] = [record.input, record.output].map(|tensor| &tensors[usize::from(tensor)]);
                        let made = |done| ops::rows_made(record, input, output, done);
                        if made(step + 1) > made(step) {
                            extend(&mut alive[usize::from(record.output)], at);
                        }
                    }
                    if record.state_len > 0 {
                        extend(&mut states[node], at);
                    }
                    running.push((at, node));
                    let segment = ends.partition_point(|&end| end <= node);
                    segment_ends[segment] = at + 1;
                }
                Turn::Done => break,
            }
            at += 1;
        }
        if let Some((_, last)) = &mut alive[usize::from(model.header().output)] {
            *last = at.saturating_sub(1);
        }
        let mut regions = rings(&nodes, &tensors, &alive);
        regions.extend(states.iter().enumerate().filter_map(|(node, span)| {
            let (first, last) = (*span)?;
            let (offset, bytes) = (nodes[node].state as usize, nodes[node].state_len as usize);
            Some(Region { tensors: Vec::new(), node: Some(node), offset, bytes, first, last })
        }));
        regions.sort_by_key(|region| (region.offset, region.first));
        let bytes_at = |step: usize| regions.iter().filter(|r| r.is_alive(step)).map(|r| r.bytes).sum::<usize>();
        let begins = regions.iter().map(|region| region.first);
        let peak_step = begins.max_by_key(|&step| (bytes_at(step), usize::MAX - step)).unwrap_or(0);
        let next = running.iter().find(|(at, _)| *at >= peak_step);
        let (peak_node, peak_bytes) = (next.map_or(0, |(_, node)| *node), bytes_at(peak_step));
        Self { regions, steps: at, segment_ends, peak_step, peak_node, peak_bytes }
    }

    /// The largest of those that are alive when most bytes are.
    pub fn peak_region(&self) -> Option<&Region> {
        self.regions.iter().filter(|region| region.is_alive(self.peak_step)).max_by_key(|region| region.bytes)
    }
}

/// Bytes of feature maps of the best plan that runs `model` layer by layer and keeps the whole image.
pub fn layer_by_layer_bytes(model: &Model<'_>) -> usize {
    let nodes: Vec<Node> = model.nodes().to_vec();
    let mut tensors: Vec<Tensor> = model.tensors().to_vec();
    super::lay_out_densely(&mut tensors);
    layers::least_bytes(&nodes, &tensors, model.input().height.into()).unwrap_or(0)
}

/// Tensors that lie in one place, each over its operand, are one region.
fn rings(nodes: &[Node], tensors: &[Tensor], alive: &[Option<(usize, usize)>]) -> Vec<Region> {
    let mut regions: Vec<Region> = Vec::new();
    let mut places: Vec<Option<usize>> = vec![None; tensors.len()];
    let image = tensors.iter().position(|tensor| tensor.producer == NONE);
    let outputs = nodes.iter().enumerate().map(|(node, record)| (usize::from(record.output), Some(node)));
    for (tensor, node) in image.map(|image| (image, None)).into_iter().chain(outputs) {
        let Some((first, last)) = alive[tensor] else { continue };
        let ring = &tensors[tensor];
        let operand = node.map_or(NONE, |node| nodes[node].operand);
        let under = (operand != NONE).then(|| places[usize::from(operand)]).flatten().filter(|_| {
            let other = &tensors[usize::from(operand)];
            rows::same_row(other, ring, 0) && other.ring_rows == ring.ring_rows
        });
        places[tensor] = Some(under.unwrap_or(regions.len()));
        match under {
            Some(region) => {
                let region = &mut regions[region];
                region.tensors.push(tensor);
                (region.first, region.last) = (region.first.min(first), region.last.max(last));
            }
            None => {
                let bytes = usize::from(ring.ring_rows) * ring.row_stride as usize;
                let offset = ring.offset as usize;
                regions.push(Region { tensors: vec![tensor], node, offset, bytes, first, last });
            }
        }
    }
    regions
}
