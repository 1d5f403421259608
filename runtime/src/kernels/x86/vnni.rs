//! Tiles of 16 channels x 16 pixels with AVX-512's products of four bytes. The sums wrap around, they do not saturate, so
//! that their order does not matter.

use super::constants::Constants;
use crate::arith::{OPERAND_SHIFT, Requant};
use crate::kernels::conv::Uint8;
use crate::kernels::quads::{BLOCK, Isa, Outputs, PIXELS, Tile, Walk};
use core::arch::asm;
use core::arch::x86_64::{
    __m128i, __m512i, _mm_loadu_si128, _mm_mask_storeu_epi8, _mm_maskz_loadu_epi8, _mm_max_epi8, _mm_min_epi8,
    _mm_set1_epi8, _mm_storeu_si128, _mm512_add_epi64, _mm512_broadcast_i32x4, _mm512_cvtepi8_epi32,
    _mm512_cvtsepi32_epi8, _mm512_dpbusd_epi32, _mm512_loadu_si512, _mm512_mul_epi32, _mm512_set1_epi32,
    _mm512_setzero_si512, _mm512_shuffle_epi8, _mm512_slli_epi32, _mm512_srav_epi32, _mm512_srli_epi64,
};

/// The body for each of the numbers: sums stay in registers only where their indices are constants.
macro_rules! turns {
    ($x:ident in $($number:literal)* $body:block) => {
        $({ let $x: usize = $number; $body })*
    };
}

/// Makes the outputs of pixels out of their sums, the first one's at the start of the slice, each by 16 channels or fewer. No
/// function: sums that are handed to one would lie in memory.
macro_rules! convert {
    ($count:expr, $constants:expr, $sums:ident, $out:expr, $stride:ident) => {{
        let (constants, out): (&Constants, &mut [i8]) = ($constants, $out);
        let channels = constants.channels.min(BLOCK);
        if out.len() >= ($count - 1) * $stride + channels {
            let vectors = Vectors::new(constants);
            let mask = (1u32 << channels).wrapping_sub(1) as u16;
            let out = out.as_mut_ptr();
            if let Some(multiplier) = constants.residual {
                let multiplier = _mm512_set1_epi32(multiplier);
                turns!(x in 0 1 2 3 4 5 6 7 {
                    if x < $count {
                        let place = out.wrapping_add($stride.wrapping_mul(x));
                        // SAFETY: the pixel's channels are there.
                        let operand = unsafe { _mm_maskz_loadu_epi8(mask, place) };
                        let made = vectors.bytes(vectors.words_residual($sums[x], operand, multiplier));
                        // SAFETY: the pixel's channels are there.
                        unsafe { put(place, mask, made) };
                    }
                });
            } else {
                turns!(x in 0 1 2 3 4 5 6 7 {
                    if x < $count {
                        let made = vectors.bytes(vectors.words($sums[x]));
                        // SAFETY: the pixel's channels are there.
                        unsafe { put(out.wrapping_add($stride.wrapping_mul(x)), mask, made) };
                    }
                });
            }
        }
    }};
}

/// The instruction set, found on this processor.
#[derive(Clone, Copy)]
pub(super) struct Vnni(());

impl Vnni {
    /// `None` where the processor does not have it.
    pub(super) fn find() -> Option<Self> {
        super::has_vnni().then_some(Self(()))
    }

    /// Brings the elements of the first slice to the second, which is as long, as unsigned bytes.
    pub(super) fn unsigned(self, from: &[i8], to: &mut [Uint8]) {
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
        fn convert(from: &[i8], to: &mut [Uint8]) {
            to.iter_mut().zip(from).for_each(|(to, from)| *to = Uint8::from(*from));
        }
        // SAFETY: `find` has found the instruction set.
        unsafe { convert(from, to) }
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

    fn tile(
        self,
        (walk, two, groups, pixels): (Walk, bool, bool, usize),
        tile: &Tile<'_>,
        outputs: Outputs<'_, Constants>,
    ) {
        let run = tile_of(walk, two, groups, pixels);
        // SAFETY: `find` has found the instruction set.
        unsafe { run(tile, outputs) }
    }

    fn finish(self, constants: &Constants, sums: &[[i32; BLOCK]], out: &mut [i8], stride: usize) {
        // SAFETY: `find` has found the instruction set.
        unsafe { finish(constants, sums, out, stride) }
    }
}

/// Makes a tile's outputs.
///
/// # Safety
/// The processor has the instruction set.
type TileFn = unsafe fn(&Tile<'_>, Outputs<'_, Constants>);

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
    outputs: Outputs<'_, Constants>,
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
    let Outputs { conversions: [first, second], rows: [row, next], stride, .. } = outputs;
    convert!(N, first, a, row, stride);
    if ROWS == 2 {
        convert!(N, first, b, next, stride);
    }
    if BLOCKS == 2 {
        convert!(N, second, b, row.get_mut(BLOCK..).unwrap_or_default(), stride);
    }
}

/// The same number, of which the compiler knows nothing, so that it adds up addresses where they are needed: kept from turn to
/// turn of a loop, those of all pixels would not fit the registers.
#[inline(always)]
fn unknown(mut number: usize) -> usize {
    // SAFETY: there are no instructions.
    unsafe { asm!("/* {0} */", inout(reg) number, options(nomem, nostack, preserves_flags)) };
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
    for (index, sums) in sums.iter().enumerate() {
        let sums: [__m512i; 1] = [bytemuck::cast(*sums)];
        convert!(1, constants, sums, out.get_mut(index * stride..).unwrap_or_default(), stride);
    }
}

/// [`Constants`] in registers.
pub(super) struct Vectors {
    pub(super) m: __m512i,
    pub(super) m_odd: __m512i,
    pub(super) even: __m512i,
    pub(super) odd: __m512i,
    pub(super) s: __m512i,
    pub(super) lo: __m128i,
    pub(super) hi: __m128i,
}

impl Vectors {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    pub(super) fn new(constants: &Constants) -> Self {
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

    /// The outputs of a pixel as 32-bit numbers, before they are clamped.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    pub(super) fn words(&self, sums: __m512i) -> __m512i {
        let low = _mm512_add_epi64(_mm512_mul_epi32(sums, self.m), self.even);
        let high = _mm512_add_epi64(_mm512_mul_epi32(_mm512_srli_epi64::<32>(sums), self.m_odd), self.odd);
        self.shifted(low, high)
    }

    /// [`words`](Self::words) with a residual operand.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    fn words_residual(&self, sums: __m512i, operand: __m128i, multiplier: __m512i) -> __m512i {
        let operand = _mm512_slli_epi32::<OPERAND_SHIFT>(_mm512_cvtepi8_epi32(operand));
        let low = _mm512_add_epi64(_mm512_mul_epi32(sums, self.m), self.even);
        let low = _mm512_add_epi64(low, _mm512_mul_epi32(operand, multiplier));
        let high = _mm512_add_epi64(_mm512_mul_epi32(_mm512_srli_epi64::<32>(sums), self.m_odd), self.odd);
        let high = _mm512_add_epi64(high, _mm512_mul_epi32(_mm512_srli_epi64::<32>(operand), multiplier));
        self.shifted(low, high)
    }

    /// The high words, shifted: of the even channels moved down beside those of the odd ones.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    fn shifted(&self, low: __m512i, high: __m512i) -> __m512i {
        let mut words = high;
        let even = 0x5555u16;
        // SAFETY: the instruction set has it. The compiler makes a slower shuffle of two vectors of its own intrinsic.
        unsafe {
            asm!("vmovshdup {words}{{{even}}}, {low}", words = inout(zmm_reg) words, even = in(kreg) even, low = in(zmm_reg) low,
                options(pure, nomem, nostack, preserves_flags));
        }
        _mm512_srav_epi32(words, self.s)
    }

    /// The outputs of a pixel. Narrowing saturates: what is left of a clamp can be done in 8 bits.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    pub(super) fn bytes(&self, words: __m512i) -> __m128i {
        _mm_min_epi8(_mm_max_epi8(_mm512_cvtsepi32_epi8(words), self.lo), self.hi)
    }
}

/// Writes the channels of a pixel that `mask` has.
///
/// # Safety
/// The processor has the instruction set, and there are so many elements.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn put(to: *mut i8, mask: u16, made: __m128i) {
    if mask == u16::MAX {
        // SAFETY: the caller says so.
        unsafe { _mm_storeu_si128(to.cast(), made) }
    } else {
        // SAFETY: the caller says so.
        unsafe { _mm_mask_storeu_epi8(to, mask, made) }
    }
}
