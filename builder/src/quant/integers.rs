//! The integer parameters of each operator, from the scales of what it reads and makes.

use super::graph::{QAffine, QConv, QGraph, QNode, QOp, QTensor};
use super::requant::{Channel, Operand, RequantError, Requants, affine, requants};
use super::resample::{Resampling, resize_mode};
use super::root::{Root, SUM_LIMIT};
use super::{QuantError, TensorIndex};
use skipstone_onnx::Coordinates;
use skipstone_runtime::arith::{OPERAND_SHIFT, Requant};
use skipstone_runtime::rows::Axis;

/// Output steps beyond which a constant gives the largest or smallest integer, whatever a residual adds.
const CONSTANT: f64 = (1 << 17) as f64;

/// Sum of the weights of a position of a resize (exclusive), for the same reason.
const WEIGHT_LIMIT: u64 = 1 << 16;

/// Pixels of a group norm's map (exclusive): the sum of a channel's squares fits 32 bits.
const PIXEL_LIMIT: usize = 1 << 16;

impl QGraph {
    /// The integer parameters of a node: one conversion for each logical output channel of a convolution or an affine,
    /// one for each number of elements that a window of an average pool may count, one in all for a sum, a global pool,
    /// a gate, a resize or a norm, none for what only moves values.
    ///
    /// # Errors
    /// [`QuantError::Overflow`] naming node and channel, where 32 or 64 bits could overflow, and
    /// [`QuantError::Unsupported`] where too many elements are added up; not for the nodes of a graph that
    /// [`lower`](super::lower()) made.
    pub fn requants(&self, node: &QNode) -> Result<Requants, QuantError> {
        let (input, output) = (&self.tensors[node.input], &self.tensors[node.output]);
        let ratio = |index: TensorIndex| f64::from(self.tensors[index].params.scale) / f64::from(output.params.scale);
        let raised = |count: i64, divisor: f64| Channel {
            multiplier: ratio(node.input) / f64::from(1u32 << OPERAND_SHIFT) / divisor,
            offset: -((count * i64::from(input.params.zero_point)) << OPERAND_SHIFT),
            constant: 0.0,
            bound: (count * 128) << OPERAND_SHIFT,
        };
        let unsupported =
            |reason: String| QuantError::Unsupported { node: node.name.clone(), op: node.op.name(), reason };
        let summed = |count: usize| match count < SUM_LIMIT {
            true => Ok(count as i64),
            false => Err(unsupported(format!("it averages {count} pixels, at most {} can be added up", SUM_LIMIT - 1))),
        };
        let overflow = |source| QuantError::Overflow { node: node.name.clone(), source };
        let mut operand = None;
        let channels = match &node.op {
            QOp::Conv(conv) => conv_channels(conv, self.factor(node), output),
            QOp::Add => vec![raised(1, 1.0)],
            QOp::GlobalAveragePool => {
                let count = summed(input.dims[1] * input.dims[2])?;
                vec![raised(count, count as f64)]
            }
            QOp::AveragePool { window, .. } => {
                let most = summed(window.kernel[0].saturating_mul(window.kernel[1]))?;
                (1..=most).map(|count| raised(count, count as f64)).collect()
            }
            QOp::Resize(resize) if !resize.is_linear([input.dims[1], input.dims[2]]) => {
                let resampling = Resampling::new(resize, [input.dims[1], input.dims[2]]).map_err(unsupported)?;
                let one = 1i64 << resampling.fraction();
                let channel = Channel {
                    multiplier: ratio(node.input) / one as f64,
                    offset: -one * i64::from(input.params.zero_point),
                    constant: 0.0,
                    bound: resampling.bound(),
                };
                let made = requants(&[channel], None, output.params.zero_point).map_err(overflow)?;
                return Ok(Requants { operand_multiplier: resampling.lost as i32, ..made });
            }
            QOp::Resize(resize) => {
                let weight = resize_weight(resize.coordinates, input, output);
                if weight >= WEIGHT_LIMIT {
                    return Err(unsupported(format!(
                        "the weights of its positions add up to {weight}, at most {} do in integers: resize to a multiple \
                         of the map's size, or with aligned corners",
                        WEIGHT_LIMIT - 1
                    )));
                }
                vec![raised(weight as i64, weight as f64)]
            }
            QOp::Affine(parameters) => {
                let channels = affine_channels(parameters, input, output).map_err(overflow)?;
                return Ok(Requants { channels, operand_multiplier: 0 });
            }
            QOp::Gate { .. } => {
                let trunk = &self.tensors[node.operand.unwrap_or(node.input)];
                let offset = mask_offset(node, input);
                let bound = (127 + offset).abs().max((offset - 128).abs())
                    * (127 - i64::from(trunk.params.zero_point)).max(i64::from(trunk.params.zero_point) + 128);
                let multiplier =
                    f64::from(input.params.scale) * f64::from(trunk.params.scale) / f64::from(output.params.scale);
                let channel = Channel { multiplier, offset: 0, constant: 0.0, bound };
                let made = requants(&[channel], None, output.params.zero_point).map_err(overflow)?;
                return Ok(Requants { operand_multiplier: offset as i32, ..made });
            }
            QOp::L2Norm | QOp::InstanceNorm { .. } | QOp::GroupNorm { .. } => {
                let root = match node.op {
                    QOp::InstanceNorm { epsilon } => {
                        Root::instance(input.dims[1] * input.dims[2], epsilon, input.params.scale)
                            .map_err(unsupported)?
                    }
                    QOp::GroupNorm { groups, epsilon } => {
                        let pixels = input.dims[1] * input.dims[2];
                        if pixels >= PIXEL_LIMIT {
                            let most = PIXEL_LIMIT - 1;
                            return Err(unsupported(format!(
                                "it averages {pixels} pixels, at most {most} can be added up"
                            )));
                        }
                        let count = input.dims[0] / groups * pixels;
                        Root::group(count, epsilon, input.params.scale).map_err(unsupported)?
                    }
                    _ => Root::l2(input.dims[0]),
                };
                let requant = root.requant(output.params.scale);
                let requant = requant.map_err(|reason| overflow(RequantError { channel: 0, reason: reason.into() }))?;
                return Ok(Requants { channels: vec![requant], operand_multiplier: root.fraction as i32 });
            }
            QOp::Copy(_) | QOp::Blocks | QOp::MaxPool { .. } | QOp::Lookup { .. } | QOp::Concat => Vec::new(),
        };
        if matches!(node.op, QOp::Conv(_) | QOp::Add) {
            operand = node
                .operand
                .map(|index| Operand { multiplier: ratio(index), zero_point: self.tensors[index].params.zero_point });
        }
        requants(&channels, operand, output.params.zero_point).map_err(overflow)
    }

    /// The conversions through which a convolution reads its input, one for each logical channel; none without a
    /// prologue.
    ///
    /// # Errors
    /// As [`requants`](Self::requants).
    pub fn prologue_requants(&self, node: &QNode) -> Result<Vec<Requant>, QuantError> {
        let Some(prologue) = node.op.prologue() else { return Ok(Vec::new()) };
        affine_channels(&prologue.affine, &self.tensors[node.input], &prologue.tensor)
            .map_err(|source| QuantError::Overflow { node: prologue.name.clone(), source })
    }
}

/// What the integer weights of each position of a resize add up to. Sizes fit 16 bits.
pub(super) fn resize_weight(coordinates: Coordinates, input: &QTensor, output: &QTensor) -> u64 {
    let axis = |axis: usize| {
        let size = |dims: [usize; 3]| u16::try_from(dims[axis]).unwrap_or(u16::MAX);
        u64::from(Axis::new(Some(resize_mode(coordinates)), size(input.dims), size(output.dims)).weight())
    };
    axis(1) * axis(2)
}

/// What is added to a gate's mask before the product: its zero point taken away, and one if it stands for `1 + mask`.
fn mask_offset(node: &QNode, mask: &QTensor) -> i64 {
    let one = match node.op {
        QOp::Gate { one_plus: true } => (1.0 / f64::from(mask.params.scale)).round() as i64,
        _ => 0,
    };
    one - i64::from(mask.params.zero_point)
}

fn conv_channels(conv: &QConv, input: &QTensor, output: &QTensor) -> Vec<Channel> {
    let channel = |index: usize| {
        let weights = conv.channel(index);
        let sum: i64 = weights.iter().map(|&w| i64::from(w)).sum();
        let magnitude: i64 = weights.iter().map(|&w| i64::from(w).abs()).sum();
        let bias = conv.real_bias(index, input.params.scale) / f64::from(output.params.scale);
        if magnitude == 0 {
            // Whatever the scale of weights that are all 0 is, only the bias is left.
            return Channel { multiplier: 0.0, offset: 0, constant: bias.clamp(-CONSTANT, CONSTANT), bound: 0 };
        }
        let (whole, constant) = match conv.bias_scales[index] {
            None => (i64::from(conv.bias[index]), 0.0),
            Some(_) => (0, bias),
        };
        Channel {
            multiplier: f64::from(input.params.scale) * f64::from(conv.weight_scales[index])
                / f64::from(output.params.scale),
            offset: whole - i64::from(input.params.zero_point) * sum,
            constant,
            bound: 128 * magnitude,
        }
    };
    (0..conv.bias.len()).map(channel).collect()
}

fn affine_channels(parameters: &QAffine, input: &QTensor, output: &QTensor) -> Result<Vec<Requant>, RequantError> {
    let steps = f64::from(output.params.scale);
    let channel = |(channel, (&factor, &constant)): (usize, (&f32, &f32))| {
        let multiplier = f64::from(factor) * f64::from(input.params.scale) / steps / f64::from(1u32 << OPERAND_SHIFT);
        let constant = f64::from(constant) / steps + f64::from(output.params.zero_point);
        let offset = -(i64::from(input.params.zero_point) << OPERAND_SHIFT);
        affine(multiplier, offset, constant, 128 << OPERAND_SHIFT)
            .map_err(|reason| RequantError { channel, reason: reason.into() })
    };
    parameters.factors.iter().zip(&parameters.constants).enumerate().map(channel).collect()
}
