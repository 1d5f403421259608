//! Cuts a part out of a model, to run it alone.

use crate::proto::{GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};
use std::collections::{HashMap, HashSet};

/// Why a part cannot be cut out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExtractError {
    /// The model has no graph.
    #[error("the model holds no graph")]
    NoGraph,
    /// A tensor that the part needs is neither an initializer, nor made by a node, nor among its inputs.
    #[error("`{0}` is needed, but is neither made by a node nor an input of the part")]
    Missing(String),
    /// An input that the part does not read.
    #[error("the part does not read its input `{0}`")]
    Unread(String),
}

/// The part of `model` that computes `output` from `inputs`: nodes and initializers on the way, in the file's order.
///
/// The inputs' types and dimensions are taken as given; the tensors may be intermediate ones of `model`.
///
/// # Errors
/// [`ExtractError`] if the inputs do not determine the output, or one of them does not matter.
pub fn extract(
    model: &ModelProto,
    inputs: &[ValueInfoProto],
    output: ValueInfoProto,
) -> Result<ModelProto, ExtractError> {
    let graph = model.graph.as_ref().ok_or(ExtractError::NoGraph)?;
    let producers: HashMap<&str, usize> = graph
        .node
        .iter()
        .enumerate()
        .flat_map(|(index, node)| node.output.iter().map(move |name| (name.as_str(), index)))
        .collect();
    let initializers: HashSet<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    let fed: HashSet<&str> = inputs.iter().map(|info| info.name.as_str()).collect();

    let mut needed = vec![false; graph.node.len()];
    let mut read: HashSet<&str> = HashSet::new();
    let mut open = vec![output.name.as_str()];
    while let Some(name) = open.pop() {
        if name.is_empty() || !read.insert(name) || fed.contains(name) || initializers.contains(name) {
            continue;
        }
        let &index = producers.get(name).ok_or_else(|| ExtractError::Missing(name.into()))?;
        if !std::mem::replace(&mut needed[index], true) {
            open.extend(graph.node[index].input.iter().map(String::as_str));
        }
    }
    if let Some(unread) = fed.iter().filter(|name| !read.contains(*name)).min() {
        return Err(ExtractError::Unread((*unread).into()));
    }

    let node: Vec<NodeProto> =
        graph.node.iter().zip(&needed).filter(|(_, needed)| **needed).map(|(node, _)| node.clone()).collect();
    let initializer: Vec<TensorProto> = graph
        .initializer
        .iter()
        .filter(|tensor| read.contains(tensor.name.as_str()) && !fed.contains(tensor.name.as_str()))
        .cloned()
        .collect();
    let name = format!("{} to {}", graph.name, output.name);
    Ok(ModelProto {
        graph: Some(GraphProto {
            node,
            name,
            initializer,
            input: inputs.to_vec(),
            output: vec![output],
            ..GraphProto::default()
        }),
        metadata_props: Vec::new(),
        ..model.clone_header()
    })
}

impl ModelProto {
    /// The model without graph and metadata.
    fn clone_header(&self) -> Self {
        Self {
            ir_version: self.ir_version,
            producer_name: self.producer_name.clone(),
            producer_version: self.producer_version.clone(),
            opset_import: self.opset_import.clone(),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::{Batch, to_model};
    use crate::fixtures;
    use crate::proto::{DataType, Dim};

    fn info(name: &str, dims: &[usize]) -> ValueInfoProto {
        let dims: Vec<Dim> = dims.iter().map(|&dim| Dim::Fixed(dim)).collect();
        ValueInfoProto::tensor(name, DataType::Float, &dims)
    }

    #[test]
    fn takes_the_nodes_between_and_their_initializers() {
        let model = to_model(&fixtures::residual(), Batch::One);
        let inputs = [info("bn1.out", &[1, 8, 5, 4]), info("short.pad.out", &[1, 8, 5, 4])];
        let part = extract(&model, &inputs, info("conv2.out", &[1, 6, 5, 4])).unwrap();
        let graph = part.graph.unwrap();
        let names: Vec<&str> = graph.node.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(names, ["add", "relu", "conv2"]);
        let initializers: Vec<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
        assert_eq!(initializers, ["conv2.weight", "conv2.bias"]);
        assert_eq!((graph.input.len(), graph.output.len(), part.opset_import), (2, 1, model.opset_import));
    }

    #[test]
    fn says_what_is_missing_or_useless() {
        let model = to_model(&fixtures::residual(), Batch::One);
        let output = info("conv2.out", &[1, 6, 5, 4]);
        let missing = extract(&model, &[info("bn1.out", &[1, 8, 5, 4])], output.clone());
        assert_eq!(missing, Err(ExtractError::Missing("image".into())));
        let inputs = [info("relu.out", &[1, 8, 5, 4]), info("image", &[1, 4, 9, 8])];
        assert_eq!(extract(&model, &inputs, output), Err(ExtractError::Unread("image".into())));
        let unknown = extract(&model, &[], info("nowhere", &[1]));
        assert_eq!(unknown, Err(ExtractError::Missing("nowhere".into())));
    }
}
