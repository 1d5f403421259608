//! Constants cut, joined, reordered and counted.

use super::{claim, places, strides, walk};
use crate::import::axes::{axes, axis, permutation, reduced_axes, resolve, shape_of, unsqueezed};
use crate::import::constants::{Array, Elements, decode};
use crate::import::failure::Failure;
use crate::import::node::NodeReader;

type Results = Result<Vec<Array>, Failure>;

pub(super) fn constant(node: &mut NodeReader<'_, '_>) -> Results {
    let attributes = &mut node.attributes;
    let array = if let Some(proto) = attributes.tensor("value")? {
        decode(proto)?
    } else if let Some(value) = attributes.float("value_float")? {
        Array::scalar(value)
    } else if let Some(value) = attributes.int("value_int")? {
        Array { dims: vec![], elements: Elements::Int(vec![value]) }
    } else if let Some(values) = attributes.floats("value_floats")? {
        Array { dims: vec![values.len()], elements: Elements::Float(values.to_vec()) }
    } else if let Some(values) = attributes.ints("value_ints")? {
        Array::ints(values.to_vec())
    } else {
        return Err("it holds no tensor or numbers".into());
    };
    Ok(vec![array])
}

/// One number everywhere. Floats take no memory before they are computed with.
pub(in crate::import) fn constant_of_shape(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let value = match node.attributes.tensor("value")? {
        Some(proto) => decode(proto)?,
        None => Array::scalar(0.0),
    };
    let dims = sizes(node, 0)?;
    match &value.elements {
        Elements::Float(data) if data.len() == 1 => {
            let count = crate::shape::elements(&dims).filter(|&count| count <= node.importer.fill_budget);
            let count = count.ok_or_else(|| format!("its constant result {dims:?} is too large for this file"))?;
            node.importer.fill_budget -= count;
            node.fill(dims, data[0])
        }
        Elements::Int(data) if data.len() == 1 => {
            let count = claim(node, &dims)?;
            node.set_constant(Array { dims, elements: Elements::Int(vec![data[0]; count]) })
        }
        _ => Err("attribute `value` must hold one element".into()),
    }
}

/// Operand `index` as dimensions.
fn sizes(node: &NodeReader<'_, '_>, index: usize) -> Result<Vec<usize>, Failure> {
    let ints = node.ints(index)?;
    let sizes = ints.iter().map(|&int| usize::try_from(int)).collect::<Result<Vec<_>, _>>();
    Ok(sizes.map_err(|_| format!("operand {index} is {ints:?}, must be dimensions"))?)
}

/// The elements at `places`, under `dims`.
fn pick(x: &Array, dims: Vec<usize>, places: impl Iterator<Item = usize>) -> Vec<Array> {
    let elements = match &x.elements {
        Elements::Float(data) => Elements::Float(places.map(|place| data[place]).collect()),
        Elements::Int(data) => Elements::Int(places.map(|place| data[place]).collect()),
    };
    vec![Array { dims, elements }]
}

/// The same elements under other dimensions.
fn renamed(node: &mut NodeReader<'_, '_>, dims: Vec<usize>) -> Results {
    let x = node.constant(0)?;
    claim(node, &dims)?;
    Ok(vec![Array { dims, elements: x.elements.clone() }])
}

pub(super) fn reshape(node: &mut NodeReader<'_, '_>) -> Results {
    let dims = node.constant(0)?.dims.clone();
    let target = node.ints_or_attribute(1, "shape")?.ok_or("operand 1 is missing")?;
    let copies = node.attributes.int("allowzero")?.unwrap_or(0) == 0;
    let dims = resolve(&target, &dims, copies)?;
    renamed(node, dims)
}

pub(super) fn flatten(node: &mut NodeReader<'_, '_>) -> Results {
    let dims = node.constant(0)?.dims.clone();
    let at = node.attributes.int("axis")?.unwrap_or(1);
    let at = if at == dims.len() as i64 { dims.len() } else { axis(at, dims.len())? };
    renamed(node, vec![dims[..at].iter().product(), dims[at..].iter().product()])
}

pub(super) fn squeeze(node: &mut NodeReader<'_, '_>) -> Results {
    let dims = node.constant(0)?.dims.clone();
    let gone = match node.ints_or_attribute(1, "axes")? {
        Some(list) => axes(&list, dims.len())?,
        None => (0..dims.len()).filter(|&axis| dims[axis] == 1).collect(),
    };
    if gone.iter().any(|&axis| dims[axis] != 1) {
        return Err(format!("axes {gone:?} of {dims:?} cannot be squeezed").into());
    }
    let left = (0..dims.len()).filter(|axis| !gone.contains(axis)).map(|axis| dims[axis]).collect();
    renamed(node, left)
}

pub(super) fn unsqueeze(node: &mut NodeReader<'_, '_>) -> Results {
    let dims = node.constant(0)?.dims.clone();
    let list = node.ints_or_attribute(1, "axes")?.ok_or("operand 1 is missing")?;
    let dims = unsqueezed(&dims, &list)?;
    renamed(node, dims)
}

pub(super) fn transpose(node: &mut NodeReader<'_, '_>) -> Results {
    let x = node.constant(0)?;
    let order = permutation(node, x.dims.len())?;
    claim(node, &x.dims)?;
    let own = strides(&x.dims);
    let dims: Vec<usize> = order.iter().map(|&axis| x.dims[axis]).collect();
    let places = walk(&dims, order.iter().map(|&axis| own[axis]).collect(), 0);
    Ok(pick(&x, dims.clone(), places))
}

pub(super) fn expand(node: &mut NodeReader<'_, '_>) -> Results {
    let x = node.constant(0)?;
    let dims = super::broadcast(&x.dims, &sizes(node, 1)?)?;
    claim(node, &dims)?;
    Ok(pick(&x, dims.clone(), places(&dims, &x.dims)))
}

pub(super) fn tile(node: &mut NodeReader<'_, '_>) -> Results {
    let x = node.constant(0)?;
    let repeats = sizes(node, 1)?;
    if repeats.len() != x.dims.len() {
        return Err(format!("has {} repeats for {} dimensions", repeats.len(), x.dims.len()).into());
    }
    let dims: Vec<usize> = x.dims.iter().zip(&repeats).map(|(dim, times)| dim.saturating_mul(*times)).collect();
    claim(node, &dims)?;
    // Each axis as two: the copies, and the elements of one.
    let own = strides(&x.dims);
    let pairs: Vec<usize> = repeats.iter().zip(&x.dims).flat_map(|(&times, &dim)| [times, dim]).collect();
    let steps = own.iter().flat_map(|&step| [0, step]).collect();
    Ok(pick(&x, dims, walk(&pairs, steps, 0)))
}

/// Around a constant, with one number; a negative padding cuts.
pub(super) fn pad(node: &mut NodeReader<'_, '_>) -> Results {
    let mode = node.attributes.string("mode")?.unwrap_or("constant");
    if mode != "constant" {
        return Err(format!("pads constants by mode `{mode}`, only `constant` is supported").into());
    }
    let given = node.attributes.float("value")?;
    let value = node.scalar(2)?.or(given).unwrap_or(0.0);
    let pads = node.ints_or_attribute(1, "pads")?.ok_or("operand 1 is missing")?;
    let x = node.constant(0)?;
    let named = if node.has_input(3) { axes(&node.ints(3)?, x.dims.len())? } else { (0..x.dims.len()).collect() };
    if pads.len() != 2 * named.len() {
        return Err(format!("has {} pads for {} axes", pads.len(), named.len()).into());
    }
    let (mut before, mut dims) = (vec![0; x.dims.len()], x.dims.clone());
    for (index, &axis) in named.iter().enumerate() {
        let (front, back) = (pads[index], pads[named.len() + index]);
        let size = (x.dims[axis] as i64).checked_add(front).and_then(|size| size.checked_add(back));
        dims[axis] = size.and_then(|size| usize::try_from(size).ok()).ok_or_else(|| format!("padding is {pads:?}"))?;
        before[axis] = front;
    }
    let count = claim(node, &dims)?;
    let own = strides(&x.dims);
    let theirs = strides(&dims);
    let source = |place: usize| {
        (0..dims.len()).try_fold(0, |sum, axis| {
            let at = (place / theirs[axis] % dims[axis]) as i64 - before[axis];
            usize::try_from(at).ok().filter(|&at| at < x.dims[axis]).map(|at| sum + at * own[axis])
        })
    };
    let elements = match &x.elements {
        Elements::Float(data) => {
            Elements::Float((0..count).map(|place| source(place).map_or(value, |at| data[at])).collect())
        }
        Elements::Int(data) => {
            Elements::Int((0..count).map(|place| source(place).map_or(value as i64, |at| data[at])).collect())
        }
    };
    Ok(vec![Array { dims, elements }])
}

/// The product of two matrices.
pub(super) fn mat_mul(node: &mut NodeReader<'_, '_>) -> Results {
    let (a, b) = (node.constant(0)?, node.constant(1)?);
    let (&[rows, inner], &[other, columns]) = (a.dims.as_slice(), b.dims.as_slice()) else {
        return Err(format!("multiplies constants of dimensions {:?} and {:?}", a.dims, b.dims).into());
    };
    let (Elements::Float(left), Elements::Float(right)) = (&a.elements, &b.elements) else {
        return Err("multiplies integers".into());
    };
    if inner != other {
        return Err(format!("multiplies constants of dimensions {:?} and {:?}", a.dims, b.dims).into());
    }
    claim(node, &[rows, columns, inner.max(1)])?;
    let cell = |row: usize, column: usize| {
        (0..inner).map(|i| f64::from(left[row * inner + i]) * f64::from(right[i * columns + column])).sum::<f64>()
    };
    let cells = (0..rows).flat_map(|row| (0..columns).map(move |column| cell(row, column) as f32));
    Ok(vec![Array { dims: vec![rows, columns], elements: Elements::Float(cells.collect()) }])
}

pub(super) fn concat(node: &mut NodeReader<'_, '_>) -> Results {
    let named = node.attributes.int("axis")?.ok_or("attribute `axis` is missing")?;
    let parts = (0..node.input_count()).map(|index| node.constant(index)).collect::<Result<Vec<_>, _>>()?;
    let first = parts.first().ok_or("operand 0 is missing")?;
    let mut dims = first.dims.clone();
    let at = axis(named, dims.len())?;
    dims[at] = 0;
    for part in &parts {
        let fits =
            part.dims.len() == dims.len() && (0..dims.len()).all(|axis| axis == at || part.dims[axis] == dims[axis]);
        if !fits {
            return Err(format!("operands have dimensions {:?} and {:?}", first.dims, part.dims).into());
        }
        dims[at] = dims[at].saturating_add(part.dims[at]);
    }
    claim(node, &dims)?;
    let outer: usize = dims[..at].iter().product();
    let rows = |len: usize| len / outer.max(1);
    let ints = matches!(first.elements, Elements::Int(_));
    let mut floats_out = Vec::new();
    let mut ints_out = Vec::new();
    for row in 0..outer {
        for part in &parts {
            let len = rows(part.elements.len());
            match &part.elements {
                Elements::Float(data) if !ints => floats_out.extend_from_slice(&data[row * len..][..len]),
                Elements::Int(data) if ints => ints_out.extend_from_slice(&data[row * len..][..len]),
                _ => return Err("operands are integers and floats".into()),
            }
        }
    }
    Ok(vec![Array { dims, elements: if ints { Elements::Int(ints_out) } else { Elements::Float(floats_out) } }])
}

pub(super) fn gather(node: &mut NodeReader<'_, '_>) -> Results {
    let x = node.constant(0)?;
    let at = axis(node.attributes.int("axis")?.unwrap_or(0), x.dims.len())?;
    let indices = node.constant(1)?;
    let Elements::Int(list) = &indices.elements else { return Err("the indices are no integers".into()) };
    let size = x.dims[at];
    let mut rows = Vec::with_capacity(list.len());
    for &index in list {
        let from_front = if index < 0 { index.saturating_add(size as i64) } else { index };
        let row = usize::try_from(from_front).ok().filter(|&row| row < size);
        rows.push(row.ok_or_else(|| format!("index {index} is beyond an axis of {size}"))?);
    }
    let dims = [&x.dims[..at], &indices.dims, &x.dims[at + 1..]].concat();
    claim(node, &dims)?;
    let outer: usize = x.dims[..at].iter().product();
    let inner: usize = x.dims[at + 1..].iter().product();
    let rows = &rows;
    let places = (0..outer)
        .flat_map(move |o| rows.iter().flat_map(move |&row| (0..inner).map(move |i| (o * size + row) * inner + i)));
    Ok(pick(&x, dims, places))
}

/// How many of `from, from + step, ...` lie below `to`.
fn steps_between(from: i64, to: i64, step: i64) -> i64 {
    let span = (to - from).max(0);
    span / step + i64::from(span % step != 0)
}

pub(super) fn slice(node: &mut NodeReader<'_, '_>) -> Results {
    let x = node.constant(0)?;
    let starts = node.ints_or_attribute(1, "starts")?.ok_or("operand 1 is missing")?;
    let ends = node.ints_or_attribute(2, "ends")?.ok_or("operand 2 is missing")?;
    let axes = match node.ints_or_attribute(3, "axes")? {
        Some(named) => axes(&named, x.dims.len())?,
        None => (0..starts.len().min(x.dims.len())).collect(),
    };
    let by = if node.has_input(4) { node.ints(4)? } else { vec![1; axes.len()] };
    if [starts.len(), ends.len(), by.len()] != [axes.len(); 3] {
        return Err(format!("has {} starts for {} axes", starts.len(), axes.len()).into());
    }
    let (mut dims, mut steps, mut offset) = (x.dims.clone(), strides(&x.dims), 0);
    for (index, axis) in axes.into_iter().enumerate() {
        let size = x.dims[axis] as i64;
        let step = by[index];
        let from_front = |at: i64| if at < 0 { at.saturating_add(size) } else { at };
        let (start, end) = (from_front(starts[index]), from_front(ends[index]));
        let (start, count) = match step {
            0 | i64::MIN => return Err(format!("step {step} is not supported").into()),
            1.. => {
                let (start, end) = (start.clamp(0, size), end.clamp(0, size));
                (start, steps_between(start, end, step))
            }
            _ => {
                let (start, end) = (start.clamp(-1, size - 1), end.clamp(-1, size - 1));
                (start.max(0), steps_between(end, start, -step))
            }
        };
        dims[axis] = usize::try_from(count).unwrap_or_default();
        offset += usize::try_from(start).unwrap_or_default() * steps[axis];
        steps[axis] = steps[axis].wrapping_mul(step as usize);
    }
    claim(node, &dims)?;
    Ok(pick(&x, dims.clone(), walk(&dims, steps, offset)))
}

pub(super) fn split(node: &mut NodeReader<'_, '_>) -> Results {
    let x = node.constant(0)?;
    let at = axis(node.attributes.int("axis")?.unwrap_or(0), x.dims.len())?;
    node.attributes.ignore("num_outputs");
    let count = node.output_count();
    let sizes = match node.ints_or_attribute(1, "split")? {
        Some(sizes) => sizes.iter().map(|&size| usize::try_from(size).unwrap_or(usize::MAX)).collect(),
        None => {
            let part = x.dims[at].div_ceil(count);
            (0..count).map(|index| part.min(x.dims[at].saturating_sub(index * part))).collect::<Vec<_>>()
        }
    };
    if sizes.len() != count || sizes.iter().try_fold(0usize, |sum, &size| sum.checked_add(size)) != Some(x.dims[at]) {
        return Err(format!("splits {} into {sizes:?} for {count} results", x.dims[at]).into());
    }
    claim(node, &x.dims)?;
    let own = strides(&x.dims);
    let mut start = 0;
    let mut parts = Vec::with_capacity(count);
    for size in sizes {
        let mut dims = x.dims.clone();
        dims[at] = size;
        parts.extend(pick(&x, dims.clone(), walk(&dims, own.clone(), start * own[at])));
        start += size;
    }
    Ok(parts)
}

pub(super) fn range(node: &mut NodeReader<'_, '_>) -> Results {
    let operands = [node.constant(0)?, node.constant(1)?, node.constant(2)?];
    match operands.each_ref().map(|array| &array.elements) {
        [Elements::Int(start), Elements::Int(limit), Elements::Int(delta)] => {
            let ([start], [limit], [delta]) = (start.as_slice(), limit.as_slice(), delta.as_slice()) else {
                return Err("operands must be numbers".into());
            };
            if *delta == 0 {
                return Err("operand 2 is 0".into());
            }
            let (span, by) = (i128::from(*limit) - i128::from(*start), i128::from(*delta));
            let count = if span.signum() == by.signum() { span.unsigned_abs().div_ceil(by.unsigned_abs()) } else { 0 };
            let count = claim(node, &[usize::try_from(count).unwrap_or(usize::MAX)])?;
            Ok(vec![Array::ints((0..count as i64).map(|i| start.wrapping_add(i.wrapping_mul(*delta))).collect())])
        }
        _ => Err("only integers are supported".into()),
    }
}

pub(super) fn shape(node: &mut NodeReader<'_, '_>) -> Results {
    let dims = node.constant(0)?.dims.clone();
    Ok(vec![shape_of(node, &dims)?])
}

pub(super) fn size(node: &mut NodeReader<'_, '_>) -> Results {
    let count = node.constant(0)?.elements.len();
    Ok(vec![Array { dims: vec![], elements: Elements::Int(vec![count as i64]) }])
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reduction {
    Mean,
    Sum,
    Product,
    Max,
    Min,
    /// The sum of the magnitudes.
    Norm1,
    /// The root of the sum of the squares.
    Norm2,
    SumSquare,
}

pub(super) fn reduce(node: &mut NodeReader<'_, '_>, reduction: Reduction) -> Results {
    let x = node.constant(0)?;
    let (gone, keep) = reduced_axes(node, x.dims.len())?;
    let kept: Vec<usize> = (0..x.dims.len()).filter(|axis| !gone.contains(axis)).collect();
    let dims: Vec<usize> = (0..x.dims.len()).map(|axis| if gone.contains(&axis) { 1 } else { x.dims[axis] }).collect();
    let count = claim(node, &dims)?;
    let group = x.elements.len().checked_div(count).filter(|&group| group > 0).ok_or("reduces an empty tensor")?;
    let own = strides(&x.dims);
    // The reduced axes innermost, so that each result is made of neighbours.
    let order: Vec<usize> = kept.iter().chain(&gone).copied().collect();
    let sizes: Vec<usize> = order.iter().map(|&axis| x.dims[axis]).collect();
    let steps = order.iter().map(|&axis| own[axis]).collect();
    let places: Vec<usize> = walk(&sizes, steps, 0).collect();
    let combine = |values: &mut dyn Iterator<Item = f64>| match reduction {
        Reduction::Mean => values.sum::<f64>() / group as f64,
        Reduction::Sum => values.sum(),
        Reduction::Product => values.product(),
        Reduction::Max => values.fold(f64::NEG_INFINITY, f64::max),
        Reduction::Min => values.fold(f64::INFINITY, f64::min),
        Reduction::Norm1 => values.map(f64::abs).sum(),
        Reduction::Norm2 => values.map(|x| x * x).sum::<f64>().sqrt(),
        Reduction::SumSquare => values.map(|x| x * x).sum(),
    };
    let at = |place: usize| match &x.elements {
        Elements::Float(data) => f64::from(data[place]),
        Elements::Int(data) => data[place] as f64,
    };
    let results = places.chunks_exact(group).map(|places| combine(&mut places.iter().map(|&place| at(place))));
    let elements = match &x.elements {
        Elements::Float(_) => Elements::Float(results.map(|x| x as f32).collect()),
        Elements::Int(_) => Elements::Int(results.map(|x| x as i64).collect()),
    };
    let dims = if keep { dims } else { kept.iter().map(|&axis| x.dims[axis]).collect() };
    Ok(vec![Array { dims, elements }])
}
