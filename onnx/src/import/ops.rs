//! The operators: one function for each, which reads operands and attributes and adds the graph's node.

use super::attributes::sizes;
use super::constants::{Array, Elements, decode};
use super::node::{Failure, NodeReader};
use crate::{Conv, Op, Pad, Slice, Tensor};

type Import = fn(&mut NodeReader<'_, '_>) -> Result<(), Failure>;

const OPS: [(&str, Import); 11] = [
    ("Add", add),
    ("BatchNormalization", batch_norm),
    ("Constant", constant),
    ("Conv", conv),
    ("Flatten", flatten),
    ("Gemm", gemm),
    ("GlobalAveragePool", global_average_pool),
    ("Identity", identity),
    ("Pad", pad),
    ("Relu", relu),
    ("Slice", slice),
];

/// The function that reads an operator, or why there is none.
pub(super) fn find(op_type: &str) -> Result<Import, String> {
    if let Some((_, import)) = OPS.iter().find(|(name, _)| *name == op_type) {
        return Ok(*import);
    }
    if op_type == "Softmax" {
        return Err("the network must end in scores; cut the file before this node".into());
    }
    let known: Vec<&str> = OPS.iter().map(|(name, _)| *name).collect();
    Err(format!("the operator is not supported; supported are {}", known.join(", ")))
}

fn add(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let inputs = [node.activation(0)?, node.activation(1)?];
    node.push(Op::Add, &inputs)
}

fn batch_norm(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let epsilon = node.attributes.float("epsilon")?.unwrap_or(1e-5);
    node.attributes.only("training_mode", 0)?;
    node.attributes.ignore("momentum");
    if epsilon < 0.0 {
        return Err(format!("attribute `epsilon` is {epsilon}").into());
    }
    let mut inputs = vec![node.activation(0)?];
    for (index, trainable) in [(1, true), (2, true), (3, false), (4, false)] {
        inputs.push(node.parameter(index, trainable)?);
    }
    node.push(Op::BatchNorm { epsilon }, &inputs)
}

fn constant(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let attributes = &mut node.attributes;
    let array = if let Some(proto) = attributes.tensor("value")? {
        decode(proto)?
    } else if let Some(value) = attributes.float("value_float")? {
        Array { dims: vec![], elements: Elements::Float(vec![value]) }
    } else if let Some(value) = attributes.int("value_int")? {
        Array { dims: vec![], elements: Elements::Int(vec![value]) }
    } else if let Some(values) = attributes.floats("value_floats")? {
        Array { dims: vec![values.len()], elements: Elements::Float(values.to_vec()) }
    } else if let Some(values) = attributes.ints("value_ints")? {
        Array { dims: vec![values.len()], elements: Elements::Int(values.to_vec()) }
    } else {
        return Err("it holds no tensor or numbers".into());
    };
    node.set_constant(array)
}

fn conv(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
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
    let attributes = &mut node.attributes;
    if attributes.sizes::<2>("dilations")?.is_some_and(|dilations| dilations != [1, 1]) {
        return Err("dilated convolutions are not supported".into());
    }
    let kernel = attributes.sizes("kernel_shape")?.unwrap_or([kernel_h, kernel_w]);
    let stride: [usize; 2] = attributes.sizes("strides")?.unwrap_or([1, 1]);
    if stride.contains(&0) {
        return Err("attribute `strides` holds 0".into());
    }
    let pads: Option<[usize; 4]> = attributes.sizes("pads")?;
    let rows = same_padding(height, kernel[0], stride[0]);
    let columns = same_padding(width, kernel[1], stride[1]);
    let pads = match attributes.string("auto_pad")?.unwrap_or("NOTSET") {
        "NOTSET" => pads.unwrap_or_default(),
        _ if pads.is_some_and(|pads| pads != [0; 4]) => return Err("has both `auto_pad` and `pads`".into()),
        "VALID" => [0; 4],
        "SAME_UPPER" => [rows / 2, columns / 2, rows - rows / 2, columns - columns / 2],
        "SAME_LOWER" => [rows - rows / 2, columns - columns / 2, rows / 2, columns / 2],
        other => return Err(format!("attribute `auto_pad` is `{other}`").into()),
    };
    let groups = match attributes.int("group")? {
        None => 1,
        Some(groups) => usize::try_from(groups).map_err(|_| format!("attribute `group` is {groups}"))?,
    };
    node.push(Op::Conv(Conv { kernel, stride, pads, groups }), &inputs)
}

/// Rows or columns to add so that the result has `ceil(size / stride)`.
fn same_padding(size: usize, kernel: usize, stride: usize) -> usize {
    ((size.div_ceil(stride) - 1) * stride).saturating_add(kernel).saturating_sub(size)
}

fn flatten(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    node.attributes.only("axis", 1)?;
    let input = node.activation(0)?;
    node.push(Op::Flatten, &[input])
}

fn gemm(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    for name in ["alpha", "beta"] {
        if let Some(factor) = node.attributes.float(name)?.filter(|&factor| factor != 1.0) {
            return Err(format!("attribute `{name}` is {factor}, only 1 is supported").into());
        }
    }
    node.attributes.only("transA", 0)?;
    let transposed = node.attributes.int("transB")?.unwrap_or(0) != 0;
    let input = node.activation(0)?;
    let weight = if transposed { node.parameter(1, true)? } else { node.parameter_by(1, true, transpose)? };
    let mut inputs = vec![input, weight];
    if node.has_input(2) {
        inputs.push(node.parameter(2, true)?);
    }
    node.push(Op::Gemm, &inputs)
}

/// `[inputs, outputs]` to `[outputs, inputs]`.
fn transpose(tensor: Tensor) -> Result<Tensor, Failure> {
    let &[rows, columns] = tensor.dims() else {
        return Err(format!("the weight has dimensions {:?}, must be a matrix", tensor.dims()).into());
    };
    let data = (0..rows * columns).map(|i| tensor.data()[i % rows * columns + i / rows]).collect();
    Ok(Tensor::new([columns, rows], data)?)
}

fn global_average_pool(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let input = node.activation(0)?;
    node.push(Op::GlobalAveragePool, &[input])
}

fn identity(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    node.pass_through()
}

fn pad(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let mode = node.attributes.string("mode")?.unwrap_or("constant");
    if mode != "constant" {
        return Err(format!("mode `{mode}` is not supported, only `constant`").into());
    }
    if node.has_input(2) {
        let zero = match node.constant(2)?.elements {
            Elements::Float(value) => value == [0.0],
            Elements::Int(value) => value == [0],
        };
        if !zero {
            return Err("only padding with zeros is supported".into());
        }
    }
    let input = node.activation(0)?;
    let pads = node.ints(1)?;
    let rank = node.dims(input).len() + 1;
    let axes = if node.has_input(3) { axes(&node.ints(3)?, rank)? } else { (0..rank).collect() };
    if pads.len() != 2 * axes.len() {
        return Err(format!("has {} pads for {} axes", pads.len(), axes.len()).into());
    }
    let mut full = [vec![0; rank], vec![0; rank]];
    for (index, &axis) in axes.iter().enumerate() {
        full[0][axis] = pads[index];
        full[1][axis] = pads[axes.len() + index];
    }
    let [before, after] = full.map(|sides| sizes::<4>(&sides).map_err(|reason| format!("padding {reason}")));
    let ([0, c, h, w], [0, c_end, h_end, w_end]) = (before?, after?) else {
        return Err("pads the batch".into());
    };
    node.push(Op::Pad(Pad { before: [c, h, w], after: [c_end, h_end, w_end] }), &[input])
}

fn relu(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let input = node.activation(0)?;
    node.push(Op::Relu, &[input])
}

fn slice(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let input = node.activation(0)?;
    let &[channels, height, width] = node.dims(input) else {
        return Err(format!("takes maps [C, H, W], has {:?}", node.dims(input)).into());
    };
    let dims = [channels, height, width];
    let (starts, ends) = (node.ints(1)?, node.ints(2)?);
    let axes = if node.has_input(3) { axes(&node.ints(3)?, 4)? } else { (0..starts.len().min(4)).collect() };
    let steps = if node.has_input(4) { node.ints(4)? } else { vec![1; axes.len()] };
    if [starts.len(), ends.len(), steps.len()] != [axes.len(); 3] {
        return Err(format!(
            "has {} starts, {} ends, {} steps for {} axes",
            starts.len(),
            ends.len(),
            steps.len(),
            axes.len()
        )
        .into());
    }
    let mut slice = Slice { start: [0; 3], end: dims, step: [1; 3] };
    for (index, axis) in axes.into_iter().enumerate() {
        let (start, end, step) = (starts[index], ends[index], steps[index]);
        let Some(axis) = axis.checked_sub(1) else {
            if start == 0 && step == 1 && end >= i32::MAX.into() {
                continue;
            }
            return Err("cuts the batch".into());
        };
        let step = usize::try_from(step).ok().filter(|&step| step > 0);
        slice.step[axis] = step.ok_or_else(|| format!("step {} is not supported", steps[index]))?;
        slice.start[axis] = clamp(start, dims[axis]);
        slice.end[axis] = clamp(end, dims[axis]);
    }
    node.push(Op::Slice(slice), &[input])
}

/// A position on an axis: from the end if negative, and never beyond it.
fn clamp(position: i64, size: usize) -> usize {
    match usize::try_from(position) {
        Ok(position) => position.min(size),
        Err(_) => size.saturating_sub(usize::try_from(position.unsigned_abs()).unwrap_or(usize::MAX)),
    }
}

/// Axes counted from the front, each at most once.
fn axes(axes: &[i64], rank: usize) -> Result<Vec<usize>, String> {
    let fail = || format!("axes {axes:?} do not fit {rank} dimensions");
    let mut seen = vec![false; rank];
    axes.iter()
        .map(|&axis| {
            let from_front = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
            let axis = usize::try_from(from_front).ok().filter(|&axis| axis < rank).ok_or_else(fail)?;
            if std::mem::replace(&mut seen[axis], true) { Err(fail()) } else { Ok(axis) }
        })
        .collect()
}
