//! Sums to outputs, four channels at a time; equals [`Requant`] bit for bit.

use crate::arith::{OPERAND_SHIFT, Requant};
use core::arch::aarch64::{
    int32x4_t, int64x2_t, vaddq_s64, vaddvq_s32, vcombine_s32, vdupq_n_s32, vget_low_s32, vld1q_s32, vld1q_s64,
    vmaxq_s32, vminq_s32, vmlal_high_s32, vmlal_s32, vmovn_s64, vmull_high_s32, vmull_s32, vpaddq_s32, vshlq_n_s32,
    vshlq_s64, vst1q_s32,
};

/// The constants of four neighbouring output channels.
pub(super) struct Requant4 {
    /// Of channels 0 and 1, and of channels 2 and 3.
    c: [int64x2_t; 2],
    /// Negative: a shift to the right.
    shift: [int64x2_t; 2],
    m: int32x4_t,
    residual: Option<int32x4_t>,
    lo: int32x4_t,
    hi: int32x4_t,
}

impl Requant4 {
    #[inline]
    #[target_feature(enable = "neon")]
    pub(super) fn new(channels: &[Requant; 4], residual: Option<i32>, lo: i8, hi: i8) -> Self {
        let m = channels.map(|requant| requant.m);
        let [c, shift] = [channels.map(|requant| requant.c), channels.map(|requant| -i64::from(requant.s & 63))];
        Self {
            c: [load_i64(&c, 0), load_i64(&c, 2)],
            shift: [load_i64(&shift, 0), load_i64(&shift, 2)],
            m: load_i32(&m),
            residual: residual.map(|multiplier| vdupq_n_s32(multiplier)),
            lo: vdupq_n_s32(i32::from(lo)),
            hi: vdupq_n_s32(i32::from(hi)),
        }
    }

    /// The outputs of the four channels from their partial sums; `out` holds the residual operand.
    #[inline]
    #[target_feature(enable = "neon")]
    pub(super) fn apply(&self, out: [i8; 4], sums: [int32x4_t; 4]) -> [i8; 4] {
        let [a, b, c, d] = sums;
        let sums = vpaddq_s32(vpaddq_s32(a, b), vpaddq_s32(c, d));
        let mut low = vmlal_s32(self.c[0], vget_low_s32(sums), vget_low_s32(self.m));
        let mut high = vmlal_high_s32(self.c[1], sums, self.m);
        if let Some(multiplier) = self.residual {
            let operand = load_i32(&out.map(|operand| i32::from(operand) << OPERAND_SHIFT));
            low = vaddq_s64(low, vmull_s32(vget_low_s32(operand), vget_low_s32(multiplier)));
            high = vaddq_s64(high, vmull_high_s32(operand, multiplier));
        }
        // A shift of at least 32 leaves 32 bits.
        let low = vmovn_s64(vshlq_s64(low, self.shift[0]));
        let high = vmovn_s64(vshlq_s64(high, self.shift[1]));
        let clamped = vminq_s32(vmaxq_s32(vcombine_s32(low, high), self.lo), self.hi);
        let mut values = [0; 4];
        // SAFETY: the array has the four elements that are written.
        unsafe { vst1q_s32(values.as_mut_ptr(), clamped) };
        values.map(|value| value as i8)
    }
}

impl Requant4 {
    /// The outputs of the four channels before they are clamped; `operand` is the residual one, where there is one.
    #[inline]
    #[target_feature(enable = "neon")]
    pub(super) fn words(&self, sums: int32x4_t, operand: int32x4_t) -> int32x4_t {
        let mut low = vmlal_s32(self.c[0], vget_low_s32(sums), vget_low_s32(self.m));
        let mut high = vmlal_high_s32(self.c[1], sums, self.m);
        if let Some(multiplier) = self.residual {
            let operand = vshlq_n_s32::<{ OPERAND_SHIFT as i32 }>(operand);
            low = vaddq_s64(low, vmull_s32(vget_low_s32(operand), vget_low_s32(multiplier)));
            high = vaddq_s64(high, vmull_high_s32(operand, multiplier));
        }
        // A shift of at least 32 leaves 32 bits.
        let low = vmovn_s64(vshlq_s64(low, self.shift[0]));
        let high = vmovn_s64(vshlq_s64(high, self.shift[1]));
        vcombine_s32(low, high)
    }
}

/// The sum of the four partial sums.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn total(sums: int32x4_t) -> i32 {
    vaddvq_s32(sums)
}

#[inline]
#[target_feature(enable = "neon")]
pub(super) fn load_i32(values: &[i32; 4]) -> int32x4_t {
    // SAFETY: the array has the four elements that are read.
    unsafe { vld1q_s32(values.as_ptr()) }
}

/// Elements `at` and `at + 1`.
#[inline]
#[target_feature(enable = "neon")]
fn load_i64(values: &[i64; 4], at: usize) -> int64x2_t {
    let pair = &values[at..at + 2];
    // SAFETY: the slice has the two elements that are read.
    unsafe { vld1q_s64(pair.as_ptr()) }
}
