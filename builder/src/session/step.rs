//! The steps of a session.

use super::conv::{Convolution, batch_norm_affine};
use super::elementwise::{Mix, interpolate, largest};
use super::fuse::{Fused, limits};
use super::layout::{Map, Operand};
use crate::autograd;
use crate::autograd::neighbours;
use crate::kernels::logistic::gate;
use crate::kernels::{vectorize, with_scratch};
use crate::tensor::Tensor;
use skipstone_onnx::{Graph, Node, Op, Unary, ValueId, Window};

/// What a step computes.
pub(super) enum Work<'g> {
    /// A convolution or a linear layer, and a residual as last operand where `residual` says so.
    Convolution { conv: Box<Convolution>, residual: bool },
    /// `x * scale + shift`, channel by channel, clamped.
    Affine { scale: Vec<f32>, shift: Vec<f32>, limits: [f32; 2] },
    /// The sum of two maps, clamped.
    Sum { limits: [f32; 2] },
    /// A clamp alone.
    Clamp { limits: [f32; 2] },
    /// A function of each element.
    Unary(Unary),
    /// A sigmoid, to which `added` is added; with `factors`, times a second map.
    Gate { factors: bool, added: f32 },
    /// The product of two maps.
    Product,
    /// The largest element of each window.
    MaxPool(Window),
    /// Bilinear interpolation, or the nearest pixel: for each row, and for each column, two of the operand and their
    /// weights.
    Resize { rows: Vec<Mix>, columns: Vec<Mix> },
    /// Maps side by side along their channels.
    Concat,
    /// The mean of each channel.
    Mean,
    /// The map in the order of ONNX.
    Flatten,
    /// Any other operator, as autograd computes it.
    Other(&'g Node),
}

impl<'g> Work<'g> {
    pub(super) fn new(graph: &Graph, step: &Fused<'g>) -> Self {
        let limits = limits(&step.node.op).unwrap_or(step.limits);
        match &step.node.op {
            Op::Conv(_) | Op::Gemm => {
                Self::Convolution { conv: Box::new(Convolution::new(graph, step)), residual: step.residual.is_some() }
            }
            Op::BatchNorm { .. } => {
                let (scale, shift) = batch_norm_affine(graph, step.node);
                let [scale, shift] = [scale, shift].map(|factors| factors.into_iter().map(|x| x as f32).collect());
                Self::Affine { scale, shift, limits }
            }
            Op::Add => Self::Sum { limits },
            Op::Relu | Op::Clip { .. } => Self::Clamp { limits },
            Op::Unary(unary) => Self::Unary(*unary),
            Op::Sigmoid => Self::Gate { factors: step.residual.is_some(), added: if step.open { 1.0 } else { 0.0 } },
            Op::Mul if step.operands.len() == 2 && same_dims(graph, &step.operands) => Self::Product,
            Op::MaxPool(window) => Self::MaxPool(window.clone()),
            Op::Resize(resize) if resize.is_linear(size(graph, step.operands[0])) => {
                let [height, width] = size(graph, step.operands[0]);
                let [rows, columns] = [(height, resize.size[0]), (width, resize.size[1])]
                    .map(|(size, out)| neighbours(size, out, resize.coordinates));
                Self::Resize { rows, columns }
            }
            Op::Concat => Self::Concat,
            Op::GlobalAveragePool => Self::Mean,
            Op::Flatten => Self::Flatten,
            _ => Self::Other(step.node),
        }
    }

    /// Zeros that the step wants around its first operand.
    pub(super) fn pads(&self) -> [usize; 4] {
        match self {
            Self::Convolution { conv, .. } => conv.pads,
            _ => [0; 4],
        }
    }

    /// Computes one image, in at most `bands` parts side by side.
    pub(super) fn run(
        &self,
        graph: &Graph,
        pool: &autograd::Pool,
        operands: &[Operand],
        y: &Map,
        out: &mut [f32],
        bands: usize,
    ) {
        let (map, x) = operands[0];
        if let Self::Convolution { conv, residual } = self {
            return conv.run((map, x), residual.then(|| operands[1]), (y, out), bands);
        }
        if let Self::Other(node) = self {
            return other(graph, pool, node, operands, y, out);
        }
        y.clear_frame(out);
        match self {
            Self::Gate { factors, added } => {
                let mut factors = factors.then(|| operands[1].0.rows(operands[1].1));
                for (x, y) in map.rows(x).zip(y.rows_mut(out)) {
                    gate(y, x, factors.as_mut().and_then(Iterator::next), *added);
                }
            }
            Self::MaxPool(window) => with_scratch(map.width * map.channels, |line| {
                vectorize(|| largest((map, x), window, (y, out), line));
            }),
            Self::Resize { rows, columns } => with_scratch(map.width * map.channels, |line| {
                vectorize(|| interpolate((map, x), [rows, columns], (y, out), line));
            }),
            _ => self.run_vectorized(operands, y, out),
        }
    }

    /// Computes one image by loops that are compiled for the widest vectors.
    fn run_vectorized(&self, operands: &[Operand], y: &Map, out: &mut [f32]) {
        let (map, x) = operands[0];
        vectorize(
            #[inline(always)]
            || match self {
                Self::Affine { scale, shift, limits: [low, high] } => {
                    for (x, y) in map.rows(x).zip(y.rows_mut(out)) {
                        for (x, y) in x.chunks_exact(scale.len()).zip(y.chunks_exact_mut(scale.len())) {
                            for (((y, x), scale), shift) in y.iter_mut().zip(x).zip(scale).zip(shift) {
                                *y = clamp(x * scale + shift, *low, *high);
                            }
                        }
                    }
                }
                Self::Sum { limits: [low, high] } => {
                    let (other, b) = operands[1];
                    for ((x, b), y) in map.rows(x).zip(other.rows(b)).zip(y.rows_mut(out)) {
                        for ((y, x), b) in y.iter_mut().zip(x).zip(b) {
                            *y = clamp(x + b, *low, *high);
                        }
                    }
                }
                Self::Clamp { limits: [low, high] } => {
                    for (x, y) in map.rows(x).zip(y.rows_mut(out)) {
                        y.iter_mut().zip(x).for_each(|(y, x)| *y = clamp(*x, *low, *high));
                    }
                }
                Self::Unary(unary) => {
                    for (x, y) in map.rows(x).zip(y.rows_mut(out)) {
                        y.iter_mut().zip(x).for_each(|(y, x)| *y = unary.value(*x));
                    }
                }
                Self::Product => {
                    let (other, b) = operands[1];
                    for ((x, b), y) in map.rows(x).zip(other.rows(b)).zip(y.rows_mut(out)) {
                        for ((y, x), b) in y.iter_mut().zip(x).zip(b) {
                            *y = x * b;
                        }
                    }
                }
                Self::Concat => {
                    let mut first = 0;
                    for (map, x) in operands {
                        for (x, out) in map.rows(x).zip(y.rows_mut(out)) {
                            let pixels = out.chunks_exact_mut(y.channels).zip(x.chunks_exact(map.channels));
                            pixels.for_each(|(out, x)| out[first..first + map.channels].copy_from_slice(x));
                        }
                        first += map.channels;
                    }
                }
                Self::Mean => {
                    let means = &mut out[y.grid().start..][..y.channels];
                    means.fill(0.0);
                    for x in map.rows(x).flat_map(|row| row.chunks_exact(map.channels)) {
                        means.iter_mut().zip(x).for_each(|(mean, x)| *mean += x);
                    }
                    let count = (map.height * map.width) as f32;
                    means.iter_mut().for_each(|mean| *mean /= count);
                }
                Self::Flatten => {
                    for (row, x) in map.rows(x).enumerate() {
                        for (column, x) in x.chunks_exact(map.channels).enumerate() {
                            for (channel, x) in x.iter().enumerate() {
                                out[(channel * map.height + row) * map.width + column] = *x;
                            }
                        }
                    }
                }
                _ => unreachable!("was dealt with"),
            },
        );
    }
}

fn same_dims(graph: &Graph, values: &[ValueId]) -> bool {
    values.iter().all(|&value| graph.value(value).dims == graph.value(values[0]).dims)
}

fn size(graph: &Graph, id: ValueId) -> [usize; 2] {
    let map = Map::new(&graph.value(id).dims);
    [map.height, map.width]
}

/// As `f32::clamp`, but for limits of any kind; what is no number stays so.
#[inline(always)]
fn clamp(x: f32, low: f32, high: f32) -> f32 {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

fn other(graph: &Graph, pool: &autograd::Pool, node: &Node, operands: &[Operand], y: &Map, out: &mut [f32]) {
    let tensor = |(map, data): &Operand, id| {
        let dims: &[usize] = if graph.value(id).dims.len() == 3 {
            &[1, map.height, map.width, map.channels]
        } else {
            &[1, map.channels]
        };
        let mut tensor = pool.tensor(dims);
        let rows = tensor.data_mut().chunks_exact_mut(map.width * map.channels);
        rows.zip(map.rows(data)).for_each(|(to, from)| to.copy_from_slice(from));
        tensor
    };
    let operands: Vec<Tensor> = operands.iter().zip(&node.inputs).map(|(operand, &id)| tensor(operand, id)).collect();
    let result = autograd::evaluate_node(graph, node, operands, pool);
    y.fill(out, result.data());
    pool.give(result);
}
