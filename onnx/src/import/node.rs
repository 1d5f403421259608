//! One node of the file, as an operator's function in `ops` sees it.

use super::attributes::Attributes;
use super::constants::{Array, Elements};
use super::{Importer, ops, standard};
use crate::graph::ValueId;
use crate::proto::{GraphProto, NodeProto};
use crate::{GraphError, ImportError, Op, Tensor};

/// Why a node cannot be read: a reason that is yet to be told together with the node's name, or a whole error.
pub(super) enum Failure {
    Reason(String),
    Error(ImportError),
}

impl From<String> for Failure {
    fn from(reason: String) -> Self {
        Failure::Reason(reason)
    }
}

impl From<&str> for Failure {
    fn from(reason: &str) -> Self {
        Failure::Reason(reason.into())
    }
}

impl From<ImportError> for Failure {
    fn from(error: ImportError) -> Self {
        Failure::Error(error)
    }
}

impl From<GraphError> for Failure {
    fn from(error: GraphError) -> Self {
        Failure::Error(error.into())
    }
}

/// Reads node `index` of the file into the importer's graph.
pub(super) fn read(importer: &mut Importer<'_>, graph: &GraphProto, index: usize) -> Result<(), ImportError> {
    let proto = &graph.node[index];
    let name = node_name(importer, proto, index);
    let mut node = NodeReader { importer, graph, index, proto, name, attributes: Attributes::new(&proto.attribute) };
    let outcome = node.read();
    let name = node.name;
    outcome.map_err(|failure| match failure {
        Failure::Error(error) => error,
        Failure::Reason(reason) => ImportError::Unsupported { node: name, op: proto.op_type.clone(), reason },
    })
}

/// The node's own name, or that of its result, or one made of its position; unique in any case.
fn node_name(importer: &mut Importer<'_>, proto: &NodeProto, index: usize) -> String {
    let output = proto.output.first().cloned().unwrap_or_default();
    let mut name = [&proto.name, &output].into_iter().find(|name| !name.is_empty()).cloned().unwrap_or("node".into());
    if !importer.node_names.insert(name.clone()) {
        name = format!("{name}#{index}");
        while !importer.node_names.insert(name.clone()) {
            name.push('#');
        }
    }
    name
}

/// A node that is being read.
pub(super) struct NodeReader<'i, 'a> {
    importer: &'i mut Importer<'a>,
    graph: &'i GraphProto,
    index: usize,
    proto: &'i NodeProto,
    name: String,
    pub(super) attributes: Attributes<'i>,
}

impl NodeReader<'_, '_> {
    fn read(&mut self) -> Result<(), Failure> {
        if !standard(&self.proto.domain) {
            return Err(format!("operators of `{}` are not supported", self.proto.domain).into());
        }
        let import = ops::find(&self.proto.op_type)?;
        let output = self.output()?;
        if let Some(extra) = self.proto.output[1..].iter().find(|name| !name.is_empty()) {
            return Err(format!("its second result `{extra}` is not supported").into());
        }
        if self.importer.constants.contains(output) || self.importer.activations.contains_key(output) {
            return Err(GraphError::DuplicateName { name: output.into() }.into());
        }
        import(self)?;
        Ok(std::mem::replace(&mut self.attributes, Attributes::new(&[])).finish()?)
    }

    /// Whether operand `index` is there.
    pub(super) fn has_input(&self, index: usize) -> bool {
        self.proto.input.get(index).is_some_and(|name| !name.is_empty())
    }

    /// Number of operands.
    pub(super) fn input_count(&self) -> usize {
        self.proto.input.len()
    }

    /// The node's text for people.
    pub(super) fn doc_string(&self) -> &str {
        &self.proto.doc_string
    }

    /// Dimensions of one image of a value.
    pub(super) fn dims(&self, id: ValueId) -> &[usize] {
        self.importer.builder.dims(id)
    }

    /// Operand `index`, which is computed from the image.
    pub(super) fn activation(&self, index: usize) -> Result<ValueId, Failure> {
        let name = self.input(index)?;
        if let Some(&id) = self.importer.activations.get(name) {
            return Ok(id);
        }
        Err(if self.importer.constants.contains(name) {
            format!("operand {index} (`{name}`) is a constant, only computed tensors are supported there").into()
        } else {
            self.missing(index, name)
        })
    }

    /// Whether operand `index` is a constant.
    pub(super) fn is_constant(&self, index: usize) -> bool {
        self.input(index).is_ok_and(|name| self.importer.constants.contains(name))
    }

    /// Operand `index`, which is a constant.
    pub(super) fn constant(&self, index: usize) -> Result<Array, Failure> {
        let name = self.input(index)?;
        match self.importer.constants.get(name) {
            Some(array) => Ok(array?),
            None if self.importer.activations.contains_key(name) => {
                Err(format!("operand {index} (`{name}`) is computed, must be a constant").into())
            }
            None => Err(self.missing(index, name)),
        }
    }

    /// Operand `index`, which is a list of constant integers.
    pub(super) fn ints(&self, index: usize) -> Result<Vec<i64>, Failure> {
        match self.constant(index)? {
            Array { dims, elements: Elements::Int(ints) } if dims.len() == 1 => Ok(ints),
            Array { dims, .. } => {
                Err(format!("operand {index} has dimensions {dims:?}, must be a list of integers").into())
            }
        }
    }

    /// Operand `index`, which is one constant number, unless it is left out.
    pub(super) fn scalar(&self, index: usize) -> Result<Option<f32>, Failure> {
        if !self.has_input(index) {
            return Ok(None);
        }
        match self.constant(index)?.elements {
            Elements::Float(values) if values.len() == 1 => Ok(Some(values[0])),
            Elements::Int(values) if values.len() == 1 => Ok(Some(values[0] as f32)),
            _ => Err(format!("operand {index} must be one number").into()),
        }
    }

    /// Operand `index` as a parameter of the graph. `trainable` says whether gradient descent changes it.
    pub(super) fn parameter(&mut self, index: usize, trainable: bool) -> Result<ValueId, Failure> {
        self.parameter_by(index, trainable, Ok)
    }

    /// As [`NodeReader::parameter`], in another layout.
    pub(super) fn parameter_by(
        &mut self,
        index: usize,
        trainable: bool,
        layout: impl FnOnce(Tensor) -> Result<Tensor, Failure>,
    ) -> Result<ValueId, Failure> {
        let key = (self.input(index)?.to_owned(), trainable);
        if let Some(&id) = self.importer.parameters.get(&key) {
            return Ok(id);
        }
        let array = self.constant(index)?;
        let fail = |reason: &str| ImportError::Initializer { name: key.0.clone(), reason: reason.into() };
        let Elements::Float(data) = array.elements else {
            return Err(fail("holds integers, must hold float32").into());
        };
        if data.iter().any(|x| !x.is_finite()) {
            return Err(fail("holds NaN or infinity").into());
        }
        if data.is_empty() {
            return Err(fail("is empty").into());
        }
        let tensor = layout(Tensor::new(array.dims, data)?)?;
        let other_role = self.importer.parameters.contains_key(&(key.0.clone(), !trainable));
        let name = if other_role { format!("{}.{}", self.name, key.0) } else { key.0.clone() };
        let id = self.importer.builder.parameter(name, tensor, trainable)?;
        self.importer.parameters.insert(key, id);
        Ok(id)
    }

    /// Adds the graph's node for this one, and its result.
    pub(super) fn push(&mut self, op: Op, inputs: &[ValueId]) -> Result<(), Failure> {
        let output = self.output()?.to_owned();
        let id = self.importer.builder.push_named(self.name.as_str(), op, inputs, output.as_str())?;
        self.importer.activations.insert(output, id);
        Ok(())
    }

    /// Makes this node's result another name of its first operand.
    pub(super) fn pass_through(&mut self) -> Result<(), Failure> {
        let (input, output) = (self.input(0)?.to_owned(), self.output()?.to_owned());
        if self.is_constant(0) {
            self.importer.constants.alias(&output, &input);
        } else {
            let id = self.activation(0)?;
            self.importer.activations.insert(output, id);
        }
        Ok(())
    }

    /// Makes this node's result a constant.
    pub(super) fn set_constant(&mut self, array: Array) -> Result<(), Failure> {
        let output = self.output()?.to_owned();
        self.importer.constants.insert(&output, array);
        Ok(())
    }

    fn input(&self, index: usize) -> Result<&str, Failure> {
        match self.proto.input.get(index) {
            Some(name) if !name.is_empty() => Ok(name),
            _ => Err(format!("operand {index} is missing").into()),
        }
    }

    fn output(&self) -> Result<&str, Failure> {
        match self.proto.output.first() {
            Some(name) if !name.is_empty() => Ok(name),
            _ => Err("it has no result".into()),
        }
    }

    fn missing(&self, index: usize, name: &str) -> Failure {
        let produces = |proto: &NodeProto| proto.output.iter().any(|output| output == name);
        match self.graph.node[self.index..].iter().find(|proto| produces(proto)) {
            Some(later) => format!(
                "operand {index} (`{name}`) is made only by node `{}` later in the file: its nodes are out of order or \
                 form a cycle",
                later.name
            ),
            None => format!("operand {index} (`{name}`) is neither an initializer nor made by a node"),
        }
        .into()
    }
}
