//! Convolution product by product. Each sum starts from the bias and adds products in the order of the weights, so that
//! a result depends neither on the tile nor on its neighbours.

use super::tiles::{self, BLOCK, Block, Grid, Pixels, Rows, Tiled};
use super::{BlockKernel, dispatch, with_scratch};
use pulp::Simd;
use skipstone_onnx::Conv;

/// What is done to each channel of the operand before a convolution of single pixels: `x * scale + shift`, clamped.
pub(crate) struct Entry {
    scale: Vec<f32>,
    shift: Vec<f32>,
    limits: [f32; 2],
}

impl Entry {
    pub(crate) fn new(scale: &[f64], shift: &[f64], limits: [f32; 2]) -> Self {
        let [scale, shift] = [scale, shift].map(|factors| factors.iter().map(|&factor| factor as f32).collect());
        Self { scale, shift, limits }
    }
}

/// A convolution's weights `[outputs][channels / groups][kernel]` and its bias.
pub(crate) struct Filter<'a> {
    pub(crate) conv: &'a Conv,
    /// Channels of the operand.
    pub(crate) channels: usize,
    pub(crate) weights: Vec<f64>,
    pub(crate) bias: Vec<f32>,
}

/// Weights laid out for convolution product by product.
pub(crate) struct Direct {
    kernel: [usize; 2],
    blocks: Vec<Block>,
    /// `[block][tap][element][BLOCK]`.
    weights: Vec<f32>,
    /// `[block][BLOCK]`.
    bias: Vec<f32>,
    /// Elements of the operand's pixel that one block reads.
    width: usize,
}

impl Direct {
    pub(crate) fn new(filter: &Filter) -> Self {
        let (conv, channels, outputs) = (filter.conv, filter.channels, filter.bias.len());
        let [of_group, out_of_group] = [channels, outputs].map(|count| count / conv.groups);
        // Neighbouring groups that fit into one block are computed together, with zeros between them.
        let fits = |&joined: &usize| conv.groups.is_multiple_of(joined) && joined * of_group.max(out_of_group) <= BLOCK;
        let joined = (1..=conv.groups).rev().find(fits).unwrap_or(1);
        let (width, made) = (joined * of_group, joined * out_of_group);
        let blocks: Vec<Block> = (0..conv.groups / joined)
            .flat_map(|group| {
                (0..made).step_by(BLOCK).map(move |first| Block {
                    first: group * made + first,
                    count: BLOCK.min(made - first),
                    source: group * width,
                })
            })
            .collect();
        let taps = conv.kernel[0] * conv.kernel[1];
        let mut weights = vec![0.0; blocks.len() * taps * width * BLOCK];
        let mut bias = vec![0.0; blocks.len() * BLOCK];
        for (index, block) in blocks.iter().enumerate() {
            for lane in 0..block.count {
                let output = block.first + lane;
                bias[index * BLOCK + lane] = filter.bias[output];
                let first = output / out_of_group * of_group - block.source;
                for input in 0..of_group {
                    for tap in 0..taps {
                        let at = (index * taps + tap) * width + first + input;
                        let from = (output * of_group + input) * taps + tap;
                        weights[at * BLOCK + lane] = filter.weights[from] as f32;
                    }
                }
            }
        }
        Self { kernel: conv.kernel, blocks, weights, bias, width }
    }

    /// Products of vectors for each pixel.
    pub(crate) fn cost(&self) -> usize {
        self.weights.len() / BLOCK
    }

    /// As [`Direct::run`] of a convolution of single pixels, of the operand after `entry`.
    pub(crate) fn run_after(&self, entry: &Entry, source: &[f32], patches: Grid, rows: Rows) {
        let mut rows = rows.joined(&patches);
        let room = (STRIP / self.width).max(1).next_multiple_of(12).min(rows.columns);
        with_scratch(room * self.width, |strip| {
            for row in 0..rows.rows {
                for column in (0..rows.columns).step_by(room) {
                    let count = room.min(rows.columns - column);
                    let out = &mut strip[..count * self.width];
                    let start = patches.at([row, column]);
                    dispatch(Enter { entry, source: &source[start..], step: patches.column_step, out });
                    let grid = Grid { start: 0, row_step: 0, column_step: self.width };
                    let part = rows.part([row, column], count);
                    dispatch(Convolve {
                        weights: self,
                        source: out,
                        patches: grid,
                        runs: &[0],
                        run: self.width,
                        rows: part,
                    });
                }
            }
        });
    }

    /// Computes rows from the pixels of `source`, which lie as `grid` says; `patches` are the first elements of the
    /// results' patches.
    pub(crate) fn run(&self, (source, grid): (&[f32], Grid), patches: Grid, rows: Rows) {
        let [kernel_h, kernel_w] = self.kernel;
        // Where a block reads whole pixels those under a row of the kernel lie side by side.
        let whole = self.width == grid.column_step;
        let runs: Vec<usize> = (0..kernel_h)
            .flat_map(|row| {
                let columns = if whole { 1 } else { kernel_w };
                (0..columns).map(move |column| row * grid.row_step + column * grid.column_step)
            })
            .collect();
        let run = if whole { kernel_w * self.width } else { self.width };
        let rows = rows.joined(&patches);
        dispatch(Convolve { weights: self, source, patches, runs: &runs, run, rows });
    }
}

/// Elements after an [`Entry`] that are convolved at a time, enough for few calls, few enough for the first cache.
const STRIP: usize = 1 << 11;

/// Writes pixels that lie `step` elements apart after an entry.
struct Enter<'a> {
    entry: &'a Entry,
    source: &'a [f32],
    step: usize,
    out: &'a mut [f32],
}

impl BlockKernel for Enter<'_> {
    #[inline(always)]
    fn run<S: Simd, const V: usize>(self, simd: S) {
        let Entry { scale, shift, limits } = self.entry;
        let [low, high] = limits.map(|limit| simd.splat_f32s(limit));
        let (scales, scale_rest) = S::as_simd_f32s(scale);
        let (shifts, shift_rest) = S::as_simd_f32s(shift);
        // Where one operand is no number, x86 takes the second.
        let enter = |x, scale, shift| simd.min_f32s(high, simd.max_f32s(low, simd.mul_add_f32s(x, scale, shift)));
        for (out, from) in self.out.chunks_exact_mut(scale.len()).zip(self.source.chunks(self.step)) {
            let (out, out_rest) = S::as_mut_simd_f32s(out);
            let (from, from_rest) = S::as_simd_f32s(&from[..scale.len()]);
            for (((out, &from), &scale), &shift) in out.iter_mut().zip(from).zip(scales).zip(shifts) {
                *out = enter(from, scale, shift);
            }
            if !out_rest.is_empty() {
                let [from, scale, shift] = [from_rest, scale_rest, shift_rest].map(|part| simd.partial_load_f32s(part));
                simd.partial_store_f32s(out_rest, enter(from, scale, shift));
            }
        }
    }
}

struct Convolve<'a> {
    weights: &'a Direct,
    source: &'a [f32],
    /// The first element of each patch.
    patches: Grid,
    /// Where the runs of a patch start, from its first element on.
    runs: &'a [usize],
    /// Elements of a run, which lie side by side.
    run: usize,
    rows: Rows<'a>,
}

impl BlockKernel for Convolve<'_> {
    #[inline(always)]
    fn run<S: Simd, const V: usize>(mut self, simd: S) {
        let blocks = self.weights.blocks.len();
        let mut first = 0;
        while first < blocks {
            let pair = self.weights.blocks.get(first + 1);
            // What is read of a pixel serves both.
            if V == 1 && pair.is_some_and(|block| block.source == self.weights.blocks[first].source) {
                self.blocks::<S, V, 2>(simd, first);
                first += 2;
            } else {
                self.blocks::<S, V, 1>(simd, first);
                first += 1;
            }
        }
    }
}

impl Convolve<'_> {
    /// `B` blocks that read the same.
    #[inline(always)]
    fn blocks<S: Simd, const V: usize, const B: usize>(&mut self, simd: S, first: usize) {
        let Direct { blocks, weights, bias, .. } = self.weights;
        let of_block = self.runs.len() * self.run;
        let weights = tiles::blocks::<S, V>(weights);
        let bias = tiles::blocks::<S, V>(bias);
        let (rows, columns) = (self.rows.rows, self.rows.columns);
        let mut work = BlockTiles::<S, V, B> {
            simd,
            blocks: std::array::from_fn(|b| blocks[first + b]),
            weights: std::array::from_fn(|b| &weights[(first + b) * of_block..][..of_block]),
            bias: std::array::from_fn(|b| bias[first + b]),
            of: self,
        };
        tiles::in_tiles(rows, columns, V, &mut work);
    }
}

/// Blocks of output channels that read the same.
struct BlockTiles<'w, 'a, S: Simd, const V: usize, const B: usize> {
    simd: S,
    blocks: [Block; B],
    weights: [&'w [[S::f32s; V]]; B],
    bias: [[S::f32s; V]; B],
    of: &'w mut Convolve<'a>,
}

impl<S: Simd, const V: usize, const B: usize> Tiled for BlockTiles<'_, '_, S, V, B> {
    #[inline(always)]
    fn tile<const P: usize>(&mut self, pixels: Pixels<P>) {
        let starts = pixels.places(self.of.patches);
        let run = self.of.run;
        let mut sums = [self.bias; P];
        for (index, &offset) in self.of.runs.iter().enumerate() {
            let mut weights: [&[[S::f32s; V]]; B] = [&[]; B];
            for (part, of_block) in weights.iter_mut().zip(self.weights) {
                *part = &of_block[index * run..][..run];
            }
            let source = &self.of.source[self.blocks[0].source + offset..];
            tiles::accumulate(self.simd, &mut sums, source, starts, weights);
        }
        let places = self.of.rows.places(pixels);
        for (p, sums) in sums.iter().enumerate() {
            for (&block, sums) in self.blocks.iter().zip(sums) {
                self.of.rows.write(self.simd, &places, p, block, sums);
            }
        }
    }
}
