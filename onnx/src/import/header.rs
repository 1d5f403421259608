//! What stands around the nodes: versions, metadata, the input.

use super::constants::Constants;
use super::{IR_VERSIONS, OPSETS, standard};
use crate::proto::{
    AttributeProto, DataType, DimensionValue, GraphProto, ModelProto, NodeProto, TypeProto, ValueInfoProto,
};
use crate::{ChannelOrder, ImportError, Metadata};
use std::collections::{HashMap, HashSet};

/// The graph's one input.
pub(super) struct Input<'a> {
    pub(super) name: &'a str,
    /// `[C, H, W]`.
    pub(super) dims: [usize; 3],
    /// Images in a batch, 1 where the file leaves it open.
    pub(super) batch: usize,
    /// Whether the file's order is `[N, H, W, C]`.
    pub(super) channels_last: bool,
}

/// The version of the standard operator set.
pub(super) fn opset(model: &ModelProto) -> Result<i64, ImportError> {
    let versions: Vec<i64> =
        model.opset_import.iter().filter(|set| standard(&set.domain)).map(|set| set.version).collect();
    let version = match versions.as_slice() {
        [] => return Err(ImportError::Malformed("it names no operator set; is it cut short?".into())),
        &[version] if OPSETS.contains(&version) => version,
        versions => {
            return Err(ImportError::Model(format!(
                "it uses operator set {versions:?}, versions {} to {} are supported",
                OPSETS.start(),
                OPSETS.end()
            )));
        }
    };
    if !IR_VERSIONS.contains(&model.ir_version) {
        return Err(ImportError::Model(format!(
            "its file format has version {}, versions {} to {} are supported",
            model.ir_version,
            IR_VERSIONS.start(),
            IR_VERSIONS.end()
        )));
    }
    Ok(version)
}

pub(super) fn metadata(model: &ModelProto, channels: usize) -> Result<Metadata, ImportError> {
    let metadata = Metadata::from_props(&model.metadata_props).map_err(ImportError::Model)?;
    match &metadata.normalization {
        Some(normalization) if normalization.mean.len() != channels => Err(ImportError::Model(format!(
            "its normalization has {} channels, its input {channels}",
            normalization.mean.len()
        ))),
        _ if channels != 3 && metadata.preprocessing.channels == ChannelOrder::Bgr => {
            Err(ImportError::Model(format!("its metadata orders three channels, its input has {channels}")))
        }
        _ => Ok(metadata),
    }
}

/// The one input that is no initializer. Of several, the one that is read.
pub(super) fn input<'a>(
    proto: &'a GraphProto,
    constants: &Constants,
    uses: &HashMap<String, usize>,
) -> Result<Input<'a>, ImportError> {
    let mut inputs: Vec<&ValueInfoProto> = proto.input.iter().filter(|info| !constants.contains(&info.name)).collect();
    if inputs.len() > 1 && inputs.iter().any(|info| uses.contains_key(&info.name)) {
        inputs.retain(|info| uses.contains_key(&info.name));
    }
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
    let [batch, image @ ..] = shape.dim.as_slice() else {
        return Err(fail("is a scalar, must be [N, C, H, W]"));
    };
    if image.len() != 3 {
        return Err(fail(&format!("has {} dimensions, must be [N, C, H, W]", shape.dim.len())));
    }
    let batch = match &batch.value {
        // Some exporters write 0 or -1 where they leave it open.
        Some(DimensionValue::Value(size)) => usize::try_from(*size).unwrap_or(1).max(1),
        _ => 1,
    };
    let mut dims = [0; 3];
    for (axis, (dim, proto)) in dims.iter_mut().zip(image).enumerate() {
        *dim = match &proto.value {
            Some(DimensionValue::Value(size)) => {
                usize::try_from(*size).map_err(|_| fail(&format!("dimension {} is {size}", axis + 1)))?
            }
            _ => return Err(fail(&format!("dimension {} is not fixed; export with fixed image sizes", axis + 1))),
        };
    }
    let image = dims.iter().try_fold(batch, |product, &dim| product.checked_mul(dim));
    if image.is_none_or(|count| count > crate::shape::MAX_ELEMENTS) {
        return Err(fail(&format!("has absurd dimensions: {batch} images of {dims:?}")));
    }
    let channels_last = channels_last(proto, &info.name, dims);
    if channels_last {
        dims = [dims[2], dims[0], dims[1]];
    }
    Ok(Input { name: &info.name, dims, batch, channels_last })
}

/// Whether the image, followed through arithmetic, comes to a node that makes `[N, C, H, W]` of `[N, H, W, C]`.
fn channels_last(proto: &GraphProto, input: &str, [height, width, channels]: [usize; 3]) -> bool {
    const SAME_ORDER: [&str; 11] =
        ["Add", "Cast", "Clip", "Div", "Identity", "Mul", "Neg", "Pad", "Relu", "Sub", "Dropout"];
    let mut reached = HashSet::from([input]);
    for node in &proto.node {
        if !node.input.iter().any(|name| reached.contains(name.as_str())) {
            continue;
        }
        match node.op_type.as_str() {
            "Transpose" if permutation(node) == Some(&[0, 3, 1, 2]) => return true,
            // With one channel the order of the elements is the same.
            "Reshape" if channels == 1 && (height, width) != (1, 1) && is_first_read_as_map(proto, node) => {
                return true;
            }
            op if SAME_ORDER.contains(&op) => reached.extend(node.output.iter().map(String::as_str)),
            _ => {}
        }
    }
    false
}

fn permutation(node: &NodeProto) -> Option<&[i64]> {
    let named = |attribute: &&AttributeProto| attribute.name == "perm";
    node.attribute.iter().find(named).map(|attribute| attribute.ints.as_slice())
}

/// Whether a convolution, or what commonly stands before one, reads the result of `node`.
fn is_first_read_as_map(proto: &GraphProto, node: &NodeProto) -> bool {
    proto.node.iter().any(|reader| {
        ["Conv", "Pad", "BatchNormalization"].contains(&reader.op_type.as_str())
            && reader.input.first().is_some_and(|name| node.output.contains(name))
    })
}
