//! Convolutions of few channels, or in groups of few, whose lanes are output channels: of one pixel, or of pixels side
//! by side where these have fewer channels than a vector has lanes.
//!
//! Pixels are expanded row by row, see [`Expansion`]; then each lane is a sum over its own group alone.

use super::direct::Filter;
use super::grouped::Expansion;
use super::tiles::{self, BLOCK, Block, Grid, Pixels, Rows, Tiled};
use super::{BlockKernel, dispatch, with_scratch};
use pulp::Simd;
use skipstone_onnx::Conv;

/// Weights laid out for convolution lane by lane.
pub(crate) struct Lanes {
    kernel: [usize; 2],
    stride: [usize; 2],
    expansion: Expansion,
    /// Pixels side by side in a vector.
    pixels: usize,
    /// `[block][tap][input of the group][BLOCK]`.
    weights: Vec<f32>,
    /// `[block][BLOCK]`.
    bias: Vec<f32>,
}

/// How many pixels share a vector, where a convolution with results `width` wide can be computed so and is worth it.
fn shared(conv: &Conv, channels: usize, outputs: usize, width: usize) -> Option<usize> {
    if channels != outputs || conv.kernel == [1; 2] {
        return None;
    }
    let of_group = channels / conv.groups;
    if channels.is_multiple_of(BLOCK) {
        return (of_group < BLOCK).then_some(1);
    }
    let pixels = BLOCK / channels;
    let whole = BLOCK.is_multiple_of(channels) && width.is_multiple_of(pixels);
    (whole && conv.stride[1] == 1).then_some(pixels)
}

impl Lanes {
    /// `None` where another method is better; `width` is that of the results.
    pub(crate) fn new(filter: &Filter, width: usize) -> Option<Self> {
        let (conv, channels, outputs) = (filter.conv, filter.channels, filter.bias.len());
        let pixels = shared(conv, channels, outputs, width)?;
        let of_group = channels / conv.groups;
        let expansion = Expansion::new(of_group)?;
        let taps = conv.kernel[0] * conv.kernel[1];
        let blocks = channels.div_ceil(BLOCK);
        let mut weights = vec![0.0; blocks * taps * of_group * BLOCK];
        let mut bias = vec![0.0; blocks * BLOCK];
        for (at, bias) in bias.iter_mut().enumerate() {
            let (block, lane, output) = (at / BLOCK, at % BLOCK, at % outputs);
            *bias = filter.bias[output];
            for tap in 0..taps {
                for input in 0..of_group {
                    let from = (output * of_group + input) * taps + tap;
                    weights[((block * taps + tap) * of_group + input) * BLOCK + lane] = filter.weights[from] as f32;
                }
            }
        }
        Some(Self { kernel: conv.kernel, stride: conv.stride, expansion, pixels, weights, bias })
    }

    /// Products of vectors for each pixel, and expansions, which take as long.
    pub(crate) fn cost(&self) -> usize {
        2 * self.weights.len() / (BLOCK * self.pixels)
    }

    /// Runs into which a row is expanded, each of every so many pixels: the columns of a kernel that are as far apart
    /// share one.
    fn phases(&self) -> usize {
        if self.pixels == 1 { self.stride[1].min(self.kernel[1]) } else { self.kernel[1] }
    }

    /// Computes rows from the pixels of `source`; `patches` are the first elements of the results' patches, in rows
    /// `row_step` apart. Pixels of a row lie side by side.
    pub(crate) fn run(&self, (source, grid): (&[f32], Grid), patches: Grid, mut rows: Rows) {
        rows.columns /= self.pixels;
        rows.target.column_step *= self.pixels;
        if let Some((_, grid)) = &mut rows.residual {
            grid.column_step *= self.pixels;
        }
        let [kernel_h, kernel_w] = self.kernel;
        let size = self.expansion.size();
        let runs = Runs { columns: rows.columns, width: kernel_w, phases: self.phases() };
        let row = runs.start(runs.phases) * size * BLOCK;
        with_scratch(kernel_h * row, |expanded| {
            dispatch(Convolve { of: self, source, grid, patches, rows, runs, expanded, row });
        });
    }
}

/// How the expanded pixels of a row lie.
#[derive(Clone, Copy)]
struct Runs {
    /// Results in a row.
    columns: usize,
    /// Columns of the kernel.
    width: usize,
    phases: usize,
}

impl Runs {
    /// Pixels of a run.
    fn len(self, phase: usize) -> usize {
        self.columns + (self.width - 1 - phase) / self.phases
    }

    /// Pixels before a run.
    fn start(self, phase: usize) -> usize {
        (0..phase).map(|phase| self.len(phase)).sum()
    }

    /// Where a column of the kernel begins.
    fn of_tap(self, tap: usize) -> usize {
        self.start(tap % self.phases) + tap / self.phases
    }
}

struct Convolve<'a> {
    of: &'a Lanes,
    source: &'a [f32],
    grid: Grid,
    patches: Grid,
    rows: Rows<'a>,
    runs: Runs,
    /// The last rows that were expanded, each in the place of the one `kernel height` rows above.
    expanded: &'a mut [f32],
    /// Elements of an expanded row.
    row: usize,
}

impl BlockKernel for Convolve<'_> {
    #[inline(always)]
    fn run<S: Simd, const V: usize>(self, simd: S) {
        match self.of.expansion {
            Expansion::One => self.blocks::<S, V, 1>(simd),
            Expansion::Two => self.blocks::<S, V, 2>(simd),
            Expansion::Four => self.blocks::<S, V, 4>(simd),
            Expansion::Eight => self.blocks::<S, V, 8>(simd),
        }
    }
}

impl Convolve<'_> {
    /// With groups of `N` channels.
    #[inline(always)]
    fn blocks<S: Simd, const V: usize, const N: usize>(mut self, simd: S) {
        let Lanes { kernel: [kernel_h, kernel_w], stride, weights, bias, .. } = self.of;
        let bias = tiles::blocks::<S, V>(bias);
        let weights = tiles::blocks::<S, V>(weights).as_chunks::<N>().0.chunks_exact(kernel_h * kernel_w);
        let columns = self.rows.columns;
        for (index, (weights, &bias)) in weights.zip(bias).enumerate() {
            let block = Block { first: index * BLOCK, count: BLOCK, source: index * BLOCK };
            let mut done = 0;
            for row in 0..self.rows.rows {
                let first = row * stride[0];
                for line in done.max(first)..first + kernel_h {
                    self.expand(line, block);
                }
                done = first + kernel_h;
                let mut work = Row::<S, V, N> { simd, block, weights, bias, row, first, of: &mut self };
                tiles::in_tiles(1, columns, V, &mut work);
            }
        }
    }

    /// Expands a row of the operand, counted from the first patch on.
    #[inline(always)]
    fn expand(&mut self, line: usize, block: Block) {
        let Lanes { kernel, stride, expansion, pixels, .. } = self.of;
        let mut out = &mut self.expanded[line % kernel[0] * self.row..][..self.row];
        let start = self.patches.start + line * self.grid.row_step + block.source;
        let pixel = self.grid.column_step;
        let step = pixels * stride[1] * pixel;
        for phase in 0..self.runs.phases {
            let len = self.runs.len(phase);
            let (run, rest) = out.split_at_mut(len * expansion.size() * BLOCK);
            expansion.expand(run, &self.source[start + phase * pixel..][..(len - 1) * step + BLOCK], step);
            out = rest;
        }
    }
}

/// A row of results of a block.
struct Row<'w, 'a, S: Simd, const V: usize, const N: usize> {
    simd: S,
    block: Block,
    /// For each tap.
    weights: &'w [[[S::f32s; V]; N]],
    bias: [S::f32s; V],
    row: usize,
    /// The first row of the operand that it reads, counted from the first patch on.
    first: usize,
    of: &'w mut Convolve<'a>,
}

impl<S: Simd, const V: usize, const N: usize> Tiled for Row<'_, '_, S, V, N> {
    #[inline(always)]
    fn tile<const P: usize>(&mut self, pixels: Pixels<P>) {
        let simd = self.simd;
        let [kernel_h, kernel_w] = self.of.of.kernel;
        let mut sums = [self.bias; P];
        let column = pixels.first[1];
        for (line, weights) in self.weights.chunks_exact(kernel_w).enumerate() {
            let place = (self.first + line) % kernel_h;
            let row = &self.of.expanded[place * self.of.row..][..self.of.row];
            let row = tiles::blocks::<S, V>(row).as_chunks::<N>().0;
            for (tap, weights) in weights.iter().enumerate() {
                let Some(parts) = row[self.of.runs.of_tap(tap) + column..].first_chunk::<P>() else { return };
                for i in 0..N {
                    for p in 0..P {
                        for v in 0..V {
                            sums[p][v] = simd.mul_add_f32s(parts[p][i][v], weights[i][v], sums[p][v]);
                        }
                    }
                }
            }
        }
        let places = self.of.rows.places(Pixels { first: [self.row, column], ..pixels });
        for (p, sums) in sums.iter().enumerate() {
            self.of.rows.write(simd, &places, p, self.block, sums);
        }
    }
}
