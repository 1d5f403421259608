//! The graph while it is read: nodes may still be changed, and some turn out not to be needed.

use crate::graph::{Graph, GraphBuilder, Metadata, Parameter, Value, ValueId};
use crate::{GraphError, Op, Tensor, shape};
use std::collections::{HashMap, HashSet};

/// Index of a value of the draft.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Id(usize);

pub(super) struct DraftNode {
    pub(super) name: String,
    pub(super) op: Op,
    pub(super) inputs: Vec<Id>,
    pub(super) output: Id,
}

pub(super) struct Draft {
    values: Vec<Value>,
    nodes: Vec<DraftNode>,
    /// For each value the node that makes it.
    producers: Vec<Option<usize>>,
    /// Names of values that are taken, among them all of the file.
    names: HashSet<String>,
    node_names: HashSet<String>,
}

impl Draft {
    /// A network of the input alone. `names` are those that the file uses.
    pub(super) fn new(input: &str, dims: [usize; 3], names: HashSet<String>) -> Result<Self, GraphError> {
        GraphBuilder::new("", input, dims)?;
        let input = Value { name: input.into(), dims: dims.to_vec(), parameter: None };
        Ok(Self { values: vec![input], nodes: Vec::new(), producers: vec![None], names, node_names: HashSet::new() })
    }

    pub(super) fn input(&self) -> Id {
        Id(0)
    }

    pub(super) fn name(&self, id: Id) -> &str {
        &self.values[id.0].name
    }

    pub(super) fn dims(&self, id: Id) -> &[usize] {
        &self.values[id.0].dims
    }

    /// Number of nodes so far.
    pub(super) fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// Node `index`, in order.
    pub(super) fn node(&self, index: usize) -> &DraftNode {
        &self.nodes[index]
    }

    /// The node that makes a value.
    pub(super) fn producer(&self, id: Id) -> Option<&DraftNode> {
        self.producers[id.0].map(|index| &self.nodes[index])
    }

    /// The node that makes a value, to be changed so that its result keeps its dimensions.
    pub(super) fn producer_mut(&mut self, id: Id) -> Option<&mut DraftNode> {
        self.producers[id.0].map(|index| &mut self.nodes[index])
    }

    /// Gives a value another name, which no other has.
    pub(super) fn rename(&mut self, id: Id, name: String) {
        self.values[id.0].name = name;
    }

    /// A parameter's contents.
    pub(super) fn tensor(&self, id: Id) -> Option<&Tensor> {
        self.values[id.0].parameter.as_ref().map(|parameter| &parameter.tensor)
    }

    /// A name for a value that no other has: `name`, with underscores after it if need be.
    pub(super) fn fresh(&mut self, name: impl Into<String>) -> String {
        let mut name = name.into();
        while !self.names.insert(name.clone()) {
            name.push('_');
        }
        name
    }

    /// A name for a node that no other has.
    pub(super) fn fresh_node(&mut self, name: impl Into<String>, index: usize) -> String {
        let mut name = name.into();
        if !self.node_names.insert(name.clone()) {
            name = format!("{name}#{index}");
            while !self.node_names.insert(name.clone()) {
                name.push('#');
            }
        }
        name
    }

    /// Adds a parameter whose name no other has.
    pub(super) fn parameter(&mut self, name: String, tensor: Tensor, trainable: bool) -> Id {
        let dims = tensor.dims().to_vec();
        self.add(Value { name, dims, parameter: Some(Parameter { tensor, trainable }) }, None)
    }

    /// Adds a node; `name` and `output` are names that no other has.
    pub(super) fn push(&mut self, name: String, op: Op, inputs: &[Id], output: String) -> Result<Id, GraphError> {
        let operands: Vec<&Value> = inputs.iter().map(|id| &self.values[id.0]).collect();
        let dims = shape::infer(&op, &operands).map_err(|reason| GraphError::Operands {
            node: name.clone(),
            op: op.name(),
            reason,
        })?;
        let output = self.add(Value { name: output, dims, parameter: None }, Some(self.nodes.len()));
        self.nodes.push(DraftNode { name, op, inputs: inputs.to_vec(), output });
        Ok(output)
    }

    fn add(&mut self, value: Value, producer: Option<usize>) -> Id {
        self.values.push(value);
        self.producers.push(producer);
        Id(self.values.len() - 1)
    }

    /// The graph of the nodes that `output` needs.
    pub(super) fn finish(mut self, name: &str, metadata: Metadata, output: Id) -> Result<Graph, GraphError> {
        let mut live = vec![false; self.nodes.len()];
        let mut open = vec![output];
        while let Some(id) = open.pop() {
            if let Some(index) = self.producers[id.0]
                && !std::mem::replace(&mut live[index], true)
            {
                open.extend(&self.nodes[index].inputs);
            }
        }
        let input = &self.values[0];
        let dims = [input.dims[0], input.dims[1], input.dims[2]];
        let mut builder = GraphBuilder::new(name, &input.name, dims)?;
        *builder.metadata_mut() = metadata;
        let mut ids: HashMap<Id, ValueId> = HashMap::from([(Id(0), builder.input())]);
        for (node, _) in self.nodes.into_iter().zip(live).filter(|(_, live)| *live) {
            let mut inputs = Vec::with_capacity(node.inputs.len());
            for id in node.inputs {
                if let Some(&known) = ids.get(&id) {
                    inputs.push(known);
                    continue;
                }
                let value = &mut self.values[id.0];
                let Some(parameter) = value.parameter.take() else {
                    unreachable!("nodes stand after those that they read")
                };
                let copy = builder.parameter(std::mem::take(&mut value.name), parameter.tensor, parameter.trainable)?;
                ids.insert(id, copy);
                inputs.push(copy);
            }
            let output = std::mem::take(&mut self.values[node.output.0].name);
            ids.insert(node.output, builder.push_named(node.name, node.op, &inputs, output)?);
        }
        builder.finish(ids[&output])
    }
}
