//! Tensors that are known before any image is seen: initializers and results of constant nodes.

use super::CONSTANT_ELEMENTS;
use crate::proto::{DataLocation, DataType, TensorProto};
use crate::{ImportError, Tensor};
use std::collections::HashMap;
use std::rc::Rc;

/// A constant's elements. Integers of all widths are held as int64, floats as float32.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Elements {
    Float(Vec<f32>),
    Int(Vec<i64>),
}

impl Elements {
    pub(super) fn len(&self) -> usize {
        match self {
            Elements::Float(data) => data.len(),
            Elements::Int(data) => data.len(),
        }
    }
}

/// A decoded constant, row-major.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Array {
    pub(super) dims: Vec<usize>,
    pub(super) elements: Elements,
}

impl Array {
    pub(super) fn scalar(value: f32) -> Self {
        Self { dims: vec![], elements: Elements::Float(vec![value]) }
    }

    /// A list of integers.
    pub(super) fn ints(values: Vec<i64>) -> Self {
        Self { dims: vec![values.len()], elements: Elements::Int(values) }
    }

    /// The elements as float32.
    pub(super) fn floats(&self) -> Vec<f32> {
        match &self.elements {
            Elements::Float(data) => data.clone(),
            Elements::Int(data) => data.iter().map(|&x| x as f32).collect(),
        }
    }

    /// The element that all are, if they are all equal.
    pub(super) fn uniform(&self) -> Option<f32> {
        fn same<T: PartialEq + Copy>(data: &[T]) -> Option<T> {
            data.first().filter(|first| data.iter().all(|x| x == *first)).copied()
        }
        match &self.elements {
            Elements::Float(data) => same(data),
            Elements::Int(data) => same(data).map(|x| x as f32),
        }
    }
}

#[derive(Clone)]
enum Source<'a> {
    /// In the file, not decoded yet: what no node reads may be of any type.
    File(&'a TensorProto),
    Known(Rc<Array>),
    /// One number everywhere, which takes no memory.
    Filled(Vec<usize>, f32),
}

/// Constants by name.
pub(super) struct Constants<'a> {
    sources: HashMap<String, Source<'a>>,
    /// Types of elements that nodes made, where they are known.
    kinds: HashMap<String, DataType>,
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
        Ok(Self { sources, kinds: HashMap::new() })
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.sources.contains_key(name)
    }

    /// The constant of that name, decoded.
    pub(super) fn get(&self, name: &str) -> Option<Result<Rc<Array>, ImportError>> {
        self.sources.get(name).map(|source| match source {
            Source::File(proto) => decode(proto).map(Rc::new),
            Source::Known(array) => Ok(Rc::clone(array)),
            Source::Filled(dims, value) => match dims.iter().product::<usize>() {
                count if count <= CONSTANT_ELEMENTS => {
                    let elements = Elements::Float(vec![*value; count]);
                    Ok(Rc::new(Array { dims: dims.clone(), elements }))
                }
                _ => Err(ImportError::Initializer {
                    name: name.into(),
                    reason: format!("its elements {dims:?} are too many to compute with"),
                }),
            },
        })
    }

    /// The type that the file's elements have, which decoding forgets.
    pub(super) fn kind(&self, name: &str) -> Option<DataType> {
        match self.sources.get(name)? {
            Source::File(proto) => DataType::try_from(proto.data_type).ok(),
            Source::Known(_) | Source::Filled(..) => self.kinds.get(name).copied(),
        }
    }

    /// Says which type the elements of a constant have that a node made.
    pub(super) fn set_kind(&mut self, name: &str, kind: DataType) {
        self.kinds.insert(name.into(), kind);
    }

    /// The constant as a tensor, if it is one number everywhere.
    pub(super) fn filled(&self, name: &str) -> Option<Tensor> {
        match self.sources.get(name)? {
            Source::Filled(dims, value) => Some(Tensor::filled(dims.clone(), *value)),
            _ => None,
        }
    }

    /// Adds a constant that is `value` everywhere. The product of the dimensions fits in memory.
    pub(super) fn fill(&mut self, name: &str, dims: Vec<usize>, value: f32) {
        self.sources.insert(name.into(), Source::Filled(dims, value));
    }

    /// Adds the result of a constant node.
    pub(super) fn insert(&mut self, name: &str, array: Array) {
        self.sources.insert(name.into(), Source::Known(Rc::new(array)));
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

/// Whether the elements lie in another file.
pub(super) fn is_external(proto: &TensorProto) -> bool {
    proto.data_location() == DataLocation::External || !proto.external_data.is_empty()
}

/// The dimensions as sizes, and their product.
pub(super) fn sizes(proto: &TensorProto) -> Result<(Vec<usize>, usize), String> {
    let dims = proto
        .dims
        .iter()
        .map(|&dim| usize::try_from(dim).map_err(|_| format!("dimensions {:?} are negative", proto.dims)))
        .collect::<Result<Vec<usize>, String>>()?;
    match dims.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim)) {
        Some(count) => Ok((dims, count)),
        None => Err(format!("its dimensions are {dims:?}: too many elements")),
    }
}

/// Bytes of one element; `None` for types that are not read.
pub(super) fn element_bytes(kind: DataType) -> Option<usize> {
    Some(match kind {
        DataType::Int8 | DataType::Uint8 | DataType::Bool => 1,
        DataType::Int16 | DataType::Uint16 | DataType::Float16 | DataType::Bfloat16 => 2,
        DataType::Float | DataType::Int32 | DataType::Uint32 => 4,
        DataType::Double | DataType::Int64 | DataType::Uint64 => 8,
        _ => return None,
    })
}

fn decode_elements(proto: &TensorProto) -> Result<Array, String> {
    if is_external(proto) {
        let file = proto.external_data.iter().find(|entry| entry.key == "location").map_or("?", |entry| &entry.value);
        return Err(format!(
            "its elements lie in `{file}` beside the model, which can be read by the model's path only"
        ));
    }
    let kind =
        DataType::try_from(proto.data_type).map_err(|_| format!("elements of unknown type {}", proto.data_type))?;
    let elements = match &proto.raw_data {
        Some(raw) => from_raw(kind, raw)?,
        None => from_fields(kind, proto)?,
    };
    let count = elements.len();
    let (dims, product) = sizes(proto)?;
    if product != count {
        return Err(format!("its dimensions are {dims:?}, but it holds {count} elements; is the file damaged?"));
    }
    Ok(Array { dims, elements })
}

fn from_raw(kind: DataType, raw: &[u8]) -> Result<Elements, String> {
    use Elements::{Float, Int};
    Ok(match kind {
        DataType::Float => Float(raw_elements(raw, f32::from_le_bytes)?),
        DataType::Double => Float(raw_elements(raw, |bytes| f64::from_le_bytes(bytes) as f32)?),
        DataType::Float16 => Float(raw_elements(raw, |bytes| half(u16::from_le_bytes(bytes)))?),
        DataType::Bfloat16 => Float(raw_elements(raw, |bytes| bfloat(u16::from_le_bytes(bytes)))?),
        DataType::Int64 => Int(raw_elements(raw, i64::from_le_bytes)?),
        DataType::Int32 => Int(raw_elements(raw, |bytes| i32::from_le_bytes(bytes).into())?),
        DataType::Int16 => Int(raw_elements(raw, |bytes| i16::from_le_bytes(bytes).into())?),
        DataType::Int8 => Int(raw_elements(raw, |bytes| i8::from_le_bytes(bytes).into())?),
        DataType::Uint8 | DataType::Bool => Int(raw_elements(raw, |bytes| u8::from_le_bytes(bytes).into())?),
        DataType::Uint16 => Int(raw_elements(raw, |bytes| u16::from_le_bytes(bytes).into())?),
        DataType::Uint32 => Int(raw_elements(raw, |bytes| u32::from_le_bytes(bytes).into())?),
        _ => return Err(format!("elements of type {kind:?} are not supported")),
    })
}

fn from_fields(kind: DataType, proto: &TensorProto) -> Result<Elements, String> {
    use Elements::{Float, Int};
    // Types below 32 bits stand one in each int32, as bits or as numbers.
    let bits = |read: fn(u16) -> f32| Float(proto.int32_data.iter().map(|&x| read(x as u16)).collect());
    Ok(match kind {
        DataType::Float => Float(proto.float_data.clone()),
        DataType::Double => Float(proto.double_data.iter().map(|&x| x as f32).collect()),
        DataType::Float16 => bits(half),
        DataType::Bfloat16 => bits(bfloat),
        DataType::Int64 => Int(proto.int64_data.clone()),
        DataType::Int32 | DataType::Int16 | DataType::Int8 | DataType::Uint16 | DataType::Uint8 | DataType::Bool => {
            Int(proto.int32_data.iter().map(|&x| x.into()).collect())
        }
        _ => return Err(format!("elements of type {kind:?} are not supported")),
    })
}

fn raw_elements<const N: usize, T>(raw: &[u8], read: impl Fn([u8; N]) -> T) -> Result<Vec<T>, String> {
    let (chunks, rest) = raw.as_chunks::<N>();
    if !rest.is_empty() {
        return Err(format!("its {} bytes are no whole number of elements of {N} bytes", raw.len()));
    }
    Ok(chunks.iter().map(|&bytes| read(bytes)).collect())
}

/// An IEEE half-precision number.
fn half(bits: u16) -> f32 {
    half::f16::from_bits(bits).to_f32()
}

fn bfloat(bits: u16) -> f32 {
    half::bf16::from_bits(bits).to_f32()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_precision() {
        for (bits, value) in [(0x3c00, 1.0), (0xc000, -2.0), (0x3555, 0.333_251_95), (1, 2f32.powi(-24)), (0, 0.0)] {
            assert_eq!(half(bits), value, "{bits:x}");
        }
        assert!(half(0x7c00).is_infinite() && half(0x7e00).is_nan());
        assert_eq!(bfloat(0x3fc0), 1.5);
    }
}
