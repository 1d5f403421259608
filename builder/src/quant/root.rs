//! Norms, which divide by a root of a sum of squares of the image, in integers.

use super::requant::MULTIPLIER;
use skipstone_runtime::arith::{L2_SHIFT, ROOT_SHIFT_MAX, Requant, SHIFT_MIN, instance_shift};

/// Elements that may be added up (exclusive): their raised sum fits 32 bits.
pub(super) const SUM_LIMIT: usize = 1 << 15;

/// Elements of a group norm that may be added up (exclusive): 255 of each stay below 2^29.
const GROUP_LIMIT: usize = 1 << 21;

/// Squares stay below this.
const SQUARE_LIMIT: f64 = (1u64 << 61) as f64;

/// What a norm divides by, `sqrt(square)`, and what it divides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Root {
    /// Output steps for one unit of the accumulator and a square of 1, times the scale of the output.
    numerator: f64,
    /// Smallest and largest square but 0.
    squares: [u64; 2],
    /// Added to each square.
    epsilon: u64,
    /// Bits by which the sum of squares is raised.
    pub(super) fraction: u32,
}

impl Root {
    /// Of the norm of `channels` values.
    pub(super) fn l2(channels: usize) -> Self {
        let numerator = (-f64::from(L2_SHIFT)).exp2();
        Self { numerator, squares: [1, (channels as u64).saturating_mul(255 * 255)], epsilon: 0, fraction: 0 }
    }

    /// Of the deviation of a channel's `count` values, with an epsilon in real numbers.
    ///
    /// # Errors
    /// What does not fit.
    pub(super) fn instance(count: usize, epsilon: f32, input_scale: f32) -> Result<Self, String> {
        if count >= SUM_LIMIT {
            return Err(format!("it averages {count} pixels, at most {} can be added up", SUM_LIMIT - 1));
        }
        Self::deviation(count, epsilon, input_scale)
    }

    /// As [`instance`](Self::instance), of the values of a group of channels.
    ///
    /// # Errors
    /// What does not fit.
    pub(super) fn group(count: usize, epsilon: f32, input_scale: f32) -> Result<Self, String> {
        if count >= GROUP_LIMIT {
            let most = GROUP_LIMIT - 1;
            return Err(format!("it averages {count} values, at most {most} can be added up: use more groups"));
        }
        Self::deviation(count, epsilon, input_scale)
    }

    fn deviation(count: usize, epsilon: f32, input_scale: f32) -> Result<Self, String> {
        let reach = 255 * count as u64;
        let (least, most) = (count.saturating_sub(1) as f64, (reach * reach) as f64 / 4.0);
        // In units of the squared sums of input steps.
        let epsilon = f64::from(epsilon) / f64::from(input_scale).powi(2) * (count as f64).powi(2);
        let fits = |fraction: &u32| (most + epsilon) * f64::from(*fraction).exp2() < SQUARE_LIMIT;
        let fraction = (0..=46).rev().step_by(2).find(fits).ok_or_else(|| {
            format!(
                "its epsilon, {epsilon:.1e} squared steps of its input, is too large beside them: use a smaller one"
            )
        })?;
        let raised = f64::from(fraction).exp2();
        let squares = [least, most].map(|square| (((square + epsilon) * raised) as u64).max(1));
        let numerator = (f64::from(fraction) / 2.0 - f64::from(instance_shift(count as u32))).exp2();
        Ok(Self { numerator, squares, epsilon: (epsilon * raised).round() as u64, fraction })
    }

    /// Smallest and largest shift of a numerator, one bit from the limits: squares are known to a rounding.
    fn shifts(&self) -> [u32; 2] {
        let [most, least] = self.squares.map(|square| square.leading_zeros() / 2);
        [SHIFT_MIN + most + 1, ROOT_SHIFT_MAX + least - 1]
    }

    /// The smallest scale of a result for which the numerator fits.
    pub(super) fn smallest_scale(&self) -> f64 {
        let [shift, _] = self.shifts();
        self.numerator * (f64::from(shift) - 31.0).exp2() / f64::from(i32::MAX)
    }

    /// The numerator, with the epsilon as its constant, for a result of this scale.
    ///
    /// # Errors
    /// If the scale is too small.
    pub(super) fn requant(&self, output_scale: f32) -> Result<Requant, &'static str> {
        let [low, high] = self.shifts();
        let numerator = self.numerator / f64::from(output_scale);
        let m = |shift: u32| (numerator * (f64::from(shift) - 31.0).exp2()).round();
        let shift = (low..=high).rev().find(|&shift| m(shift) <= f64::from(i32::MAX)).ok_or(MULTIPLIER)?;
        Ok(Requant { c: self.epsilon as i64, m: m(shift) as i32, s: shift })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use skipstone_runtime::arith::{instance_distance, instance_square, l2_distance, over_root};

    #[test]
    fn worked_numerators() {
        // docs/quantization.md, "A norm".
        let l2 = Root::l2(4).requant(1.0 / 128.0).unwrap();
        assert_eq!(f64::from(l2.m) / f64::from(l2.s - 31).exp2(), 128.0 / 65536.0);
        // Epsilon is 4 squared steps of the input: of 4 values 64.
        let root = Root::instance(4, 0.01, 0.05).unwrap();
        let instance = root.requant(1.0 / 32.0).unwrap();
        assert_eq!(root.fraction, 42);
        assert!((instance.c as f64 / (64u64 << 42) as f64 - 1.0).abs() < 1e-6, "{instance:?}");
        assert_eq!(f64::from(instance.m) / f64::from(instance.s - 31).exp2(), 128.0);
    }

    #[test]
    fn what_does_not_fit_is_said() {
        assert!(Root::instance(1 << 15, 1e-5, 0.1).unwrap_err().starts_with("it averages 32768 pixels"));
        assert!(Root::instance(100, 1e-5, 1e-16).unwrap_err().contains("is too large beside them"));
        assert!(Root::instance(100, 1e-5, 1e-9).is_ok());
        assert!(Root::group(1 << 21, 1e-5, 0.1).unwrap_err().starts_with("it averages 2097152 values"));
        assert!(Root::group((1 << 21) - 1, 1e-5, 0.1).is_ok());
        assert!(Root::l2(8).requant(1e-7).is_err());
    }

    /// Checks a result against the value in float64, which may lie next to a tie.
    fn check(found: i8, steps: f64) -> Result<(), TestCaseError> {
        let expected = (steps + 0.5).floor().clamp(-128.0, 127.0);
        let from_tie = (steps - steps.floor() - 0.5).abs();
        prop_assert!(f64::from(found) == expected || from_tie < 1e-5, "{found} where {steps} rounds to {expected}");
        Ok(())
    }

    proptest! {
        #[test]
        fn an_l2_norm_is_rounded_once(
            values in proptest::collection::vec(any::<i8>(), 1..300), spread in 0u32..8,
            zero in any::<i8>(), out in any::<i8>(), scale in -13.9f32..2.0,
        ) {
            let values: Vec<i8> = values.iter().map(|v| (v >> spread).saturating_add(zero)).collect();
            let scale = scale.exp2();
            let root = Root::l2(values.len());
            prop_assert!(f64::from(scale) > root.smallest_scale());
            let numerator = root.requant(scale).unwrap();
            let distance = |q: i8| f64::from(q) - f64::from(zero);
            let square: f64 = values.iter().map(|&q| distance(q).powi(2)).sum();
            let requant = over_root(square as u64, &numerator, out);
            for &q in &values {
                let real = if square == 0.0 { 0.0 } else { distance(q) / square.sqrt() / f64::from(scale) };
                check(requant.apply(l2_distance(q, zero), -128, 127), real + f64::from(out))?;
            }
        }

        #[test]
        fn an_instance_or_group_norm_is_rounded_once(
            values in proptest::collection::vec(any::<i8>(), 1..300), spread in 0u32..8,
            repeat in prop_oneof![1usize..100, 5000usize..7000],
            out in any::<i8>(), scale in -9.0f32..2.0, epsilon in 1e-12f32..1.0, input in -12.0f32..2.0,
        ) {
            let values: Vec<i8> = values.iter().map(|v| v >> spread).collect();
            let (count, input, scale) = (values.len() * repeat, input.exp2(), scale.exp2());
            let root = Root::group(count, epsilon, input);
            prop_assume!(root.is_ok());
            let root = root.unwrap();
            prop_assume!(f64::from(scale) > root.smallest_scale());
            let numerator = root.requant(scale).unwrap();
            let wide = || values.iter().map(|&q| i64::from(q));
            let [sum, squares] = [wide().sum::<i64>(), wide().map(|q| q * q).sum()].map(|once| once * repeat as i64);
            let count = count as u32;
            let square = instance_square(count, sum as i32, squares as u64, root.fraction, numerator.c as u64);
            let requant = over_root(square, &numerator, out);
            let n = f64::from(count);
            let mean = sum as f64 / n;
            let variance = (i64::from(count) * squares - sum * sum) as f64 / n.powi(2);
            let deviation = (variance + f64::from(epsilon) / f64::from(input).powi(2)).sqrt();
            for &q in &values {
                let real = (f64::from(q) - mean) / deviation / f64::from(scale);
                check(requant.apply(instance_distance(q, count, sum as i32), -128, 127), real + f64::from(out))?;
            }
        }
    }
}
