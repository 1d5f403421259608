//! Shape inference and cost, operator by operator.

use crate::value::Value;
use crate::{Border, BorderPad, Conv, Coordinates, Op, Pad, Resize, ResizeKernel, Slice, Window};

/// Most elements of one activation. Larger ones are mistakes, and below it no product of sizes overflows.
pub const MAX_ELEMENTS: usize = 1 << 30;

/// Number of elements of an activation; `None` above [`MAX_ELEMENTS`].
pub fn elements(dims: &[usize]) -> Option<usize> {
    let count = dims.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim))?;
    (count <= MAX_ELEMENTS).then_some(count)
}

/// Dimensions of the result of `op` over `operands`, or the reason why they do not fit.
pub fn infer(op: &Op, operands: &[&Value]) -> Result<Vec<usize>, String> {
    let dims = infer_unbounded(op, operands)?;
    match elements(&dims) {
        Some(_) => Ok(dims),
        None => Err(format!("its result {dims:?} has more than {MAX_ELEMENTS} elements")),
    }
}

fn infer_unbounded(op: &Op, operands: &[&Value]) -> Result<Vec<usize>, String> {
    let count = operands.len();
    let expected = match op {
        Op::Conv(_) | Op::Gemm => 2..=3,
        Op::BatchNorm { .. } => 5..=5,
        Op::Add | Op::Mul => 2..=2,
        Op::Concat => 1..=usize::MAX,
        _ => 1..=1,
    };
    if !expected.contains(&count) {
        return Err(format!("has {count} inputs, takes {} to {}", expected.start(), expected.end()));
    }
    let activations = if matches!(op, Op::Add | Op::Mul | Op::Concat) { count } else { 1 };
    for (index, value) in operands.iter().enumerate() {
        if value.parameter.is_some() != (index >= activations) {
            let (is, wants) =
                if index < activations { ("a constant", "an activation") } else { ("computed", "a constant") };
            return Err(format!("input {index} (`{}`) is {is}, must be {wants}", value.name));
        }
    }
    match op {
        Op::Conv(conv) => infer_conv(conv, operands),
        Op::BatchNorm { .. } => {
            let [channels, ..] = map_dims(operands[0])?;
            for value in &operands[1..] {
                vector(value, channels)?;
            }
            Ok(operands[0].dims.clone())
        }
        Op::Relu | Op::Sigmoid | Op::L2Norm => Ok(operands[0].dims.clone()),
        Op::Unary(unary) if unary.is_finite() => Ok(operands[0].dims.clone()),
        Op::Unary(_) => Err("its parameter is NaN or infinite".into()),
        Op::Clip { min, max } => {
            // Limits that are no numbers fail too.
            if min <= max && *min < f32::INFINITY && *max > f32::NEG_INFINITY {
                Ok(operands[0].dims.clone())
            } else {
                Err(format!("its limits are {min} and {max}"))
            }
        }
        Op::InstanceNorm { epsilon } => {
            let dims = map_dims(operands[0])?;
            // One that is no number fails too.
            if *epsilon > 0.0 && *epsilon < f32::INFINITY {
                Ok(dims.into())
            } else {
                Err(format!("its epsilon is {epsilon}, must be above 0"))
            }
        }
        Op::GroupNorm { groups, epsilon } => {
            let dims = map_dims(operands[0])?;
            if *groups == 0 || !dims[0].is_multiple_of(*groups) {
                return Err(format!("{} channels in {groups} groups", dims[0]));
            }
            if *epsilon > 0.0 && *epsilon < f32::INFINITY {
                Ok(dims.into())
            } else {
                Err(format!("its epsilon is {epsilon}, must be above 0"))
            }
        }
        Op::Softmax => match operands[0].dims.as_slice() {
            [features] => Ok(vec![*features]),
            dims => Err(format!("input has dimensions {dims:?}, must be a vector")),
        },
        Op::Dropout { rate } | Op::StochasticDepth { rate } => {
            if !(0.0..1.0).contains(rate) {
                return Err(format!("its rate is {rate}, must be at least 0 and below 1"));
            }
            Ok(operands[0].dims.clone())
        }
        Op::Mul => infer_mul(operands),
        Op::Concat => infer_concat(operands),
        Op::Add => {
            if operands[0].dims != operands[1].dims {
                return Err(format!("operands have dimensions {:?} and {:?}", operands[0].dims, operands[1].dims));
            }
            Ok(operands[0].dims.clone())
        }
        Op::MaxPool(window) | Op::AveragePool { window, .. } => infer_pool(window, map_dims(operands[0])?),
        Op::Resize(resize) => infer_resize(resize, map_dims(operands[0])?),
        Op::GlobalAveragePool | Op::GlobalMaxPool => map_dims(operands[0]).map(|[channels, ..]| vec![channels, 1, 1]),
        Op::Flatten => Ok(vec![operands[0].dims.iter().product()]),
        Op::Gemm => {
            let &[inputs] = operands[0].dims.as_slice() else {
                return Err(format!("input has dimensions {:?}, must be a vector", operands[0].dims));
            };
            let &[outputs, columns] = operands[1].dims.as_slice() else {
                return Err(format!("weight has dimensions {:?}, must be [outputs, inputs]", operands[1].dims));
            };
            if columns != inputs {
                return Err(format!("weight has {columns} columns for an input of {inputs}"));
            }
            if let Some(bias) = operands.get(2) {
                vector(bias, outputs)?;
            }
            Ok(vec![outputs])
        }
        Op::Slice(slice) => infer_slice(slice, map_dims(operands[0])?),
        Op::Pad(Pad { before, after }) => {
            let dims = map_dims(operands[0])?;
            (0..3).map(|axis| padded(dims[axis], before[axis], after[axis])).collect()
        }
        Op::BorderPad(pad) => infer_border_pad(pad, map_dims(operands[0])?),
        Op::DepthToSpace { block: [rows, columns] } => {
            let [channels, height, width] = map_dims(operands[0])?;
            let pixels = rows.saturating_mul(*columns);
            if pixels == 0 || !channels.is_multiple_of(pixels) {
                return Err(format!("its {channels} channels are no blocks of {rows}x{columns} pixels"));
            }
            Ok(vec![channels / pixels, height.saturating_mul(*rows), width.saturating_mul(*columns)])
        }
        Op::SpaceToDepth { block: [rows, columns] } => {
            let [channels, height, width] = map_dims(operands[0])?;
            if *rows == 0 || *columns == 0 || !height.is_multiple_of(*rows) || !width.is_multiple_of(*columns) {
                return Err(format!("blocks of {rows}x{columns} do not cover {height}x{width}"));
            }
            Ok(vec![channels.saturating_mul(rows * columns), height / rows, width / columns])
        }
    }
}

fn infer_border_pad(pad: &BorderPad, [channels, height, width]: [usize; 3]) -> Result<Vec<usize>, String> {
    let [top, left, bottom, right] = pad.pads;
    if pad.border == Border::Wrap && (top.max(bottom) > height || left.max(right) > width) {
        return Err(format!("wraps {:?} rows and columns of a map of {height}x{width}", pad.pads));
    }
    if pad.border == Border::Reflect && (top.max(bottom) >= height || left.max(right) >= width) {
        return Err(format!("reflects {:?} rows and columns of a map of {height}x{width}", pad.pads));
    }
    Ok(vec![channels, padded(height, top, bottom)?, padded(width, left, right)?])
}

fn infer_resize(resize: &Resize, [channels, ..]: [usize; 3]) -> Result<Vec<usize>, String> {
    let [height, width] = resize.size;
    if height == 0 || width == 0 {
        return Err(format!("resizes to {height}x{width}"));
    }
    if resize.coordinates == Coordinates::Nearest && (resize.antialias || resize.kernel != ResizeKernel::Linear) {
        return Err("weighs several pixels, and takes the nearest one".into());
    }
    if resize.exclude_outside && !resize.antialias && resize.kernel == ResizeKernel::Linear {
        return Err("excludes what lies outside, which a linear kernel does not weigh".into());
    }
    match resize.kernel {
        // One that is no number is in no range.
        ResizeKernel::Cubic { coefficient } if !ResizeKernel::COEFFICIENTS.contains(&coefficient) => {
            let (least, most) = ResizeKernel::COEFFICIENTS.into_inner();
            Err(format!("its cubic coefficient is {coefficient}, must be from {least} to {most}"))
        }
        _ => Ok(vec![channels, height, width]),
    }
}

/// Multiply-accumulates of `op` for one image: convolutions and linear layers only.
pub fn macs(op: &Op, operands: &[&Value], result: &Value) -> u64 {
    match op {
        Op::Conv(_) => {
            let weight = operands[1].dims.iter().product::<usize>();
            weight as u64 * (result.dims[1] * result.dims[2]) as u64
        }
        Op::Gemm => operands[1].dims.iter().product::<usize>() as u64,
        _ => 0,
    }
}

fn infer_conv(conv: &Conv, operands: &[&Value]) -> Result<Vec<usize>, String> {
    let [channels, height, width] = map_dims(operands[0])?;
    let &[outputs, per_group, kernel_h, kernel_w] = operands[1].dims.as_slice() else {
        return Err(format!("weight has dimensions {:?}, must be OIHW", operands[1].dims));
    };
    if [kernel_h, kernel_w] != conv.kernel {
        return Err(format!("weight is {kernel_h}x{kernel_w}, kernel is {}x{}", conv.kernel[0], conv.kernel[1]));
    }
    if conv.stride.contains(&0) || conv.kernel.contains(&0) {
        return Err("kernel and stride must be at least 1".into());
    }
    let groups = conv.groups;
    if groups == 0 || channels % groups != 0 || outputs % groups != 0 || per_group != channels / groups {
        return Err(format!("{channels} input and {outputs} output channels in {groups} groups of {per_group}"));
    }
    if let Some(bias) = operands.get(2) {
        vector(bias, outputs)?;
    }
    let [top, left, bottom, right] = conv.pads;
    let extent = |size: usize, before: usize, after: usize, kernel: usize, stride: usize| {
        let padded = padded(size, before, after)?;
        if padded < kernel {
            return Err(format!("a kernel of {kernel} does not fit into {padded} rows or columns"));
        }
        Ok((padded - kernel) / stride + 1)
    };
    Ok(vec![
        outputs,
        extent(height, top, bottom, kernel_h, conv.stride[0])?,
        extent(width, left, right, kernel_w, conv.stride[1])?,
    ])
}

fn infer_mul(operands: &[&Value]) -> Result<Vec<usize>, String> {
    let [a, b] = [&operands[0].dims, &operands[1].dims];
    let gates = |gate: &[usize], map: &[usize]| gate.len() == 3 && map.len() == 3 && *gate == [map[0], 1, 1];
    if a == b || gates(b, a) {
        Ok(a.clone())
    } else if gates(a, b) {
        Ok(b.clone())
    } else {
        Err(format!("operands have dimensions {a:?} and {b:?}, must be equal, or one of them a gate [C, 1, 1]"))
    }
}

fn infer_concat(operands: &[&Value]) -> Result<Vec<usize>, String> {
    let mut dims = operands[0].dims.clone();
    for value in &operands[1..] {
        if value.dims.len() != dims.len() || value.dims[1..] != dims[1..] {
            let all: Vec<&[usize]> = operands.iter().map(|value| value.dims.as_slice()).collect();
            return Err(format!("operands have dimensions {all:?}, may differ in the channels only"));
        }
        dims[0] = dims[0].checked_add(value.dims[0]).ok_or("has too many channels")?;
    }
    Ok(dims)
}

fn infer_pool(window: &Window, [channels, height, width]: [usize; 3]) -> Result<Vec<usize>, String> {
    let Window { kernel, stride, pads: [top, left, bottom, right], ceil_mode } = *window;
    let extent = |size: usize, before: usize, after: usize, kernel: usize, stride: usize| {
        if kernel == 0 || stride == 0 {
            return Err("kernel and stride must be at least 1".into());
        }
        if before >= kernel || after >= kernel {
            return Err(format!("padding of {before} and {after} leaves windows of {kernel} without an element"));
        }
        let padded = padded(size, before, after)?;
        // One window that reaches beyond the padding by less than a stride is as good as any other in ceil mode.
        let missing = kernel.saturating_sub(padded);
        if missing > 0 && !(ceil_mode && missing < stride) {
            return Err(format!("a window of {kernel} does not fit into {padded} rows or columns"));
        }
        let room = padded.saturating_sub(kernel);
        let count = if ceil_mode { room.div_ceil(stride) + 1 } else { room / stride + 1 };
        // A window that starts after the map is dropped.
        Ok(count - usize::from((count - 1) * stride >= size + before))
    };
    Ok(vec![
        channels,
        extent(height, top, bottom, kernel[0], stride[0])?,
        extent(width, left, right, kernel[1], stride[1])?,
    ])
}

fn infer_slice(slice: &Slice, dims: [usize; 3]) -> Result<Vec<usize>, String> {
    let mut out = Vec::with_capacity(3);
    for (axis, size) in dims.into_iter().enumerate() {
        let (start, end, step) = (slice.start[axis], slice.end[axis], slice.step[axis]);
        if step == 0 || start >= end || end > size {
            return Err(format!("takes {start}..{end} step {step} of an axis of {size}"));
        }
        out.push((end - start).div_ceil(step));
    }
    Ok(out)
}

fn padded(size: usize, before: usize, after: usize) -> Result<usize, String> {
    size.checked_add(before)
        .and_then(|sum| sum.checked_add(after))
        .ok_or_else(|| format!("padding of {before} and {after} is too large"))
}

fn map_dims(value: &Value) -> Result<[usize; 3], String> {
    value
        .dims
        .as_slice()
        .try_into()
        .map_err(|_| format!("`{}` has dimensions {:?}, must be [channels, height, width]", value.name, value.dims))
}

fn vector(value: &Value, length: usize) -> Result<(), String> {
    if value.dims == [length] {
        return Ok(());
    }
    Err(format!("`{}` has dimensions {:?}, must be [{length}]", value.name, value.dims))
}
