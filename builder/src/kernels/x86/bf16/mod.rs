//! Products of bfloat16, summed in single precision two at a time by `VDPBF16PS` (AVX-512 BF16).
//!
//! A pair is two neighbouring terms of a sum, in one word: the first in its lower half. Rounding is to nearest, ties to
//! even; what is subnormal counts as zero.

#[cfg(target_arch = "x86_64")]
mod patches;

#[cfg(not(target_arch = "x86_64"))]
use crate::kernels::correlate::{Patches, Target};
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// Lanes of a vector.
const LANES: usize = 16;

/// Pairs of a row of a part: half of a block of channels.
const PAIRS: usize = LANES / 2;

/// `[pair][16 columns]`, for one or two blocks of columns.
type Columns<'a, const B: usize> = [&'a [u32]; B];
/// 16 sums for each of `P` rows and `B` blocks of columns.
type Sums<const P: usize, const B: usize> = [[[f32; LANES]; B]; P];

/// That the processor has the instructions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bf16(());

#[cfg(target_arch = "x86_64")]
impl Bf16 {
    pub(crate) fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512bf16");
        has.then_some(Self(()))
    }

    /// Rounds numbers; neighbours become pairs. Whole vectors of `to` are written: zeros after the last number.
    pub(crate) fn round(self, from: &[f32], to: &mut [u32]) {
        // SAFETY: a `Bf16` exists only where `detect` has found the features.
        unsafe { round(from, to) }
    }

    /// Rounds rows of 16 numbers; two rows become a row of pairs. A row that is left over is paired with zeros.
    pub(crate) fn pair_rows(self, from: &[f32], to: &mut [u32]) {
        // SAFETY: a `Bf16` exists only where `detect` has found the features.
        unsafe { pair_rows(from, to) }
    }

    /// Adds the products of all pairs. Pairs of the rows lie in parts of 8, `part` words apart: `[part][row][8]`.
    pub(crate) fn multiply_rows<const P: usize, const B: usize>(
        self,
        (rows, part): (&[u32], usize),
        columns: Columns<B>,
        sums: &mut Sums<P, B>,
    ) {
        // SAFETY: a `Bf16` exists only where `detect` has found the features.
        unsafe { multiply_rows(rows, part, columns, sums) }
    }

    /// As [`Bf16::multiply_rows`], with the pairs of the rows side by side: `[pair][16]`, from `lane` on.
    pub(crate) fn multiply_lines<const P: usize, const B: usize>(
        self,
        (lines, lane): (&[u32], usize),
        columns: Columns<B>,
        sums: &mut Sums<P, B>,
    ) {
        // SAFETY: a `Bf16` exists only where `detect` has found the features.
        unsafe { multiply_lines(lines, lane, columns, sums) }
    }
}

#[cfg(not(target_arch = "x86_64"))]
impl Bf16 {
    pub(crate) fn detect() -> Option<Self> {
        None
    }

    pub(crate) fn round(self, _: &[f32], _: &mut [u32]) {
        unreachable!("there are none of these here")
    }

    pub(crate) fn pair_rows(self, _: &[f32], _: &mut [u32]) {
        unreachable!("there are none of these here")
    }

    pub(crate) fn multiply_rows<const P: usize, const B: usize>(
        self,
        _: (&[u32], usize),
        _: Columns<B>,
        _: &mut Sums<P, B>,
    ) {
        unreachable!("there are none of these here")
    }

    pub(crate) fn multiply_lines<const P: usize, const B: usize>(
        self,
        _: (&[u32], usize),
        _: Columns<B>,
        _: &mut Sums<P, B>,
    ) {
        unreachable!("there are none of these here")
    }

    pub(crate) fn correlate(self, _: &[u32], _: Patches, _: &[u32], _: &mut [f32], _: Target) {
        unreachable!("there are none of these here")
    }

    pub(crate) fn pair_patches(self, _: &[f32], _: Patches, _: &mut [u32]) {
        unreachable!("there are none of these here")
    }

    pub(crate) fn add_products(self, _: [&[u32]; 2], _: usize, _: usize, _: &mut [f32], _: [usize; 2]) {
        unreachable!("there are none of these here")
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn round(from: &[f32], to: &mut [u32]) {
    let (whole, rest) = from.as_chunks::<LANES>();
    let (to, _) = to.as_chunks_mut::<PAIRS>();
    for (from, to) in whole.iter().zip(to.iter_mut()) {
        *to = rounded(load(from));
    }
    if let Some(to) = to.get_mut(whole.len()) {
        *to = rounded(load_part(rest));
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bf16")]
#[inline]
fn rounded(numbers: __m512) -> [u32; PAIRS] {
    let rounded = _mm512_cvtneps_pbh(numbers);
    // SAFETY: both types are 32 bytes in which every bit pattern is valid.
    unsafe { std::mem::transmute::<__m256bh, [u32; PAIRS]>(rounded) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn pair_rows(from: &[f32], to: &mut [u32]) {
    let order = order();
    for (rows, to) in from.as_chunks::<LANES>().0.chunks(2).zip(to.as_chunks_mut::<LANES>().0) {
        let second = load(rows.get(1).unwrap_or(&[0.0; LANES]));
        *to = pair(order, load(&rows[0]), second);
    }
}

/// Halves of words: those of a first vector in even places, those of a second one in odd places.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
#[inline]
fn order() -> __m512i {
    let order: [u16; 2 * LANES] = std::array::from_fn(|i| (i / 2 + i % 2 * LANES) as u16);
    // SAFETY: both types are 64 bytes in which every bit pattern is valid.
    unsafe { std::mem::transmute::<[u16; 2 * LANES], __m512i>(order) }
}

/// Rounds two vectors and pairs them lane by lane.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
#[inline]
fn pair(order: __m512i, first: __m512, second: __m512) -> [u32; LANES] {
    let rounded = _mm512_cvtne2ps_pbh(second, first);
    // SAFETY: both types are 64 bytes in which every bit pattern is valid.
    let rounded = unsafe { std::mem::transmute::<__m512bh, __m512i>(rounded) };
    let paired = _mm512_permutexvar_epi16(order, rounded);
    // SAFETY: both types are 64 bytes in which every bit pattern is valid.
    unsafe { std::mem::transmute::<__m512i, [u32; LANES]>(paired) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn multiply_rows<const P: usize, const B: usize>(
    rows: &[u32],
    part: usize,
    columns: Columns<B>,
    results: &mut Sums<P, B>,
) {
    let mut sums = load_all(results);
    let total = columns[0].len() / LANES;
    for (index, first) in (0..total).step_by(PAIRS).enumerate() {
        let count = PAIRS.min(total - first);
        let Some(rows) = rows[index * part..].as_chunks::<PAIRS>().0.first_chunk::<P>() else { return };
        let mut of_blocks: [&[[u32; LANES]]; B] = [&[]; B];
        for b in 0..B {
            of_blocks[b] = &columns[b].as_chunks::<LANES>().0[first..][..count];
        }
        for i in 0..count.min(PAIRS) {
            let mut pair = [words(&[0; LANES]); B];
            for b in 0..B {
                pair[b] = words(&of_blocks[b][i]);
            }
            for p in 0..P {
                let row = repeat(rows[p][i]);
                for b in 0..B {
                    sums[p][b] = _mm512_dpbf16_ps(sums[p][b], row, pair[b]);
                }
            }
        }
    }
    store_all(&sums, results);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn multiply_lines<const P: usize, const B: usize>(
    lines: &[u32],
    lane: usize,
    columns: Columns<B>,
    results: &mut Sums<P, B>,
) {
    let mut sums = load_all(results);
    let lines = lines.as_chunks::<LANES>().0;
    let mut of_blocks: [&[[u32; LANES]]; B] = [&[]; B];
    for b in 0..B {
        of_blocks[b] = &columns[b].as_chunks::<LANES>().0[..lines.len()];
    }
    for i in 0..lines.len() {
        let Some(row) = lines[i][lane..].first_chunk::<P>() else { return };
        let mut pair = [words(&[0; LANES]); B];
        for b in 0..B {
            pair[b] = words(&of_blocks[b][i]);
        }
        for p in 0..P {
            let row = repeat(row[p]);
            for b in 0..B {
                sums[p][b] = _mm512_dpbf16_ps(sums[p][b], row, pair[b]);
            }
        }
    }
    store_all(&sums, results);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
#[inline]
fn load_all<const P: usize, const B: usize>(results: &Sums<P, B>) -> [[__m512; B]; P] {
    let mut sums = [[_mm512_setzero_ps(); B]; P];
    for p in 0..P {
        for b in 0..B {
            sums[p][b] = load(&results[p][b]);
        }
    }
    sums
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
#[inline]
fn store_all<const P: usize, const B: usize>(sums: &[[__m512; B]; P], results: &mut Sums<P, B>) {
    for p in 0..P {
        for b in 0..B {
            store(sums[p][b], &mut results[p][b]);
        }
    }
}

/// A pair in all lanes.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bf16")]
#[inline]
fn repeat(pair: u32) -> __m512bh {
    let pairs = _mm512_set1_epi32(pair.cast_signed());
    // SAFETY: both types are 64 bytes in which every bit pattern is valid.
    unsafe { std::mem::transmute::<__m512i, __m512bh>(pairs) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
#[inline]
fn load(from: &[f32; LANES]) -> __m512 {
    // SAFETY: the pointer is to as many bytes as are read, and need not be aligned.
    unsafe { _mm512_loadu_ps(from.as_ptr()) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
#[inline]
fn store(sums: __m512, to: &mut [f32; LANES]) {
    // SAFETY: the pointer is to as many bytes as are written, and need not be aligned.
    unsafe { _mm512_storeu_ps(to.as_mut_ptr(), sums) }
}

/// The lanes of at most 16 numbers.
#[cfg(target_arch = "x86_64")]
fn mask(len: usize) -> __mmask16 {
    (u32::from(u16::MAX) >> (LANES - len)) as u16
}

/// At most 16 numbers, then zeros.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
#[inline]
fn load_part(from: &[f32]) -> __m512 {
    // SAFETY: lanes that the mask leaves out are not read, and it has as many as the slice has elements.
    unsafe { _mm512_maskz_loadu_ps(mask(from.len()), from.as_ptr()) }
}

/// Writes the first lanes.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
#[inline]
fn store_part(sums: __m512, to: &mut [f32]) {
    // SAFETY: lanes that the mask leaves out are not written, and it has as many as the slice has elements.
    unsafe { _mm512_mask_storeu_ps(to.as_mut_ptr(), mask(to.len()), sums) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bf16")]
#[inline]
fn words(from: &[u32; LANES]) -> __m512bh {
    // SAFETY: both types are 64 bytes in which every bit pattern is valid.
    unsafe { std::mem::transmute::<[u32; LANES], __m512bh>(*from) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::noise;

    /// A number whose lower 16 bits are zero.
    fn rounded(x: f32) -> f32 {
        let bits = x.to_bits();
        f32::from_bits((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff_0000)
    }

    fn halves(pair: u32) -> [f32; 2] {
        [f32::from_bits(pair << 16), f32::from_bits(pair & 0xffff_0000)]
    }

    #[test]
    fn numbers_are_rounded_and_paired() {
        let Some(bf16) = Bf16::detect() else {
            return eprintln!("this processor has no AVX-512 BF16: nothing to test");
        };
        let from = noise(48, 1);
        let mut to = [0; 24];
        bf16.round(&from, &mut to);
        for (pair, from) in to.iter().zip(from.chunks(2)) {
            assert_eq!(halves(*pair), [from[0], from[1]].map(rounded));
        }
        let mut to = [0; 32];
        bf16.pair_rows(&from, &mut to);
        for lane in 0..LANES {
            assert_eq!(halves(to[lane]), [from[lane], from[LANES + lane]].map(rounded));
            assert_eq!(halves(to[LANES + lane]), [rounded(from[2 * LANES + lane]), 0.0]);
        }
    }

    #[test]
    fn sums_are_those_of_products_of_rounded_numbers() {
        let Some(bf16) = Bf16::detect() else {
            return eprintln!("this processor has no AVX-512 BF16: nothing to test");
        };
        // Eleven pairs of three rows, and of two blocks of columns.
        let (a, b) = (noise(3 * 32, 2), noise(2 * 22 * LANES, 3));
        let mut rows = [0; 3 * 16];
        let mut lines = [0; 11 * LANES];
        for row in 0..3 {
            for part in 0..2 {
                bf16.round(&a[row * 32 + part * 16..][..16], &mut rows[(part * 3 + row) * PAIRS..][..PAIRS]);
            }
            for pair in 0..11 {
                lines[pair * LANES + 5 + row] = rows[(pair / PAIRS * 3 + row) * PAIRS + pair % PAIRS];
            }
        }
        let mut columns = [vec![0; 11 * LANES], vec![0; 11 * LANES]];
        for (columns, b) in columns.iter_mut().zip(b.chunks(22 * LANES)) {
            bf16.pair_rows(b, columns);
        }
        let columns = [&columns[0][..], &columns[1][..]];
        let (mut by_rows, mut by_lines) = ([[[1.0; LANES]; 2]; 3], [[[1.0; LANES]; 2]; 3]);
        bf16.multiply_rows((&rows, 3 * PAIRS), columns, &mut by_rows);
        bf16.multiply_lines((&lines, 5), columns, &mut by_lines);
        assert_eq!(by_rows, by_lines);
        for row in 0..3 {
            for column in 0..2 * LANES {
                let term = |k: usize| {
                    let weight = b[(column / LANES * 22 + k) * LANES + column % LANES];
                    f64::from(rounded(a[row * 32 + k])) * f64::from(rounded(weight))
                };
                let expected = 1.0 + (0..22).map(term).sum::<f64>();
                let found = f64::from(by_rows[row][column / LANES][column % LANES]);
                assert!((found - expected).abs() < 1e-5, "{row} {column}: {found} {expected}");
            }
        }
    }
}
