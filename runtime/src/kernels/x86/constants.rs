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
    /// Of 16 channels or fewer.
    pub(super) fn new(requants: &[Requant], residual: Option<i32>, lo: i8, hi: i8) -> Self {
        let [mut m, mut s] = [[0; BLOCK]; 2];
        let [mut even, mut odd] = [[0; BLOCK / 2]; 2];
        for ((requant, m), s) in requants.iter().zip(&mut m).zip(&mut s) {
            (*m, *s) = (requant.m, requant.s.wrapping_sub(32) as i32 & 31);
        }
        for ((requants, even), odd) in requants.chunks(2).zip(&mut even).zip(&mut odd) {
            (*even, *odd) = (requants[0].c, requants.get(1).map_or(0, |requant| requant.c));
        }
        Self { m, s, even, odd, residual, lo, hi, channels: requants.len().min(BLOCK) }
    }
}
