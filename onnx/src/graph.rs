//! The graph itself and its builder.

use crate::{GraphError, Normalization, Op, Preprocessing, QuantParams, Quantization, Source, Tensor, shape};
use std::collections::HashMap;

pub use crate::value::{Parameter, Value};

/// Index of a value in its graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(usize);

impl ValueId {
    /// Position in [`Graph::values`].
    pub fn index(self) -> usize {
        self.0
    }
}

/// Index of a node in its graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(usize);

impl NodeId {
    /// Position in [`Graph::nodes`].
    pub fn index(self) -> usize {
        self.0
    }
}

/// An operator applied to values.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Unique name that follows the network's structure, such as `stage2.block1.conv1`.
    pub name: String,
    /// What is computed.
    pub op: Op,
    /// Operands in ONNX's order.
    pub inputs: Vec<ValueId>,
    /// The result.
    pub output: ValueId,
}

/// What travels with a network besides its arithmetic.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata {
    /// Normalization of the input; unknown for files made by others.
    pub normalization: Option<Normalization>,
    /// How an image becomes the pixels that are normalized; the default where a file does not say it.
    pub preprocessing: Preprocessing,
    /// How the file that the network was read from takes its image, if that is known. Not written into ONNX files, whose
    /// input is the graph's.
    pub source: Option<Source>,
    /// Names of the classes in the order of the scores; empty if unknown.
    pub class_names: Vec<String>,
    /// The command that made the weights.
    pub command: Option<String>,
    /// The int8 activations, by name, that the weights were trained for; empty if they were trained for none.
    pub activation_scales: Vec<(String, QuantParams)>,
    /// How the file rounded the network's tensors, if others quantized it. Not written into files.
    pub quantization: Quantization,
}

/// A validated network with one input and one output, in topological order.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    /// The network's name.
    pub name: String,
    /// Input normalization, class names, provenance.
    pub metadata: Metadata,
    values: Vec<Value>,
    nodes: Vec<Node>,
    input: ValueId,
    output: ValueId,
}

impl Graph {
    /// The nodes in an order in which every operand stands before its use.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// One node.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    /// All values: input, parameters, results.
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// The index of every value, in order.
    pub fn value_ids(&self) -> impl Iterator<Item = ValueId> + use<> {
        (0..self.values.len()).map(ValueId)
    }

    /// One value.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.0]
    }

    /// The image: `[C, H, W]`.
    pub fn input(&self) -> ValueId {
        self.input
    }

    /// The scores, before softmax: `[classes]`.
    pub fn output(&self) -> ValueId {
        self.output
    }

    /// The parameters in the order of their creation.
    pub fn parameters(&self) -> impl Iterator<Item = (ValueId, &str, &Parameter)> {
        self.values
            .iter()
            .enumerate()
            .filter_map(|(i, value)| value.parameter.as_ref().map(|p| (ValueId(i), value.name.as_str(), p)))
    }

    /// The contents of a parameter; `None` for activations.
    pub fn parameter(&self, id: ValueId) -> Option<&Tensor> {
        self.values[id.0].parameter.as_ref().map(|p| &p.tensor)
    }

    /// The contents of a parameter, to be changed in place; `None` for activations.
    pub fn parameter_mut(&mut self, id: ValueId) -> Option<&mut Tensor> {
        self.values[id.0].parameter.as_mut().map(|p| &mut p.tensor)
    }

    /// Gives operand `index` of a node a new parameter, whose name nothing else has.
    pub(crate) fn replace_parameter(
        &mut self,
        node: NodeId,
        index: usize,
        name: String,
        parameter: Parameter,
    ) -> ValueId {
        let id = ValueId(self.values.len());
        let dims = parameter.tensor.dims().to_vec();
        self.values.push(Value { name, dims, parameter: Some(parameter) });
        self.nodes[node.0].inputs[index] = id;
        id
    }

    /// For each value the nodes that read it, in order of the nodes.
    pub fn consumers(&self) -> Vec<Vec<NodeId>> {
        let mut consumers = vec![Vec::new(); self.values.len()];
        for (index, node) in self.nodes.iter().enumerate() {
            for input in &node.inputs {
                consumers[input.0].push(NodeId(index));
            }
        }
        consumers
    }

    /// For each value the node that makes it; `None` for the input and for parameters.
    pub fn producers(&self) -> Vec<Option<NodeId>> {
        let mut producers = vec![None; self.values.len()];
        for (index, node) in self.nodes.iter().enumerate() {
            producers[node.output.0] = Some(NodeId(index));
        }
        producers
    }

    /// Number of trainable elements.
    pub fn parameter_count(&self) -> usize {
        self.parameters().filter(|(_, _, p)| p.trainable).map(|(_, _, p)| p.tensor.count()).sum()
    }

    /// Multiply-accumulates of convolutions and linear layers for one image.
    pub fn macs(&self) -> u64 {
        self.nodes.iter().map(|node| self.node_macs(node)).sum()
    }

    /// Multiply-accumulates of one node for one image.
    pub fn node_macs(&self, node: &Node) -> u64 {
        let operands: Vec<&Value> = node.inputs.iter().map(|&id| self.value(id)).collect();
        shape::macs(&node.op, &operands, self.value(node.output))
    }
}

/// Builds a [`Graph`] node by node, checking names, operands and shapes as it goes.
#[derive(Debug)]
pub struct GraphBuilder {
    name: String,
    metadata: Metadata,
    values: Vec<Value>,
    nodes: Vec<Node>,
    names: HashMap<String, ValueId>,
    input: ValueId,
}

impl GraphBuilder {
    /// Starts a network whose input is one image of `dims` (`[C, H, W]`).
    ///
    /// # Errors
    /// [`GraphError::EmptyDimension`] if a dimension is zero, [`GraphError::TooLarge`] if the image has more elements
    /// than [`shape::MAX_ELEMENTS`].
    pub fn new(name: impl Into<String>, input_name: &str, dims: [usize; 3]) -> Result<Self, GraphError> {
        if dims.contains(&0) {
            return Err(GraphError::EmptyDimension { name: input_name.into(), dims: dims.to_vec() });
        }
        if shape::elements(&dims).is_none() {
            return Err(GraphError::TooLarge { name: input_name.into(), dims: dims.to_vec() });
        }
        let input = Value { name: input_name.into(), dims: dims.to_vec(), parameter: None };
        Ok(Self {
            name: name.into(),
            metadata: Metadata::default(),
            names: HashMap::from([(input.name.clone(), ValueId(0))]),
            values: vec![input],
            nodes: Vec::new(),
            input: ValueId(0),
        })
    }

    /// The image.
    pub fn input(&self) -> ValueId {
        self.input
    }

    /// Input normalization, class names, provenance.
    pub fn metadata_mut(&mut self) -> &mut Metadata {
        &mut self.metadata
    }

    /// Dimensions of a value, as in [`Value::dims`].
    pub fn dims(&self, id: ValueId) -> &[usize] {
        &self.values[id.0].dims
    }

    /// Adds a parameter.
    ///
    /// # Errors
    /// [`GraphError::DuplicateName`].
    pub fn parameter(
        &mut self,
        name: impl Into<String>,
        tensor: Tensor,
        trainable: bool,
    ) -> Result<ValueId, GraphError> {
        let dims = tensor.dims().to_vec();
        self.add_value(Value { name: name.into(), dims, parameter: Some(Parameter { tensor, trainable }) })
    }

    /// Adds a node and gives its result, which is named `<name>.out`.
    ///
    /// # Errors
    /// As [`GraphBuilder::push_named`].
    pub fn push(&mut self, name: impl Into<String>, op: Op, inputs: &[ValueId]) -> Result<ValueId, GraphError> {
        let name = name.into();
        let output = format!("{name}.out");
        self.push_named(name, op, inputs, output)
    }

    /// Adds a node and names its result.
    ///
    /// # Errors
    /// [`GraphError::DuplicateName`], or [`GraphError::Operands`] where number, kind or shapes of the operands do not
    /// fit the operator.
    pub fn push_named(
        &mut self,
        name: impl Into<String>,
        op: Op,
        inputs: &[ValueId],
        output: impl Into<String>,
    ) -> Result<ValueId, GraphError> {
        let name = name.into();
        let operands: Vec<&Value> = inputs.iter().map(|id| &self.values[id.0]).collect();
        let dims = shape::infer(&op, &operands).map_err(|reason| GraphError::Operands {
            node: name.clone(),
            op: op.name(),
            reason,
        })?;
        let output = self.add_value(Value { name: output.into(), dims, parameter: None })?;
        self.nodes.push(Node { name, op, inputs: inputs.to_vec(), output });
        Ok(output)
    }

    /// Ends the network with `output`, which must hold the scores: `[classes]`.
    ///
    /// # Errors
    /// [`GraphError::Output`] if `output` is a parameter or not one-dimensional, [`GraphError::Softmax`] if it holds
    /// probabilities.
    pub fn finish(self, output: ValueId) -> Result<Graph, GraphError> {
        let value = &self.values[output.0];
        if value.dims.len() != 1 || value.parameter.is_some() {
            return Err(GraphError::Output { name: value.name.clone(), dims: value.dims.clone() });
        }
        if let Some(node) = self.nodes.iter().find(|node| node.output == output && node.op == Op::Softmax) {
            return Err(GraphError::Softmax { node: node.name.clone() });
        }
        Ok(Graph {
            name: self.name,
            metadata: self.metadata,
            values: self.values,
            nodes: self.nodes,
            input: self.input,
            output,
        })
    }

    fn add_value(&mut self, value: Value) -> Result<ValueId, GraphError> {
        let id = ValueId(self.values.len());
        if self.names.insert(value.name.clone(), id).is_some() {
            return Err(GraphError::DuplicateName { name: value.name });
        }
        self.values.push(value);
        Ok(id)
    }
}
