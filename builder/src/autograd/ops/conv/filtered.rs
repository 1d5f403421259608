//! Forward and backward of 3x3 convolutions with stride 1 by minimal filtering, which all three of their loops have.

use super::chunk_images;
use super::shape::{Frame, Map};
use crate::kernels::tiles::{Grid, Rows};
use crate::kernels::winograd::{self, WeightGradient, Winograd};
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

    /// Gradients of weight and bias.
    pub(super) fn weight_gradient(self, x: &Tensor, grad: &Tensor) -> (Vec<f32>, Vec<f32>) {
        let Self { pads, input, output } = self;
        let images = chunk_images(x.batch());
        let frame = frame(pads, input, output);
        let patches = Grid::dense(frame.width, input.channels);
        let results = Grid::dense(output.width, output.channels);
        let mut chunks = Vec::new();
        x.data()
            .par_chunks(images * input.elements())
            .zip(grad.data().par_chunks(images * output.elements()))
            .map(|(x, grad)| {
                let mut sums = WeightGradient::new(input.channels, output.channels);
                let mut bias = vec![0.0; output.channels];
                for (x, grad) in x.chunks_exact(input.elements()).zip(grad.chunks_exact(output.elements())) {
                    frame.with_copy(x, input, None, |source| {
                        sums.add_image((source, patches), (grad, results), [output.height, output.width]);
                    });
                    super::add_pixels(&mut bias, grad);
                }
                (sums, bias)
            })
            .collect_into_vec(&mut chunks);
        let sum = chunks.into_iter().reduce(|mut a, b| {
            a.0.add(&b.0);
            (a.0, super::add(a.1, b.1))
        });
        sum.map(|(sums, bias)| (sums.finish(), bias)).unwrap_or_default()
    }
}

/// The region around an operand that the patches of all results lie in.
fn frame([top, left]: [usize; 2], input: Map, output: Map) -> Frame {
    let [height, width] = [output.height, output.width].map(winograd::extent);
    Frame { top, left, height, width, first: 0, count: input.channels }
}

fn correlate(weights: &Winograd, pads: [usize; 2], (input, x): (Map, &Tensor), (output, y): (Map, &mut Tensor)) {
    let frame = frame(pads, input, output);
    let images = x.data().par_chunks(input.elements());
    y.data_mut().par_chunks_mut(output.elements()).zip(images).for_each(|(y, x)| {
        frame.with_copy(x, input, None, |source| {
            let rows = Rows::plain(y, Grid::dense(output.width, output.channels), output.height, output.width);
            weights.run(source, Grid::dense(frame.width, input.channels), rows);
        });
    });
}
