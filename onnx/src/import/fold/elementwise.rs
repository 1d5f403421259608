//! Arithmetic of constants, element by element. Floats are computed in float64 and rounded once.

use super::{broadcast, claim, places};
use crate::import::axes::axis;
use crate::import::constants::{Array, Elements};
use crate::import::dequantized::Dequantized;
use crate::import::failure::Failure;
use crate::import::node::NodeReader;
use crate::proto::DataType;

type Results = Result<Vec<Array>, Failure>;

pub(super) fn unary(node: &mut NodeReader<'_, '_>, of: impl Fn(f64) -> f64) -> Results {
    let x = node.constant(0)?;
    claim(node, &x.dims)?;
    let elements = match &x.elements {
        Elements::Float(data) => Elements::Float(data.iter().map(|&x| of(x.into()) as f32).collect()),
        Elements::Int(data) => Elements::Int(data.iter().map(|&x| of(x as f64) as i64).collect()),
    };
    Ok(vec![Array { dims: x.dims.clone(), elements }])
}

/// Of any number of operands, from left to right.
pub(super) fn binary(
    node: &mut NodeReader<'_, '_>,
    floats: impl Fn(f64, f64) -> f64,
    ints: impl Fn(i64, i64) -> i64,
) -> Results {
    let mut result = (*node.constant(0)?).clone();
    for index in 1..node.input_count() {
        let other = node.constant(index)?;
        let dims = broadcast(&result.dims, &other.dims)?;
        claim(node, &dims)?;
        let pairs = places(&dims, &result.dims).zip(places(&dims, &other.dims));
        let elements = match (&result.elements, &other.elements) {
            (Elements::Float(a), Elements::Float(b)) => {
                Elements::Float(pairs.map(|(i, j)| floats(a[i].into(), b[j].into()) as f32).collect())
            }
            (Elements::Int(a), Elements::Int(b)) => Elements::Int(pairs.map(|(i, j)| ints(a[i], b[j])).collect()),
            _ => return Err("operands are integers and floats".into()),
        };
        result = Array { dims, elements };
    }
    Ok(vec![result])
}

/// Between limits, which are operands from opset 11 on.
pub(super) fn clip(node: &mut NodeReader<'_, '_>) -> Results {
    let (low, high) = (node.attributes.float("min")?, node.attributes.float("max")?);
    let low = node.scalar(1)?.or(low).map_or(f64::NEG_INFINITY, f64::from);
    let high = node.scalar(2)?.or(high).map_or(f64::INFINITY, f64::from);
    unary(node, |x| x.max(low).min(high))
}

/// Powers; the exponent may be of another type.
pub(super) fn pow(node: &mut NodeReader<'_, '_>) -> Results {
    pairwise(node, f64::powf, |dims, x, ints| {
        let elements = match ints {
            true => Elements::Int(x.map(|x| x as i64).collect()),
            false => Elements::Float(x.map(|x| x as f32).collect()),
        };
        Array { dims, elements }
    })
}

/// 1 where the relation holds, otherwise 0.
pub(super) fn compare(node: &mut NodeReader<'_, '_>, holds: impl Fn(f64, f64) -> bool) -> Results {
    let truth = |a, b| if holds(a, b) { 1.0 } else { 0.0 };
    pairwise(node, truth, |dims, x, _| Array { dims, elements: Elements::Int(x.map(|x| x as i64).collect()) })
}

/// `make` is also told whether the first operand holds integers.
fn pairwise(
    node: &mut NodeReader<'_, '_>,
    of: impl Fn(f64, f64) -> f64,
    make: impl Fn(Vec<usize>, &mut dyn Iterator<Item = f64>, bool) -> Array,
) -> Results {
    let (a, b) = (node.constant(0)?, node.constant(1)?);
    let dims = broadcast(&a.dims, &b.dims)?;
    claim(node, &dims)?;
    let at = |array: &Array, place: usize| match &array.elements {
        Elements::Float(data) => f64::from(data[place]),
        Elements::Int(data) => data[place] as f64,
    };
    let mut results = places(&dims, &a.dims).zip(places(&dims, &b.dims)).map(|(i, j)| of(at(&a, i), at(&b, j)));
    Ok(vec![make(dims.clone(), &mut results, matches!(a.elements, Elements::Int(_)))])
}

/// The second operand where the first is not 0, otherwise the third.
pub(super) fn select(node: &mut NodeReader<'_, '_>) -> Results {
    let [condition, a, b] = [node.constant(0)?, node.constant(1)?, node.constant(2)?];
    let dims = broadcast(&broadcast(&condition.dims, &a.dims)?, &b.dims)?;
    claim(node, &dims)?;
    let Elements::Int(holds) = &condition.elements else { return Err("the condition holds no truth values".into()) };
    let from = places(&dims, &condition.dims).zip(places(&dims, &a.dims).zip(places(&dims, &b.dims)));
    let elements = match (&a.elements, &b.elements) {
        (Elements::Float(a), Elements::Float(b)) => {
            Elements::Float(from.map(|(c, (i, j))| if holds[c] != 0 { a[i] } else { b[j] }).collect())
        }
        (Elements::Int(a), Elements::Int(b)) => {
            Elements::Int(from.map(|(c, (i, j))| if holds[c] != 0 { a[i] } else { b[j] }).collect())
        }
        _ => return Err("operands are integers and floats".into()),
    };
    Ok(vec![Array { dims, elements }])
}

pub(super) fn cast(node: &mut NodeReader<'_, '_>) -> Results {
    let to = node.attributes.int("to")?.ok_or("attribute `to` is missing")?;
    node.attributes.ignore("saturate");
    node.attributes.ignore("round_mode");
    let kind = i32::try_from(to).ok().and_then(|to| DataType::try_from(to).ok());
    let floats = match kind {
        Some(DataType::Float | DataType::Double | DataType::Float16 | DataType::Bfloat16) => true,
        Some(DataType::Undefined | DataType::String) | None => return Err(format!("casts to type {to}").into()),
        Some(_) => false,
    };
    let x = node.constant(0)?;
    convert(node, &x, floats, kind == Some(DataType::Bool))
}

pub(super) fn cast_like(node: &mut NodeReader<'_, '_>) -> Results {
    node.attributes.ignore("saturate");
    let (x, like) = (node.constant(0)?, node.constant(1)?);
    convert(node, &x, matches!(like.elements, Elements::Float(_)), false)
}

fn convert(node: &mut NodeReader<'_, '_>, x: &Array, floats: bool, truth: bool) -> Results {
    claim(node, &x.dims)?;
    let elements = match &x.elements {
        _ if floats => Elements::Float(x.floats()),
        Elements::Float(data) if truth => Elements::Int(data.iter().map(|&x| i64::from(x != 0.0)).collect()),
        Elements::Int(data) if truth => Elements::Int(data.iter().map(|&x| i64::from(x != 0)).collect()),
        Elements::Float(data) => Elements::Int(data.iter().map(|&x| x as i64).collect()),
        Elements::Int(data) => Elements::Int(data.clone()),
    };
    Ok(vec![Array { dims: x.dims.clone(), elements }])
}

/// `(x - zero point) * scale`, the scale one number or one for each index of `axis`.
pub(super) fn dequantize(node: &mut NodeReader<'_, '_>) -> Results {
    node.attributes.only("block_size", 0)?;
    node.attributes.ignore("output_dtype");
    let kind = node.kind(0).or_else(|| node.kind(2));
    if let Some(kind) = kind.filter(|kind| ![DataType::Int8, DataType::Uint8, DataType::Int32].contains(kind)) {
        return Err(
            format!("constants of type {kind:?} are not supported, only int8, uint8, and int32 of biases").into()
        );
    }
    let (x, scale) = (node.constant(0)?, node.constant(1)?);
    let zero = if node.has_input(2) { Some(node.constant(2)?) } else { None };
    let named = node.attributes.int("axis")?.unwrap_or(1);
    let count = claim(node, &x.dims)?;
    let (Elements::Int(data), Elements::Float(scales)) = (&x.elements, &scale.elements) else {
        return Err("takes integers and a float scale".into());
    };
    let zeros = match zero.as_deref() {
        None => vec![0; scales.len()],
        Some(Array { elements: Elements::Int(zeros), .. }) => match zeros.as_slice() {
            &[zero] => vec![zero; scales.len()],
            zeros if zeros.len() == scales.len() => zeros.to_vec(),
            _ => return Err("has another number of zero points than of scales".into()),
        },
        Some(_) => return Err("its zero point is no integer".into()),
    };
    let (inner, wide) = scales_of(&x.dims, count, scales.len(), named)?;
    let difference = |i: usize, x: i64| x.saturating_sub(zeros[i / inner % wide]);
    let floats = data.iter().enumerate().map(|(i, &x)| difference(i, x) as f32 * scales[i / inner % wide]).collect();
    // A bias has more digits than float32.
    let vector = x.dims.len() == 1;
    let integer = |(i, &x): (usize, &i64)| i32::try_from(difference(i, x)).ok();
    let values = if vector { data.iter().enumerate().map(integer).collect() } else { None };
    node.set_dequantized(Dequantized { scales: scales.clone(), values })?;
    Ok(vec![Array { dims: x.dims.clone(), elements: Elements::Float(floats) }])
}

/// Weights that a training with rounding left in float: `clamp(round(x / scale) + zero)`, ties to even.
pub(super) fn quantize(node: &mut NodeReader<'_, '_>) -> Results {
    node.attributes.only("block_size", 0)?;
    for name in ["saturate", "precision"] {
        node.attributes.ignore(name);
    }
    let named = node.attributes.int("output_dtype")?.filter(|&kind| kind != 0);
    let named = named.map_or(Some(DataType::Uint8), |kind| DataType::try_from(kind as i32).ok());
    let kind = if node.has_input(2) { node.kind(2) } else { named };
    let (low, high) = match kind {
        Some(DataType::Int8) => (-128.0, 127.0),
        Some(DataType::Uint8) => (0.0, 255.0),
        Some(kind) => return Err(format!("rounds constants to {kind:?}, only int8 and uint8 are supported").into()),
        None => return Err("rounds constants to an unknown type, only int8 and uint8 are supported".into()),
    };
    let (x, scale) = (node.constant(0)?, node.constant(1)?);
    let zeros = if node.has_input(2) { node.constant(2)?.floats() } else { vec![0.0] };
    let zeros = if let &[zero] = zeros.as_slice() { vec![zero; scale.elements.len()] } else { zeros };
    let named = node.attributes.int("axis")?.unwrap_or(1);
    let count = claim(node, &x.dims)?;
    let (Elements::Float(data), Elements::Float(scales)) = (&x.elements, &scale.elements) else {
        return Err("takes floats and a float scale".into());
    };
    let (inner, wide) = scales_of(&x.dims, count, scales.len(), named)?;
    if zeros.len() != scales.len() || scales.is_empty() {
        return Err("has another number of zero points than of scales".into());
    }
    let at = |(i, x): (usize, &f32)| {
        let channel = i / inner % wide;
        ((x / scales[channel]).round_ties_even() + zeros[channel]).clamp(low, high) as i64
    };
    let integers = data.iter().enumerate().map(at).collect();
    Ok(vec![Array { dims: x.dims.clone(), elements: Elements::Int(integers) }])
}

/// Elements of `dims` that follow each other under one of `many` scales, and the number of scales along the axis.
fn scales_of(dims: &[usize], count: usize, many: usize, named: i64) -> Result<(usize, usize), Failure> {
    if many == 1 {
        return Ok((count.max(1), 1));
    }
    let axis = axis(named, dims.len())?;
    if dims[axis] != many {
        return Err(format!("has {many} scales for an axis of {}", dims[axis]).into());
    }
    Ok((dims[axis + 1..].iter().product::<usize>().max(1), many))
}
