//! Convolution by weights in quads: dot products of four bytes where the processor has them (Cortex-A76), else byte products
//! added in pairs, for groups of few channels.

use super::requant::Requant4;
use crate::arith::Requant;
use crate::kernels::conv::{ConvRows, Uint8};
use crate::kernels::quads::{self, BLOCK, Isa, Outputs, Sums, Tile, Walk, each_pixel};
use crate::kernels::reference;
use core::arch::aarch64::{
    int8x16_t, int32x4_t, vcombine_s8, vcombine_s16, vdupq_n_s8, vdupq_n_s32, veorq_s8, vget_low_s8, vget_low_s16,
    vld1q_s8, vmaxq_s8, vminq_s8, vmovl_high_s8, vmovl_high_s16, vmovl_s8, vmovl_s16, vmull_high_s8, vmull_s8,
    vpadalq_s16, vpaddq_s32, vqmovn_s16, vqmovn_s32, vqtbl1q_s8, vreinterpretq_s8_s32, vreinterpretq_u8_s8, vst1q_s8,
    vst1q_s32,
};
use core::arch::asm;

/// Bytes of a vector.
const LANES: usize = 16;

/// Convolution with dot products. Processors without them run the reference.
pub fn conv_16x4_dotprod(rows: &mut ConvRows<'_, Uint8>) {
    match Dotprod::find() {
        Some(isa) => quads::convolve(isa, rows),
        None => reference::conv(rows),
    }
}

/// Convolution with byte products added in pairs.
pub fn conv_16x2_neon(rows: &mut ConvRows<'_, Uint8>) {
    quads::convolve(Neon, rows);
}

/// Whether this processor has dot products.
pub(super) fn has_dotprod() -> bool {
    #[cfg(feature = "std")]
    let has = std::arch::is_aarch64_feature_detected!("dotprod");
    #[cfg(not(feature = "std"))]
    let has = cfg!(target_feature = "dotprod");
    has
}

/// NEON, which every aarch64 target has that this folder is compiled for.
#[derive(Clone, Copy)]
struct Neon;

/// Dot products, found on this processor.
#[derive(Clone, Copy)]
struct Dotprod(());

impl Dotprod {
    fn find() -> Option<Self> {
        has_dotprod().then_some(Self(()))
    }
}

impl Isa for Neon {
    const TILE: usize = 2;
    const WIDE: bool = false;
    type Conversions = Conversions;

    fn conversions(self) -> Conversions {
        Conversions::of(&[], None, [0, 0])
    }

    fn set(self, conversions: &mut Conversions, requants: &[Requant], residual: Option<i32>, clamp: [i8; 2]) {
        *conversions = Conversions::of(requants, residual, clamp);
    }

    fn tile(
        self,
        (_, _, groups, pixels): (Walk, bool, bool, usize),
        tile: &Tile<'_>,
        outputs: Outputs<'_, Conversions>,
    ) {
        let run = match (groups, pixels) {
            (false, 1) => pairs::<1, false>,
            (false, _) => pairs::<2, false>,
            (true, 1) => pairs::<1, true>,
            (true, _) => pairs::<2, true>,
        };
        // SAFETY: NEON is there.
        unsafe { run(tile, outputs.sums) }
        outputs.finish(self, pixels);
    }

    fn finish(self, conversions: &Conversions, sums: &[[i32; BLOCK]], out: &mut [i8], stride: usize) {
        // SAFETY: NEON is there.
        unsafe { conversions.finish(sums, out, stride) }
    }
}

impl Isa for Dotprod {
    const TILE: usize = 4;
    const WIDE: bool = false;
    type Conversions = Conversions;

    fn conversions(self) -> Conversions {
        Conversions::of(&[], None, [0, 0])
    }

    fn set(self, conversions: &mut Conversions, requants: &[Requant], residual: Option<i32>, clamp: [i8; 2]) {
        *conversions = Conversions::of(requants, residual, clamp);
    }

    fn tile(
        self,
        (_, _, groups, pixels): (Walk, bool, bool, usize),
        tile: &Tile<'_>,
        outputs: Outputs<'_, Conversions>,
    ) {
        let run = match (groups, pixels) {
            (false, 1) => dots::<1, false>,
            (false, 2) => dots::<2, false>,
            (false, 3) => dots::<3, false>,
            (false, _) => dots::<4, false>,
            (true, 1) => dots::<1, true>,
            (true, 2) => dots::<2, true>,
            (true, 3) => dots::<3, true>,
            (true, _) => dots::<4, true>,
        };
        // SAFETY: `find` has found dot products.
        unsafe { run(tile, outputs.sums) }
        outputs.finish(self, pixels);
    }

    fn finish(self, conversions: &Conversions, sums: &[[i32; BLOCK]], out: &mut [i8], stride: usize) {
        // SAFETY: NEON is there.
        unsafe { conversions.finish(sums, out, stride) }
    }
}

/// `N` pixels of a block of channels.
#[target_feature(enable = "neon,dotprod")]
fn dots<const N: usize, const GROUPS: bool>(tile: &Tile<'_>, sums: &mut Sums) {
    let mut acc = [[vdupq_n_s32(0); 4]; N];
    let mut line = tile.rows.as_ptr().cast::<i8>();
    let mut weights = tile.weights.as_ptr();
    for _ in 0..tile.kernel_h {
        let mut column = line;
        for _ in 0..tile.columns {
            let mut pixels = column;
            let mut left = tile.quads;
            while !GROUPS && left >= 4 {
                let mut p = [vdupq_n_s8(0); N];
                for (x, p) in p.iter_mut().enumerate() {
                    // SAFETY: a tile's runs exist, and this one has 16 elements left.
                    *p = unsafe { signed(pixels.wrapping_add(x.wrapping_mul(tile.pixel_step))) };
                }
                // SAFETY: a tile's weights exist, and these are those of four of its quads.
                let [a, b, c, d] = unsafe { four_quads(weights) };
                for (acc, p) in acc.iter_mut().zip(p) {
                    add_lane::<0>(acc, a, p);
                    add_lane::<1>(acc, b, p);
                    add_lane::<2>(acc, c, p);
                    add_lane::<3>(acc, d, p);
                }
                pixels = pixels.wrapping_add(LANES);
                weights = weights.wrapping_add(4 * 4 * BLOCK);
                left -= 4;
            }
            for quad in tile.quads - left..tile.quads {
                // SAFETY: a tile's weights exist, and these are those of one of its quads.
                let w = unsafe { load_quad(weights) };
                for (x, acc) in acc.iter_mut().enumerate() {
                    let at = pixels.wrapping_add(x.wrapping_mul(tile.pixel_step));
                    // SAFETY: a tile's runs exist, filled up to 4 elements, in small groups 16 elements.
                    let p = unsafe { pixel::<GROUPS>(at, &tile.controls[quad & 3]) };
                    for ((acc, w), p) in acc.iter_mut().zip(w).zip(p) {
                        *acc = dot(*acc, w, p);
                    }
                }
                weights = weights.wrapping_add(4 * BLOCK);
                if !GROUPS {
                    pixels = pixels.wrapping_add(4);
                }
            }
            column = column.wrapping_add(tile.column_step);
        }
        line = line.wrapping_add(tile.row_len);
    }
    for (acc, to) in acc.iter().zip(&mut sums.0) {
        store(*acc, to);
    }
}

/// `N` pixels of a block of channels, by products of 16 bits, two sums for each channel.
#[target_feature(enable = "neon")]
fn pairs<const N: usize, const GROUPS: bool>(tile: &Tile<'_>, sums: &mut Sums) {
    let mut acc = [[[vdupq_n_s32(0); 2]; 4]; N];
    let mut line = tile.rows.as_ptr().cast::<i8>();
    let mut weights = tile.weights.as_ptr();
    for _ in 0..tile.kernel_h {
        let mut column = line;
        for _ in 0..tile.columns {
            let mut pixels = column;
            for quad in 0..tile.quads {
                // SAFETY: a tile's weights exist, and these are those of one of its quads.
                let w = unsafe { load_quad(weights) };
                for (x, acc) in acc.iter_mut().enumerate() {
                    let at = pixels.wrapping_add(x.wrapping_mul(tile.pixel_step));
                    // SAFETY: a tile's runs exist, filled up to 4 elements, in small groups 16 elements.
                    let p = unsafe { pixel::<GROUPS>(at, &tile.controls[quad & 3]) };
                    for ((acc, w), p) in acc.iter_mut().zip(w).zip(p) {
                        acc[0] = vpadalq_s16(acc[0], vmull_s8(vget_low_s8(w), vget_low_s8(p)));
                        acc[1] = vpadalq_s16(acc[1], vmull_high_s8(w, p));
                    }
                }
                weights = weights.wrapping_add(4 * BLOCK);
                if !GROUPS {
                    pixels = pixels.wrapping_add(4);
                }
            }
            column = column.wrapping_add(tile.column_step);
        }
        line = line.wrapping_add(tile.row_len);
    }
    for (acc, to) in acc.iter().zip(&mut sums.0) {
        store([0, 1, 2, 3].map(|four: usize| vpaddq_s32(acc[four][0], acc[four][1])), to);
    }
}

/// 16 elements of a row as the int8 values that they stand for.
///
/// # Safety
/// They exist.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn signed(at: *const i8) -> int8x16_t {
    // SAFETY: the caller says so.
    veorq_s8(unsafe { vld1q_s8(at) }, vdupq_n_s8(i8::MIN))
}

/// Four elements of a pixel for each channel of a block, four channels a vector: the same ones, or those that the controls pick
/// out of 16.
///
/// # Safety
/// 4 elements, with groups 16, can be read from `at`.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn pixel<const GROUPS: bool>(at: *const i8, controls: &[i8; 4 * BLOCK]) -> [int8x16_t; 4] {
    if GROUPS {
        // SAFETY: the caller says so.
        let channels = unsafe { signed(at) };
        let [a, b, c, d] = load_bytes(controls);
        [
            vqtbl1q_s8(channels, vreinterpretq_u8_s8(a)),
            vqtbl1q_s8(channels, vreinterpretq_u8_s8(b)),
            vqtbl1q_s8(channels, vreinterpretq_u8_s8(c)),
            vqtbl1q_s8(channels, vreinterpretq_u8_s8(d)),
        ]
    } else {
        // SAFETY: the caller says so.
        let four = unsafe { at.cast::<i32>().read_unaligned() };
        [veorq_s8(vreinterpretq_s8_s32(vdupq_n_s32(four)), vdupq_n_s8(i8::MIN)); 4]
    }
}

/// The weights of a quad.
///
/// # Safety
/// They exist.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn load_quad(weights: *const i8) -> [int8x16_t; 4] {
    // SAFETY: the caller says so, and an array of bytes has no alignment.
    load_bytes(unsafe { &*weights.cast::<[i8; 4 * BLOCK]>() })
}

/// The weights of four quads.
///
/// # Safety
/// They exist.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn four_quads(weights: *const i8) -> [[int8x16_t; 4]; 4] {
    // SAFETY: the caller says so, and arrays of bytes have no alignment.
    let [a, b, c, d] = unsafe { &*weights.cast::<[[i8; 4 * BLOCK]; 4]>() };
    [load_bytes(a), load_bytes(b), load_bytes(c), load_bytes(d)]
}

#[inline]
#[target_feature(enable = "neon")]
fn load_bytes(bytes: &[i8; 4 * BLOCK]) -> [int8x16_t; 4] {
    let mut vectors = [vdupq_n_s8(0); 4];
    for (vector, bytes) in vectors.iter_mut().zip(bytes.as_chunks::<LANES>().0) {
        // SAFETY: there are 16 bytes.
        *vector = unsafe { vld1q_s8(bytes.as_ptr()) };
    }
    vectors
}

#[inline]
#[target_feature(enable = "neon")]
fn store(sums: [int32x4_t; 4], to: &mut [i32; BLOCK]) {
    for (sums, to) in sums.into_iter().zip(to.as_chunks_mut::<4>().0) {
        // SAFETY: there are four sums.
        unsafe { vst1q_s32(to.as_mut_ptr(), sums) };
    }
}

/// Adds to each of four channels the products of its four weights and of four values.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn dot(mut acc: int32x4_t, weights: int8x16_t, values: int8x16_t) -> int32x4_t {
    // SAFETY: the instruction is one of the feature's, and changes its first register alone.
    unsafe {
        asm!("sdot {0:v}.4s, {1:v}.16b, {2:v}.16b", inout(vreg) acc, in(vreg) weights, in(vreg) values,
            options(pure, nomem, nostack, preserves_flags));
    }
    acc
}

/// [`dot`] of 16 channels with the same four values, those numbered `LANE` of four times four.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn add_lane<const LANE: usize>(acc: &mut [int32x4_t; 4], weights: [int8x16_t; 4], values: int8x16_t) {
    for (acc, weights) in acc.iter_mut().zip(weights) {
        // SAFETY: the instruction is one of the feature's, and changes its first register alone.
        unsafe {
            asm!("sdot {0:v}.4s, {1:v}.16b, {2:v}.4b[{3}]", inout(vreg) *acc, in(vreg) weights, in(vreg) values,
                const LANE, options(pure, nomem, nostack, preserves_flags));
        }
    }
}

/// The conversions of 16 channels.
struct Conversions {
    fours: [Requant4; 4],
    residual: bool,
    lo: i8,
    hi: i8,
    channels: usize,
}

impl Conversions {
    fn of(requants: &[Requant], residual: Option<i32>, [lo, hi]: [i8; 2]) -> Self {
        let mut all = [Requant { c: 0, m: 0, s: 32 }; BLOCK];
        all.iter_mut().zip(requants).for_each(|(to, from)| *to = *from);
        let four = |index: usize| all.as_chunks::<4>().0[index];
        let fours = [0, 1, 2, 3].map(|index| {
            // SAFETY: NEON is there.
            unsafe { Requant4::new(&four(index), residual, lo, hi) }
        });
        Self { fours, residual: residual.is_some(), lo, hi, channels: requants.len().min(BLOCK) }
    }

    #[target_feature(enable = "neon")]
    fn finish(&self, sums: &[[i32; BLOCK]], out: &mut [i8], stride: usize) {
        each_pixel(self.channels, sums, out, stride, |sums, operand| {
            let mut words = [vdupq_n_s32(0); 4];
            let operands = if self.residual { widen(operand) } else { words };
            let sums = sums.as_chunks::<4>().0.iter();
            for (((word, sums), operand), four) in words.iter_mut().zip(sums).zip(operands).zip(&self.fours) {
                *word = four.words(super::requant::load_i32(sums), operand);
            }
            // Narrowing saturates: what is left of a clamp can be done in 8 bits.
            let low = vcombine_s16(vqmovn_s32(words[0]), vqmovn_s32(words[1]));
            let high = vcombine_s16(vqmovn_s32(words[2]), vqmovn_s32(words[3]));
            let bytes = vcombine_s8(vqmovn_s16(low), vqmovn_s16(high));
            let mut made = [0; BLOCK];
            let clamped = vminq_s8(vmaxq_s8(bytes, vdupq_n_s8(self.lo)), vdupq_n_s8(self.hi));
            // SAFETY: there are 16 outputs.
            unsafe { vst1q_s8(made.as_mut_ptr(), clamped) };
            made
        });
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn widen(values: [i8; BLOCK]) -> [int32x4_t; 4] {
    // SAFETY: there are 16 values.
    let values = unsafe { vld1q_s8(values.as_ptr()) };
    let (low, high) = (vmovl_s8(vget_low_s8(values)), vmovl_high_s8(values));
    [vmovl_s16(vget_low_s16(low)), vmovl_high_s16(low), vmovl_s16(vget_low_s16(high)), vmovl_high_s16(high)]
}
