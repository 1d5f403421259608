//! Maps side by side.

use super::regions::{bind_ordered, whole};
use super::stack;
use crate::import::axes::axis;
use crate::import::channels::is_permutation;
use crate::import::draft::Id;
use crate::import::failure::Failure;
use crate::import::feature::{Affine, Feature};
use crate::import::layout::{BATCH, CHANNELS, Layout};
use crate::import::node::NodeReader;
use crate::{Border, BorderPad, Op, Pad, Slice};
use std::ops::Range;

/// Most channels that are put in another order one by one before they are concatenated.
const SELECTED: usize = 16;

/// An operand of a concatenation.
enum Part {
    Value(Id),
    /// So many channels of zeros.
    Zeros(usize),
}

/// Zeros at the ends, whether constants or computed as such, become padding.
pub(super) fn concat(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let named = node.attributes.int("axis")?.ok_or("attribute `axis` is missing")?;
    let first = (0..node.input_count()).find(|&index| !node.is_constant(index)).ok_or("operand 0 is missing")?;
    let shape = node.feature(first)?.layout.dims();
    let axis = axis(named, shape.len())?;
    if wraps(node, axis)? || reorders_channels(node, axis)? || stack::concat(node, axis)? {
        return Ok(());
    }
    let mut shown: Vec<(usize, Feature, &'static [usize])> = Vec::new();
    let mut parts = Vec::with_capacity(node.input_count());
    for index in 0..node.input_count() {
        let fits = |dims: &[usize]| {
            dims.len() == shape.len() && (0..shape.len()).all(|at| at == axis || dims[at] == shape[at])
        };
        if node.is_constant(index) {
            let array = node.constant(index)?;
            if !fits(&array.dims) {
                return Err(format!("operand {index} is a constant of dimensions {:?}", array.dims).into());
            }
            match array.uniform() {
                Some(0.0) => parts.push(Part::Zeros(array.dims[axis])),
                None if array.dims[axis] == 0 => {}
                _ => return Err(format!("operand {index} is a constant that is not zero").into()),
            }
            continue;
        }
        let x = node.feature(index)?;
        if x.affine.is_zero() && !x.log && fits(&x.layout.dims()) {
            parts.push(Part::Zeros(x.layout.dims()[axis]));
            continue;
        }
        let (x, order) = whole(node, index)?;
        parts.push(Part::Value(x.value));
        shown.push((index, x, order));
    }
    // One of single elements is in every order.
    let batch = node.importer.batch;
    let is_in = |x: &Feature, order: &[usize]| x.layout == Layout::ordered(batch, node.dims(x.value), order);
    let (_, _, first) = *shown.first().ok_or("all its operands are zeros")?;
    let fits = |order: &&[usize]| shown.iter().all(|(_, x, _)| is_in(x, order));
    let Some(order) = shown.iter().map(|&(.., order)| order).find(fits) else {
        let other = shown.iter().find(|(_, x, _)| !is_in(x, first)).map_or(0, |&(index, ..)| index);
        return Err(format!("operand {other} has its axes in another order than those before it").into());
    };
    match order.get(axis) {
        Some(&CHANNELS) => join(node, &parts, order),
        Some(&along) if along != BATCH => side_by_side(node, &parts, along, order),
        _ => Err(format!("attribute `axis` is {named}, the batch cannot be concatenated").into()),
    }
}

/// Maps side by side along their rows or columns; zeros are padding.
fn side_by_side(node: &mut NodeReader<'_, '_>, parts: &[Part], along: usize, order: &[usize]) -> Result<(), Failure> {
    let values = parts.iter().map(|part| match part {
        Part::Value(value) => Ok(*value),
        Part::Zeros(_) => Err("zeros beside rows or columns are not supported, only beside channels"),
    });
    let values = values.collect::<Result<Vec<_>, _>>()?;
    let name = node.name.clone();
    let (joined, block) = node.importer.side_by_side(&values, along, &name)?;
    let value = node.push(Op::DepthToSpace { block }, &[joined])?;
    bind_ordered(node, 0, value, order)
}

/// Reads a concatenation of a map's last rows or columns, all of them, and its first ones; says whether it is one. So are
/// borders that wrap written before operator set 19.
fn wraps(node: &mut NodeReader<'_, '_>, axis: usize) -> Result<bool, Failure> {
    if (0..node.input_count()).any(|index| node.is_constant(index)) {
        return Ok(false);
    }
    let parts = (0..node.input_count()).map(|index| node.feature(index)).collect::<Result<Vec<_>, _>>()?;
    let order = |x: &Feature| x.layout.order(node.importer.batch, node.dims(x.value));
    let Some(known) = order(&parts[0]).filter(|known| known.len() == 4 && known[axis] > CHANNELS) else {
        return Ok(false);
    };
    let along = known[axis] - 1;
    if parts.iter().any(|x| !x.affine.is_identity() || x.log || order(x) != Some(known)) {
        return Ok(false);
    }
    let found = parts.iter().find_map(|whole| {
        let ranges =
            parts.iter().map(|part| taken(node, part.value, whole.value, along)).collect::<Option<Vec<_>>>()?;
        let size = node.dims(whole.value)[along];
        let (before, after) = match ranges.as_slice() {
            [all, first] if *all == (0..size) && first.start == 0 => (0, first.len()),
            [last, all] if *all == (0..size) && last.end == size => (last.len(), 0),
            [last, all, first] if *all == (0..size) && last.end == size && first.start == 0 => {
                (last.len(), first.len())
            }
            _ => return None,
        };
        Some((whole.value, before, after))
    });
    let Some((mut map, before, after)) = found else { return Ok(false) };
    let mut pads = if along == 1 { [before, 0, after, 0] } else { [0, before, 0, after] };
    // Rows and columns are wrapped one after the other.
    if let Some(rows) = node.importer.draft.producer(map)
        && let Op::BorderPad(BorderPad { pads: own, border: Border::Wrap }) = rows.op
        && own[along - 1] + own[along + 1] == 0
    {
        (map, pads) = (rows.inputs[0], [0, 1, 2, 3].map(|side| own[side] + pads[side]));
    }
    let value = node.push(Op::BorderPad(BorderPad { pads, border: Border::Wrap }), &[map])?;
    bind_ordered(node, 0, value, known)?;
    Ok(true)
}

/// Which rows or columns of `whole` the value `part` is, if it is nothing else.
fn taken(node: &NodeReader<'_, '_>, part: Id, whole: Id, along: usize) -> Option<Range<usize>> {
    let dims = node.dims(whole);
    if part == whole {
        return Some(0..dims[along]);
    }
    let slice = node.importer.draft.producer(part).filter(|slice| slice.inputs[0] == whole)?;
    let Op::Slice(Slice { start, end, step }) = &slice.op else { return None };
    let others = (0..3).filter(|&axis| axis != along).all(|axis| start[axis] == 0 && end[axis] == dims[axis]);
    (others && *step == [1; 3]).then(|| start[along]..end[along])
}

/// Reads a concatenation of all channels of one map, each of them once and as what constants make of it; says whether it
/// is one. So are RGB and BGR exchanged by `Split` and `Concat`.
fn reorders_channels(node: &mut NodeReader<'_, '_>, axis: usize) -> Result<bool, Failure> {
    let (mut source, mut known) = (None, None);
    let (mut chosen, mut scale, mut shift) = (Vec::new(), Vec::new(), Vec::new());
    for index in 0..node.input_count() {
        if node.is_constant(index) {
            return Ok(false);
        }
        let x = node.feature(index)?;
        let dims = node.dims(x.value);
        let Some(order) = x.layout.order(node.importer.batch, dims) else { return Ok(false) };
        let (from, channels) = match node.importer.draft.producer(x.value) {
            Some(part) => match &part.op {
                Op::Slice(slice) if takes_channels(slice, node.dims(part.inputs[0])) => {
                    let channels = (slice.start[0]..slice.end[0]).step_by(slice.step[0]);
                    (part.inputs[0], channels.take(dims[0]).collect())
                }
                _ => return Ok(false),
            },
            None => return Ok(false),
        };
        let channels: Vec<usize> = channels;
        let other = source.is_some_and(|source| source != from) || known.is_some_and(|known| known != order);
        if x.log || other || order.get(axis) != Some(&CHANNELS) || chosen.len() + channels.len() > SELECTED {
            return Ok(false);
        }
        (source, known) = (Some(from), Some(order));
        for channel in 0..channels.len() {
            let (factor, summand) = x.affine.at(channel);
            scale.push(factor);
            shift.push(summand);
        }
        chosen.extend(channels);
    }
    let (Some(source), Some(order)) = (source, known) else { return Ok(false) };
    if !is_permutation(&chosen, node.dims(source)[0]) {
        return Ok(false);
    }
    let name = node.name.clone();
    let value = node.importer.reorder(source, chosen, false, &name)?;
    let layout = Layout::ordered(node.importer.batch, node.dims(value), order);
    let plain = node.importer.plain(value);
    node.bind(Feature { layout, affine: Affine::new(scale, shift), sole: false, ..plain })?;
    Ok(true)
}

/// Whether a slice of a map of `dims` has all rows and columns.
fn takes_channels(slice: &Slice, dims: &[usize]) -> bool {
    dims.len() == 3
        && (1..3).all(|axis| slice.start[axis] == 0 && slice.step[axis] == 1 && slice.end[axis] >= dims[axis])
}

fn join(node: &mut NodeReader<'_, '_>, parts: &[Part], order: &[usize]) -> Result<(), Failure> {
    let is_value = |part: &Part| matches!(part, Part::Value(_));
    let first = parts.iter().position(is_value).unwrap_or(0);
    let last = parts.iter().rposition(is_value).unwrap_or(0);
    let zeros = |parts: &[Part]| {
        let count = parts.iter().map(|part| if let Part::Zeros(count) = part { *count } else { 0 });
        count.fold(0usize, usize::saturating_add)
    };
    let (before, after) = (zeros(&parts[..first]), zeros(&parts[last + 1..]));
    let mut values = Vec::with_capacity(parts.len());
    for part in &parts[first..=last] {
        match part {
            Part::Value(value) => values.push(*value),
            Part::Zeros(_) => return Err("zeros between computed channels are not supported".into()),
        }
    }
    let pads = before + after > 0;
    let value = match values.as_slice() {
        &[only] if pads => only,
        all if pads => {
            let name = format!("{}.joined", node.name);
            node.push_part(&name, Op::Concat, all)?
        }
        all => node.push(Op::Concat, all)?,
    };
    let value =
        if pads { node.push(Op::Pad(Pad { before: [before, 0, 0], after: [after, 0, 0] }), &[value])? } else { value };
    bind_ordered(node, 0, value, order)
}
