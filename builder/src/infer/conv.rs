//! Convolutions with their weights laid out for the kernel.

use super::fuse::Fused;
use super::kernel::{BLOCK, Block, Convolve};
use super::layout::Map;
use rayon::prelude::*;
use skipstone_onnx::{Conv, Graph, Node, Op, ValueId};

/// Multiply-accumulates that are worth a thread of their own.
const WORTH: usize = 1 << 18;

/// A convolution, or a linear layer, which is one of a single pixel, with what is computed as it writes its result.
pub(super) struct Packed {
    pub(super) conv: Conv,
    blocks: Vec<Block>,
    weights: Vec<f32>,
    bias: Vec<f32>,
    limits: [f32; 2],
    /// Elements of the operand's pixel that one block reads.
    width: usize,
}

impl Packed {
    /// Lays out the weights of a convolution or a linear layer, its batch norm folded in; `channels` are the operand's.
    pub(super) fn new(graph: &Graph, step: &Fused, channels: usize) -> Self {
        let node = step.node;
        let conv = match &node.op {
            Op::Conv(conv) => conv.clone(),
            _ => Conv::square(1, 1, 0),
        };
        let weight = vector(graph, node.inputs[1]);
        let outputs = graph.value(node.inputs[1]).dims[0];
        let (scale, shift) = affine(graph, node, step.norm, outputs);
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
                bias[index * BLOCK + lane] = shift[output] as f32;
                let first = output / out_of_group * of_group - block.source;
                for input in 0..of_group {
                    for tap in 0..taps {
                        let at = (index * taps + tap) * width + first + input;
                        let from = (output * of_group + input) * taps + tap;
                        weights[at * BLOCK + lane] = (f64::from(weight[from]) * scale[output]) as f32;
                    }
                }
            }
        }
        Self { conv, blocks, weights, bias, limits: step.limits, width }
    }

    /// Computes one image, in at most `bands` parts side by side. `x`, `y` and the residual are maps in their buffers.
    pub(super) fn run(
        &self,
        (x, source): (&Map, &[f32]),
        residual: Option<(&Map, &[f32])>,
        (y, out): (&Map, &mut [f32]),
        bands: usize,
    ) {
        let [kernel_h, kernel_w] = self.conv.kernel;
        // Where a block reads whole pixels those of a row of the kernel lie side by side.
        let whole = self.width == x.channels;
        let runs: Vec<usize> = (0..kernel_h)
            .flat_map(|row| {
                let columns = if whole { 1 } else { kernel_w };
                (0..columns).map(move |column| row * x.row() + column * x.channels)
            })
            .collect();
        let run = if whole { kernel_w * self.width } else { self.width };
        y.clear_frame(out);
        let row = y.row();
        let body = &mut out[y.frame[0] * row..][..y.height * row];
        let target = super::kernel::Grid { start: y.frame[1] * y.channels, ..y.grid() };
        let patches = x.patches(self.conv.pads, self.conv.stride);
        let work = |first: usize, out: &mut [f32]| {
            let rows = out.len() / row;
            Convolve {
                blocks: &self.blocks,
                weights: &self.weights,
                bias: &self.bias,
                limits: self.limits,
                source,
                patches: patches.below(first),
                runs: &runs,
                run,
                residual: residual.map(|(map, data)| (data, map.grid().below(first))),
                out,
                target,
                rows,
                columns: y.width,
            }
            .run();
        };
        let worth = self.weights.len() * y.height * y.width / WORTH;
        let bands = bands.min(worth).clamp(1, y.height);
        if bands == 1 {
            return work(0, body);
        }
        let rows = y.height.div_ceil(bands);
        body.par_chunks_mut(rows * row).enumerate().for_each(|(band, out)| work(band * rows, out));
    }
}

fn vector(graph: &Graph, id: ValueId) -> &[f32] {
    graph.parameter(id).map_or(&[], |tensor| tensor.data())
}

/// Scale of a convolution's weights and its bias, with the batch norm behind it.
fn affine(graph: &Graph, node: &Node, norm: Option<&Node>, outputs: usize) -> (Vec<f64>, Vec<f64>) {
    let bias: Vec<f64> = match node.inputs.get(2) {
        Some(&bias) => vector(graph, bias).iter().map(|&b| b.into()).collect(),
        None => vec![0.0; outputs],
    };
    match norm {
        None => (vec![1.0; outputs], bias),
        Some(norm) => {
            let (scale, shift) = normalization(graph, norm);
            let bias = bias.iter().zip(&scale).zip(shift).map(|((bias, scale), shift)| bias * scale + shift).collect();
            (scale, bias)
        }
    }
}

/// Scale and shift of a batch norm.
pub(super) fn normalization(graph: &Graph, norm: &Node) -> (Vec<f64>, Vec<f64>) {
    let Op::BatchNorm { epsilon } = norm.op else { unreachable!("only batch norms normalize") };
    let [gamma, beta, mean, variance] = [1, 2, 3, 4].map(|operand| vector(graph, norm.inputs[operand]));
    let parts = gamma.iter().zip(beta).zip(mean).zip(variance);
    parts
        .map(|(((&gamma, &beta), &mean), &variance)| {
            let scale = f64::from(gamma) / (f64::from(variance) + f64::from(epsilon)).sqrt();
            (scale, f64::from(beta) - f64::from(mean) * scale)
        })
        .unzip()
}
