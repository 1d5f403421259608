//! Tiles of 16 channels x 16 pixels with AVX-512's products of four bytes. The sums wrap around, they do not saturate, so
//! that their order does not matter.

use super::constants::Constants;
use crate::arith::{OPERAND_SHIFT, Requant};
use crate::kernels::quads::{BLOCK, Isa, PIXELS, Sums, Tile, Walk, each_pixel};
use core::arch::x86_64::{
    __m128i, __m512i, _mm_loadu_si128, _mm_max_epi8, _mm_min_epi8, _mm_set1_epi8, _mm512_add_epi64,
    _mm512_broadcast_i32x4, _mm512_cvtepi8_epi32, _mm512_cvtsepi32_epi8, _mm512_dpbusd_epi32, _mm512_loadu_si512,
    _mm512_mask_shuffle_epi32, _mm512_mul_epi32, _mm512_set1_epi32, _mm512_setzero_si512, _mm512_shuffle_epi8,
    _mm512_slli_epi32, _mm512_srav_epi32, _mm512_srli_epi64, _mm512_storeu_si512,
};

/// The body for each of the numbers: sums stay in registers only where their indices are constants.
macro_rules! turns {
    ($x:ident in $($number:literal)* $body:block) => {
        $({ let $x: usize = $number; $body })*
    };
}

/// The instruction set, found on this processor.
#[derive(Clone, Copy)]
pub(super) struct Vnni(());

impl Vnni {
    /// `None` where the processor does not have it.
    pub(super) fn find() -> Option<Self> {
        super::has_vnni().then_some(Self(()))
    }
}

impl Isa for Vnni {
    const TILE: usize = PIXELS;
    const WIDE: bool = true;
    type Conversions = Constants;

    fn conversions(self) -> Constants {
        Constants::NONE
    }

    fn set(self, constants: &mut Constants, requants: &[Requant], residual: Option<i32>, clamp: [i8; 2]) {
        constants.set(requants, residual, clamp);
    }

    fn tile(self, (walk, two, groups, pixels): (Walk, bool, bool, usize), tile: &Tile<'_>, sums: &mut Sums) {
        let run = tile_of(walk, two, groups, pixels);
        // SAFETY: `find` has found the instruction set.
        unsafe { run(tile, sums) }
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

/// Bytes of a vector of weights.
const VECTOR: usize = 4 * BLOCK;

fn tile_of(walk: Walk, two: bool, groups: bool, pixels: usize) -> TileFn {
    macro_rules! tiles {
        ($rows:literal, $blocks:literal, $columns:literal, $stride:literal, $groups:literal) => {{
            static TILES: [TileFn; PIXELS] = [
                tile::<1, $rows, $blocks, $columns, $stride, $groups>,
                tile::<2, $rows, $blocks, $columns, $stride, $groups>,
                tile::<3, $rows, $blocks, $columns, $stride, $groups>,
                tile::<4, $rows, $blocks, $columns, $stride, $groups>,
                tile::<5, $rows, $blocks, $columns, $stride, $groups>,
                tile::<6, $rows, $blocks, $columns, $stride, $groups>,
                tile::<7, $rows, $blocks, $columns, $stride, $groups>,
                tile::<8, $rows, $blocks, $columns, $stride, $groups>,
            ];
            &TILES
        }};
    }
    let tiles = match (walk, two, groups) {
        (Walk::Columns, false, false) => tiles!(1, 1, 1, 1, false),
        (Walk::Columns, true, _) => tiles!(1, 2, 1, 1, false),
        (Walk::Columns, false, true) => tiles!(1, 1, 1, 1, true),
        (Walk::Slides(1), false, false) => tiles!(1, 1, 3, 1, false),
        (Walk::Slides(1), true, _) => tiles!(2, 1, 3, 1, false),
        (Walk::Slides(1), false, true) => tiles!(1, 1, 3, 1, true),
        (Walk::Slides(_), false, false) => tiles!(1, 1, 3, 2, false),
        (Walk::Slides(_), true, _) => tiles!(2, 1, 3, 2, false),
        (Walk::Slides(_), false, true) => tiles!(1, 1, 3, 2, true),
    };
    tiles[(pixels - 1) % PIXELS]
}

/// `N` pixels of `ROWS` rows and `BLOCKS` blocks of channels, `COLUMNS` columns of the kernel at a time.
///
/// # Safety
/// As [`TileFn`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn tile<
    const N: usize,
    const ROWS: usize,
    const BLOCKS: usize,
    const COLUMNS: usize,
    const STRIDE: usize,
    const GROUPS: bool,
>(
    tile: &Tile<'_>,
    sums: &mut Sums,
) {
    let [first, second] = tile.starts.map(bytemuck::cast::<[i32; BLOCK], __m512i>);
    let mut a = [first; N];
    let mut b = [if BLOCKS == 2 { second } else { first }; N];
    let mut line = tile.rows.as_ptr().cast::<i8>();
    let mut weights = tile.weights.as_ptr();
    let column_len = tile.quads.wrapping_mul(VECTOR);
    let controls = tile.controls.map(bytemuck::cast::<[i8; VECTOR], __m512i>);
    for _ in 0..tile.kernel_h {
        let mut column = line;
        for _ in 0..tile.columns {
            let mut pixels = column;
            for quad in 0..tile.quads {
                let mut u = [_mm512_setzero_si512(); COLUMNS];
                let mut v = u;
                for (k, (u, v)) in u.iter_mut().zip(&mut v).enumerate() {
                    let at = weights.wrapping_add(k.wrapping_mul(column_len));
                    // SAFETY: a block has `kernel_h * columns * COLUMNS * quads` vectors, and this is one of them.
                    *u = unsafe { _mm512_loadu_si512(at.cast()) };
                    if BLOCKS == 2 {
                        // SAFETY: so does the next block.
                        *v = unsafe { _mm512_loadu_si512(at.wrapping_add(tile.block_len).cast()) };
                    }
                }
                let step = unknown(tile.pixel_step);
                turns!(x in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 {
                    if x < (N - 1) * STRIDE + COLUMNS {
                        let at = pixels.wrapping_add(x.wrapping_mul(step));
                        let control = if GROUPS { controls[quad & 3] } else { first };
                        // SAFETY: the rows have what `Layout::reads` says: all runs, filled up to 4 elements without groups,
                        // and 16 elements from any block's first of any pixel.
                        let p = unsafe { pixel::<GROUPS>(at, control) };
                        let q = if ROWS == 2 {
                            // SAFETY: so have the next output row's.
                            unsafe { pixel::<GROUPS>(at.wrapping_add(tile.next_row), control) }
                        } else {
                            p
                        };
                        turns!(k in 0 1 2 {
                            if k < COLUMNS && x >= k && (x - k).is_multiple_of(STRIDE) && (x - k) / STRIDE < N {
                                let n = (x - k) / STRIDE;
                                a[n] = _mm512_dpbusd_epi32(a[n], p, u[k]);
                                if ROWS == 2 {
                                    b[n] = _mm512_dpbusd_epi32(b[n], q, u[k]);
                                }
                                if BLOCKS == 2 {
                                    b[n] = _mm512_dpbusd_epi32(b[n], p, v[k]);
                                }
                            }
                        });
                    }
                });
                weights = weights.wrapping_add(VECTOR);
                if !GROUPS {
                    pixels = pixels.wrapping_add(4);
                }
            }
            weights = weights.wrapping_add((COLUMNS - 1).wrapping_mul(column_len));
            column = column.wrapping_add(tile.column_step);
        }
        line = line.wrapping_add(tile.row_len);
    }
    for (from, to) in [a, b].iter().zip(&mut sums.0).take(ROWS * BLOCKS) {
        for (from, to) in from.iter().zip(to) {
            // SAFETY: there are 16 sums.
            unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), *from) };
        }
    }
}

/// The same number, of which the compiler knows nothing, so that it adds up addresses where they are needed: kept from turn to
/// turn of a loop, those of all pixels would not fit the registers.
#[inline(always)]
fn unknown(mut number: usize) -> usize {
    // SAFETY: there are no instructions.
    unsafe { core::arch::asm!("/* {0} */", inout(reg) number, options(nomem, nostack, preserves_flags)) };
    number
}

/// Four elements of a pixel for each channel of a block: the same ones, or those that `control` picks out of 16.
///
/// # Safety
/// The processor has the instruction set; 4 elements, with groups 16, can be read from `at`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn pixel<const GROUPS: bool>(at: *const i8, control: __m512i) -> __m512i {
    if GROUPS {
        // SAFETY: the caller says so.
        let channels: __m128i = unsafe { _mm_loadu_si128(at.cast()) };
        _mm512_shuffle_epi8(_mm512_broadcast_i32x4(channels), control)
    } else {
        // SAFETY: the caller says so.
        _mm512_set1_epi32(unsafe { at.cast::<i32>().read_unaligned() })
    }
}

/// [`Isa::finish`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn finish(constants: &Constants, sums: &[[i32; BLOCK]], out: &mut [i8], stride: usize) {
    let vectors = Vectors::new(constants);
    match constants.residual {
        None => each_pixel(constants.channels, sums, out, stride, |sums, _| vectors.convert(sums, None)),
        Some(multiplier) => {
            let multiplier = _mm512_set1_epi32(multiplier);
            let convert = |sums: &_, operand| vectors.convert(sums, Some((operand, multiplier)));
            each_pixel(constants.channels, sums, out, stride, convert);
        }
    }
}

/// [`Constants`] in registers.
struct Vectors {
    m: __m512i,
    m_odd: __m512i,
    even: __m512i,
    odd: __m512i,
    s: __m512i,
    lo: __m128i,
    hi: __m128i,
}

impl Vectors {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    fn new(constants: &Constants) -> Self {
        let m = bytemuck::cast(constants.m);
        Self {
            m,
            m_odd: _mm512_srli_epi64::<32>(m),
            even: bytemuck::cast(constants.even),
            odd: bytemuck::cast(constants.odd),
            s: bytemuck::cast(constants.s),
            lo: _mm_set1_epi8(constants.lo),
            hi: _mm_set1_epi8(constants.hi),
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    fn convert(&self, sums: &[i32; BLOCK], residual: Option<([i8; BLOCK], __m512i)>) -> [i8; BLOCK] {
        let sums: __m512i = bytemuck::cast(*sums);
        let mut low = _mm512_add_epi64(_mm512_mul_epi32(sums, self.m), self.even);
        let mut high = _mm512_add_epi64(_mm512_mul_epi32(_mm512_srli_epi64::<32>(sums), self.m_odd), self.odd);
        if let Some((operand, multiplier)) = residual {
            let operand = _mm512_slli_epi32::<OPERAND_SHIFT>(_mm512_cvtepi8_epi32(bytemuck::cast(operand)));
            low = _mm512_add_epi64(low, _mm512_mul_epi32(operand, multiplier));
            high = _mm512_add_epi64(high, _mm512_mul_epi32(_mm512_srli_epi64::<32>(operand), multiplier));
        }
        // The high words: of the even channels moved down beside those of the odd ones.
        let words = _mm512_mask_shuffle_epi32::<0b11_11_01_01>(high, 0x5555, low);
        let shifted = _mm512_srav_epi32(words, self.s);
        // The narrowing saturates: what is left of a clamp can be done in 8 bits.
        let bytes = _mm512_cvtsepi32_epi8(shifted);
        bytemuck::cast(_mm_min_epi8(_mm_max_epi8(bytes, self.lo), self.hi))
    }
}
