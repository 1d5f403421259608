//! The check of schedules against its plainest form.

use super::oracle;
use crate::check::{layout, records, rows, sections};
use crate::format::records::{Node, OpCode, Segment};
use crate::kernels::layout::CANONICAL;
use crate::model::Model;
use crate::testing::{Network, Random, every_operator, random_network, small_resnet};

/// Moves and shrinks rings, changes segments and what reads what: of some tensors, by amounts that matter.
fn perturb(net: &mut Network, random: &mut Random) {
    for _ in 0..random.below(4) {
        let (index, other) = (random.below(net.tensors.len()), random.below(net.tensors.len()));
        let there = net.tensors[other];
        let tensor = &mut net.tensors[index];
        let row = tensor.row_stride.max(4);
        match random.below(10) {
            0 | 1 => tensor.ring_rows = (1 + random.below(usize::from(tensor.height))) as u16,
            2 => tensor.offset = tensor.offset.saturating_sub(row * random.below(4) as u32),
            3 => tensor.offset += row * random.below(3) as u32,
            4 => tensor.offset = (tensor.offset + 4 * random.below(12) as u32).saturating_sub(16),
            5 => tensor.offset = there.offset,
            6 => tensor.offset = there.offset + 4 * random.below(6) as u32,
            7 => net.alias(index, other),
            8 => {
                // Slices that reach into what would be the next row's first pixel.
                let tight = u32::from(tensor.width - 1) * u32::from(tensor.pixel_stride) + u32::from(tensor.channels);
                for slice in net.ring_of(index) {
                    let tensor = &mut net.tensors[slice];
                    if tensor.channels < tensor.pixel_stride {
                        tensor.row_stride = tight;
                    }
                }
            }
            _ => {
                (tensor.offset, tensor.ring_rows) = (there.offset, there.ring_rows.min(tensor.height));
            }
        }
    }
    let count = net.nodes.len() as u16;
    match random.below(3) {
        0 => net.segments.clear(),
        _ => {
            let (mut first, mut segments) = (0, Vec::new());
            while first < count {
                let end = (first + 1 + random.below(6) as u16).min(count);
                segments.push(Segment { first, end, operand_first: random.below(2) as u32 });
                first = end;
            }
            net.segments = segments;
        }
    }
}

fn network(seed: u64, random: &mut Random) -> Network {
    let mut net = match random.below(8) {
        0 => small_resnet(1 + random.below(9), 5, &CANONICAL),
        1 => every_operator(6, 5, &CANONICAL),
        _ => random_network(seed),
    };
    match random.below(3) {
        0 => net.merge_concats(),
        1 => net.view_concats(),
        _ => {}
    }
    // As a planner would: sums in the place of their operand.
    for node in net.nodes.clone() {
        let sums = [OpCode::Add, OpCode::Conv, OpCode::Gate].map(|op| op as u8).contains(&node.op);
        if sums && usize::from(node.operand) < net.tensors.len() && random.below(3) == 0 {
            net.alias(node.output.into(), node.operand.into());
        }
    }
    net
}

/// States lie where something else is, too.
fn move_states(bytes: &mut [u8], model_nodes: usize, nodes: usize, random: &mut Random) {
    for index in 0..nodes {
        let at = model_nodes + index * Node::LEN;
        let Some(record) = bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) else { continue };
        let mut node = Node::parse(record);
        if node.state_len > 0 && random.below(2) == 0 {
            node.state = 4 * random.below(1 + node.state as usize / 4) as u32;
            *record = node.emit();
        }
    }
}

#[test]
fn what_is_accepted_is_what_the_plain_rule_accepts() {
    let (mut accepted, mut refused, mut meeting) = (0, 0, 0);
    for seed in 0..30_000 {
        let random = &mut Random::new(seed);
        let mut net = network(seed / 2, random);
        perturb(&mut net, random);
        let mut file = net.pack();
        let header = super::header(&file);
        move_states(&mut file, header.nodes as usize, net.nodes.len(), random);
        let model = super::judged(Model::unchecked(&file).unwrap());
        if sections(&model).is_err() || records(&model).is_err() || layout::check(&model).is_err() {
            continue;
        }
        let (found, expected) = (rows::check(&model), oracle::check(&model.model));
        assert_eq!(found, expected, "seed {seed}");
        match expected {
            Ok(()) => accepted += 1,
            Err(_) => refused += 1,
        }
        meeting += usize::from(
            expected.is_ok()
                && net.tensors.iter().enumerate().any(|(index, tensor)| {
                    net.tensors[..index].iter().any(|other| !crate::rows::are_apart(tensor, other))
                }),
        );
    }
    assert!(accepted > 5000 && refused > 5000 && meeting > 3000, "{accepted} {refused} {meeting}");
}
