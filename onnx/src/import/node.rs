//! One node of the file, as an operator's function in `ops` sees it.

use super::Importer;
use super::attributes::Attributes;
use super::constants::{Array, Elements};
use super::dequantized::Dequantized;
use super::draft::Id;
use super::failure::Failure;
use super::feature::{Affine, Feature};
use crate::proto::{DataType, GraphProto, NodeProto};
use crate::{ImportError, Op, Tensor};
use std::rc::Rc;

/// A node that is being read.
pub(super) struct NodeReader<'i, 'a> {
    pub(super) importer: &'i mut Importer<'a>,
    pub(super) graph: &'i GraphProto,
    pub(super) index: usize,
    pub(super) proto: &'i NodeProto,
    pub(super) name: String,
    pub(super) attributes: Attributes<'i>,
    /// Whether a node of the graph has this one's name already.
    pub(super) named: bool,
}

impl NodeReader<'_, '_> {
    /// Type of the elements of constant operand `index`, where it is known.
    pub(super) fn kind(&self, index: usize) -> Option<DataType> {
        self.input(index).ok().and_then(|name| self.importer.constants.kind(name))
    }

    /// Type of the integers of computed operand `index`; `None` where it holds real numbers.
    pub(super) fn integers(&self, index: usize) -> Option<DataType> {
        self.input(index).ok().and_then(|name| self.importer.integer_kinds.get(name).copied())
    }

    /// Type of operand `index`, where it is integers that the file takes as its image.
    pub(super) fn image_integers(&self, index: usize) -> Option<DataType> {
        let name = self.input(index).ok()?;
        self.importer.integer_image.as_ref()?.kind(name)
    }

    /// Says that the result of this node holds integers.
    pub(super) fn set_integers(&mut self, kind: DataType) -> Result<(), Failure> {
        let output = self.output(0)?.to_owned();
        self.importer.integer_kinds.insert(output, kind);
        Ok(())
    }

    /// Whether the file shows operand `index` after it dequantized it.
    pub(super) fn is_dequantized(&self, index: usize) -> bool {
        let mut name = self.proto.input.get(index).map_or("", String::as_str);
        for proto in self.graph.node[..self.index].iter().rev() {
            if !proto.output.iter().any(|output| output == name) {
                continue;
            }
            match (proto.op_type.as_str(), proto.input.first()) {
                ("DequantizeLinear", _) => return true,
                (
                    "Identity" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Transpose" | "Dropout" | "Cast"
                    | "Expand",
                    Some(input),
                ) => name = input,
                _ => return false,
            }
        }
        false
    }

    /// Says that the result of this node holds integers times scales.
    pub(super) fn set_dequantized(&mut self, known: Dequantized) -> Result<(), Failure> {
        let output = self.output(0)?.to_owned();
        self.importer.dequantized.insert(output, known);
        Ok(())
    }

    pub(super) fn op_type(&self) -> &str {
        &self.proto.op_type
    }

    /// Version of the standard operator set.
    pub(super) fn opset(&self) -> i64 {
        self.importer.opset
    }

    /// Whether operand `index` holds integers of the image.
    pub(super) fn is_integer_image(&self, index: usize) -> bool {
        let image = self.importer.integer_image.as_ref();
        image.zip(self.operand(index)).is_some_and(|(image, name)| image.kind(name).is_some())
    }

    /// The name of operand `index`, if it is there.
    pub(super) fn operand(&self, index: usize) -> Option<&str> {
        self.input(index).ok()
    }

    /// The name of result `index`, if it is wanted.
    pub(super) fn result(&self, index: usize) -> Option<&str> {
        self.output(index).ok()
    }

    /// Whether operand `index` is there.
    pub(super) fn has_input(&self, index: usize) -> bool {
        self.proto.input.get(index).is_some_and(|name| !name.is_empty())
    }

    /// Number of operands.
    pub(super) fn input_count(&self) -> usize {
        self.proto.input.len()
    }

    /// Number of results.
    pub(super) fn output_count(&self) -> usize {
        self.proto.output.len()
    }

    /// The node's text for people.
    pub(super) fn doc_string(&self) -> &str {
        &self.proto.doc_string
    }

    /// Dimensions of one image of a value.
    pub(super) fn dims(&self, id: Id) -> &[usize] {
        self.importer.draft.dims(id)
    }

    /// Operand `index`, which is computed from the image.
    pub(super) fn feature(&self, index: usize) -> Result<Feature, Failure> {
        let name = self.input(index)?;
        if let Some(feature) = self.importer.features.get(name) {
            return Ok(feature.clone());
        }
        Err(if self.importer.constants.contains(name) {
            format!("operand {index} (`{name}`) is a constant, only computed tensors are supported there").into()
        } else {
            self.missing(index, name)
        })
    }

    /// Operand `index`, computed by a node as the file shows it, but for the order of its elements.
    pub(super) fn settled(&mut self, index: usize) -> Result<Feature, Failure> {
        let feature = self.feature(index)?;
        let settled = self.importer.settle(feature, &self.name)?;
        // Asked for again, it is not computed again.
        let name = self.input(index)?.to_owned();
        self.importer.features.insert(name, settled.clone());
        Ok(settled)
    }

    /// Operand `index` as a map `[C, H, W]`.
    pub(super) fn map(&mut self, index: usize) -> Result<Id, Failure> {
        let feature = self.settled(index)?;
        self.importer.map(feature, &self.name)
    }

    /// Whether operand `index` is a constant.
    pub(super) fn is_constant(&self, index: usize) -> bool {
        self.input(index).is_ok_and(|name| self.importer.constants.contains(name))
    }

    /// Operand `index`, which is a constant.
    pub(super) fn constant(&self, index: usize) -> Result<Rc<Array>, Failure> {
        let name = self.input(index)?;
        match self.importer.constants.get(name) {
            Some(array) => Ok(array?),
            None if self.importer.features.contains_key(name) => {
                Err(format!("operand {index} (`{name}`) is computed, must be a constant").into())
            }
            None => Err(self.missing(index, name)),
        }
    }

    /// Operand `index`, which is a list of constant integers, or one.
    pub(super) fn ints(&self, index: usize) -> Result<Vec<i64>, Failure> {
        match &*self.constant(index)? {
            Array { dims, elements: Elements::Int(ints) } if dims.len() <= 1 => Ok(ints.clone()),
            Array { dims, .. } => {
                Err(format!("operand {index} has dimensions {dims:?}, must be a list of integers").into())
            }
        }
    }

    /// A list of integers that is operand `index` in newer operator sets and an attribute in older ones.
    pub(super) fn ints_or_attribute(&mut self, index: usize, name: &str) -> Result<Option<Vec<i64>>, Failure> {
        if self.has_input(index) {
            return self.ints(index).map(Some);
        }
        Ok(self.attributes.ints(name)?.map(<[i64]>::to_vec))
    }

    /// Operand `index`, which is one constant number, unless it is left out.
    pub(super) fn scalar(&self, index: usize) -> Result<Option<f32>, Failure> {
        if !self.has_input(index) {
            return Ok(None);
        }
        match &self.constant(index)?.elements {
            Elements::Float(values) if values.len() == 1 => Ok(Some(values[0])),
            Elements::Int(values) if values.len() == 1 => Ok(Some(values[0] as f32)),
            _ => Err(format!("operand {index} must be one number").into()),
        }
    }

    /// Operand `index` as a parameter of the graph. `trainable` says whether gradient descent changes it.
    pub(super) fn parameter(&mut self, index: usize, trainable: bool) -> Result<Id, Failure> {
        let key = (self.input(index)?.to_owned(), trainable);
        if let Some(&id) = self.importer.parameters.get(&key) {
            return Ok(id);
        }
        let tensor = self.weights(index)?;
        let id = self.parameter_of(index, tensor, trainable)?;
        self.importer.parameters.insert(key, id);
        Ok(id)
    }

    /// Operand `index` as float32, checked to be numbers.
    pub(super) fn weights(&self, index: usize) -> Result<Tensor, Failure> {
        let name = self.input(index)?;
        let fail = |reason: &str| ImportError::Initializer { name: name.into(), reason: reason.into() };
        if let Some(tensor) = self.importer.constants.filled(name).filter(|tensor| tensor.count() > 0) {
            return Ok(tensor);
        }
        let array = self.constant(index)?;
        let Elements::Float(data) = &array.elements else {
            return Err(fail("holds integers, must hold float32").into());
        };
        if data.iter().any(|x| !x.is_finite()) {
            return Err(fail("holds NaN or infinity").into());
        }
        if data.is_empty() {
            return Err(fail("is empty").into());
        }
        Ok(Tensor::new(array.dims.clone(), data.clone())?)
    }

    /// A parameter made of operand `index`, whose name it has if no other has it.
    pub(super) fn parameter_of(&mut self, index: usize, tensor: Tensor, trainable: bool) -> Result<Id, Failure> {
        self.scaled_parameter_of(index, tensor, 1.0, trainable)
    }

    /// As [`parameter_of`](Self::parameter_of), where the operand's elements are multiplied by `factor`.
    pub(super) fn scaled_parameter_of(
        &mut self,
        index: usize,
        tensor: Tensor,
        factor: f64,
        trainable: bool,
    ) -> Result<Id, Failure> {
        let mut name = self.input(index)?.to_owned();
        if !self.importer.parameter_names.insert(name.clone()) {
            name = self.importer.draft.fresh(format!("{}.{name}", self.name));
        }
        let known = self.importer.dequantized.get(self.input(index)?);
        let integers = known.and_then(|known| known.integers(&tensor, factor));
        let tensor = match &integers {
            Some(integers) => Tensor::new(tensor.dims(), integers.real())?,
            None => tensor,
        };
        let id = self.importer.draft.parameter(name, tensor, trainable);
        if let Some(integers) = integers {
            self.importer.integers.insert(id, integers);
        }
        Ok(id)
    }

    /// A parameter that no operand alone is.
    pub(super) fn new_parameter(&mut self, role: &str, tensor: Tensor, trainable: bool) -> Id {
        let name = self.importer.draft.fresh(format!("{}.{role}", self.name));
        self.importer.draft.parameter(name, tensor, trainable)
    }

    /// Adds the graph's node for this one: its name and that of its result are the file's.
    pub(super) fn push(&mut self, op: Op, inputs: &[Id]) -> Result<Id, Failure> {
        if std::mem::replace(&mut self.named, true) {
            let name = self.name.clone();
            return self.push_part(&name, op, inputs);
        }
        let output = self.output(0)?.to_owned();
        self.importer.add(self.name.clone(), op, inputs, output)
    }

    /// As [`NodeReader::push`], for result `index`, whose name the graph's node has too.
    pub(super) fn push_output(&mut self, index: usize, op: Op, inputs: &[Id]) -> Result<Id, Failure> {
        let output = self.output(index)?.to_owned();
        let name = self.importer.draft.fresh_node(output.as_str(), self.index);
        self.importer.add(name, op, inputs, output)
    }

    /// Whether result `index` is wanted.
    pub(super) fn has_output(&self, index: usize) -> bool {
        self.output(index).is_ok()
    }

    /// Adds a node that computes a part of what this one does.
    pub(super) fn push_part(&mut self, name: &str, op: Op, inputs: &[Id]) -> Result<Id, Failure> {
        self.importer.push_fresh(name, op, inputs)
    }

    /// Says what result `index` of this node is.
    pub(super) fn bind_at(&mut self, index: usize, feature: Feature) -> Result<(), Failure> {
        let output = self.output(index)?.to_owned();
        let uses = self.importer.uses.get(&output).copied().unwrap_or(0);
        // Read more than once, it is computed once.
        let mut feature = if uses > 1 && !feature.log { self.importer.settle(feature, &self.name)? } else { feature };
        feature.sole &= uses <= 1;
        self.importer.features.insert(output, feature);
        Ok(())
    }

    /// Says what the result of this node is.
    pub(super) fn bind(&mut self, feature: Feature) -> Result<(), Failure> {
        self.bind_at(0, feature)
    }

    /// Says that the result of this node is `value`, in the graph's order.
    pub(super) fn bind_value(&mut self, value: Id) -> Result<(), Failure> {
        let feature = self.importer.plain(value);
        self.bind(feature)
    }

    /// Adds the graph's node for this one, whose result lies as `like` does.
    pub(super) fn push_like(&mut self, op: Op, inputs: &[Id], like: &Feature) -> Result<(), Failure> {
        let value = self.push(op, inputs)?;
        let layout = like.layout.clone();
        self.bind(Feature { value, layout, affine: Affine::identity(), sole: true, log: false })
    }

    /// Makes this node's result another name of its first operand.
    pub(super) fn pass_through(&mut self) -> Result<(), Failure> {
        let (input, output) = (self.input(0)?.to_owned(), self.output(0)?.to_owned());
        if self.is_constant(0) {
            self.importer.constants.alias(&output, &input);
            return Ok(());
        }
        let feature = self.feature(0)?;
        self.bind(feature)
    }

    /// Makes this node's result a constant.
    pub(super) fn set_constant(&mut self, array: Array) -> Result<(), Failure> {
        let output = self.output(0)?.to_owned();
        self.importer.constants.insert(&output, array);
        Ok(())
    }

    /// Makes this node's result a constant that is `value` everywhere.
    pub(super) fn fill(&mut self, dims: Vec<usize>, value: f32) -> Result<(), Failure> {
        if !value.is_finite() {
            return Err("is NaN or infinity everywhere".into());
        }
        let output = self.output(0)?.to_owned();
        self.importer.constants.fill(&output, dims, value);
        Ok(())
    }

    /// Name of operand `index`.
    pub(super) fn input(&self, index: usize) -> Result<&str, Failure> {
        match self.proto.input.get(index) {
            Some(name) if !name.is_empty() => Ok(name),
            _ => Err(format!("operand {index} is missing").into()),
        }
    }

    /// Name of result `index`.
    pub(super) fn output(&self, index: usize) -> Result<&str, Failure> {
        match self.proto.output.get(index) {
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
