//! Functions of single elements that are activations.

use super::functions::Part;
use super::unary;
use crate::import::failure::Failure;
use crate::import::feature::{Affine, Feature};
use crate::import::node::NodeReader;
use crate::{Conv, Op, Tensor, Unary};

pub(super) fn leaky_relu(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let alpha = node.attributes.float("alpha")?.unwrap_or(0.01);
    unary(node, Op::Unary(Unary::LeakyRelu { alpha }))
}

pub(super) fn elu(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let alpha = node.attributes.float("alpha")?.unwrap_or(1.0);
    unary(node, Op::Unary(Unary::Elu { alpha }))
}

/// `gamma` times an `Elu`.
pub(super) fn selu(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let alpha = node.attributes.float("alpha")?.unwrap_or(1.673_263_2);
    let gamma = node.attributes.float("gamma")?.unwrap_or(1.050_701);
    scaled(node, 1.0, Unary::Elu { alpha }, gamma.into())
}

/// `alpha * elu(x / alpha)`.
pub(super) fn celu(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let alpha = f64::from(node.attributes.float("alpha")?.unwrap_or(1.0));
    if alpha == 0.0 {
        return Err("attribute `alpha` is 0".into());
    }
    scaled(node, 1.0 / alpha, Unary::Elu { alpha: 1.0 }, alpha)
}

/// `after * function(before * x)`.
fn scaled(node: &mut NodeReader<'_, '_>, before: f64, function: Unary, after: f64) -> Result<(), Failure> {
    let x = node.feature(0)?;
    let affine = x.affine.then(&Affine::new(vec![before], vec![0.0]));
    let name = node.name.clone();
    let x = node.importer.settle(Feature { affine, ..x }, &name)?;
    let value = node.push(Op::Unary(function), &[x.value])?;
    node.bind(Feature { value, affine: Affine::new(vec![after], vec![0.0]), sole: true, ..x })
}

pub(super) fn gelu(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    match node.attributes.string("approximate")? {
        None | Some("none") => unary(node, Op::Unary(Unary::Gelu)),
        Some("tanh") => unary(node, Op::Unary(Unary::GeluTanh)),
        Some(other) => Err(format!("attribute `approximate` is `{other}`, must be `none` or `tanh`").into()),
    }
}

pub(super) fn thresholded_relu(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let alpha = node.attributes.float("alpha")?.unwrap_or(1.0);
    unary(node, Op::Unary(Unary::ThresholdedRelu { alpha }))
}

/// `x * sigmoid(alpha * x)`.
pub(super) fn swish(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let alpha = f64::from(node.attributes.float("alpha")?.unwrap_or(1.0));
    let x = node.settled(0)?;
    let name = node.name.clone();
    let scaled = Feature { affine: Affine::new(vec![alpha], vec![0.0]), sole: false, ..x.clone() };
    let scaled = node.importer.settle(scaled, &name)?;
    let gate = node.push_part(&format!("{name}.gate"), Op::Sigmoid, &[scaled.value])?;
    node.push_like(Op::Mul, &[x.value, gate], &x)
}

/// The error function, kept in mind with its argument: most often it is a part of a `Gelu`.
pub(super) fn erf(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let x = node.feature(0)?;
    let name = node.name.clone();
    let argument = node.importer.settle(x.clone(), &name)?;
    let value = node.push(Op::Unary(Unary::Erf), &[argument.value])?;
    if let Some(factor) = x.affine.factor() {
        node.importer.parts.insert(value, Part::Erf(x.value, factor));
    }
    let plain = node.importer.plain(value);
    node.bind(Feature { layout: argument.layout, ..plain })
}

/// A slope below 0, or one for each channel: then `relu(x) + slope * min(x, 0)`, of which one summand is always 0.
pub(super) fn p_relu(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let slope = node.constant(1)?;
    if slope.floats().iter().any(|slope| !slope.is_finite()) {
        return Err("operand 1 holds NaN or infinity".into());
    }
    let x = node.settled(0)?;
    if slope.dims.len() > x.layout.dims().len() {
        return Err(format!("operand 1 has dimensions {:?}, more than its operand has", slope.dims).into());
    }
    let slopes = super::arithmetic::per_channel(&slope, &x, node.dims(x.value)).ok_or_else(|| {
        format!("operand 1 has dimensions {:?}; only one slope, or one for each channel, is supported", slope.dims)
    })?;
    if let &[alpha] = slopes.as_slice() {
        return node.push_like(Op::Unary(Unary::LeakyRelu { alpha }), &[x.value], &x);
    }
    let name = node.name.clone();
    let (map, is_map) = match node.dims(x.value).len() {
        3 => (x.value, true),
        _ => (node.importer.unflatten(&x)?.0, false),
    };
    if node.dims(map)[0] != slopes.len() {
        return Err("slopes that differ from feature to feature are not supported there".into());
    }
    let positive = node.push_part(&format!("{name}.positive"), Op::Relu, &[map])?;
    let limits = Op::Clip { min: f32::NEG_INFINITY, max: 0.0 };
    let negative = node.push_part(&format!("{name}.negative"), limits, &[map])?;
    let channels = slopes.len();
    let weight = node.parameter_of(1, Tensor::new([channels, 1, 1, 1], slopes)?, true)?;
    let conv = Op::Conv(Conv { groups: channels, ..Conv::square(1, 1, 0) });
    let sloped = node.push_part(&format!("{name}.slope"), conv, &[negative, weight])?;
    if is_map {
        return node.push_like(Op::Add, &[positive, sloped], &x);
    }
    let sum = node.push_part(&format!("{name}.sum"), Op::Add, &[positive, sloped])?;
    node.push_like(Op::Flatten, &[sum], &x)
}
