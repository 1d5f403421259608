//! Tensors that reference models take and give.

/// Elements of a tensor, row-major in ONNX's order.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Elements {
    F32(Vec<f32>),
    I8(Vec<i8>),
}

impl Elements {
    pub(super) fn slice(&self, start: usize, len: usize) -> Self {
        match self {
            Elements::F32(data) => Elements::F32(data[start..][..len].to_vec()),
            Elements::I8(data) => Elements::I8(data[start..][..len].to_vec()),
        }
    }

    pub(super) fn append(&mut self, other: Self) {
        match (self, other) {
            (Elements::F32(data), Elements::F32(more)) => data.extend(more),
            (Elements::I8(data), Elements::I8(more)) => data.extend(more),
            _ => unreachable!("one output of one model has one type"),
        }
    }
}
