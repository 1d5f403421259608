//! Means, sums, maxima and minima over the positions or the channels of maps.

use super::largest::{Reduction, of_channels};
use super::{stack, views};
use crate::import::axes::reduced_axes;
use crate::import::failure::Failure;
use crate::import::feature::{Affine, Feature};
use crate::import::layout::CHANNELS;
use crate::import::node::NodeReader;
use crate::{Op, Window};

pub(super) fn mean(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    reduce(node, Reduction::Mean)
}

pub(super) fn sum(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    reduce(node, Reduction::Sum)
}

pub(super) fn max(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    reduce(node, Reduction::Largest)
}

pub(super) fn min(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    reduce(node, Reduction::Smallest)
}

fn reduce(node: &mut NodeReader<'_, '_>, reduction: Reduction) -> Result<(), Failure> {
    // The smallest is the largest of the negative ones.
    let sign = if reduction == Reduction::Smallest { -1.0 } else { 1.0 };
    let by_sign = Affine::new(vec![sign], vec![0.0]);
    let largest = matches!(reduction, Reduction::Largest | Reduction::Smallest);
    let mut x = match reduction {
        Reduction::Mean | Reduction::Sum => node.feature(0)?,
        Reduction::Largest => node.settled(0)?,
        Reduction::Smallest => {
            let x = node.feature(0)?;
            let name = node.name.clone();
            node.importer.settle(Feature { affine: x.affine.then(&by_sign), ..x }, &name)?
        }
    };
    if x.log {
        return Err("nothing may follow a LogSoftmax but the output".into());
    }
    let (reduced, keep) = reduced_axes(node, x.layout.dims().len())?;
    if let (&[axis], false) = (reduced.as_slice(), largest)
        && let Some((x, branches)) = stack::with_branches(node, x.clone(), axis)
    {
        return stack::reduce(node, x, axis, branches, [keep, reduction == Reduction::Mean]);
    }
    if node.dims(x.value).len() == 1
        && let Ok((value, layout)) = node.importer.unflatten(&x)
    {
        // A number for each feature is none for each channel, unless there is one position.
        if x.affine.is_identity() {
            x = Feature { value, layout, ..x };
        }
    }
    let dims = node.dims(x.value).to_vec();
    let fail = || "reduces other axes than height and width, or channels".to_string();
    let mut gone = x.layout.whole_axes(&reduced, &dims).ok_or_else(fail)?;
    gone.sort_unstable();
    if let (&[axis], &[CHANNELS], 3) = (reduced.as_slice(), gone.as_slice(), dims.len()) {
        return of_channels(node, x, reduction, axis, keep);
    }
    let (op, positions) = match (gone.as_slice(), dims.as_slice()) {
        // Axes of one element alone: the graph's pool says what it is, where it is one.
        ([], [_, 1, 1]) if reduced.len() == 2 => (Some(global(largest)), 1),
        ([], _) => (None, 1),
        ([2, 3], [_, height, width]) => (Some(global(largest)), height * width),
        ([2], [_, height, 1]) => (Some(global(largest)), *height),
        ([3], [_, 1, width]) => (Some(global(largest)), *width),
        ([2], [_, height, _]) => (Some(pool(largest, [*height, 1])), *height),
        ([3], [_, _, width]) => (Some(pool(largest, [1, *width])), *width),
        _ => return Err(fail().into()),
    };
    let layout = x.layout.collapsed(&gone);
    let layout = if keep { layout } else { layout.without(|axis| reduced.contains(&axis)) };
    let affine = x.affine.then(&by_sign);
    let affine = match reduction {
        Reduction::Sum => affine.then(&Affine::new(vec![positions as f64], vec![0.0])),
        _ => affine,
    };
    let Some(op) = op else { return views::show(node, Feature { affine, ..x }, layout) };
    let name = node.name.clone();
    let shown = Feature { value: x.value, layout, affine, sole: true, log: false };
    let collapsed = shown.layout.dims();
    let value = if collapsed.len() == 4 { node.push(op, &[x.value])? } else { node.push_part(&name, op, &[x.value])? };
    let layout = shown.layout.clone();
    views::show(node, Feature { value, ..shown }, layout)
}

fn global(largest: bool) -> Op {
    if largest { Op::GlobalMaxPool } else { Op::GlobalAveragePool }
}

fn pool(largest: bool, kernel: [usize; 2]) -> Op {
    let window = Window { stride: [1, 1], ..Window::whole(kernel) };
    if largest { Op::MaxPool(window) } else { Op::AveragePool { window, count_include_pad: false } }
}
