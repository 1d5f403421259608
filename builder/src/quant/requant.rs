//! The one place where real multipliers become integers.
//!
//! `q = clamp((acc * m + c) >> s, lo, hi)` stands for `q = acc * multiplier + constant`, rounded. `m` is the nearest
//! integer to `multiplier * 2^s`; everything that the accumulator's zero points and bias contribute is multiplied by
//! that same `m`, so that a real zero stays an exact zero.

use skipstone_onnx::QuantParams;
use skipstone_runtime::arith::{OPERAND_SHIFT, Requant, SHIFT_MAX, SHIFT_MIN};

/// Bits that stay free above the largest 64-bit sum and below the largest shift: kernels whose accumulators are up to
/// 16 times too large (Winograd) apply `s + 4` and `c * 16`.
pub const HEADROOM_BITS: u32 = 4;

/// Largest real multiplier of an accumulator (exclusive): `m < 2^31` at the smallest shift.
pub const MULTIPLIER_LIMIT: f64 = 0.5;

/// Largest ratio of an operand's scale to the output's scale (exclusive): its multiplier is below 2^31 at the smallest
/// shift, [`OPERAND_SHIFT`] bits of which the raised operand brings itself.
pub const OPERAND_LIMIT: f64 = MULTIPLIER_LIMIT * (1 << OPERAND_SHIFT) as f64;

/// How one channel's accumulator becomes output steps: `(acc + offset) * multiplier + constant + output zero point`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Channel {
    /// Output steps for one unit of the accumulator; at least 0, below [`MULTIPLIER_LIMIT`].
    pub multiplier: f64,
    /// Added to the accumulator: the bias, less what the input's zero point contributes.
    pub offset: i64,
    /// Output steps that are no whole number of units of the accumulator.
    pub constant: f64,
    /// Largest absolute value that the accumulator and each of its partial sums can take.
    pub bound: i64,
}

/// A second operand that enters the sum before the rounding: `(q - zero_point) * multiplier` output steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Operand {
    /// Output steps for one step of the operand; positive, below [`OPERAND_LIMIT`].
    pub multiplier: f64,
    /// The operand's zero point.
    pub zero_point: i8,
}

/// The integer parameters of a node.
///
/// [`operand_multiplier`](Self::operand_multiplier) is what is added to the mask of a gate, the bits by which a norm raises
/// squares, and those that the sums of a resampling lose. The conversion of a norm is the numerator of its division by a root.
#[derive(Clone, Debug, PartialEq)]
pub struct Requants {
    /// One for each channel. With an operand all have the same shift.
    pub channels: Vec<Requant>,
    /// Multiplier of the raised operand; 0 without one.
    pub operand_multiplier: i32,
}

impl Requants {
    /// The conversion of a channel that only pads the output to a multiple of channels: it gives the output's zero point
    /// where the accumulator is 0 and the operand, if there is one, is its own zero point.
    pub fn padding(&self, zero_point: i8, operand_zero_point: Option<i8>) -> Requant {
        let s = self.channels.first().map_or(SHIFT_MIN, |first| first.s);
        let operand = i64::from(operand_zero_point.unwrap_or(0)) * i64::from(self.operand_multiplier);
        let c = (i64::from(zero_point) << s) + (1 << (s - 1)) - (operand << OPERAND_SHIFT);
        Requant { c, m: 0, s }
    }
}

/// The conversion of a channel that only pads: whatever the accumulator is, it gives the zero point.
pub fn constant(zero_point: i8) -> Requant {
    Requant { c: (i64::from(zero_point) << SHIFT_MIN) + (1 << (SHIFT_MIN - 1)), m: 0, s: SHIFT_MIN }
}

/// A channel whose arithmetic would leave its 32 or 64 bits.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("output channel {channel}: {reason}")]
pub struct RequantError {
    /// The channel.
    pub channel: usize,
    /// Which bound does not hold.
    pub reason: String,
}

/// Integer parameters for `channels`, each with the largest shift for which the multiplier fits 31 bits and the sum
/// 64 bits less the headroom; with an operand, the largest shift that serves all of them.
///
/// # Errors
/// [`RequantError`] naming the first channel for which no shift will do, or whose accumulator does not fit 32 bits.
pub fn requants(channels: &[Channel], operand: Option<Operand>, zero_point: i8) -> Result<Requants, RequantError> {
    for (index, channel) in channels.iter().enumerate() {
        if channel.bound > i64::from(i32::MAX) {
            let reason = format!("its accumulator can reach {}, more than 32 bits hold", channel.bound);
            return Err(RequantError { channel: index, reason });
        }
    }
    let fail = |index: usize, reason: &'static str| RequantError { channel: index, reason: reason.into() };
    let Some(operand) = operand else {
        let fit = |(index, channel)| {
            descend(|s| at_shift(channel, None, zero_point, s)).map_err(|reason| fail(index, reason))
        };
        let channels = channels.iter().enumerate().map(fit).collect::<Result<_, _>>()?;
        return Ok(Requants { channels, operand_multiplier: 0 });
    };
    // What fits at a shift fits at every smaller one, so the smallest of the channels' largest shifts serves all.
    let mut shift = SHIFT_MAX - HEADROOM_BITS;
    for (index, channel) in channels.iter().enumerate() {
        let fitted = descend(|s| at_shift(channel, Some(operand), zero_point, s)).map_err(|r| fail(index, r))?;
        shift = shift.min(fitted.s);
    }
    let channels = channels.iter().enumerate().map(|(index, channel)| {
        at_shift(channel, Some(operand), zero_point, shift).map_err(|reason| fail(index, reason))
    });
    let channels = channels.collect::<Result<_, _>>()?;
    let operand_multiplier = integer(operand.multiplier, shift - OPERAND_SHIFT).map_err(|reason| fail(0, reason))?;
    Ok(Requants { channels, operand_multiplier })
}

/// Integer parameters of `(acc + offset) * multiplier + constant` output steps, where `constant` holds the output's zero
/// point and is not a multiple of `m`. The multiplier may be negative; it is below [`MULTIPLIER_LIMIT`] in magnitude.
///
/// # Errors
/// Which bound does not hold, where numbers are out of range.
pub fn affine(multiplier: f64, offset: i64, constant: f64, bound: i64) -> Result<Requant, &'static str> {
    descend(|s| {
        let m = integer(multiplier.abs(), s)?;
        let m = if multiplier < 0.0 { -m } else { m };
        let shifted = (constant * power_of_two(s)).round();
        // False for a NaN, too.
        let fits = shifted.abs() < power_of_two(63 - HEADROOM_BITS);
        if fits { finish(m, s, i128::from(m) * i128::from(offset) + shifted as i128, bound, 0) } else { Err(SUM) }
    })
}

/// Conversion of a raised pixel to int8: `(pixel / 255 - mean) / std` in steps of `scale`, `None` where the numbers are
/// out of range.
pub fn pixel(mean: f32, std: f32, QuantParams { scale, zero_point }: QuantParams) -> Option<Requant> {
    let steps = f64::from(std) * f64::from(scale);
    let multiplier = 1.0 / (255.0 * steps) / f64::from(1u32 << OPERAND_SHIFT);
    let constant = f64::from(zero_point) - f64::from(mean) / steps;
    affine(multiplier, 0, constant, 255 << OPERAND_SHIFT).ok()
}

pub(super) const MULTIPLIER: &str = "its multiplier does not fit 31 bits at a shift of 32";
const SUM: &str = "its 64-bit sum can overflow";

/// The parameters at the largest shift that has any.
fn descend(at_shift: impl Fn(u32) -> Result<Requant, &'static str>) -> Result<Requant, &'static str> {
    let mut last = Err(MULTIPLIER);
    for s in (SHIFT_MIN..=SHIFT_MAX - HEADROOM_BITS).rev() {
        last = at_shift(s);
        if last.is_ok() {
            break;
        }
    }
    last
}

fn at_shift(channel: &Channel, operand: Option<Operand>, zero_point: i8, s: u32) -> Result<Requant, &'static str> {
    let m = integer(channel.multiplier, s)?;
    let shifted = (channel.constant * power_of_two(s)).round();
    if shifted.is_nan() || shifted.abs() >= power_of_two(63 - HEADROOM_BITS) {
        return Err(SUM);
    }
    let mut constant = i128::from(m) * i128::from(channel.offset) + (i128::from(zero_point) << s) + shifted as i128;
    let mut others = 0;
    if let Some(operand) = operand {
        let raised = i128::from(integer(operand.multiplier, s - OPERAND_SHIFT)?) << OPERAND_SHIFT;
        constant -= raised * i128::from(operand.zero_point);
        others = raised * 128;
    }
    finish(m, s, constant, channel.bound, others)
}

/// Adds the rounding half and proves that no sum, in whatever order, leaves 64 bits less the headroom.
fn finish(m: i32, s: u32, constant: i128, bound: i64, others: i128) -> Result<Requant, &'static str> {
    let c = constant + (1 << (s - 1));
    let largest = i128::from(bound) * i128::from(m).abs() + others + c.abs();
    if largest >= 1 << (63 - HEADROOM_BITS) {
        return Err(SUM);
    }
    Ok(Requant { c: c as i64, m, s })
}

/// The nearest integer to `multiplier * 2^s`.
fn integer(multiplier: f64, s: u32) -> Result<i32, &'static str> {
    let m = (multiplier * power_of_two(s)).round();
    if (0.0..=f64::from(i32::MAX)).contains(&m) { Ok(m as i32) } else { Err(MULTIPLIER) }
}

fn power_of_two(exponent: u32) -> f64 {
    (1u64 << exponent) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn worked_convolution_channel() {
        // docs/quantization.md, "One channel": multiplier 0.05 * 0.002 / 0.04 = 1/400, input zero point -128 and weights
        // that sum to 10, bias 60, output zero point -3.
        let channel = Channel { multiplier: 0.0025, offset: 60 + 128 * 10, constant: 0.0, bound: 128 * 500 };
        let requant = requants(&[channel], None, -3).unwrap().channels[0];
        assert_eq!(requant.s, 39);
        assert_eq!(requant.m, 1_374_389_535);
        assert_eq!(requant.c, 467_292_442_180);
        // (4660 + 1340) / 400 - 3 = 12; half a step more rounds up, a unit less does not.
        assert_eq!(requant.apply(4660, -128, 127), 12);
        assert_eq!(requant.apply(4860, -128, 127), 13);
        assert_eq!(requant.apply(4859, -128, 127), 12);
        assert_eq!(requant.apply(-1340, -128, 127), -3);
        assert_eq!(requant.apply(-60_000, -128, 127), -128);
    }

    #[test]
    fn worked_residual() {
        // docs/quantization.md, "A residual": the operand's scale is 1.5 times the output's.
        let channel = Channel { multiplier: 0.0025, offset: 0, constant: 0.0, bound: 64_000 };
        let operand = Operand { multiplier: 1.5, zero_point: 20 };
        let result = requants(&[channel], Some(operand), -10).unwrap();
        assert_eq!(result.channels[0].s, 38);
        assert_eq!(result.channels[0].m, 687_194_767);
        assert_eq!(result.operand_multiplier, 3 << 29);
        // 800 / 400 + 1.5 * (30 - 20) - 10 = 7.
        assert_eq!(result.channels[0].apply_residual(800, 30, result.operand_multiplier, -128, 127), 7);
        assert_eq!(result.channels[0].apply_residual(0, 20, result.operand_multiplier, -128, 127), -10);
    }

    #[test]
    fn worked_pixel() {
        // docs/quantization.md, "Pixels": mean 0.25, std 0.5, scale 1 / 127.5, so that a step is a pixel level.
        let requant = pixel(0.25, 0.5, QuantParams { scale: 1.0 / 127.5, zero_point: -64 }).unwrap();
        // Level 0 is -63.75 steps from the mean, which is -127.75 with the zero point: -128.
        assert_eq!(requant.apply(0, -128, 127), -128);
        assert_eq!(requant.apply(64 << 8, -128, 127), -64);
        assert_eq!(requant.apply(255 << 8, -128, 127), 127);
    }

    #[test]
    fn errors_name_the_channel_and_the_bound() {
        let good = Channel { multiplier: 0.25, offset: 0, constant: 0.0, bound: 1000 };
        let wide = Channel { bound: 1 << 31, ..good };
        let error = requants(&[good, wide], None, 0).unwrap_err();
        assert_eq!(error.channel, 1);
        assert!(error.to_string().contains("accumulator can reach 2147483648"), "{error}");
        let large = Channel { multiplier: MULTIPLIER_LIMIT, ..good };
        let error = requants(&[good, good, large], None, 0).unwrap_err();
        assert_eq!(error, RequantError { channel: 2, reason: MULTIPLIER.into() });
        let overflow = Channel { multiplier: 0.4, offset: 0, constant: 0.0, bound: i64::from(i32::MAX) };
        assert_eq!(requants(&[overflow], None, 0).unwrap_err().reason, SUM);
        assert!(requants(&[Channel { multiplier: f64::NAN, ..good }], None, 0).is_err());
        let operand = Operand { multiplier: OPERAND_LIMIT, zero_point: 0 };
        assert!(requants(&[good], Some(operand), 0).is_err());
        assert!(pixel(0.5, 1e-20, QuantParams { scale: 1e-20, zero_point: 0 }).is_none());
    }

    #[test]
    fn a_dead_channel_gives_the_constant() {
        let dead = Channel { multiplier: 0.0, offset: 77, constant: 0.0, bound: 0 };
        let requant = requants(&[dead], None, 5).unwrap().channels[0];
        assert_eq!((requant.m, requant.apply(0, -128, 127)), (0, 5));
    }

    /// floor(n / d + 1/2), exactly.
    fn round_rational(n: i128, d: i128) -> i128 {
        (2 * n + d).div_euclid(2 * d)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        /// Multipliers that are rationals p / 2^k: the integer result equals the exact one wherever `m` is exact, and
        /// is within the stated error elsewhere.
        #[test]
        fn equals_exact_rational_arithmetic(
            p in 1i64..1 << 24, k in 26u32..50, offset in -1i64 << 24..1 << 24, zero in any::<i8>(),
            operand in proptest::option::of((1i64..1 << 20, 14u32..30, any::<i8>())),
            samples in proptest::collection::vec((any::<i32>(), any::<i8>()), 20),
        ) {
            let bound = 1i64 << 24;
            let channel = Channel { multiplier: p as f64 / (1u64 << k) as f64, offset, constant: 0.0, bound };
            let second = operand.map(|(p, k, z)| Operand { multiplier: p as f64 / (1u64 << k) as f64, zero_point: z });
            prop_assume!(channel.multiplier < MULTIPLIER_LIMIT);
            let result = requants(&[channel], second, zero).unwrap();
            let requant = result.channels[0];
            prop_assert!((SHIFT_MIN..=SHIFT_MAX - HEADROOM_BITS).contains(&requant.s));
            for (acc, other) in samples {
                let acc = acc % (bound as i32 + 1);
                let got = match operand {
                    None => requant.apply(acc, -128, 127),
                    Some(_) => requant.apply_residual(acc, other, result.operand_multiplier, -128, 127),
                };
                // Exact value in units of 2^-50 output steps.
                let unit = 1i128 << 50;
                let mut exact = i128::from(i64::from(acc) + offset) * i128::from(p) * (unit >> k) + i128::from(zero) * unit;
                if let Some((p, k, z)) = operand {
                    exact += (i128::from(other) - i128::from(z)) * i128::from(p) * (unit >> k);
                }
                let mut slack = 0i128;
                if i128::from(requant.m) * (1i128 << k) != i128::from(p) * (1i128 << requant.s) {
                    slack += i128::from(bound + offset.abs()) * (unit >> (requant.s + 1).min(50));
                }
                if let Some((p, k, _)) = operand
                    && i128::from(result.operand_multiplier) * (1i128 << k)
                        != i128::from(p) * (1i128 << (requant.s - OPERAND_SHIFT))
                {
                    slack += 256 * (unit >> (requant.s - OPERAND_SHIFT + 1).min(50));
                }
                let low = round_rational(exact - slack, unit).clamp(-128, 127);
                let high = round_rational(exact + slack, unit).clamp(-128, 127);
                prop_assert!((low..=high).contains(&i128::from(got)), "{got} not in {low}..={high}, {requant:?}");
            }
        }

        #[test]
        fn uses_every_bit_that_fits(multiplier in 1e-7f64..0.499, bound in 1i64..1 << 22) {
            let requant = requants(&[Channel { multiplier, offset: 0, constant: 0.0, bound }], None, 0).unwrap().channels[0];
            prop_assert!(requant.m >= 1 << 30, "{requant:?}");
        }
    }
}
