//! The conversions of 16 channels, for both instruction sets.

use crate::arith::Requant;
use crate::kernels::quads::BLOCK;

/// Conversions, those of channels with even numbers first where products have 64 bits.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Constants {
    pub(super) m: [i32; BLOCK],
    /// Less 32.
    pub(super) s: [i32; BLOCK],
    pub(super) even: [i64; BLOCK / 2],
    pub(super) odd: [i64; BLOCK / 2],
    /// Multiplier of the residual operand.
    pub(super) residual: Option<i32>,
    pub(super) lo: i8,
    pub(super) hi: i8,
    /// Channels that exist.
    pub(super) channels: usize,
}

impl Constants {
    /// Of no channels.
    pub(super) const NONE: Self = Self {
        m: [0; BLOCK],
        s: [0; BLOCK],
        even: [0; BLOCK / 2],
        odd: [0; BLOCK / 2],
        residual: None,
        lo: 0,
        hi: 0,
        channels: 0,
    };

    /// Of 16 channels or fewer.
    pub(super) fn new(requants: &[Requant], residual: Option<i32>, clamp: [i8; 2]) -> Self {
        let mut constants = Self::NONE;
        constants.set(requants, residual, clamp);
        constants
    }

    /// Makes them those of 16 channels or fewer.
    pub(super) fn set(&mut self, requants: &[Requant], residual: Option<i32>, [lo, hi]: [i8; 2]) {
        for ((requant, m), s) in requants.iter().zip(&mut self.m).zip(&mut self.s) {
            (*m, *s) = (requant.m, requant.s.wrapping_sub(32) as i32 & 31);
        }
        for ((requants, even), odd) in requants.chunks(2).zip(&mut self.even).zip(&mut self.odd) {
            (*even, *odd) = (requants[0].c, requants.get(1).map_or(0, |requant| requant.c));
        }
        (self.residual, self.lo, self.hi) = (residual, lo, hi);
        self.channels = requants.len().min(BLOCK);
    }
}
