use crate::kernels::conv::ConvRow;
use core::arch::x86_64::{
    __m256i, _mm_shuffle_epi8, _mm256_add_epi32, _mm256_castsi128_si256, _mm256_cvtepi8_epi16, _mm256_madd_epi16,
    _mm256_permutevar8x32_epi32, _mm256_setr_epi32, _mm256_setzero_si256,
};

/// Elements of a run that one vector of weights covers, for two output channels.
const STEP: usize = 8;
/// Output pixels that share a vector of weights.
const PIXELS: usize = 4;

/// Convolution of an even number of output channels.
#[target_feature(enable = "avx2,bmi2")]
pub(super) fn paired(row: &mut ConvRow<'_, i16>) {
    let (width, channels, step) = (row.width_out(), row.channels_out(), row.pixel_step());
    let kernel = 2 * row.shape.kernel_h * row.run().next_multiple_of(4);
    for (index, requant) in row.requant.as_chunks::<2>().0.iter().enumerate() {
        let weights = row.weights.get(index * kernel..).unwrap_or(&[]);
        for x in (0..width).step_by(PIXELS) {
            let mut at = [0; PIXELS];
            for (p, at) in at.iter_mut().enumerate() {
                // Beyond the end of the row the last pixel stands in.
                *at = (x + p).min(width - 1) * step;
            }
            let sums = sums(row, at, weights);
            for (p, sums) in sums.into_iter().enumerate().take(width - x) {
                row.finish((x + p) * channels + 2 * index, sums, requant);
            }
        }
    }
}

/// `[pixel][channel]`: the accumulators of the pixels whose runs start at `at` in the first row.
#[inline]
#[target_feature(enable = "avx2,bmi2")]
fn sums(row: &ConvRow<'_, i16>, at: [usize; PIXELS], mut weights: &[i8]) -> [[i32; 2]; PIXELS] {
    let run = row.run().next_multiple_of(4);
    let mut vectors = [_mm256_setzero_si256(); PIXELS];
    let mut tails = [[0i32; 2]; PIXELS];
    for pixels in row.rows.chunks(row.row_len.max(1)).take(row.shape.kernel_h) {
        let (of_run, rest) = weights.split_at_checked(2 * run).unwrap_or_default();
        weights = rest;
        let (whole, tail) = of_run.as_chunks::<{ 2 * STEP }>();
        for (p, &at) in at.iter().enumerate() {
            let pixels = pixels.get(at..).and_then(|pixels| pixels.get(..run)).unwrap_or(&[]);
            let (pixels, pixels_tail) = pixels.as_chunks::<STEP>();
            for (weights, pixels) in whole.iter().zip(pixels) {
                vectors[p] = _mm256_add_epi32(vectors[p], products(*weights, *pixels));
            }
            for (weights, &pixel) in tail.as_chunks::<2>().0.iter().zip(pixels_tail) {
                tails[p][0] += i32::from(weights[0]) * i32::from(pixel);
                tails[p][1] += i32::from(weights[1]) * i32::from(pixel);
            }
        }
    }
    for (tail, vector) in tails.iter_mut().zip(vectors) {
        for [a, b] in bytemuck::cast::<__m256i, [[i32; 2]; 4]>(vector) {
            tail[0] += a;
            tail[1] += b;
        }
    }
    tails
}

/// Sums of two products each, of the channels A and B in turn. Weights come as `A0 B0 A1 B1 ...`.
#[inline]
#[target_feature(enable = "avx2,bmi2")]
fn products(weights: [i8; 2 * STEP], pixels: [i16; STEP]) -> __m256i {
    // A0 A1 B0 B1 A2 A3 B2 B3 ..., and the pixels 0 1 0 1 2 3 2 3 ...
    const BY_CHANNEL: [i8; 16] = [0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15];
    let weights = _mm256_cvtepi8_epi16(_mm_shuffle_epi8(bytemuck::cast(weights), bytemuck::cast(BY_CHANNEL)));
    let twice = _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3);
    let pixels = _mm256_permutevar8x32_epi32(_mm256_castsi128_si256(bytemuck::cast(pixels)), twice);
    _mm256_madd_epi16(weights, pixels)
}
