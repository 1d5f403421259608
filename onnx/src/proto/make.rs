//! Constructors for exporters.

use super::*;
use crate::ImportError;
use half::f16;

/// The program's name in the files that it writes.
pub const PRODUCER: &str = "skipstone";

/// A dimension of an input or output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dim<'a> {
    /// A number.
    Fixed(usize),
    /// A symbol, such as `N`.
    Symbol(&'a str),
}

impl ModelProto {
    /// A model of standard operators of version `opset`, with the version of the file format that ONNX released with it
    /// (its `docs/Versioning.md`), so that readers of that age take the file.
    pub fn new(graph: GraphProto, opset: i64) -> Self {
        Self {
            ir_version: match opset {
                ..15 => 7,
                15..19 => 8,
                19..21 => 9,
                _ => 10,
            },
            producer_name: PRODUCER.into(),
            producer_version: env!("CARGO_PKG_VERSION").into(),
            graph: Some(graph),
            opset_import: vec![OperatorSetIdProto { domain: String::new(), version: opset }],
            metadata_props: Vec::new(),
        }
    }

    /// Reads a file's bytes.
    ///
    /// # Errors
    /// [`ImportError::Malformed`] if they are no ONNX model.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ImportError> {
        if bytes.is_empty() {
            return Err(ImportError::Malformed("it is empty".into()));
        }
        prost::Message::decode(bytes).map_err(|error: prost::DecodeError| ImportError::Malformed(error.to_string()))
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        prost::Message::encode_to_vec(self)
    }
}

impl StringStringEntryProto {
    /// A key with its value.
    pub fn new(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self { key: key.into(), value: value.into() }
    }
}

impl TensorProto {
    /// Reads the bytes of a tensor alone, as the ONNX project's tests keep them.
    ///
    /// # Errors
    /// [`ImportError::Malformed`] if they are no tensor.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ImportError> {
        prost::Message::decode(bytes).map_err(|error: prost::DecodeError| ImportError::Malformed(error.to_string()))
    }

    /// float32 elements.
    pub fn f32(name: impl Into<String>, dims: &[usize], data: &[f32]) -> Self {
        Self::raw(name, dims, DataType::Float, data.iter().flat_map(|x| x.to_le_bytes()).collect(), data.len())
    }

    /// Elements rounded to float16, to nearest, ties to even; `None` where one is beyond its range.
    pub fn f16(name: impl Into<String>, dims: &[usize], data: &[f32]) -> Option<Self> {
        let rounded: Vec<f16> = data.iter().map(|&x| f16::from_f32(x)).collect();
        let fits = rounded.iter().all(|x| x.is_finite());
        let bytes = || rounded.iter().flat_map(|x| x.to_le_bytes()).collect();
        fits.then(|| Self::raw(name, dims, DataType::Float16, bytes(), data.len()))
    }

    /// One float32 element without dimensions.
    pub fn scalar(name: impl Into<String>, value: f32) -> Self {
        Self::f32(name, &[], &[value])
    }

    /// int8 elements.
    pub fn i8(name: impl Into<String>, dims: &[usize], data: &[i8]) -> Self {
        Self::raw(name, dims, DataType::Int8, data.iter().flat_map(|x| x.to_le_bytes()).collect(), data.len())
    }

    /// int32 elements.
    pub fn i32(name: impl Into<String>, dims: &[usize], data: &[i32]) -> Self {
        Self::raw(name, dims, DataType::Int32, data.iter().flat_map(|x| x.to_le_bytes()).collect(), data.len())
    }

    /// int64 elements.
    pub fn i64(name: impl Into<String>, dims: &[usize], data: &[i64]) -> Self {
        Self::raw(name, dims, DataType::Int64, data.iter().flat_map(|x| x.to_le_bytes()).collect(), data.len())
    }

    /// A tensor over little-endian bytes.
    ///
    /// # Panics
    /// If `count` is not the product of the dimensions.
    fn raw(name: impl Into<String>, dims: &[usize], data_type: DataType, bytes: Vec<u8>, count: usize) -> Self {
        assert_eq!(dims.iter().product::<usize>(), count, "dimensions {dims:?}");
        Self {
            name: name.into(),
            dims: dims.iter().map(|&dim| dim as i64).collect(),
            data_type: data_type.into(),
            raw_data: Some(bytes),
            ..Self::default()
        }
    }
}

impl ValueInfoProto {
    /// A tensor of known type and dimensions.
    pub fn tensor(name: impl Into<String>, elem_type: DataType, dims: &[Dim<'_>]) -> Self {
        let dim = dims
            .iter()
            .map(|dim| DimensionProto {
                value: Some(match dim {
                    Dim::Fixed(number) => DimensionValue::Value(*number as i64),
                    Dim::Symbol(symbol) => DimensionValue::Param((*symbol).into()),
                }),
            })
            .collect();
        let tensor = TensorTypeProto { elem_type: elem_type.into(), shape: Some(TensorShapeProto { dim }) };
        Self { name: name.into(), r#type: Some(TypeProto { tensor_type: Some(tensor) }) }
    }
}

impl AttributeProto {
    /// An integer.
    pub fn int(name: &str, value: i64) -> Self {
        Self { name: name.into(), i: Some(value), r#type: AttributeType::Int.into(), ..Self::default() }
    }

    /// Integers.
    pub fn ints(name: &str, values: &[i64]) -> Self {
        Self { name: name.into(), ints: values.to_vec(), r#type: AttributeType::Ints.into(), ..Self::default() }
    }

    /// Sizes as integers.
    pub fn sizes(name: &str, values: &[usize]) -> Self {
        let values: Vec<i64> = values.iter().map(|&value| value as i64).collect();
        Self::ints(name, &values)
    }

    /// A float.
    pub fn float(name: &str, value: f32) -> Self {
        Self { name: name.into(), f: Some(value), r#type: AttributeType::Float.into(), ..Self::default() }
    }

    /// A string.
    pub fn string(name: &str, value: &str) -> Self {
        Self { name: name.into(), s: Some(value.into()), r#type: AttributeType::String.into(), ..Self::default() }
    }

    /// A tensor.
    pub fn tensor(name: &str, value: TensorProto) -> Self {
        Self { name: name.into(), t: Some(value), r#type: AttributeType::Tensor.into(), ..Self::default() }
    }
}

impl NodeProto {
    /// A standard operator applied to named tensors.
    pub fn new<I: AsRef<str>, O: AsRef<str>>(
        op_type: &str,
        name: impl Into<String>,
        inputs: &[I],
        outputs: &[O],
        attributes: Vec<AttributeProto>,
    ) -> Self {
        Self {
            op_type: op_type.into(),
            name: name.into(),
            input: inputs.iter().map(|name| name.as_ref().into()).collect(),
            output: outputs.iter().map(|name| name.as_ref().into()).collect(),
            attribute: attributes,
            ..Self::default()
        }
    }
}
