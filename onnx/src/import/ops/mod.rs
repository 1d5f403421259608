//! The operators: one function for each, which reads operands and attributes and adds the graph's nodes.

mod activations;
mod arithmetic;
mod broadcast;
mod concat;
mod functions;
mod largest;
mod layer_norm;
mod layers;
mod norms;
mod pads;
mod pick;
mod pixel_conv;
mod positions;
mod reduce;
mod regions;
mod resize;
mod space_to_depth;
mod stack;
mod tile;
mod views;
mod windows;

pub(super) use functions::Part;

use super::failure::Failure;
use super::fold::constant_of_shape;
use super::node::NodeReader;
use super::quantized;
use crate::{Op, Unary};

type Import = fn(&mut NodeReader<'_, '_>) -> Result<(), Failure>;

const OPS: [(&str, Import); 77] = [
    ("Abs", |node| unary(node, Op::Unary(Unary::LeakyRelu { alpha: -1.0 }))),
    ("Add", arithmetic::add),
    ("AveragePool", windows::average_pool),
    ("BatchNormalization", layers::batch_norm),
    ("Cast", views::cast),
    ("CastLike", views::cast_like),
    ("Celu", activations::celu),
    ("Clip", arithmetic::clip),
    ("Concat", concat::concat),
    ("Constant", views::no_constant),
    ("ConstantOfShape", constant_of_shape),
    ("Conv", windows::conv),
    ("DepthToSpace", space_to_depth::depth_to_space),
    ("DequantizeLinear", quantized::dequantize_linear),
    ("Div", arithmetic::div),
    ("Dropout", layers::dropout),
    ("Elu", activations::elu),
    ("Erf", activations::erf),
    ("Exp", |node| unary(node, Op::Unary(Unary::Exp))),
    ("Expand", views::expand),
    ("Flatten", views::flatten),
    ("Gelu", activations::gelu),
    ("Gemm", layers::gemm),
    ("GlobalAveragePool", |node| global(node, Op::GlobalAveragePool)),
    ("GlobalMaxPool", |node| global(node, Op::GlobalMaxPool)),
    ("GroupNormalization", norms::group_normalization),
    ("HardSigmoid", arithmetic::hard_sigmoid),
    ("HardSwish", arithmetic::hard_swish),
    ("Identity", |node| node.pass_through()),
    ("InstanceNormalization", norms::instance_normalization),
    ("LeakyRelu", activations::leaky_relu),
    ("LayerNormalization", layer_norm::layer_normalization),
    ("Log", functions::log),
    ("LogSoftmax", layers::softmax),
    ("LpNormalization", norms::lp_normalization),
    ("MatMul", layers::mat_mul),
    ("Max", arithmetic::max),
    ("MaxPool", windows::max_pool),
    ("Min", arithmetic::min),
    ("Mish", |node| unary(node, Op::Unary(Unary::Mish))),
    ("Mul", arithmetic::mul),
    ("Neg", arithmetic::neg),
    ("PRelu", activations::p_relu),
    ("Pad", pads::pad),
    ("Pow", functions::pow),
    ("QuantizeLinear", quantized::quantize_linear),
    ("Reciprocal", arithmetic::reciprocal),
    ("ReduceMax", reduce::max),
    ("ReduceMean", reduce::mean),
    ("ReduceMin", reduce::min),
    ("ReduceSum", reduce::sum),
    ("Relu", |node| unary(node, Op::Relu)),
    ("Reshape", views::reshape),
    ("Resize", resize::resize),
    ("Selu", activations::selu),
    ("Shape", views::shape),
    ("Sigmoid", |node| unary(node, Op::Sigmoid)),
    ("Size", views::size),
    ("Slice", regions::slice),
    ("Softmax", layers::softmax),
    ("Softplus", |node| unary(node, Op::Unary(Unary::Softplus))),
    ("Softsign", |node| unary(node, Op::Unary(Unary::Softsign))),
    ("SpaceToDepth", space_to_depth::space_to_depth),
    ("Split", regions::split),
    ("Sqrt", |node| unary(node, Op::Unary(Unary::Power { exponent: 0.5 }))),
    ("Squeeze", views::squeeze),
    ("Sub", arithmetic::sub),
    ("Sum", arithmetic::add),
    ("Swish", activations::swish),
    ("Tanh", arithmetic::tanh),
    ("ThresholdedRelu", activations::thresholded_relu),
    ("Tile", tile::tile),
    ("Transpose", views::transpose),
    ("Unsqueeze", views::unsqueeze),
    ("Upsample", resize::resize),
    ("Gather", regions::gather),
    ("GatherND", pick::gather_nd),
];

/// The function that reads an operator, or why there is none.
pub(super) fn find(op_type: &str) -> Result<Import, String> {
    if let Some((_, import)) = OPS.iter().find(|(name, _)| *name == op_type) {
        return Ok(*import);
    }
    Err("the operator is not supported; docs/onnx.md lists those that are".into())
}

/// An operator with one operand and no attributes, whatever the order of the elements.
fn unary(node: &mut NodeReader<'_, '_>, op: Op) -> Result<(), Failure> {
    let input = node.settled(0)?;
    node.push_like(op, &[input.value], &input)
}

fn global(node: &mut NodeReader<'_, '_>, op: Op) -> Result<(), Failure> {
    let input = node.map(0)?;
    let value = node.push(op, &[input])?;
    node.bind_value(value)
}

/// Rows or columns to add so that the result has `ceil(size / stride)`.
fn same_padding(size: usize, kernel: usize, stride: usize) -> usize {
    ((size.div_ceil(stride) - 1) * stride).saturating_add(kernel).saturating_sub(size)
}
