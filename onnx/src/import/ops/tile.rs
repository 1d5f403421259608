//! Tensors repeated along their axes.

use super::regions::{bind_ordered, whole};
use crate::Op;
use crate::import::failure::Failure;
use crate::import::feature::Feature;
use crate::import::layout::{BATCH, CHANNELS};
use crate::import::node::NodeReader;

/// Most copies of a map side by side.
const COPIES: usize = 64;

/// An axis of one element is repeated as `Expand` does, others as a concatenation of copies.
pub(super) fn tile(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let x = node.feature(0)?;
    let shown = x.layout.dims();
    let named = node.ints(1)?;
    let sizes = named.iter().map(|&count| usize::try_from(count).ok().filter(|&count| count > 0));
    let sizes: Option<Vec<usize>> = sizes.collect();
    let repeats = sizes.filter(|sizes| sizes.len() == shown.len());
    let repeats = repeats.ok_or_else(|| format!("operand 1 is {named:?} for {} axes", shown.len()))?;
    let single: Vec<usize> =
        shown.iter().zip(&repeats).map(|(&size, &count)| if size == 1 { count } else { size }).collect();
    if crate::shape::elements(&single).is_none() {
        return Err(format!("repeats to {single:?}, which is too large").into());
    }
    if shown.iter().zip(&repeats).all(|(&size, &count)| size == 1 || count == 1) {
        let layout = x.layout.expanded(&single)?;
        return node.bind(Feature { layout, ..x });
    }
    if shown.iter().zip(&repeats).any(|(&size, &count)| size == 1 && count > 1) {
        return Err("repeats axes of one element and others at once".into());
    }
    let (x, order) = whole(node, 0)?;
    let mut value = x.value;
    let wide: Vec<usize> = (0..repeats.len()).filter(|&axis| repeats[axis] > 1).collect();
    for (index, &axis) in wide.iter().enumerate() {
        if order[axis] == BATCH || node.dims(value).len() != 3 {
            return Err("repeats the batch, or features that are no map".into());
        }
        if repeats[axis] > COPIES {
            return Err(format!("repeats an axis {} times, at most {COPIES} are supported", repeats[axis]).into());
        }
        let copies = vec![value; repeats[axis]];
        let name = node.name.clone();
        let (op, operands) = if order[axis] == CHANNELS {
            (Op::Concat, copies)
        } else {
            let (joined, block) = node.importer.side_by_side(&copies, order[axis], &name)?;
            (Op::DepthToSpace { block }, vec![joined])
        };
        let last = index + 1 == wide.len();
        value = if last { node.push(op, &operands)? } else { node.push_part(&name, op, &operands)? };
    }
    bind_ordered(node, 0, value, order)
}
