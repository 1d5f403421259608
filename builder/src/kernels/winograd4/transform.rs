//! The transforms of minimal filtering, and those of tiles of maps.

use super::{Maps, PATCH, POSITIONS, TILE, Tile, position_step};
use crate::kernels::BlockKernel;
use crate::kernels::tiles::{self, BLOCK};
use pulp::Simd;
use std::array::from_fn;
use std::f32::consts::{FRAC_1_SQRT_2, SQRT_2};

/// A matrix of minimal filtering, times a column. A trait, because a function that is passed on is not inlined, and
/// what is not inlined is not compiled for the vectors.
pub(super) trait Transform<const N: usize, const M: usize> {
    fn apply<S: Simd>(simd: S, column: [S::f32s; N]) -> [S::f32s; M];
}

/// `B'` times a column of pixels.
pub(super) struct Pixels;

impl Transform<PATCH, PATCH> for Pixels {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, [a, b, c, d, e, f]: [S::f32s; PATCH]) -> [S::f32s; PATCH] {
        let (near, far) = (simd.splat_f32s(FRAC_1_SQRT_2), simd.splat_f32s(SQRT_2));
        let outer = simd.splat_f32s(-2.5);
        let (two, half) = (simd.splat_f32s(-2.0), simd.splat_f32s(-0.5));
        let even = [simd.mul_add_f32s(two, c, e), simd.mul_add_f32s(half, c, e)];
        let odd = [simd.mul_add_f32s(two, b, d), simd.mul_add_f32s(half, b, d)];
        [
            simd.mul_add_f32s(outer, c, simd.add_f32s(a, e)),
            simd.mul_add_f32s(near, odd[0], even[0]),
            simd.mul_add_f32s(simd.neg_f32s(near), odd[0], even[0]),
            simd.mul_add_f32s(far, odd[1], even[1]),
            simd.mul_add_f32s(simd.neg_f32s(far), odd[1], even[1]),
            simd.mul_add_f32s(outer, d, simd.add_f32s(b, f)),
        ]
    }
}

/// `A` times a column of gradients of results.
pub(super) struct Gradients;

impl Transform<TILE, PATCH> for Gradients {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, [a, b, c, d]: [S::f32s; TILE]) -> [S::f32s; PATCH] {
        let (near, far) = (simd.splat_f32s(FRAC_1_SQRT_2), simd.splat_f32s(SQRT_2));
        let (two, half) = (simd.splat_f32s(2.0), simd.splat_f32s(0.5));
        let even = [simd.mul_add_f32s(half, c, a), simd.mul_add_f32s(two, c, a)];
        let odd = [simd.mul_add_f32s(half, d, b), simd.mul_add_f32s(two, d, b)];
        [
            a,
            simd.mul_add_f32s(near, odd[0], even[0]),
            simd.mul_add_f32s(simd.neg_f32s(near), odd[0], even[0]),
            simd.mul_add_f32s(far, odd[1], even[1]),
            simd.mul_add_f32s(simd.neg_f32s(far), odd[1], even[1]),
            d,
        ]
    }
}

/// `A'` times a column of products.
pub(super) struct Results;

impl Transform<PATCH, TILE> for Results {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, [a, b, c, d, e, f]: [S::f32s; PATCH]) -> [S::f32s; TILE] {
        let (near, far) = (simd.splat_f32s(FRAC_1_SQRT_2), simd.splat_f32s(SQRT_2));
        let even = [simd.add_f32s(b, c), simd.add_f32s(d, e)];
        let odd = [simd.mul_f32s(near, simd.sub_f32s(b, c)), simd.mul_f32s(far, simd.sub_f32s(d, e))];
        [
            simd.add_f32s(a, simd.add_f32s(even[0], even[1])),
            simd.add_f32s(odd[0], odd[1]),
            simd.mul_add_f32s(simd.splat_f32s(0.5), even[0], simd.add_f32s(even[1], even[1])),
            simd.mul_add_f32s(simd.splat_f32s(0.5), odd[0], simd.mul_add_f32s(simd.splat_f32s(2.0), odd[1], f)),
        ]
    }
}

/// `G` times a column of a kernel.
pub(super) struct Kernel;

impl Transform<3, PATCH> for Kernel {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, [a, b, c]: [S::f32s; 3]) -> [S::f32s; PATCH] {
        let (near, far) = (simd.splat_f32s(-FRAC_1_SQRT_2 / 1.5), simd.splat_f32s(SQRT_2 / 6.0));
        let low = simd.mul_add_f32s(simd.splat_f32s(-1.0 / 3.0), c, simd.mul_f32s(simd.splat_f32s(-2.0 / 3.0), a));
        let high = simd.mul_add_f32s(simd.splat_f32s(1.0 / 3.0), c, simd.mul_f32s(simd.splat_f32s(1.0 / 6.0), a));
        [
            a,
            simd.mul_add_f32s(near, b, low),
            simd.mul_add_f32s(simd.neg_f32s(near), b, low),
            simd.mul_add_f32s(far, b, high),
            simd.mul_add_f32s(simd.neg_f32s(far), b, high),
            c,
        ]
    }
}

/// `G'` times a column of sums.
pub(super) struct Taps;

impl Transform<PATCH, 3> for Taps {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, [a, b, c, d, e, f]: [S::f32s; PATCH]) -> [S::f32s; 3] {
        let (low, high) = (simd.add_f32s(b, c), simd.add_f32s(d, e));
        let odd = [simd.sub_f32s(b, c), simd.sub_f32s(d, e)];
        let far = simd.mul_f32s(simd.splat_f32s(SQRT_2 / 6.0), odd[1]);
        [
            simd.mul_add_f32s(simd.splat_f32s(-2.0 / 3.0), low, simd.mul_add_f32s(simd.splat_f32s(1.0 / 6.0), high, a)),
            simd.mul_add_f32s(simd.splat_f32s(-FRAC_1_SQRT_2 / 1.5), odd[0], far),
            simd.mul_add_f32s(simd.splat_f32s(-1.0 / 3.0), low, simd.mul_add_f32s(simd.splat_f32s(1.0 / 3.0), high, f)),
        ]
    }
}

/// The rows of a matrix transformed, then the columns, and the result transposed: positions are stored so, and what is
/// transformed back lies as at first.
#[inline(always)]
pub(super) fn both<T: Transform<N, M>, S: Simd, const N: usize, const M: usize>(
    simd: S,
    matrix: &[[S::f32s; N]; N],
) -> [[S::f32s; M]; M] {
    let zero = simd.splat_f32s(0.0);
    let mut rows = [[zero; M]; N];
    for i in 0..N {
        rows[i] = T::apply(simd, matrix[i]);
    }
    let mut done = [[zero; M]; M];
    for j in 0..M {
        let mut column = [zero; N];
        for i in 0..N {
            column[i] = rows[i][j];
        }
        done[j] = T::apply(simd, column);
    }
    done
}

/// Transforms a block of channels of tiles.
pub(super) struct TransformTiles<'a> {
    /// Of pixels, whose patches begin `pads` above and at the left of their tiles; otherwise of results' gradients.
    pub(super) pads: Option<[usize; 2]>,
    pub(super) maps: Maps<'a>,
    pub(super) block: usize,
    pub(super) tiles: &'a [Tile],
    /// Tiles for which there is room.
    pub(super) room: usize,
    /// `[position][tile][BLOCK]`.
    pub(super) out: &'a mut [f32],
}

impl BlockKernel for TransformTiles<'_> {
    #[expect(clippy::needless_range_loop, reason = "the index is that of an inner dimension")]
    #[inline(always)]
    fn run<S: Simd, const V: usize>(self, simd: S) {
        let step = position_step(self.room);
        let out = &mut tiles::blocks_mut::<S, V>(self.out)[..POSITIONS * step];
        for (index, tile) in self.tiles.iter().enumerate() {
            for v in 0..V {
                let first = (self.block * BLOCK + v * S::F32_LANES).min(self.maps.channels);
                let lanes = [first, S::F32_LANES.min(self.maps.channels - first)];
                let done = match self.pads {
                    Some(pads) => {
                        let [row, column] = from_fn(|axis| tile.at[axis] as isize - pads[axis] as isize);
                        let patch = self.maps.patch::<S, PATCH>(simd, tile.image, [row, column], lanes);
                        both::<Pixels, S, PATCH, PATCH>(simd, &patch)
                    }
                    None => {
                        let at = tile.at.map(|first| first as isize);
                        both::<Gradients, S, TILE, PATCH>(
                            simd,
                            &self.maps.patch::<S, TILE>(simd, tile.image, at, lanes),
                        )
                    }
                };
                for (position, value) in done.as_flattened().iter().enumerate() {
                    out[position * step + index][v] = *value;
                }
            }
        }
    }
}

impl Maps<'_> {
    /// Some channels, `[first, count]`, of the pixels from `at` on, zeros where they are outside the map.
    #[inline(always)]
    fn patch<S: Simd, const N: usize>(
        &self,
        simd: S,
        image: usize,
        at: [isize; 2],
        [first, count]: [usize; 2],
    ) -> [[S::f32s; N]; N] {
        let mut patch = [[simd.splat_f32s(0.0); N]; N];
        let image = &self.elements[image * self.image()..][..self.image()];
        // What is negative is larger than any size.
        let [top, left] = at.map(|first| first as usize);
        let [height, width] = self.size;
        if count < S::F32_LANES {
            for (row, patch) in patch.iter_mut().enumerate() {
                for (column, pixel) in patch.iter_mut().enumerate() {
                    let [row, column] = [top.wrapping_add(row), left.wrapping_add(column)];
                    if row < height && column < width {
                        let at = (row * width + column) * self.channels + first;
                        *pixel = tiles::load(simd, &image[at..][..count]);
                    }
                }
            }
            return patch;
        }
        let is_inside = at[1] >= 0 && left + N <= width;
        for (row, patch) in patch.iter_mut().enumerate() {
            let row = top.wrapping_add(row);
            if row >= height {
                continue;
            }
            let row = &image[row * width * self.channels..][..width * self.channels];
            if is_inside {
                let row = &row[left * self.channels + first..];
                for (column, pixel) in patch.iter_mut().enumerate() {
                    *pixel = tiles::load(simd, &row[column * self.channels..][..S::F32_LANES]);
                }
                continue;
            }
            for (column, pixel) in patch.iter_mut().enumerate() {
                let column = left.wrapping_add(column);
                if column < width {
                    *pixel = tiles::load(simd, &row[column * self.channels + first..][..S::F32_LANES]);
                }
            }
        }
        patch
    }
}
