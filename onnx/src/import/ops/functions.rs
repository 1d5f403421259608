//! Activations that files write as several operators, recognized as one function of each element.
//!
//! A product of `x` with a part of such a function of the same `x` is the function. What is a part of one is kept in
//! mind as the operators are read; those that are not needed then leave no node.

use crate::import::draft::Id;
use crate::import::failure::Failure;
use crate::import::feature::{Affine, Feature};
use crate::import::node::NodeReader;
use crate::{Op, Unary};
use std::f64::consts::FRAC_1_SQRT_2;

/// What a value is of another one, `x`.
#[derive(Clone, Copy)]
pub(in crate::import) enum Part {
    /// `erf(factor * x)`.
    Erf(Id, f64),
    /// `x^2`.
    Square(Id),
    /// `x^3`.
    Cube(Id),
    /// `x + 0.044715 * x^3`.
    GeluSum(Id),
    /// `(1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))) / 2`.
    GeluTanh(Id),
    /// `(1 + tanh(ln(1 + exp(x)))) / 2`.
    MishTanh(Id),
}

/// How far constants may be from those that a function has: files hold them with six digits or more.
const TOLERANCE: f64 = 1e-6;

fn is(number: f64, constant: f64) -> bool {
    (number - constant).abs() <= TOLERANCE
}

/// The product of two tensors, if it is a function of one of them.
pub(super) fn of_product(node: &mut NodeReader<'_, '_>, a: &Feature, b: &Feature) -> Result<Option<Feature>, Failure> {
    for (part, x) in [(a, b), (b, a)] {
        if let Some((unary, factor)) = function(node, part, x) {
            let value = node.push(Op::Unary(unary), &[x.value])?;
            let affine = Affine::new(vec![factor], vec![0.0]);
            return Ok(Some(Feature { value, affine, sole: true, log: false, layout: x.layout.clone() }));
        }
    }
    Ok(None)
}

/// The function of `x.value`, and a factor, that the product of `part` and `x` is.
fn function(node: &NodeReader<'_, '_>, part: &Feature, x: &Feature) -> Option<(Unary, f64)> {
    let known = node.importer.parts.get(&part.value)?;
    let ((scale, shift), by) = (part.affine.uniform()?, x.affine.factor()?);
    if part.layout != x.layout {
        return None;
    }
    match *known {
        Part::Erf(of, root) if of == x.value && is(root, FRAC_1_SQRT_2) && scale == shift => {
            Some((Unary::Gelu, 2.0 * scale * by))
        }
        Part::GeluTanh(of) if of == x.value && shift == 0.0 => Some((Unary::GeluTanh, scale * by)),
        Part::MishTanh(of) if of == x.value && shift == -0.5 * scale => Some((Unary::Mish, 0.5 * scale * by)),
        _ => None,
    }
}

/// `x / (1 + |x|)`, if that is what operand 0 and its divisor are.
pub(super) fn of_quotient(node: &mut NodeReader<'_, '_>, divisor: &Feature) -> Result<Option<Feature>, Failure> {
    let x = node.feature(0)?;
    let magnitude = Op::Unary(Unary::LeakyRelu { alpha: -1.0 });
    let of = node.importer.draft.producer(divisor.value).filter(|node| node.op == magnitude).map(|node| node.inputs[0]);
    if of != Some(x.value) || !divisor.affine.is_one_more() || !x.affine.is_identity() || x.layout != divisor.layout {
        return Ok(None);
    }
    let value = node.push(Op::Unary(Unary::Softsign), &[x.value])?;
    Ok(Some(Feature { value, sole: true, ..x }))
}

/// The logarithm; `ln(1 + exp(x))` is softplus.
pub(super) fn log(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let x = node.feature(0)?;
    if let Some(argument) = of_one_and_exponential(node, &x) {
        return node.push_like(Op::Unary(Unary::Softplus), &[argument], &x);
    }
    let x = node.settled(0)?;
    node.push_like(Op::Unary(Unary::Log), &[x.value], &x)
}

/// `1 / x`; `1 / (1 + exp(-x))` is a sigmoid.
pub(super) fn reciprocal(node: &mut NodeReader<'_, '_>, x: Feature) -> Result<Feature, Failure> {
    let name = node.name.clone();
    let (op, x) = match of_one_and_exponential(node, &x) {
        Some(value) => {
            let minus = Feature { value, affine: Affine::new(vec![-1.0], vec![0.0]), sole: false, ..x };
            (Op::Sigmoid, node.importer.settle(minus, &name)?)
        }
        None => {
            let x = node.importer.settle(x, &name)?;
            match node.importer.draft.producer(x.value).map(|power| (&power.op, power.inputs[0])) {
                Some((&Op::Unary(Unary::Power { exponent }), value)) => {
                    (Op::Unary(Unary::Power { exponent: -exponent }), Feature { value, ..x })
                }
                _ => (Op::Unary(Unary::Power { exponent: -1.0 }), x),
            }
        }
    };
    let value = node.push_part(&format!("{name}.reciprocal"), op, &[x.value])?;
    Ok(Feature { value, sole: true, ..x })
}

/// The argument of an exponential function, if `x` is one more than that.
fn of_one_and_exponential(node: &NodeReader<'_, '_>, x: &Feature) -> Option<Id> {
    let producer = node.importer.draft.producer(x.value).filter(|node| node.op == Op::Unary(Unary::Exp));
    producer.filter(|_| x.affine.is_one_more() && !x.log).map(|node| node.inputs[0])
}

/// Keeps in mind that `product` is a power of `a` or `b`.
pub(super) fn note_product(node: &mut NodeReader<'_, '_>, a: &Feature, b: &Feature, product: Id) {
    if !(a.affine.is_identity() && b.affine.is_identity() && a.layout == b.layout) {
        return;
    }
    let parts = &mut node.importer.parts;
    let part = match (parts.get(&a.value), parts.get(&b.value)) {
        _ if a.value == b.value => Part::Square(a.value),
        (Some(&Part::Square(of)), _) if of == b.value => Part::Cube(of),
        (_, Some(&Part::Square(of))) if of == a.value => Part::Cube(of),
        _ => return,
    };
    parts.insert(product, part);
}

/// Keeps in mind that `sum` may be the argument of a hyperbolic tangent.
pub(super) fn note_sum(node: &mut NodeReader<'_, '_>, a: &Feature, b: &Feature, sum: Id) {
    for (x, cube) in [(a, b), (b, a)] {
        let factor = cube.affine.factor();
        if let Some(&Part::Cube(of)) = node.importer.parts.get(&cube.value)
            && of == x.value
            && x.affine.is_identity()
            && x.layout == cube.layout
            && factor.is_some_and(|factor| is(factor, Unary::GELU_CUBE.into()))
        {
            node.importer.parts.insert(sum, Part::GeluSum(of));
        }
    }
}

/// Keeps in mind of which argument `half` is `(1 + tanh(argument)) / 2`.
pub(super) fn note_tanh(node: &mut NodeReader<'_, '_>, argument: &Feature, half: Id) {
    let Some(factor) = argument.affine.factor() else { return };
    let softplus = node.importer.draft.producer(argument.value).filter(|node| node.op == Op::Unary(Unary::Softplus));
    let part = match (node.importer.parts.get(&argument.value), softplus) {
        (Some(&Part::GeluSum(of)), _) if is(factor, Unary::SQRT_2_OVER_PI.into()) => Part::GeluTanh(of),
        (_, Some(softplus)) if factor == 1.0 => Part::MishTanh(softplus.inputs[0]),
        _ => return,
    };
    node.importer.parts.insert(half, part);
}

/// `x^2` and `x^3` as products, other powers as functions.
pub(super) fn pow(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let exponent = node.scalar(1)?.unwrap_or(f32::NAN);
    let times = match exponent {
        1.0 => return node.pass_through(),
        2.0 => 1,
        3.0 => 2,
        _ if exponent.is_finite() => {
            let x = node.settled(0)?;
            return node.push_like(Op::Unary(Unary::Power { exponent }), &[x.value], &x);
        }
        _ => return Err(format!("its exponent is {exponent}").into()),
    };
    let x = Feature { sole: false, ..node.settled(0)? };
    let mut power = x.clone();
    for factor in 1..=times {
        let value = if factor == times {
            node.push(Op::Mul, &[power.value, x.value])?
        } else {
            let name = format!("{}.square", node.name);
            node.push_part(&name, Op::Mul, &[power.value, x.value])?
        };
        note_product(node, &power, &x, value);
        power = Feature { value, sole: true, ..x.clone() };
    }
    node.bind(power)
}
