//! Convolutions with all that follows them in one pass: batch norm, sum and clamp.

use super::fuse::Fused;
use super::layout::Map;
use crate::kernels::direct::{Direct, Entry, Filter};
use crate::kernels::lanes::Lanes;
use crate::kernels::tiles::{Grid, Rows};
use crate::kernels::winograd::{self, PaddedMap, Winograd};
use rayon::prelude::*;
use skipstone_onnx::{Conv, Graph, Node, Op, ValueId};

/// Multiply-accumulates of vectors that are worth a thread of their own.
const WORTH: usize = 1 << 13;

/// A convolution, or a linear layer, which is one of a single pixel, prepared to run.
pub(super) struct Convolution {
    /// Zeros that it wants at top, left, bottom and right of its operand.
    pub(super) pads: [usize; 4],
    conv: Conv,
    limits: [f32; 2],
    /// Multiply-accumulates of vectors for each pixel of the result.
    cost: usize,
    method: Method,
}

enum Method {
    Direct(Direct),
    /// Of single pixels after a batch norm.
    Entering(Entry, Direct),
    Lanes(Lanes),
    Winograd(Winograd),
}

impl Convolution {
    /// Chooses a method and lays out the weights for it.
    pub(super) fn new(graph: &Graph, step: &Fused) -> Self {
        let node = step.node;
        let conv = match &node.op {
            Op::Conv(conv) => conv.clone(),
            _ => Conv::square(1, 1, 0),
        };
        let filter = filter(graph, step, &conv);
        let mut pads = conv.pads;
        let width = graph.value(node.output).dims.last().copied().unwrap_or(1);
        let method = if let Some((norm, limits)) = step.entry {
            let (scale, shift) = batch_norm_affine(graph, norm);
            Method::Entering(Entry::new(&scale, &shift, limits), Direct::new(&filter))
        } else if let Some(lanes) = Lanes::new(&filter, width) {
            Method::Lanes(lanes)
        } else if winograd::suits(&conv, filter.channels, filter.bias.len()) {
            // It handles the borders of the map itself.
            pads = [0; 4];
            let (kernels, _) = filter.weights.as_chunks();
            let kernel = |output: usize, channel: usize| kernels[output * filter.channels + channel];
            Method::Winograd(Winograd::new(filter.channels, filter.bias.clone(), kernel))
        } else {
            Method::Direct(Direct::new(&filter))
        };
        let cost = match &method {
            Method::Direct(direct) | Method::Entering(_, direct) => direct.cost(),
            Method::Lanes(lanes) => lanes.cost(),
            Method::Winograd(winograd) => winograd.cost(),
        };
        Self { pads, limits: step.limits, cost, method, conv }
    }

    /// Computes one image, in at most `bands` parts side by side. `x`, `y` and the residual are maps in their buffers.
    pub(super) fn run(
        &self,
        (x, source): (&Map, &[f32]),
        residual: Option<(&Map, &[f32])>,
        (y, out): (&Map, &mut [f32]),
        bands: usize,
    ) {
        y.clear_frame(out);
        let row = y.row();
        let body = &mut out[y.frame[0] * row..][..y.height * row];
        let target = Grid { start: y.frame[1] * y.channels, ..y.grid() };
        let work = |first: usize, out: &mut [f32]| {
            let rows = Rows {
                residual: residual.map(|(map, data)| (data, map.grid().below(first))),
                limits: self.limits,
                rows: out.len() / row,
                out,
                target,
                columns: y.width,
            };
            match &self.method {
                Method::Direct(direct) => {
                    direct.run((source, x.grid()), x.patches(self.conv.pads, self.conv.stride).below(first), rows);
                }
                Method::Entering(entry, direct) => {
                    direct.run_after(entry, source, x.patches([0; 4], self.conv.stride).below(first), rows);
                }
                Method::Lanes(lanes) => {
                    let patches = x.patches(self.conv.pads, self.conv.stride).below(first);
                    lanes.run((source, x.grid()), patches, rows);
                }
                Method::Winograd(winograd) => {
                    let [top, left, ..] = self.conv.pads.map(|pad| -(pad as isize));
                    let origin = [first as isize + top, left];
                    let operand = PaddedMap { elements: source, grid: x.grid(), size: [x.height, x.width], origin };
                    winograd.run(operand, rows);
                }
            }
        };
        let bands = bands.min(self.cost * y.height * y.width / WORTH).clamp(1, y.height);
        if bands == 1 {
            return work(0, body);
        }
        let unit = match self.method {
            Method::Winograd(_) => winograd::TILE,
            _ => 1,
        };
        let rows = y.height.div_ceil(bands).next_multiple_of(unit);
        body.par_chunks_mut(rows * row).enumerate().for_each(|(band, out)| work(band * rows, out));
    }
}

/// The convolution's weights and bias, with the batch norm after it folded in.
fn filter<'a>(graph: &Graph, step: &Fused, conv: &'a Conv) -> Filter<'a> {
    let node = step.node;
    let outputs = graph.value(node.inputs[1]).dims[0];
    let (scale, shift) = affine(graph, node, step.norm, outputs);
    let weight = vector(graph, node.inputs[1]);
    let of_output = (weight.len() / outputs).max(1);
    let weights = weight.iter().enumerate().map(|(at, &w)| f64::from(w) * scale[at / of_output]).collect();
    let bias = shift.into_iter().map(|shift| shift as f32).collect();
    Filter { conv, channels: graph.value(step.operands[0]).dims[0], weights, bias }
}

fn vector(graph: &Graph, id: ValueId) -> &[f32] {
    graph.parameter(id).map_or(&[], |tensor| tensor.data())
}

/// Scale of a convolution's weights and its bias, with the batch norm after it.
fn affine(graph: &Graph, node: &Node, norm: Option<&Node>, outputs: usize) -> (Vec<f64>, Vec<f64>) {
    let bias: Vec<f64> = match node.inputs.get(2) {
        Some(&bias) => vector(graph, bias).iter().map(|&b| b.into()).collect(),
        None => vec![0.0; outputs],
    };
    match norm {
        None => (vec![1.0; outputs], bias),
        Some(norm) => {
            let (scale, shift) = batch_norm_affine(graph, norm);
            let bias = bias.iter().zip(&scale).zip(shift).map(|((bias, scale), shift)| bias * scale + shift).collect();
            (scale, bias)
        }
    }
}

/// Scale and shift of a batch norm for each channel, computed in float64.
pub(crate) fn batch_norm_affine(graph: &Graph, norm: &Node) -> (Vec<f64>, Vec<f64>) {
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
