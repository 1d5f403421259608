//! Values of the parameters before training.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use skipstone_onnx::Tensor;

/// The distribution of initial weights. `fan_in` is the number of products that are summed into one output, `fan_out`
/// the number of a convolution's outputs times the area of its kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Init {
    /// Normal with variance `2 / fan_in` (He 2015).
    HeNormal,
    /// Convolutions normal with variance `2 / fan_out`, groups or not; linear layers uniform up to `1 / sqrt(fan_in)`
    /// (Torch, torchvision).
    HeFanOut,
    /// Variance `2 / fan_in`, drawn from a normal distribution cut off at two standard deviations (Keras' `he_normal`).
    HeTruncated,
    /// Uniform up to `1 / sqrt(fan_in)`. Of a convolution with an odd kernel, the first filters, as many as there are
    /// inputs, pass one input each (Dirac). Linear layers have a standard deviation of `1 / fan_in`.
    Dirac,
}

/// Draws initial weights: the same seed gives the same sequence. Without a seed all weights are zero, which is enough
/// to count them and costs no time.
#[derive(Debug)]
pub struct Initializer {
    init: Init,
    rng: Option<ChaCha8Rng>,
}

impl Initializer {
    /// An initializer that draws from `init`, or gives zeros if there is no seed.
    pub fn new(init: Init, seed: Option<u64>) -> Self {
        Self { init, rng: seed.map(ChaCha8Rng::seed_from_u64) }
    }

    /// A weight of `dims`: `[outputs, inputs per group, height, width]` or, for a linear layer, `[outputs, inputs]`.
    pub fn weight(&mut self, dims: &[usize]) -> Tensor {
        let mut tensor = Tensor::filled(dims, 0.0);
        let Some(rng) = &mut self.rng else { return tensor };
        let fan_in = dims[1..].iter().product::<usize>() as f64;
        let fan_out = (dims[0] * dims[2..].iter().product::<usize>()) as f64;
        let linear = dims.len() == 2;
        for value in tensor.data_mut() {
            *value = match self.init {
                Init::HeNormal => (2.0 / fan_in).sqrt() * normal(rng),
                Init::HeFanOut if linear => (2.0 * uniform(rng) - 1.0) / fan_in.sqrt(),
                Init::HeFanOut => (2.0 / fan_out).sqrt() * normal(rng),
                Init::Dirac if linear => 3f64.sqrt() * (2.0 * uniform(rng) - 1.0) / fan_in,
                Init::Dirac => (2.0 * uniform(rng) - 1.0) / fan_in.sqrt(),
                Init::HeTruncated => (2.0 / fan_in).sqrt() / TRUNCATED_STD * truncated_normal(rng),
            } as f32;
        }
        if self.init == Init::Dirac
            && let [_, inputs, height, width] = *dims
            && height % 2 == 1
            && width % 2 == 1
        {
            let filter = inputs * height * width;
            for (input, weights) in tensor.data_mut().chunks_exact_mut(filter).take(inputs).enumerate() {
                weights.fill(0.0);
                weights[input * height * width + height * width / 2] = 1.0;
            }
        }
        tensor
    }
}

/// Standard deviation of the standard normal distribution cut off at -2 and 2.
const TRUNCATED_STD: f64 = 0.879_625_661_034_239_8;

/// One draw from the standard normal distribution (Box-Muller).
pub(super) fn normal(rng: &mut impl Rng) -> f64 {
    let radius = (-2.0 * (1.0 - uniform(rng)).ln()).sqrt();
    radius * (std::f64::consts::TAU * uniform(rng)).cos()
}

/// One draw from 0 (included) to 1 (excluded), on a grid of 2^-53.
pub(super) fn uniform(rng: &mut impl Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

fn truncated_normal(rng: &mut impl Rng) -> f64 {
    loop {
        let value = normal(rng);
        if value.abs() <= 2.0 {
            return value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variance_and_peak(init: Init, dims: &[usize]) -> (f64, f64) {
        let weight = Initializer::new(init, Some(7)).weight(dims);
        let data = weight.data().iter().map(|&v| f64::from(v));
        let count = weight.data().len() as f64;
        let mean = data.clone().sum::<f64>() / count;
        assert!(mean.abs() < 0.01, "{mean}");
        (
            data.clone().map(|v| (v - mean).powi(2)).sum::<f64>() / count,
            data.fold(0.0, |peak: f64, v| peak.max(v.abs())),
        )
    }

    #[test]
    fn distributions_have_the_variance_of_he() {
        let expected = 2.0 / 40.0;
        let (normal, _) = variance_and_peak(Init::HeNormal, &[500, 40, 1, 1]);
        let (truncated, peak) = variance_and_peak(Init::HeTruncated, &[500, 40, 1, 1]);
        assert!((normal / expected - 1.0).abs() < 0.03, "{normal}");
        assert!((truncated / expected - 1.0).abs() < 0.03, "{truncated}");
        assert!(peak <= 2.0 * f64::sqrt(expected) / TRUNCATED_STD + 1e-6, "{peak}");
    }

    #[test]
    fn fan_out_counts_all_outputs_even_in_groups_and_not_in_linear_layers() {
        let (conv, _) = variance_and_peak(Init::HeFanOut, &[64, 40, 3, 3]);
        assert!((conv / (2.0 / (64.0 * 9.0)) - 1.0).abs() < 0.03, "{conv}");
        let (linear, peak) = variance_and_peak(Init::HeFanOut, &[500, 64]);
        assert!((linear / (1.0 / 64.0 / 3.0) - 1.0).abs() < 0.03, "{linear}");
        assert!(peak <= 0.125, "{peak}");
    }

    #[test]
    fn dirac_filters_pass_an_input_each() {
        let weight = Initializer::new(Init::Dirac, Some(7)).weight(&[3, 2, 3, 3]);
        for (filter, weights) in weight.data().chunks(18).enumerate() {
            let passed: Vec<usize> = (0..18).filter(|&at| weights[at] == 1.0).collect();
            let others = weights.iter().filter(|&&weight| weight != 0.0 && weight.abs() < 1.0 / 18f32.sqrt()).count();
            let expected = if filter < 2 { (vec![9 * filter + 4], 0) } else { (vec![], 18) };
            assert_eq!((passed, others), expected);
        }
        // Even kernels have no centre.
        let (stem, _) = variance_and_peak(Init::Dirac, &[500, 10, 2, 2]);
        assert!((stem * 40.0 * 3.0 - 1.0).abs() < 0.05, "{stem}");
        let (linear, _) = variance_and_peak(Init::Dirac, &[500, 64]);
        assert!((linear * 64.0 * 64.0 - 1.0).abs() < 0.05, "{linear}");
    }

    #[test]
    fn a_seed_determines_the_weights() {
        let weight = |seed| Initializer::new(Init::HeNormal, seed).weight(&[8, 3, 3, 3]);
        assert_eq!(weight(Some(1)), weight(Some(1)));
        assert_ne!(weight(Some(1)), weight(Some(2)));
        assert!(weight(None).data().iter().all(|&v| v == 0.0));
    }
}
