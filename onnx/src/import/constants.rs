//! Tensors that are known before any image is seen: initializers and results of constant nodes.

use crate::ImportError;
use crate::proto::{DataLocation, DataType, TensorProto};
use std::collections::HashMap;

/// A constant's elements. Integers of all widths are held as int64.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Elements {
    Float(Vec<f32>),
    Int(Vec<i64>),
}

/// A decoded constant, row-major.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Array {
    pub(super) dims: Vec<usize>,
    pub(super) elements: Elements,
}

#[derive(Clone)]
enum Source<'a> {
    /// In the file, not decoded yet: what no node reads may be of any type.
    File(&'a TensorProto),
    Known(Array),
}

/// Constants by name.
pub(super) struct Constants<'a> {
    sources: HashMap<String, Source<'a>>,
}

impl<'a> Constants<'a> {
    pub(super) fn new(initializers: &'a [TensorProto]) -> Result<Self, ImportError> {
        let mut sources = HashMap::with_capacity(initializers.len());
        for proto in initializers {
            if sources.insert(proto.name.clone(), Source::File(proto)).is_some() {
                return Err(ImportError::Initializer {
                    name: proto.name.clone(),
                    reason: "stands twice in the file".into(),
                });
            }
        }
        Ok(Self { sources })
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.sources.contains_key(name)
    }

    /// The constant of that name, decoded.
    pub(super) fn get(&self, name: &str) -> Option<Result<Array, ImportError>> {
        self.sources.get(name).map(|source| match source {
            Source::File(proto) => decode(proto),
            Source::Known(array) => Ok(array.clone()),
        })
    }

    /// Adds the result of a constant node.
    pub(super) fn insert(&mut self, name: &str, array: Array) {
        self.sources.insert(name.into(), Source::Known(array));
    }

    /// Gives the constant `of` a second name.
    pub(super) fn alias(&mut self, name: &str, of: &str) {
        if let Some(source) = self.sources.get(of).cloned() {
            self.sources.insert(name.into(), source);
        }
    }
}

/// Decodes a tensor, taking memory only for elements that are there.
pub(super) fn decode(proto: &TensorProto) -> Result<Array, ImportError> {
    decode_elements(proto).map_err(|reason| ImportError::Initializer { name: proto.name.clone(), reason })
}

fn decode_elements(proto: &TensorProto) -> Result<Array, String> {
    if proto.data_location() == DataLocation::External || !proto.external_data.is_empty() {
        let file = proto.external_data.iter().find(|entry| entry.key == "location").map_or("?", |entry| &entry.value);
        return Err(format!("its elements lie in `{file}`; save the model as one file (`external_data=False`)"));
    }
    let dims = proto
        .dims
        .iter()
        .map(|&dim| usize::try_from(dim).map_err(|_| format!("dimensions {:?} are negative", proto.dims)))
        .collect::<Result<Vec<usize>, String>>()?;
    let elements = match (proto.data_type(), &proto.raw_data) {
        (DataType::Float, Some(raw)) => Elements::Float(raw_elements(raw, f32::from_le_bytes)?),
        (DataType::Float, None) => Elements::Float(proto.float_data.clone()),
        (DataType::Double, Some(raw)) => Elements::Float(raw_elements(raw, |bytes| f64::from_le_bytes(bytes) as f32)?),
        (DataType::Double, None) => Elements::Float(proto.double_data.iter().map(|&x| x as f32).collect()),
        (DataType::Int64, Some(raw)) => Elements::Int(raw_elements(raw, i64::from_le_bytes)?),
        (DataType::Int64, None) => Elements::Int(proto.int64_data.clone()),
        (DataType::Int32, Some(raw)) => Elements::Int(raw_elements(raw, |bytes| i32::from_le_bytes(bytes).into())?),
        (DataType::Int32 | DataType::Int8 | DataType::Uint8 | DataType::Bool, None) => {
            Elements::Int(proto.int32_data.iter().map(|&x| x.into()).collect())
        }
        (DataType::Int8, Some(raw)) => Elements::Int(raw_elements(raw, |bytes| i8::from_le_bytes(bytes).into())?),
        (DataType::Uint8 | DataType::Bool, Some(raw)) => {
            Elements::Int(raw_elements(raw, |bytes| u8::from_le_bytes(bytes).into())?)
        }
        _ => match DataType::try_from(proto.data_type) {
            Ok(kind) => return Err(format!("elements of type {kind:?} are not supported")),
            Err(_) => return Err(format!("elements of unknown type {}", proto.data_type)),
        },
    };
    let count = match &elements {
        Elements::Float(data) => data.len(),
        Elements::Int(data) => data.len(),
    };
    match dims.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim)) {
        Some(product) if product == count => Ok(Array { dims, elements }),
        _ => Err(format!("its dimensions are {dims:?}, but it holds {count} elements; is the file damaged?")),
    }
}

fn raw_elements<const N: usize, T>(raw: &[u8], read: impl Fn([u8; N]) -> T) -> Result<Vec<T>, String> {
    let (chunks, rest) = raw.as_chunks::<N>();
    if !rest.is_empty() {
        return Err(format!("its {} bytes are no whole number of elements of {N} bytes", raw.len()));
    }
    Ok(chunks.iter().map(|&bytes| read(bytes)).collect())
}
