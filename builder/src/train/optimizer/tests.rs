//! Steps worked out by hand, and a problem that every optimizer must solve.

use super::*;
use skipstone_onnx::{GraphBuilder, Op, Tensor};

const ALL: [Optimizer; 6] = [
    Optimizer::SGD,
    Optimizer::Sgd { momentum: 0.9, nesterov: false },
    Optimizer::ADAM,
    Optimizer::ADAM_W,
    Optimizer::LAMB,
    Optimizer::MUON,
];

/// A linear layer: `weight` `[2, 1]`, `bias` `[2]`.
fn graph() -> (Graph, [ValueId; 2]) {
    let mut b = GraphBuilder::new("linear", "image", [1, 1, 1]).unwrap();
    let weight = b.parameter("weight", Tensor::new([2, 1], vec![3.0, -4.0]).unwrap(), true).unwrap();
    let bias = b.parameter("bias", Tensor::new([2], vec![1.0, 0.0]).unwrap(), true).unwrap();
    let x = b.input();
    let x = b.push("flat", Op::Flatten, &[x]).unwrap();
    let x = b.push("gemm", Op::Gemm, &[x, weight, bias]).unwrap();
    (b.finish(x).unwrap(), [weight, bias])
}

fn config(optimizer: Optimizer, weight_decay: f64) -> Config {
    Config { optimizer, weight_decay, ..Config::new("linear", &"digits".parse().unwrap()) }
}

/// Weights and biases after a step along each of the gradients (of weights and biases) with rate 0.1.
fn steps(config: &Config, gradients: &[[f32; 4]]) -> Vec<[f64; 4]> {
    let (mut graph, ids) = graph();
    let mut state = State::new(&graph, config);
    let values = gradients.iter().map(|gradient| {
        state.step(&mut graph, |id| ids.iter().position(|&known| known == id).map(|at| &gradient[2 * at..][..2]), 0.1);
        let [weight, bias] = ids.map(|id| graph.parameter(id).unwrap().data());
        [weight[0], weight[1], bias[0], bias[1]].map(f64::from)
    });
    values.collect()
}

#[track_caller]
fn assert_near(actual: &[[f64; 4]], expected: &[[f64; 4]]) {
    assert_eq!(actual.len(), expected.len());
    for (actual, expected) in actual.iter().flatten().zip(expected.iter().flatten()) {
        assert!((actual - expected).abs() < 2e-6, "{actual} {expected}");
    }
}

const GRADIENTS: [[f32; 4]; 2] = [[1.0, 2.0, -2.0, 0.0], [-1.0, 0.0, 1.0, 0.5]];

/// Weight 0 by hand: g = 1 + 0.5 * 3 = 2.5, v = 2.5, w = 3 - 0.1 * (2.5 + 0.9 * 2.5) = 2.525;
/// then g = -1 + 0.5 * 2.525 = 0.2625, v = 2.5125, w = 2.525 - 0.1 * (0.2625 + 0.9 * 2.5125).
#[test]
fn sgd_steps() {
    let nesterov = steps(&config(Optimizer::SGD, 0.5), &GRADIENTS);
    assert_near(&nesterov, &[[2.525, -4.0, 1.38, 0.0], [2.272_625, -3.62, 1.352, -0.095]]);
    let plain = steps(&config(Optimizer::Sgd { momentum: 0.9, nesterov: false }, 0.5), &GRADIENTS);
    // v = 2.5, then 0.9 * 2.5 + 0.375 = 2.625.
    assert_near(&plain, &[[2.75, -4.0, 1.2, 0.0], [2.4875, -3.8, 1.28, -0.05]]);
}

/// The head's step is SGD's at its share of the rate, and its decay does not depend on that share: of weight 0,
/// g = 1 + 0.5 / 0.5 * 3 = 4, v = 4, w = 3 - 0.1 * 0.5 * (4 + 0.5 * 4) = 2.7.
#[test]
fn muon_steps_other_parameters_as_sgd() {
    let muon = Optimizer::Muon { momentum: 0.6, steps: 3, vector_momentum: 0.5, vector_lr: 7.0, head_lr: 0.5 };
    let after = steps(&config(muon, 0.5), &GRADIENTS[..1]);
    assert_near(&after, &[[2.7, -4.0 - 0.05 * 1.5 * (2.0 - 4.0), 1.15, 0.0]]);
}

#[test]
fn vectors_decay_on_request() {
    let decayed = Config { decay_vectors: true, ..config(Optimizer::Sgd { momentum: 0.0, nesterov: false }, 0.5) };
    assert_near(&steps(&decayed, &GRADIENTS[..1]), &[[2.75, -4.0, 1.15, 0.0]]);
}

/// The first step of Adam is the rate, against the sign of the gradient. In the second, element 2 has
/// m = 0.9 * -0.2 + 0.1 = -0.08, m' = -0.08 / 0.19, v = 0.999 * 0.004 + 0.001 = 0.004996, v' = v / 0.001999.
#[test]
fn adam_steps() {
    let actual = steps(&config(Optimizer::ADAM, 0.0), &GRADIENTS);
    let second = |m: f64, v: f64| 0.1 * (m / 0.19) / (v / 0.001_999).sqrt();
    let expected = [
        2.9 - second(0.9 * 0.1 - 0.1, 0.000_999 + 0.001),
        -4.1 - second(0.9 * 0.2, 0.999 * 0.004),
        1.1 - second(-0.08, 0.004_996),
        0.0 - second(0.05, 0.000_25),
    ];
    assert_near(&actual, &[[2.9, -4.1, 1.1, 0.0], expected]);

    // With decay 0.5 the first gradients of the weights are 1 + 1.5 and 2 - 2.
    assert_near(&steps(&config(Optimizer::ADAM, 0.5), &GRADIENTS[..1]), &[[2.9, -4.0, 1.1, 0.0]]);
}

/// As Adam from weights that are 5 % nearer to 0; biases are not.
#[test]
fn adamw_steps() {
    let actual = steps(&config(Optimizer::ADAM_W, 0.5), &GRADIENTS);
    let plain = steps(&config(Optimizer::ADAM, 0.0), &GRADIENTS);
    let first = [0.95 * 3.0 - 0.1, 0.95 * -4.0 - 0.1, 1.1, 0.0];
    let moved: Vec<f64> = plain[1].iter().zip(&plain[0]).map(|(after, before)| after - before).collect();
    let second = [0.95 * first[0] + moved[0], 0.95 * first[1] + moved[1], first[2] + moved[2], first[3] + moved[3]];
    assert_near(&actual, &[first, second]);
}

/// The gradients' norm is 3, so they count a third; Adam's first direction is their sign. The weights' update is
/// [1 + 0.5 * 3, 1 - 0.5 * 4] = [2.5, -1], its norm sqrt(7.25), that of the weights 5. Biases move by the rate.
#[test]
fn lamb_steps() {
    let actual = steps(&config(Optimizer::LAMB, 0.5), &GRADIENTS);
    let trust = 5.0 / 7.25f64.sqrt();
    let first = [3.0 - 0.1 * trust * 2.5, -4.0 + 0.1 * trust, 1.1, 0.0];
    // Directions of the second step; its gradients' norm is 1.5.
    let direction = |g1: f64, g2: f64| {
        let (g1, g2) = (g1 / 3.0, g2 / 1.5);
        let (m, v) = (0.9 * 0.1 * g1 + 0.1 * g2, 0.999 * 0.001 * g1 * g1 + 0.001 * g2 * g2);
        (m / 0.19) / ((v / 0.001_999).sqrt() + 1e-6)
    };
    let update = [direction(1.0, -1.0) + 0.5 * first[0], direction(2.0, 0.0) + 0.5 * first[1]];
    let trust = first[0].hypot(first[1]) / update[0].hypot(update[1]);
    let second = [
        first[0] - 0.1 * trust * update[0],
        first[1] - 0.1 * trust * update[1],
        first[2] - 0.1 * direction(-2.0, 1.0),
        first[3] - 0.1 * direction(0.0, 0.5),
    ];
    let (actual, expected) = (actual, [first, second]);
    for (actual, expected) in actual.iter().flatten().zip(expected.iter().flatten()) {
        // epsilon weighs 3e-6 of the first directions.
        assert!((actual - expected).abs() < 1e-5, "{actual} {expected}");
    }
}

#[test]
fn lamb_trusts_by_1_without_decay_or_norms() {
    let free = Optimizer::Lamb { beta1: 0.9, beta2: 0.999, epsilon: 1e-6, max_gradient_norm: 0.0 };
    let plain = steps(&config(free, 0.0), &GRADIENTS);
    assert_near(&plain[..1], &[[2.9, -4.1, 1.1, 0.0]]);
    // Gradients below the limit are left alone.
    let small = GRADIENTS.map(|gradient| gradient.map(|g| g / 4.0));
    assert_eq!(steps(&config(Optimizer::LAMB, 0.5), &small), steps(&config(free, 0.5), &small));
    let (mut graph, [weight, _]) = graph();
    graph.parameter_mut(weight).unwrap().data_mut().fill(0.0);
    let mut state = State::new(&graph, &config(free, 0.5));
    state.step(&mut graph, |id| (id == weight).then_some(&[1.0, 1.0][..]), 0.1);
    assert!(graph.parameter(weight).unwrap().data().iter().all(|w| (w + 0.1).abs() < 1e-5));
}

/// A convex function: half the squared distance to a point, once as steep in one direction as in the other and once
/// ten times.
#[test]
fn every_optimizer_finds_a_minimum() {
    let target = [1.0f32, 2.0, -1.0, 0.5];
    for optimizer in ALL {
        for slope in [1.0, 10.0] {
            let (mut graph, ids) = graph();
            let mut state = State::new(&graph, &config(optimizer, 1e-6));
            let total = 2000;
            for step in 0..total {
                let values = ids.map(|id| graph.parameter(id).unwrap().data().to_vec()).concat();
                let gradient: Vec<f32> =
                    values.iter().zip(target).zip([1.0, slope, 1.0, slope]).map(|((x, t), s)| s * (x - t)).collect();
                let lr = 0.02 * (1.0 - f64::from(step) / f64::from(total));
                let find = |id| ids.iter().position(|&known| known == id).map(|at| &gradient[2 * at..][..2]);
                state.step(&mut graph, find, lr);
            }
            let values = ids.map(|id| graph.parameter(id).unwrap().data().to_vec()).concat();
            assert_eq!(state.steps, 2000);
            for (value, target) in values.iter().zip(target) {
                assert!((value - target).abs() < 1e-2, "{optimizer:?}, {slope}: {values:?}");
            }
        }
    }
}

#[test]
fn large_parameters_are_cut_without_a_trace() {
    let count = 2 * CHUNK + 17;
    for optimizer in ALL {
        let mut b = GraphBuilder::new("linear", "image", [1, 1, 1]).unwrap();
        let values: Vec<f32> = (0..count).map(|i| (i as f32 * 0.7).sin()).collect();
        let weight = b.parameter("weight", Tensor::new([count, 1], values.clone()).unwrap(), true).unwrap();
        let bias = b.parameter("bias", Tensor::filled([count], 0.0), true).unwrap();
        let x = b.input();
        let x = b.push("flat", Op::Flatten, &[x]).unwrap();
        let x = b.push("gemm", Op::Gemm, &[x, weight, bias]).unwrap();
        let graph = b.finish(x).unwrap();
        let gradient: Vec<f32> = (0..count).map(|i| (i as f32 * 0.3).cos()).collect();
        let after = |threads| {
            let (mut graph, mut state) = (graph.clone(), State::new(&graph, &config(optimizer, 0.1)));
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                for _ in 0..2 {
                    state.step(&mut graph, |id| (id == weight).then_some(gradient.as_slice()), 0.1);
                }
            });
            graph.parameter(weight).unwrap().data().to_vec()
        };
        let one = after(1);
        assert!(one == after(3), "{optimizer:?}");
        assert!(one.iter().zip(&values).filter(|(after, before)| after != before).count() > count - 10);
    }
}

#[test]
fn all_but_the_head_takes_its_share_of_the_rate() {
    let moved = |backbone_lr| {
        let (mut graph, ids) = convolutions(1.0, 1.0);
        let settings = Config { backbone_lr, ..config(Optimizer::SGD, 0.0) };
        let before = ids.map(|id| graph.parameter(id).unwrap().data()[0]);
        State::new(&graph, &settings).step(&mut graph, |_| Some(&[1.0, 1.0]), 0.1);
        [0, 1].map(|layer| before[layer] - graph.parameter(ids[layer]).unwrap().data()[0])
    };
    let [whole, tenth] = [moved(1.0), moved(0.1)];
    assert!((tenth[0] - 0.1 * whole[0]).abs() < 1e-6, "{tenth:?} {whole:?}");
    assert_eq!(tenth[1], whole[1]);
}

/// A convolution that reads the image, and another; weights of the first are multiplied by `factor`.
fn convolutions(factor: f32, std: f32) -> (Graph, [ValueId; 2]) {
    let mut b = GraphBuilder::new("convolutions", "image", [1, 2, 2]).unwrap();
    let mut ids = Vec::new();
    let mut x = b.input();
    for (name, factor) in [("first", factor), ("second", 1.0)] {
        let values = vec![0.01 * factor, -0.02 * factor];
        let dims = if ids.is_empty() { [2, 1, 1, 1] } else { [1, 2, 1, 1] };
        let weight = b.parameter(format!("{name}.weight"), Tensor::new(dims, values).unwrap(), true).unwrap();
        x = b.push(name, Op::Conv(skipstone_onnx::Conv::square(1, 1, 0)), &[x, weight]).unwrap();
        ids.push(weight);
    }
    let x = b.push("pool", Op::GlobalAveragePool, &[x]).unwrap();
    let x = b.push("flat", Op::Flatten, &[x]).unwrap();
    let mut graph = b.finish(x).unwrap();
    graph.metadata.normalization = Some(skipstone_onnx::Normalization { mean: vec![0.0], std: vec![std] });
    (graph, [ids[0], ids[1]])
}

#[test]
fn weights_of_raw_pixels_are_stepped_as_those_of_small_ones() {
    for optimizer in ALL {
        // 147, the size of pixels of 0 to 255, is nearest to 128.
        let after = |unit: f32, std: f32| {
            let (mut graph, ids) = convolutions(unit, std);
            let mut state = State::new(&graph, &config(optimizer, 0.1));
            for gradients in [[[3.0 / unit, -1.0 / unit], [0.5, 0.25]], [[1.0 / unit, 0.5 / unit], [-0.5, 0.5]]] {
                state.step(
                    &mut graph,
                    |id| ids.iter().position(|&known| known == id).map(|at| &gradients[at][..]),
                    0.1,
                );
            }
            ids.map(|id| graph.parameter(id).unwrap().data().to_vec())
        };
        let [raw, small] = [after(1.0, 1.0 / 255.0), after(128.0, 1.0)];
        assert_eq!(raw[1], small[1], "{optimizer:?}");
        assert_eq!(raw[0].iter().map(|weight| weight * 128.0).collect::<Vec<_>>(), small[0], "{optimizer:?}");
    }
    assert!(unit::units(&convolutions(1.0, 0.25).0).is_empty());
}
