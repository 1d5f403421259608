//! The float network and the ranges of its activations, turned into integers.

mod affine;
mod conv;
mod scales;

use super::channels::{is_odd, separate_concats};
use super::fuse::{Clamp, Fused, Step, StepOp, fuse, map_dims};
use super::given;
use super::graph::{Function, QAffine, QConv, QCopy, QGraph, QNode, QOp, QPrologue, QTensor};
use super::image::{quantize_image, quantize_image_by};
use super::ranges::Ranges;
use super::span::{scale_of, zero_point_of};
use super::{QuantError, TensorIndex};
use scales::{Source, TensorScales};
use skipstone_onnx::{Graph, QuantParams, ValueId};
use skipstone_runtime::arith::Requant;
use std::collections::{HashMap, HashSet};

/// How far below a limit raised scales keep the multipliers, against the rounding of scales to float32.
const MARGIN: f64 = 1.0 + 1.0 / 65536.0;

/// Quantizes a network whose batch normalizations are folded where they can be, given the ranges of its activations.
///
/// Where the network's file was quantized by others, scales, zero points and integers are the file's; ranges are needed
/// for activations that it does not round.
///
/// # Errors
/// [`QuantError`] for operators without an integer form, parameters or activations that are not finite, an unknown or
/// unusable normalization, and sums that could overflow.
pub fn lower(graph: &Graph, ranges: &Ranges) -> Result<QGraph, QuantError> {
    let scales: Scales<'_> = &|values, smallest| {
        if let &[value] = values
            && let Some(rounding) = given::rounding(graph, value)
        {
            return Ok(rounding);
        }
        let range = ranges.union(values).ok_or(QuantError::NoImages)?;
        if !(range.0.is_finite() && range.1.is_finite()) {
            let is_odd =
                |value: &&ValueId| ranges.get(**value).is_none_or(|(lo, hi)| !(lo.is_finite() && hi.is_finite()));
            let odd = values.iter().find(is_odd).unwrap_or(&values[0]);
            return Err(QuantError::NonFiniteActivation { name: graph.value(*odd).name.clone() });
        }
        let scale = f64::from(scale_of(range)).max(smallest) as f32;
        Ok(QuantParams { scale, zero_point: zero_point_of(range, scale) })
    };
    lower_by(graph, &Source::Measured(scales))
}

/// What is known of a quantization that was made before.
pub trait Known {
    /// Scale and zero point of an activation.
    fn tensor(&self, name: &str) -> Option<QuantParams>;

    /// Where [`tensor`](Self::tensor) does not know what the prologue of a convolution gives: its conversions in the order
    /// of channels, some of which may only pad, and the zero point after them.
    fn prologue(&self, _conv: &str) -> Option<(Vec<Requant>, i8)> {
        None
    }
}

impl<T: Known + ?Sized> Known for &T {
    fn tensor(&self, name: &str) -> Option<QuantParams> {
        (**self).tensor(name)
    }

    fn prologue(&self, conv: &str) -> Option<(Vec<Requant>, i8)> {
        (**self).prologue(conv)
    }
}

impl Known for [(String, QuantParams)] {
    fn tensor(&self, name: &str) -> Option<QuantParams> {
        self.iter().find(|(known, _)| known == name).map(|(_, params)| *params)
    }
}

/// As [`lower`], with scales and zero points of before: those of a packed model, to get its integers back from the network
/// that it was made from, or those that a network was trained for.
///
/// # Errors
/// As [`lower`], and [`QuantError::NoScale`] naming an activation that is not known.
pub fn lower_with_scales(graph: &Graph, known: &(impl Known + ?Sized)) -> Result<QGraph, QuantError> {
    lower_by(graph, &Source::Known(&known))
}

/// Gives scale and zero point of activations that share them. The scale must be at least a number.
type Scales<'s> = &'s dyn Fn(&[ValueId], f64) -> Result<QuantParams, QuantError>;

fn lower_by(graph: &Graph, source: &Source<'_>) -> Result<QGraph, QuantError> {
    check_parameters(graph)?;
    let fused = fuse(graph)?;
    let dims = map_dims(graph, fused.input);
    let normalization = graph.metadata.normalization.as_ref().ok_or(QuantError::NoNormalization)?;
    let image = match given::rounding(graph, fused.input) {
        Some(rounding) => quantize_image_by(normalization, dims[0], rounding)?,
        None => quantize_image(normalization, dims[0])?,
    };
    let name = graph.value(fused.input).name.clone();
    let input = QTensor { name, dims, params: image.params };

    let scales = TensorScales::choose(graph, &fused, source, image.params)?;
    let mut lowering = Lowering {
        graph,
        scales,
        indices: HashMap::from([(fused.input, 0)]),
        tensors: vec![input],
        nodes: Vec::new(),
        names: graph
            .values()
            .iter()
            .map(|value| &value.name)
            .chain(graph.nodes().iter().map(|node| &node.name))
            .cloned()
            .collect(),
        image: fused.input,
        padded: None,
        rescaled: HashMap::new(),
    };
    for step in &fused.steps {
        lowering.step(step)?;
    }
    let output = lowering.indices[&fused.output];
    check_scores(&fused, &lowering.tensors[output])?;
    let (tensors, nodes) = (std::mem::take(&mut lowering.tensors), std::mem::take(&mut lowering.nodes));
    let mut qgraph = QGraph {
        name: graph.name.clone(),
        tensors,
        nodes,
        input: 0,
        output,
        metadata: graph.metadata.clone(),
        pixels: image.pixels,
        macs: graph.macs(),
    };
    separate_concats(&mut qgraph, |name| lowering.fresh(name));
    for node in &qgraph.nodes {
        qgraph.requants(node)?;
        qgraph.prologue_requants(node)?;
    }
    Ok(qgraph)
}

struct Lowering<'g> {
    graph: &'g Graph,
    scales: TensorScales,
    indices: HashMap<ValueId, TensorIndex>,
    tensors: Vec<QTensor>,
    nodes: Vec<QNode>,
    /// Names in use, of the float network and of what it does not have.
    names: HashSet<String>,
    image: ValueId,
    /// The image with padded channels, for those who cannot read it as it is.
    padded: Option<TensorIndex>,
    /// Maps that were rounded to another scale.
    rescaled: HashMap<(TensorIndex, u32, i8), TensorIndex>,
}

impl Lowering<'_> {
    fn step(&mut self, step: &Step<'_>) -> Result<(), QuantError> {
        let params = self.scales.of(step.output);
        let mut input = self.read(step, step.input, matches!(step.op, StepOp::Conv | StepOp::Copy(_) | StepOp::Blocks));
        let mut operand = step.operand.map(|id| self.read(step, id, false));
        let name = self.graph.value(step.output).name.clone();
        let tensor = QTensor { name, dims: step.dims, params };
        let op = match &step.op {
            StepOp::Conv => QOp::Conv(self.conv(step, input)?),
            StepOp::Add => QOp::Add,
            StepOp::GlobalAveragePool => QOp::GlobalAveragePool,
            &StepOp::Copy(copy) => QOp::Copy(copy),
            StepOp::Affine => {
                QOp::Affine(affine::batch_norm(self.graph, step.node, self.tensors[input].params.scale, params.scale)?)
            }
            StepOp::MaxPool { window, count_include_pad } => {
                QOp::MaxPool { window: window.clone(), count_include_pad: *count_include_pad }
            }
            StepOp::AveragePool { window, count_include_pad } => {
                QOp::AveragePool { window: window.clone(), count_include_pad: *count_include_pad }
            }
            &StepOp::Lookup(function) => {
                QOp::Lookup { function, table: table(function, &self.tensors[input], &tensor) }
            }
            &StepOp::Gate { one_plus } => QOp::Gate { one_plus },
            StepOp::Resize(resize) => QOp::Resize(resize.clone()),
            StepOp::Concat => QOp::Concat,
            StepOp::L2Norm => QOp::L2Norm,
            StepOp::Blocks => QOp::Blocks,
            &StepOp::InstanceNorm { epsilon } => QOp::InstanceNorm { epsilon },
            &StepOp::GroupNorm { groups, epsilon } => QOp::GroupNorm { groups, epsilon },
        };
        // All but the last map of a concatenation first.
        for (part, next) in (1..).zip(&step.rest) {
            let channels = self.tensors[input].dims[0] + operand.map_or(0, |index| self.tensors[index].dims[0]);
            let name = self.fresh(&format!("{}.part{part}", tensor.name));
            let dims = [channels, step.dims[1], step.dims[2]];
            let joined = self.tensors.len();
            self.tensors.push(QTensor { name, dims, ..tensor.clone() });
            let name = self.fresh(&format!("{}.part{part}", step.node.name));
            self.nodes.push(QNode { name, op: QOp::Concat, input, operand, output: joined, lo: i8::MIN, hi: i8::MAX });
            (input, operand) = (joined, Some(self.read(step, *next, false)));
        }
        let (lo, hi) = bounds(step.clamp, &tensor);
        let output = self.tensors.len();
        self.indices.insert(step.output, output);
        self.tensors.push(tensor);
        self.nodes.push(QNode { name: step.node.name.clone(), op, input, operand, output, lo, hi });
        Ok(())
    }

    /// What a step reads of a value: of the image a copy, unless it reads whatever channels there are; where a
    /// concatenation has another scale, the value rounded to that.
    fn read(&mut self, step: &Step<'_>, value: ValueId, reads_any: bool) -> TensorIndex {
        let mut index = self.indices[&value];
        if value == self.image && is_odd(&self.tensors[index]) && !reads_any {
            index = match self.padded {
                Some(padded) => padded,
                None => self.insert("padded", QOp::Copy(QCopy::WHOLE), index, self.scales.of(value)),
            };
            self.padded = Some(index);
        }
        let params = self.scales.of(step.output);
        if step.op != StepOp::Concat || self.scales.of(value) == params {
            return index;
        }
        let key = (index, params.scale.to_bits(), params.zero_point);
        if let Some(&known) = self.rescaled.get(&key) {
            return known;
        }
        let channels = self.tensors[index].dims[0];
        let affine = QAffine { factors: vec![1.0; channels], constants: vec![0.0; channels] };
        let rescaled = self.insert("rescaled", QOp::Affine(affine), index, params);
        self.rescaled.insert(key, rescaled);
        rescaled
    }

    /// Adds an operator that the float network does not have, and the map of the same shape that it makes.
    fn insert(&mut self, what: &str, op: QOp, input: TensorIndex, params: QuantParams) -> TensorIndex {
        let of = &self.tensors[input];
        let (of, dims) = (of.name.clone(), of.dims);
        let output = self.tensors.len();
        let [name, node] = [format!("{of}.{what}"), format!("{of}.{what}.node")].map(|name| self.fresh(&name));
        self.tensors.push(QTensor { name, dims, params });
        self.nodes.push(QNode { name: node, op, input, operand: None, output, lo: i8::MIN, hi: i8::MAX });
        output
    }

    fn conv(&self, step: &Step<'_>, input: TensorIndex) -> Result<QConv, QuantError> {
        let input = &self.tensors[input];
        let output_scale = self.scales.of(step.output).scale;
        let Some(prologue) = &step.prologue else {
            return Ok(conv::quantize(self.graph, step.node, input, output_scale));
        };
        let params = self.scales.of(prologue.value);
        let name = self.graph.value(prologue.value).name.clone();
        let tensor = QTensor { name, dims: input.dims, params };
        let affine = affine::batch_norm(self.graph, prologue.node, input.params.scale, params.scale)?;
        let (lo, hi) = bounds(prologue.clamp, &tensor);
        let conv = conv::quantize(self.graph, step.node, &tensor, output_scale);
        let prologue = QPrologue { name: prologue.node.name.clone(), affine, tensor, lo, hi };
        Ok(QConv { prologue: Some(Box::new(prologue)), ..conv })
    }

    fn fresh(&mut self, name: &str) -> String {
        let mut name = name.to_string();
        while !self.names.insert(name.clone()) {
            name.push('_');
        }
        name
    }
}

/// A clamp in steps of a tensor; what has no bound has those of int8.
fn bounds(clamp: Clamp, tensor: &QTensor) -> (i8, i8) {
    let steps = |x: f32| {
        let steps = tensor.params.steps(x.into());
        (steps + 0.5).floor().clamp(i8::MIN.into(), i8::MAX.into()) as i8
    };
    (steps(clamp.lo), steps(clamp.hi))
}

/// What a function gives for each int8 value of `input`, in steps of `output`, ties up. Where it has no value, that of the
/// next larger number for which it has one: roots and logarithms of numbers that rounding made negative.
fn table(function: Function, input: &QTensor, output: &QTensor) -> Vec<i8> {
    let value = |q: i8| function.at(input.params.real(q));
    let entry = |q: i8| {
        let known = (q..=i8::MAX).map(value).find(|value| !value.is_nan()).unwrap_or(0.0);
        let steps = output.params.steps(known);
        (steps + 0.5).floor().clamp(i8::MIN.into(), i8::MAX.into()) as i8
    };
    (i8::MIN..=i8::MAX).map(entry).collect()
}

fn check_parameters(graph: &Graph) -> Result<(), QuantError> {
    for (_, name, parameter) in graph.parameters() {
        if let Some(index) = parameter.tensor.data().iter().position(|x| !x.is_finite()) {
            let value = parameter.tensor.data()[index];
            return Err(QuantError::NonFiniteParameter { name: name.into(), index, value });
        }
    }
    Ok(())
}

fn check_scores(fused: &Fused<'_>, scores: &QTensor) -> Result<(), QuantError> {
    let [_, height, width] = scores.dims;
    if (height, width) == (1, 1) {
        return Ok(());
    }
    let node = fused.steps.last().map(|step| step.node).expect("scores are made by a step");
    let reason = format!("its {height}x{width} map is flattened into scores; a linear layer must follow it");
    Err(QuantError::Unsupported { node: node.name.clone(), op: node.op.name(), reason })
}

#[cfg(test)]
mod tests;
