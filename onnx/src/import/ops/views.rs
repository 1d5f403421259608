//! Operators that show the same elements in another way, and questions about shapes.

use crate::Op;
use crate::export::BLOCKS;
use crate::import::axes::{axes, axis, permutation, resolve, shape_of, unsqueezed};
use crate::import::constants::{Array, Elements};
use crate::import::failure::Failure;
use crate::import::feature::Feature;
use crate::import::layout::Layout;
use crate::import::node::NodeReader;
use crate::proto::DataType;

pub(super) fn no_constant(_: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    Err("it must have no operands".into())
}

/// The result is the first operand under another layout. Where that is the graph's flattened vector, it becomes one.
pub(super) fn show(node: &mut NodeReader<'_, '_>, x: Feature, layout: Layout) -> Result<(), Failure> {
    let shown = Feature { layout, ..x };
    if !node.importer.is_flattened(&shown) {
        return node.bind(shown);
    }
    let shown = node.importer.absorb(shown)?;
    let affine = node.importer.flattened_affine(&shown);
    let value = node.push(Op::Flatten, &[shown.value])?;
    let flat = node.importer.plain(value);
    let layout = flat.layout.reshaped(&shown.layout.dims())?;
    node.bind(Feature { layout, affine, log: shown.log, ..flat })
}

fn reshaped(node: &mut NodeReader<'_, '_>, dims: &[usize]) -> Result<(), Failure> {
    let x = node.feature(0)?;
    let layout = x.layout.reshaped(dims)?;
    // Groups that are normalized have the name of what shows them as channels again.
    let groups = node.importer.draft.producer(x.value).is_some_and(|node| matches!(node.op, Op::GroupNorm { .. }));
    if groups && x.sole && layout == Layout::plain(node.importer.batch, node.dims(x.value)) {
        let name = node.output(0)?.to_owned();
        node.importer.draft.rename(x.value, name);
    }
    if node.doc_string() == BLOCKS {
        return blocks(node, Feature { layout, ..x });
    }
    show(node, x, layout)
}

/// Channels as blocks of pixels, or the other way round, as [`export`](crate::export()) writes them: under this node's name.
fn blocks(node: &mut NodeReader<'_, '_>, x: Feature) -> Result<(), Failure> {
    let dims = node.dims(x.value).to_vec();
    let plain = |node: &NodeReader<'_, '_>, layout: &Layout, dims: &[usize]| {
        *layout == Layout::plain(node.importer.batch, dims)
    };
    let op = if let Some((block, layout)) = x.layout.blocks(&dims) {
        let dims = [dims[0] * block[0] * block[1], dims[1] / block[0], dims[2] / block[1]];
        plain(node, &layout, &dims).then_some(Op::SpaceToDepth { block })
    } else {
        let spread = x.layout.spread(&dims);
        spread.filter(|(_, order)| order.is_sorted()).map(|(block, _)| Op::DepthToSpace { block })
    };
    let Some(op) = op else { return show(node, x.clone(), x.layout) };
    let name = node.name.clone();
    let x = node.importer.settle(x, &name)?;
    let value = node.push(op, &[x.value])?;
    node.bind_value(value)
}

pub(super) fn flatten(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let dims = node.feature(0)?.layout.dims();
    let at = node.attributes.int("axis")?.unwrap_or(1);
    let at = if at == dims.len() as i64 { dims.len() } else { axis(at, dims.len())? };
    let (outer, inner) = dims.split_at(at);
    reshaped(node, &[outer.iter().product(), inner.iter().product()])
}

pub(super) fn reshape(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let dims = node.feature(0)?.layout.dims();
    let target = node.ints_or_attribute(1, "shape")?.ok_or("operand 1 is missing")?;
    let copies = node.attributes.int("allowzero")?.unwrap_or(0) == 0;
    let target = resolve(&target, &dims, copies)?;
    reshaped(node, &target)
}

pub(super) fn squeeze(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let x = node.feature(0)?;
    let dims = x.layout.dims();
    let gone = match node.ints_or_attribute(1, "axes")? {
        Some(list) => axes(&list, dims.len())?,
        None => (0..dims.len()).filter(|&axis| dims[axis] == 1).collect(),
    };
    if let Some(axis) = gone.iter().find(|&&axis| dims[axis] != 1) {
        return Err(format!("axis {axis} of {dims:?} cannot be squeezed").into());
    }
    let layout = x.layout.without(|axis| gone.contains(&axis));
    show(node, x, layout)
}

pub(super) fn unsqueeze(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let dims = node.feature(0)?.layout.dims();
    let list = node.ints_or_attribute(1, "axes")?.ok_or("operand 1 is missing")?;
    let dims = unsqueezed(&dims, &list)?;
    reshaped(node, &dims)
}

pub(super) fn transpose(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let x = node.feature(0)?;
    let permutation = permutation(node, x.layout.dims().len())?;
    let layout = x.layout.transposed(&permutation);
    show(node, x, layout)
}

pub(super) fn expand(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let x = node.feature(0)?;
    let dims = node.ints(1)?;
    let dims = dims.iter().map(|&dim| usize::try_from(dim)).collect::<Result<Vec<_>, _>>();
    let dims = dims.map_err(|_| "operand 1 holds negative dimensions")?;
    if crate::shape::elements(&dims).is_none() {
        return Err(format!("expands to {dims:?}, which is too large").into());
    }
    let layout = x.layout.expanded(&dims)?;
    node.bind(Feature { layout, ..x })
}

pub(super) fn cast(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let to = node.attributes.int("to")?.ok_or("attribute `to` is missing")?;
    node.attributes.ignore("saturate");
    node.attributes.ignore("round_mode");
    match i32::try_from(to).map(DataType::try_from) {
        Ok(Ok(DataType::Float | DataType::Double | DataType::Float16 | DataType::Bfloat16)) => node.pass_through(),
        // Where the input holds integers, those that are wide enough.
        Ok(Ok(_)) if node.is_integer_image(0) => node.pass_through(),
        Ok(Ok(kind)) => Err(format!("casts what is computed from the image to {kind:?}").into()),
        _ => Err(format!("attribute `to` is {to}, which is no type").into()),
    }
}

pub(super) fn cast_like(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    node.attributes.ignore("saturate");
    node.attributes.ignore("round_mode");
    if node.is_constant(1) && matches!(node.constant(1)?.elements, Elements::Int(_)) {
        return Err("casts what is computed from the image to integers".into());
    }
    node.pass_through()
}

/// The dimensions, or those from attribute `start` to `end`.
pub(super) fn shape(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let dims = node.feature(0)?.layout.dims();
    let result = shape_of(node, &dims)?;
    node.set_constant(result)
}

pub(super) fn size(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let count: usize = node.feature(0)?.layout.dims().iter().product();
    node.set_constant(Array { dims: vec![], ..Array::ints(vec![count as i64]) })
}
