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
    columns::<T, S, N, M>(simd, &rows)
}

/// The second half of [`both`]: the columns of rows that are transformed.
#[inline(always)]
pub(super) fn columns<T: Transform<N, M>, S: Simd, const N: usize, const M: usize>(
    simd: S,
    rows: &[[S::f32s; M]; N],
) -> [[S::f32s; M]; M] {
    let mut done = [[simd.splat_f32s(0.0); M]; M];
    for (j, done) in done.iter_mut().enumerate() {
        *done = column::<T, S, N, M>(simd, rows, j);
    }
    done
}

/// One column of rows that are transformed.
#[inline(always)]
pub(super) fn column<T: Transform<N, M>, S: Simd, const N: usize, const M: usize>(
    simd: S,
    rows: &[[S::f32s; M]; N],
    index: usize,
) -> [S::f32s; M] {
    let mut column = [simd.splat_f32s(0.0); N];
    for i in 0..N {
        column[i] = rows[i][index];
    }
    T::apply(simd, column)
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
    #[inline(always)]
    fn run<S: Simd, const V: usize>(mut self, simd: S) {
        for (index, tile) in self.tiles.iter().enumerate() {
            for v in 0..V {
                match self.pads {
                    Some(pads) => {
                        let at = from_fn(|axis| tile.at[axis] as isize - pads[axis] as isize);
                        self.tile::<Pixels, S, V, PATCH>(simd, index, at, v);
                    }
                    None => self.tile::<Gradients, S, V, TILE>(simd, index, tile.at.map(|first| first as isize), v),
                }
            }
        }
    }
}

impl TransformTiles<'_> {
    /// Transforms vector `v` of the pixels from `at` on, zeros where they are outside the map.
    #[inline(always)]
    fn tile<T: Transform<N, PATCH>, S: Simd, const V: usize, const N: usize>(
        &mut self,
        simd: S,
        index: usize,
        at: [isize; 2],
        v: usize,
    ) {
        let first = (self.block * BLOCK + v * S::F32_LANES).min(self.maps.channels);
        let lanes = [first, S::F32_LANES.min(self.maps.channels - first)];
        let zero = simd.splat_f32s(0.0);
        let mut rows = [[zero; PATCH]; N];
        for (row, done) in rows.iter_mut().enumerate() {
            // What is negative is larger than any size.
            let row = (at[0] + row as isize) as usize;
            if row < self.maps.size[0] {
                *done = T::apply(
                    simd,
                    self.maps.pixels::<S, N>(simd, self.tiles[index].image, [row, at[1] as usize], lanes),
                );
            }
        }
        let step = position_step(self.room);
        let out = &mut tiles::blocks_mut::<S, V>(self.out)[index..][..(POSITIONS - 1) * step + 1];
        for column in 0..PATCH {
            let done = self::column::<T, S, N, PATCH>(simd, &rows, column);
            for (row, value) in done.iter().enumerate() {
                out[(column * PATCH + row) * step][v] = *value;
            }
        }
    }
}

impl Maps<'_> {
    /// Some channels, `[first, count]`, of the pixels of a row from `column` on, zeros where they are outside the map.
    #[inline(always)]
    fn pixels<S: Simd, const N: usize>(
        &self,
        simd: S,
        image: usize,
        [row, left]: [usize; 2],
        [first, count]: [usize; 2],
    ) -> [S::f32s; N] {
        let (width, channels) = (self.size[1], self.channels);
        let row = &self.elements[image * self.image() + row * width * channels..][..width * channels];
        let mut pixels = [simd.splat_f32s(0.0); N];
        let is_whole = count == S::F32_LANES;
        if is_whole && left < width && left + N <= width {
            let row = &row[left * channels + first..];
            for (column, pixel) in pixels.iter_mut().enumerate() {
                *pixel = tiles::load(simd, &row[column * channels..][..S::F32_LANES]);
            }
            return pixels;
        }
        for (column, pixel) in pixels.iter_mut().enumerate() {
            let column = left.wrapping_add(column);
            if column < width {
                let pixels = &row[column * channels + first..];
                let count = if is_whole { S::F32_LANES } else { count };
                *pixel = tiles::load(simd, &pixels[..count]);
            }
        }
        pixels
    }
}
