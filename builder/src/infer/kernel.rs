//! The inner loop of inference: convolution with bias, residual addition and clamp in one pass, vectorized over output
//! channels by crate pulp.
//!
//! A tile is a block of output channels of a few pixels, whose sums stay in registers. Each sum starts from the bias and
//! adds products in the order of the weights, so that a result depends neither on the tile nor on its neighbours.

use pulp::{Arch, Simd, WithSimd};

/// Output channels that are computed together.
pub(super) const BLOCK: usize = 16;

/// Where the pixels of a map, or of some of its rows, lie in a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grid {
    /// First element of the first pixel.
    pub(super) start: usize,
    /// From a pixel to the one below.
    pub(super) row_step: usize,
    /// From a pixel to the one at its right.
    pub(super) column_step: usize,
}

impl Grid {
    fn at(&self, [row, column]: [usize; 2]) -> usize {
        self.start + row * self.row_step + column * self.column_step
    }

    /// The grid of the rows from `row` on.
    pub(super) fn below(self, row: usize) -> Self {
        Self { start: self.start + row * self.row_step, ..self }
    }
}

/// A block of output channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// The first of its channels in the result.
    pub(super) first: usize,
    /// Its channels, at most [`BLOCK`].
    pub(super) count: usize,
    /// The first channel of the operand that it reads.
    pub(super) source: usize,
}

/// A convolution of some rows of one image.
pub(super) struct Convolve<'a> {
    pub(super) blocks: &'a [Block],
    /// `[block][run][element][BLOCK]`.
    pub(super) weights: &'a [f32],
    /// `[block][BLOCK]`.
    pub(super) bias: &'a [f32],
    /// What each result is clamped to.
    pub(super) limits: [f32; 2],
    pub(super) source: &'a [f32],
    /// The first element of each patch.
    pub(super) patches: Grid,
    /// Where the runs of a patch start, from its first element on.
    pub(super) runs: &'a [usize],
    /// Elements of a run, which lie side by side.
    pub(super) run: usize,
    /// What is added to the result, where something is.
    pub(super) residual: Option<(&'a [f32], Grid)>,
    pub(super) out: &'a mut [f32],
    pub(super) target: Grid,
    pub(super) rows: usize,
    pub(super) columns: usize,
}

impl Convolve<'_> {
    /// Runs with the widest vectors that the processor has.
    pub(super) fn run(self) {
        Arch::new().dispatch(self);
    }
}

/// Calls `work` compiled for the widest vectors that the processor has.
pub(super) fn vectorized(work: impl FnOnce()) {
    Arch::new().dispatch(work);
}

impl WithSimd for Convolve<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match S::F32_LANES {
            16 => self.all::<S, 1>(simd),
            8 => self.all::<S, 2>(simd),
            4 => self.all::<S, 4>(simd),
            _ => self.all::<S, 16>(simd),
        }
    }
}

/// Pixels of the next tile where `left` are left and a pixel takes `vectors` registers: as many as sums fit into
/// registers, few small tiles at the end.
#[inline(always)]
fn tile_size(left: usize, vectors: usize) -> usize {
    match (vectors, left) {
        (1, 12 | 20..) => 12,
        (1, 8..) => 8,
        (2.., 6 | 10..) | (1, 6) => 6,
        (_, 4..) => 4,
        (_, 2..) => 2,
        _ => 1,
    }
}

/// A position in rows of `columns` pixels.
#[derive(Clone, Copy)]
struct Cursor {
    row: usize,
    column: usize,
    columns: usize,
}

impl Cursor {
    #[inline(always)]
    fn next(&mut self) -> [usize; 2] {
        let at = [self.row, self.column];
        self.column += 1;
        if self.column == self.columns {
            self.column = 0;
            self.row += 1;
        }
        at
    }
}

impl Convolve<'_> {
    #[inline(always)]
    fn all<S: Simd, const V: usize>(mut self, simd: S) {
        let per_block = self.runs.len() * self.run * BLOCK;
        for (index, &block) in self.blocks.iter().enumerate() {
            let weights = &self.weights[index * per_block..][..per_block];
            let (weights, _) = bytemuck::cast_slice::<f32, S::f32s>(weights).as_chunks::<V>();
            let bias = &self.bias[index * BLOCK..][..BLOCK];
            let (bias, _) = bytemuck::cast_slice::<f32, S::f32s>(bias).as_chunks::<V>();
            let mut cursor = Cursor { row: 0, column: 0, columns: self.columns };
            let mut left = self.rows * self.columns;
            while left > 0 {
                let size = tile_size(left, V);
                match size {
                    12 => self.tile::<S, V, 12>(simd, block, weights, bias[0], &mut cursor),
                    8 => self.tile::<S, V, 8>(simd, block, weights, bias[0], &mut cursor),
                    6 => self.tile::<S, V, 6>(simd, block, weights, bias[0], &mut cursor),
                    4 => self.tile::<S, V, 4>(simd, block, weights, bias[0], &mut cursor),
                    2 => self.tile::<S, V, 2>(simd, block, weights, bias[0], &mut cursor),
                    _ => self.tile::<S, V, 1>(simd, block, weights, bias[0], &mut cursor),
                }
                left -= size;
            }
        }
    }

    #[inline(always)]
    fn tile<S: Simd, const V: usize, const P: usize>(
        &mut self,
        simd: S,
        block: Block,
        weights: &[[S::f32s; V]],
        bias: [S::f32s; V],
        cursor: &mut Cursor,
    ) {
        let pixels: [[usize; 2]; P] = std::array::from_fn(|_| cursor.next());
        let starts = pixels.map(|pixel| self.patches.at(pixel) + block.source);
        let run = self.run;
        let mut sums = [bias; P];
        for (&offset, weights) in self.runs.iter().zip(weights.chunks_exact(run)) {
            let patches: [&[f32]; P] = std::array::from_fn(|p| &self.source[starts[p] + offset..][..run]);
            let weights = &weights[..run];
            for i in 0..run {
                let weight = weights[i];
                for p in 0..P {
                    let pixel = simd.splat_f32s(patches[p][i]);
                    for v in 0..V {
                        sums[p][v] = simd.mul_add_f32s(pixel, weight[v], sums[p][v]);
                    }
                }
            }
        }
        if let Some((residual, grid)) = self.residual {
            for (sums, &pixel) in sums.iter_mut().zip(&pixels) {
                let added = &residual[grid.at(pixel) + block.first..][..block.count];
                for (sum, added) in sums.iter_mut().zip(added.chunks(S::F32_LANES)) {
                    *sum = simd.add_f32s(*sum, simd.partial_load_f32s(added));
                }
            }
        }
        // Where one operand is no number, x86 takes the second: a result that is none stays so.
        let [low, high] = self.limits.map(|limit| simd.splat_f32s(limit));
        for (sums, &pixel) in sums.iter().zip(&pixels) {
            let out = &mut self.out[self.target.at(pixel) + block.first..][..block.count];
            for (out, &sum) in out.chunks_mut(S::F32_LANES).zip(sums) {
                simd.partial_store_f32s(out, simd.min_f32s(high, simd.max_f32s(low, sum)));
            }
        }
    }
}
