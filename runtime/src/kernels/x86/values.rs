//! Operators without weights with AVX-512, 16 values at a time.

use super::constants::Constants;
use super::vnni::{Vectors, Vnni};
use crate::arith::{OPERAND_SHIFT, Requant};
use crate::kernels::quads::BLOCK;
use core::arch::x86_64::{
    __m128i, __m512i, _mm_loadu_si128, _mm_maskz_loadu_epi8, _mm_max_epi8, _mm_set1_epi8, _mm_storeu_si128,
    _mm512_add_epi32, _mm512_cvtepi8_epi32, _mm512_cvtepu8_epi32, _mm512_mullo_epi32, _mm512_permutexvar_epi32,
    _mm512_permutexvar_epi64, _mm512_set1_epi32, _mm512_set1_epi64, _mm512_slli_epi32, _mm512_slli_epi64,
    _mm512_srli_epi64, _mm512_sub_epi32,
};

impl Vnni {
    /// Converts interleaved pixels of up to four channels as far as 16 of them lie side by side; how many elements these are.
    pub(super) fn quantize(self, pixels: &[u8], requants: &[Requant], out: &mut [i8]) -> usize {
        let run = match requants.len() {
            1 => quantize::<1>,
            2 => quantize::<2>,
            3 => quantize::<3>,
            4 => quantize::<4>,
            _ => return 0,
        };
        // SAFETY: `find` has found the instruction set.
        unsafe { run(pixels, requants, out) }
    }

    /// Converts pixels of a block of channels, every `stride` values. What is made for channels that do not exist is of no
    /// meaning.
    pub(super) fn affine(self, constants: &Constants, values: &[i8], stride: usize, made: &mut [[i8; BLOCK]]) {
        // SAFETY: `find` has found the instruction set.
        unsafe { affine(constants, values, stride, made) }
    }

    /// The averages of a block of channels out of their sums.
    #[inline]
    pub(super) fn average(self, sums: &[i32; BLOCK], requant: &Requant, lo: i8, hi: i8) -> [i8; BLOCK] {
        // SAFETY: `find` has found the instruction set.
        unsafe { average(sums, requant, lo, hi) }
    }

    /// Adds each channel of a block to its sum, `weight` times.
    #[inline]
    pub(super) fn weigh(self, values: &[i8; BLOCK], weight: i32, sums: &mut [i32; BLOCK]) {
        // SAFETY: `find` has found the instruction set.
        unsafe { weigh(values, weight, sums) }
    }

    /// The larger of each channel of a block and what is there.
    #[inline]
    pub(super) fn largest(self, values: &[i8; BLOCK], best: &mut [i8; BLOCK]) {
        // SAFETY: `find` has found the instruction set.
        unsafe { largest(values, best) }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn affine(constants: &Constants, values: &[i8], stride: usize, made: &mut [[i8; BLOCK]]) {
    let conversion = Vectors::new(constants);
    for (made, pixel) in made.iter_mut().zip(values.chunks(stride.max(1))) {
        let len = pixel.len().min(BLOCK);
        // SAFETY: the pixel has `len` values.
        let values = unsafe { _mm_maskz_loadu_epi8((1u32 << len).wrapping_sub(1) as u16, pixel.as_ptr()) };
        let raised = _mm512_slli_epi32::<OPERAND_SHIFT>(_mm512_cvtepi8_epi32(values));
        *made = bytemuck::cast(conversion.bytes(conversion.words(raised)));
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn average(sums: &[i32; BLOCK], requant: &Requant, lo: i8, hi: i8) -> [i8; BLOCK] {
    let (m, c) = (_mm512_set1_epi32(requant.m), _mm512_set1_epi64(requant.c));
    let s = _mm512_set1_epi32(requant.s.wrapping_sub(32) as i32 & 31);
    let conversion = Vectors { m, m_odd: m, even: c, odd: c, s, lo: _mm_set1_epi8(lo), hi: _mm_set1_epi8(hi) };
    let sums = _mm512_slli_epi32::<OPERAND_SHIFT>(bytemuck::cast(*sums));
    bytemuck::cast(conversion.bytes(conversion.words(sums)))
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn weigh(values: &[i8; BLOCK], weight: i32, sums: &mut [i32; BLOCK]) {
    let values = _mm512_cvtepi8_epi32(bytemuck::cast(*values));
    let products = _mm512_mullo_epi32(values, _mm512_set1_epi32(weight));
    *sums = bytemuck::cast(_mm512_add_epi32(bytemuck::cast(*sums), products));
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn largest(values: &[i8; BLOCK], best: &mut [i8; BLOCK]) {
    *best = bytemuck::cast(_mm_max_epi8(bytemuck::cast(*values), bytemuck::cast(*best)));
}

/// [`Vnni::quantize`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn quantize<const CHANNELS: usize>(pixels: &[u8], requants: &[Requant], out: &mut [i8]) -> usize {
    let mut all = [Requant { c: 0, m: 0, s: 32 }; 4];
    all.iter_mut().zip(requants).for_each(|(to, from)| *to = *from);
    let all: __m512i = bytemuck::cast(all);
    // 16 pixels are `CHANNELS` vectors, of which each begins with another channel.
    let mut vectors = [const { [0; BLOCK] }; CHANNELS];
    for (v, channels) in vectors.iter_mut().enumerate() {
        for (lane, channel) in channels.iter_mut().enumerate() {
            *channel = ((v * BLOCK + lane) % CHANNELS) as i32;
        }
    }
    let mut made = 0;
    let [low, high] = [_mm_set1_epi8(i8::MIN), _mm_set1_epi8(i8::MAX)];
    for (v, channels) in vectors.iter().enumerate() {
        let channels: __m512i = bytemuck::cast(*channels);
        let words = _mm512_slli_epi32::<2>(channels);
        let s = _mm512_permutexvar_epi32(_mm512_add_epi32(words, _mm512_set1_epi32(3)), all);
        let even = _mm512_srli_epi64::<31>(_mm512_slli_epi64::<32>(channels));
        let odd = _mm512_slli_epi64::<1>(_mm512_srli_epi64::<32>(channels));
        let m = _mm512_permutexvar_epi32(_mm512_add_epi32(words, _mm512_set1_epi32(2)), all);
        let conversion = Vectors {
            m,
            m_odd: _mm512_srli_epi64::<32>(m),
            even: _mm512_permutexvar_epi64(even, all),
            odd: _mm512_permutexvar_epi64(odd, all),
            s: _mm512_sub_epi32(s, _mm512_set1_epi32(32)),
            lo: low,
            hi: high,
        };
        let step = BLOCK * CHANNELS;
        for (pixels, out) in pixels.chunks_exact(step).zip(out.chunks_exact_mut(step)) {
            let (from, to) = (&pixels[v * BLOCK..][..BLOCK], &mut out[v * BLOCK..][..BLOCK]);
            // SAFETY: there are 16 elements.
            let values: __m128i = unsafe { _mm_loadu_si128(from.as_ptr().cast()) };
            let values = _mm512_slli_epi32::<OPERAND_SHIFT>(_mm512_cvtepu8_epi32(values));
            let bytes = conversion.bytes(conversion.words(values));
            // SAFETY: there are 16 elements.
            unsafe { _mm_storeu_si128(to.as_mut_ptr().cast(), bytes) };
            made += BLOCK;
        }
    }
    made
}
