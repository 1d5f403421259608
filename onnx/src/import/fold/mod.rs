//! Nodes whose operands are all constants: computed here, so that the graph never sees them.
//!
//! This is the arithmetic of shapes that exporters write down, and of weights that some networks normalize first.

mod elementwise;
mod norms;
mod shapes;

pub(super) use shapes::constant_of_shape;

use super::constants::{Array, Elements};
use super::failure::Failure;
use super::node::NodeReader;

/// Computes the results of a node.
pub(super) type Fold = fn(&mut NodeReader<'_, '_>) -> Result<Vec<Array>, Failure>;

const FOLDS: [(&str, Fold); 68] = [
    ("Abs", |node| elementwise::unary(node, f64::abs)),
    ("Add", |node| elementwise::binary(node, |a, b| a + b, i64::wrapping_add)),
    ("And", |node| elementwise::compare(node, |a, b| a != 0.0 && b != 0.0)),
    ("BatchNormalization", norms::batch_normalization),
    ("Cast", elementwise::cast),
    ("CastLike", elementwise::cast_like),
    ("Ceil", |node| elementwise::unary(node, f64::ceil)),
    ("Clip", elementwise::clip),
    ("Concat", shapes::concat),
    ("Constant", shapes::constant),
    ("Cos", |node| elementwise::unary(node, f64::cos)),
    ("DequantizeLinear", elementwise::dequantize),
    ("Div", |node| elementwise::binary(node, |a, b| a / b, |a, b| a.checked_div(b).unwrap_or_default())),
    ("Equal", |node| elementwise::compare(node, |a, b| a == b)),
    ("Erf", |node| elementwise::unary(node, libm::erf)),
    ("Exp", |node| elementwise::unary(node, f64::exp)),
    ("Expand", shapes::expand),
    ("Flatten", shapes::flatten),
    ("Floor", |node| elementwise::unary(node, f64::floor)),
    ("Gather", shapes::gather),
    ("Greater", |node| elementwise::compare(node, |a, b| a > b)),
    ("GreaterOrEqual", |node| elementwise::compare(node, |a, b| a >= b)),
    ("Identity", same),
    ("Less", |node| elementwise::compare(node, |a, b| a < b)),
    ("LessOrEqual", |node| elementwise::compare(node, |a, b| a <= b)),
    ("Log", |node| elementwise::unary(node, f64::ln)),
    ("MatMul", shapes::mat_mul),
    ("Max", |node| elementwise::binary(node, f64::max, i64::max)),
    ("Min", |node| elementwise::binary(node, f64::min, i64::min)),
    ("Mod", |node| {
        node.attributes.only("fmod", 0)?;
        elementwise::binary(node, f64::rem_euclid, |a, b| {
            if b == 0 { 0 } else { a.wrapping_sub(b.wrapping_mul(floor_div(a, b))) }
        })
    }),
    ("Mul", |node| elementwise::binary(node, |a, b| a * b, i64::wrapping_mul)),
    ("Neg", |node| elementwise::unary(node, |x| -x)),
    ("Not", |node| elementwise::unary(node, |x| if x == 0.0 { 1.0 } else { 0.0 })),
    ("Or", |node| elementwise::compare(node, |a, b| a != 0.0 || b != 0.0)),
    ("Pad", shapes::pad),
    ("Pow", elementwise::pow),
    ("QuantizeLinear", elementwise::quantize),
    ("Range", shapes::range),
    ("Reciprocal", |node| elementwise::unary(node, f64::recip)),
    ("ReduceL1", |node| shapes::reduce(node, shapes::Reduction::Norm1)),
    ("ReduceL2", |node| shapes::reduce(node, shapes::Reduction::Norm2)),
    ("ReduceMax", |node| shapes::reduce(node, shapes::Reduction::Max)),
    ("ReduceMean", |node| shapes::reduce(node, shapes::Reduction::Mean)),
    ("ReduceMin", |node| shapes::reduce(node, shapes::Reduction::Min)),
    ("ReduceProd", |node| shapes::reduce(node, shapes::Reduction::Product)),
    ("ReduceSum", |node| shapes::reduce(node, shapes::Reduction::Sum)),
    ("ReduceSumSquare", |node| shapes::reduce(node, shapes::Reduction::SumSquare)),
    ("Relu", |node| elementwise::unary(node, |x| x.max(0.0))),
    ("Reshape", shapes::reshape),
    ("Round", |node| elementwise::unary(node, f64::round_ties_even)),
    ("Shape", shapes::shape),
    ("Sigmoid", |node| elementwise::unary(node, |x| 1.0 / (1.0 + (-x).exp()))),
    ("Sign", |node| elementwise::unary(node, |x| if x == 0.0 { 0.0 } else { x.signum() })),
    ("Sin", |node| elementwise::unary(node, f64::sin)),
    ("Size", shapes::size),
    ("Slice", shapes::slice),
    ("Softplus", |node| elementwise::unary(node, |x| x.max(0.0) + (-x.abs()).exp().ln_1p())),
    ("Split", shapes::split),
    ("Sqrt", |node| elementwise::unary(node, f64::sqrt)),
    ("Squeeze", shapes::squeeze),
    ("Sub", |node| elementwise::binary(node, |a, b| a - b, i64::wrapping_sub)),
    ("Sum", |node| elementwise::binary(node, |a, b| a + b, i64::wrapping_add)),
    ("Tanh", |node| elementwise::unary(node, f64::tanh)),
    ("Tile", shapes::tile),
    ("Transpose", shapes::transpose),
    ("Unsqueeze", shapes::unsqueeze),
    ("Where", elementwise::select),
    ("Xor", |node| elementwise::compare(node, |a, b| (a != 0.0) != (b != 0.0))),
];

/// The function that computes an operator over constants.
pub(super) fn find(op_type: &str) -> Option<Fold> {
    FOLDS.iter().find(|(name, _)| *name == op_type).map(|(_, fold)| *fold)
}

fn same(node: &mut NodeReader<'_, '_>) -> Result<Vec<Array>, Failure> {
    Ok(vec![(*node.constant(0)?).clone()])
}

fn floor_div(a: i64, b: i64) -> i64 {
    let quotient = a.wrapping_div(b);
    quotient - i64::from(a.wrapping_rem(b) != 0 && (a < 0) != (b < 0))
}

/// Number of elements of a result, for which there is memory left.
fn claim(node: &mut NodeReader<'_, '_>, dims: &[usize]) -> Result<usize, Failure> {
    let count = crate::shape::elements(dims).filter(|&count| count <= node.importer.budget);
    let count = count.ok_or_else(|| format!("its constant result {dims:?} is too large for this file"))?;
    node.importer.budget -= count;
    Ok(count)
}

/// Row-major strides of `dims`.
fn strides(dims: &[usize]) -> Vec<usize> {
    let mut strides = vec![1usize; dims.len()];
    for axis in (1..dims.len()).rev() {
        strides[axis - 1] = strides[axis].saturating_mul(dims[axis]);
    }
    strides
}

/// The dimensions that two tensors have together.
fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>, String> {
    let rank = a.len().max(b.len());
    let at = |dims: &[usize], axis: usize| (axis + dims.len()).checked_sub(rank).map_or(1, |axis| dims[axis]);
    (0..rank)
        .map(|axis| match (at(a, axis), at(b, axis)) {
            (1, dim) | (dim, 1) => Ok(dim),
            (a, b) if a == b => Ok(a),
            _ => Err(format!("operands have dimensions {a:?} and {b:?}")),
        })
        .collect()
}

/// For each element of `dims`, in order, the place of the element of a tensor of `from` that it is a copy of.
fn places<'d>(dims: &'d [usize], from: &[usize]) -> impl Iterator<Item = usize> + use<'d> {
    let own = strides(from);
    let missing = dims.len() - from.len();
    let steps: Vec<usize> = (0..dims.len())
        .map(|axis| axis.checked_sub(missing).filter(|&axis| from[axis] != 1).map_or(0, |axis| own[axis]))
        .collect();
    walk(dims, steps, 0)
}

/// The places that steps along the axes of `dims` come to, row-major.
fn walk(dims: &[usize], steps: Vec<usize>, offset: usize) -> impl Iterator<Item = usize> + use<'_> {
    let count: usize = dims.iter().product();
    let mut index = vec![0usize; dims.len()];
    let mut place = offset;
    (0..count).map(move |_| {
        let here = place;
        for axis in (0..dims.len()).rev() {
            index[axis] += 1;
            place = place.wrapping_add(steps[axis]);
            if index[axis] < dims[axis] {
                break;
            }
            place = place.wrapping_sub(steps[axis].wrapping_mul(dims[axis]));
            index[axis] = 0;
        }
        here
    })
}
