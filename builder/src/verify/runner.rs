//! A reference model over any number of images.

use super::VerifyError;
use super::elements::Elements;
use super::reference::Reference;
use super::wrapped;
use skipstone_onnx::proto::{DimensionValue, ModelProto, TypeProto, ValueInfoProto};

/// Runs a model over images, several at once where the model allows it. Keeps what it prepared for one batch size.
pub(super) struct Runner {
    what: String,
    model: ModelProto,
    /// Dimensions of one image of each input.
    dims: Vec<Vec<usize>>,
    most_at_once: usize,
    prepared: Option<(usize, Reference)>,
}

impl Runner {
    /// `what` names the model in errors; `dims` are those of one image of each input.
    pub(super) fn new(what: impl Into<String>, model: ModelProto, dims: Vec<Vec<usize>>) -> Self {
        let pinned = model.graph.as_ref().is_some_and(|graph| graph.input.iter().any(takes_one_image));
        Self {
            what: what.into(),
            model: wrapped::written_out(model),
            dims,
            most_at_once: if pinned { 1 } else { 32 },
            prepared: None,
        }
    }

    /// The outputs for `count` images, whose elements lie one image after another.
    pub(super) fn run(&mut self, count: usize, inputs: &[Elements]) -> Result<Vec<Elements>, VerifyError> {
        let mut outputs: Vec<Elements> = Vec::new();
        let mut first = 0;
        while first < count {
            let batch = self.most_at_once.min(count - first);
            let parts: Vec<Elements> = inputs
                .iter()
                .zip(&self.dims)
                .map(|(input, dims)| {
                    let len: usize = dims.iter().product();
                    input.slice(first * len, batch * len)
                })
                .collect();
            let results = self.prepare(batch)?.run(&parts)?;
            if outputs.is_empty() {
                outputs = results;
            } else {
                outputs.iter_mut().zip(results).for_each(|(output, more)| output.append(more));
            }
            first += batch;
        }
        Ok(outputs)
    }

    fn prepare(&mut self, batch: usize) -> Result<&Reference, VerifyError> {
        let fits = self.prepared.as_ref().is_some_and(|(size, _)| *size == batch);
        if !fits {
            let dims: Vec<Vec<usize>> = self.dims.iter().map(|dims| [&[batch], dims.as_slice()].concat()).collect();
            self.prepared = Some((batch, Reference::new(&self.what, &self.model, &dims)?));
        }
        let (_, reference) = self.prepared.as_ref().expect("prepared above");
        Ok(reference)
    }
}

/// Whether the batch dimension of an input is fixed to 1.
fn takes_one_image(info: &ValueInfoProto) -> bool {
    let Some(TypeProto { tensor_type: Some(tensor) }) = &info.r#type else { return false };
    let first = tensor.shape.as_ref().and_then(|shape| shape.dim.first());
    first.is_some_and(|dim| dim.value == Some(DimensionValue::Value(1)))
}

#[cfg(all(test, feature = "tract"))]
mod tests {
    use super::*;
    use skipstone_onnx::proto::{AttributeProto, DataType, Dim, GraphProto, NodeProto, TensorProto};

    #[test]
    fn borders_go_on_at_the_other_end() {
        let dims = [Dim::Fixed(1), Dim::Fixed(1), Dim::Fixed(2), Dim::Fixed(3)];
        let graph = GraphProto {
            node: vec![NodeProto::new(
                "Pad",
                "pad",
                &["x", "pads"],
                &["y"],
                vec![AttributeProto::string("mode", "wrap")],
            )],
            initializer: vec![TensorProto::i64("pads", &[8], &[0, 0, 1, 2, 0, 0, 0, 1])],
            input: vec![ValueInfoProto::tensor("x", DataType::Float, &dims)],
            output: vec![ValueInfoProto::tensor("y", DataType::Float, &[])],
            ..GraphProto::default()
        };
        let mut runner = Runner::new("wrapped", ModelProto::new(graph, 19), vec![vec![1, 2, 3]]);
        let x = Elements::F32(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let Elements::F32(y) = runner.run(1, &[x]).unwrap().remove(0) else { panic!("integers") };
        let rows = [[5.0, 6.0, 4.0, 5.0, 6.0, 4.0], [2.0, 3.0, 1.0, 2.0, 3.0, 1.0], [5.0, 6.0, 4.0, 5.0, 6.0, 4.0]];
        assert_eq!(y, rows.concat());
    }
}
