//! Operators that look at windows of a map: convolution, pools, interpolation.

use super::constants::{Array, Elements};
use super::node::{Failure, NodeReader};
use super::ops::axes;
use crate::{Conv, Coordinates, Op, Resize, Window};

/// Convolution.
pub(super) fn conv(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let input = node.activation(0)?;
    let weight = node.parameter(1, true)?;
    let (&[_, height, width], &[_, _, kernel_h, kernel_w]) = (node.dims(input), node.dims(weight)) else {
        let (input, weight) = (node.dims(input), node.dims(weight));
        return Err(format!("takes maps [C, H, W] and a weight OIHW, has {input:?} and {weight:?}").into());
    };
    let mut inputs = vec![input, weight];
    if node.has_input(2) {
        inputs.push(node.parameter(2, true)?);
    }
    let kernel = node.attributes.sizes("kernel_shape")?.unwrap_or([kernel_h, kernel_w]);
    let Window { kernel, stride, pads, .. } = window(node, kernel, [height, width])?;
    let groups = match node.attributes.int("group")? {
        None => 1,
        Some(groups) => usize::try_from(groups).map_err(|_| format!("attribute `group` is {groups}"))?,
    };
    node.push(Op::Conv(Conv { kernel, stride, pads, groups }), &inputs)
}

/// Largest element of each window.
pub(super) fn max_pool(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    // Says how positions of the largest elements are counted, which nobody reads.
    node.attributes.ignore("storage_order");
    let window = pool(node)?;
    let input = node.activation(0)?;
    node.push(Op::MaxPool(window), &[input])
}

/// Mean of each window.
pub(super) fn average_pool(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let window = pool(node)?;
    let count_include_pad = node.attributes.int("count_include_pad")?.unwrap_or(0) != 0;
    let input = node.activation(0)?;
    node.push(Op::AveragePool { window, count_include_pad }, &[input])
}

fn pool(node: &mut NodeReader<'_, '_>) -> Result<Window, Failure> {
    let input = node.activation(0)?;
    let &[_, height, width] = node.dims(input) else {
        return Err(format!("takes maps [C, H, W], has {:?}", node.dims(input)).into());
    };
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
    if attributes.sizes::<2>("dilations")?.is_some_and(|dilations| dilations != [1, 1]) {
        return Err("dilated windows are not supported".into());
    }
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

/// Bilinear interpolation.
pub(super) fn resize(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let input = node.activation(0)?;
    let &[channels, height, width] = node.dims(input) else {
        return Err(format!("takes maps [C, H, W], has {:?}", node.dims(input)).into());
    };
    let attributes = &mut node.attributes;
    for (name, default, only) in [("mode", "nearest", "linear"), ("keep_aspect_ratio_policy", "stretch", "stretch")] {
        let value = attributes.string(name)?.unwrap_or(default);
        if value != only {
            return Err(format!("attribute `{name}` is `{value}`, only `{only}` is supported").into());
        }
    }
    attributes.only("antialias", 0)?;
    attributes.only("exclude_outside", 0)?;
    for name in ["cubic_coeff_a", "extrapolation_value", "nearest_mode"] {
        attributes.ignore(name);
    }
    let mode = attributes.string("coordinate_transformation_mode")?.unwrap_or("half_pixel");
    let coordinates = match mode {
        "align_corners" => Coordinates::AlignCorners,
        "half_pixel" | "pytorch_half_pixel" => Coordinates::HalfPixel,
        other => return Err(format!("attribute `coordinate_transformation_mode` is `{other}`").into()),
    };
    let axes = match attributes.ints("axes")? {
        Some(named) => axes(named, 4)?,
        None => vec![0, 1, 2, 3],
    };
    let (scales, sizes) = (factors(node, 2)?, sizes_of(node, 3)?);
    let from = [1, channels, height, width];
    let mut to = from;
    let count = match (&scales, &sizes) {
        (Some(scales), None) => scales.len(),
        (None, Some(sizes)) => sizes.len(),
        _ => return Err("must have either scales or sizes".into()),
    };
    if count != axes.len() {
        return Err(format!("has {count} scales or sizes for {} axes", axes.len()).into());
    }
    for (index, &axis) in axes.iter().enumerate() {
        let size = from[axis] as f64;
        if let Some(scales) = &scales {
            // Readers multiply in single precision.
            to[axis] = (from[axis] as f32 * scales[index]) as usize;
            let exact = size * f64::from(scales[index]);
            if coordinates == Coordinates::HalfPixel && (exact - to[axis] as f64).abs() > 1e-3 {
                return Err(format!("scales {size} pixels to {exact:.3}, which is no whole number").into());
            }
        } else if let Some(sizes) = &sizes {
            // A size of the batch is that of the file's input.
            to[axis] = if axis == 0 { 1 } else { sizes[index] };
        }
    }
    let [1, to_channels, out_height, out_width] = to else { return Err("resizes the batch".into()) };
    if to_channels != channels {
        return Err("resizes the channels".into());
    }
    if mode == "pytorch_half_pixel" && (out_height == 1 || out_width == 1) {
        return Err("`pytorch_half_pixel` to one pixel is not supported".into());
    }
    node.push(Op::Resize(Resize { size: [out_height, out_width], coordinates }), &[input])
}

/// Operand `index` as numbers, unless it is left out or empty.
fn factors(node: &NodeReader<'_, '_>, index: usize) -> Result<Option<Vec<f32>>, Failure> {
    if !node.has_input(index) {
        return Ok(None);
    }
    match node.constant(index)? {
        Array { elements: Elements::Float(values), .. } if values.is_empty() => Ok(None),
        Array { elements: Elements::Float(values), .. } if values.iter().all(|x| x.is_finite() && *x > 0.0) => {
            Ok(Some(values))
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
