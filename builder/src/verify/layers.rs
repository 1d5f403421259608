//! The layers of a quantized network as they can be compared: a convolution that reads through a batch normalization is
//! two, with the rounded tensor between them.

use super::{Int8Check, TracedLayer, TracedTensor, VerifyError};
use crate::pack::{Channels, PackError, channels};
use crate::quant::{QGraph, QTensor, TensorIndex, quantized_name};
use crate::simulate::Trace;

/// The tensors and layers of a quantized network.
pub struct Layers {
    input: TensorIndex,
    input_dims: [usize; 3],
    channels: Vec<Channels>,
    tensors: Vec<TracedTensor>,
    layers: Vec<TracedLayer>,
    /// For each node of the network its output, its input, and the tensor behind its prologue.
    nodes: Vec<(TensorIndex, TensorIndex, Option<usize>)>,
}

impl Layers {
    /// Of `qgraph`.
    ///
    /// # Errors
    /// [`PackError::Channels`] if it cannot be packed.
    pub fn new(qgraph: &QGraph) -> Result<Self, PackError> {
        let traced = |tensor: &QTensor| TracedTensor { name: quantized_name(tensor), dims: tensor.dims.to_vec() };
        let mut tensors: Vec<TracedTensor> = qgraph.tensors.iter().map(traced).collect();
        let (mut layers, mut nodes) = (Vec::new(), Vec::new());
        for node in &qgraph.nodes {
            let (mut input, mut behind) = (node.input, None);
            if let Some(prologue) = node.op.prologue() {
                let name = prologue.name.clone();
                layers.push(TracedLayer { name, inputs: vec![input], output: tensors.len() });
                input = tensors.len();
                behind = Some(input);
                tensors.push(traced(&prologue.tensor));
            }
            let inputs = [Some(input), node.operand].into_iter().flatten().collect();
            layers.push(TracedLayer { name: node.name.clone(), inputs, output: node.output });
            nodes.push((node.output, node.input, behind));
        }
        let input_dims = qgraph.tensors[qgraph.input].dims;
        Ok(Self { input: qgraph.input, input_dims, channels: channels(qgraph)?, tensors, layers, nodes })
    }

    /// A comparison with the QDQ file of the network.
    ///
    /// # Errors
    /// As [`Int8Check::new`].
    pub fn check(&self, qdq: &[u8]) -> Result<Int8Check, VerifyError> {
        Int8Check::new(qdq, self.input_dims, self.tensors.clone(), self.layers.clone())
    }

    /// What [`Int8Check::add`] compares: for each tensor the elements of all images.
    ///
    /// # Panics
    /// If the traces are of another network.
    pub fn values<'t>(&self, traces: impl IntoIterator<Item = &'t Trace>) -> Vec<Vec<i8>> {
        let mut values = vec![Vec::new(); self.tensors.len()];
        for trace in traces {
            values[self.input].extend(&trace.image);
            for (&(output, input, behind), made) in self.nodes.iter().zip(&trace.nodes) {
                values[output].extend(self.channels[output].strip(&made.values));
                if let Some(behind) = behind {
                    values[behind].extend(self.channels[input].strip(&made.read));
                }
            }
        }
        values
    }
}
