//! What stands around the nodes: versions, metadata, the input.

use super::constants::Constants;
use super::{IR_VERSIONS, OPSETS, standard};
use crate::proto::{DataType, DimensionValue, GraphProto, ModelProto, TypeProto, ValueInfoProto};
use crate::{ChannelOrder, ImportError, Metadata};

/// The graph's one input.
pub(super) struct Input<'a> {
    pub(super) name: &'a str,
    /// Dimensions of an image in the file's order, which the operators tell.
    pub(super) dims: [usize; 3],
    /// Images in a batch, 1 where the file leaves it open.
    pub(super) batch: usize,
    /// Whether the file's input has an axis for the batch.
    pub(super) batched: bool,
    /// Type of the elements.
    pub(super) kind: DataType,
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

/// The one input that is no initializer. A second one has to be given to other engines even where no node reads it.
pub(super) fn input<'a>(proto: &'a GraphProto, constants: &Constants) -> Result<Input<'a>, ImportError> {
    let inputs: Vec<&ValueInfoProto> = proto.input.iter().filter(|info| !constants.contains(&info.name)).collect();
    let [info] = inputs.as_slice() else {
        let names: Vec<String> = inputs.iter().map(|info| format!("`{}`", info.name)).collect();
        let (count, names) = (names.len(), names.join(", "));
        return Err(ImportError::Model(format!("it has {count} inputs ({names}), a classifier has one: its image")));
    };
    let fail = |reason: &str| ImportError::Model(format!("input `{}`: {reason}", info.name));
    let Some(TypeProto { tensor_type: Some(tensor) }) = &info.r#type else {
        return Err(fail("its type is not given"));
    };
    let kind = tensor.elem_type();
    if !matches!(kind, DataType::Float | DataType::Int8 | DataType::Uint8) {
        return Err(fail(&format!("holds {kind:?}, must hold float32, int8 or uint8")));
    }
    let shape = tensor.shape.as_ref().ok_or_else(|| fail("its dimensions are not given"))?;
    let (batch, image) = match shape.dim.as_slice() {
        [batch, image @ ..] if image.len() == 3 => (Some(batch), image),
        image if image.len() == 3 => (None, image),
        dims => return Err(fail(&format!("has {} dimensions, must be [N, C, H, W], or [C, H, W]", dims.len()))),
    };
    let batched = batch.is_some();
    let batch = match batch.and_then(|batch| batch.value.as_ref()) {
        Some(DimensionValue::Value(0)) => return Err(fail("its batch is 0: it holds no image")),
        // Some exporters write -1 where they leave it open.
        Some(DimensionValue::Value(size)) => usize::try_from(*size).unwrap_or(1),
        _ => 1,
    };
    let mut dims = [0; 3];
    for (axis, (dim, proto)) in dims.iter_mut().zip(image).enumerate() {
        *dim = match &proto.value {
            Some(DimensionValue::Value(size)) => {
                let place = axis + usize::from(batched);
                usize::try_from(*size).map_err(|_| fail(&format!("dimension {place} is {size}")))?
            }
            _ => {
                let place = axis + usize::from(batched);
                return Err(fail(&format!("dimension {place} is not fixed; export with fixed image sizes")));
            }
        };
    }
    let image = dims.iter().try_fold(batch, |product, &dim| product.checked_mul(dim));
    if image.is_none_or(|count| count > crate::shape::MAX_ELEMENTS) {
        return Err(fail(&format!("has dimensions that are too large: {batch} images of {dims:?}")));
    }
    Ok(Input { name: &info.name, dims, batch, batched, kind })
}
