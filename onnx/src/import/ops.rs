//! The operators: one function for each, which reads operands and attributes and adds the graph's node.

use super::attributes::sizes;
use super::constants::{Array, Elements, decode};
use super::node::{Failure, NodeReader};
use super::windows::{average_pool, conv, max_pool, resize};
use crate::export::STOCHASTIC_DEPTH;
use crate::{Op, Pad, Slice, Tensor};

type Import = fn(&mut NodeReader<'_, '_>) -> Result<(), Failure>;

const OPS: [(&str, Import); 21] = [
    ("Add", |node| elementwise(node, Op::Add)),
    ("AveragePool", average_pool),
    ("BatchNormalization", batch_norm),
    ("Clip", clip),
    ("Concat", concat),
    ("Constant", constant),
    ("Conv", conv),
    ("Dropout", dropout),
    ("Flatten", flatten),
    ("Gemm", gemm),
    ("GlobalAveragePool", |node| unary(node, Op::GlobalAveragePool)),
    ("GlobalMaxPool", |node| unary(node, Op::GlobalMaxPool)),
    ("Identity", identity),
    ("MaxPool", max_pool),
    ("Mul", |node| elementwise(node, Op::Mul)),
    ("Pad", pad),
    ("Relu", |node| unary(node, Op::Relu)),
    ("Resize", resize),
    ("Sigmoid", |node| unary(node, Op::Sigmoid)),
    ("Slice", slice),
    ("Softmax", softmax),
];

/// The function that reads an operator, or why there is none.
pub(super) fn find(op_type: &str) -> Result<Import, String> {
    if let Some((_, import)) = OPS.iter().find(|(name, _)| *name == op_type) {
        return Ok(*import);
    }
    let known: Vec<&str> = OPS.iter().map(|(name, _)| *name).collect();
    Err(format!("the operator is not supported; supported are {}", known.join(", ")))
}

/// An operator with one operand and no attributes.
fn unary(node: &mut NodeReader<'_, '_>, op: Op) -> Result<(), Failure> {
    let input = node.activation(0)?;
    node.push(op, &[input])
}

/// An operator with two operands and no attributes.
fn elementwise(node: &mut NodeReader<'_, '_>, op: Op) -> Result<(), Failure> {
    let inputs = [node.activation(0)?, node.activation(1)?];
    node.push(op, &inputs)
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

fn clip(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let min = node.scalar(1)?.unwrap_or(f32::NEG_INFINITY);
    let max = node.scalar(2)?.unwrap_or(f32::INFINITY);
    unary(node, Op::Clip { min, max })
}

fn concat(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let inputs = (0..node.input_count()).map(|index| node.activation(index)).collect::<Result<Vec<_>, _>>()?;
    let rank = inputs.first().map_or(0, |&id| node.dims(id).len() + 1);
    let axis = node.attributes.int("axis")?.ok_or("attribute `axis` is missing")?;
    if axes(&[axis], rank)? != [1] {
        return Err(format!("attribute `axis` is {axis}, only channels can be concatenated").into());
    }
    node.push(Op::Concat, &inputs)
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

fn dropout(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    node.attributes.ignore("seed");
    if node.scalar(2)?.is_some_and(|training| training != 0.0) {
        return Err("it is in training mode; export the network for evaluation".into());
    }
    // Up to opset 11 the ratio is an attribute.
    let rate = node.scalar(1)?.or(node.attributes.float("ratio")?).unwrap_or(0.5);
    let whole_images = node.doc_string() == STOCHASTIC_DEPTH;
    unary(node, if whole_images { Op::StochasticDepth { rate } } else { Op::Dropout { rate } })
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

fn softmax(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let axis = node.attributes.int("axis")?.unwrap_or(-1);
    if ![-1, 1].contains(&axis) {
        return Err(format!("attribute `axis` is {axis}, only that of features is supported").into());
    }
    unary(node, Op::Softmax)
}

/// A position on an axis: from the end if negative, and never beyond it.
fn clamp(position: i64, size: usize) -> usize {
    match usize::try_from(position) {
        Ok(position) => position.min(size),
        Err(_) => size.saturating_sub(usize::try_from(position.unsigned_abs()).unwrap_or(usize::MAX)),
    }
}

/// Axes counted from the front, each at most once.
pub(super) fn axes(axes: &[i64], rank: usize) -> Result<Vec<usize>, String> {
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
