//! Where every feature map lies in the arena, and in which order the steps run.
//!
//! This plan runs layer by layer: one segment for each node, every ring with all its rows. Maps whose lifetimes do not
//! meet share bytes, and a residual result takes the place of its operand.

use skipstone_runtime::format::records::{ALIGNMENT, NONE, Node, Segment, Tensor};
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
    /// Bytes of the whole arena when the image is fed row by row.
    pub arena_bytes: usize,
    /// Bytes of the arena of a plan that keeps the whole int8 image until its last reader is done. This plan always
    /// does, so it is `arena_bytes`.
    pub input_resident_bytes: usize,
    /// The most that is alive at once.
    pub peak: Peak,
}

/// When most bytes of feature maps are alive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peak {
    /// The node that runs then.
    pub node: usize,
    /// Bytes of the feature maps alive.
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
    let mut blocks = blocks(&tensors, &nodes);
    let peak = peak(&blocks, nodes.len());
    let maps_end = place(&mut blocks);

    // State, counters and scratch are nobody else's at any time.
    let mut end = maps_end;
    let mut reserve = |len: usize| {
        let start = end.next_multiple_of(ALIGNMENT);
        end = start + len;
        start
    };
    let mut states = Vec::with_capacity(nodes.len());
    let mut scratch_len = 0;
    for node in &nodes {
        let (input, output) = (&tensors[usize::from(node.input)], &tensors[usize::from(node.output)]);
        let state_len = geometry::state_len(node, output);
        states.push((if state_len > 0 { reserve(state_len) } else { 0 }, state_len));
        scratch_len = scratch_len.max(geometry::scratch_len(node, input, output));
    }
    let counters = reserve(2 * nodes.len());
    let scratch = reserve(scratch_len);
    let arena_bytes = end.next_multiple_of(ALIGNMENT);
    if arena_bytes >= 1 << 31 {
        return Err(PlanError { bytes: arena_bytes });
    }
    for (node, (offset, len)) in nodes.iter_mut().zip(states) {
        (node.state, node.state_len) = (offset as u32, len as u32);
    }
    for block in &blocks {
        for &index in &block.tensors {
            tensors[index].offset = block.offset as u32;
        }
    }
    let segments = (0..nodes.len() as u16).map(|first| Segment { first, end: first + 1, operand_first: 0 }).collect();
    let input_resident_bytes = arena_bytes;
    Ok(Plan { tensors, nodes, segments, scratch, scratch_len, counters, arena_bytes, input_resident_bytes, peak })
}

/// Tensors that lie in the same bytes one after the other.
#[derive(Clone, Debug, PartialEq)]
struct Block {
    tensors: Vec<usize>,
    bytes: usize,
    /// First and last node during which it is alive.
    first: usize,
    last: usize,
    offset: usize,
}

/// One block for each tensor, or for a chain of tensors of which each takes the place of the operand that dies where it
/// is made.
fn blocks(tensors: &[Tensor], nodes: &[Node]) -> Vec<Block> {
    let last_use: Vec<usize> = (0..tensors.len())
        .map(|index| {
            let reads = |node: &Node| usize::from(node.input) == index || usize::from(node.operand) == index;
            // What nobody reads is the result, which stays.
            nodes.iter().rposition(reads).unwrap_or(nodes.len())
        })
        .collect();
    let mut blocks: Vec<Block> = Vec::new();
    let mut block_of = vec![usize::MAX; tensors.len()];
    let open = |index: usize, first: usize, block_of: &mut Vec<usize>, blocks: &mut Vec<Block>| {
        let tensor = &tensors[index];
        let bytes = (usize::from(tensor.height) * tensor.row_stride as usize).next_multiple_of(ALIGNMENT);
        block_of[index] = blocks.len();
        blocks.push(Block { tensors: vec![index], bytes, first, last: last_use[index], offset: 0 });
    };
    for index in (0..tensors.len()).filter(|&index| tensors[index].producer == NONE) {
        open(index, 0, &mut block_of, &mut blocks);
    }
    for (position, node) in nodes.iter().enumerate() {
        let (output, operand) = (usize::from(node.output), usize::from(node.operand));
        let in_place = node.operand != NONE
            && node.operand != node.input
            && tensors[operand].producer != NONE
            && last_use[operand] == position
            && shape(&tensors[operand]) == shape(&tensors[output]);
        if in_place {
            let block = block_of[operand];
            block_of[output] = block;
            blocks[block].tensors.push(output);
            blocks[block].last = last_use[output];
        } else {
            open(output, position, &mut block_of, &mut blocks);
        }
    }
    blocks
}

fn shape(tensor: &Tensor) -> (u16, u16, u16) {
    (tensor.height, tensor.width, tensor.channels)
}

fn peak(blocks: &[Block], nodes: usize) -> Peak {
    let alive = |node: usize| blocks.iter().filter(|b| b.first <= node && node <= b.last).map(|b| b.bytes).sum();
    let mut peak = Peak::default();
    for node in 0..nodes {
        let bytes = alive(node);
        if bytes > peak.bytes {
            peak = Peak { node, bytes };
        }
    }
    peak
}

/// Greedy first fit, the largest blocks first. Returns the end of the highest.
fn place(blocks: &mut [Block]) -> usize {
    let mut order: Vec<usize> = (0..blocks.len()).collect();
    order.sort_by_key(|&index| (std::cmp::Reverse(blocks[index].bytes), blocks[index].first, index));
    let mut placed: Vec<usize> = Vec::new();
    for index in order {
        let block = &blocks[index];
        let mut taken: Vec<(usize, usize)> = placed
            .iter()
            .map(|&other| &blocks[other])
            .filter(|other| other.first <= block.last && block.first <= other.last)
            .map(|other| (other.offset, other.offset + other.bytes))
            .collect();
        taken.sort_unstable();
        let mut offset = 0;
        for (start, end) in taken {
            if offset + block.bytes <= start {
                break;
            }
            offset = offset.max(end);
        }
        blocks[index].offset = offset;
        placed.push(index);
    }
    blocks.iter().map(|block| block.offset + block.bytes).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tensor(producer: u16, height: u16, channels: u16) -> Tensor {
        Tensor { height, width: height, channels, producer, scale: 1.0, ..Tensor::default() }
    }

    fn conv(input: u16, operand: u16, output: u16) -> Node {
        let square =
            Node { kernel_h: 3, kernel_w: 3, stride_h: 1, stride_w: 1, pad_top: 1, pad_left: 1, ..Node::default() };
        Node { rows_per_step: 1, groups: 1, pad_bottom: 1, pad_right: 1, input, operand, output, ..square }
    }

    #[test]
    fn a_residual_block_works_in_place() {
        // image -> a -> b, c = conv(b) + a.
        let tensors = vec![tensor(NONE, 8, 3), tensor(0, 8, 16), tensor(1, 8, 16), tensor(2, 8, 16)];
        let nodes = vec![conv(0, NONE, 1), conv(1, NONE, 2), conv(2, 1, 3)];
        let plan = plan(tensors, nodes).unwrap();
        assert_eq!(plan.tensors[3].offset, plan.tensors[1].offset);
        assert_ne!(plan.tensors[2].offset, plan.tensors[1].offset);
        assert_eq!(plan.peak, Peak { node: 1, bytes: 2 * 8 * 8 * 16 });
        assert_eq!(plan.counters, 2048);
        assert_eq!(plan.scratch, 2048 + 16);
        assert_eq!(plan.arena_bytes, plan.scratch + plan.scratch_len);
    }

    #[test]
    fn an_operand_that_is_read_again_keeps_its_place() {
        // c = conv(b) + a, d = conv(c) + a.
        let tensors = (0..5).map(|i: u16| tensor(i.wrapping_sub(1), 4, 4)).collect();
        let nodes = vec![conv(0, NONE, 1), conv(1, NONE, 2), conv(2, 1, 3), conv(3, 1, 4)];
        let plan = plan(tensors, nodes).unwrap();
        assert_ne!(plan.tensors[3].offset, plan.tensors[1].offset);
        assert_eq!(plan.tensors[4].offset, plan.tensors[1].offset);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// Maps that are alive at once share no byte, unless one takes the other's place in the step that ends it.
        #[test]
        fn living_maps_are_apart(
            layers in proptest::collection::vec((any::<prop::sample::Index>(), proptest::option::of(any::<prop::sample::Index>()), 1u16..4), 1..12),
        ) {
            let mut tensors = vec![tensor(NONE, 6, 3)];
            let mut nodes = Vec::new();
            for (index, (input, operand, channels)) in layers.into_iter().enumerate() {
                let input = input.index(tensors.len()) as u16;
                let mut channels = 4 * channels;
                let operand = match operand.map(|o| o.index(tensors.len())) {
                    Some(operand) if operand > 0 => {
                        channels = tensors[operand].channels;
                        operand as u16
                    }
                    _ => NONE,
                };
                nodes.push(conv(input, operand, index as u16 + 1));
                tensors.push(tensor(index as u16, 6, channels));
            }
            let plan = plan(tensors, nodes.clone()).unwrap();
            let mut content: Vec<Option<usize>> = vec![None; plan.arena_bytes];
            let bytes = |index: usize| {
                let t = &plan.tensors[index];
                t.offset as usize..t.offset as usize + usize::from(t.height) * t.row_stride as usize
            };
            content[bytes(0)].fill(Some(0));
            for node in &nodes {
                for read in [node.input, node.operand].into_iter().filter(|&read| read != NONE) {
                    prop_assert!(content[bytes(read.into())].iter().all(|&owner| owner == Some(read.into())));
                }
                if node.operand == NONE || plan.tensors[usize::from(node.operand)].offset != plan.tensors[usize::from(node.output)].offset {
                    for read in [node.input, node.operand].into_iter().filter(|&read| read != NONE) {
                        let (a, b) = (bytes(read.into()), bytes(node.output.into()));
                        prop_assert!(a.end <= b.start || b.end <= a.start);
                    }
                }
                content[bytes(node.output.into())].fill(Some(node.output.into()));
            }
        }
    }
}
