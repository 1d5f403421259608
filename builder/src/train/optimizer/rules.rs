//! The rules' arithmetic, on slices.

use super::CHUNK;
use rayon::prelude::*;

/// The sum of squares, in an order that does not depend on the number of threads.
pub(super) fn square_sum(values: &[f32]) -> f64 {
    let parts: Vec<f64> =
        values.par_chunks(CHUNK).map(|chunk| chunk.iter().map(|&x| f64::from(x).powi(2)).sum()).collect();
    parts.iter().sum()
}

/// `w *= 1 - rate`.
pub(super) fn decoupled_decay(weight: &mut [f32], rate: f64) {
    let keep = (1.0 - rate) as f32;
    weight.iter_mut().for_each(|weight| *weight *= keep);
}

/// Momentum, in Nesterov's form or the plain one.
pub(super) fn sgd(
    weight: &mut [f32],
    velocity: &mut [f32],
    gradient: &[f32],
    lr: f64,
    momentum: f64,
    nesterov: bool,
    decay: f64,
) {
    let (lr, momentum, decay) = (lr as f32, momentum as f32, decay as f32);
    for ((weight, velocity), gradient) in weight.iter_mut().zip(velocity).zip(gradient) {
        let gradient = gradient + decay * *weight;
        *velocity = momentum * *velocity + gradient;
        *weight -= lr * if nesterov { gradient + momentum * *velocity } else { *velocity };
    }
}

/// Adam's running means of gradients and of their squares, corrected for their start at 0.
#[derive(Clone, Copy)]
pub(super) struct Moments {
    beta1: f32,
    beta2: f32,
    epsilon: f32,
    /// `1 / (1 - beta1^t)`.
    first_scale: f32,
    /// `1 / sqrt(1 - beta2^t)`.
    second_scale: f32,
}

impl Moments {
    /// For step `steps`, counted from 1.
    pub(super) fn new(beta1: f64, beta2: f64, epsilon: f64, steps: u64) -> Self {
        // Beyond this many steps the corrections are 1 to the last bit.
        let steps = i32::try_from(steps).unwrap_or(i32::MAX);
        Self {
            beta1: beta1 as f32,
            beta2: beta2 as f32,
            epsilon: epsilon as f32,
            first_scale: (1.0 / (1.0 - beta1.powi(steps))) as f32,
            second_scale: (1.0 / (1.0 - beta2.powi(steps)).sqrt()) as f32,
        }
    }

    /// Takes a gradient in and gives `m' / (sqrt(v') + e)`.
    fn direction(&self, first: &mut f32, second: &mut f32, gradient: f32) -> f32 {
        *first = self.beta1 * *first + (1.0 - self.beta1) * gradient;
        *second = self.beta2 * *second + (1.0 - self.beta2) * gradient * gradient;
        *first * self.first_scale / (second.sqrt() * self.second_scale + self.epsilon)
    }

    /// Adam's step; the decay goes into the gradient.
    pub(super) fn adam(
        &self,
        weight: &mut [f32],
        first: &mut [f32],
        second: &mut [f32],
        gradient: &[f32],
        lr: f64,
        decay: f64,
    ) {
        let (lr, decay) = (lr as f32, decay as f32);
        for (((weight, first), second), gradient) in weight.iter_mut().zip(first).zip(second).zip(gradient) {
            *weight -= lr * self.direction(first, second, gradient + decay * *weight);
        }
    }

    /// LAMB's step of a whole parameter whose gradients are to be multiplied by `scale`.
    #[allow(clippy::too_many_arguments, reason = "a parameter, its state and four numbers")]
    pub(super) fn lamb(
        &self,
        weight: &mut [f32],
        first: &mut [f32],
        second: &mut [f32],
        gradient: &[f32],
        scale: f64,
        lr: f64,
        decay: f64,
    ) {
        let (scale, factor) = (scale as f32, decay as f32);
        let mut update = vec![0.0; weight.len()];
        let states = first.par_chunks_mut(CHUNK).zip(second.par_chunks_mut(CHUNK));
        let inputs = weight.par_chunks(CHUNK).zip(gradient.par_chunks(CHUNK));
        update.par_chunks_mut(CHUNK).zip(states).zip(inputs).for_each(
            |((update, (first, second)), (weight, gradient))| {
                for ((((update, first), second), weight), gradient) in
                    update.iter_mut().zip(first).zip(second).zip(weight).zip(gradient)
                {
                    *update = self.direction(first, second, gradient * scale) + factor * weight;
                }
            },
        );
        let trust = if decay > 0.0 { trust_ratio(weight, &update) } else { 1.0 };
        let rate = (lr * trust) as f32;
        weight.iter_mut().zip(update).for_each(|(weight, update)| *weight -= rate * update);
    }
}

/// `|w| / |u|`, 1 if either is 0.
fn trust_ratio(weight: &[f32], update: &[f32]) -> f64 {
    let (weight, update) = (square_sum(weight).sqrt(), square_sum(update).sqrt());
    if weight > 0.0 && update > 0.0 { weight / update } else { 1.0 }
}
