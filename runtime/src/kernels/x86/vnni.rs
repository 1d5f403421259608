//! Tiles of 16 channels x 16 pixels with AVX-512's products of four bytes. The sums wrap around, they do not saturate, so
//! that their order does not matter.

use super::constants::Constants;
use crate::arith::{OPERAND_SHIFT, Requant};
use crate::kernels::conv::Uint8;
use crate::kernels::quads::{BLOCK, Isa, Outputs, PIXELS, Sums, Tile, Walk};
use core::arch::x86_64::{
    _mm512_add_epi32, _mm512_cvtepu8_epi32, _mm512_cvtsepi32_epi8, _mm512_permutexvar_epi64, _mm512_slli_epi64, _mm512_sub_epi32,
    __m128i, __m512i, _mm_loadu_si128, _mm_mask_storeu_epi8, _mm_maskz_loadu_epi8, _mm_storeu_si128, _mm512_add_epi64,
    _mm512_broadcast_i32x4, _mm512_castsi512_si128, _mm512_cvtepi8_epi32, _mm512_dpbusd_epi32,
    _mm512_extracti32x4_epi32, _mm512_loadu_si512, _mm512_mask_shuffle_epi32, _mm512_max_epi8, _mm512_min_epi8,
    _mm512_mul_epi32, _mm512_packs_epi16, _mm512_packs_epi32, _mm512_permutexvar_epi32, _mm512_set1_epi8,
    _mm512_set1_epi32, _mm512_setr_epi32, _mm512_setzero_si512, _mm512_shuffle_epi8, _mm512_slli_epi32,
    _mm512_srav_epi32, _mm512_srli_epi64, _mm512_storeu_si512,
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

    /// Brings the elements of the first slice to the second, which is as long, as unsigned bytes.
    pub(super) fn unsigned(self, from: &[i8], to: &mut [Uint8]) {
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
        fn convert(from: &[i8], to: &mut [Uint8]) {
            to.iter_mut().zip(from).for_each(|(to, from)| *to = Uint8::from(*from));
        }
        // SAFETY: `find` has found the instruction set.
        unsafe { convert(from, to) }
    }

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

    fn tile(self, (walk, two, groups, pixels): (Walk, bool, bool, usize), tile: &Tile<'_>, outputs: Outputs<'_, Constants>) {
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
    let Outputs { conversions: [first, second], rows: [row, next], stride, sums } = outputs;
    convert(first, keep(&a, sums), row, stride);
    if ROWS == 2 {
        convert(first, keep(&b, sums), next, stride);
    }
    if BLOCKS == 2 {
        convert(second, keep(&b, sums), row.get_mut(BLOCK..).unwrap_or_default(), stride);
    }
}

/// Sums in memory: a function that is given them elsewhere would have them there during the loop as well.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn keep<'s, const N: usize>(sums: &[__m512i; N], room: &'s mut Sums) -> &'s [[i32; BLOCK]; N] {
    for (from, to) in sums.iter().zip(&mut room.0) {
        // SAFETY: there are 16 sums.
        unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), *from) };
    }
    room.0.first_chunk().unwrap_or(&[[0; BLOCK]; N])
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
    let [low, high] = [_mm512_set1_epi8(i8::MIN), _mm512_set1_epi8(i8::MAX)];
    for (v, channels) in vectors.iter().enumerate() {
        let channels: __m512i = bytemuck::cast(*channels);
        let words = _mm512_slli_epi32::<2>(channels);
        let s = _mm512_permutexvar_epi32(_mm512_add_epi32(words, _mm512_set1_epi32(3)), all);
        let even = _mm512_srli_epi64::<31>(_mm512_slli_epi64::<32>(channels));
        let odd = _mm512_slli_epi64::<1>(_mm512_srli_epi64::<32>(channels));
        let m = _mm512_permutexvar_epi32(_mm512_add_epi32(words, _mm512_set1_epi32(2)), all);
        let vectors = Vectors {
            m,
            m_odd: _mm512_srli_epi64::<32>(m),
            even: _mm512_permutexvar_epi64(even, all),
            odd: _mm512_permutexvar_epi64(odd, all),
            s: _mm512_sub_epi32(s, _mm512_set1_epi32(32)),
            lo: low,
            hi: high,
            order: low,
        };
        let step = BLOCK * CHANNELS;
        for (pixels, out) in pixels.chunks_exact(step).zip(out.chunks_exact_mut(step)) {
            let (from, to) = (&pixels[v * BLOCK..][..BLOCK], &mut out[v * BLOCK..][..BLOCK]);
            // SAFETY: there are 16 elements.
            let values: __m128i = unsafe { _mm_loadu_si128(from.as_ptr().cast()) };
            let values = _mm512_slli_epi32::<OPERAND_SHIFT>(_mm512_cvtepu8_epi32(values));
            let bytes = _mm512_cvtsepi32_epi8(vectors.words(values));
            // SAFETY: there are 16 elements.
            unsafe { _mm_storeu_si128(to.as_mut_ptr().cast(), bytes) };
            made += BLOCK;
        }
    }
    made
}

/// [`Isa::finish`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn finish(constants: &Constants, sums: &[[i32; BLOCK]], out: &mut [i8], stride: usize) {
    let (whole, rest) = sums.as_chunks::<TOGETHER>();
    for (index, sums) in whole.iter().enumerate() {
        let out = out.get_mut(TOGETHER * index * stride..).unwrap_or_default();
        convert(constants, sums, out, stride);
    }
    for (index, sums) in rest.iter().enumerate() {
        let out = out.get_mut((TOGETHER * whole.len() + index) * stride..).unwrap_or_default();
        convert(constants, core::array::from_ref(sums), out, stride);
    }
}

/// Pixels whose outputs fill a vector.
const TOGETHER: usize = 4;

/// Makes the outputs of `N` pixels out of their sums, the first one's at the start of the slice.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn convert<const N: usize>(constants: &Constants, sums: &[[i32; BLOCK]; N], out: &mut [i8], stride: usize) {
    let channels = constants.channels.min(BLOCK);
    if out.len() < (N - 1) * stride + channels {
        return;
    }
    let vectors = Vectors::new(constants);
    let mask = (1u32 << channels).wrapping_sub(1) as u16;
    let out = out.as_mut_ptr();
    let place = |pixel: usize| out.wrapping_add(pixel.wrapping_mul(stride));
    let mut words = [_mm512_setzero_si512(); N];
    if let Some(multiplier) = constants.residual {
        let multiplier = _mm512_set1_epi32(multiplier);
        turns!(x in 0 1 2 3 4 5 6 7 {
            if x < N {
                // SAFETY: the pixel's channels are there.
                let operand = unsafe { _mm_maskz_loadu_epi8(mask, place(x)) };
                words[x] = vectors.words_residual(bytemuck::cast(sums[x]), operand, multiplier);
            }
        });
    } else {
        turns!(x in 0 1 2 3 4 5 6 7 {
            if x < N {
                words[x] = vectors.words(bytemuck::cast(sums[x]));
            }
        });
    }
    let is_dense = channels == BLOCK && stride == BLOCK;
    turns!(first in 0 4 {
        if first < N {
            let word = |x: usize| words[if first + x < N { first + x } else { N - 1 }];
            let bytes = vectors.bytes([word(0), word(1), word(2), word(3)]);
            if is_dense && first + TOGETHER <= N {
                // SAFETY: the outputs of four pixels lie side by side.
                unsafe { _mm512_storeu_si512(place(first).cast(), bytes) };
            } else {
                let pixels = [
                    _mm512_castsi512_si128(bytes),
                    _mm512_extracti32x4_epi32::<1>(bytes),
                    _mm512_extracti32x4_epi32::<2>(bytes),
                    _mm512_extracti32x4_epi32::<3>(bytes),
                ];
                turns!(x in 0 1 2 3 {
                    if first + x < N && channels == BLOCK {
                        // SAFETY: the pixel's 16 channels are there.
                        unsafe { _mm_storeu_si128(place(first + x).cast(), pixels[x]) };
                    } else if first + x < N {
                        // SAFETY: the pixel's channels are there.
                        unsafe { _mm_mask_storeu_epi8(place(first + x), mask, pixels[x]) };
                    }
                });
            }
        }
    });
}

/// [`Constants`] in registers.
struct Vectors {
    m: __m512i,
    m_odd: __m512i,
    even: __m512i,
    odd: __m512i,
    s: __m512i,
    lo: __m512i,
    hi: __m512i,
    /// Brings the four channels of four pixels that lie side by side after packing to their pixels.
    order: __m512i,
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
            lo: _mm512_set1_epi8(constants.lo),
            hi: _mm512_set1_epi8(constants.hi),
            order: _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15),
        }
    }

    /// The outputs of a pixel as 32-bit numbers, before they are clamped.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    fn words(&self, sums: __m512i) -> __m512i {
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
        _mm512_srav_epi32(_mm512_mask_shuffle_epi32::<0b11_11_01_01>(high, 0x5555, low), self.s)
    }

    /// The outputs of four pixels, one after another. Packing saturates: what is left of a clamp can be done in 8 bits.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    fn bytes(&self, [a, b, c, d]: [__m512i; TOGETHER]) -> __m512i {
        let bytes = _mm512_packs_epi16(_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d));
        let bytes = _mm512_permutexvar_epi32(self.order, bytes);
        _mm512_min_epi8(_mm512_max_epi8(bytes, self.lo), self.hi)
    }
}
