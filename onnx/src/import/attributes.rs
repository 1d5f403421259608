//! Attributes of a node, with a check that all of them were understood.

use crate::proto::{AttributeProto, AttributeType, TensorProto};

/// The attributes of one node. Each read marks an attribute as understood; [`Attributes::finish`] names those left.
pub(super) struct Attributes<'a> {
    protos: &'a [AttributeProto],
    understood: Vec<bool>,
}

impl<'a> Attributes<'a> {
    pub(super) fn new(protos: &'a [AttributeProto]) -> Self {
        Self { protos, understood: vec![false; protos.len()] }
    }

    /// An integer, if present.
    pub(super) fn int(&mut self, name: &str) -> Result<Option<i64>, String> {
        self.get(name, AttributeType::Int).map(|proto| proto.map(|proto| proto.i.unwrap_or_default()))
    }

    /// A float, if present; it is finite.
    pub(super) fn float(&mut self, name: &str) -> Result<Option<f32>, String> {
        match self.get(name, AttributeType::Float)?.map(|proto| proto.f.unwrap_or_default()) {
            Some(value) if !value.is_finite() => Err(format!("attribute `{name}` is {value}")),
            value => Ok(value),
        }
    }

    /// Integers, if present.
    pub(super) fn ints(&mut self, name: &str) -> Result<Option<&'a [i64]>, String> {
        self.get(name, AttributeType::Ints).map(|proto| proto.map(|proto| proto.ints.as_slice()))
    }

    /// `N` sizes, if present.
    pub(super) fn sizes<const N: usize>(&mut self, name: &str) -> Result<Option<[usize; N]>, String> {
        let Some(ints) = self.ints(name)? else { return Ok(None) };
        sizes(ints).map(Some).map_err(|reason| format!("attribute `{name}` {reason}"))
    }

    /// Floats, if present.
    pub(super) fn floats(&mut self, name: &str) -> Result<Option<&'a [f32]>, String> {
        self.get(name, AttributeType::Floats).map(|proto| proto.map(|proto| proto.floats.as_slice()))
    }

    /// A string, if present.
    pub(super) fn string(&mut self, name: &str) -> Result<Option<&'a str>, String> {
        let Some(proto) = self.get(name, AttributeType::String)? else { return Ok(None) };
        std::str::from_utf8(proto.s.as_deref().unwrap_or_default())
            .map(Some)
            .map_err(|_| format!("attribute `{name}` is not text"))
    }

    /// A tensor, if present.
    pub(super) fn tensor(&mut self, name: &str) -> Result<Option<&'a TensorProto>, String> {
        self.get(name, AttributeType::Tensor).map(|proto| proto.and_then(|proto| proto.t.as_ref()))
    }

    /// Accepts an integer attribute only with the value `only`, which is also what its absence means.
    pub(super) fn only(&mut self, name: &str, only: i64) -> Result<(), String> {
        match self.int(name)? {
            Some(value) if value != only => Err(format!("attribute `{name}` is {value}, only {only} is supported")),
            _ => Ok(()),
        }
    }

    /// Marks attributes without influence on the result as understood.
    pub(super) fn ignore(&mut self, name: &str) {
        for (proto, understood) in self.protos.iter().zip(&mut self.understood) {
            *understood |= proto.name == name;
        }
    }

    /// Checks that every attribute was read.
    pub(super) fn finish(self) -> Result<(), String> {
        match self.understood.iter().position(|&understood| !understood) {
            Some(index) => Err(format!("attribute `{}` is not supported", self.protos[index].name)),
            None => Ok(()),
        }
    }

    fn get(&mut self, name: &str, kind: AttributeType) -> Result<Option<&'a AttributeProto>, String> {
        let Some(index) = self.protos.iter().position(|proto| proto.name == name) else { return Ok(None) };
        let proto = &self.protos[index];
        if proto.r#type() != kind {
            return Err(format!("attribute `{name}` is of kind {:?}, must be {kind:?}", proto.r#type()));
        }
        self.understood[index] = true;
        Ok(Some(proto))
    }
}

/// `ints` as exactly `N` sizes.
pub(super) fn sizes<const N: usize>(ints: &[i64]) -> Result<[usize; N], String> {
    let fail = || format!("is {ints:?}, must be {N} sizes");
    let ints: &[i64; N] = ints.try_into().map_err(|_| fail())?;
    let mut sizes = [0; N];
    for (size, &int) in sizes.iter_mut().zip(ints) {
        *size = usize::try_from(int).map_err(|_| fail())?;
    }
    Ok(sizes)
}
