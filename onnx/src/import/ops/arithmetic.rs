//! Arithmetic element by element.
//!
//! What a constant adds or multiplies is kept as the feature's affine until a node of the graph has to compute it: most
//! often the layer before it can, or what follows undoes it.

use super::{broadcast, functions, largest, unary};
use crate::Op;
use crate::import::constants::Array;
use crate::import::draft::Id;
use crate::import::failure::Failure;
use crate::import::feature::{Affine, Feature};
use crate::import::layout::Layout;
use crate::import::node::NodeReader;

/// `Add`, and `Sum` of any number of operands.
pub(super) fn add(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    legacy_broadcast(node)?;
    match node.input_count() {
        0 => return Err("operand 0 is missing".into()),
        1 => return node.pass_through(),
        _ => {}
    }
    let mut sum = None;
    for index in 0..node.input_count() {
        sum = Some(match sum {
            None if node.is_constant(0) => {
                let first = node.feature(1)?;
                by_constant(node, 0, first, |c| (1.0, c))?
            }
            None => node.feature(0)?,
            Some(sum) if index == 1 && node.is_constant(0) => sum,
            Some(sum) if node.is_constant(index) => by_constant(node, index, sum, |c| (1.0, c))?,
            Some(sum) => {
                let other = node.feature(index)?;
                add_features(node, sum, other)?
            }
        });
    }
    node.bind(sum.ok_or("operand 0 is missing")?)
}

pub(super) fn sub(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    legacy_broadcast(node)?;
    let result = if node.is_constant(1) {
        let x = node.feature(0)?;
        by_constant(node, 1, x, |c| (1.0, -c))?
    } else if node.is_constant(0) {
        let x = node.feature(1)?;
        by_constant(node, 0, x, |c| (-1.0, c))?
    } else {
        let (x, y) = (node.feature(0)?, node.feature(1)?);
        let negative = y.affine.then(&Affine::new(vec![-1.0], vec![0.0]));
        add_features(node, x, Feature { affine: negative, ..y })?
    };
    node.bind(result)
}

pub(super) fn mul(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    legacy_broadcast(node)?;
    for (constant, feature) in [(1, 0), (0, 1)] {
        if node.is_constant(constant) {
            let x = node.feature(feature)?;
            let result = by_constant(node, constant, x, |c| (c, 0.0))?;
            return node.bind(result);
        }
    }
    let (a, b) = (node.feature(0)?, node.feature(1)?);
    if let Some(function) = functions::of_product(node, &a, &b)? {
        return node.bind(function);
    }
    // `(1 + mask) * trunk` is `mask * trunk + trunk`.
    let (a, b) = if b.affine.is_one_more() { (b, a) } else { (a, b) };
    if a.affine.is_one_more() {
        let mask = Feature { affine: Affine::identity(), ..a };
        let trunk = node.importer.settle(b, &node.name)?;
        let met = alike(node, &mask, &trunk)?.and_then(|[mask, trunk]| operands(node, &mask, &trunk, false));
        if let Some((values, layout)) = met {
            let name = format!("{}.mask", node.name);
            let masked = node.push_part(&name, Op::Mul, &[values[1], values[0]])?;
            let value = node.push(Op::Add, &[masked, values[1]])?;
            let sum = node.importer.plain(value);
            return node.bind(Feature { layout, ..sum });
        }
        let mask = Feature { affine: Affine::new(vec![1.0], vec![1.0]), ..mask };
        let product = multiply(node, mask, trunk)?;
        return node.bind(product);
    }
    let product = multiply(node, a, b)?;
    node.bind(product)
}

pub(super) fn div(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    legacy_broadcast(node)?;
    if !node.is_constant(1) {
        let divisor = node.feature(1)?;
        if node.is_constant(0) {
            let reciprocal = functions::reciprocal(node, divisor)?;
            let result = by_constant(node, 0, reciprocal, |c| (c, 0.0))?;
            return node.bind(result);
        }
        if let Some(softsign) = functions::of_quotient(node, &divisor)? {
            return node.bind(softsign);
        }
        let x = node.feature(0)?;
        let reciprocal = functions::reciprocal(node, divisor)?;
        let quotient = multiply(node, x, reciprocal)?;
        return node.bind(quotient);
    }
    let x = node.feature(0)?;
    let result = by_constant(node, 1, x, |c| (1.0 / c, 0.0))?;
    node.bind(result)
}

pub(super) fn reciprocal(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let x = node.feature(0)?;
    let reciprocal = functions::reciprocal(node, x)?;
    node.bind(reciprocal)
}

pub(super) fn neg(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let x = node.feature(0)?;
    let affine = x.affine.then(&Affine::new(vec![-1.0], vec![0.0]));
    node.bind(Feature { affine, ..x })
}

/// Limits are operands from opset 11 on.
pub(super) fn clip(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let (min, max) = (node.attributes.float("min")?, node.attributes.float("max")?);
    let (min, max) = (node.scalar(1)?.or(min), node.scalar(2)?.or(max));
    // The specification's defaults of the attributes are the largest finite numbers, which limit nothing.
    let min = min.filter(|min| *min != f32::MIN).unwrap_or(f32::NEG_INFINITY);
    let max = max.filter(|max| *max != f32::MAX).unwrap_or(f32::INFINITY);
    if (min, max) == (f32::NEG_INFINITY, f32::INFINITY) {
        return node.pass_through();
    }
    unary(node, Op::Clip { min, max })
}

/// The largest ones of computed tensors, or with a `sign` of -1 the smallest.
fn extreme(node: &mut NodeReader<'_, '_>, sign: f64) -> Result<(), Failure> {
    let name = node.name.clone();
    let by_sign = Affine::new(vec![sign], vec![0.0]);
    let mut result: Option<Feature> = None;
    for index in 0..node.input_count() {
        let x = node.feature(index)?;
        let x = node.importer.settle(Feature { affine: x.affine.then(&by_sign), ..x }, &name)?;
        result = Some(match result {
            None => x,
            Some(other) => {
                let ([a, b], layout) = meet(node, &other, &x, false)?.ok_or_else(|| apart(&other, &x))?;
                let value = largest::larger(node, a, b)?;
                let plain = node.importer.plain(value);
                Feature { layout, ..plain }
            }
        });
    }
    let result = result.ok_or("operand 0 is missing")?;
    node.bind(Feature { affine: result.affine.then(&by_sign), ..result })
}

/// Whether the larger or smaller of computed tensors is asked for, and not a limit.
fn are_computed(node: &NodeReader<'_, '_>) -> bool {
    node.input_count() > 1 && (0..node.input_count()).all(|index| !node.is_constant(index))
}

pub(super) fn max(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    if are_computed(node) {
        return extreme(node, 1.0);
    }
    let (x, limit) = limit(node)?;
    let op = if limit == 0.0 { Op::Relu } else { Op::Clip { min: limit, max: f32::INFINITY } };
    node.push_like(op, &[x.value], &x)
}

pub(super) fn min(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    if are_computed(node) {
        return extreme(node, -1.0);
    }
    let (x, max) = limit(node)?;
    node.push_like(Op::Clip { min: f32::NEG_INFINITY, max }, &[x.value], &x)
}

/// The computed operand and the number that limits it.
fn limit(node: &mut NodeReader<'_, '_>) -> Result<(Feature, f32), Failure> {
    for (constant, feature) in [(1, 0), (0, 1)] {
        if node.input_count() == 2 && node.is_constant(constant) {
            let array = node.constant(constant)?;
            let x = node.settled(feature)?;
            let one = array.dims.len() <= x.layout.dims().len() && array.dims.iter().all(|&dim| dim == 1);
            let limit = array.uniform().filter(|_| one).ok_or("only one number is supported as a limit")?;
            return Ok((x, limit));
        }
    }
    Err("is supported for computed tensors, or for one and one number".into())
}

pub(super) fn hard_sigmoid(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let alpha = node.attributes.float("alpha")?.unwrap_or(0.2);
    let beta = node.attributes.float("beta")?.unwrap_or(0.5);
    let x = node.feature(0)?;
    let affine = x.affine.then(&Affine::new(vec![alpha.into()], vec![beta.into()]));
    let name = node.name.clone();
    let x = node.importer.settle(Feature { affine, ..x }, &name)?;
    node.push_like(Op::Clip { min: 0.0, max: 1.0 }, &[x.value], &x)
}

/// `x * clip(x / 6 + 1 / 2, 0, 1)`.
pub(super) fn hard_swish(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let x = node.settled(0)?;
    let affine = Affine::new(vec![1.0 / 6.0], vec![0.5]);
    let name = node.name.clone();
    let gate = node.importer.settle(Feature { affine, sole: false, ..x.clone() }, &name)?;
    let gate = node.push_part(&format!("{name}.gate"), Op::Clip { min: 0.0, max: 1.0 }, &[gate.value])?;
    node.push_like(Op::Mul, &[x.value, gate], &x)
}

/// `2 * sigmoid(2 * x) - 1`.
pub(super) fn tanh(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let x = node.feature(0)?;
    let affine = x.affine.then(&Affine::new(vec![2.0], vec![0.0]));
    let name = node.name.clone();
    let argument = x.clone();
    let x = node.importer.settle(Feature { affine, ..x }, &name)?;
    let value = node.push(Op::Sigmoid, &[x.value])?;
    functions::note_tanh(node, &argument, value);
    node.bind(Feature { value, affine: Affine::new(vec![2.0], vec![-1.0]), sole: true, ..x })
}

/// Attributes of operator sets before 7, where operands of different dimensions had to be announced.
fn legacy_broadcast(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    Ok(node.attributes.only("broadcast", 0)?)
}

/// `x` with constant operand `index` applied to it: `form` gives factor and summand that a number stands for.
fn by_constant(
    node: &mut NodeReader<'_, '_>,
    index: usize,
    x: Feature,
    form: impl Fn(f64) -> (f64, f64),
) -> Result<Feature, Failure> {
    if x.log {
        return Err("nothing may follow a LogSoftmax but the output".into());
    }
    let array = node.constant(index)?;
    let shown = x.layout.dims();
    let layout = if array.dims.len() > shown.len() { x.layout.with_rank(array.dims.len()) } else { x.layout.clone() };
    let mut x = Feature { layout, ..x };
    let mut numbers = per_channel(&array, &x, node.dims(x.value));
    if numbers.is_none()
        && let Some(wide) = broadcast::widened_for(node, &x, &array.dims)?
    {
        x = wide;
        numbers = per_channel(&array, &x, node.dims(x.value));
    }
    if numbers.is_none() {
        // Of channels that the graph has as pixels, or in another order.
        let name = node.name.clone();
        x = node.importer.in_order(x, &name)?;
        numbers = per_channel(&array, &x, node.dims(x.value));
    }
    let numbers = numbers.ok_or_else(|| {
        format!(
            "operand {index} is a constant of dimensions {:?} for a tensor of {shown:?}; only one number, or one for \
             each channel, is supported",
            array.dims
        )
    })?;
    let (scale, shift): (Vec<f64>, Vec<f64>) = numbers.into_iter().map(|c| form(c.into())).unzip();
    if scale.iter().chain(&shift).any(|x| !x.is_finite()) {
        return Err(format!("operand {index} holds numbers that give NaN or infinity").into());
    }
    Ok(Feature { affine: x.affine.then(&Affine::new(scale, shift)), ..x })
}

/// A constant's number for all elements, or for each channel of a value of `dims`.
pub(super) fn per_channel(array: &Array, x: &Feature, dims: &[usize]) -> Option<Vec<f32>> {
    let shown = x.layout.dims();
    let offset = shown.len() - array.dims.len();
    if array.dims.iter().zip(&shown[offset..]).any(|(&own, &other)| own != 1 && own != other) {
        return None;
    }
    if let Some(one) = array.uniform() {
        return Some(vec![one]);
    }
    let mut wide = (0..array.dims.len()).filter(|&axis| array.dims[axis] != 1);
    let axis = wide.next()? + offset;
    (wide.next().is_none() && x.layout.is_channels(axis, dims)).then(|| array.floats())
}

fn multiply(node: &mut NodeReader<'_, '_>, a: Feature, b: Feature) -> Result<Feature, Failure> {
    let name = node.name.clone();
    let a = node.importer.settle(a, &name)?;
    let b = node.importer.settle(b, &name)?;
    let product = combine(node, Op::Mul, &a, &b)?;
    functions::note_product(node, &a, &b, product.value);
    Ok(product)
}

fn add_features(node: &mut NodeReader<'_, '_>, a: Feature, b: Feature) -> Result<Feature, Failure> {
    let name = node.name.clone();
    let summands = [a.clone(), b.clone()];
    let a = node.importer.settle(a, &name)?;
    let b = node.importer.settle(b, &name)?;
    let sum = combine(node, Op::Add, &a, &b)?;
    functions::note_sum(node, &summands[0], &summands[1], sum.value);
    Ok(sum)
}

/// `op` of two computed tensors.
fn combine(node: &mut NodeReader<'_, '_>, op: Op, a: &Feature, b: &Feature) -> Result<Feature, Failure> {
    match meet(node, a, b, op == Op::Mul)? {
        Some((values, layout)) => {
            let value = node.push(op, &values)?;
            let plain = node.importer.plain(value);
            Ok(Feature { layout, ..plain })
        }
        None => Err(apart(a, b)),
    }
}

fn apart(a: &Feature, b: &Feature) -> Failure {
    let [a, b] = [a, b].map(|side| side.layout.dims());
    format!("operands have dimensions {a:?} and {b:?}, or their axes in different orders").into()
}

/// As [`operands`], with what the file repeats written out.
fn meet(
    node: &mut NodeReader<'_, '_>,
    a: &Feature,
    b: &Feature,
    gates: bool,
) -> Result<Option<([Id; 2], Layout)>, Failure> {
    let Some([a, b]) = alike(node, a, b)? else { return Ok(None) };
    match operands(node, &a, &b, gates) {
        None => broadcast::widened(node, [&a, &b], gates),
        met => Ok(met),
    }
}

/// The graph's values for two tensors that are [`alike`] and meet element by element, and the result's layout. With `gates`
/// one of them may have one element for each channel.
fn operands(node: &NodeReader<'_, '_>, a: &Feature, b: &Feature, gates: bool) -> Option<([Id; 2], Layout)> {
    let values = [a.value, b.value];
    let [a_dims, b_dims] = values.map(|value| node.dims(value).to_vec());
    if a_dims == b_dims {
        return (a.layout == b.layout).then(|| (values, a.layout.clone()));
    }
    let gate = |gate: &[usize], map: &[usize]| map.len() == 3 && gate == [map[0], 1, 1];
    if gates && gate(&b_dims, &a_dims) && a.layout.collapsed(&[2, 3]) == b.layout {
        return Some((values, a.layout.clone()));
    }
    if gates && gate(&a_dims, &b_dims) && b.layout.collapsed(&[2, 3]) == a.layout {
        return Some((values, b.layout.clone()));
    }
    None
}

/// Two tensors as maps, or as vectors, with as many axes in the file.
fn alike(node: &mut NodeReader<'_, '_>, a: &Feature, b: &Feature) -> Result<Option<[Feature; 2]>, Failure> {
    let rank = a.layout.dims().len().max(b.layout.dims().len());
    let mut sides = [a.clone(), b.clone()];
    for (side, other) in sides.iter_mut().zip([b, a]) {
        side.layout = side.layout.unrepeated().with_rank(rank);
        // A vector that meets a map is shown as the map that it was.
        if node.dims(side.value).len() < node.dims(other.value).len() {
            let Ok((value, layout)) = node.importer.unflatten(side) else { return Ok(None) };
            *side = Feature { value, layout, ..side.clone() };
        }
    }
    if sides[0].layout != sides[1].layout {
        for side in &mut sides {
            let name = node.name.clone();
            *side = node.importer.in_order(side.clone(), &name)?;
        }
    }
    Ok(Some(sides))
}
