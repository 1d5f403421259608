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
        self.round(i64::from(acc) * i64::from(self.m), lo, hi)
    }

    /// One output value with a residual operand: `clamp((acc * m + (operand << 8) * multiplier + c) >> s, lo, hi)`.
    #[inline(always)]
    pub fn apply_residual(&self, acc: i32, operand: i8, multiplier: i32, lo: i8, hi: i8) -> i8 {
        let product = i64::from(acc) * i64::from(self.m);
        self.round(product + i64::from(raise(i32::from(operand))) * i64::from(multiplier), lo, hi)
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

/// A sum and `weight` times one more value.
#[inline(always)]
pub fn weigh(sum: i32, weight: i32, value: i8) -> i32 {
    sum.wrapping_add(weight.wrapping_mul(i32::from(value)))
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
    fn averages_divide_by_what_counts() {
        let mean = |count: i32, sum| {
            let m = (f64::from(1 << 30) / f64::from(count)).round() as i32;
            Requant { c: 1 << 37, m, s: 38 }.apply(raise(sum), -128, 127)
        };
        assert_eq!([mean(3, 31), mean(3, 32), mean(2, 31), mean(2, -31)], [10, 11, 16, -15]);
    }
}
