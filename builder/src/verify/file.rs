//! Our layers against those of the quantized file of others that they come from, on the values that the file itself
//! makes.
//!
//! tract runs the file once and shows every tensor that it rounds. Each of our layers, as its part of our QDQ file up
//! to the rounding, then gets the real values that the file's layer got, and has to come to a value that rounds to what
//! the file's layer made. So weights, biases, and what is computed are compared, whatever scales we round by; how the
//! engine rounds is the matter of [`Int8Check`](super::Int8Check).

use super::elements::Elements;
use super::layers::Layers;
use super::runner::Runner;
use super::{VerifyError, argmax, distinct, fraction, to_channels_first};
use crate::quant::{Function, QGraph, QOp, QTensor, quantized_name};
use crate::tensor::Tensor;
use rayon::prelude::*;
use serde::Serialize;
use skipstone_onnx::QuantParams;
use skipstone_onnx::extract::extract;
use skipstone_onnx::import::{RoundedTensor, as_pairs};
use skipstone_onnx::proto::{DataType, Dim, ModelProto, ValueInfoProto};
use std::collections::HashMap;

/// How far beyond half a step of the file a value may be from the integer that the file makes of it, in steps: float32,
/// and biases in other units.
const SLACK: f64 = 1.0 / 64.0;

/// A quantized file, and what its import found in it.
pub struct QuantizedFile<'f> {
    /// The file.
    pub model: &'f ModelProto,
    /// Whether its input is `[N, H, W, C]`.
    pub channels_last: bool,
    /// The tensor that holds the scores.
    pub scores: &'f str,
    /// Where it holds the values that it rounds.
    pub rounded: &'f [RoundedTensor],
}

/// How our layers compare to those of the file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FileAgreement {
    /// Layers that are compared; the rounding of the image is one.
    pub file_layers: usize,
    /// Elements that the file rounds to another integer than our value is nearest to, by more than float32 can be
    /// wrong.
    pub file_unexplained: u64,
    /// Elements that differ by no more than weights that were rounded anew explain.
    pub file_rerounded: u64,
    /// Part of the images with the same label, end to end.
    pub file_top1_agreement: f64,
    /// Each layer that is compared.
    #[serde(skip)]
    pub layers: Vec<FileLayer>,
    /// Tensors that our integers round by another scale or zero point than the file.
    #[serde(skip)]
    pub rescaled: Vec<String>,
    /// Those of them whose integers do not hold all numbers that the file's do.
    pub file_clipped: Vec<String>,
}

/// How one layer compares.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct FileLayer {
    /// The layer.
    pub name: String,
    /// Elements compared.
    pub elements: u64,
    /// Elements that the file rounds otherwise.
    pub unexplained: u64,
    /// Elements that it rounds otherwise because our weights were rounded anew.
    pub rerounded: u64,
    /// The farthest that a value is from the integer that the file makes of it, in steps of the file; of the integers
    /// at the ends none.
    pub distance: f64,
}

/// Compares batch after batch of images.
pub struct FileCheck<'q> {
    layers: &'q Layers<'q>,
    /// Our layers up to the rounding, and what they read.
    runners: Vec<(Vec<usize>, Runner)>,
    agreements: Vec<FileLayer>,
    image: FileLayer,
    file: Runner,
    channels_last: bool,
    /// For each tensor where the file has it: which of its outputs, and the places of the elements.
    found: Vec<Option<(usize, Option<Vec<usize>>)>>,
    /// For each layer how far its channels may be apart because weights were rounded anew, in real numbers.
    bounds: Vec<Vec<f64>>,
    same_label: u64,
    count: usize,
}

impl<'q> FileCheck<'q> {
    /// Of our network, whose QDQ file is `qdq`, with `file`; `rerounding` are the
    /// [`rerounding_bounds`](crate::quant::rerounding_bounds) of our weights.
    ///
    /// # Errors
    /// [`VerifyError`] if the QDQ file does not hold the layers, or values that the file rounds are not found in it.
    pub fn new(
        layers: &'q Layers<'q>,
        qdq: &ModelProto,
        file: &QuantizedFile<'_>,
        rerounding: &HashMap<String, Vec<f64>>,
    ) -> Result<Self, VerifyError> {
        let mut outputs: Vec<&str> = Vec::new();
        let mut found = Vec::new();
        let qgraph = layers.qgraph;
        for (index, map) in layers.maps.iter().enumerate() {
            let rounded = file.rounded.iter().find(|tensor| tensor.value == map.name);
            let (name, places) = match rounded {
                Some(tensor) => (tensor.tensor.as_str(), tensor.places.clone()),
                // What reads it shows whether it is right.
                None if requantizes(qgraph, index) => {
                    found.push(None);
                    continue;
                }
                None if rounding(layers, map).is_some() => {
                    let reason = format!("`{}` is not found again in the file, which rounds it", map.name);
                    return Err(VerifyError::Mismatch(reason));
                }
                None if index == qgraph.output => (file.scores, None),
                None => {
                    found.push(None);
                    continue;
                }
            };
            let output = outputs.iter().position(|known| *known == name).unwrap_or(outputs.len());
            if output == outputs.len() {
                outputs.push(name);
            }
            found.push(Some((output, places)));
        }
        let mut model = as_pairs(file.model.clone());
        if let Some(graph) = &mut model.graph {
            graph.output = outputs.iter().map(|name| ValueInfoProto::tensor(*name, DataType::Float, &[])).collect();
        }
        let [channels, height, width] = qgraph.tensors[qgraph.input].dims;
        let dims = if file.channels_last { vec![height, width, channels] } else { vec![channels, height, width] };
        let agreement = |name: &str| FileLayer { name: name.into(), ..FileLayer::default() };
        Ok(Self {
            layers,
            runners: (0..layers.layers().len())
                .map(|layer| real_layer(layers, qdq, layer))
                .collect::<Result<_, _>>()?,
            agreements: layers.layers().iter().map(|layer| agreement(&layer.name)).collect(),
            image: agreement("image"),
            file: Runner::new("the quantized file", model, vec![dims]),
            channels_last: file.channels_last,
            found,
            bounds: (layers.layers().iter())
                .map(|layer| rerounding.get(&layer.name).cloned().unwrap_or_default())
                .collect(),
            same_label: 0,
            count: 0,
        })
    }

    /// Compares a batch of `images` (`[N, H, W, C]`, normalized), of which our engine made `traced`, as
    /// [`Layers::values`] has it: the scores are looked at.
    ///
    /// # Errors
    /// [`VerifyError`] if tract cannot run the file or a layer.
    pub fn add(&mut self, images: &Tensor, traced: &[Vec<i8>]) -> Result<(), VerifyError> {
        let (count, qgraph) = (images.batch(), self.layers.qgraph);
        let &[_, height, width, channels] = images.dims() else {
            let dims = images.dims();
            return Err(VerifyError::Mismatch(format!("images have dimensions {dims:?}, must be [N, H, W, C]")));
        };
        let image = to_channels_first(images.data(), &[channels, height, width]);
        let input = if self.channels_last { images.data().to_vec() } else { image.clone() };
        let outputs = self.file.run(count, &[Elements::F32(input)])?;
        // Of each tensor what the file makes, channels first.
        let mut values: Vec<Option<Vec<f32>>> = Vec::with_capacity(self.found.len());
        for (map, found) in self.layers.maps.iter().zip(&self.found) {
            let reals = found.as_ref().map(|(output, places)| {
                reals(map, rounding(self.layers, map), &outputs[*output], places.as_deref(), count)
            });
            values.push(reals.transpose()?);
        }
        match &values[qgraph.input] {
            Some(theirs) => {
                let map = &qgraph.tensors[qgraph.input];
                self.image.add(map, rounding(self.layers, map), &[], &image, theirs);
            }
            None => values[qgraph.input] = Some(image),
        }
        // What the file does not round follows from what it does.
        let layers = self.layers;
        for (layer, (inputs, runner)) in layers.layers().iter().zip(&mut self.runners) {
            if values[layer.output].is_none() {
                values[layer.output] = Some(run(runner, inputs, &values, count)?);
            }
        }
        let work = layers.layers().par_iter().zip(&mut self.runners).zip(&mut self.agreements).zip(&self.bounds);
        work.filter(|(((layer, _), _), _)| self.found[layer.output].is_some()).try_for_each(
            |(((layer, (inputs, runner)), agreement), bounds)| {
                let ours = run(runner, inputs, &values, count)?;
                let map = layers.maps[layer.output];
                let theirs = values[layer.output].as_deref().unwrap_or_default();
                agreement.add(map, rounding(layers, map), bounds, &ours, theirs);
                Ok::<(), VerifyError>(())
            },
        )?;
        if let Some(theirs) = &values[qgraph.output] {
            let classes = theirs.len() / count;
            let pairs = traced[qgraph.output].chunks_exact(classes).zip(theirs.chunks_exact(classes));
            self.same_label += pairs.filter(|(ours, theirs)| argmax(ours) == argmax(theirs)).count() as u64;
        }
        self.count += count;
        Ok(())
    }

    /// The figures over all batches.
    pub fn finish(self) -> FileAgreement {
        let layers: Vec<FileLayer> =
            [self.image].into_iter().chain(self.agreements).filter(|layer| layer.elements > 0).collect();
        let other = |map: &QTensor| rounding(self.layers, map).filter(|own| *own != map.params);
        let names = |maps: Vec<&&QTensor>| maps.into_iter().map(|map| map.name.clone()).collect();
        let rescaled = self.layers.maps.iter().filter(|map| other(map).is_some()).collect();
        // The image's integers hold all pixels, which are compared themselves.
        let image = &self.layers.qgraph.tensors[self.layers.qgraph.input].name;
        let clips = |map: &&&QTensor| other(map).is_some_and(|own| !holds(map.params, own)) && map.name != *image;
        let clipped = self.layers.maps.iter().filter(clips).collect();
        FileAgreement {
            file_layers: layers.len(),
            file_unexplained: layers.iter().map(|layer| layer.unexplained).sum(),
            file_rerounded: layers.iter().map(|layer| layer.rerounded).sum(),
            file_top1_agreement: fraction(self.same_label, self.count as u64),
            rescaled: names(rescaled),
            file_clipped: names(clipped),
            layers,
        }
    }
}

impl FileLayer {
    /// Adds our values before they are rounded, and those that the file has rounded. `bounds` is how far each channel
    /// may be off because its weights were rounded anew; nothing where none were.
    fn add(&mut self, map: &QTensor, rounding: Option<QuantParams>, bounds: &[f64], ours: &[f32], theirs: &[f32]) {
        // Scores may be no integers.
        let scale = f64::from(rounding.map_or(map.params.scale, |rounding| rounding.scale));
        let half = if rounding.is_some() { 0.5 } else { 0.0 };
        let area = map.dims[1] * map.dims[2];
        for (index, (&ours, &theirs)) in ours.iter().zip(theirs).enumerate() {
            let apart = (f64::from(ours) - f64::from(theirs)) / scale;
            let q = rounding.map(|r| (f64::from(theirs) / scale).round() + f64::from(r.zero_point));
            let beyond = (q == Some(-128.0) && apart < 0.0) || (q == Some(127.0) && apart > 0.0);
            self.elements += 1;
            // A NaN is far away.
            let near = apart.abs() <= half + SLACK;
            let bound = bounds.get(index / area % map.dims[0]).map_or(0.0, |bound| bound / scale);
            let rerounded = apart.abs() <= half + SLACK + bound;
            self.unexplained += u64::from(!(near || beyond || rerounded));
            self.rerounded += u64::from(!(near || beyond) && rerounded);
            if !beyond {
                self.distance = self.distance.max(apart.abs());
            }
        }
    }
}

/// Whether the numbers that `theirs` stands for lie among those that `ours` does, but for the half a step by which a range
/// that several tensors share may be nudged. Then rounding by `ours` clips nothing, and 0 is 0 in both.
fn holds(ours: QuantParams, theirs: QuantParams) -> bool {
    let range = |params: QuantParams| {
        [i8::MIN, i8::MAX].map(|q| f64::from(params.scale) * f64::from(i16::from(q) - i16::from(params.zero_point)))
    };
    let ([least, most], [low, high]) = (range(ours), range(theirs));
    let nudge = (0.5 + SLACK) * f64::from(ours.scale);
    low >= least - nudge && high <= most + nudge
}

/// Whether a tensor holds the integers of another one on other steps, which is no tensor of the file: the file rounds
/// only what becomes of several of them.
fn requantizes(qgraph: &QGraph, tensor: usize) -> bool {
    let moves = |op: &QOp| matches!(op, QOp::Lookup { function: Function::Clip { .. }, .. } | QOp::Copy(_));
    qgraph.nodes.iter().any(|node| node.output == tensor && moves(&node.op))
}

/// How the file rounds a tensor.
fn rounding(layers: &Layers<'_>, map: &QTensor) -> Option<QuantParams> {
    layers.qgraph.metadata.quantization.activations.get(&map.name).copied()
}

/// A tensor of the file as real numbers, channels first.
fn reals(
    map: &QTensor,
    rounding: Option<QuantParams>,
    elements: &Elements,
    places: Option<&[usize]>,
    count: usize,
) -> Result<Vec<f32>, VerifyError> {
    let values = match (elements, rounding) {
        (Elements::F32(reals), _) => reals.clone(),
        (Elements::I8(ints), Some(QuantParams { scale, zero_point })) => {
            ints.iter().map(|&q| (f32::from(q) - f32::from(zero_point)) * scale).collect()
        }
        (Elements::I8(_), None) => {
            return Err(VerifyError::Mismatch(format!("the file has integers of `{}` without a scale", map.name)));
        }
    };
    let len: usize = map.dims.iter().product();
    if values.len() != count * len {
        let (has, name) = (values.len(), &map.name);
        return Err(VerifyError::Mismatch(format!("the file has {has} elements of `{name}`, not {}", count * len)));
    }
    let Some(places) = places else { return Ok(values) };
    let mut sorted = vec![0.0; values.len()];
    for (image, sorted) in values.chunks_exact(len).zip(sorted.chunks_exact_mut(len)) {
        places.iter().zip(image).for_each(|(&place, &value)| sorted[place] = value);
    }
    Ok(sorted)
}

/// A layer of the QDQ file between the real values of what it reads and of what it makes, before that is rounded.
fn real_layer(layers: &Layers<'_>, qdq: &ModelProto, layer: usize) -> Result<(Vec<usize>, Runner), VerifyError> {
    let layer = &layers.layers()[layer];
    let nodes = qdq.graph.as_ref().map_or(&[][..], |graph| &graph.node);
    let of = |op: &str, index: usize, at: fn(&skipstone_onnx::proto::NodeProto) -> [&String; 2]| {
        let name = quantized_name(layers.maps[index]);
        let found = nodes.iter().filter(|node| node.op_type == op).map(at).find(|[integers, _]| **integers == name);
        let [_, real] = found.ok_or_else(|| VerifyError::Mismatch(format!("the QDQ file does not round `{name}`")))?;
        let dims: Vec<Dim<'_>> =
            [Dim::Symbol("N")].into_iter().chain(layers.maps[index].dims.map(Dim::Fixed)).collect();
        Ok(ValueInfoProto::tensor(real, DataType::Float, &dims))
    };
    let inputs = distinct(&layer.inputs);
    let infos = (inputs.iter())
        .map(|&index| of("DequantizeLinear", index, |node| [&node.input[0], &node.output[0]]))
        .collect::<Result<Vec<_>, VerifyError>>()?;
    let output = of("QuantizeLinear", layer.output, |node| [&node.output[0], &node.input[0]])?;
    let part =
        extract(qdq, &infos, output).map_err(|source| VerifyError::Extract { layer: layer.name.clone(), source })?;
    let dims = inputs.iter().map(|&index| layers.maps[index].dims.to_vec()).collect();
    Ok((inputs, Runner::new(format!("layer `{}` of the QDQ file", layer.name), part, dims)))
}

/// What a layer makes, channels first.
fn run(
    runner: &mut Runner,
    inputs: &[usize],
    values: &[Option<Vec<f32>>],
    count: usize,
) -> Result<Vec<f32>, VerifyError> {
    let inputs = inputs.iter().map(|&index| Elements::F32(values[index].clone().unwrap_or_default()));
    match runner.run(count, &inputs.collect::<Vec<_>>())?.swap_remove(0) {
        Elements::F32(reals) => Ok(reals),
        Elements::I8(_) => Err(VerifyError::Mismatch("a layer's result is rounded already".into())),
    }
}
