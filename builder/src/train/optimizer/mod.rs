//! Optimizers: what is done to the weights, given their gradients.

mod muon;
mod rules;
#[cfg(test)]
mod tests;
mod unit;

use super::{Config, Optimizer, head};
use rayon::prelude::*;
use rules::{Moments, decoupled_decay, square_sum};
use skipstone_onnx::{Graph, ValueId};

/// Elements that one thread works on; sums are added up chunk by chunk, so that they do not depend on the threads.
const CHUNK: usize = 1 << 14;

/// One trainable parameter and what the optimizer remembers of it.
struct Slot {
    id: ValueId,
    name: String,
    decays: bool,
    /// Whether it belongs to the head.
    is_head: bool,
    /// Filters of a convolution: their number; 0 for other parameters.
    filters: usize,
    /// Its share of the learning rate.
    share: f64,
    /// The parameter is stepped multiplied by it: [`unit::units`].
    unit: f32,
    /// As many as [`Optimizer::state`] names, each as long as the parameter.
    vectors: Vec<Vec<f32>>,
}

/// An optimizer at work on one graph.
pub struct State {
    optimizer: Optimizer,
    decay: f64,
    slots: Vec<Slot>,
    /// Steps that are done.
    pub(super) steps: u64,
}

impl State {
    /// At rest, for the trainable parameters of a graph; of the settings it takes the optimizer and the weight decay.
    pub fn new(graph: &Graph, config: &Config) -> Self {
        Self::with_frozen(graph, config, &[])
    }

    /// As [`State::new`], without the parameters that are `frozen`, by the index of the value (empty: none is).
    pub fn with_frozen(graph: &Graph, config: &Config, frozen: &[bool]) -> Self {
        let Config { optimizer, weight_decay, decay_vectors, .. } = *config;
        let is_frozen = |id: ValueId| frozen.get(id.index()).is_some_and(|&frozen| frozen);
        let units = unit::units(graph);
        // Where no head can be told from the rest, all is the rest.
        let head = head::parameters(graph).unwrap_or_default();
        let slots = graph.parameters().filter(|(id, _, parameter)| parameter.trainable && !is_frozen(*id));
        let slots = slots.map(|(id, name, parameter)| Slot {
            id,
            name: name.into(),
            decays: weight_decay > 0.0 && (decay_vectors || parameter.tensor.dims().len() > 1),
            is_head: head.contains(&id),
            filters: if parameter.tensor.dims().len() == 4 { parameter.tensor.dims()[0] } else { 0 },
            share: if head.contains(&id) { 1.0 } else { config.backbone_lr },
            unit: units.iter().find(|(known, _)| *known == id).map_or(1.0, |&(_, unit)| unit),
            vectors: vec![vec![0.0; parameter.tensor.data().len()]; optimizer.state().len()],
        });
        Self { optimizer, decay: weight_decay, slots: slots.collect(), steps: 0 }
    }

    /// The vectors to be saved, by name.
    pub(super) fn vectors(&self) -> impl Iterator<Item = (String, &[f32])> {
        let names = self.optimizer.state();
        self.slots.iter().flat_map(move |slot| {
            let named = names.iter().zip(&slot.vectors);
            named.map(|(name, vector)| (format!("{name}/{}", slot.name), vector.as_slice()))
        })
    }

    /// The vectors to be restored, by the names of [`State::vectors`].
    pub(super) fn vectors_mut(&mut self) -> impl Iterator<Item = (String, &mut [f32])> {
        let names = self.optimizer.state();
        self.slots.iter_mut().flat_map(move |slot| {
            let named = names.iter().zip(&mut slot.vectors);
            named.map(|(name, vector)| (format!("{name}/{}", slot.name), vector.as_mut_slice()))
        })
    }

    /// One step at the learning rate `lr` along the gradients of the parameters of the graph that the state was made
    /// for; a parameter without a gradient stays as it is.
    pub fn step<'t>(&mut self, graph: &mut Graph, gradient: impl Fn(ValueId) -> Option<&'t [f32]>, lr: f64) {
        self.steps += 1;
        let (optimizer, steps) = (self.optimizer, self.steps);
        let scale = match optimizer {
            Optimizer::Lamb { max_gradient_norm, .. } if max_gradient_norm > 0.0 => {
                let squares = |slot: &Slot| Some(square_sum(gradient(slot.id)?) / f64::from(slot.unit).powi(2));
                let sum: f64 = self.slots.iter().filter_map(squares).sum();
                1.0 / (sum.sqrt() / max_gradient_norm).max(1.0)
            }
            _ => 1.0,
        };
        for slot in &mut self.slots {
            let (Some(weight), Some(gradient)) = (graph.parameter_mut(slot.id), gradient(slot.id)) else { continue };
            let lr = lr * slot.share;
            let (weight, decay) = (weight.data_mut(), if slot.decays { self.decay } else { 0.0 });
            let scaled: Vec<f32>;
            let gradient = if slot.unit == 1.0 {
                gradient
            } else {
                weight.iter_mut().for_each(|weight| *weight *= slot.unit);
                scaled = gradient.iter().map(|gradient| gradient / slot.unit).collect();
                &scaled
            };
            match (optimizer, slot.vectors.as_mut_slice()) {
                (Optimizer::Sgd { momentum, nesterov }, [velocity]) => {
                    let chunks = weight.par_chunks_mut(CHUNK).zip(velocity.par_chunks_mut(CHUNK));
                    chunks.zip(gradient.par_chunks(CHUNK)).for_each(|((weight, velocity), gradient)| {
                        rules::sgd(weight, velocity, gradient, lr, momentum, nesterov, decay);
                    });
                }
                (Optimizer::Muon { momentum, steps, .. }, [velocity]) if slot.filters > 0 && !slot.is_head => {
                    muon::step(weight, velocity, gradient, slot.filters, [lr, momentum], steps);
                }
                (Optimizer::Muon { vector_momentum, vector_lr, head_lr, .. }, [velocity]) => {
                    let times = if slot.is_head { head_lr } else { vector_lr };
                    rules::sgd(weight, velocity, gradient, lr * times, vector_momentum, true, decay / times);
                }
                (
                    Optimizer::Adam { beta1, beta2, epsilon } | Optimizer::AdamW { beta1, beta2, epsilon },
                    [first, second],
                ) => {
                    let rule = Moments::new(beta1, beta2, epsilon, steps);
                    let decoupled = matches!(optimizer, Optimizer::AdamW { .. });
                    let (shrink, decay) = if decoupled { (lr * decay, 0.0) } else { (0.0, decay) };
                    let states = first.par_chunks_mut(CHUNK).zip(second.par_chunks_mut(CHUNK));
                    let chunks = weight.par_chunks_mut(CHUNK).zip(states).zip(gradient.par_chunks(CHUNK));
                    chunks.for_each(|((weight, (first, second)), gradient)| {
                        decoupled_decay(weight, shrink);
                        rule.adam(weight, first, second, gradient, lr, decay);
                    });
                }
                (Optimizer::Lamb { beta1, beta2, epsilon, .. }, [first, second]) => {
                    let rule = Moments::new(beta1, beta2, epsilon, steps);
                    rule.lamb(weight, first, second, gradient, scale, lr, decay);
                }
                _ => unreachable!("a slot has the vectors that its optimizer names"),
            }
            if slot.unit != 1.0 {
                weight.iter_mut().for_each(|weight| *weight /= slot.unit);
            }
        }
    }
}
