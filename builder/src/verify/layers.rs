//! The layers of a quantized network as they can be compared: a convolution that reads through a batch normalization is
//! two, with the rounded tensor between them.

use super::int8::Difference;
use super::{Int8Check, TracedLayer, TracedTensor, VerifyError};
use crate::host::Trace;
use crate::pack::{Channels, PackError, channels};
use crate::quant::{Exact, Map, QGraph, QNode, QPrologue, QTensor, affine, exact, exact_pixel, quantized_name};
use crate::tensor::Tensor;

/// The tensors and layers of a quantized network.
pub struct Layers<'q> {
    pub(super) qgraph: &'q QGraph,
    channels: Vec<Channels>,
    /// The tensors, of which the network's own are first.
    pub(super) maps: Vec<&'q QTensor>,
    tensors: Vec<TracedTensor>,
    layers: Vec<TracedLayer>,
    /// What each layer does.
    works: Vec<Work<'q>>,
    /// For each node of the network the tensor after its prologue.
    after: Vec<Option<usize>>,
}

/// What a layer does.
enum Work<'q> {
    Node(&'q QNode),
    Prologue(&'q QPrologue),
}

impl<'q> Layers<'q> {
    /// Of `qgraph`.
    ///
    /// # Errors
    /// [`PackError`] if it cannot be packed.
    pub fn new(qgraph: &'q QGraph) -> Result<Self, PackError> {
        let traced = |tensor: &QTensor| TracedTensor { name: quantized_name(tensor), dims: tensor.dims.to_vec() };
        let mut maps: Vec<&QTensor> = qgraph.tensors.iter().collect();
        let mut tensors: Vec<TracedTensor> = qgraph.tensors.iter().map(traced).collect();
        let (mut layers, mut works, mut all_after) = (Vec::new(), Vec::new(), Vec::new());
        for node in &qgraph.nodes {
            let (mut input, mut after) = (node.input, None);
            if let Some(prologue) = node.op.prologue() {
                let name = prologue.name.clone();
                layers.push(TracedLayer { name, inputs: vec![input], output: tensors.len() });
                works.push(Work::Prologue(prologue));
                input = tensors.len();
                after = Some(input);
                tensors.push(traced(&prologue.tensor));
                maps.push(&prologue.tensor);
            }
            let inputs = [Some(input), node.operand].into_iter().flatten().collect();
            layers.push(TracedLayer { name: node.name.clone(), inputs, output: node.output });
            works.push(Work::Node(node));
            all_after.push(after);
        }
        Ok(Self { qgraph, channels: channels(qgraph)?, maps, tensors, layers, works, after: all_after })
    }

    /// A comparison with the QDQ file of the network.
    ///
    /// # Errors
    /// As [`Int8Check::new`].
    pub fn check(&self, qdq: &[u8]) -> Result<Int8Check, VerifyError> {
        let input_dims = self.qgraph.tensors[self.qgraph.input].dims;
        Int8Check::new(qdq, input_dims, self.tensors.clone(), self.layers.clone())
    }

    /// The int8 tensors, in the order of [`values`](Self::values).
    pub fn tensors(&self) -> &[TracedTensor] {
        &self.tensors
    }

    /// The layers.
    pub fn layers(&self) -> &[TracedLayer] {
        &self.layers
    }

    /// Adds a batch of `images` (`[N, H, W, C]`, normalized) to the comparison, and the [`values`](Self::values) that
    /// another engine made of them.
    ///
    /// # Errors
    /// As [`Int8Check::add`].
    pub fn compare(&self, check: &mut Int8Check, images: &Tensor, values: &[Vec<i8>]) -> Result<(), VerifyError> {
        check.add(images, values, &|difference| match difference.layer {
            Some(layer) => self.exact(values, images.batch(), layer, difference.image, difference.at),
            None => self.exact_pixel(images, difference),
        })
    }

    /// What our engine made: for each tensor the elements of all images, channels last and without padding.
    ///
    /// # Panics
    /// If the traces are of another network.
    pub fn values(&self, traces: &[Trace]) -> Vec<Vec<i8>> {
        let mut values = vec![Vec::new(); self.tensors.len()];
        for trace in traces {
            values[self.qgraph.input].extend(&trace.image);
            for ((node, after), made) in self.qgraph.nodes.iter().zip(&self.after).zip(&trace.nodes) {
                values[node.output].extend(self.channels[node.output].strip(&made.values));
                if let Some(after) = *after {
                    values[after].extend(self.channels[node.input].strip(&made.read));
                }
            }
        }
        values
    }

    /// The value of an element of the normalized `images` before it is rounded; nothing if the network does not say how
    /// pixels become its input.
    fn exact_pixel(&self, images: &Tensor, difference: Difference) -> Option<Exact> {
        let Difference { image, at: [y, x, c], .. } = difference;
        let normalization = self.qgraph.metadata.normalization.as_ref()?;
        let (mean, std) = (*normalization.mean.get(c)?, *normalization.std.get(c)?);
        let input = &self.qgraph.tensors[self.qgraph.input];
        let [channels, _, width] = input.dims;
        let normalized = images.image(image)[(y * width + x) * channels + c];
        let level = ((normalized * std + mean) * 255.0).round() as u8;
        Some(exact_pixel(level, mean, std, input))
    }

    /// The value, before it is rounded, that `layer` makes at row, column and channel of an image of `count`; nothing
    /// where the layer does not round.
    ///
    /// # Panics
    /// If the element is none of this network.
    pub fn exact(&self, values: &[Vec<i8>], count: usize, layer: usize, image: usize, at: [usize; 3]) -> Option<Exact> {
        let of_image = |index: usize| {
            let len = values[index].len() / count;
            &values[index][image * len..][..len]
        };
        let inputs = &self.layers[layer].inputs;
        match self.works[layer] {
            Work::Prologue(prologue) => {
                let map = Map { tensor: &self.qgraph.tensors[inputs[0]], values: of_image(inputs[0]) };
                Some(affine(&prologue.affine, map, &prologue.tensor, at))
            }
            Work::Node(node) => {
                let input = Map { tensor: self.qgraph.factor(node), values: of_image(inputs[0]) };
                let operand = |index: usize| Map { tensor: &self.qgraph.tensors[index], values: of_image(index) };
                exact(node, input, node.operand.map(operand), &self.qgraph.tensors[node.output], at)
            }
        }
    }
}
