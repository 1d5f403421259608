//! Rows, columns and channels around maps.

use super::regions::{bind_ordered, whole, whole_of};
use crate::import::axes::axes;
use crate::import::failure::Failure;
use crate::import::feature::{Affine, Feature};
use crate::import::layout::Layout;
use crate::import::node::NodeReader;
use crate::import::quantized::integer_zero;
use crate::{Border, BorderPad, Op, Pad, Slice};

pub(super) fn pad(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let mode = node.attributes.string("mode")?.unwrap_or("constant").to_owned();
    let value = node.attributes.float("value")?;
    let value = node.scalar(2)?.or(value).unwrap_or(0.0);
    // Of integers, what stands for 0 is no number.
    let value = match integer_zero(node)? {
        Some(zero) if mode == "constant" && value != zero as f32 => {
            return Err(format!("pads integers with {value}, where {zero} stands for 0").into());
        }
        Some(_) => 0.0,
        None => value,
    };
    let pads = node.ints_or_attribute(1, "pads")?.ok_or("operand 1 is missing")?;
    if pads.iter().all(|&pad| pad == 0) {
        node.feature(0)?;
        return node.pass_through();
    }
    let x = node.feature(0)?;
    let rank = x.layout.dims().len();
    let axes = if node.has_input(3) { axes(&node.ints(3)?, rank)? } else { (0..rank).collect() };
    if pads.len() != 2 * axes.len() {
        return Err(format!("has {} pads for {} axes", pads.len(), axes.len()).into());
    }
    // Around another number, zeros are padded to what is above it.
    let shift = if mode == "constant" { f64::from(value) } else { 0.0 };
    if !shift.is_finite() {
        return Err(format!("pads with {value}").into());
    }
    let name = node.name.clone();
    let x = if shift == 0.0 {
        whole(node, 0)?
    } else {
        let affine = x.affine.then(&Affine::new(vec![1.0], vec![-shift]));
        let x = node.importer.settle(Feature { affine, ..x }, &name)?;
        whole_of(node, x)?
    };
    let (x, order) = x;
    let mut sides = [[0; 4], [0; 4]];
    for (index, &axis) in axes.iter().enumerate() {
        for (side, &size) in sides.iter_mut().zip([&pads[index], &pads[axes.len() + index]]) {
            side[order[axis]] = usize::try_from(size).map_err(|_| format!("padding is {pads:?}, must be sizes"))?;
        }
    }
    let ([0, c, h, w], [0, c_end, h_end, w_end]) = sides.into() else { return Err("pads the batch".into()) };
    let border = match mode.as_str() {
        "constant" => None,
        "reflect" => Some(Border::Reflect),
        "edge" => Some(Border::Edge),
        "wrap" => Some(Border::Wrap),
        other => return Err(format!("mode `{other}` is not supported").into()),
    };
    let op = match border {
        None => Op::Pad(Pad { before: [c, h, w], after: [c_end, h_end, w_end] }),
        Some(Border::Wrap) if [h, w, h_end, w_end] == [0; 4] => return wrap_channels(node, &x, order, [c, c_end]),
        Some(border) if c == 0 && c_end == 0 => Op::BorderPad(BorderPad { pads: [h, w, h_end, w_end], border }),
        Some(_) => return Err(format!("mode `{mode}` of channels is not supported").into()),
    };
    let value = node.push(op, &[x.value])?;
    let layout = Layout::ordered(node.importer.batch, node.dims(value), order);
    let affine = Affine::new(vec![1.0], vec![shift]);
    node.bind(Feature { value, layout, affine, sole: true, log: false })
}

/// The last channels, all, and the first ones.
fn wrap_channels(
    node: &mut NodeReader<'_, '_>,
    x: &Feature,
    order: &[usize],
    [before, after]: [usize; 2],
) -> Result<(), Failure> {
    let &[channels, height, width] = node.dims(x.value) else { return Err("takes maps [N, C, H, W]".into()) };
    if before.max(after) > channels {
        return Err(format!("wraps {before} and {after} of {channels} channels").into());
    }
    let name = node.name.clone();
    let mut part = |start: usize, end: usize| {
        let slice = Slice { start: [start, 0, 0], end: [end, height, width], step: [1; 3] };
        (start < end).then(|| node.push_part(&format!("{name}.part"), Op::Slice(slice), &[x.value])).transpose()
    };
    let (last, first) = (part(channels - before, channels)?, part(0, after)?);
    let parts: Vec<_> = last.into_iter().chain([x.value]).chain(first).collect();
    let value = node.push(Op::Concat, &parts)?;
    bind_ordered(node, 0, value, order)
}
