//! 3x3 convolutions with stride 1: forward pass and both gradients by minimal filtering (Winograd).

use super::shape::Map;
use crate::kernels::tiles::{Grid, Rows};
use crate::kernels::winograd::{self, PaddedMap, Winograd};
use crate::tensor::Tensor;
use rayon::prelude::*;
use skipstone_onnx::Conv;

/// Taps of the kernel on each axis.
const KERNEL: usize = 3;

/// A convolution that minimal filtering suits, and its images.
#[derive(Clone, Copy)]
pub(super) struct Filtered {
    /// Zeros above and at the left of the operand.
    pads: [usize; 2],
    input: Map,
    output: Map,
}

impl Filtered {
    pub(super) fn new(conv: &Conv, x: &Tensor, y: &Tensor) -> Option<Self> {
        let (input, output) = (Map::of(x), Map::of(y));
        let suits = winograd::suits(conv, input.channels, output.channels);
        let within = conv.pads.iter().all(|&pad| pad < KERNEL);
        (suits && within).then_some(Self { pads: [conv.pads[0], conv.pads[1]], input, output })
    }

    pub(super) fn forward(self, weight: &[f32], bias: Option<&[f32]>, x: &Tensor, y: &mut Tensor) {
        let (inputs, outputs) = (self.input.channels, self.output.channels);
        let bias = bias.map_or_else(|| vec![0.0; outputs], <[f32]>::to_vec);
        let kernels = weight.as_chunks::<9>().0;
        let kernel = |output: usize, input: usize| kernels[output * inputs + input].map(f64::from);
        correlate(&Winograd::new(inputs, bias, kernel), self.pads, (self.input, x), (self.output, y));
    }

    /// The gradient of the operand: a correlation of the result's with the turned kernel.
    pub(super) fn input_gradient(self, weight: &[f32], grad: &Tensor, mut dx: Tensor) -> Tensor {
        let (inputs, outputs) = (self.input.channels, self.output.channels);
        let kernels = weight.as_chunks::<9>().0;
        let turned = |input: usize, output: usize| {
            let mut kernel = kernels[output * inputs + input].map(f64::from);
            kernel.reverse();
            kernel
        };
        let pads = self.pads.map(|pad| KERNEL - 1 - pad);
        let weights = Winograd::new(outputs, vec![0.0; inputs], turned);
        correlate(&weights, pads, (self.output, grad), (self.input, &mut dx));
        dx
    }

    /// The gradient of the weights, `[block][3][3][channel][BLOCK]`, from some images and their results' gradients.
    pub(super) fn weight_gradient(self, x: &[f32], grad: &[f32], out: &mut [f32]) {
        let Self { pads, input, output } = self;
        let results = Grid::dense(output.width, output.channels);
        winograd::weight_gradient(input.channels, output.channels, out, |gradient| {
            for (x, grad) in x.chunks_exact(input.elements()).zip(grad.chunks_exact(output.elements())) {
                gradient.add_image(operand(x, input, pads), grad, results, [output.height, output.width]);
            }
        });
    }
}

fn operand(elements: &[f32], map: Map, pads: [usize; 2]) -> PaddedMap<'_> {
    let origin = pads.map(|pad| -(pad as isize));
    PaddedMap { elements, grid: Grid::dense(map.width, map.channels), size: [map.height, map.width], origin }
}

fn correlate(weights: &Winograd, pads: [usize; 2], (input, x): (Map, &Tensor), (output, y): (Map, &mut Tensor)) {
    let images = x.data().par_chunks(input.elements());
    y.data_mut().par_chunks_mut(output.elements()).zip(images).for_each(|(y, x)| {
        let rows = Rows::plain(y, Grid::dense(output.width, output.channels), output.height, output.width);
        weights.run(operand(x, input, pads), rows);
    });
}
