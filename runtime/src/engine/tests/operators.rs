use crate::engine::{Engine, Made};
use crate::format::records::{OpCode, ResizeMode, Segment};
use crate::kernels::layout::{CANONICAL, PAIRS};
use crate::kernels::reference;
use crate::model::Model;
use crate::testing::{
    Aligned, Conv, Network, Random, Window, every_operator, image, random_network, runs_as_defined, shrink_rings,
};
use proptest::prelude::*;

/// Whole maps, then slices of concatenations, then rings of as few rows as the check allows.
fn runs_however_it_lies(mut net: Network) {
    assert!(runs_as_defined(&net).contains(&"reference"));
    let mut views = net.clone();
    views.view_concats();
    assert!(runs_as_defined(&views).contains(&"reference"));
    shrink_rings(&mut views);
    assert!(runs_as_defined(&views).contains(&"reference"));
    net.merge_concats();
    assert!(runs_as_defined(&net).contains(&"reference"));
    shrink_rings(&mut net);
    assert!(runs_as_defined(&net).contains(&"reference"));
}

#[test]
fn every_operator_gives_what_it_defines() {
    for (height, width) in [(9, 7), (12, 5), (4, 4), (1, 6), (6, 1), (1, 1)] {
        for layout in [&CANONICAL, &PAIRS] {
            runs_however_it_lies(every_operator(height, width, layout));
        }
    }
}

#[test]
fn every_operator_streams() {
    let mut net = every_operator(12, 9, &CANONICAL);
    net.merge_concats();
    shrink_rings(&mut net);
    // The image, the pool's windows, the affine, the concatenations and their members, the windows of the mask, the mask.
    let rings: Vec<_> = net.tensors.iter().map(|t| t.ring_rows).collect();
    assert_eq!(rings[..11], [3, 3, 4, 1, 4, 4, 4, 4, 2, 1, 1], "of 12 rows");
    // The trunk of a gate of one pixel waits for the pixel.
    assert_eq!(rings[11], 6);
    runs_as_defined(&net);
}

#[test]
fn segments_and_orders_give_the_same() {
    let mut net = every_operator(9, 7, &CANONICAL);
    net.merge_concats();
    net.segments = (0..net.nodes.len() as u16)
        .map(|node| Segment { first: node, end: node + 1, operand_first: u32::from(node % 2) })
        .collect();
    runs_as_defined(&net);
    let end = net.nodes.len() as u16;
    net.segments = vec![Segment { first: 0, end, operand_first: 0 }];
    runs_as_defined(&net);
    shrink_rings(&mut net);
    runs_as_defined(&net);
}

/// A concatenation of which one operand lies in the result and the other does not.
#[test]
fn half_of_a_concatenation_is_copied() {
    let mut random = Random::new(3);
    for in_place in [0, 1] {
        let mut net = Network::new(6, 5, 3);
        net.zero_points = vec![5];
        let a = net.conv(Conv::new(0, 8, 3), &mut random);
        let b = net.conv(Conv::new(a, 4, 3), &mut random);
        let joined = net.concat(a, b);
        let c = net.conv(Conv::new(joined, 8, 3), &mut random);
        let sum = net.add(c, a);
        let pooled = net.pool(sum);
        net.conv(Conv::new(pooled, 4, 1), &mut random);
        net.place();
        let (member, before) = [(a, 0), (b, 8)][in_place];
        net.alias(member, joined);
        net.tensors[member].offset += before;
        runs_as_defined(&net);
        shrink_rings(&mut net);
        runs_as_defined(&net);
        // The first operand's place is the second's: one would be written over the other.
        net.tensors[member].offset = net.tensors[joined].offset + 8 - before;
        assert!(Model::from_bytes(&net.pack()).is_err());
    }
}

/// A dense block: each layer reads all that were before it.
#[test]
fn members_of_views_keep_only_what_is_read_of_them() {
    for layout in [&CANONICAL, &PAIRS] {
        let mut random = Random::new(4);
        let mut net = Network::new(12, 5, 3);
        net.zero_points = vec![5];
        let mut joined = net.conv(Conv { layout, ..Conv::new(0, 8, 3) }, &mut random);
        let mut members = vec![joined];
        for layer in 0..3 {
            let prologue = layer != 1;
            let bottleneck = net.conv(Conv { layout, prologue, ..Conv::new(joined, 12, 1) }, &mut random);
            members.push(net.conv(Conv { layout, ..Conv::new(bottleneck, 4, 3) }, &mut random));
            joined = net.concat(joined, members[layer + 1]);
        }
        let whole = net.conv(Conv { layout, prologue: true, ..Conv::new(joined, 8, 3) }, &mut random);
        let pooled = net.pool(whole);
        net.conv(Conv { layout, ..Conv::new(pooled, 4, 1) }, &mut random);
        net.place();
        net.view_concats();
        assert_eq!(net.nodes.iter().filter(|node| crate::rows::is_view(node)).count(), 3);
        runs_as_defined(&net);
        shrink_rings(&mut net);
        let rows: Vec<_> = members.iter().map(|&member| net.tensors[member].ring_rows).collect();
        assert_eq!(rows, [6, 5, 4, 3]);
        runs_as_defined(&net);
    }
}

#[test]
fn pools_count_what_lies_inside() {
    let windows = [
        Window { ceil: true, ..Window::new(3, 2, 0) },
        Window { ceil: true, ..Window::new(3, 3, 1) },
        Window { pads: [0, 1, 2, 0], ..Window::new(3, 1, 0) },
        Window { kernel: [1, 4], stride: [2, 1], pads: [0, 2, 0, 3], ceil: false },
        Window::new(6, 1, 5),
    ];
    for window in windows {
        for flags in [0, 1] {
            let mut random = Random::new(5);
            let mut net = Network::new(6, 7, 3);
            let a = net.conv(Conv::new(0, 20, 1), &mut random);
            let pooled = net.average_pool(a, window, flags).unwrap();
            let pooled = net.max_pool(pooled, Window { stride: [1, 1], ..window }, flags).unwrap_or(pooled);
            let pooled = net.pool(pooled);
            net.conv(Conv::new(pooled, 4, 1), &mut random);
            net.place();
            runs_however_it_lies(net);
        }
    }
}

#[test]
fn maps_are_resized_to_any_size() {
    for mode in [ResizeMode::AlignCorners, ResizeMode::HalfPixel, ResizeMode::Asymmetric, ResizeMode::Nearest] {
        for (from, to) in [([1, 1], [5, 3]), ([5, 3], [1, 1]), ([2, 7], [4, 14]), ([8, 6], [3, 4]), ([3, 3], [3, 3])] {
            let mut random = Random::new(5);
            let mut net = Network::new(from[0], from[1], 3);
            let a = net.conv(Conv::new(0, 20, 1), &mut random);
            let resized = net.resize(a, to, mode);
            let pooled = net.pool(resized);
            net.conv(Conv::new(pooled, 4, 1), &mut random);
            net.place();
            runs_however_it_lies(net);
        }
    }
}

#[test]
fn random_networks_run_every_operator() {
    let mut runs = [0; OpCode::ALL.len()];
    for seed in 0..120 {
        let net = random_network(seed);
        let file = net.pack();
        let model = Model::from_bytes(&file).unwrap();
        let mut arena = Aligned::zeroed(model.arena_len());
        let mut engine = Engine::with_backend(&model, &mut arena, &reference::BACKEND).unwrap();
        let mut ran = std::collections::BTreeSet::new();
        let mut observe = |made: Made<'_>| ran.extend([made.node]);
        engine.run_observed(&image(&net, 1), &mut observe).unwrap();
        ran.iter().for_each(|&node| runs[usize::from(net.nodes[node].op)] += 1);
    }
    assert!(runs.iter().all(|&runs| runs > 10), "{runs:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_networks_give_what_their_operators_define(seed in any::<u64>()) {
        runs_however_it_lies(random_network(seed));
    }
}
