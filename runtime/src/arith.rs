//! The integer arithmetic of Skipstone, defined once.
//!
//! Accumulators become int8 with one rounding: `q = clamp((acc * m + c) >> s, lo, hi)`, computed in 64 bits. `c` holds
//! everything that is constant for a channel: the bias, the folded zero points, the output's zero point and the half
//! that makes the shift round to nearest (ties up). The builder and [`format::check`](crate::format) prove that no sum
//! leaves its 32 or 64 bits.

/// Bits by which an int8 operand that is not part of a product of weights is raised before its multiplier, so that
/// ratios of scales around 1 fit a shift of at least 32.
pub const OPERAND_SHIFT: u32 = 8;

/// Smallest shift of a [`Requant`]: a 32-bit core shifts only the high word.
pub const SHIFT_MIN: u32 = 32;

/// Largest shift of a [`Requant`].
pub const SHIFT_MAX: u32 = 62;

/// How the accumulator of one output channel becomes int8. 16 bytes, as it lies in a packed model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Requant {
    /// Bias, zero points and rounding half, in units of `2^-s` output steps.
    pub c: i64,
    /// Multiplier of the accumulator, more than -2^31; negative only where batch norm's factor is.
    pub m: i32,
    /// Shift, [`SHIFT_MIN`]`..=`[`SHIFT_MAX`].
    pub s: u32,
}

impl Requant {
    /// One output value: `clamp((acc * m + c) >> s, lo, hi)`.
    #[inline(always)]
    pub fn apply(&self, acc: i32, lo: i8, hi: i8) -> i8 {
        self.round(product(acc, self.m), lo, hi)
    }

    /// One output value with a residual operand: `clamp((acc * m + (operand << 8) * multiplier + c) >> s, lo, hi)`.
    #[inline(always)]
    pub fn apply_residual(&self, acc: i32, operand: i8, multiplier: i32, lo: i8, hi: i8) -> i8 {
        self.round(product(acc, self.m) + product(raise(operand.into()), multiplier), lo, hi)
    }

    #[inline(always)]
    fn round(&self, product: i64, lo: i8, hi: i8) -> i8 {
        // The shift is at least `SHIFT_MIN`, so the high word holds all that is left: one shift on a 32-bit core.
        let high = ((product + self.c) >> SHIFT_MIN) as i32;
        let shifted = high >> (self.s.wrapping_sub(SHIFT_MIN) & 31);
        // lo and hi are int8, so the clamped value is too.
        shifted.max(i32::from(lo)).min(i32::from(hi)) as i8
    }
}

/// The product of two integers in 64 bits.
#[inline(always)]
fn product(a: i32, b: i32) -> i64 {
    if cfg!(skipstone_armv6m) { product_of_halves(a, b) } else { i64::from(a) * i64::from(b) }
}

/// The product by multiplications of 32 bits: what cores without longer ones call a library for.
#[inline(always)]
fn product_of_halves(a: i32, b: i32) -> i64 {
    const LOW: i32 = 0xFFFF;
    let (a_low, a_high, b_low, b_high) = (a & LOW, a >> 16, b & LOW, b >> 16);
    let low = (a_low as u32).wrapping_mul(b_low as u32);
    // A half with a sign times one without, and another half: below 2^31.
    let middle = a_low.wrapping_mul(b_high).wrapping_add((low >> 16) as i32);
    let other = a_high.wrapping_mul(b_low).wrapping_add(middle & LOW);
    let high = a_high.wrapping_mul(b_high).wrapping_add(middle >> 16).wrapping_add(other >> 16);
    i64::from(high) << 32 | i64::from((other as u32) << 16 | low & LOW as u32)
}

/// An operand raised by [`OPERAND_SHIFT`] bits: a pixel, an int8 value, a sum of fewer than 2^15 int8 values, or one of
/// int8 values whose weights add up to less than 2^16.
#[inline(always)]
pub fn raise(value: i32) -> i32 {
    value << OPERAND_SHIFT
}

/// The accumulator of a gate: a mask and its constant, -255..=32767, times a trunk's distance from its zero point.
#[inline(always)]
pub fn gate(mask: i8, offset: i32, trunk: i8, zero_point: i8) -> i32 {
    i32::from(mask).wrapping_add(offset).wrapping_mul(i32::from(trunk) - i32::from(zero_point))
}

/// Bits by which an L2 norm raises the distance of a value from its zero point before it is divided by the norm.
pub const L2_SHIFT: u32 = 16;

/// Largest shift of a conversion that [`over_root`] makes: its constant then fits 64 bits.
pub const ROOT_SHIFT_MAX: u32 = 55;

/// The conversion that divides by the square root of `square`, which differs from image to image: it takes an
/// accumulator below 2^29 in magnitude to `acc * numerator / sqrt(square)` output steps, where `numerator` is
/// `m / 2^(s - 31)`, and to the zero point if `square` is 0.
///
/// The root has 32 bits, the multiplier 30 or more. The shift stays in [`SHIFT_MIN`]`..=`[`ROOT_SHIFT_MAX`].
pub fn over_root(square: u64, numerator: &Requant, zero_point: i8) -> Requant {
    // An even shift brings the square to 2^62 or more, which doubles its root `half` times.
    let half = square.leading_zeros() / 2;
    let root = root(square.wrapping_shl(2 * half));
    let raised = u64::from(numerator.m.max(0).unsigned_abs()) << 31;
    // At most the numerator's, as the root of what is not 0 is at least 2^31.
    let m = raised.wrapping_add(root / 2).checked_div(root).unwrap_or(0) as i32;
    to_zero_point(m, numerator.s.saturating_sub(half), zero_point)
}

/// The conversion by `m` and `s`, brought to [`SHIFT_MIN`]`..=`[`ROOT_SHIFT_MAX`], that takes 0 to the zero point.
#[inline(always)]
pub fn to_zero_point(m: i32, s: u32, zero_point: i8) -> Requant {
    let s = s.clamp(SHIFT_MIN, ROOT_SHIFT_MAX);
    Requant { c: (i64::from(zero_point) << s) + (1 << (s - 1)), m, s }
}

/// The largest integer whose square is at most `square`, bit by bit.
fn root(square: u64) -> u64 {
    let (mut rest, mut root, mut bit) = (square, 0u64, 1u64 << 62);
    while bit != 0 {
        let trial = root | bit;
        root >>= 1;
        if rest >= trial {
            rest -= trial;
            root |= bit;
        }
        bit >>= 2;
    }
    root
}

/// A sum of squares, of fewer than 2^16 values, and the square of one more value's distance from the zero point.
#[inline(always)]
pub fn add_square(sum: u32, value: i8, zero_point: i8) -> u32 {
    let distance = i32::from(value) - i32::from(zero_point);
    sum.wrapping_add((distance * distance) as u32)
}

/// The accumulator of an L2 norm, for [`over_root`] of the sum of squares.
#[inline(always)]
pub fn l2_distance(value: i8, zero_point: i8) -> i32 {
    (i32::from(value) - i32::from(zero_point)) << L2_SHIFT
}

/// Bits by which an instance or group norm of `count` values, fewer than 2^21, raises the distance of a value from their mean.
#[inline(always)]
pub fn instance_shift(count: u32) -> u32 {
    255u32.wrapping_mul(count).leading_zeros().saturating_sub(3)
}

/// The accumulator of an instance or group norm: `count` times the distance of a value from the mean of `count` values that
/// add up to `sum`.
#[inline(always)]
pub fn instance_distance(value: i8, count: u32, sum: i32) -> i32 {
    let distance = i32::from(value).wrapping_mul(count as i32).wrapping_sub(sum);
    distance.wrapping_shl(instance_shift(count))
}

/// `count^2 * variance * 2^fraction + epsilon` of `count` values, for [`over_root`]; 0 where they are all the same.
pub fn instance_square(count: u32, sum: i32, squares: u64, fraction: u32, epsilon: u64) -> u64 {
    let sum = u64::from(sum.unsigned_abs());
    match (u64::from(count).wrapping_mul(squares)).wrapping_sub(sum.wrapping_mul(sum)) {
        0 => 0,
        variance => variance.wrapping_shl(fraction).wrapping_add(epsilon),
    }
}

/// A sum and `weight` times one more value.
#[inline(always)]
pub fn weigh(sum: i32, weight: i32, value: i8) -> i32 {
    sum.wrapping_add(weight.wrapping_mul(i32::from(value)))
}

/// A sum and `weight` times a narrower one.
#[inline(always)]
pub fn weigh_sum(sum: i64, weight: i32, narrow: i32) -> i64 {
    sum.wrapping_add(i64::from(weight).wrapping_mul(narrow.into()))
}

/// The accumulator of a resampling: its sum without the last `bits` bits, which are less than 2^-20 steps.
#[inline(always)]
pub fn narrow(sum: i64, bits: u32) -> i32 {
    sum.wrapping_shr(bits) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers of `docs/quantization.md`.
    #[test]
    fn multipliers_may_be_negative() {
        let (m, s) = (-1_610_612_736, 37);
        let c = -i64::from(m) * i64::from(raise(20)) + (7 << s) + (1 << (s - 1));
        assert_eq!(c, 9_277_129_359_360);
        let requant = Requant { c, m, s };
        assert_eq!([20, 30, -10, 21].map(|q| requant.apply(raise(q), -128, 127)), [7, -23, 97, 4]);
        assert_eq!(requant.apply(raise(-128), -128, 127), 127);
    }

    #[test]
    fn halves_make_the_whole_product() {
        let numbers =
            [0, 1, -1, 2, 0x7FFF, 0x8000, -0x8000, 0xFFFF, 0x1_0000, -0x1_0000, 0x1234_5678, i32::MAX, i32::MIN];
        for (a, b) in numbers.iter().flat_map(|&a| numbers.map(|b| (a, b))) {
            assert_eq!(product_of_halves(a, b), i64::from(a) * i64::from(b), "{a} * {b}");
            assert_eq!(
                product_of_halves(a ^ 0x5555, b.wrapping_sub(77)),
                i64::from(a ^ 0x5555) * i64::from(b.wrapping_sub(77))
            );
        }
    }

    #[test]
    fn gates_multiply_real_numbers() {
        let requant = Requant { c: (-10 << 38) + (1 << 37), m: 1 << 29, s: 38 };
        let product = |mask, offset, trunk| requant.apply(gate(mask, offset, trunk, 3), -128, 127);
        assert_eq!([product(0, 128, 23), product(0, 384, 23), product(-128, 384, 23)], [-5, 5, 0]);
        assert_eq!([product(-128, 128, 23), product(127, 384, 3)], [-10, -10]);
        assert_eq!(gate(127, 32767, -128, 127), (127 + 32767) * -255);
        assert_eq!(gate(-128, -255, -128, 127), 383 * 255);
    }

    #[test]
    fn weights_of_a_resize_are_divided_out() {
        let sum = [(9, 10), (3, 30), (3, 10), (1, 31)].iter().fold(0, |sum, &(weight, q)| weigh(sum, weight, q));
        let requant = Requant { c: 1 << 41, m: 1 << 30, s: 42 };
        assert_eq!((sum, requant.apply(raise(sum), -128, 127)), (241, 15));
    }

    #[test]
    fn roots_are_the_largest_that_fit() {
        for square in [0, 1, 2, 3, 4, 8, 9, 24, 25, 1 << 62, (1 << 62) + 1, u64::MAX - 1, u64::MAX] {
            let root = u128::from(root(square));
            assert!(root * root <= square.into() && (root + 1) * (root + 1) > square.into(), "{square}: {root}");
        }
        assert_eq!((root(u64::MAX), root(1 << 62)), (u32::MAX.into(), 1 << 31));
    }

    /// The numbers of `docs/quantization.md`.
    #[test]
    fn norms_divide_by_a_root() {
        // Output scale 1/128: 128 / 2^16 = m / 2^(s - 31).
        let numerator = Requant { c: 0, m: 1 << 30, s: 70 };
        let distances = [3, -4, 12, 0];
        let square = distances.iter().fold(0, |sum, &q| add_square(sum, q + 5, 5));
        let requant = over_root(square.into(), &numerator, 10);
        assert_eq!((square, requant.s, requant.m), (169, 42, 660_764_199));
        assert_eq!(distances.map(|q| requant.apply(l2_distance(q + 5, 5), -128, 127)), [40, -29, 127, 10]);
        assert_eq!(over_root(0, &numerator, 10).apply(l2_distance(5, 5), -128, 127), 10);

        // Four values of mean 4 and variance 5; output scale 1/32, a zero point of -3, an epsilon of 4 of the input's
        // squared steps: 32 * (q - 4) / 3.
        let values = [1i8, 3, 5, 7];
        let (sum, squares) = (16, 84);
        let (fraction, shift) = (42, instance_shift(4));
        assert_eq!((shift, instance_distance(7, 4, sum)), (19, 12 << 19));
        let square = instance_square(4, sum, squares, fraction, (16 * 4) << fraction);
        assert_eq!(square, 144 << 42);
        // 32 * 2^21 / 2^19 = m / 2^(s - 31).
        let requant = over_root(square, &Requant { c: 0, m: 1 << 30, s: 54 }, -3);
        let made = values.map(|q| requant.apply(instance_distance(q, 4, sum), -128, 127));
        assert_eq!(made, [-35, -14, 8, 29]);
        assert_eq!(instance_square(4, 20, 100, fraction, 1 << 60), 0);
    }

    #[test]
    fn what_is_divided_by_a_root_is_as_exact_as_float32() {
        let mut state = 1u64;
        for _ in 0..20_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let square = (state >> 8 >> (state % 56)).max(1);
            let numerator = Requant { c: 0, m: (1 << 30) + (state >> 34) as i32 % (1 << 30), s: 80 };
            let requant = over_root(square, &numerator, 0);
            let half = square.leading_zeros() / 2;
            if (SHIFT_MIN..=ROOT_SHIFT_MAX).contains(&(80 - half)) {
                let made = f64::from(requant.m) / (1u64 << requant.s) as f64;
                let real = f64::from(numerator.m) / (1u64 << 49) as f64 / (square as f64).sqrt();
                assert!((made / real - 1.0).abs() < 1.0 / (1 << 28) as f64, "{square} {numerator:?}: {made} {real}");
            }
        }
    }

    #[test]
    fn averages_divide_by_what_counts() {
        let mean = |count: i32, sum| {
            let m = (f64::from(1 << 30) / f64::from(count)).round() as i32;
            Requant { c: 1 << 37, m, s: 38 }.apply(raise(sum), -128, 127)
        };
        assert_eq!([mean(3, 31), mean(3, 32), mean(2, 31), mean(2, -31)], [10, 11, 16, -15]);
    }
}
