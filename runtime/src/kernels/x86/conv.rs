use crate::kernels::conv::ConvRow;
use core::arch::x86_64::{
    __m256i, _mm_add_epi32, _mm_and_si128, _mm256_add_epi32, _mm256_castsi256_si128, _mm256_cvtepi8_epi16,
    _mm256_extracti128_si256, _mm256_hadd_epi32, _mm256_madd_epi16, _mm256_setzero_si256,
};

/// Bytes of a vector before they are widened.
const LANES: usize = 16;

/// Convolution without groups, of a multiple of 4 output channels.
#[target_feature(enable = "avx2,bmi2")]
pub(super) fn ungrouped(row: &mut ConvRow<'_, i8>) {
    let (width, channels, step) = (row.width_out(), row.channels_out(), row.pixel_step());
    let kernel = row.shape.kernel_h * row.run();
    for (index, requant) in row.requant.as_chunks::<4>().0.iter().enumerate() {
        let weights = from(row.weights, 4 * index * kernel);
        let weights = [weights, from(weights, kernel), from(weights, 2 * kernel), from(weights, 3 * kernel)];
        for x in (0..width).step_by(2) {
            // The last pixel of an odd row is its own neighbour.
            let neighbour = (x + 1).min(width - 1);
            let [a, b] = sums(row, [x * step, neighbour * step], weights);
            row.finish(x * channels + 4 * index, totals(a), requant);
            if neighbour > x {
                row.finish(neighbour * channels + 4 * index, totals(b), requant);
            }
        }
    }
}

/// `[pixel][channel]`: eight partial sums each. The runs of the pixels start at `at` in the first row, the channels'
/// weights start with `weights`.
///
/// Everything is spelled out: closures given to `map` and its like are not inlined into code with more features.
#[inline]
#[target_feature(enable = "avx2,bmi2")]
fn sums(row: &ConvRow<'_, i8>, at: [usize; 2], weights: [&[i8]; 4]) -> [[__m256i; 4]; 2] {
    let run = row.run();
    let mut a = [_mm256_setzero_si256(); 4];
    let mut b = a;
    let [mut w0, mut w1, mut w2, mut w3] = weights;
    for pixels in row.rows.chunks(row.row_len.max(1)).take(row.shape.kernel_h) {
        let (pixels_a, pixels_b) = (vectors(from(pixels, at[0])), vectors(from(pixels, at[1])));
        let of_0 = vectors(w0).iter().zip(vectors(w1));
        let of_2 = vectors(w2).iter().zip(vectors(w3));
        let of_pixels = pixels_a.iter().zip(pixels_b);
        for (((w0, w1), (w2, w3)), (pixel_a, pixel_b)) in of_0.zip(of_2).zip(of_pixels).take(run / LANES) {
            let weights = [widen(*w0), widen(*w1), widen(*w2), widen(*w3)];
            add_products(&mut a, weights, widen(*pixel_a));
            add_products(&mut b, weights, widen(*pixel_b));
        }
        let (whole, left) = (run / LANES, run % LANES);
        if let (true, Some(pixel_a), Some(pixel_b)) = (left > 0, pixels_a.get(whole), pixels_b.get(whole)) {
            // Rows are readable up to whole vectors; what lies after the run meets zero weights.
            let at = whole * LANES;
            let weights = [
                widen(tail(from(w0, at), left)),
                widen(tail(from(w1, at), left)),
                widen(tail(from(w2, at), left)),
                widen(tail(from(w3, at), left)),
            ];
            add_products(&mut a, weights, widen(*pixel_a));
            add_products(&mut b, weights, widen(*pixel_b));
        }
        (w0, w1, w2, w3) = (from(w0, run), from(w1, run), from(w2, run), from(w3, run));
    }
    [a, b]
}

/// What follows `at`; nothing if that is beyond the end.
#[inline(always)]
fn from(elements: &[i8], at: usize) -> &[i8] {
    elements.get(at..).unwrap_or(&[])
}

#[inline(always)]
fn vectors(elements: &[i8]) -> &[[i8; LANES]] {
    elements.as_chunks().0
}

#[inline]
#[target_feature(enable = "avx2,bmi2")]
fn add_products(sums: &mut [__m256i; 4], weights: [__m256i; 4], pixels: __m256i) {
    for (sum, weights) in sums.iter_mut().zip(weights) {
        *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(weights, pixels));
    }
}

#[inline]
#[target_feature(enable = "avx2,bmi2")]
fn widen(bytes: [i8; LANES]) -> __m256i {
    _mm256_cvtepi8_epi16(bytemuck::cast(bytes))
}

/// The first `count < 16` weights, and zeros after them.
#[inline]
#[target_feature(enable = "avx2,bmi2")]
fn tail(weights: &[i8], count: usize) -> [i8; LANES] {
    static MASKS: [[i8; LANES]; LANES] = {
        let mut masks = [[0; LANES]; LANES];
        let mut count = 0;
        while count < LANES {
            let mut at = 0;
            while at < count {
                masks[count][at] = -1;
                at += 1;
            }
            count += 1;
        }
        masks
    };
    match weights.first_chunk::<LANES>() {
        Some(vector) => bytemuck::cast(_mm_and_si128(bytemuck::cast(*vector), bytemuck::cast(MASKS[count % LANES]))),
        None => {
            let mut vector = [0i8; LANES];
            for (to, from) in vector.iter_mut().zip(weights.iter().take(count)) {
                *to = *from;
            }
            vector
        }
    }
}

/// The sum of each vector's eight parts.
#[inline]
#[target_feature(enable = "avx2,bmi2")]
fn totals([a, b, c, d]: [__m256i; 4]) -> [i32; 4] {
    let quarters = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
    bytemuck::cast(_mm_add_epi32(_mm256_castsi256_si128(quarters), _mm256_extracti128_si256::<1>(quarters)))
}
