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
    /// Multiplier of the accumulator.
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

/// An operand raised by [`OPERAND_SHIFT`] bits: a pixel, an int8 value, or a sum of fewer than 2^15 int8 values.
#[inline(always)]
pub fn raise(value: i32) -> i32 {
    value << OPERAND_SHIFT
}
