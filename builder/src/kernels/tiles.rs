//! What methods of convolution share: the results of some rows of an image, made in tiles of a few pixels whose sums
//! stay in registers.

use pulp::{Simd, bytemuck};
use std::array::from_fn;

/// Output channels that are computed together; packed weights are padded to a multiple of it.
pub(crate) const BLOCK: usize = 16;

/// Where the pixels of a map, or of some of its rows, lie in a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grid {
    /// First element of the first pixel.
    pub(crate) start: usize,
    /// From a pixel to the one below.
    pub(crate) row_step: usize,
    /// From a pixel to the one at its right.
    pub(crate) column_step: usize,
}

impl Grid {
    /// A map of pixels of `channels` elements, `width` in a row, that fills its buffer.
    #[cfg(test)]
    pub(crate) fn dense(width: usize, channels: usize) -> Self {
        Self { start: 0, row_step: width * channels, column_step: channels }
    }

    #[inline(always)]
    pub(crate) fn at(&self, [row, column]: [usize; 2]) -> usize {
        self.start + row * self.row_step + column * self.column_step
    }

    /// The grid of the rows from `row` on.
    pub(crate) fn below(self, row: usize) -> Self {
        Self { start: self.start + row * self.row_step, ..self }
    }
}

/// A block of output channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// The first of its channels in the result.
    pub(crate) first: usize,
    /// Its channels, at most [`BLOCK`].
    pub(crate) count: usize,
    /// The first channel of the operand that it reads.
    pub(crate) source: usize,
}

/// Some rows of one image's result.
pub(crate) struct Rows<'a> {
    /// What is added to the result, where something is.
    pub(crate) residual: Option<(&'a [f32], Grid)>,
    /// What each result is clamped to.
    pub(crate) limits: [f32; 2],
    pub(crate) out: &'a mut [f32],
    pub(crate) target: Grid,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
}

impl<'a> Rows<'a> {
    /// The same pixels as a single row where they follow each other without gaps, also those of `source`.
    pub(crate) fn joined(mut self, source: &Grid) -> Self {
        let gapless = |grid: &Grid| grid.row_step == self.columns * grid.column_step;
        if gapless(source) && gapless(&self.target) && self.residual.iter().all(|(_, grid)| gapless(grid)) {
            self.columns *= self.rows;
            self.rows = 1;
        }
        self
    }

    /// Rows to which nothing is added and that nothing limits.
    #[cfg(test)]
    pub(crate) fn plain(out: &'a mut [f32], target: Grid, rows: usize, columns: usize) -> Self {
        Self { residual: None, limits: [f32::NEG_INFINITY, f32::INFINITY], out, target, rows, columns }
    }

    /// Some pixels of one row.
    pub(crate) fn part(&mut self, first: [usize; 2], columns: usize) -> Rows<'_> {
        let from = |grid: Grid| Grid { start: grid.at(first), ..grid };
        Rows {
            residual: self.residual.map(|(data, grid)| (data, from(grid))),
            limits: self.limits,
            out: self.out,
            target: from(self.target),
            rows: 1,
            columns,
        }
    }

    /// Where pixels lie in the result, and in what is added to it.
    #[inline(always)]
    pub(crate) fn places<const P: usize>(&self, pixels: Pixels<P>) -> Places<P> {
        Places { out: pixels.places(self.target), residual: self.residual.map(|(_, grid)| pixels.places(grid)) }
    }

    /// Writes the sums of a block of pixel `p` of those places: adds the residual and clamps.
    #[inline(always)]
    pub(crate) fn write<S: Simd, const V: usize, const P: usize>(
        &mut self,
        simd: S,
        places: &Places<P>,
        p: usize,
        block: Block,
        sums: &[S::f32s; V],
    ) {
        // Where one operand is no number, x86 takes the second: a result that is none stays so.
        let [low, high] = self.limits.map(|limit| simd.splat_f32s(limit));
        let mut sums = *sums;
        if block.count == BLOCK {
            if let (Some((residual, _)), Some(at)) = (self.residual, &places.residual) {
                let added = &residual[at[p] + block.first..][..BLOCK];
                for (sum, &added) in sums.iter_mut().zip(S::as_simd_f32s(added).0) {
                    *sum = simd.add_f32s(*sum, added);
                }
            }
            let out = &mut self.out[places.out[p] + block.first..][..BLOCK];
            for (out, &sum) in S::as_mut_simd_f32s(out).0.iter_mut().zip(&sums) {
                *out = simd.min_f32s(high, simd.max_f32s(low, sum));
            }
            return;
        }
        if let (Some((residual, _)), Some(at)) = (self.residual, &places.residual) {
            let added = &residual[at[p] + block.first..][..block.count];
            for (sum, added) in sums.iter_mut().zip(added.chunks(S::F32_LANES)) {
                *sum = simd.add_f32s(*sum, load(simd, added));
            }
        }
        let out = &mut self.out[places.out[p] + block.first..][..block.count];
        for (out, &sum) in out.chunks_mut(S::F32_LANES).zip(&sums) {
            let result = simd.min_f32s(high, simd.max_f32s(low, sum));
            match S::as_mut_simd_f32s(out) {
                ([vector, ..], _) => *vector = result,
                ([], out) => simd.partial_store_f32s(out, result),
            }
        }
    }
}

/// First elements of pixels in the result, and in what is added to it.
pub(crate) struct Places<const P: usize> {
    out: [usize; P],
    residual: Option<[usize; P]>,
}

/// Pixels that follow each other, row after row.
#[derive(Clone, Copy)]
pub(crate) struct Pixels<const P: usize> {
    /// Row and column of the first one.
    pub(crate) first: [usize; 2],
    /// Pixels of a row.
    pub(crate) columns: usize,
}

impl Pixels<1> {
    /// One pixel.
    #[inline(always)]
    pub(crate) fn single(first: [usize; 2]) -> Self {
        Self { first, columns: usize::MAX }
    }
}

impl<const P: usize> Pixels<P> {
    /// Rows and columns.
    #[inline(always)]
    pub(crate) fn coordinates(self) -> [[usize; 2]; P] {
        let [mut row, mut column] = self.first;
        from_fn(|_| {
            let at = [row, column];
            column += 1;
            if column == self.columns {
                (row, column) = (row + 1, 0);
            }
            at
        })
    }

    /// Their first elements.
    #[inline(always)]
    pub(crate) fn places(self, grid: Grid) -> [usize; P] {
        let first = grid.at(self.first);
        if self.first[1] + P <= self.columns {
            return from_fn(|p| first + p * grid.column_step);
        }
        self.coordinates().map(|pixel| grid.at(pixel))
    }
}

/// What is made in tiles.
pub(crate) trait Tiled {
    fn tile<const P: usize>(&mut self, pixels: Pixels<P>);
}

/// The size of the next tile when `left` pixels or elements are left, of which each takes `vectors` registers: as many
/// as sums fit into registers, few small tiles at the end.
#[inline(always)]
pub(crate) fn tile_size(left: usize, vectors: usize) -> usize {
    match (vectors, left) {
        (1, 12 | 20..) => 12,
        (1, 8..) => 8,
        (2.., 6 | 10..) | (1, 6) => 6,
        (_, 4..) => 4,
        (_, 2..) => 2,
        _ => 1,
    }
}

/// Makes `rows` of `columns` pixels, where a pixel takes `vectors` registers.
#[inline(always)]
pub(crate) fn in_tiles(rows: usize, columns: usize, vectors: usize, work: &mut impl Tiled) {
    let mut cursor = Cursor { row: 0, column: 0, columns };
    let mut left = rows * columns;
    while left > 0 {
        left -= match tile_size(left, vectors) {
            12 => cursor.tile::<12>(work),
            8 => cursor.tile::<8>(work),
            6 => cursor.tile::<6>(work),
            4 => cursor.tile::<4>(work),
            2 => cursor.tile::<2>(work),
            _ => cursor.tile::<1>(work),
        };
    }
}

/// A position in rows of `columns` pixels.
struct Cursor {
    row: usize,
    column: usize,
    columns: usize,
}

impl Cursor {
    /// Makes the next pixels; says how many they were.
    #[inline(always)]
    fn tile<const P: usize>(&mut self, work: &mut impl Tiled) -> usize {
        work.tile::<P>(Pixels { first: [self.row, self.column], columns: self.columns });
        self.column += P;
        while self.column >= self.columns {
            self.column -= self.columns;
            self.row += 1;
        }
        P
    }
}

/// Adds to each pixel's sums the products of its values, which start at `starts` in `source`, with the weights of `B`
/// blocks, all of one length.
#[inline(always)]
pub(crate) fn accumulate<S: Simd, const V: usize, const B: usize, const P: usize>(
    simd: S,
    sums: &mut [[[S::f32s; V]; B]; P],
    source: &[f32],
    starts: [usize; P],
    weights: [&[[S::f32s; V]]; B],
) {
    let count = weights[0].len();
    // Loops, because a function of arrays that is not inlined hides that all are of one length.
    let mut of_blocks = weights;
    for part in &mut of_blocks {
        *part = &part[..count];
    }
    let mut pixels: [&[f32]; P] = [&[]; P];
    for (pixels, start) in pixels.iter_mut().zip(starts) {
        *pixels = &source[start..][..count];
    }
    for i in 0..count {
        let mut weight = [[simd.splat_f32s(0.0); V]; B];
        for b in 0..B {
            weight[b] = of_blocks[b][i];
        }
        for p in 0..P {
            let value = simd.splat_f32s(pixels[p][i]);
            for b in 0..B {
                for v in 0..V {
                    sums[p][b][v] = simd.mul_add_f32s(value, weight[b][v], sums[p][b][v]);
                }
            }
        }
    }
}

/// A vector of at most as many elements as it has lanes, zeros after the last.
#[inline(always)]
pub(crate) fn load<S: Simd>(simd: S, elements: &[f32]) -> S::f32s {
    match S::as_simd_f32s(elements) {
        ([vector, ..], _) => *vector,
        ([], elements) => simd.partial_load_f32s(elements),
    }
}

/// Values of blocks of output channels, one after the other, as vectors.
#[inline(always)]
pub(crate) fn blocks<S: Simd, const V: usize>(values: &[f32]) -> &[[S::f32s; V]] {
    bytemuck::cast_slice::<f32, S::f32s>(values).as_chunks().0
}

/// As [`blocks`], to be written.
#[inline(always)]
pub(crate) fn blocks_mut<S: Simd, const V: usize>(values: &mut [f32]) -> &mut [[S::f32s; V]] {
    bytemuck::cast_slice_mut::<f32, S::f32s>(values).as_chunks_mut().0
}
