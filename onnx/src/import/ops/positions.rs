//! Shares of positions and sums by them, as global context blocks have them.

use super::broadcast::repeated;
use crate::import::failure::Failure;
use crate::import::feature::{Affine, Feature};
use crate::import::node::NodeReader;
use crate::{Coordinates, Op, Resize, Unary};

/// The axes of a map's positions.
const POSITIONS: [usize; 2] = [2, 3];

/// Whether the file's axis `axis` counts all positions of a map.
pub(super) fn counts_positions(node: &NodeReader<'_, '_>, x: &Feature, axis: usize) -> bool {
    let dims = node.dims(x.value);
    dims.len() == 3 && x.layout.whole_axes(&[axis], dims).as_deref() == Some(&POSITIONS)
}

/// The softmax over the positions of each channel: `exp(x - max)` by its sum.
pub(super) fn softmax(node: &mut NodeReader<'_, '_>, x: Feature) -> Result<(), Failure> {
    let name = node.name.clone();
    let &[_, height, width] = node.dims(x.value) else { return Err("takes maps [N, C, H, W]".into()) };
    let max = node.push_part(&format!("{name}.max"), Op::GlobalMaxPool, &[x.value])?;
    let plain = node.importer.plain(max);
    let minus = Feature { affine: Affine::new(vec![-1.0], vec![0.0]), ..plain };
    let minus = node.importer.settle(minus, &name)?.value;
    let resize = Op::Resize(Resize::new([height, width], Coordinates::Nearest));
    let minus = node.push_part(&format!("{name}.positions"), resize, &[minus])?;
    let below = node.push_part(&format!("{name}.below"), Op::Add, &[x.value, minus])?;
    let exp = node.push_part(&format!("{name}.exp"), Op::Unary(Unary::Exp), &[below])?;
    let mean = node.push_part(&format!("{name}.mean"), Op::GlobalAveragePool, &[exp])?;
    let inverse = node.push_part(&format!("{name}.inverse"), Op::Unary(Unary::Power { exponent: -1.0 }), &[mean])?;
    let value = node.push(Op::Mul, &[exp, inverse])?;
    let affine = Affine::new(vec![1.0 / (height * width) as f64], vec![0.0]);
    node.bind(Feature { value, affine, sole: true, ..x })
}

/// `MatMul` of a map's channels by positions, and of positions by one mask, or the other way round: the sum of the map's
/// pixels under the mask. `false` where the operands are something else.
pub(super) fn sum_under_mask(node: &mut NodeReader<'_, '_>) -> Result<bool, Failure> {
    let (left, right) = (node.feature(0)?, node.feature(1)?);
    let (a, b) = (left.layout.dims().len(), right.layout.dims().len());
    if left.log
        || right.log
        || a != b
        || a < 3
        || !counts_positions(node, &left, a - 1)
        || !counts_positions(node, &right, a - 2)
    {
        return Ok(false);
    }
    let [left_dims, right_dims] = [&left, &right].map(|x| node.dims(x.value).to_vec());
    let masks = [left_dims[0] == 1, right_dims[0] == 1];
    // The positions in the same order, and the channels where a matrix has its rows or columns.
    let same = left.layout.runs_alike(a - 1, &right.layout, a - 2) && left_dims[1..] == right_dims[1..];
    let (map, mask, at, map_dims) = match masks {
        [_, true] if same => (left, right, a - 2, left_dims),
        [true, _] if same => (right, left, a - 1, right_dims),
        _ => return Ok(false),
    };
    let channels = map_dims[0];
    if !(map.layout.is_channels(at, &map_dims) || channels == 1 && map.layout.is_single(at)) {
        return Ok(false);
    }
    let name = node.name.clone();
    let map = node.importer.settle(map, &name)?;
    // What multiplies the mask multiplies the sum.
    let (factor, mask) = match mask.affine.factor() {
        Some(factor) => (factor, mask.value),
        None => (1.0, node.importer.settle(mask, &name)?.value),
    };
    let mask = if channels == 1 { mask } else { repeated(node, mask, channels)? };
    let product = node.push_part(&format!("{name}.masked"), Op::Mul, &[map.value, mask])?;
    let value = node.push(Op::GlobalAveragePool, &[product])?;
    let affine = Affine::new(vec![factor * (map_dims[1] * map_dims[2]) as f64], vec![0.0]);
    let layout = map.layout.collapsed(&POSITIONS);
    node.bind(Feature { value, layout, affine, sole: true, log: false })?;
    Ok(true)
}
