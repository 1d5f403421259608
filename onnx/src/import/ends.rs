//! Files with the ends that their graphs have: float images in, scores out.

use super::Imported;
use crate::proto::{DataType, Dim, GraphProto, ModelProto, NodeProto, TensorProto, TypeProto, ValueInfoProto};
use crate::{Ending, InputIntegers};

impl Imported {
    /// The file `model` that was read, with the scores as its output, and with an input that is float where the file's
    /// holds integers: its first node rounds what they stand for. An input without a batch gets one of one image.
    pub fn in_float(&self, mut model: ModelProto) -> ModelProto {
        let Some(graph) = model.graph.as_mut() else { return model };
        let rounds = |node: &&NodeProto| node.op_type == "QuantizeLinear" && node.output.contains(&self.scores);
        let before = graph.node.iter().find(rounds).and_then(|node| node.input.first()).cloned();
        if before.is_some() || self.ending != Ending::Scores {
            let scores = before.unwrap_or_else(|| self.scores.clone());
            graph.output = vec![ValueInfoProto::tensor(scores, DataType::Float, &[])];
        }
        if let Some(integers) = self.graph.metadata.quantization.input {
            round_input(graph, &self.graph.value(self.graph.input()).name, integers);
        }
        let &[channels, height, width] = self.graph.value(self.graph.input()).dims.as_slice() else { return model };
        let image = if self.channels_last { [height, width, channels] } else { [channels, height, width] };
        give_batch(graph, &image);
        model
    }
}

/// Puts a batch of one before the dimensions of an input that has none.
fn give_batch(graph: &mut GraphProto, image: &[usize]) {
    let constants: Vec<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    let Some(input) = graph.input.iter_mut().find(|input| !constants.contains(&input.name.as_str())) else { return };
    let Some(TypeProto { tensor_type: Some(tensor) }) = &input.r#type else { return };
    if tensor.shape.as_ref().is_none_or(|shape| shape.dim.len() != 3) {
        return;
    }
    let [batch, shape] = ["batch", "shape"].map(|part| format!("{}.{part}", input.name));
    let dims: Vec<Dim> = [1].iter().chain(image).map(|&size| Dim::Fixed(size)).collect();
    let images = ValueInfoProto::tensor(batch.as_str(), tensor.elem_type(), &dims);
    let name = std::mem::replace(input, images).name;
    let sizes: Vec<i64> = image.iter().map(|&size| size as i64).collect();
    graph.initializer.push(TensorProto::i64(shape.as_str(), &[3], &sizes));
    graph.node.insert(0, NodeProto::new("Reshape", format!("{name}.image"), &[batch, shape], &[name], Vec::new()));
}

/// Puts the rounding of a float input before the input `name` of integers.
fn round_input(graph: &mut GraphProto, name: &str, integers: InputIntegers) {
    let Some(input) = graph.input.iter_mut().find(|input| input.name == name) else { return };
    let kind = if integers.signed { DataType::Int8 } else { DataType::Uint8 };
    let [real, scale, zero] = ["real", "real.scale", "real.zero_point"].map(|part| format!("{name}.{part}"));
    input.name.clone_from(&real);
    if let Some(TypeProto { tensor_type: Some(tensor) }) = &mut input.r#type {
        tensor.elem_type = DataType::Float.into();
    }
    graph.initializer.push(TensorProto::scalar(scale.as_str(), integers.scale));
    let zero_point = TensorProto {
        data_type: kind.into(),
        raw_data: Some(vec![integers.zero_point as u8]),
        ..TensorProto::i8(zero.as_str(), &[], &[0])
    };
    graph.initializer.push(zero_point);
    let node = NodeProto::new("QuantizeLinear", format!("{name}.round"), &[real, scale, zero], &[name], Vec::new());
    graph.node.insert(0, node);
}
