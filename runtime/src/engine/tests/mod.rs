mod operators;

use super::{Engine, EngineError, InputError, Program, Ranked};
use crate::format::records::{NONE, Segment, Tensor};
use crate::kernels::layout::{CANONICAL, PAIRS};
use crate::kernels::{portable, reference};
use crate::model::Model;
use crate::ops::{Operators, add};
use crate::testing::{Aligned, Conv, Network, Random, image, runs_as_defined, shrink_rings, small_resnet};

#[test]
fn whole_maps_give_what_the_operators_define() {
    let ran = runs_as_defined(&small_resnet(9, 7, &CANONICAL));
    assert!(ran.contains(&"portable") && ran.contains(&"reference"), "{ran:?}");
}

#[test]
fn rings_of_few_rows_give_the_same() {
    let mut net = small_resnet(12, 5, &CANONICAL);
    let whole: u32 = net.tensors.iter().map(|t| u32::from(t.ring_rows) * t.row_stride).sum();
    shrink_rings(&mut net);
    let rings: Vec<_> = net.tensors.iter().map(|t| t.ring_rows).collect();
    assert_eq!(&rings[..3], [3, 5, 3], "image, residual in place, first convolution of a block");
    net.place();
    net.alias(3, 1);
    let shrunk: u32 = net.tensors.iter().map(|t| u32::from(t.ring_rows) * t.row_stride).sum();
    assert!(2 * shrunk < whole, "{shrunk} of {whole}");
    assert!(runs_as_defined(&net).contains(&"portable"));
}

#[test]
fn a_ring_one_row_too_small_is_refused() {
    let mut net = small_resnet(12, 5, &CANONICAL);
    shrink_rings(&mut net);
    for index in (0..net.tensors.len()).filter(|&index| net.tensors[index].ring_rows > 1) {
        let mut smaller = net.clone();
        smaller.tensors[index].ring_rows -= 1;
        assert!(Model::from_bytes(&smaller.pack()).is_err(), "tensor {index}");
    }
}

#[test]
fn segments_give_the_same() {
    let mut net = small_resnet(9, 7, &CANONICAL);
    net.segments = (0..net.nodes.len() as u16)
        .map(|node| Segment { first: node, end: node + 1, operand_first: u32::from(node % 2) })
        .collect();
    assert!(runs_as_defined(&net).contains(&"portable"));
}

#[test]
fn steps_of_several_rows_give_the_same() {
    for (height, rows) in [(8, 2), (9, 2), (9, 3), (10, 4), (19, 8)] {
        let mut net = small_resnet(height, 6, &CANONICAL);
        for node in &mut net.nodes {
            let output = net.tensors[usize::from(node.output)];
            node.rows_per_step = if node.op == 2 || output.height == 1 { 1 } else { rows };
        }
        assert!(runs_as_defined(&net).contains(&"portable"));
        shrink_rings(&mut net);
        assert!(net.tensors[0].ring_rows < height as u16);
        assert!(runs_as_defined(&net).contains(&"portable"));
    }
}

#[test]
fn pairs_give_the_same_and_need_a_backend_that_reads_them() {
    let net = small_resnet(9, 7, &PAIRS);
    let ran = runs_as_defined(&net);
    assert!(ran.contains(&"reference") && !ran.contains(&"portable"), "{ran:?}");
    let file = net.pack();
    let model = Model::from_bytes(&file).unwrap();
    let refused = Engine::with_backend(&model, &mut Aligned::zeroed(model.arena_len()), &portable::BACKEND).err();
    assert_eq!(refused, Some(EngineError::NoKernel { node: 0, backend: "portable" }));

    static SUMS: Operators = Operators::of(&[&add::OPERATOR]);
    let program = Program { operators: &SUMS, backend: &reference::BACKEND };
    let refused = Engine::with_program(&model, &mut Aligned::zeroed(model.arena_len()), program).err().unwrap();
    assert_eq!(refused, EngineError::NoOperator { node: 0, operator: 0 });
    assert!(refused.to_string().contains("without the convolution that node 0 needs"), "{refused}");
}

/// Two convolutions write neighbouring channels of one buffer, a third adds a slice to its own, all read slices.
#[test]
fn slices_of_a_concatenation_are_read_and_written() {
    let mut random = Random::new(3);
    let mut net = Network::new(6, 5, 4);
    let a = net.conv(Conv::new(0, 8, 3), &mut random);
    let b = net.conv(Conv::new(a, 4, 3), &mut random);
    let c = net.conv(Conv { residual: Some(b), ..Conv::new(a, 4, 3) }, &mut random);
    let d = net.add(c, b);
    let pooled = net.pool(d);
    net.conv(Conv::new(pooled, 4, 1), &mut random);
    let wide = [(a, 8), (b, 16), (c, 4), (d, 0)];
    for &(index, _) in &wide {
        net.tensors[index].pixel_stride = 20;
    }
    net.place();
    let start = net.tensors[a].offset;
    for &(index, channel) in &wide {
        net.tensors[index].offset = start + channel;
    }
    assert!(runs_as_defined(&net).contains(&"portable"));

    // Overlapping slices are refused.
    net.tensors[c].offset = start + 6 + 8;
    assert!(Model::from_bytes(&net.pack()).is_err());
    net.tensors[c].offset = start + 12;
    assert!(Model::from_bytes(&net.pack()).is_err());
}

/// A first layer of stride 2 does not need the last row of the image.
#[test]
fn rows_that_nothing_needs_are_taken_and_ignored() {
    let mut random = Random::new(5);
    let mut net = Network::new(8, 8, 3);
    let a = net.conv(Conv { stride: 2, pad: 0, ..Conv::new(0, 4, 1) }, &mut random);
    net.conv(Conv { pad: 0, ..Conv::new(a, 4, 4) }, &mut random);
    net.place();
    assert!(runs_as_defined(&net).contains(&"portable"));
}

#[cfg(feature = "profile")]
#[test]
fn every_step_is_watched_from_its_begin_to_its_end() {
    use super::Moment;
    use crate::schedule::Network as _;
    use std::cell::RefCell;
    thread_local! { static SEEN: RefCell<Vec<(usize, Moment)>> = const { RefCell::new(Vec::new()) } }

    let file = small_resnet(9, 7, &CANONICAL).pack();
    let model = Model::from_bytes(&file).unwrap();
    let mut arena = Aligned::zeroed(model.arena_len());
    let mut engine = Engine::new(&model, &mut arena).unwrap();
    engine.watch_steps(|node, moment| SEEN.with_borrow_mut(|seen| seen.push((node, moment))));
    engine.run(&[0; 9 * 7 * 4][..9 * 7 * usize::from(model.input().channels)]).unwrap();

    let seen = SEEN.take();
    for step in seen.chunks(2) {
        assert_eq!(step, [(step[0].0, Moment::Begin), (step[0].0, Moment::End)]);
    }
    for (index, node) in model.nodes().iter().enumerate() {
        let tensor = |index: u16| model.tensor(index.into());
        let steps = crate::ops::steps(node, tensor(node.input), tensor(node.output));
        assert_eq!(seen.iter().filter(|(node, _)| *node == index).count(), 2 * steps, "node {index}");
    }
}

#[test]
fn two_engines_share_a_model() {
    let net = small_resnet(9, 7, &CANONICAL);
    let file = net.pack();
    let model = Model::from_bytes(&file).unwrap();
    let (mut one, mut two) = (Aligned::zeroed(model.arena_len()), Aligned::zeroed(model.arena_len() + 5));
    let mut one = Engine::new(&model, &mut one).unwrap();
    let mut two = Engine::new(&model, &mut two).unwrap();
    let (first, second) = (image(&net, 1), image(&net, 2));
    for (a, b) in first.chunks(21).zip(second.chunks(21)) {
        one.feed_row(a).unwrap();
        two.feed_row(b).unwrap();
    }
    let last = net.tensors.len() - 1;
    assert_eq!(one.scores(), &net.naive(&first)[last][..10]);
    assert_eq!(two.scores(), &net.naive(&second)[last][..10]);
    let int8 = &net.naive(&second)[0];
    assert_eq!(one.run_int8(int8).unwrap(), two.scores());
}

#[test]
fn an_interrupted_image_is_forgotten() {
    let net = small_resnet(9, 7, &CANONICAL);
    let file = net.pack();
    let model = Model::from_bytes(&file).unwrap();
    let mut arena = Aligned::zeroed(model.arena_len());
    let mut engine = Engine::new(&model, &mut arena).unwrap();
    let pixels = image(&net, 1);
    engine.feed_row(&pixels[..21]).unwrap();
    engine.restart();
    let done: Vec<_> = pixels.chunks(21).map(|row| engine.feed_row(row).unwrap()).collect();
    assert_eq!(done.iter().position(|&done| done), Some(8));
    assert_eq!(engine.scores(), &net.naive(&pixels)[net.tensors.len() - 1][..10]);
}

#[test]
fn wrong_memory_and_wrong_images_are_errors() {
    let net = small_resnet(9, 7, &CANONICAL);
    let file = net.pack();
    let model = Model::from_bytes(&file).unwrap();
    let needed = model.arena_len();
    let mut arena = Aligned::zeroed(needed + 16);
    let small = Engine::new(&model, &mut arena[..needed - 1]).err().unwrap();
    assert_eq!(small, EngineError::ArenaTooSmall { needed, found: needed - 1 });
    assert_eq!(Engine::new(&model, &mut arena[1..]).err(), Some(EngineError::ArenaMisaligned));
    let mut engine = Engine::with_backend(&model, &mut arena, &reference::BACKEND).unwrap();
    assert_eq!(engine.run(&[0; 188]), Err(InputError { expected: 189, found: 188 }));
    assert_eq!(engine.run_int8(&[0; 190]), Err(InputError { expected: 189, found: 190 }));
    assert_eq!(engine.feed_row(&[0; 20]), Err(InputError { expected: 21, found: 20 }));
}

#[test]
fn the_best_classes_are_ranked() {
    let net = small_resnet(9, 7, &CANONICAL);
    let file = net.pack();
    let model = Model::from_bytes(&file).unwrap();
    let mut arena = Aligned::zeroed(model.arena_len());
    let mut engine = Engine::new(&model, &mut arena).unwrap();
    for seed in 0..20 {
        let scores = engine.run(&image(&net, seed)).unwrap().to_vec();
        let mut sorted: Vec<_> = scores.iter().copied().enumerate().collect();
        sorted.sort_by_key(|&(class, score)| (-i32::from(score), class));
        let sorted: Vec<_> = sorted.into_iter().map(|(class, score)| Ranked { class, score }).collect();
        assert!(engine.top_k::<0>().is_empty() && engine.top_k::<1>() == sorted[..1]);
        assert!(
            engine.top_k::<3>() == sorted[..3]
                && engine.top_k::<10>() == sorted[..]
                && engine.top_k::<12>() == sorted[..]
        );
    }
}

#[test]
fn the_model_tells_about_itself() {
    let net = small_resnet(9, 7, &CANONICAL);
    let file = net.pack();
    let model = Model::from_bytes(&file).unwrap();
    assert_eq!(model.class_names().collect::<Vec<_>>(), (0..10).map(|i| format!("class {i}")).collect::<Vec<_>>());
    assert_eq!(model.provenance(), "a test");
    assert_eq!(model.normalization().len(), 0);
    assert_eq!((model.tensors().len(), model.nodes().len(), model.segments().len()), (11, 10, 1));
    assert_eq!(model.input().producer, NONE);
    assert_eq!(model.output(), &Tensor { name: 0, ..net.tensors[10] });
}

/// Against the softmax in float64.
#[test]
#[cfg(feature = "probabilities")]
fn probabilities_are_the_softmax_of_real_scores() {
    let net = small_resnet(9, 7, &CANONICAL);
    let file = net.pack();
    let model = Model::from_bytes(&file).unwrap();
    let mut arena = Aligned::zeroed(model.arena_len());
    let mut engine = Engine::new(&model, &mut arena).unwrap();
    for seed in 0..20 {
        let scores = engine.run(&image(&net, seed)).unwrap().to_vec();
        let powers: Vec<f64> =
            scores.iter().map(|&score| (f64::from(score) * f64::from(model.output().scale)).exp()).collect();
        let mut found = [0.0; 10];
        engine.probabilities(&mut found);
        for (found, power) in found.iter().zip(&powers) {
            let expected = power / powers.iter().sum::<f64>();
            assert!((f64::from(*found) - expected).abs() < 0.01, "{found} where {expected} is right");
        }
    }
}
