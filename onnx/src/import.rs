//! Reads an ONNX file as a [`Graph`].
//!
//! The file's bytes are not trusted: whatever they are, the answer is a graph or an error that says what does not fit
//! and where, and memory is taken only for elements that are there. An operator is one function in `ops`;
//! `constants` holds what is known before any image is seen, `attributes` sees to it that none is overlooked.

mod attributes;
mod constants;
mod node;
mod ops;
mod windows;

use crate::graph::{Graph, GraphBuilder, ValueId};
use crate::proto::{DataType, DimensionValue, GraphProto, ModelProto, TypeProto, ValueInfoProto};
use crate::{ImportError, Metadata};
use constants::Constants;
use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;

/// Versions of the standard operator set that are read.
pub const OPSETS: RangeInclusive<i64> = 11..=21;

/// Reads the bytes of an ONNX file.
///
/// What [`export`](crate::export()) wrote reads back as the graph that it was.
///
/// # Errors
/// [`ImportError`] where the bytes are no ONNX model or the network needs what this version does not support.
pub fn import(bytes: &[u8]) -> Result<Graph, ImportError> {
    from_model(&ModelProto::from_bytes(bytes)?)
}

/// Reads a decoded model.
///
/// # Errors
/// As [`import`].
pub fn from_model(model: &ModelProto) -> Result<Graph, ImportError> {
    let proto =
        model.graph.as_ref().ok_or_else(|| ImportError::Malformed("it holds no graph; is it cut short?".into()))?;
    check_opset(model)?;
    if !proto.sparse_initializer.is_empty() {
        return Err(ImportError::Model("sparse initializers are not supported".into()));
    }
    let constants = Constants::new(&proto.initializer)?;
    let (input_name, dims) = input(proto, &constants)?;
    let mut builder = GraphBuilder::new(proto.name.as_str(), input_name, dims)?;
    *builder.metadata_mut() = metadata(model, dims[0])?;
    let mut importer = Importer {
        activations: HashMap::from([(input_name.to_owned(), builder.input())]),
        builder,
        constants,
        parameters: HashMap::new(),
        node_names: HashSet::new(),
    };
    for index in 0..proto.node.len() {
        node::read(&mut importer, proto, index)?;
    }
    let [output] = proto.output.as_slice() else {
        return Err(ImportError::Model(format!("it has {} outputs, a classifier has one", proto.output.len())));
    };
    let output = importer
        .activations
        .get(&output.name)
        .ok_or_else(|| ImportError::Model(format!("no node computes the output `{}`", output.name)))?;
    Ok(importer.builder.finish(*output)?)
}

/// What is known while the nodes are read one after another.
struct Importer<'a> {
    builder: GraphBuilder,
    constants: Constants<'a>,
    /// Computed tensors by their names in the file, of which one may have several.
    activations: HashMap<String, ValueId>,
    /// Constants that are parameters of the graph by now, apart for those that training changes and others.
    parameters: HashMap<(String, bool), ValueId>,
    node_names: HashSet<String>,
}

fn check_opset(model: &ModelProto) -> Result<(), ImportError> {
    let versions: Vec<i64> =
        model.opset_import.iter().filter(|set| standard(&set.domain)).map(|set| set.version).collect();
    match versions.as_slice() {
        [] => Err(ImportError::Malformed("it names no operator set; is it cut short?".into())),
        &[version] if OPSETS.contains(&version) => Ok(()),
        versions => Err(ImportError::Model(format!(
            "it uses operator set {versions:?}, versions {} to {} are supported",
            OPSETS.start(),
            OPSETS.end()
        ))),
    }
}

fn metadata(model: &ModelProto, channels: usize) -> Result<Metadata, ImportError> {
    let metadata = Metadata::from_props(&model.metadata_props).map_err(ImportError::Model)?;
    match &metadata.normalization {
        Some(normalization) if normalization.mean.len() != channels => Err(ImportError::Model(format!(
            "its normalization has {} channels, its input {channels}",
            normalization.mean.len()
        ))),
        _ => Ok(metadata),
    }
}

/// Whether `domain` is that of the standard operators.
fn standard(domain: &str) -> bool {
    domain.is_empty() || domain == "ai.onnx"
}

/// The name and `[C, H, W]` of the graph's one input.
fn input<'a>(proto: &'a GraphProto, constants: &Constants) -> Result<(&'a str, [usize; 3]), ImportError> {
    let inputs: Vec<&ValueInfoProto> = proto.input.iter().filter(|info| !constants.contains(&info.name)).collect();
    let [info] = inputs.as_slice() else {
        let names: Vec<&str> = inputs.iter().map(|info| info.name.as_str()).collect();
        return Err(ImportError::Model(format!("it has {} inputs {names:?}, a classifier has one", names.len())));
    };
    let fail = |reason: &str| ImportError::Model(format!("input `{}`: {reason}", info.name));
    let Some(TypeProto { tensor_type: Some(tensor) }) = &info.r#type else {
        return Err(fail("its type is not given"));
    };
    if tensor.elem_type() != DataType::Float {
        return Err(fail(&format!("holds {:?}, must hold float32", tensor.elem_type())));
    }
    let shape = tensor.shape.as_ref().ok_or_else(|| fail("its dimensions are not given"))?;
    let [_batch, image @ ..] = shape.dim.as_slice() else {
        return Err(fail("is a scalar, must be [N, C, H, W]"));
    };
    if image.len() != 3 {
        return Err(fail(&format!("has {} dimensions, must be [N, C, H, W]", shape.dim.len())));
    }
    let mut dims = [0; 3];
    for (axis, (dim, proto)) in dims.iter_mut().zip(image).enumerate() {
        *dim = match &proto.value {
            Some(DimensionValue::Value(size)) => {
                usize::try_from(*size).map_err(|_| fail(&format!("dimension {} is {size}", axis + 1)))?
            }
            _ => return Err(fail(&format!("dimension {} is not fixed; export with fixed image sizes", axis + 1))),
        };
    }
    Ok((&info.name, dims))
}

#[cfg(test)]
mod tests;
