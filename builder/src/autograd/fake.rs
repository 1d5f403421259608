//! Fake quantization: a network in float32 whose weights and activations take only the values that int8 numbers stand
//! for.

use super::Shared;
use super::pool::Pool;
use crate::kernels::images::zip_images;
use crate::tensor::Tensor;
use skipstone_onnx::{Graph, NodeId, QuantParams, ValueId};
use std::sync::Arc;

/// Largest magnitude of a bias, so that accumulator and bias together stay within 32 bits in engines that add them.
const BIAS_LIMIT: f64 = (1 << 30) as f64;

/// Smallest weight scale: products of two scales stay normal float32 numbers.
const WEIGHT_SCALE_MIN: f64 = 1e-18;

/// The scale of an output channel: its largest weight becomes 127, or less where the bias would otherwise not fit into
/// units of `input_scale` times this scale.
pub(crate) fn weight_scale(weights: &[f32], bias: f64, input_scale: f64) -> f32 {
    let largest = weights.iter().fold(0.0, |largest: f64, &w| largest.max(f64::from(w).abs()));
    (largest / 127.0).max(bias.abs() / (input_scale * BIAS_LIMIT)).max(WEIGHT_SCALE_MIN) as f32
}

/// The int8 number for a weight.
pub(crate) fn weight_steps(weight: f32, scale: f32) -> i8 {
    (f64::from(weight) / f64::from(scale)).round().clamp(-127.0, 127.0) as i8
}

/// The int32 number for a bias, in units of `input_scale` times the channel's scale.
pub(crate) fn bias_steps(bias: f64, input_scale: f64, scale: f32) -> i32 {
    (bias / (input_scale * f64::from(scale))).round().clamp(-BIAS_LIMIT, BIAS_LIMIT) as i32
}

/// The values that an int8 activation can have: what the integers from `lo` to `hi` stand for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grid {
    /// What the integers stand for.
    pub params: QuantParams,
    /// Smallest int8 value.
    pub lo: i8,
    /// Largest int8 value.
    pub hi: i8,
}

impl Grid {
    /// Smallest and largest number of steps from 0.
    fn steps(&self) -> [f32; 2] {
        [self.lo, self.hi].map(|end| f32::from(end) - f32::from(self.params.zero_point))
    }

    /// Writes the nearest values to `x`, ties up, into `y`. What is not a number stays so.
    fn round(&self, y: &mut [f32], x: &[f32]) {
        let ([lo, hi], scale) = (self.steps(), self.params.scale);
        for (y, x) in y.iter_mut().zip(x) {
            let steps = (x / scale + 0.5).floor();
            let steps = if steps < lo { lo } else { steps };
            *y = scale * if steps > hi { hi } else { steps };
        }
    }

    /// Makes the gradient 0 where `x` was clipped.
    fn mask(&self, grad: &mut [f32], x: &[f32]) {
        let [lo, hi] = self.steps();
        for (grad, x) in grad.iter_mut().zip(x) {
            let steps = x / self.params.scale + 0.5;
            *grad = if steps >= lo && steps < hi + 1.0 { *grad } else { 0.0 };
        }
    }

    /// The nearest values to those of `x`.
    pub(crate) fn rounded(&self, x: &Tensor, pool: &Pool) -> Tensor {
        let mut y = pool.tensor(x.dims());
        zip_images(&mut y, x, |y, x| self.round(y, x));
        y
    }

    /// The gradient of `x` from that of its rounded values: straight through, but for what was clipped.
    pub(super) fn pass(&self, pool: &Pool, grad: Shared, x: &Tensor) -> Shared {
        let mut grad = pool.own(grad);
        zip_images(&mut grad, x, |grad, x| self.mask(grad, x));
        Arc::new(grad)
    }
}

/// A convolution or a linear layer with int8 weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// The convolution or the linear layer.
    pub node: NodeId,
    /// Scale of what the weights are multiplied with.
    pub input_scale: f32,
}

/// Which values of a graph are quantized, and how: an annotation under which the graph is run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FakeQuantization {
    grids: Vec<Option<Grid>>,
    layers: Vec<Layer>,
}

impl FakeQuantization {
    /// Activations of `graph` on their grids, and layers with int8 weights.
    pub fn new(graph: &Graph, grids: impl IntoIterator<Item = (ValueId, Grid)>, layers: Vec<Layer>) -> Self {
        let mut places = vec![None; graph.values().len()];
        grids.into_iter().for_each(|(id, grid)| places[id.index()] = Some(grid));
        Self { grids: places, layers }
    }

    /// The grid of an activation, if it is quantized.
    pub fn grid(&self, id: ValueId) -> Option<&Grid> {
        self.grids.get(id.index())?.as_ref()
    }

    /// The same, but for one activation and one layer.
    #[must_use]
    pub fn without(&self, activation: ValueId, layer: Option<NodeId>) -> Self {
        let mut other = self.clone();
        other.grids[activation.index()] = None;
        other.layers.retain(|other| Some(other.node) != layer);
        other
    }

    /// The graph with every layer's weights and biases rounded. What several operands read is rounded for each layer:
    /// its copies come after the values of the graph, which keep their places.
    pub fn with_rounded_parameters(&self, graph: &Graph) -> Graph {
        let mut rounded = graph.clone();
        for layer in &self.layers {
            let biases = graph.node(layer.node).inputs.get(2).and_then(|&id| graph.parameter(id));
            let biases = biases.map(|tensor| tensor.data());
            let [weight, rounded_bias] = [1, 2].map(|index| rounded.own_parameter(layer.node, index));
            let Some(weight) = weight.and_then(|id| rounded.parameter_mut(id)) else { continue };
            let channels = weight.dims()[0];
            let per_channel = weight.data().len() / channels;
            let input_scale = f64::from(layer.input_scale);
            let mut rounded_biases = Vec::with_capacity(channels);
            for (channel, weights) in weight.data_mut().chunks_exact_mut(per_channel).enumerate() {
                let bias = biases.map_or(0.0, |biases| f64::from(biases[channel]));
                let scale = weight_scale(weights, bias, input_scale);
                for weight in weights {
                    *weight = scale * f32::from(weight_steps(*weight, scale));
                }
                let steps = f64::from(bias_steps(bias, input_scale, scale));
                rounded_biases.push((steps * input_scale * f64::from(scale)) as f32);
            }
            if let Some(bias) = rounded_bias.and_then(|id| rounded.parameter_mut(id)) {
                bias.data_mut().copy_from_slice(&rounded_biases);
            }
        }
        rounded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRID: Grid = Grid { params: QuantParams { scale: 0.5, zero_point: -126 }, lo: -128, hi: 127 };

    #[test]
    fn ties_go_up_and_ends_clip() {
        let x = [0.25, -0.25, 0.24, -0.26, 126.5, 126.8, 1e9, -1.0, -1.3, f32::NEG_INFINITY];
        let mut y = [0.0; 10];
        GRID.round(&mut y, &x);
        assert_eq!(y, [0.5, 0.0, 0.0, -0.5, 126.5, 126.5, 126.5, -1.0, -1.0, -1.0]);
        GRID.round(&mut y[..1], &[f32::NAN]);
        assert!(y[0].is_nan());
    }

    #[test]
    fn the_gradient_passes_where_nothing_is_clipped() {
        let x = [0.1, -1.0, -1.24, -1.26, 126.7, 126.75, -1e9];
        let mut grad = [1.0; 7];
        GRID.mask(&mut grad, &x);
        assert_eq!(grad, [1.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn a_bias_that_does_not_fit_widens_the_weights_scale() {
        assert_eq!(weight_scale(&[0.5, -1.27], 0.0, 1.0), 0.01);
        assert_eq!((weight_steps(-1.27, 0.01), weight_steps(0.005, 0.01)), (-127, 1));
        let scale = weight_scale(&[1e-9], 4.0, 1e-3);
        assert!(bias_steps(4.0, 1e-3, scale).unsigned_abs() <= (1 << 30) + 128);
        assert!(weight_scale(&[0.0], 0.0, 1.0) > 0.0);
    }
}
