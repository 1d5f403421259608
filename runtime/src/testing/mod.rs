//! Packed models made by hand, and their naive execution, for tests.

mod fixtures;
mod naive;
mod network;
mod operators;
mod pack;
mod run;

pub(crate) use fixtures::{every_operator, random_network, small_resnet};
pub(crate) use network::{Conv, Network};
pub(crate) use operators::{Part, Window};
pub(crate) use run::{image, runs_as_defined, shrink_rings};

use crate::arith::Requant;
use crate::format::checksum;
use crate::format::records::ALIGNMENT;

/// Bytes that start at a multiple of 16.
#[derive(Clone)]
pub(crate) struct Aligned(Vec<u128>, usize);

impl Aligned {
    pub(crate) fn zeroed(len: usize) -> Self {
        Self(vec![0; len.div_ceil(ALIGNMENT)], len)
    }
    pub(crate) fn copy_of(bytes: &[u8]) -> Self {
        let mut aligned = Self::zeroed(bytes.len());
        aligned.copy_from_slice(bytes);
        aligned
    }
    /// Writes the right checksum.
    pub(crate) fn seal(&mut self) {
        let sum = checksum::of_file(self);
        self[12..16].copy_from_slice(&sum.to_le_bytes());
    }
}

impl std::ops::Deref for Aligned {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.0)[..self.1]
    }
}

impl std::ops::DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.0)[..self.1]
    }
}

/// xorshift64*.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }
    pub(crate) fn next(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32) as u32
    }
    pub(crate) fn int8(&mut self) -> i8 {
        self.next() as i8
    }
    /// Below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.next() as usize % end
    }
    /// One of them.
    pub(crate) fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
    pub(crate) fn weights(&mut self, count: usize) -> Vec<i8> {
        (0..count).map(|_| self.int8().max(-127)).collect()
    }
    /// One that spreads accumulators of `terms` products over the int8 values.
    pub(crate) fn requant(&mut self, terms: usize, shift: u32) -> Requant {
        self.spread(128.0 * 60.0 * (terms as f64).sqrt(), shift)
    }
    /// One that spreads accumulators of about this magnitude over the int8 values.
    pub(crate) fn spread(&mut self, magnitude: f64, shift: u32) -> Requant {
        let m = ((70.0 / magnitude) * (1u64 << shift) as f64 * (0.5 + f64::from(self.next() % 1000) / 1000.0)) as i32;
        let c = (i64::from(self.int8() / 4) << shift) + (1 << (shift - 1));
        Requant { c, m, s: shift }
    }
}
