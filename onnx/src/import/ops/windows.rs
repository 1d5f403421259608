//! Operators that look at windows of a map: convolution, pools, interpolation.

use super::{axes, regions};
use crate::import::channels;
use crate::import::constants::{Array, Elements};
use crate::import::draft::Id;
use crate::import::node::{Failure, NodeReader};
use crate::{Conv, Coordinates, Op, Pad, Resize, Tensor, Window};

/// How many times larger a dilated kernel may be.
const DILATION_LIMIT: usize = 1024;

/// Convolution. A dilated kernel is written out with zeros between its elements; a padding before the convolution
/// becomes its own.
pub(super) fn conv(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
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
    let (input, outer) = unpadded(node, input);
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
    let fail = || format!("a kernel dilated by {dilations:?} is absurdly large");
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

/// The map before a padding of its rows and columns, and that padding: top, left, bottom, right.
fn unpadded(node: &NodeReader<'_, '_>, map: Id) -> (Id, [usize; 4]) {
    match node.importer.draft.producer(map).map(|before| (&before.op, before.inputs[0])) {
        Some((&Op::Pad(Pad { before: [0, top, left], after: [0, bottom, right] }), input)) => {
            (input, [top, left, bottom, right])
        }
        _ => (map, [0; 4]),
    }
}

fn sum(a: [usize; 4], b: [usize; 4]) -> [usize; 4] {
    std::array::from_fn(|side| a[side].saturating_add(b[side]))
}

/// Largest element of each window.
pub(super) fn max_pool(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    // Says how positions of the largest elements are counted, which nobody reads.
    node.attributes.ignore("storage_order");
    let mut window = pool(node)?;
    let mut input = node.map(0)?;
    // Where no element is negative, zeros are never larger than one that a window has.
    let (inner, outer) = unpadded(node, input);
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

/// Rows or columns to add so that the result has `ceil(size / stride)`.
fn same_padding(size: usize, kernel: usize, stride: usize) -> usize {
    ((size.div_ceil(stride) - 1) * stride).saturating_add(kernel).saturating_sub(size)
}

/// Interpolation, in the form of every operator set: `Upsample` up to 9, `Resize` with scales alone in 10.
pub(super) fn resize(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let (x, order) = regions::whole(node, 0)?;
    let &[channels, height, width] = node.dims(x.value) else {
        return Err(format!("takes maps [N, C, H, W] or [N, H, W, C], has {:?}", x.layout.dims()).into());
    };
    let own = [1, channels, height, width];
    let old = node.op_type() == "Upsample" || node.opset() < 11;
    let from = std::array::from_fn(|axis| own[order[axis]]);
    let (coordinates, to) = if old { old_target(node, from)? } else { target(node, from)? };
    let mut target = own;
    order.iter().zip(to).for_each(|(&axis, size)| target[axis] = size);
    let [1, to_channels, out_height, out_width] = target else { return Err("resizes the batch".into()) };
    if to_channels != channels {
        return Err("resizes the channels".into());
    }
    if [out_height, out_width] == [height, width] {
        return node.pass_through();
    }
    let coordinates = match coordinates {
        Interpolation::LinearToMany if out_height == 1 || out_width == 1 => {
            return Err("`pytorch_half_pixel` to one pixel is not supported".into());
        }
        Interpolation::LinearToMany => Coordinates::HalfPixel,
        Interpolation::Linear(coordinates) => coordinates,
        Interpolation::NearestAsymmetric => Coordinates::Nearest,
        Interpolation::NearestCentre => {
            if out_height % height != 0 || out_width % width != 0 {
                return Err(format!(
                    "nearest pixels by `half_pixel` are supported for whole factors only, not {height}x{width} to \
                     {out_height}x{out_width}"
                )
                .into());
            }
            Coordinates::Nearest
        }
    };
    let value = node.push(Op::Resize(Resize { size: [out_height, out_width], coordinates }), &[x.value])?;
    regions::bind_ordered(node, 0, value, order)
}

enum Interpolation {
    Linear(Coordinates),
    /// By `half_pixel`, but for axes of one pixel.
    LinearToMany,
    /// The pixel at `floor(i * size / out)`.
    NearestAsymmetric,
    /// The pixel around the centre of the result's.
    NearestCentre,
}

fn old_target(node: &mut NodeReader<'_, '_>, from: [usize; 4]) -> Result<(Interpolation, [usize; 4]), Failure> {
    let scales = match node.attributes.floats("scales")? {
        Some(scales) => scales.to_vec(),
        None => factors(node, 1)?.ok_or("must have scales")?,
    };
    let interpolation = match node.attributes.string("mode")?.unwrap_or("nearest") {
        "nearest" => Interpolation::NearestAsymmetric,
        "linear" | "bilinear" => Interpolation::Linear(Coordinates::Asymmetric),
        other => return Err(format!("attribute `mode` is `{other}`, only `linear` and `nearest` are supported").into()),
    };
    Ok((interpolation, scaled(from, &scales, &[0, 1, 2, 3])?))
}

fn target(node: &mut NodeReader<'_, '_>, from: [usize; 4]) -> Result<(Interpolation, [usize; 4]), Failure> {
    let attributes = &mut node.attributes;
    let policy = attributes.string("keep_aspect_ratio_policy")?.unwrap_or("stretch");
    if policy != "stretch" {
        return Err(format!("attribute `keep_aspect_ratio_policy` is `{policy}`, only `stretch` is supported").into());
    }
    attributes.only("antialias", 0)?;
    attributes.only("exclude_outside", 0)?;
    for name in ["cubic_coeff_a", "extrapolation_value"] {
        attributes.ignore(name);
    }
    let mode = attributes.string("mode")?.unwrap_or("nearest");
    let place = attributes.string("coordinate_transformation_mode")?.unwrap_or("half_pixel");
    let rounding = attributes.string("nearest_mode")?.unwrap_or("round_prefer_floor");
    let interpolation = match (mode, place) {
        ("linear", "align_corners") => Interpolation::Linear(Coordinates::AlignCorners),
        ("linear", "half_pixel") => Interpolation::Linear(Coordinates::HalfPixel),
        ("linear", "pytorch_half_pixel") => Interpolation::LinearToMany,
        ("linear", "asymmetric") => Interpolation::Linear(Coordinates::Asymmetric),
        ("nearest", "asymmetric") if rounding == "floor" => Interpolation::NearestAsymmetric,
        ("nearest", "half_pixel" | "pytorch_half_pixel") if rounding.starts_with("round") => {
            Interpolation::NearestCentre
        }
        ("linear", _) => return Err(format!("attribute `coordinate_transformation_mode` is `{place}`").into()),
        ("nearest", _) => {
            return Err(format!("nearest pixels by `{place}` and `nearest_mode` `{rounding}` are not supported").into());
        }
        _ => return Err(format!("attribute `mode` is `{mode}`, only `linear` and `nearest` are supported").into()),
    };
    let axes = match attributes.ints("axes")? {
        Some(named) => axes(named, 4)?,
        None => vec![0, 1, 2, 3],
    };
    let (scales, sizes) = (factors(node, 2)?, sizes_of(node, 3)?);
    let count = match (&scales, &sizes) {
        (Some(scales), None) => scales.len(),
        (None, Some(sizes)) => sizes.len(),
        _ => return Err("must have either scales or sizes".into()),
    };
    if count != axes.len() {
        return Err(format!("has {count} scales or sizes for {} axes", axes.len()).into());
    }
    let to = match (&scales, &sizes) {
        (Some(scales), _) => scaled(from, scales, &axes)?,
        (_, sizes) => {
            let mut to = from;
            for (&axis, &size) in axes.iter().zip(sizes.iter().flatten()) {
                // A size of the batch is that of the file's input.
                to[axis] = if axis == 0 { 1 } else { size };
            }
            to
        }
    };
    Ok((interpolation, to))
}

/// Dimensions after scaling. They must come out whole: factors place the pixels, and the graph knows the sizes only.
fn scaled(from: [usize; 4], scales: &[f32], axes: &[usize]) -> Result<[usize; 4], Failure> {
    if scales.len() != axes.len() {
        return Err(format!("has {} scales or sizes for {} axes", scales.len(), axes.len()).into());
    }
    if !scales.iter().all(|scale| scale.is_finite() && *scale > 0.0) {
        return Err("must have positive scales".into());
    }
    let mut to = from;
    for (&axis, &scale) in axes.iter().zip(scales) {
        // Readers multiply in single precision.
        to[axis] = (from[axis] as f32 * scale) as usize;
        let (size, target) = (from[axis] as f64, from[axis] as f64 * f64::from(scale));
        if (target - to[axis] as f64).abs() > 1e-3 {
            return Err(format!("scales {size} pixels to {target:.3}, which is no whole number").into());
        }
    }
    Ok(to)
}

/// Operand `index` as numbers, unless it is left out or empty.
fn factors(node: &NodeReader<'_, '_>, index: usize) -> Result<Option<Vec<f32>>, Failure> {
    if !node.has_input(index) {
        return Ok(None);
    }
    match &*node.constant(index)? {
        Array { elements: Elements::Float(values), .. } if values.is_empty() => Ok(None),
        Array { elements: Elements::Float(values), .. } if values.iter().all(|x| x.is_finite() && *x > 0.0) => {
            Ok(Some(values.clone()))
        }
        _ => Err(format!("operand {index} must be a list of positive scales").into()),
    }
}

/// Operand `index` as sizes, unless it is left out or empty.
fn sizes_of(node: &NodeReader<'_, '_>, index: usize) -> Result<Option<Vec<usize>>, Failure> {
    if !node.has_input(index) {
        return Ok(None);
    }
    let ints = node.ints(index)?;
    let sizes = ints.iter().map(|&int| usize::try_from(int)).collect::<Result<Vec<_>, _>>();
    let sizes = sizes.map_err(|_| format!("operand {index} is {ints:?}, must be sizes"))?;
    Ok((!sizes.is_empty()).then_some(sizes))
}
