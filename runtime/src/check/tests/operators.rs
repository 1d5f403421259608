use super::super::rows;
use super::{all_refused, change_node, change_tensor, check, header, judged};
use crate::format::Place;
use crate::format::records::{Node, OpCode, ResizeMode, Run, Segment, Tensor};
use crate::kernels::layout::CANONICAL;
use crate::model::Model;
use crate::testing::{Aligned, Conv, Network, Part, Random, every_operator};

// The nodes of the network with every operator.
const STEM: usize = 0;
const MAX_POOL: usize = 1;
const AFFINE: usize = 2;
const PROLOGUE: usize = 3;
const CONCAT: usize = 4;
const AVERAGE_POOL: usize = 7;
const RESIZE: usize = 8;
const LOOKUP: usize = 9;
const GATE: usize = 10;
const GLOBAL_POOL: usize = 11;
const L2_NORM: usize = 14;
const INSTANCE_NORM: usize = 15;
const RESAMPLE: usize = 16;
const GROUP_NORM: usize = 17;

fn network() -> Network {
    every_operator(9, 7, &CANONICAL)
}

fn with_node(index: usize, change: impl FnOnce(&mut Node)) -> Aligned {
    change_node(network().pack(), index, change)
}

/// With the output of a node changed.
fn with_output(node: usize, change: impl FnOnce(&mut Tensor)) -> Aligned {
    change_tensor(network().pack(), node + 1, change)
}

#[test]
fn what_an_operator_does_not_allow_is_refused() {
    let net = network();
    let op = |node: usize| OpCode::from_code(net.nodes[node].op).unwrap();
    assert_eq!([MAX_POOL, AFFINE, PROLOGUE].map(op), [OpCode::MaxPool, OpCode::Affine, OpCode::Conv]);
    assert_eq!([CONCAT, AVERAGE_POOL, RESIZE].map(op), [OpCode::Concat, OpCode::AveragePool, OpCode::Resize]);
    assert_eq!([LOOKUP, GATE, GLOBAL_POOL].map(op), [OpCode::Lookup, OpCode::Gate, OpCode::GlobalAveragePool]);
    assert_eq!([L2_NORM, INSTANCE_NORM].map(op), [OpCode::L2Norm, OpCode::InstanceNorm]);
    assert_eq!([RESAMPLE, GROUP_NORM].map(op), [OpCode::Resample, OpCode::GroupNorm]);
    let at = Place::Node;
    let outside = u32::MAX - 15;
    let trunk = net.nodes[GATE].operand;
    all_refused(&[
        (with_node(STEM, |n| n.flags = 1), at(STEM), "does not know its flags"),
        (with_node(AVERAGE_POOL, |n| n.flags = 2), at(AVERAGE_POOL), "does not know its flags"),
        (with_node(RESIZE, |n| n.flags = 4), at(RESIZE), "does not know its flags"),
        (with_node(STEM, |n| n.prologue_hi = 1), at(STEM), "bounds of a prologue and no prologue"),
        (with_node(AFFINE, |n| n.prologue = n.requant), at(AFFINE), "only a convolution"),
        (with_node(PROLOGUE, |n| n.prologue_lo = 127), at(PROLOGUE), "the smallest value of its prologue"),
        (with_node(PROLOGUE, |n| n.prologue = outside), at(PROLOGUE), "its prologue lies outside"),
        (with_node(PROLOGUE, |n| n.prologue += 4), at(PROLOGUE), "its prologue lies outside"),
        (with_node(AFFINE, |n| n.operand = 1), at(AFFINE), "takes no second operand"),
        (with_node(MAX_POOL, |n| n.operand = 1), at(MAX_POOL), "takes no second operand"),
        (with_node(AVERAGE_POOL, |n| n.operand = 1), at(AVERAGE_POOL), "takes no second operand"),
        (with_node(LOOKUP, |n| n.operand = 1), at(LOOKUP), "takes no second operand"),
        (with_node(RESIZE, |n| n.operand = 1), at(RESIZE), "takes no second operand"),
        (with_node(GATE, |n| n.operand = u16::MAX), at(GATE), "it has no second operand"),
        (with_node(CONCAT, |n| n.operand = u16::MAX), at(CONCAT), "it has no second operand"),
        (with_node(AFFINE, |n| n.input = 1), at(AFFINE), "an affine cannot change the shape"),
        (with_node(AFFINE, |n| n.requant = outside), at(AFFINE), "its output conversion lies outside"),
        (with_node(MAX_POOL, |n| n.input = 0), at(MAX_POOL), "a pool cannot change the channels"),
        (with_node(MAX_POOL, |n| n.kernel_w = 0), at(MAX_POOL), "the kernel is empty"),
        (with_node(MAX_POOL, |n| n.pad_top = 3), at(MAX_POOL), "a window lies outside the map"),
        (with_node(MAX_POOL, |n| n.stride_w = 3), at(MAX_POOL), "a window lies outside the map"),
        (with_output(MAX_POOL, |t| t.zero_point += 1), at(MAX_POOL), "a maximum cannot change"),
        (with_output(MAX_POOL, |t| t.scale *= 2.0), at(MAX_POOL), "a maximum cannot change"),
        (with_node(AVERAGE_POOL, |n| n.pad_left = 3), at(AVERAGE_POOL), "a window lies outside the map"),
        (with_node(AVERAGE_POOL, |n| n.kernel_h = 255), at(AVERAGE_POOL), "its output conversion lies outside"),
        (with_node(LOOKUP, |n| n.weights_len = 255), at(LOOKUP), "its table"),
        (with_node(LOOKUP, |n| n.weights = outside), at(LOOKUP), "its table"),
        (with_node(LOOKUP, |n| n.input = 1), at(LOOKUP), "a lookup cannot change the shape"),
        (with_node(L2_NORM, |n| n.input = 1), at(L2_NORM), "a norm cannot change the shape"),
        (with_node(L2_NORM, |n| n.operand = 1), at(L2_NORM), "takes no second operand"),
        (with_node(L2_NORM, |n| n.weights_len -= 1), at(L2_NORM), "its channels are not as many numbers"),
        (with_node(L2_NORM, |n| n.weights = outside), at(L2_NORM), "its channels are not as many numbers"),
        (with_node(L2_NORM, |n| n.weights = n.requant), at(L2_NORM), "its channels are not as many numbers"),
        (with_node(INSTANCE_NORM, |n| n.input = 1), at(INSTANCE_NORM), "a norm cannot change the shape"),
        (with_node(INSTANCE_NORM, |n| n.operand_multiplier = 47), at(INSTANCE_NORM), "not an even number in 0..=46"),
        (with_node(INSTANCE_NORM, |n| n.operand_multiplier = 48), at(INSTANCE_NORM), "not an even number in 0..=46"),
        (with_node(INSTANCE_NORM, |n| n.operand_multiplier = -2), at(INSTANCE_NORM), "not an even number in 0..=46"),
        (with_node(GROUP_NORM, |n| n.input = 1), at(GROUP_NORM), "a norm cannot change the shape"),
        (with_node(GROUP_NORM, |n| n.operand_multiplier = 47), at(GROUP_NORM), "not an even number in 0..=46"),
        (with_node(GROUP_NORM, |n| n.weights_len -= 1), at(GROUP_NORM), "its channels are not as many numbers"),
        (with_node(GROUP_NORM, |n| n.weights = n.requant), at(GROUP_NORM), "its channels are not as many numbers"),
        (with_node(GROUP_NORM, |n| n.groups = 0), at(GROUP_NORM), "its groups do not divide its channels"),
        (with_node(GROUP_NORM, |n| n.groups = 7), at(GROUP_NORM), "its groups do not divide its channels"),
        (with_node(GROUP_NORM, |n| n.groups = 13), at(GROUP_NORM), "its groups do not divide its channels"),
        (with_node(GROUP_NORM, |n| n.groups = u16::MAX), at(GROUP_NORM), "its groups do not divide its channels"),
        (with_node(RESAMPLE, |n| n.input = 1), at(RESAMPLE), "a resampling cannot change the channels"),
        (with_node(RESAMPLE, |n| n.flags = 3), at(RESAMPLE), "does not know its flags"),
        (with_node(RESAMPLE, |n| n.operand = 1), at(RESAMPLE), "takes no second operand"),
        (with_node(RESAMPLE, |n| n.kernel_h = 0), at(RESAMPLE), "it weighs nothing"),
        (with_node(RESAMPLE, |n| n.kernel_w += 1), at(RESAMPLE), "its weights are not as many numbers"),
        (with_node(RESAMPLE, |n| n.weights_len -= 4), at(RESAMPLE), "its weights are not as many numbers"),
        (with_node(RESAMPLE, |n| n.weights = outside), at(RESAMPLE), "its weights are not as many numbers"),
        (with_node(RESAMPLE, |n| n.operand_multiplier = 32), at(RESAMPLE), "not in 0..=31"),
        (with_node(RESAMPLE, |n| n.operand_multiplier = -1), at(RESAMPLE), "not in 0..=31"),
        (with_node(GATE, |n| n.operand = 1), at(GATE), "the trunk has another shape"),
        (with_node(GATE, |n| n.input = 1), at(GATE), "the mask is neither"),
        (with_node(GATE, |n| n.operand_multiplier = -256), at(GATE), "not in -255..=32767"),
        (with_node(GATE, |n| n.operand_multiplier = 32768), at(GATE), "not in -255..=32767"),
        (with_node(RESIZE, |n| n.input = 1), at(RESIZE), "a resize cannot change the channels"),
        (with_node(CONCAT, |n| n.operand = 1), at(CONCAT), "do not make up the output's shape"),
        (with_node(CONCAT, |n| n.operand = trunk), at(CONCAT), "its operand does not exist"),
        (with_output(CONCAT, |t| t.zero_point += 1), at(CONCAT), "a concatenation cannot change"),
        (with_output(PROLOGUE, |t| t.scale *= 2.0), at(CONCAT), "a concatenation cannot change"),
    ]);
}

#[test]
fn sums_of_every_operator_are_bounded() {
    let net = network();
    let file = net.pack();
    let nodes = header(&file).nodes as usize;
    let change = |node: usize, section: fn(&Node) -> u32, at: usize, bytes: &[u8]| {
        let mut file = net.pack();
        let at = section(&Node::parse(file[nodes + node * Node::LEN..].first_chunk().unwrap())) as usize + at;
        file[at..at + bytes.len()].copy_from_slice(bytes);
        file.seal();
        check(&file).err().map(|error| error.to_string())
    };
    let overflow = |node| {
        format!("not a valid model: node {node}: its output conversion can overflow, or a shift is not in 32..=62")
    };
    for node in [AFFINE, AVERAGE_POOL, RESIZE, GATE, GLOBAL_POOL, RESAMPLE] {
        for c in [i64::MAX, i64::MIN] {
            assert_eq!(change(node, |n| n.requant, 0, &c.to_le_bytes()), Some(overflow(node)));
        }
        assert_eq!(change(node, |n| n.requant, 8, &i32::MIN.to_le_bytes()), Some(overflow(node)));
        assert_eq!(change(node, |n| n.requant, 8, &(-5i32).to_le_bytes()), None);
        assert_eq!(change(node, |n| n.requant, 12, &31u32.to_le_bytes()), Some(overflow(node)));
    }
    // A numerator is positive; of an L2 norm it has no constant, of an instance or a group norm the epsilon.
    for node in [L2_NORM, INSTANCE_NORM, GROUP_NORM] {
        assert_eq!(change(node, |n| n.requant, 8, &(-5i32).to_le_bytes()), Some(overflow(node)));
        assert_eq!(change(node, |n| n.requant, 0, &i64::MAX.to_le_bytes()), Some(overflow(node)));
        assert_eq!(change(node, |n| n.requant, 0, &(-1i64).to_le_bytes()), Some(overflow(node)));
        assert_eq!(change(node, |n| n.requant, 12, &u32::MAX.to_le_bytes()), None);
    }
    // Weights of rows may add up to less than 2^24; no sum may leave 64 bits, nor 32 without the bits that it loses.
    let fault = |reason: &str| Some(format!("not a valid model: node {RESAMPLE}: {reason}"));
    let rows = "the weights of its rows add up to 2^24 or more";
    assert_eq!(change(RESAMPLE, |n| n.weights, 0, &(1i32 << 24).to_le_bytes()), fault(rows));
    assert_eq!(change(RESAMPLE, |n| n.weights, 0, &i32::MIN.to_le_bytes()), fault(rows));
    let wide = "its sums leave 64 bits, or 32 without those that they lose";
    let last = |n: &Node| n.weights + n.weights_len - 4;
    assert_eq!(change(RESAMPLE, last, 0, &i32::MIN.to_le_bytes()), fault(wide));
    assert_eq!(change(RESAMPLE, last, 0, &(-5i32).to_le_bytes()), None);
    // The last of the conversions of an average pool, for 9 elements.
    assert_eq!(change(AVERAGE_POOL, |n| n.requant, 8 * 16, &i64::MAX.to_le_bytes()), Some(overflow(AVERAGE_POOL)));
    let prologue = "not a valid model: node 3: its prologue can overflow, or a shift is not in 32..=62";
    assert_eq!(change(PROLOGUE, |n| n.prologue, 0, &i64::MAX.to_le_bytes()).as_deref(), Some(prologue));
    assert_eq!(change(PROLOGUE, |n| n.prologue, 12, &63u32.to_le_bytes()).as_deref(), Some(prologue));
    assert_eq!(change(PROLOGUE, |n| n.prologue, 8, &(-5i32).to_le_bytes()), None);
}

#[test]
fn runs_of_a_copy_lie_inside_the_pixels() {
    let run = |from, to, len| Run { from, to, len };
    let copied = |runs: &[Run]| {
        let mut random = Random::new(1);
        let mut net = Network::new(3, 3, 1);
        let a = net.conv(Conv::new(0, 8, 1), &mut random);
        let b = net.copy(a, [3, 3], Part { runs: runs.to_vec(), ..Part::whole(12) });
        net.pool(b);
        net.place();
        check(&net.pack()).err().map(|error| error.to_string())
    };
    assert_eq!(copied(&[run(7, 0, 1), run(0, 1, 8), run(4, 11, 1)]), None);
    let outside = "not a valid model: node 1: a run of channels lies outside the pixels";
    let order = "not a valid model: node 1: its runs of channels are empty or do not follow each other";
    for odd in [run(1, 0, 8), run(0, 5, 8), run(u16::MAX, 0, u16::MAX), run(0, u16::MAX, u16::MAX)] {
        assert_eq!(copied(&[odd]).as_deref(), Some(outside), "{odd:?}");
    }
    assert_eq!(copied(&[run(0, 0, 0)]).as_deref(), Some(order));
    assert_eq!(copied(&[run(0, 0, 4), run(0, 3, 4)]).as_deref(), Some(order));
}

#[test]
fn blocks_are_those_of_the_map() {
    let moved = |shape: (usize, usize, usize), channels: usize| {
        let mut random = Random::new(1);
        let mut net = Network::new(4, 6, 1);
        let a = net.conv(Conv::new(0, 8, 1), &mut random);
        let b = net.blocks(a, shape, channels);
        net.pool(b);
        net.place();
        check(&net.pack()).err().map(|error| error.to_string())
    };
    for (shape, channels) in [((8, 12, 4), 2), ((4, 12, 4), 4), ((2, 2, 48), 8), ((1, 6, 24), 5), ((4, 6, 8), 8)] {
        assert_eq!(moved(shape, channels), None, "{shape:?} {channels}");
    }
    let cover = "not a valid model: node 1: its blocks do not cover the map";
    for shape in [(6, 12, 4), (3, 6, 8), (2, 12, 4), (8, 3, 8)] {
        assert_eq!(moved(shape, 1).as_deref(), Some(cover), "{shape:?}");
    }
    let channels = "not a valid model: node 1: the channels of a block's pixels are not those of a pixel";
    for (shape, own) in [((8, 12, 4), 3), ((8, 12, 4), 0), ((2, 2, 48), 9), ((2, 2, 44), 8), ((8, 12, 4), 65535)] {
        assert_eq!(moved(shape, own).as_deref(), Some(channels), "{shape:?} {own}");
    }
}

#[test]
fn weights_of_a_resize_fit_16_bits() {
    let resized = |size: [usize; 2]| {
        let mut random = Random::new(1);
        let mut net = Network::new(251, 241, 1);
        let a = net.conv(Conv::new(0, 4, 1), &mut random);
        let b = net.resize(a, size, ResizeMode::Asymmetric);
        net.pool(b);
        net.place();
        check(&net.pack()).err().map(|error| error.to_string())
    };
    assert_eq!(resized([256, 100]), None);
    let message = "not a valid model: node 1: the weights of its pixels add up to 65536 or more";
    assert_eq!(resized([256, 256]).as_deref(), Some(message));
}

#[test]
fn group_norms_add_up_what_fits() {
    let normed = |[height, width]: [usize; 2], channels: usize, groups: u16| {
        let mut random = Random::new(1);
        let mut net = Network::new(height, width, 1);
        let a = net.conv(Conv::new(0, channels, 1), &mut random);
        let b = net.group_norm(a, &mut random);
        net.nodes[b - 1].groups = groups;
        net.nodes[b - 1].operand_multiplier = 0;
        net.pool(b);
        net.place();
        check(&net.pack()).err().map(|error| error.to_string())
    };
    // A quarter of the channels only pads.
    let many = "not a valid model: node 1: it averages 65536 pixels or 2097152 values or more";
    assert_eq!(normed([128, 255], 84, 1), None);
    assert_eq!(normed([128, 255], 88, 1).as_deref(), Some(many));
    assert_eq!(normed([128, 255], 88, 2), None);
    // A pool takes fewer.
    assert!(normed([255, 256], 4, 1).is_some_and(|error| error.starts_with("not a valid model: node 2:")));
    assert_eq!(normed([256, 256], 4, 1).as_deref(), Some(many));
}

#[test]
fn rows_of_a_concatenation_are_not_overwritten() {
    let mut net = network();
    net.merge_concats();
    assert!(check(&net.pack()).is_ok());
    let joined = usize::from(net.nodes[CONCAT].output);
    let mut refused = Vec::new();
    for change in [4u32, 8, 12, 4 + 80] {
        let mut net = net.clone();
        net.tensors[joined].offset += change;
        refused.push(check(&net.pack()).is_err());
    }
    assert_eq!(refused, [true; 4]);
    // A ring of fewer rows than the readers of the whole need.
    let rings: Vec<_> = net.ring_of(joined);
    assert_eq!(rings.len(), 5);
    for ring in rings {
        net.tensors[ring].ring_rows = 2;
    }
    assert!(check(&net.pack()).is_err());
}

#[test]
fn views_are_read_by_those_who_can_gather() {
    let mut random = Random::new(2);
    let mut net = Network::new(6, 5, 3);
    net.zero_points = vec![5];
    let first = net.conv(Conv::new(0, 8, 3), &mut random);
    let second = net.conv(Conv::new(first, 4, 3), &mut random);
    let joined = net.concat(first, second);
    let third = net.conv(Conv::new(joined, 4, 3), &mut random);
    let all = net.concat(joined, third);
    let read = net.conv(Conv::new(all, 8, 1), &mut random);
    let sum = net.add(read, first);
    let pooled = net.pool(sum);
    net.conv(Conv::new(pooled, 4, 1), &mut random);
    net.place();
    net.view_concats();
    let node = |tensor: usize| Place::Node(tensor - 1);
    let changed = |tensor: usize, change: fn(&mut Tensor)| change_tensor(net.pack(), tensor, change);
    let moved = "it is a view and has a place of its own";
    assert!(check(&net.pack()).is_ok());
    all_refused(&[
        (changed(joined, |tensor| tensor.offset = 16), Place::Tensor(joined), moved),
        (changed(all, |tensor| tensor.ring_rows = 2), Place::Tensor(all), moved),
        (changed(second, |tensor| tensor.ring_rows = 1), node(third), "it reads a row that has been overwritten"),
        (change_node(net.pack(), all - 1, |node| node.flags = 2), node(all), "does not know its flags"),
        (
            change_node(net.pack(), read - 1, |node| node.op = OpCode::Affine as u8),
            node(read),
            "cannot gather its rows",
        ),
        (change_node(net.pack(), sum - 1, |node| node.operand = 5), node(sum), "its second operand is a view"),
    ]);
}

/// As many residual blocks as ResNet-1202 has convolutions, by segments of 20 nodes or whole maps.
#[test]
fn the_time_of_the_check_follows_from_the_steps() {
    let mut random = Random::new(1);
    let mut net = Network::new(8, 4, 1);
    let mut trunk = net.conv(Conv::new(0, 4, 1), &mut random);
    for _ in 0..1202 {
        let branch = net.conv(Conv::new(trunk, 4, 3), &mut random);
        trunk = net.conv(Conv { residual: Some(trunk), ..Conv::new(branch, 4, 3) }, &mut random);
    }
    net.pool(trunk);
    net.place();
    for nodes in [1u16, 20] {
        let end = net.nodes.len() as u16;
        let segment = |first: u16| Segment { first, end: end.min(first + nodes), operand_first: 1 };
        net.segments = (0..end).step_by(nodes.into()).map(segment).collect();
        let file = net.pack();
        let looks = rows::looks(&judged(Model::from_bytes(&file).unwrap())).unwrap();
        let steps = 8 * u32::from(end);
        assert!(looks < 40 * steps, "{looks} for {steps} steps");
    }
    let mut net = Network::new(1, 1, 1);
    let last = (0..4100).fold(0, |last, _| net.conv(Conv::new(last, 4, 1), &mut random));
    assert_eq!(last, 4100);
    net.place();
    let message = "not a valid model: header: no nodes, or more than 4096";
    assert_eq!(check(&net.pack()).unwrap_err().to_string(), message);
}
