//! Rows and columns of maps by constant lists.

use crate::import::constants::{Array, Elements};
use crate::import::draft::Id;
use crate::import::failure::Failure;
use crate::import::feature::Feature;
use crate::import::layout::CHANNELS;
use crate::import::node::NodeReader;
use crate::{Coordinates, Op, Resize, Slice};

/// Most slices that are put side by side along an axis.
const RUNS: usize = 256;

/// `GatherND` by a grid of positions of which each axis has a list of its own.
pub(super) fn gather_nd(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    node.attributes.only("batch_dims", 0)?;
    let indices = node.constant(1)?;
    let Array { dims, elements: Elements::Int(numbers) } = &*indices else {
        return Err("operand 1 holds no integers".into());
    };
    let fail = || "is supported where operand 1 is a grid of rows and columns only".to_string();
    let (&axes, grid) = dims.split_last().ok_or_else(fail)?;
    if grid.len() != axes || numbers.is_empty() {
        return Err(fail().into());
    }
    let mut lists = Vec::with_capacity(axes);
    for axis in 0..axes {
        let inner: usize = grid[axis + 1..].iter().product();
        let list: Vec<i64> = (0..grid[axis]).map(|at| numbers[at * inner * axes + axis]).collect();
        if numbers.chunks_exact(axes).enumerate().any(|(at, place)| place[axis] != list[at / inner % grid[axis]]) {
            return Err(fail().into());
        }
        lists.push((axis, list));
    }
    let x = node.feature(0)?;
    along_axes(node, x, &lists)
}

/// Binds the result to the elements of `x` whose places on the file's axes are listed.
pub(super) fn along_axes(
    node: &mut NodeReader<'_, '_>,
    x: Feature,
    lists: &[(usize, Vec<i64>)],
) -> Result<(), Failure> {
    let name = node.name.clone();
    let x = node.importer.settle(x, &name)?;
    let dims = node.dims(x.value).to_vec();
    let &[_, height, width] = dims.as_slice() else { return Err("takes maps [N, C, H, W]".into()) };
    let shown = x.layout.dims();
    let mut picked: [Vec<usize>; 2] = [(0..height).collect(), (0..width).collect()];
    for (axis, list) in lists {
        let size = *shown.get(*axis).ok_or_else(|| format!("axis {axis} of {shown:?} is not there"))?;
        let from_front = |&at: &i64| usize::try_from(if at < 0 { at.saturating_add(size as i64) } else { at }).ok();
        let list: Option<Vec<usize>> = list.iter().map(|at| from_front(at).filter(|&at| at < size)).collect();
        let list = list.filter(|list| !list.is_empty());
        let list = list.ok_or_else(|| format!("its indices are not those of {size} elements"))?;
        match x.layout.whole_axes(&[*axis], &dims).as_deref() {
            Some(&[own]) if own > CHANNELS => picked[own - CHANNELS - 1] = list,
            _ if list.iter().copied().eq(0..size) => {}
            _ => return Err("takes parts of other axes than rows and columns".into()),
        }
    }
    let value = pick(node, x.value, [&picked[0], &picked[1]])?;
    let plain = node.importer.plain(value);
    let layout = x.layout.over(&dims, node.dims(value));
    node.bind(Feature { layout, ..plain })
}

/// The map of the named rows and columns: by interpolation, by a slice, or by slices side by side.
pub(super) fn pick(node: &mut NodeReader<'_, '_>, map: Id, lists: [&[usize]; 2]) -> Result<Id, Failure> {
    let &[channels, height, width] = node.dims(map) else { return Err("takes maps [N, C, H, W]".into()) };
    let sizes = [height, width];
    let nearest = |axis: usize| {
        let (list, size) = (lists[axis], sizes[axis]);
        list.iter().enumerate().all(|(index, &place)| place == index * size / list.len())
    };
    if nearest(0) && nearest(1) {
        let size = lists.map(<[usize]>::len);
        return node.push(Op::Resize(Resize::new(size, Coordinates::Nearest)), &[map]);
    }
    if let [Some(rows), Some(columns)] = lists.map(step) {
        let [start, end] = [|list: &[usize]| list[0], |list: &[usize]| list[list.len() - 1] + 1]
            .map(|end: fn(&[usize]) -> usize| lists.map(end));
        let slice = Slice { start: [0, start[0], start[1]], end: [channels, end[0], end[1]], step: [1, rows, columns] };
        return node.push(Op::Slice(slice), &[map]);
    }
    let name = node.name.clone();
    let changed: Vec<usize> = (0..2).filter(|&axis| !lists[axis].iter().copied().eq(0..sizes[axis])).collect();
    let mut value = map;
    for (index, &axis) in changed.iter().enumerate() {
        let own = [node.dims(value)[1], node.dims(value)[2]];
        let (op, operand) = if nearest(axis) {
            let mut size = own;
            size[axis] = lists[axis].len();
            (Op::Resize(Resize::new(size, Coordinates::Nearest)), value)
        } else {
            let runs = runs(lists[axis]);
            if runs.len() > RUNS {
                return Err(format!("takes {} parts of an axis, at most {RUNS} are supported", runs.len()).into());
            }
            let slices = runs.into_iter().map(|(start, end, step)| {
                let mut slice = Slice { start: [0; 3], end: [channels, own[0], own[1]], step: [1; 3] };
                (slice.start[axis + 1], slice.end[axis + 1], slice.step[axis + 1]) = (start, end, step);
                Op::Slice(slice)
            });
            let mut slices: Vec<Op> = slices.collect();
            if slices.len() == 1 {
                (slices.remove(0), value)
            } else {
                let parts = slices.into_iter().map(|slice| node.push_part(&format!("{name}.part"), slice, &[value]));
                let parts = parts.collect::<Result<Vec<_>, _>>()?;
                let (joined, block) = node.importer.side_by_side(&parts, CHANNELS + 1 + axis, &name)?;
                (Op::DepthToSpace { block }, joined)
            }
        };
        let last = index + 1 == changed.len();
        value = if last { node.push(op, &[operand])? } else { node.push_part(&name, op, &[operand])? };
    }
    Ok(value)
}

/// The distance of places that are equally far apart.
fn step(list: &[usize]) -> Option<usize> {
    let step = if list.len() > 1 { list[1].checked_sub(list[0])? } else { 1 };
    (step > 0 && list.windows(2).all(|pair| pair[0] + step == pair[1])).then_some(step)
}

/// Start, end and step of slices that take the listed places in their order, each as many as it can.
fn runs(list: &[usize]) -> Vec<(usize, usize, usize)> {
    let mut runs = Vec::new();
    let mut rest = list;
    while let [first, ..] = *rest {
        let by = rest.get(1).and_then(|second| second.checked_sub(first)).filter(|&by| by > 0).unwrap_or(1);
        let length = (1..=rest.len()).take_while(|&length| rest[length - 1] == first + (length - 1) * by).count();
        runs.push((first, rest[length - 1] + 1, by));
        rest = &rest[length..];
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_take_all_places_in_their_order() {
        for list in [&[0, 1, 2][..], &[3], &[0, 1, 1, 2, 5, 8, 8], &[2, 1, 0], &[0, 0, 0], &[1, 4, 8, 11, 14]] {
            let taken: Vec<usize> =
                runs(list).into_iter().flat_map(|(start, end, by)| (start..end).step_by(by)).collect();
            assert_eq!(taken, list);
        }
        assert_eq!((step(&[1, 3, 5]), step(&[1, 3, 4]), step(&[2, 2]), step(&[7])), (Some(2), None, None, Some(1)));
    }
}
