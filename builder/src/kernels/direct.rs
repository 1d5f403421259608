//! Convolution product by product. Each sum starts from the bias and adds products in the order of the weights, so that
//! a result depends neither on the tile nor on its neighbours.

use super::tiles::{self, BLOCK, Block, Grid, Rows, Tiled};
use super::{BlockKernel, dispatch};
use pulp::Simd;
use skipstone_onnx::Conv;

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
        dispatch(Convolve { weights: self, source, patches, runs: &runs, run, rows });
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
        let weights = tiles::blocks::<S, V>(&self.weights.weights);
        let bias = tiles::blocks::<S, V>(&self.weights.bias);
        let of_block = self.runs.len() * self.run;
        let (rows, columns) = (self.rows.rows, self.rows.columns);
        for ((&block, weights), &bias) in self.weights.blocks.iter().zip(weights.chunks_exact(of_block)).zip(bias) {
            let mut work = BlockTiles::<S, V> { simd, block, weights, bias, of: &mut self };
            tiles::in_tiles(rows, columns, V, &mut work);
        }
    }
}

/// A block of output channels.
struct BlockTiles<'w, 'a, S: Simd, const V: usize> {
    simd: S,
    block: Block,
    weights: &'w [[S::f32s; V]],
    bias: [S::f32s; V],
    of: &'w mut Convolve<'a>,
}

impl<S: Simd, const V: usize> Tiled for BlockTiles<'_, '_, S, V> {
    #[inline(always)]
    fn tile<const P: usize>(&mut self, pixels: [[usize; 2]; P]) {
        let starts = pixels.map(|pixel| self.of.patches.at(pixel) + self.block.source);
        let run = self.of.run;
        let mut sums = [self.bias; P];
        for (&offset, weights) in self.of.runs.iter().zip(self.weights.chunks_exact(run)) {
            tiles::accumulate(self.simd, &mut sums, &self.of.source[offset..], starts, weights);
        }
        for (&pixel, sums) in pixels.iter().zip(&sums) {
            self.of.rows.write(self.simd, pixel, self.block, sums);
        }
    }
}
