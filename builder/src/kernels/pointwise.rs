//! Convolutions of 1x1 in training: products of matrices, a strip of pixels at a time, so that what is done to the
//! pixels before and after it finds them in the cache.

use super::channels::{Affine, ChannelSums};
use super::correlate::{Patches, Target, WeightGradient};
use super::rounded::Weights;
use super::tiles::BLOCK;
use super::x86::bf16::Bf16;
use super::{dispatch, images, rounded, vectorize, with_scratch};
use skipstone_onnx::Conv;

/// Elements of the wider side of a strip, where more than [`STRIP`] pixels fit: few enough for the first cache.
const ELEMENTS: usize = 1 << 12;
/// Pixels of a strip, or a part of them: a whole number of the runs of [`channels`](super::channels).
const STRIP: usize = 64;

/// The maps of a convolution of 1x1 without padding.
#[derive(Clone, Copy)]
pub(crate) struct Pointwise {
    /// Height, width and channels.
    pub(crate) input: [usize; 3],
    pub(crate) output: [usize; 3],
    pub(crate) stride: [usize; 2],
    /// For products in bfloat16, where they [suit](rounded::suits) the channels of both.
    pub(crate) bf16: Option<Bf16>,
}

/// The gradient of the operand of some images.
pub(crate) struct Operand<'a> {
    /// As [`pack_turned`] gives them.
    pub(crate) weights: &'a Weights,
    pub(crate) dx: &'a mut [f32],
    /// Whether `dx` is a sum to be added to; else it is overwritten.
    pub(crate) is_sum: bool,
}

/// Weights `[output][input]` as `[block of outputs][input][BLOCK]`.
pub(crate) fn pack(weights: &[f32], inputs: usize, outputs: usize) -> Vec<f32> {
    arranged(weights, inputs, outputs.next_multiple_of(BLOCK) * inputs, |output, input| place(output, input, inputs))
}

/// Weights `[output][input]` as `[block of inputs][output][BLOCK]`.
pub(crate) fn pack_turned(weights: &[f32], inputs: usize, outputs: usize) -> Vec<f32> {
    arranged(weights, inputs, inputs.next_multiple_of(BLOCK) * outputs, |output, input| place(input, output, outputs))
}

/// The inverse of [`pack`].
pub(crate) fn unpack(packed: &[f32], inputs: usize, outputs: usize) -> Vec<f32> {
    (0..outputs * inputs).map(|at| packed[place(at / inputs, at % inputs, inputs)]).collect()
}

/// Weights `[output][input]`, each where `place` says, among `len` elements.
fn arranged(weights: &[f32], inputs: usize, len: usize, place: impl Fn(usize, usize) -> usize) -> Vec<f32> {
    let mut packed = vec![0.0; len];
    for (at, &weight) in weights.iter().enumerate() {
        packed[place(at / inputs, at % inputs)] = weight;
    }
    packed
}

/// The place of an element of a lane in `[block of lanes][elements][BLOCK]`.
fn place(lane: usize, element: usize, elements: usize) -> usize {
    (lane / BLOCK * elements + element) * BLOCK + lane % BLOCK
}

/// Whether a convolution is of single pixels.
pub(crate) fn suits(conv: &Conv) -> bool {
    conv.kernel == [1, 1] && conv.pads == [0; 4] && conv.groups == 1
}

impl Pointwise {
    /// Elements of the weights' gradient, packed.
    pub(crate) fn packed_len(&self) -> usize {
        self.output[2].next_multiple_of(BLOCK) * self.input[2]
    }

    /// Pixels of a strip.
    fn strip(&self) -> usize {
        (ELEMENTS / self.input[2].max(self.output[2]) / STRIP).max(1) * STRIP
    }

    fn is_dense(&self) -> bool {
        self.stride == [1, 1]
    }

    /// The first element of the operand's pixel that result `pixel` of some images reads.
    fn place(&self, pixel: usize) -> usize {
        let ([height, width, channels], [rows, columns, _]) = (self.input, self.output);
        let (row, column) = (pixel / columns % rows, pixel % columns);
        ((pixel / columns / rows * height + row * self.stride[0]) * width + column * self.stride[1]) * channels
    }

    /// Calls `work` with the pixels of `x` that results `first..first + count` read, after `entry`, which only a
    /// convolution with stride 1 may have.
    fn with_strip<R>(
        &self,
        entry: Option<&Affine>,
        x: &[f32],
        [first, count]: [usize; 2],
        work: impl FnOnce(&[f32]) -> R,
    ) -> R {
        let channels = self.input[2];
        if self.is_dense() && entry.is_none() {
            return work(&x[first * channels..][..count * channels]);
        }
        with_scratch(count * channels, |strip| {
            match entry {
                Some(entry) => entry.apply_to(strip, &x[first * channels..][..count * channels]),
                None => vectorize(|| {
                    for (pixel, strip) in strip.chunks_exact_mut(channels).enumerate() {
                        images::copy(strip, &x[self.place(first + pixel)..][..channels]);
                    }
                }),
            }
            work(strip)
        })
    }

    /// Writes the results of some images, whose operand passes `entry` first; `bias` is empty or a value for each
    /// output. Adds results and their squares to `moments`.
    pub(crate) fn correlate(
        &self,
        entry: Option<&Affine>,
        x: &[f32],
        (weights, bias): (&Weights, &[f32]),
        y: &mut [f32],
        mut moments: Option<&mut ChannelSums>,
    ) {
        let (outputs, strip) = (self.output[2], self.strip());
        for (index, y) in y.chunks_mut(strip * outputs).enumerate() {
            let count = y.len() / outputs;
            self.with_strip(entry, x, [index * strip, count], |strip| {
                products(strip, [self.input[2], outputs], count, weights, y);
            });
            if !bias.is_empty() {
                for pixel in y.chunks_exact_mut(outputs) {
                    pixel.iter_mut().zip(bias).for_each(|(y, bias)| *y += bias);
                }
            }
            if let Some(moments) = &mut moments {
                moments.add_moments(y);
            }
        }
    }

    /// Adds to `sums` the gradient of the weights of some images, laid out as by [`pack`], and computes that of the
    /// operand after `entry`. With an entry, gives the sums of [`channels::products`](super::channels::products) over
    /// it, which the gradient of a batch norm needs.
    pub(crate) fn gradients(
        &self,
        entry: Option<&Affine>,
        [x, grad]: [&[f32]; 2],
        sums: &mut [f32],
        mut operand: Option<Operand>,
    ) -> Vec<[f64; 2]> {
        let (channels, outputs) = (self.input[2], self.output[2]);
        let mut totals = entry.map(|entry| (ChannelSums::new(channels), entry.rectified()));
        if let Some(Operand { dx, is_sum: false, .. }) = &mut operand
            && !self.is_dense()
        {
            dx.fill(0.0);
        }
        let strip = self.strip();
        for (index, grad) in grad.chunks(strip * outputs).enumerate() {
            let (first, count) = (index * strip, grad.len() / outputs);
            self.with_strip(entry, x, [first, count], |strip| self.add_weights(strip, grad, count, sums));
            let Some(Operand { weights, dx, is_sum }) = &mut operand else { continue };
            if *is_sum || !self.is_dense() {
                self.add_products(grad, [first, count], weights, dx);
                continue;
            }
            let part = first * channels..(first + count) * channels;
            let dx = &mut dx[part.clone()];
            products(grad, [outputs, channels], count, weights, dx);
            if let Some((totals, rectified)) = &mut totals {
                totals.add_products(dx, &x[part], *rectified);
            }
        }
        totals.map(|(totals, _)| totals.total()).unwrap_or_default()
    }

    /// Adds to the operand's gradient what comes from results `first..first + count`.
    fn add_products(&self, grad: &[f32], [first, count]: [usize; 2], weights: &Weights, dx: &mut [f32]) {
        let (channels, outputs) = (self.input[2], self.output[2]);
        with_scratch(count * channels, |more| {
            products(grad, [outputs, channels], count, weights, more);
            // Dense pixels follow each other.
            let elements = if self.is_dense() { count * channels } else { channels };
            vectorize(|| {
                for (pixel, more) in more.chunks_exact(elements).enumerate() {
                    let sum = &mut dx[self.place(first + pixel)..][..elements];
                    sum.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
                }
            });
        });
    }

    fn add_weights(&self, strip: &[f32], grad: &[f32], count: usize, sums: &mut [f32]) {
        let ([_, _, channels], [_, _, outputs]) = (self.input, self.output);
        if let Some(bf16) = self.bf16 {
            return rounded::weight_gradient(bf16, strip, row(count, channels), (grad, outputs), sums);
        }
        let patches = row(count, channels);
        if outputs.is_multiple_of(BLOCK) {
            return dispatch(WeightGradient { source: strip, patches, grad, out: sums });
        }
        let padded = outputs.next_multiple_of(BLOCK);
        with_scratch(count * padded, |copy| {
            vectorize(|| {
                for (to, from) in copy.chunks_exact_mut(padded).zip(grad.chunks_exact(outputs)) {
                    images::copy(&mut to[..outputs], from);
                    to[outputs..].fill(0.0);
                }
            });
            dispatch(WeightGradient { source: strip, patches, grad: copy, out: sums });
        });
    }
}

/// Single pixels that follow each other.
fn row(count: usize, channels: usize) -> Patches {
    Patches {
        runs: 1,
        run: channels,
        start: 0,
        run_step: 0,
        row_step: 0,
        column_step: channels,
        rows: 1,
        columns: count,
    }
}

/// Writes the products of `count` pixels of `from` channels with weights, pixels of `to` channels.
fn products(source: &[f32], [from, to]: [usize; 2], count: usize, weights: &Weights, out: &mut [f32]) {
    let target = Target { start: 0, row_step: 0, column_step: to, channels: to };
    weights.with_source(source, |source| weights.correlate([0, 1], source, row(count, from), out, target));
}
