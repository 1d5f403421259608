//! Stochastic gradient descent with Nesterov momentum and weight decay.

use super::Config;
use crate::autograd::Tape;
use rayon::prelude::*;
use skipstone_onnx::{Graph, ValueId};

const CHUNK: usize = 1 << 14;

/// One trainable parameter and its velocity.
pub(super) struct Slot {
    pub(super) id: ValueId,
    pub(super) name: String,
    pub(super) velocity: Vec<f32>,
    decays: bool,
}

/// The optimizer's state: `v = momentum * v + g`, `w -= lr * (g + momentum * v)` with `g = gradient + decay * w`.
pub(super) struct Sgd {
    pub(super) slots: Vec<Slot>,
    momentum: f32,
    decay: f32,
}

impl Sgd {
    /// At rest. Vectors (biases, batch normalization) do not decay.
    pub(super) fn new(graph: &Graph, config: &Config) -> Self {
        let slots = graph.parameters().filter(|(_, _, parameter)| parameter.trainable);
        let slots = slots.map(|(id, name, parameter)| Slot {
            id,
            name: name.into(),
            velocity: vec![0.0; parameter.tensor.data().len()],
            decays: parameter.tensor.dims().len() > 1,
        });
        Self { slots: slots.collect(), momentum: config.momentum as f32, decay: config.weight_decay as f32 }
    }

    /// One step along the tape's gradients.
    pub(super) fn step(&mut self, graph: &mut Graph, tape: &Tape, lr: f64) {
        let (lr, momentum) = (lr as f32, self.momentum);
        for Slot { id, velocity, decays, .. } in &mut self.slots {
            let (Some(weight), Some(gradient)) = (graph.parameter_mut(*id), tape.gradient(*id)) else { continue };
            let decay = if *decays { self.decay } else { 0.0 };
            weight
                .data_mut()
                .par_chunks_mut(CHUNK)
                .zip(velocity.par_chunks_mut(CHUNK))
                .zip(gradient.par_chunks(CHUNK))
                .for_each(|((weight, velocity), gradient)| {
                    for ((weight, velocity), gradient) in weight.iter_mut().zip(velocity).zip(gradient) {
                        let gradient = gradient + decay * *weight;
                        *velocity = momentum * *velocity + gradient;
                        *weight -= lr * (gradient + momentum * *velocity);
                    }
                });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autograd::Noise;
    use crate::tensor::Tensor;
    use skipstone_onnx::{GraphBuilder, Op, Tensor as Parameter};

    #[test]
    fn two_steps_follow_the_formula() {
        let mut b = GraphBuilder::new("linear", "image", [1, 1, 1]).unwrap();
        let weight = b.parameter("weight", Parameter::new([2, 1], vec![0.5, -0.5]).unwrap(), true).unwrap();
        let bias = b.parameter("bias", Parameter::new([2], vec![0.5, 0.0]).unwrap(), true).unwrap();
        let x = b.input();
        let x = b.push("flat", Op::Flatten, &[x]).unwrap();
        let x = b.push("gemm", Op::Gemm, &[x, weight, bias]).unwrap();
        let mut graph = b.finish(x).unwrap();
        let config = Config { momentum: 0.9, weight_decay: 0.1, ..Config::new("linear", &"digits".parse().unwrap()) };
        let mut sgd = Sgd::new(&graph, &config);
        let mut tape = Tape::new();
        let (mut w, mut vw, mut b, mut vb) = (0.5f64, 0.0, 0.5f64, 0.0);
        for _ in 0..2 {
            tape.step(&mut graph, Tensor::new([1, 1, 1, 1], vec![2.0]), &[1], 0.0, Noise::default());
            let (gw, gb) = (f64::from(tape.gradient(weight).unwrap()[0]), f64::from(tape.gradient(bias).unwrap()[0]));
            assert!(gb > 0.01 && (gw - 2.0 * gb).abs() < 1e-6);
            sgd.step(&mut graph, &tape, 0.05);
            let decayed = gw + 0.1 * w;
            vw = 0.9 * vw + decayed;
            w -= 0.05 * (decayed + 0.9 * vw);
            vb = 0.9 * vb + gb;
            b -= 0.05 * (gb + 0.9 * vb);
            assert!((f64::from(graph.parameter(weight).unwrap().data()[0]) - w).abs() < 1e-5);
            assert!((f64::from(graph.parameter(bias).unwrap().data()[0]) - b).abs() < 1e-5);
        }
    }
}
