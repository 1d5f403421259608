//! 3x3 convolutions with stride 1: forward pass and both gradients by minimal filtering (Winograd).

use super::shape::Map;
use crate::kernels::winograd4::{self, Maps, Weights};
use crate::kernels::x86::bf16::Bf16;
use crate::tensor::Tensor;
use skipstone_onnx::Conv;

/// Taps of the kernel on each axis.
const KERNEL: usize = 3;
/// Channels of the wider side from which on products in bfloat16 save more time than rounding takes.
const WIDE: usize = 32;

/// A convolution that minimal filtering suits, and its images.
#[derive(Clone, Copy)]
pub(super) struct Filtered {
    /// Zeros above and at the left of the operand.
    pads: [usize; 2],
    input: Map,
    output: Map,
    /// For products in bfloat16.
    bf16: Option<Bf16>,
}

impl Filtered {
    pub(super) fn new(conv: &Conv, x: &Tensor, y: &Tensor, bf16: Option<Bf16>) -> Option<Self> {
        let (input, output) = (Map::of(x), Map::of(y));
        let suits = winograd4::suits(conv, input.channels, output.channels, output.size());
        let within = conv.pads.iter().all(|&pad| pad < KERNEL);
        let bf16 = bf16.filter(|_| input.channels.max(output.channels) >= WIDE);
        (suits && within).then_some(Self { pads: [conv.pads[0], conv.pads[1]], input, output, bf16 })
    }

    pub(super) fn forward(self, weight: &[f32], bias: Option<&[f32]>, x: &Tensor, y: &mut Tensor) {
        let weights = Weights::new(weight, self.input.channels, self.output.channels, self.bf16);
        let x = self.input.maps(x.data());
        winograd4::correlate(&weights, bias.unwrap_or(&[]), x, self.pads, y.data_mut(), self.output.size());
    }

    /// The gradient of the operand: a correlation of the result's with the turned kernel.
    pub(super) fn input_gradient(self, weight: &[f32], grad: &Tensor, mut dx: Tensor) -> Tensor {
        let weights = Weights::turned(weight, self.input.channels, self.output.channels, self.bf16);
        let pads = self.pads.map(|pad| KERNEL - 1 - pad);
        let grad = self.output.maps(grad.data());
        winograd4::correlate(&weights, &[], grad, pads, dx.data_mut(), self.input.size());
        dx
    }

    /// The gradient of the weights, `[block][3][3][channel][BLOCK]`, from chunks of a multiple of `images`.
    pub(super) fn weight_gradient(self, x: &Tensor, grad: &Tensor, images: usize) -> Vec<f32> {
        let (x, grad) = (self.input.maps(x.data()), self.output.maps(grad.data()));
        winograd4::weight_gradient(x, self.pads, grad, images, self.bf16)
    }
}

impl Map {
    fn size(self) -> [usize; 2] {
        [self.height, self.width]
    }

    fn maps(self, elements: &[f32]) -> Maps<'_> {
        Maps { elements, size: self.size(), channels: self.channels }
    }
}
