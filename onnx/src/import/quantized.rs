//! What a quantized file says of its integers, as [`Quantization`] of the float graph.

use super::Importer;
use super::constants::{Array, Elements};
use super::draft::Id;
use super::feature::Feature;
use super::node::{Failure, NodeReader};
use crate::graph::Graph;
use crate::proto::DataType;
use crate::{Integers, Op, Quantization, Rounding, Tensor};

/// Nodes on the way back from a value that are asked whether they make negative numbers.
const SIGN_DEPTH: usize = 8;

/// A constant that was dequantized.
#[derive(Clone)]
pub(super) struct Dequantized {
    /// One scale, or one for each element of an axis.
    pub(super) scales: Vec<f32>,
    /// The integers of a vector; those of other constants follow from the numbers.
    pub(super) values: Option<Vec<i32>>,
}

impl Dequantized {
    pub(super) fn scales_only(&self) -> Self {
        Self { scales: self.scales.clone(), values: None }
    }

    /// The integers of a parameter that was made of the constant; `None` where it is no longer integers times scales
    /// of its output channels.
    pub(super) fn integers(&self, tensor: &Tensor) -> Option<Integers> {
        let outputs = *tensor.dims().first()?;
        let scales = match self.scales.as_slice() {
            &[scale] => vec![scale; outputs],
            scales => scales.to_vec(),
        };
        if scales.len() != outputs {
            return None;
        }
        let per_channel = tensor.count() / outputs;
        let values = self.values.clone().unwrap_or_else(|| {
            let steps =
                |(index, x): (usize, &f32)| (f64::from(*x) / f64::from(scales[index / per_channel])).round() as i32;
            tensor.data().iter().enumerate().map(steps).collect()
        });
        let integers = Integers { scales, values };
        integers.are(tensor.data()).then_some(integers)
    }
}

/// The tensor is not changed but rounded: the graph's value keeps its name, and scale and zero point are noted.
pub(super) fn quantize_linear(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let rounding = rounding(node)?;
    let x = node.settled(0)?;
    let x = rectified(node, x, rounding)?;
    note(node, x, rounding)
}

/// The rounded tensor again.
pub(super) fn dequantize_linear(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let rounding = rounding(node)?;
    let x = node.settled(0)?;
    note(node, x, rounding)
}

fn note(node: &mut NodeReader<'_, '_>, x: Feature, rounding: Rounding) -> Result<(), Failure> {
    // A map with its channels in another order is rounded as the one before.
    let (source, _) = node.importer.before_reordering(x.value);
    for value in [source, x.value] {
        let noted = *node.importer.roundings.entry(value).or_insert(rounding);
        if noted == rounding {
            continue;
        }
        let [(scale, zero), (other, other_zero)] = [noted, rounding].map(|r| (r.scale, r.zero_point));
        return Err(format!(
            "its operand is rounded with scale {scale} and zero point {zero} (of int8) already, and cannot be rounded \
             again with {other} and {other_zero}"
        )
        .into());
    }
    // Layers before it must not take in what follows.
    node.bind(Feature { sole: false, ..x })
}

/// Scale and zero point of a whole tensor, in terms of int8.
fn rounding(node: &mut NodeReader<'_, '_>) -> Result<Rounding, Failure> {
    node.attributes.only("block_size", 0)?;
    for name in ["axis", "saturate", "precision"] {
        node.attributes.ignore(name);
    }
    let named = node.attributes.int("output_dtype")?.and_then(|kind| DataType::try_from(kind as i32).ok());
    let kind = if node.has_input(2) { node.kind(2) } else { named.filter(|kind| *kind == DataType::Int8) };
    let kind = kind.unwrap_or(DataType::Uint8);
    let one = |array: &Array| array.elements.len() == 1;
    let scale = node.constant(1)?;
    let &Array { elements: Elements::Float(ref scales), .. } = &*scale else {
        return Err("operand 1 must be a float scale".into());
    };
    if !one(&scale) {
        return Err(format!("{} scales for one activation are not supported, only one", scales.len()).into());
    }
    let scale = scales[0];
    if !(scale > 0.0 && scale.is_finite()) {
        return Err(format!("its scale is {scale}").into());
    }
    let zero = if node.has_input(2) { node.scalar(2)?.unwrap_or(0.0) as i64 } else { 0 };
    let zero = match kind {
        DataType::Int8 => i8::try_from(zero).ok(),
        DataType::Uint8 => i8::try_from(zero - 128).ok(),
        _ => return Err(format!("activations of type {kind:?} are not supported, only of int8 and uint8").into()),
    };
    Ok(Rounding { scale, zero_point: zero.ok_or("its zero point does not fit its type")? })
}

/// Where the smallest integer stands for 0, rounding is a ReLU, which optimizers then leave out: it comes back.
fn rectified(node: &mut NodeReader<'_, '_>, x: Feature, rounding: Rounding) -> Result<Feature, Failure> {
    if rounding.zero_point != i8::MIN || never_negative(node.importer, x.value, 0) {
        return Ok(x);
    }
    let name = format!("{}.relu", node.name);
    let value = node.push_part(&name, Op::Relu, &[x.value])?;
    Ok(Feature { value, ..x })
}

/// Whether a value has no negative elements, or is the image, of whose elements nothing is known.
fn never_negative(importer: &Importer<'_>, value: Id, depth: usize) -> bool {
    let (value, _) = importer.before_reordering(value);
    let Some(node) = importer.draft.producer(value) else { return true };
    let mut inputs = node.inputs.iter().filter(|&&id| importer.draft.tensor(id).is_none());
    match node.op {
        Op::Relu | Op::Sigmoid | Op::Softmax => true,
        Op::Clip { min, .. } => min >= 0.0,
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
        | Op::Dropout { .. }
        | Op::StochasticDepth { .. } => {
            depth < SIGN_DEPTH && inputs.all(|&input| never_negative(importer, input, depth + 1))
        }
        _ => false,
    }
}

impl Importer<'_> {
    /// What is known of the integers, by the names of values, among them such as the graph will not have.
    pub(super) fn quantization(&self) -> Quantization {
        let name = |id: Id| self.draft.name(id).to_owned();
        Quantization {
            activations: self.roundings.iter().map(|(&id, &rounding)| (name(id), rounding)).collect(),
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
