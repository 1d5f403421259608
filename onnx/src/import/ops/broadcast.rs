//! Maps that meet although one has a single channel, row or column: what the file repeats is written out.

use crate::import::draft::Id;
use crate::import::failure::Failure;
use crate::import::feature::Feature;
use crate::import::layout::Layout;
use crate::import::node::NodeReader;
use crate::{Conv, Coordinates, Op, Resize, Tensor};

/// The orders in which a file may show maps.
static ORDERS: [[usize; 4]; 2] = [[0, 1, 2, 3], [0, 2, 3, 1]];

/// Two maps of the same dimensions, and their layout; with `gates` one may stay one pixel for the other's channels.
/// `None` where an axis has different sizes, of which none is 1.
pub(super) fn widened(
    node: &mut NodeReader<'_, '_>,
    sides: [&Feature; 2],
    gates: bool,
) -> Result<Option<([Id; 2], Layout)>, Failure> {
    let [Ok(a), Ok(b)] = sides.map(|side| <[usize; 3]>::try_from(node.dims(side.value))) else { return Ok(None) };
    let batch = node.importer.batch;
    let fits = |order: &&[usize; 4]| {
        [(a, sides[0]), (b, sides[1])].iter().all(|(dims, side)| side.layout == Layout::ordered(batch, dims, *order))
    };
    let Some(order) = ORDERS.iter().find(fits) else { return Ok(None) };
    if (0..3).any(|axis| a[axis] != b[axis] && a[axis].min(b[axis]) != 1) {
        return Ok(None);
    }
    let to = [0, 1, 2].map(|axis| a[axis].max(b[axis]));
    let layout = Layout::ordered(batch, &to, order);
    let mut values = [sides[0].value, sides[1].value];
    for (value, from) in values.iter_mut().zip([a, b]) {
        let [channels, height, width] = to;
        if from[0] != channels {
            *value = repeated(node, *value, channels)?;
        }
        let gate = gates && from[1..] == [1, 1];
        if from[1..] != [height, width] && !gate {
            let name = format!("{}.positions", node.name);
            let resize = Resize::new([height, width], Coordinates::Nearest);
            *value = node.push_part(&name, Op::Resize(resize), &[*value])?;
        }
    }
    Ok(Some((values, layout)))
}

/// A map of one channel as one of as many as a constant of `dims` has numbers, where it has one for each channel of the
/// file's tensor.
pub(super) fn widened_for(
    node: &mut NodeReader<'_, '_>,
    x: &Feature,
    dims: &[usize],
) -> Result<Option<Feature>, Failure> {
    let &[1, height, width] = node.dims(x.value) else { return Ok(None) };
    let batch = node.importer.batch;
    let meets = |order: &'static [usize; 4]| {
        let axis = (order.iter().position(|&axis| axis == 1)? + dims.len()).checked_sub(4)?;
        let alone = dims.iter().enumerate().all(|(at, &dim)| if at == axis { dim > 1 } else { dim == 1 });
        let same = x.layout == Layout::ordered(batch, &[1, height, width], order);
        (alone && same).then(|| (order, dims[axis]))
    };
    let Some((order, channels)) = ORDERS.iter().find_map(meets).filter(|_| height * width > 1) else {
        return Ok(None);
    };
    let name = node.name.clone();
    let x = node.importer.settle(x.clone(), &name)?;
    let value = repeated(node, x.value, channels)?;
    let plain = node.importer.plain(value);
    Ok(Some(Feature { layout: Layout::ordered(batch, &[channels, height, width], order), ..plain }))
}

/// A map of one channel as one of `channels` equal ones.
pub(super) fn repeated(node: &mut NodeReader<'_, '_>, map: Id, channels: usize) -> Result<Id, Failure> {
    node.importer.claim_weights(channels)?;
    let weight = node.new_parameter("ones", Tensor::new([channels, 1, 1, 1], vec![1.0; channels])?, true);
    let name = format!("{}.channels", node.name);
    node.push_part(&name, Op::Conv(Conv::square(1, 1, 0)), &[map, weight])
}
