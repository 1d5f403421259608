//! The logistic function, `1 / (1 + exp(-x))`.

use super::tiles;
use pulp::{Arch, Simd, WithSimd};
use std::f32::consts::LOG2_E;

/// Logarithm of 2 in two parts, the first with few digits: multiples of it are exact.
const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
/// 1.5 * 2^23 + 127: a number of this size has no fraction, and its last bits are the sum of a whole number that was
/// added and the bias of an exponent.
const WHOLE: f32 = 12_583_039.0;
/// Of exp(x), good for |x| <= ln(2) / 2: coefficients of Cephes' expf.
const SERIES: [f32; 8] = [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_6e-1, 0.5, 1.0, 1.0];

/// Writes `factor * (1 / (1 + exp(-x)) + added)` for each element; the factor is 1 where there are no factors. Slices
/// are of one length. No number where `x` is none.
pub(crate) fn gate(out: &mut [f32], x: &[f32], factors: Option<&[f32]>, added: f32) {
    Arch::new().dispatch(Gate { out, x, factors, added });
}

struct Gate<'a> {
    out: &'a mut [f32],
    x: &'a [f32],
    factors: Option<&'a [f32]>,
    added: f32,
}

impl WithSimd for Gate<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let added = simd.splat_f32s(self.added);
        let chunks = self.out.chunks_mut(S::F32_LANES).zip(self.x.chunks(S::F32_LANES));
        for (index, (out, x)) in chunks.enumerate() {
            let mut result = simd.add_f32s(logistic(simd, tiles::load(simd, x)), added);
            if let Some(factors) = self.factors {
                let factors = &factors[index * S::F32_LANES..][..x.len()];
                result = simd.mul_f32s(result, tiles::load(simd, factors));
            }
            match S::as_mut_simd_f32s(out) {
                ([vector, ..], _) => *vector = result,
                ([], out) => simd.partial_store_f32s(out, result),
            }
        }
    }
}

/// Within 2e-7.
#[inline(always)]
fn logistic<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let splat = |value| simd.splat_f32s(value);
    // Where one operand is no number, x86 takes the second.
    let x = simd.min_f32s(splat(87.0), simd.max_f32s(splat(-87.0), x));
    let shifted = simd.mul_add_f32s(x, splat(-LOG2_E), splat(WHOLE));
    let exponent = simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(shifted), simd.splat_u32s(23));
    let power = simd.transmute_f32s_u32s(exponent);
    let whole = simd.sub_f32s(shifted, splat(WHOLE));
    // exp(-x) = 2^whole * exp(rest).
    let rest = simd.mul_add_f32s(whole, splat(-LN_2[0]), simd.neg_f32s(x));
    let rest = simd.mul_add_f32s(whole, splat(-LN_2[1]), rest);
    let mut sum = splat(SERIES[0]);
    for coefficient in &SERIES[1..] {
        sum = simd.mul_add_f32s(sum, rest, splat(*coefficient));
    }
    simd.div_f32s(splat(1.0), simd.mul_add_f32s(sum, power, splat(1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_those_of_double_precision() {
        let x: Vec<f32> = (-4000..=4000).map(|i| i as f32 / 37.0).collect();
        let mut out = vec![9.0; x.len()];
        gate(&mut out, &x, None, 0.0);
        for (&x, &found) in x.iter().zip(&out) {
            let expected = 1.0 / (1.0 + f64::from(-x).exp());
            assert!((f64::from(found) - expected).abs() < 2e-7, "{x}: {found}, must be {expected}");
        }
    }

    #[test]
    fn factors_and_what_is_no_number() {
        let mut out = [9.0; 5];
        let x = [0.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0];
        gate(&mut out, &x, Some(&[2.0, 1.0, 3.0, 4.0, f32::NAN]), 1.0);
        assert_eq!([out[0], out[2], out[3]], [3.0, 6.0, 4.0]);
        assert!(out[1].is_nan() && out[4].is_nan());
    }
}
