//! Operators that look at windows of a map: convolution and pools.

use super::{pixel_conv, same_padding};
use crate::import::channels;
use crate::import::failure::Failure;
use crate::import::node::NodeReader;
use crate::{Conv, Op, Tensor, Window};

/// How many times larger a dilated kernel may be.
const DILATION_LIMIT: usize = 1024;

/// Convolution. A dilated kernel is written out with zeros between its elements; a padding before the convolution
/// becomes its own.
pub(super) fn conv(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    if pixel_conv::conv(node)? {
        return Ok(());
    }
    let groups = match node.attributes.int("group")? {
        None => 1,
        Some(groups) => usize::try_from(groups).map_err(|_| format!("attribute `group` is {groups}"))?,
    };
    let input = node.map(0)?;
    // The convolution has its weights in the order that the channels had before.
    let (input, order) = match node.importer.before_reordering(input) {
        (source, Some(order)) if groups == 1 => (source, Some(order.to_vec())),
        _ => (input, None),
    };
    let (input, outer) = node.importer.unpadded(input);
    let &[_, height, width] = node.dims(input) else { return Err("takes maps [C, H, W]".into()) };
    let tensor = node.weights(1)?;
    let &[_, _, kernel_h, kernel_w] = tensor.dims() else {
        let (input, weight) = (node.dims(input), tensor.dims());
        return Err(format!("takes maps [C, H, W] and a weight OIHW, has {input:?} and {weight:?}").into());
    };
    let dilations: [usize; 2] = node.attributes.sizes("dilations")?.unwrap_or([1, 1]);
    let weight = match (dilations, &order) {
        ([1, 1], None) => node.parameter(1, true)?,
        _ => {
            let dilated = dilate(&tensor, dilations)?;
            let ordered = order.map_or(Ok(dilated.clone()), |order| channels::before(&order, &dilated))?;
            node.parameter_of(1, ordered, true)?
        }
    };
    let spread = |kernel: usize, dilation: usize| kernel.saturating_sub(1).saturating_mul(dilation).saturating_add(1);
    let given = node.attributes.sizes("kernel_shape")?.unwrap_or([kernel_h, kernel_w]);
    let kernel = [spread(given[0], dilations[0]), spread(given[1], dilations[1])];
    let [top, left, bottom, right] = outer;
    let padded = |size: usize, before: usize, after: usize| size.saturating_add(before).saturating_add(after);
    let window = window(node, kernel, [padded(height, top, bottom), padded(width, left, right)])?;
    let mut inputs = vec![input, weight];
    if node.has_input(2) {
        inputs.push(node.parameter(2, true)?);
    }
    let pads = sum(outer, window.pads);
    let value = node.push(Op::Conv(Conv { kernel, stride: window.stride, pads, groups }), &inputs)?;
    node.bind_value(value)
}

/// The kernel with `dilations - 1` zeros between its elements.
fn dilate(weight: &Tensor, dilations: [usize; 2]) -> Result<Tensor, Failure> {
    let &[outputs, inputs, height, width] = weight.dims() else { return Err("the weight is not OIHW".into()) };
    if dilations.contains(&0) {
        return Err("attribute `dilations` holds 0".into());
    }
    let spread = |size: usize, dilation: usize| (size - 1).checked_mul(dilation).and_then(|size| size.checked_add(1));
    let fail = || format!("a kernel dilated by {dilations:?} is too large");
    let rows = spread(height, dilations[0]).ok_or_else(fail)?;
    let columns = spread(width, dilations[1]).ok_or_else(fail)?;
    let dims = [outputs, inputs, rows, columns];
    let count = crate::shape::elements(&dims).filter(|&count| count / DILATION_LIMIT <= weight.count());
    let count = count.ok_or_else(fail)?;
    let mut data = vec![0.0; count];
    for (index, &element) in weight.data().iter().enumerate() {
        let (row, column) = (index / width % height * dilations[0], index % width * dilations[1]);
        data[(index / (width * height) * rows + row) * columns + column] = element;
    }
    Ok(Tensor::new(dims, data)?)
}

fn sum(a: [usize; 4], b: [usize; 4]) -> [usize; 4] {
    std::array::from_fn(|side| a[side].saturating_add(b[side]))
}

/// Largest element of each window.
pub(super) fn max_pool(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    // Says how positions of the largest elements are counted, which nothing reads.
    node.attributes.ignore("storage_order");
    let mut window = pool(node)?;
    let mut input = node.map(0)?;
    // Where no element is negative, zeros are never larger than one that a window has.
    let (inner, outer) = node.importer.unpadded(input);
    let positive = node.importer.draft.producer(inner).is_some_and(|before| match before.op {
        Op::Relu | Op::Sigmoid => true,
        Op::Clip { min, .. } => min >= 0.0,
        _ => false,
    });
    let pads = sum(outer, window.pads);
    let [kernel_h, kernel_w] = window.kernel;
    if positive && !window.ceil_mode && pads.iter().zip([kernel_h, kernel_w, kernel_h, kernel_w]).all(|(p, k)| *p < k) {
        (input, window.pads) = (inner, pads);
    }
    let value = node.push(Op::MaxPool(window), &[input])?;
    node.bind_value(value)
}

/// Mean of each window; of the whole map, where it is one.
pub(super) fn average_pool(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let window = pool(node)?;
    let count_include_pad = node.attributes.int("count_include_pad")?.unwrap_or(0) != 0;
    let input = node.map(0)?;
    let whole = node.dims(input)[1..] == window.kernel && window.pads == [0; 4];
    let op = if whole { Op::GlobalAveragePool } else { Op::AveragePool { window, count_include_pad } };
    let value = node.push(op, &[input])?;
    node.bind_value(value)
}

fn pool(node: &mut NodeReader<'_, '_>) -> Result<Window, Failure> {
    let input = node.map(0)?;
    let &[_, height, width] = node.dims(input) else {
        return Err(format!("takes maps [C, H, W], has {:?}", node.dims(input)).into());
    };
    if node.attributes.sizes::<2>("dilations")?.is_some_and(|dilations| dilations != [1, 1]) {
        return Err("dilated windows are not supported".into());
    }
    let kernel = node.attributes.sizes("kernel_shape")?.ok_or("attribute `kernel_shape` is missing")?;
    let ceil_mode = node.attributes.int("ceil_mode")?.unwrap_or(0) != 0;
    if ceil_mode && node.attributes.string("auto_pad")? == Some("VALID") {
        return Err("`auto_pad` VALID in ceil mode is ambiguous; write `pads`".into());
    }
    Ok(Window { ceil_mode, ..window(node, kernel, [height, width])? })
}

/// The windows of a convolution or a pool over maps of `size`.
fn window(node: &mut NodeReader<'_, '_>, kernel: [usize; 2], size: [usize; 2]) -> Result<Window, Failure> {
    let attributes = &mut node.attributes;
    let stride: [usize; 2] = attributes.sizes("strides")?.unwrap_or([1, 1]);
    if stride.contains(&0) {
        return Err("attribute `strides` holds 0".into());
    }
    let pads: Option<[usize; 4]> = attributes.sizes("pads")?;
    let rows = same_padding(size[0], kernel[0], stride[0]);
    let columns = same_padding(size[1], kernel[1], stride[1]);
    let pads = match attributes.string("auto_pad")?.unwrap_or("NOTSET") {
        "NOTSET" => pads.unwrap_or_default(),
        _ if pads.is_some_and(|pads| pads != [0; 4]) => return Err("has both `auto_pad` and `pads`".into()),
        "VALID" => [0; 4],
        "SAME_UPPER" => [rows / 2, columns / 2, rows - rows / 2, columns - columns / 2],
        "SAME_LOWER" => [rows - rows / 2, columns - columns / 2, rows / 2, columns / 2],
        other => return Err(format!("attribute `auto_pad` is `{other}`").into()),
    };
    Ok(Window { kernel, stride, pads, ceil_mode: false })
}
