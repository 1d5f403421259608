//! What a quantized file says of its integers, as [`Quantization`] of the float graph.

mod rounding;

use super::Importer;
use super::constants::Elements;
use super::draft::Id;
use super::failure::Failure;
use super::feature::Feature;
use super::node::NodeReader;
use crate::graph::Graph;
use crate::proto::DataType;
use crate::{Op, QuantParams, Quantization, ResizeKernel};

pub(super) use rounding::Roundings;

/// By how much uint8 is larger than the int8 that stands for it.
const UINT8: i64 = 128;

/// Nodes on the way back from a value that are asked whether they make negative numbers.
const SIGN_DEPTH: usize = 8;

/// The tensor is not changed but rounded: the graph's value keeps its name, and scale and zero point are noted.
pub(super) fn quantize_linear(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let zero_kind = zero_point_kind(node)?;
    // 0 is the attribute's default.
    let named = node.attributes.int("output_dtype")?.filter(|&kind| kind != 0);
    let named = named.map(|kind| kind_of(kind as i32)).transpose()?;
    if let (Some(zero), Some(named)) = (zero_kind, named)
        && zero != named
    {
        return Err(format!("its zero point is {zero:?} and attribute `output_dtype` {named:?}").into());
    }
    let kind = zero_kind.or(named).unwrap_or(DataType::Uint8);
    let rounding = rounding(node, kind)?;
    let x = node.settled(0)?;
    let x = rounding::rounded(node, x, rounding)?;
    node.set_integers(kind)?;
    // Layers before it must not take in what follows.
    node.bind(Feature { sole: false, ..x })
}

/// The rounded tensor again.
pub(super) fn dequantize_linear(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    // Of floats, which are all float32 here.
    node.attributes.ignore("output_dtype");
    let of_image = node.image_integers(0);
    let (held, zero) = (node.integers(0).or(of_image), zero_point_kind(node)?);
    if let (Some(held), Some(zero)) = (held, zero)
        && held != zero
    {
        return Err(format!("its operand holds {held:?} and its zero point is {zero:?}").into());
    }
    let kind = held.or(zero).ok_or("the type of its operand is not known: no QuantizeLinear made it")?;
    let rounding = rounding(node, kind)?;
    let x = node.settled(0)?;
    rounding::note_dequantized(node, x.value, rounding, of_image.is_some())?;
    node.bind(Feature { sole: false, ..x })
}

/// Type of the zero point, if there is one.
fn zero_point_kind(node: &NodeReader<'_, '_>) -> Result<Option<DataType>, Failure> {
    if !node.has_input(2) {
        return Ok(None);
    }
    let kind = node.kind(2);
    if kind.is_none() {
        node.constant(2)?;
    }
    kind.map(Some).ok_or_else(|| "the type of its zero point is not known".into())
}

/// A type of ONNX by its number.
fn kind_of(number: i32) -> Result<DataType, Failure> {
    DataType::try_from(number).map_err(|_| format!("elements of unknown type {number}").into())
}

/// Scale and zero point of a whole tensor, in terms of int8.
fn rounding(node: &mut NodeReader<'_, '_>, kind: DataType) -> Result<QuantParams, Failure> {
    node.attributes.only("block_size", 0)?;
    for name in ["axis", "saturate", "precision"] {
        node.attributes.ignore(name);
    }
    if ![DataType::Int8, DataType::Uint8].contains(&kind) {
        return Err(format!("activations of type {kind:?} are not supported, only of int8 and uint8").into());
    }
    let scale = node.constant(1)?;
    let Elements::Float(scales) = &scale.elements else {
        return Err("operand 1 must be a float scale".into());
    };
    let Some(scale) = scale.uniform() else {
        return Err(format!("{} scales for one activation are not supported, only one", scales.len()).into());
    };
    if !(scale > 0.0 && scale.is_finite()) {
        return Err(format!("its scale is {scale}").into());
    }
    let zero = match node.has_input(2) {
        true => node.constant(2)?.uniform().ok_or("has several zero points for one activation")? as i64,
        false => 0,
    };
    let zero = if kind == DataType::Int8 { zero } else { zero - UINT8 };
    Ok(QuantParams { scale, zero_point: i8::try_from(zero).map_err(|_| "its zero point does not fit its type")? })
}

/// The integer that stands for 0 in operand 0, in the file's type; `None` where the operand holds real numbers.
pub(super) fn integer_zero(node: &NodeReader<'_, '_>) -> Result<Option<i64>, Failure> {
    let Some(kind) = node.integers(0) else { return Ok(None) };
    let value = node.feature(0)?.value;
    let rounding = node.importer.effective_rounding(value).ok_or("its operand's zero point is not known")?;
    let shift = if kind == DataType::Uint8 { UINT8 } else { 0 };
    Ok(Some(i64::from(rounding.zero_point) + shift))
}

/// Operators that mean for integers what they mean for the real numbers that these stand for.
const MOVES: [&str; 17] = [
    "Concat",
    "DequantizeLinear",
    "Expand",
    "Flatten",
    "Gather",
    "GlobalMaxPool",
    "Identity",
    "MaxPool",
    "Pad",
    "ReduceMax",
    "Reshape",
    "Shape",
    "Size",
    "Slice",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
];

/// Checks that a node may read the integers of a rounded tensor, if it does; gives their type.
pub(super) fn check_integers(node: &mut NodeReader<'_, '_>) -> Result<Option<DataType>, Failure> {
    let mut kinds = (0..node.input_count()).filter_map(|index| node.integers(index));
    let Some(kind) = kinds.next() else { return Ok(None) };
    let mixed = kinds.any(|other| other != kind);
    let op = node.op_type().to_owned();
    let nearest = ["Resize", "Upsample"].contains(&op.as_str())
        && node.attributes.string("mode")?.unwrap_or("nearest") == "nearest";
    if !(MOVES.contains(&op.as_str()) || op == "Split" || nearest) {
        return Err("it computes with the integers of a quantized tensor; dequantize them first".into());
    }
    if op == "Concat" && (mixed || (0..node.input_count()).any(|index| node.is_constant(index))) {
        return Err("it puts integers of different types, or constants, side by side".into());
    }
    Ok(Some(kind))
}

/// Whether a value has no negative elements, or is the image, of whose elements nothing is known.
fn never_negative(importer: &Importer<'_>, value: Id, depth: usize) -> bool {
    let (value, _) = importer.before_reordering(value);
    let Some(node) = importer.draft.producer(value) else { return true };
    let mut inputs = node.inputs.iter().filter(|&&id| importer.draft.tensor(id).is_none());
    match node.op {
        Op::Relu | Op::Sigmoid | Op::Softmax => true,
        Op::Clip { min, .. } => min >= 0.0,
        // A cubic kernel has negative weights.
        Op::Resize(ref resize) if resize.kernel != ResizeKernel::Linear => false,
        Op::Add
        | Op::Mul
        | Op::Concat
        | Op::MaxPool(_)
        | Op::AveragePool { .. }
        | Op::GlobalAveragePool
        | Op::GlobalMaxPool
        | Op::Resize(_)
        | Op::Flatten
        | Op::Slice(_)
        | Op::Pad(_)
        | Op::BorderPad(_)
        | Op::DepthToSpace { .. }
        | Op::SpaceToDepth { .. }
        | Op::Dropout { .. }
        | Op::StochasticDepth { .. } => {
            depth < SIGN_DEPTH && inputs.all(|&input| never_negative(importer, input, depth + 1))
        }
        _ => false,
    }
}

impl Importer<'_> {
    /// What is known of the integers, by the names of values, among them such as the graph will not have.
    pub(super) fn quantization(&mut self) -> Quantization {
        self.inherit_roundings();
        let name = |id: Id| self.draft.name(id).to_owned();
        let noted = self.roundings.noted.iter().map(|(&id, &rounding)| (id, rounding));
        // A map with its channels in another order is rounded as the one before.
        let reordered = self.reordered_values();
        let reordered = reordered.filter_map(|(id, source)| Some((id, *self.roundings.noted.get(&source)?)));
        Quantization {
            activations: noted
                .chain(reordered)
                .chain(self.flattened_roundings())
                .map(|(id, rounding)| (name(id), rounding))
                .collect(),
            parameters: self.integers.iter().map(|(&id, integers)| (name(id), integers.clone())).collect(),
            input: None,
        }
    }
}

/// Keeps of `quantization` what is about the graph's values.
pub(super) fn annotate(graph: &mut Graph, mut quantization: Quantization) {
    let of = |parameter: bool| -> std::collections::HashSet<&str> {
        let values = graph.values().iter().filter(|value| value.parameter.is_some() == parameter);
        values.map(|value| value.name.as_str()).collect()
    };
    let (activations, parameters) = (of(false), of(true));
    quantization.activations.retain(|name, _| activations.contains(name.as_str()));
    quantization.parameters.retain(|name, _| parameters.contains(name.as_str()));
    if !quantization.is_empty() {
        // Those of our own files name values that the file of integers does not have.
        graph.metadata.activation_scales.clear();
    }
    graph.metadata.quantization = quantization;
}
