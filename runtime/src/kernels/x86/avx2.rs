//! Tiles of 8 channels x 6 pixels with AVX2: bytes widened to 16 bits, multiplied and added in pairs.

use super::constants::Constants;
use crate::arith::{OPERAND_SHIFT, Requant};
use crate::kernels::quads::{BLOCK, Isa, Outputs, Sums, Tile, Walk, each_pixel};
use core::arch::x86_64::{
    __m128i, __m256i, _mm_loadu_si128, _mm_max_epi8, _mm_min_epi8, _mm_packs_epi16, _mm_set1_epi8, _mm_set1_epi32,
    _mm_shuffle_epi8, _mm_srli_si128, _mm256_add_epi32, _mm256_add_epi64, _mm256_blend_epi32, _mm256_castsi256_si128,
    _mm256_cvtepi8_epi16, _mm256_cvtepi8_epi32, _mm256_cvtepu8_epi16, _mm256_extracti128_si256, _mm256_hadd_epi32,
    _mm256_madd_epi16, _mm256_mul_epi32, _mm256_packs_epi32, _mm256_permute4x64_epi64, _mm256_set1_epi32,
    _mm256_setzero_si256, _mm256_slli_epi32, _mm256_srav_epi32, _mm256_srli_epi64,
};

/// The instruction set, found on this processor.
#[derive(Clone, Copy)]
pub(super) struct Avx2(());

impl Avx2 {
    /// `None` where the processor does not have it.
    pub(super) fn find() -> Option<Self> {
        super::has_avx2().then_some(Self(()))
    }
}

impl Isa for Avx2 {
    const TILE: usize = 6;
    const WIDE: bool = false;
    type Conversions = Constants;

    fn conversions(self) -> Constants {
        Constants::NONE
    }

    fn set(self, constants: &mut Constants, requants: &[Requant], residual: Option<i32>, clamp: [i8; 2]) {
        constants.set(requants, residual, clamp);
    }

    fn tile(
        self,
        (walk, two, groups, pixels): (Walk, bool, bool, usize),
        tile: &Tile<'_>,
        outputs: Outputs<'_, Constants>,
    ) {
        let run = tile_of(walk, two, groups, pixels);
        // SAFETY: `find` has found the instruction set.
        unsafe { run(tile, outputs.sums) }
        outputs.finish(self, pixels);
    }

    fn finish(self, constants: &Constants, sums: &[[i32; BLOCK]], out: &mut [i8], stride: usize) {
        // SAFETY: `find` has found the instruction set.
        unsafe { finish(constants, sums, out, stride) }
    }
}

/// Computes a tile's sums.
///
/// # Safety
/// The processor has the instruction set.
type TileFn = unsafe fn(&Tile<'_>, &mut Sums);

/// Bytes of the weights of 16 channels for four elements.
const VECTOR: usize = 4 * BLOCK;

fn tile_of(_: Walk, _: bool, groups: bool, pixels: usize) -> TileFn {
    macro_rules! tiles {
        ($groups:literal) => {
            [
                tile::<1, $groups>,
                tile::<2, $groups>,
                tile::<3, $groups>,
                tile::<4, $groups>,
                tile::<5, $groups>,
                tile::<6, $groups>,
            ]
        };
    }
    static TILES: [[TileFn; 6]; 2] = [tiles!(false), tiles!(true)];
    TILES[usize::from(groups)][(pixels - 1) % 6]
}

/// `N` pixels of a block of channels, a column of the kernel at a time.
///
/// # Safety
/// As [`TileFn`].
#[target_feature(enable = "avx2,bmi2")]
unsafe fn tile<const N: usize, const GROUPS: bool>(tile: &Tile<'_>, sums: &mut Sums) {
    let [starts, _] = tile.starts;
    let starts: [__m256i; 2] = bytemuck::cast(starts);
    for (half, start) in starts.into_iter().enumerate() {
        // SAFETY: the caller says so.
        let made: [[__m256i; 2]; N] = unsafe { eight_channels::<N, GROUPS>(tile, half) };
        for ([a, b], to) in made.into_iter().zip(&mut sums.0) {
            let made: [i32; 8] = bytemuck::cast(_mm256_add_epi32(totals(a, b), start));
            to[8 * half..8 * half + 8].copy_from_slice(&made);
        }
    }
}

/// Of `N` pixels and each four of the eight channels of a half of the block: two sums for each of these.
///
/// # Safety
/// As [`TileFn`].
#[inline]
#[target_feature(enable = "avx2,bmi2")]
unsafe fn eight_channels<const N: usize, const GROUPS: bool>(tile: &Tile<'_>, half: usize) -> [[__m256i; 2]; N] {
    let mut acc = [[_mm256_setzero_si256(); 2]; N];
    let mut line = tile.rows.as_ptr().cast::<i8>();
    let mut weights = tile.weights.as_ptr().wrapping_add(half.wrapping_mul(VECTOR / 2));
    let controls = tile.controls.map(|control| bytemuck::cast::<[i8; VECTOR], [[__m128i; 2]; 2]>(control)[half & 1]);
    for _ in 0..tile.kernel_h {
        let mut column = line;
        for _ in 0..tile.columns {
            let mut pixels = column;
            for quad in 0..tile.quads {
                // SAFETY: a block has `kernel_h * columns * quads` times 64 weights, and these are 16 of them.
                let first = unsafe { _mm_loadu_si128(weights.cast()) };
                // SAFETY: these are the next ones, of the same half.
                let second = unsafe { _mm_loadu_si128(weights.wrapping_add(16).cast()) };
                let [first, second] = [_mm256_cvtepi8_epi16(first), _mm256_cvtepi8_epi16(second)];
                for (x, acc) in acc.iter_mut().enumerate() {
                    let at = pixels.wrapping_add(x.wrapping_mul(tile.pixel_step));
                    let [a, b] = if GROUPS {
                        // SAFETY: the rows have what `Layout::reads` says: 16 elements from any block's first of any pixel.
                        let channels: __m128i = unsafe { _mm_loadu_si128(at.cast()) };
                        let [of_first, of_second] = controls[quad & 3];
                        let of_first = _mm256_cvtepu8_epi16(_mm_shuffle_epi8(channels, of_first));
                        [of_first, _mm256_cvtepu8_epi16(_mm_shuffle_epi8(channels, of_second))]
                    } else {
                        // SAFETY: the rows have all runs, filled up to 4 elements.
                        let channels = _mm_set1_epi32(unsafe { at.cast::<i32>().read_unaligned() });
                        [_mm256_cvtepu8_epi16(channels); 2]
                    };
                    acc[0] = _mm256_add_epi32(acc[0], _mm256_madd_epi16(first, a));
                    acc[1] = _mm256_add_epi32(acc[1], _mm256_madd_epi16(second, b));
                }
                weights = weights.wrapping_add(VECTOR);
                if !GROUPS {
                    pixels = pixels.wrapping_add(4);
                }
            }
            column = column.wrapping_add(tile.column_step);
        }
        line = line.wrapping_add(tile.row_len);
    }
    acc
}

/// Sums of eight channels out of two for each of four.
#[inline]
#[target_feature(enable = "avx2,bmi2")]
fn totals(a: __m256i, b: __m256i) -> __m256i {
    _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_hadd_epi32(a, b))
}

/// [`Isa::finish`].
#[target_feature(enable = "avx2,bmi2")]
fn finish(constants: &Constants, sums: &[[i32; BLOCK]], out: &mut [i8], stride: usize) {
    each_pixel(constants.channels, sums, out, stride, |sums, operand| {
        let [low, high] = [convert(constants, 0, sums, &operand), convert(constants, 1, sums, &operand)];
        // Packing takes the halves of both by turns, and saturates: what is left of a clamp can be done in 8 bits.
        let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(low, high));
        let bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
        let [lo, hi] = [_mm_set1_epi8(constants.lo), _mm_set1_epi8(constants.hi)];
        bytemuck::cast(_mm_min_epi8(_mm_max_epi8(bytes, lo), hi))
    });
}

/// The outputs of eight channels as 32-bit numbers, before they are clamped.
#[inline]
#[target_feature(enable = "avx2,bmi2")]
fn convert(constants: &Constants, half: usize, sums: &[i32; BLOCK], operand: &[i8; BLOCK]) -> __m256i {
    let of_half = |numbers: &[i32; BLOCK]| bytemuck::cast::<[i32; BLOCK], [__m256i; 2]>(*numbers)[half & 1];
    let of_quarter = |numbers: &[i64; BLOCK / 2]| bytemuck::cast::<[i64; BLOCK / 2], [__m256i; 2]>(*numbers)[half & 1];
    let (sums, m) = (of_half(sums), of_half(&constants.m));
    let mut low = _mm256_add_epi64(_mm256_mul_epi32(sums, m), of_quarter(&constants.even));
    let product = _mm256_mul_epi32(_mm256_srli_epi64::<32>(sums), _mm256_srli_epi64::<32>(m));
    let mut high = _mm256_add_epi64(product, of_quarter(&constants.odd));
    if let Some(multiplier) = constants.residual {
        let operand: __m128i = bytemuck::cast(*operand);
        let operand = if half == 0 { operand } else { _mm_srli_si128::<8>(operand) };
        let operand = _mm256_slli_epi32::<{ OPERAND_SHIFT as i32 }>(_mm256_cvtepi8_epi32(operand));
        let multiplier = _mm256_set1_epi32(multiplier);
        low = _mm256_add_epi64(low, _mm256_mul_epi32(operand, multiplier));
        high = _mm256_add_epi64(high, _mm256_mul_epi32(_mm256_srli_epi64::<32>(operand), multiplier));
    }
    // The high words: of the even channels moved down beside those of the odd ones.
    let words = _mm256_blend_epi32::<0b1010_1010>(_mm256_srli_epi64::<32>(low), high);
    _mm256_srav_epi32(words, of_half(&constants.s))
}
