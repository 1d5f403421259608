//! Gradients of several batches, for one step.

use crate::autograd::Tape;
use skipstone_onnx::{Graph, ValueId};

/// Sums of gradients since the last step.
#[derive(Default)]
pub(super) struct Accumulated {
    /// By the index of the parameter.
    sums: Vec<Option<Vec<f32>>>,
    batches: usize,
}

impl Accumulated {
    /// Adds the gradients of the tape's last batch.
    pub(super) fn add(&mut self, graph: &Graph, tape: &Tape) {
        self.sums.resize_with(graph.values().len(), || None);
        self.batches += 1;
        for (id, ..) in graph.parameters() {
            let Some(gradient) = tape.gradient(id) else {
                // Frozen, perhaps only since the last step.
                self.sums[id.index()] = None;
                continue;
            };
            match &mut self.sums[id.index()] {
                Some(sum) => sum.iter_mut().zip(gradient).for_each(|(sum, gradient)| *sum += gradient),
                empty => *empty = Some(gradient.to_vec()),
            }
        }
    }

    /// Turns the sums into means, to be read by [`Accumulated::gradient`].
    pub(super) fn average(&mut self) {
        let scale = 1.0 / self.batches.max(1) as f32;
        self.sums.iter_mut().flatten().flatten().for_each(|sum| *sum *= scale);
    }

    /// The gradient of a parameter.
    pub(super) fn gradient(&self, id: ValueId) -> Option<&[f32]> {
        self.sums.get(id.index())?.as_deref()
    }

    /// Starts anew.
    pub(super) fn clear(&mut self) {
        self.sums.iter_mut().flatten().flatten().for_each(|sum| *sum = 0.0);
        self.batches = 0;
    }
}
