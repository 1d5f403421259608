//! Int8 execution against the QDQ file, layer by layer and end to end.

use super::elements::Elements;
use super::runner::Runner;
use super::{VerifyError, argmax, distinct, fraction, to_channels_first};
use crate::quant::{Cause, Exact};
use crate::tensor::Tensor;
use rayon::prelude::*;
use serde::Serialize;
use skipstone_onnx::extract::extract;
use skipstone_onnx::proto::{DataType, Dim, ModelProto, ValueInfoProto};

/// An int8 tensor that exists in our engine and, quantized, in the QDQ file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TracedTensor {
    /// Its name in the QDQ file.
    pub name: String,
    /// Dimensions of one image: `[C, H, W]` or `[features]`.
    pub dims: Vec<usize>,
}

/// A step of our engine and the tensors between which it stands; indices into the traced tensors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TracedLayer {
    /// The layer's name, for reports.
    pub name: String,
    /// What it reads.
    pub inputs: Vec<usize>,
    /// What it makes.
    pub output: usize,
}

/// An element of a layer's output that is not tract's on the same inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Index of the layer; none for the image, which is rounded before the first.
    pub layer: Option<usize>,
    /// Index of the image in its batch.
    pub image: usize,
    /// Row, column and channel.
    pub at: [usize; 3],
}

/// How our int8 execution compares to tract's of the QDQ file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Int8Agreement {
    /// Part of the int8 elements that are equal, each layer on the same inputs.
    pub int8_exact_fraction: f64,
    /// Largest difference of two elements, each layer on the same inputs.
    pub int8_max_steps: u32,
    /// Largest distance from a tie, in steps, of an element that differs, each layer on the same inputs.
    pub int8_tie_distance: f64,
    /// Elements that differ because they are ties, each layer on the same inputs: integers round them up, the file to
    /// even.
    pub int8_ties: u64,
    /// Elements that differ, each layer on the same inputs, and are farther from a tie than float32 can be wrong, or on
    /// its wrong side. Pixels count as well.
    pub int8_unexplained: u64,
    /// Part of the int8 elements that are equal where each side goes on from its own.
    pub int8_end_to_end_fraction: f64,
    /// Part of the images with the same label, end to end.
    pub int8_top1_agreement: f64,
    /// Number of images.
    pub count: usize,
    /// The rounded image.
    #[serde(skip)]
    pub image: LayerAgreement,
    /// Each layer on the same inputs.
    #[serde(skip)]
    pub layers: Vec<LayerAgreement>,
}

/// How one layer compares on the same inputs.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LayerAgreement {
    /// The layer.
    pub name: String,
    /// Elements compared.
    pub elements: u64,
    /// Elements that differ.
    pub different: u64,
    /// Elements that differ because they are ties.
    pub ties: u64,
    /// The largest difference.
    pub max_steps: u32,
    /// The largest distance from a tie, in steps, of an element that differs.
    pub tie_distance: f64,
    /// Elements that differ and are farther from a tie than float32 can be wrong, on its wrong side, or were never to
    /// be rounded.
    pub unexplained: u64,
}

/// An element that differs, and what both sides made of it.
struct Unequal {
    /// Index of the image in its batch.
    image: usize,
    /// Row, column and channel.
    at: [usize; 3],
    sides: [i8; 2],
}

impl LayerAgreement {
    /// Whether two elements are equal.
    fn add(&mut self, ours: i8, theirs: i8) -> bool {
        let steps = u32::from(ours.abs_diff(theirs));
        self.elements += 1;
        self.different += u64::from(steps > 0);
        self.max_steps = self.max_steps.max(steps);
        steps == 0
    }

    /// Says what the value of an element that differs is before it is rounded.
    fn explain(&mut self, unequal: &Unequal, exact: Option<Exact>) {
        let [ours, theirs] = unequal.sides;
        self.tie_distance = self.tie_distance.max(exact.map_or(0.5, |exact| exact.from_tie()));
        match exact.map_or(Cause::Unexplained, |exact| exact.cause(ours, theirs)) {
            Cause::Tie => self.ties += 1,
            Cause::Float32 => {}
            Cause::Unexplained => self.unexplained += 1,
        }
    }

    /// Elements that differ because float32 is not exact.
    pub fn float32(&self) -> u64 {
        self.different - self.ties - self.unexplained
    }
}

/// Compares batch after batch of images.
pub struct Int8Check {
    tensors: Vec<TracedTensor>,
    layers: Vec<(TracedLayer, Runner, LayerAgreement)>,
    whole: Runner,
    /// The tensor that no layer makes.
    input: Option<usize>,
    image: LayerAgreement,
    end_to_end: LayerAgreement,
    same_label: u64,
    count: usize,
}

impl Int8Check {
    /// Cuts the QDQ file into the traced layers. The last layer's output holds the scores.
    ///
    /// # Errors
    /// [`VerifyError`] if the file is damaged or does not hold the tensors as traced.
    pub fn new(
        qdq: &[u8],
        input_dims: [usize; 3],
        tensors: Vec<TracedTensor>,
        layers: Vec<TracedLayer>,
    ) -> Result<Self, VerifyError> {
        let model = ModelProto::from_bytes(qdq)?;
        if layers.is_empty() {
            return Err(VerifyError::Mismatch("no layer was traced".into()));
        }
        let layers = layers
            .into_iter()
            .map(|mut layer| {
                let runner = cut(&model, &tensors, &mut layer)?;
                let agreement = LayerAgreement { name: layer.name.clone(), ..LayerAgreement::default() };
                Ok((layer, runner, agreement))
            })
            .collect::<Result<Vec<_>, VerifyError>>()?;
        let input = (0..tensors.len()).find(|&index| layers.iter().all(|(layer, ..)| layer.output != index));
        let whole = Runner::new("the QDQ file", with_outputs(model, &tensors), vec![input_dims.to_vec()]);
        let image = LayerAgreement { name: "image".into(), ..LayerAgreement::default() };
        Ok(Self {
            tensors,
            layers,
            whole,
            input,
            image,
            end_to_end: LayerAgreement::default(),
            same_label: 0,
            count: 0,
        })
    }

    /// Compares a batch of `images` (`[N, H, W, C]`, normalized). `traced` holds what our engine made of them: for each
    /// traced tensor its elements, image after image, channels last and without padding. The last rows of a map may be
    /// missing, the same of each image: those that nothing reads and our engine therefore does not make. They are not
    /// compared. `exact` tells for an element that differs what it is before it is rounded; nothing, if it is not.
    ///
    /// # Errors
    /// [`VerifyError`] if tract cannot run a layer, or sizes differ.
    pub fn add(
        &mut self,
        images: &Tensor,
        traced: &[Vec<i8>],
        exact: &(dyn Fn(Difference) -> Option<Exact> + Sync),
    ) -> Result<(), VerifyError> {
        let count = images.batch();
        if traced.len() != self.tensors.len() {
            return Err(VerifyError::Mismatch(format!("{} tensors traced of {}", traced.len(), self.tensors.len())));
        }
        let mut ours = Vec::with_capacity(traced.len());
        for (tensor, data) in self.tensors.iter().zip(traced) {
            ours.push(Made::new(tensor, count, data)?);
        }
        self.layers.par_iter_mut().enumerate().try_for_each(|(index, (layer, runner, agreement))| {
            let inputs: Vec<Elements> = layer.inputs.iter().map(|&i| Elements::I8(ours[i].elements.clone())).collect();
            let output = &self.tensors[layer.output];
            let theirs = int8(runner.run(count, &inputs)?.swap_remove(0), output)?;
            for unequal in compare(agreement, output, &ours[layer.output], &theirs)? {
                let (image, at) = (unequal.image, unequal.at);
                agreement.explain(&unequal, exact(Difference { layer: Some(index), image, at }));
            }
            Ok::<(), VerifyError>(())
        })?;
        self.add_end_to_end(images, &ours, exact)
    }

    /// The figures over all batches.
    pub fn finish(self) -> Int8Agreement {
        let layers: Vec<LayerAgreement> = self.layers.into_iter().map(|(_, _, agreement)| agreement).collect();
        let elements: u64 = layers.iter().map(|layer| layer.elements).sum();
        let different: u64 = layers.iter().map(|layer| layer.different).sum();
        Int8Agreement {
            int8_exact_fraction: fraction(elements - different, elements),
            int8_max_steps: layers.iter().map(|layer| layer.max_steps).max().unwrap_or_default(),
            int8_tie_distance: layers.iter().map(|layer| layer.tie_distance).fold(0.0, f64::max),
            int8_ties: layers.iter().map(|layer| layer.ties).sum(),
            int8_unexplained: layers.iter().chain([&self.image]).map(|layer| layer.unexplained).sum(),
            int8_end_to_end_fraction: fraction(
                self.end_to_end.elements - self.end_to_end.different,
                self.end_to_end.elements,
            ),
            int8_top1_agreement: fraction(self.same_label, self.count as u64),
            count: self.count,
            image: self.image,
            layers,
        }
    }

    fn add_end_to_end(
        &mut self,
        images: &Tensor,
        ours: &[Made],
        exact: &(dyn Fn(Difference) -> Option<Exact> + Sync),
    ) -> Result<(), VerifyError> {
        let count = images.batch();
        let &[_, height, width, channels] = images.dims() else {
            let dims = images.dims();
            return Err(VerifyError::Mismatch(format!("images have dimensions {dims:?}, must be [N, H, W, C]")));
        };
        let input = Elements::F32(to_channels_first(images.data(), &[channels, height, width]));
        let theirs = self.whole.run(count, &[input])?;
        let scores = self.layers.last().map(|(layer, _, _)| layer.output);
        for (index, (theirs, tensor)) in theirs.into_iter().zip(&self.tensors).enumerate() {
            let theirs = int8(theirs, tensor)?;
            compare(&mut self.end_to_end, tensor, &ours[index], &theirs)?;
            if Some(index) == self.input {
                for unequal in compare(&mut self.image, tensor, &ours[index], &theirs)? {
                    let (image, at) = (unequal.image, unequal.at);
                    self.image.explain(&unequal, exact(Difference { layer: None, image, at }));
                }
            }
            if Some(index) == scores {
                let classes = tensor.dims.iter().product();
                let labels = |data: &[i8]| data.chunks_exact(classes).map(argmax).collect::<Vec<usize>>();
                let same =
                    labels(&ours[index].elements).into_iter().zip(labels(&theirs)).filter(|(a, b)| a == b).count();
                self.same_label += same as u64;
            }
        }
        self.count += count;
        Ok(())
    }
}

/// Cuts a layer out of the QDQ file `model`.
fn cut(model: &ModelProto, tensors: &[TracedTensor], layer: &mut TracedLayer) -> Result<Runner, VerifyError> {
    layer.inputs = distinct(&layer.inputs);
    let inputs: Vec<ValueInfoProto> = layer.inputs.iter().map(|&i| value_info(&tensors[i])).collect();
    let part = extract(model, &inputs, value_info(&tensors[layer.output]))
        .map_err(|source| VerifyError::Extract { layer: layer.name.clone(), source })?;
    let dims = layer.inputs.iter().map(|&i| tensors[i].dims.clone()).collect();
    Ok(Runner::new(format!("layer `{}` of the QDQ file", layer.name), part, dims))
}

/// A tensor of a batch as our engine made it, channels first.
struct Made {
    elements: Vec<i8>,
    /// Elements of a channel, and how many of them were made: those of the first rows.
    plane: [usize; 2],
}

impl Made {
    /// `data` are the elements of `count` images, channels last.
    fn new(tensor: &TracedTensor, count: usize, data: &[i8]) -> Result<Self, VerifyError> {
        let expected = count * tensor.dims.iter().product::<usize>();
        let (channels, height, width) = match *tensor.dims {
            [channels, height, width] => (channels, height, width),
            _ => (1, 1, tensor.dims.iter().product()),
        };
        let row = count * channels * width;
        if data.len() > expected || data.is_empty() != (expected == 0) || !data.len().is_multiple_of(row.max(1)) {
            let (name, len) = (&tensor.name, data.len());
            return Err(VerifyError::Mismatch(format!("`{name}` has {len} elements, must have {expected}")));
        }
        let rows = data.len() / row.max(1);
        let mut whole = Vec::with_capacity(expected);
        for image in data.chunks(channels * rows * width) {
            whole.extend_from_slice(image);
            whole.resize(whole.len() + channels * (height - rows) * width, 0);
        }
        Ok(Self { elements: to_channels_first(&whole, &tensor.dims), plane: [height * width, rows * width] })
    }
}

/// Adds all elements that were made, and gives those that differ.
fn compare(
    agreement: &mut LayerAgreement,
    tensor: &TracedTensor,
    ours: &Made,
    theirs: &[i8],
) -> Result<Vec<Unequal>, VerifyError> {
    if ours.elements.len() != theirs.len() {
        let (name, ours, theirs) = (&tensor.name, ours.elements.len(), theirs.len());
        return Err(VerifyError::Mismatch(format!("`{name}` has {ours} elements, tract computes {theirs}")));
    }
    let [all, made] = ours.plane;
    let (channels, width) = match *tensor.dims {
        [channels, _, width] => (channels, width.max(1)),
        _ => (1, all.max(1)),
    };
    let mut different = Vec::new();
    let planes = ours.elements.chunks(all.max(1)).zip(theirs.chunks(all.max(1)));
    for (plane, (ours, theirs)) in planes.enumerate() {
        for (index, (&ours, &theirs)) in ours[..made].iter().zip(&theirs[..made]).enumerate() {
            if !agreement.add(ours, theirs) {
                let at = [index / width, index % width, plane % channels];
                different.push(Unequal { image: plane / channels, at, sides: [ours, theirs] });
            }
        }
    }
    Ok(different)
}

fn int8(elements: Elements, tensor: &TracedTensor) -> Result<Vec<i8>, VerifyError> {
    match elements {
        Elements::I8(data) => Ok(data),
        Elements::F32(_) => Err(VerifyError::Mismatch(format!("`{}` is float32 in the QDQ file", tensor.name))),
    }
}

/// The tensor as an input or output of a part of the file, for any number of images.
fn value_info(tensor: &TracedTensor) -> ValueInfoProto {
    let dims: Vec<Dim> = [Dim::Symbol("N")].into_iter().chain(tensor.dims.iter().map(|&dim| Dim::Fixed(dim))).collect();
    ValueInfoProto::tensor(&tensor.name, DataType::Int8, &dims)
}

/// The model with the traced tensors as its outputs.
fn with_outputs(mut model: ModelProto, tensors: &[TracedTensor]) -> ModelProto {
    if let Some(graph) = &mut model.graph {
        graph.output = tensors.iter().map(value_info).collect();
    }
    model
}
