//! Arithmetic with values that belong to channels, over maps.
//!
//! The channels of a map are often no multiple of a vector's lanes. So the values are repeated over as many pixels as
//! make whole vectors: then a map is a sequence of long runs of the same shape, whatever its channels.

use super::{images, vectorized};
use crate::tensor::Tensor;

/// Runs are at least this long, unless the map is shorter.
const LEAST: usize = 128;
/// Elements that a compiled loop takes at once: four of the widest vectors.
const STRIDE: usize = 64;
/// Runs that are summed in single precision before they enter double precision.
const SINGLE: usize = 32;

/// Elements of a run: whole pixels, and whole strides of the loops, which are slow with what is left over.
fn run_len(channels: usize) -> usize {
    let whole = channels * (STRIDE >> channels.trailing_zeros().min(STRIDE.trailing_zeros()));
    whole * LEAST.div_ceil(whole)
}

/// A value of each channel, repeated over the pixels of a run.
pub(crate) fn repeat(values: impl ExactSizeIterator<Item = f32>) -> Vec<f32> {
    let pixel: Vec<f32> = values.collect();
    pixel.repeat(run_len(pixel.len()) / pixel.len().max(1))
}

/// `y = x * scale + shift`, channel by channel, and perhaps a ReLU.
pub(crate) struct Affine {
    scale: Vec<f32>,
    shift: Vec<f32>,
    relu: bool,
}

impl Affine {
    pub(crate) fn new(gamma: &[f32], beta: &[f32], mean: &[f32], inverse: &[f32], relu: bool) -> Self {
        let scale: Vec<f32> = gamma.iter().zip(inverse).map(|(gamma, inverse)| gamma * inverse).collect();
        let shift = beta.iter().zip(mean).zip(&scale).map(|((beta, mean), scale)| beta - mean * scale);
        Self { shift: repeat(shift), scale: repeat(scale.iter().copied()), relu }
    }

    /// Overwrites `y`.
    pub(crate) fn apply(&self, y: &mut Tensor, x: &Tensor) {
        images::zip_images(y, x, |y, x| affine(y, x, &self.scale, &self.shift, self.relu));
    }

    /// As [`Affine::apply`], for pixels that follow each other.
    pub(crate) fn apply_to(&self, y: &mut [f32], x: &[f32]) {
        affine(y, x, &self.scale, &self.shift, self.relu);
    }

    /// Adds what [`Affine::apply_to`] gives without the ReLU.
    pub(crate) fn add_to(&self, y: &mut [f32], x: &[f32]) {
        add_affine(y, x, &self.scale, &self.shift);
    }

    /// As [`Affine::apply`] without the ReLU, in place.
    pub(crate) fn apply_in_place(&self, y: &mut Tensor) {
        images::each_image(y, |y| affine_in_place(y, &self.scale, &self.shift));
    }

    /// Scale and shift if a ReLU follows.
    pub(crate) fn rectified(&self) -> Option<[&[f32]; 2]> {
        self.relu.then_some([&self.scale, &self.shift])
    }
}

vectorized! {
    /// `y = x * scale + shift`, rectified if `relu` says so; NaN stays NaN.
    pub(crate) fn affine(y: &'a mut [f32], x: &'a [f32], scale: &'a [f32], shift: &'a [f32], relu: bool) {
        for (y, x) in y.chunks_mut(scale.len()).zip(x.chunks(scale.len())) {
            let operands = y.iter_mut().zip(x).zip(scale).zip(shift);
            if relu {
                operands.for_each(|(((y, x), scale), shift)| {
                    let sum = x * scale + shift;
                    *y = if sum <= 0.0 { 0.0 } else { sum };
                });
            } else {
                operands.for_each(|(((y, x), scale), shift)| *y = x * scale + shift);
            }
        }
    }
}

vectorized! {
    /// `y = y + (x * scale + shift)`.
    fn add_affine(y: &'a mut [f32], x: &'a [f32], scale: &'a [f32], shift: &'a [f32]) {
        for (y, x) in y.chunks_mut(scale.len()).zip(x.chunks(scale.len())) {
            y.iter_mut().zip(x).zip(scale.iter().zip(shift)).for_each(|((y, x), (scale, shift))| *y += x * scale + shift);
        }
    }
}

vectorized! {
    /// `y = y * scale + shift`.
    pub(crate) fn affine_in_place(y: &'a mut [f32], scale: &'a [f32], shift: &'a [f32]) {
        for y in y.chunks_mut(scale.len()) {
            y.iter_mut().zip(scale).zip(shift).for_each(|((y, scale), shift)| *y = *y * scale + shift);
        }
    }
}

vectorized! {
    /// The gradient of a batch norm: `grad = grad * factor + (x * slope + offset)`; after a ReLU the first `grad` is 0
    /// where `x * scale + shift` is not positive, `rectified` being scale and shift.
    pub(crate) fn norm_gradient(
        grad: &'a mut [f32],
        x: &'a [f32],
        [factor, slope, offset]: [&'a [f32]; 3],
        rectified: Option<[&'a [f32]; 2]>
    ) {
        for (grad, x) in grad.chunks_mut(factor.len()).zip(x.chunks(factor.len())) {
            let operands = grad.iter_mut().zip(x).zip(factor.iter().zip(slope).zip(offset));
            match rectified {
                Some([scale, shift]) => {
                    for (((grad, x), ((factor, slope), offset)), (scale, shift)) in operands.zip(scale.iter().zip(shift)) {
                        let open = if x * scale + shift > 0.0 { *grad } else { 0.0 };
                        *grad = open * factor + (x * slope + offset);
                    }
                }
                None => operands.for_each(|((grad, x), ((factor, slope), offset))| {
                    *grad = *grad * factor + (x * slope + offset);
                }),
            }
        }
    }
}

vectorized! {
    /// As [`norm_gradient`], into another map: overwrites `dx` or, where it `is_sum`, adds to it.
    pub(crate) fn norm_gradient_into(
        dx: &'a mut [f32],
        is_sum: bool,
        grad: &'a [f32],
        x: &'a [f32],
        [factor, slope, offset]: [&'a [f32]; 3],
        rectified: Option<[&'a [f32]; 2]>
    ) {
        let run = factor.len();
        for ((dx, grad), x) in dx.chunks_mut(run).zip(grad.chunks(run)).zip(x.chunks(run)) {
            if !is_sum {
                dx.fill(0.0);
            }
            let operands = dx.iter_mut().zip(grad.iter().zip(x)).zip(factor.iter().zip(slope).zip(offset));
            match rectified {
                Some([scale, shift]) => {
                    let operands = operands.zip(scale.iter().zip(shift));
                    for (((dx, (grad, x)), ((factor, slope), offset)), (scale, shift)) in operands {
                        let open = if x * scale + shift > 0.0 { *grad } else { 0.0 };
                        *dx += open * factor + (x * slope + offset);
                    }
                }
                None => operands.for_each(|((dx, (grad, x)), ((factor, slope), offset))| {
                    *dx += grad * factor + (x * slope + offset);
                }),
            }
        }
    }
}

/// Sums over the pixels of a map of `channels`, channel by channel, of `x` and of its square.
pub(crate) fn moments(x: &[f32], channels: usize) -> Vec<[f64; 2]> {
    let mut sums = ChannelSums::new(channels);
    sums.add_moments(x);
    sums.total()
}

/// Sums over the pixels of a map of `channels`, channel by channel, of `grad` and of `grad * x`; `rectified` as for
/// [`norm_gradient`].
pub(crate) fn products(grad: &[f32], x: &[f32], channels: usize, rectified: Option<[&[f32]; 2]>) -> Vec<[f64; 2]> {
    let mut sums = ChannelSums::new(channels);
    sums.add_products(grad, x, rectified);
    sums.total()
}

/// Adds sums of channels to others.
pub(crate) fn add_sums(total: &mut [[f64; 2]], sums: &[[f64; 2]]) {
    total.as_flattened_mut().iter_mut().zip(sums.as_flattened()).for_each(|(total, sum)| *total += sum);
}

/// Two sums for each channel, over pixels that come bit by bit.
pub(crate) struct ChannelSums {
    channels: usize,
    /// Of the last runs, for each element of a run: the first sums, then the second ones.
    single: Vec<f32>,
    /// Runs that `single` has.
    runs: usize,
    /// Of all runs before these.
    double: Vec<[f64; 2]>,
}

impl ChannelSums {
    pub(crate) fn new(channels: usize) -> Self {
        let run = run_len(channels);
        Self { channels, single: vec![0.0; 2 * run], runs: 0, double: vec![[0.0; 2]; run] }
    }

    /// Adds `x` and its square, of whole pixels.
    pub(crate) fn add_moments(&mut self, x: &[f32]) {
        let run = self.double.len();
        x.chunks(SINGLE * run).for_each(|x| add_moments(self.room(x.len().div_ceil(run)), x));
    }

    /// Adds `grad` and `grad * x`, of whole pixels; `rectified` as for [`norm_gradient`].
    pub(crate) fn add_products(&mut self, grad: &[f32], x: &[f32], rectified: Option<[&[f32]; 2]>) {
        let run = self.double.len();
        for (grad, x) in grad.chunks(SINGLE * run).zip(x.chunks(SINGLE * run)) {
            add_products(self.room(x.len().div_ceil(run)), grad, x, rectified);
        }
    }

    /// The sums in single precision, to which `runs` more are added.
    fn room(&mut self, runs: usize) -> [&mut [f32]; 2] {
        if self.runs + runs > SINGLE {
            self.fold();
        }
        self.runs += runs;
        let (first, second) = self.single.split_at_mut(self.double.len());
        [first, second]
    }

    fn fold(&mut self) {
        let (first, second) = self.single.split_at(self.double.len());
        for ((sums, &first), &second) in self.double.iter_mut().zip(first).zip(second) {
            sums[0] += f64::from(first);
            sums[1] += f64::from(second);
        }
        self.single.fill(0.0);
        self.runs = 0;
    }

    pub(crate) fn total(mut self) -> Vec<[f64; 2]> {
        self.fold();
        let mut sums = self.double;
        let (pixel, more) = sums.split_at_mut(self.channels);
        for other in more.chunks_exact(self.channels) {
            for (sum, other) in pixel.iter_mut().zip(other) {
                sum[0] += other[0];
                sum[1] += other[1];
            }
        }
        sums.truncate(self.channels);
        sums
    }
}

vectorized! {
    fn add_moments([first, second]: [&'a mut [f32]; 2], x: &'a [f32]) {
        for x in x.chunks(first.len()) {
            for ((first, second), x) in first.iter_mut().zip(second.iter_mut()).zip(x) {
                *first += x;
                *second += x * x;
            }
        }
    }
}

vectorized! {
    fn add_products(
        [first, second]: [&'a mut [f32]; 2],
        grad: &'a [f32],
        x: &'a [f32],
        rectified: Option<[&'a [f32]; 2]>
    ) {
        for (grad, x) in grad.chunks(first.len()).zip(x.chunks(first.len())) {
            let operands = first.iter_mut().zip(second.iter_mut()).zip(grad.iter().zip(x));
            match rectified {
                Some([scale, shift]) => {
                    for (((first, second), (grad, x)), (scale, shift)) in operands.zip(scale.iter().zip(shift)) {
                        let open = if x * scale + shift > 0.0 { *grad } else { 0.0 };
                        *first += open;
                        *second += open * x;
                    }
                }
                None => operands.for_each(|((first, second), (grad, x))| {
                    *first += grad;
                    *second += grad * x;
                }),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_whole_pixels_and_whole_strides() {
        for channels in 1..200 {
            let run = run_len(channels);
            assert!(run.is_multiple_of(channels) && run.is_multiple_of(STRIDE) && run >= LEAST, "{channels}: {run}");
            assert!(run < STRIDE * channels + LEAST, "{channels}: {run}");
        }
    }

    #[test]
    fn sums_of_parts_are_those_of_the_whole() {
        for channels in [3, 12, 16, 84] {
            let [a, b] = [1, 2].map(|seed| -> Vec<f32> {
                (0..channels * 64 * 20).map(|i| ((i * 31 + seed) % 17) as f32 - 8.0).collect()
            });
            let mut sums = ChannelSums::new(channels);
            let part = 64 * channels;
            a.chunks(part).zip(b.chunks(part)).for_each(|(a, b)| sums.add_products(a, b, None));
            // Whole numbers, so that the order of additions makes no difference.
            assert_eq!(sums.total(), products(&a, &b, channels, None));
        }
    }

    #[test]
    fn sums_reach_every_pixel_once() {
        for (channels, pixels) in [(1, 1), (3, 1), (12, 7), (16, 8), (17, 300), (64, 5), (200, 3)] {
            let x: Vec<f32> = (0..channels * pixels).map(|i| (i / channels + i % channels) as f32).collect();
            for (c, sums) in moments(&x, channels).into_iter().enumerate() {
                let expected = (0..pixels).map(|pixel| (pixel + c) as f64);
                assert_eq!(
                    sums,
                    [expected.clone().sum::<f64>(), expected.map(|x| x * x).sum()],
                    "{channels} {pixels} {c}"
                );
            }
        }
    }
}
