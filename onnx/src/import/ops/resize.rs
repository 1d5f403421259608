//! Interpolation.

use super::{pick, regions};
use crate::import::axes::axes;
use crate::import::constants::{Array, Elements};
use crate::import::failure::Failure;
use crate::import::node::NodeReader;
use crate::{Coordinates, Op, Resize, ResizeKernel};

/// Interpolation, in the form of every operator set: `Upsample` up to 9, `Resize` with scales alone in 10.
pub(super) fn resize(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let (x, order) = regions::whole(node, 0)?;
    let &[channels, height, width] = node.dims(x.value) else {
        return Err(format!("takes maps [N, C, H, W] or [N, H, W, C], has {:?}", x.layout.dims()).into());
    };
    if order.len() != 4 {
        return Err(format!("takes maps [N, C, H, W] or [N, H, W, C], has {:?}", x.layout.dims()).into());
    }
    let own = [1, channels, height, width];
    let old = node.op_type() == "Upsample" || node.opset() < 11;
    let from = std::array::from_fn(|axis| own[order[axis]]);
    let (interpolation, to) = if old { old_target(node, from)? } else { target(node, from)? };
    let mut target = own;
    order.iter().zip(to).for_each(|(&axis, size)| target[axis] = size);
    let [1, to_channels, out_height, out_width] = target else { return Err("resizes the batch".into()) };
    if to_channels != channels {
        return Err("resizes the channels".into());
    }
    if [out_height, out_width] == [height, width] {
        return node.pass_through();
    }
    let size = [out_height, out_width];
    let resize = match interpolation {
        Interpolation::ToMany(_) if (out_height == 1 && height > 1) || (out_width == 1 && width > 1) => {
            return Err("`pytorch_half_pixel` to one pixel is not supported".into());
        }
        Interpolation::ToMany(resize) | Interpolation::Weighted(resize) => {
            // The one pixel outside the map that a linear kernel can reach stands for its neighbour, which counts anyway.
            let exclude_outside = resize.exclude_outside && (resize.antialias || resize.kernel != ResizeKernel::Linear);
            Resize { size, exclude_outside, ..resize }
        }
        Interpolation::Nearest { place, rounding } => {
            let rows = nearest(&place, &rounding, height, out_height)?;
            let columns = nearest(&place, &rounding, width, out_width)?;
            let value = pick::pick(node, x.value, [&rows, &columns])?;
            return regions::bind_ordered(node, 0, value, order);
        }
    };
    let value = node.push(Op::Resize(resize), &[x.value])?;
    regions::bind_ordered(node, 0, value, order)
}

enum Interpolation {
    /// Of the pixels around a position, to a size that is not yet known.
    Weighted(Resize),
    /// The same, but for axes of one pixel.
    ToMany(Resize),
    /// By attributes `coordinate_transformation_mode` and `nearest_mode`.
    Nearest { place: String, rounding: String },
}

/// For each of `out` pixels on an axis that of `size` which is nearest.
fn nearest(place: &str, rounding: &str, size: usize, out: usize) -> Result<Vec<usize>, Failure> {
    // Engines compute in single precision.
    let scale = out as f32 / size as f32;
    let last = (size - 1) as f32;
    let at = |index: usize| {
        let index = index as f32;
        match place {
            "half_pixel" | "half_pixel_symmetric" => Some((index + 0.5) / scale - 0.5),
            "pytorch_half_pixel" if out == 1 => Some(0.0),
            "pytorch_half_pixel" => Some((index + 0.5) / scale - 0.5),
            "asymmetric" => Some(index / scale),
            "tf_half_pixel_for_nn" => Some((index + 0.5) / scale),
            "align_corners" if out == 1 => Some(0.0),
            "align_corners" => Some(index * last / (out - 1) as f32),
            _ => None,
        }
    };
    let round = |at: f32| match rounding {
        "round_prefer_floor" => Some((at - 0.5).ceil()),
        "round_prefer_ceil" => Some((at + 0.5).floor()),
        "floor" => Some(at.floor()),
        "ceil" => Some(at.ceil()),
        _ => None,
    };
    let pixels = (0..out).map(|index| at(index).and_then(round).map(|at| at.clamp(0.0, last) as usize));
    pixels
        .collect::<Option<_>>()
        .ok_or_else(|| format!("nearest pixels by `{place}` and `nearest_mode` `{rounding}` are not supported").into())
}

fn old_target(node: &mut NodeReader<'_, '_>, from: [usize; 4]) -> Result<(Interpolation, [usize; 4]), Failure> {
    let scales = match node.attributes.floats("scales")? {
        Some(scales) => scales.to_vec(),
        None => factors(node, 1)?.ok_or("must have scales")?,
    };
    let interpolation = match node.attributes.string("mode")?.unwrap_or("nearest") {
        "nearest" => Interpolation::Nearest { place: "asymmetric".into(), rounding: "floor".into() },
        "linear" | "bilinear" => Interpolation::Weighted(Resize::new([0; 2], Coordinates::Asymmetric)),
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
    attributes.ignore("extrapolation_value");
    let antialias = attributes.int("antialias")?.unwrap_or(0) != 0;
    let exclude_outside = attributes.int("exclude_outside")?.unwrap_or(0) != 0;
    let coefficient = attributes.float("cubic_coeff_a")?.unwrap_or(-0.75);
    let mode = attributes.string("mode")?.unwrap_or("nearest");
    let place = attributes.string("coordinate_transformation_mode")?.unwrap_or("half_pixel");
    let rounding = attributes.string("nearest_mode")?.unwrap_or("round_prefer_floor");
    let kernel = match mode {
        "nearest" if antialias || exclude_outside => {
            return Err("`antialias` and `exclude_outside` are of the modes `linear` and `cubic`".into());
        }
        "linear" | "nearest" => ResizeKernel::Linear,
        "cubic" => ResizeKernel::Cubic { coefficient },
        _ => return Err(format!("attribute `mode` is `{mode}`, must be `nearest`, `linear` or `cubic`").into()),
    };
    let weighted = |coordinates| Resize { kernel, antialias, exclude_outside, ..Resize::new([0; 2], coordinates) };
    let interpolation = match (mode, place) {
        ("nearest", _) => Interpolation::Nearest { place: place.into(), rounding: rounding.into() },
        (_, "align_corners") => Interpolation::Weighted(weighted(Coordinates::AlignCorners)),
        (_, "half_pixel" | "half_pixel_symmetric") => Interpolation::Weighted(weighted(Coordinates::HalfPixel)),
        (_, "pytorch_half_pixel") => Interpolation::ToMany(weighted(Coordinates::HalfPixel)),
        (_, "asymmetric") => Interpolation::Weighted(weighted(Coordinates::Asymmetric)),
        _ => return Err(format!("attribute `coordinate_transformation_mode` is `{place}`").into()),
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
