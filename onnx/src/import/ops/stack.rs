//! Branches of a network stacked along an axis of their own, as selective kernels and split attention have them.
//!
//! The graph knows no such axis. A stack is the branches' channels one after the other, of which the file's axis is the
//! outer part ([`Branches`]); what is computed over that axis is computed of the branches apart.

use super::largest::negative;
use crate::import::constants::{Array, Elements};
use crate::import::draft::Id;
use crate::import::failure::Failure;
use crate::import::feature::{Affine, Feature, finite};
use crate::import::layout::Branches;
use crate::import::node::NodeReader;
use crate::{Op, Slice, Tensor, Unary};
use std::ops::Range;

/// Computed tensors along `axis`, on which each has one element: their stack, unless some other axis of the graph is
/// meant.
pub(super) fn concat(node: &mut NodeReader<'_, '_>, axis: usize) -> Result<bool, Failure> {
    let count = node.input_count();
    if (0..count).any(|index| node.is_constant(index)) {
        return Ok(false);
    }
    let features = (0..count).map(|index| node.feature(index)).collect::<Result<Vec<_>, _>>()?;
    let first = &features[0];
    let dims = node.dims(first.value).to_vec();
    let apart = |x: &Feature| x.layout == first.layout && node.dims(x.value) == dims && !x.log;
    if !first.layout.is_single(axis)
        || first.layout.order(node.importer.batch, &dims).is_some_and(|order| order.len() != 3)
        || !features.iter().all(apart)
    {
        return Ok(false);
    }
    let layout = first.layout.stacked(axis, dims[0], count);
    let values = (0..count).map(|index| Ok(node.settled(index)?.value)).collect::<Result<Vec<_>, Failure>>()?;
    let value = node.push(Op::Concat, &values)?;
    let plain = node.importer.plain(value);
    node.bind(Feature { layout, ..plain })?;
    Ok(true)
}

/// The sum or mean of the branches.
pub(super) fn reduce(
    node: &mut NodeReader<'_, '_>,
    x: Feature,
    axis: usize,
    branches: Branches,
    [keep, mean]: [bool; 2],
) -> Result<(), Failure> {
    let name = node.name.clone();
    let x = node.importer.settle(x, &name)?;
    let parts = parts(node, x.value, branches)?;
    let mut sum = parts[0];
    for (index, &part) in parts.iter().enumerate().skip(1) {
        sum = if index + 1 == parts.len() {
            node.push(Op::Add, &[sum, part])?
        } else {
            node.push_part(&format!("{name}.sum"), Op::Add, &[sum, part])?
        };
    }
    let layout = x.layout.unstacked(axis, branches);
    let layout = if keep { layout } else { layout.without(|gone| gone == axis) };
    let factor = if mean { 1.0 / parts.len() as f64 } else { 1.0 };
    node.bind(Feature { value: sum, layout, affine: Affine::new(vec![factor], vec![0.0]), sole: true, log: false })
}

/// So many of the branches, one after the other; of one, `keep` says whether its axis stays.
pub(super) fn take(
    node: &mut NodeReader<'_, '_>,
    x: Feature,
    axis: usize,
    branches: Branches,
    range: Range<usize>,
    keep: bool,
) -> Result<Feature, Failure> {
    let name = node.name.clone();
    let x = node.importer.settle(x, &name)?;
    let all = parts(node, x.value, branches)?;
    let taken = all.get(range.clone()).filter(|taken| !taken.is_empty());
    let taken = taken.ok_or_else(|| format!("takes branches {range:?} of {}", all.len()))?;
    let layout = x.layout.unstacked(axis, branches);
    let (value, layout) = match taken {
        &[only] if keep => (only, layout),
        &[only] => (only, layout.without(|gone| gone == axis)),
        several => {
            let value = node.push_part(&format!("{name}.branches"), Op::Concat, several)?;
            (value, layout.stacked(axis, node.dims(several[0])[0], several.len()))
        }
    };
    Ok(Feature { value, layout, affine: Affine::identity(), sole: false, log: false })
}

/// `Gather` of one branch, or of some that follow each other.
pub(super) fn gather(node: &mut NodeReader<'_, '_>, axis: usize) -> Result<bool, Failure> {
    let x = node.feature(0)?;
    let Some((x, branches)) = with_branches(node, x, axis) else { return Ok(false) };
    let indices = node.constant(1)?;
    let Array { dims, elements: Elements::Int(list) } = &*indices else { return Ok(false) };
    let from_front = |index: &i64| if *index < 0 { index + branches.count as i64 } else { *index };
    let list: Vec<i64> = list.iter().map(from_front).collect();
    let Some(first) = list.first().and_then(|&first| usize::try_from(first).ok()) else { return Ok(false) };
    if dims.len() > 1 || list.iter().enumerate().any(|(place, &index)| index != (first + place) as i64) {
        return Ok(false);
    }
    let feature = take(node, x, axis, branches, first..first + list.len(), !dims.is_empty())?;
    node.bind(feature)?;
    Ok(true)
}

/// `Split` along the axis of branches.
pub(super) fn split(node: &mut NodeReader<'_, '_>, axis: usize, sizes: &[usize]) -> Result<bool, Failure> {
    let x = node.feature(0)?;
    let Some((x, branches)) = with_branches(node, x, axis) else { return Ok(false) };
    let mut start = 0;
    for (output, size) in sizes.iter().enumerate() {
        let range = start..start + size;
        start = range.end;
        if node.has_output(output) {
            let feature = take(node, x.clone(), axis, branches, range, true)?;
            node.bind_at(output, feature)?;
        }
    }
    Ok(true)
}

/// The softmax over the branches. Of two it is the sigmoid of their differences; of more, that of the difference to
/// `ln(sum(exp))` of the others, which is made of softplus: `ln(exp(a) + exp(b)) = b + softplus(a - b)`.
pub(super) fn softmax(
    node: &mut NodeReader<'_, '_>,
    x: Feature,
    axis: usize,
    branches: Branches,
) -> Result<(), Failure> {
    let name = node.name.clone();
    if branches.count == 2 && difference_of_layers(node, &x, branches)? {
        return node.push_like(Op::Sigmoid, &[x.value], &x);
    }
    let parts = parts(node, x.value, branches)?;
    let mut negatives = Vec::with_capacity(parts.len());
    for &part in &parts {
        negatives.push(negative(node, part)?);
    }
    let mut shares = Vec::with_capacity(parts.len());
    for (index, &part) in parts.iter().enumerate() {
        let mut others = (0..parts.len()).filter(|&other| other != index);
        let mut sum = parts[others.next().ok_or("is a softmax over one branch")?];
        for other in others {
            let above = node.push_part(&format!("{name}.above"), Op::Add, &[sum, negatives[other]])?;
            let above = node.push_part(&format!("{name}.softplus"), Op::Unary(Unary::Softplus), &[above])?;
            sum = node.push_part(&format!("{name}.others"), Op::Add, &[above, parts[other]])?;
        }
        let minus = if parts.len() == 2 { negatives[1 - index] } else { negative(node, sum)? };
        let score = node.push_part(&format!("{name}.score"), Op::Add, &[part, minus])?;
        shares.push(node.push_part(&format!("{name}.share"), Op::Sigmoid, &[score])?);
    }
    let value = node.push(Op::Concat, &shares)?;
    let layout = x.layout.unstacked(axis, branches).stacked(axis, node.dims(shares[0])[0], shares.len());
    let plain = node.importer.plain(value);
    node.bind(Feature { layout, ..plain })
}

/// Lets the layer before a softmax over two branches compute the difference of each to the other, where it has weights
/// and nothing else reads it.
fn difference_of_layers(node: &mut NodeReader<'_, '_>, x: &Feature, branches: Branches) -> Result<bool, Failure> {
    let draft = &node.importer.draft;
    let Some(layer) = draft.producer(x.value).filter(|_| x.sole) else { return Ok(false) };
    let dense = match &layer.op {
        Op::Gemm => true,
        Op::Conv(conv) => conv.groups == 1,
        _ => false,
    };
    if !dense {
        return Ok(false);
    }
    let (layer_name, mut operands) = (layer.name.clone(), layer.inputs.clone());
    for (index, role) in [(1, "weight"), (2, "bias")] {
        let Some(tensor) = operands.get(index).and_then(|&id| node.importer.draft.tensor(id)) else { continue };
        let outputs = tensor.dims()[0];
        let row = tensor.count() / outputs;
        let rows: Vec<&[f32]> = tensor.data().chunks_exact(row).collect();
        let differences = (0..outputs).flat_map(|output| {
            let other = rows[branches.other(output)];
            rows[output].iter().zip(other).map(|(&own, &other)| f64::from(own) - f64::from(other))
        });
        let tensor = Tensor::new(tensor.dims().to_vec(), finite(differences)?)?;
        let fresh = node.importer.draft.fresh(format!("{layer_name}.{role}"));
        operands[index] = node.importer.draft.parameter(fresh, tensor, true);
    }
    node.importer.draft.producer_mut(x.value).expect("found above").inputs = operands;
    Ok(true)
}

/// The maps of the branches of which `value` is the stack: those that it was made of, or parts of it.
pub(super) fn parts(node: &mut NodeReader<'_, '_>, value: Id, branches: Branches) -> Result<Vec<Id>, Failure> {
    if let Some(known) = node.importer.branches.get(&(value, branches)) {
        return Ok(known.clone());
    }
    let dims = node.dims(value).to_vec();
    let producer = node.importer.draft.producer(value).map(|node| (node.op.clone(), node.inputs.clone()));
    let made_of = match producer {
        Some((Op::Concat, inputs))
            if inputs.len() == branches.count && inputs.iter().all(|&id| node.dims(id)[0] == branches.channels) =>
        {
            inputs
        }
        Some((Op::Mul, inputs)) => {
            let (a, b) = (parts(node, inputs[0], branches)?, parts(node, inputs[1], branches)?);
            let name = format!("{}.branch", node.name);
            a.into_iter().zip(b).map(|(a, b)| node.push_part(&name, Op::Mul, &[a, b])).collect::<Result<_, _>>()?
        }
        _ => {
            let &[channels, height, width] = dims.as_slice() else {
                return Err("its branches are features that were never a map".into());
            };
            let name = format!("{}.branch", node.name);
            let mut slice = |start: usize, end: usize, step: usize| {
                let slice = Slice { start: [start, 0, 0], end: [end, height, width], step: [step, 1, 1] };
                node.push_part(&name, Op::Slice(slice), &[value])
            };
            let mut slices = Vec::with_capacity(branches.count);
            for index in 0..branches.count {
                let start = index * branches.channels;
                let block = branches.count * branches.channels;
                slices.push(match channels / block {
                    1 => vec![slice(start, start + branches.channels, 1)?],
                    _ if branches.channels == 1 => vec![slice(start, channels, block)?],
                    blocks => (0..blocks)
                        .map(|at| slice(at * block + start, at * block + start + branches.channels, 1))
                        .collect::<Result<_, _>>()?,
                });
            }
            let mut joined = Vec::with_capacity(slices.len());
            for parts in slices {
                joined.push(match parts.as_slice() {
                    &[only] => only,
                    several => node.push_part(&name, Op::Concat, several)?,
                });
            }
            joined
        }
    };
    node.importer.branches.insert((value, branches), made_of.clone());
    Ok(made_of)
}

/// The feature over a map, whose channels can be taken apart, where its vector was one.
pub(super) fn with_branches(node: &mut NodeReader<'_, '_>, x: Feature, axis: usize) -> Option<(Feature, Branches)> {
    let x = if node.dims(x.value).len() == 1 {
        let (value, layout) = node.importer.unflatten(&x).ok()?;
        // A number for each feature is one for each channel only if there is one pixel.
        if node.dims(value)[1..] != [1, 1] && !x.affine.is_identity() {
            return None;
        }
        Feature { value, layout, ..x }
    } else {
        x
    };
    let branches = x.layout.branches(axis, node.dims(x.value))?;
    Some((x, branches))
}
