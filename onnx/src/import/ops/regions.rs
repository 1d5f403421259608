//! Parts of maps.

use super::views::show;
use super::{pick, stack};
use crate::import::axes::{axes, axis, clamp};
use crate::import::channels::{choosing, is_permutation};
use crate::import::constants::{Array, Elements};
use crate::import::draft::Id;
use crate::import::failure::Failure;
use crate::import::feature::{Affine, Feature};
use crate::import::layout::{CHANNELS, Layout};
use crate::import::node::NodeReader;
use crate::{Conv, Op, Slice};

/// The value's axis for each of the file's.
fn order(node: &NodeReader<'_, '_>, x: &Feature) -> Result<&'static [usize], Failure> {
    x.layout
        .order(node.importer.batch, node.dims(x.value))
        .ok_or_else(|| format!("takes maps [N, C, H, W] or [N, H, W, C] and vectors, has {:?}", x.layout.dims()).into())
}

/// Operand `index` as a value whose whole axes the file shows, in an order that is also given.
pub(super) fn whole(node: &mut NodeReader<'_, '_>, index: usize) -> Result<(Feature, &'static [usize]), Failure> {
    let x = node.settled(index)?;
    whole_of(node, x)
}

pub(super) fn whole_of(node: &mut NodeReader<'_, '_>, x: Feature) -> Result<(Feature, &'static [usize]), Failure> {
    let name = node.name.clone();
    let x = node.importer.in_order(x, &name)?;
    if node.dims(x.value).len() == 1
        && x.layout.dims().len() > 2
        && let Ok((value, layout)) = node.importer.unflatten(&x)
    {
        let x = Feature { value, layout, ..x };
        let order = order(node, &x)?;
        return Ok((x, order));
    }
    let order = order(node, &x)?;
    Ok((x, order))
}

/// Says that the result is `value`, shown in `order`.
pub(super) fn bind_ordered(
    node: &mut NodeReader<'_, '_>,
    output: usize,
    value: Id,
    order: &[usize],
) -> Result<(), Failure> {
    let layout = Layout::ordered(node.importer.batch, node.dims(value), order);
    let plain = node.importer.plain(value);
    node.bind_at(output, Feature { layout, ..plain })
}

pub(super) fn slice(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let rank = node.feature(0)?.layout.dims().len();
    let starts = node.ints_or_attribute(1, "starts")?.ok_or("operand 1 is missing")?;
    let ends = node.ints_or_attribute(2, "ends")?.ok_or("operand 2 is missing")?;
    let axes = match node.ints_or_attribute(3, "axes")? {
        Some(named) => axes(&named, rank)?,
        None => (0..starts.len().min(rank)).collect(),
    };
    let steps = if node.has_input(4) { node.ints(4)? } else { vec![1; axes.len()] };
    if [starts.len(), ends.len(), steps.len()] != [axes.len(); 3] {
        return Err(format!(
            "has {} starts, {} ends, {} steps for {} axes",
            starts.len(),
            ends.len(),
            steps.len(),
            axes.len()
        )
        .into());
    }
    if reverses_channels(node, &axes, &starts, &ends, &steps)? {
        return Ok(());
    }
    let (x, order) = whole(node, 0)?;
    let dims = node.dims(x.value).to_vec();
    let mut slice = match dims.as_slice() {
        &[channels, height, width] => Slice { start: [0; 3], end: [channels, height, width], step: [1; 3] },
        _ => Slice { start: [0; 3], end: [dims[0], 1, 1], step: [1; 3] },
    };
    let all = slice.clone();
    for (index, axis) in axes.into_iter().enumerate() {
        let (start, end, step) = (starts[index], ends[index], steps[index]);
        let Some(axis) = order[axis].checked_sub(1) else {
            if takes_all(start, end, step, node.importer.batch) {
                continue;
            }
            return Err("cuts the batch".into());
        };
        let step = usize::try_from(step).ok().filter(|&step| step > 0);
        slice.step[axis] = step.ok_or_else(|| format!("step {} is not supported", steps[index]))?;
        slice.start[axis] = clamp(start, dims[axis]);
        slice.end[axis] = clamp(end, dims[axis]);
    }
    cut(node, 0, &x, order, slice, all)
}

/// Reads a slice that takes all channels, the last one first, as a change from RGB to BGR is written; says whether it is
/// one.
fn reverses_channels(
    node: &mut NodeReader<'_, '_>,
    axes: &[usize],
    starts: &[i64],
    ends: &[i64],
    steps: &[i64],
) -> Result<bool, Failure> {
    let x = node.feature(0)?;
    let dims = x.layout.dims();
    let order = x.layout.order(node.importer.batch, node.dims(x.value));
    let Some(order) = order.filter(|order| order.len() == 4 && !x.log) else { return Ok(false) };
    let mut reversed = false;
    for (index, &axis) in axes.iter().enumerate() {
        let (start, end, size) = (starts[index], ends[index], dims[axis] as i64);
        let from = |position: i64| if position < 0 { position.saturating_add(size) } else { position };
        match steps[index] {
            -1 if order[axis] == CHANNELS && from(start) >= size - 1 && end < 0 && from(end) < 0 => reversed = true,
            1 if from(start) <= 0 && from(end) >= size => {}
            _ => return Ok(false),
        }
    }
    if reversed {
        select(
            node,
            x,
            order,
            (0..dims[order.iter().position(|&axis| axis == CHANNELS).unwrap_or(0)]).rev().collect(),
        )?;
    }
    Ok(reversed)
}

/// Whether a slice takes every element of an axis in its order.
fn takes_all(start: i64, end: i64, step: i64, size: usize) -> bool {
    match step {
        1.. => clamp(start, size) == 0 && clamp(end, size) == size && (step == 1 || size == 1),
        // Backwards, an end of -1 is the last element, and one before the first takes that too.
        _ => size == 1 && step < 0 && (start >= 0 || start == -1) && end < -1,
    }
}

/// Channels chosen by constant indices.
pub(super) fn gather(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let x = node.feature(0)?;
    let dims = x.layout.dims();
    let at = axis(node.attributes.int("axis")?.unwrap_or(0), dims.len())?;
    // All elements in their order: the indices' dimensions take the axis' place.
    if let Array { dims: shape, elements: Elements::Int(indices) } = &*node.constant(1)?
        && indices.len() == dims[at]
        && indices.iter().enumerate().all(|(place, &index)| index == place as i64)
    {
        let layout = x.layout.reshaped(&[&dims[..at], shape, &dims[at + 1..]].concat())?;
        return show(node, x, layout);
    }
    if stack::gather(node, at)? {
        return Ok(());
    }
    let name = node.name.clone();
    let x = node.importer.in_order(x, &name)?;
    let order = order(node, &x)?;
    if order[at] > CHANNELS
        && let Array { dims, elements: Elements::Int(places) } = &*node.constant(1)?
        && dims.len() == 1
    {
        return pick::along_axes(node, x, &[(at, places.clone())]);
    }
    if order[at] != CHANNELS || x.log {
        return Err("is supported for channels, and for lists of rows or columns, only".into());
    }
    let channels = node.dims(x.value)[0];
    let (indices, single) = match &*node.constant(1)? {
        Array { dims, elements: Elements::Int(indices) } if dims.len() <= 1 => (indices.clone(), dims.is_empty()),
        _ => return Err("operand 1 must be a list of channels".into()),
    };
    let from_front = |&index: &i64| if index < 0 { index.saturating_add(channels as i64) } else { index };
    let chosen = indices.iter().map(from_front).map(|index| usize::try_from(index).ok().filter(|&i| i < channels));
    let chosen: Option<Vec<usize>> = chosen.collect();
    let chosen = chosen.ok_or_else(|| format!("its channels {indices:?} are not those of {channels}"))?;
    match chosen.as_slice() {
        &[channel] if single => one_channel(node, at, channel),
        _ => select(node, x, order, chosen),
    }
}

/// One channel, without the axis of channels, which is the file's axis `at`.
fn one_channel(node: &mut NodeReader<'_, '_>, at: usize, channel: usize) -> Result<(), Failure> {
    let (x, order) = whole(node, 0)?;
    let &[channels, height, width] = node.dims(x.value) else { return Err("takes maps [N, C, H, W]".into()) };
    let slice = Slice { start: [channel, 0, 0], end: [channel + 1, height, width], step: [1; 3] };
    let value = if channels == 1 { x.value } else { node.push(Op::Slice(slice), &[x.value])? };
    let layout = Layout::ordered(node.importer.batch, node.dims(value), order).without(|axis| axis == at);
    let plain = node.importer.plain(value);
    node.bind(Feature { layout, ..plain })
}

/// The chosen channels of a map that the file shows in `order`.
fn select(node: &mut NodeReader<'_, '_>, x: Feature, order: &[usize], chosen: Vec<usize>) -> Result<(), Failure> {
    let &[channels, _, _] = node.dims(x.value) else { return Err("takes maps [N, C, H, W]".into()) };
    if chosen.is_empty() {
        return Err("takes none of the channels".into());
    }
    node.importer.claim_weights(channels * chosen.len())?;
    let (scale, shift) = chosen.iter().map(|&channel| x.affine.at(channel)).unzip();
    let value = if is_permutation(&chosen, channels) {
        let name = node.name.clone();
        node.importer.reorder(x.value, chosen, x.sole, &name)?
    } else {
        let weight = node.new_parameter("channels", choosing(&chosen, channels)?, true);
        node.push(Op::Conv(Conv::square(1, 1, 0)), &[x.value, weight])?
    };
    let layout = Layout::ordered(node.importer.batch, node.dims(value), order);
    let plain = node.importer.plain(value);
    node.bind(Feature { layout, affine: Affine::new(scale, shift), sole: x.sole, ..plain })
}

pub(super) fn split(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let shown = node.feature(0)?.layout.dims();
    let at = axis(node.attributes.int("axis")?.unwrap_or(0), shown.len())?;
    let sizes = split_sizes(node, shown[at])?;
    if stack::split(node, at, &sizes)? {
        return Ok(());
    }
    let (x, order) = whole(node, 0)?;
    let Some(axis) = order[at].checked_sub(1) else { return Err("cuts the batch".into()) };
    let &[channels, height, width] = node.dims(x.value) else {
        return Err(format!("takes maps [N, C, H, W], has {:?}", x.layout.dims()).into());
    };
    let all = Slice { start: [0; 3], end: [channels, height, width], step: [1; 3] };
    let mut start = 0;
    for (output, size) in sizes.into_iter().enumerate() {
        let mut slice = all.clone();
        (slice.start[axis], slice.end[axis]) = (start, start + size);
        start += size;
        if node.has_output(output) {
            cut(node, output, &x, order, slice, all.clone())?;
        }
    }
    Ok(())
}

/// The sizes of the parts into which an axis of `size` is split.
fn split_sizes(node: &mut NodeReader<'_, '_>, size: usize) -> Result<Vec<usize>, Failure> {
    let count = node.output_count();
    let parts = node.attributes.int("num_outputs")?;
    if parts.is_some_and(|parts| parts != count as i64) {
        return Err("attribute `num_outputs` is not the number of its results".into());
    }
    let sizes = match node.ints_or_attribute(1, "split")? {
        Some(sizes) => sizes,
        None => {
            let part = size.div_ceil(count);
            (0..count).map(|index| part.min(size.saturating_sub(index * part)) as i64).collect()
        }
    };
    let sizes = sizes.iter().map(|&size| usize::try_from(size)).collect::<Result<Vec<_>, _>>();
    let sizes = sizes.map_err(|_| "operand 1 holds negative sizes")?;
    let total = sizes.iter().try_fold(0usize, |sum, &size| sum.checked_add(size));
    if sizes.len() != count || total != Some(size) {
        return Err(format!("splits {size} into {sizes:?} for {count} results").into());
    }
    Ok(sizes)
}

/// Result `output` is a part of `x`; `all` is the slice that takes all of it. A part of a part is cut at once.
fn cut(
    node: &mut NodeReader<'_, '_>,
    output: usize,
    x: &Feature,
    order: &'static [usize],
    slice: Slice,
    all: Slice,
) -> Result<(), Failure> {
    if slice == all {
        return node.bind_at(output, x.clone());
    }
    if order.len() == 2 {
        return Err(format!("takes maps [C, H, W], has {:?}", node.dims(x.value)).into());
    }
    let before = node.importer.draft.producer(x.value).and_then(|before| match &before.op {
        Op::Slice(outer) if (0..3).all(|axis| slice.start[axis] < slice.end[axis]) => {
            Some((before.inputs[0], compose(outer, &slice, &all)))
        }
        _ => None,
    });
    let (input, slice) = before.unwrap_or((x.value, slice));
    let value = if output == 0 {
        node.push(Op::Slice(slice), &[input])?
    } else {
        node.push_output(output, Op::Slice(slice), &[input])?
    };
    bind_ordered(node, output, value, order)
}

/// `inner` of the result of `outer`, which has the size that `all` takes.
fn compose(outer: &Slice, inner: &Slice, all: &Slice) -> Slice {
    let mut both = outer.clone();
    for axis in 0..3 {
        let [start, end, step] = [inner.start[axis], inner.end[axis], inner.step[axis]];
        if [start, end, step] == [0, all.end[axis], 1] {
            continue;
        }
        let by = outer.step[axis];
        let last = start + (end - start - 1) / step * step;
        let from = outer.start[axis];
        both.start[axis] = from + start * by;
        both.step[axis] = by.saturating_mul(step);
        // Where the inner slice takes what there is, the outer one's end stays.
        both.end[axis] = if end == all.end[axis] { outer.end[axis] } else { from + last * by + 1 };
    }
    both
}
