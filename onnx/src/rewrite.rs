//! Graphs made from graphs. A parameter that is edited is a value of the operand that was edited: what else reads it
//! keeps it as it was.

use crate::graph::{Graph, GraphBuilder, Node, NodeId, Parameter, Value, ValueId};
use crate::{GraphError, Integers, Tensor};
use std::collections::HashSet;

impl Graph {
    /// The graph of what `edit` makes of each node, in order. It must name, for every value that is read later or is
    /// the output, what stands for it.
    ///
    /// Names and metadata stay. Parameters that nothing reads any more are gone.
    ///
    /// # Errors
    /// [`GraphError`] where what was made breaks the graph's rules.
    ///
    /// # Panics
    /// If nothing stands for a value that is read.
    pub fn rewrite<E>(&self, mut edit: E) -> Result<Graph, GraphError>
    where
        E: FnMut(&mut Rewrite<'_>, &Node) -> Result<(), GraphError>,
    {
        let input = self.value(self.input());
        let dims = [input.dims[0], input.dims[1], input.dims[2]];
        let mut builder = GraphBuilder::new(&self.name, &input.name, dims)?;
        *builder.metadata_mut() = self.metadata.clone();
        let mut made = vec![None; self.values().len()];
        made[self.input().index()] = Some(builder.input());
        let names = self.values().iter().map(|value| value.name.clone()).collect();
        let mut rewrite = Rewrite { graph: self, builder, made, readers: self.readers(), names };
        for node in self.nodes() {
            edit(&mut rewrite, node)?;
        }
        let output = rewrite.value(self.output())?;
        rewrite.builder.finish(output)
    }

    /// Makes operand `index` of a node a parameter that nothing else reads, and gives it: the one that it is, or where
    /// another operand reads that too, a copy, which comes after all values that there are. `None` if it is no
    /// parameter.
    pub fn own_parameter(&mut self, node: NodeId, index: usize) -> Option<ValueId> {
        let id = *self.node(node).inputs.get(index)?;
        let parameter = self.value(id).parameter.clone()?;
        if self.readers()[id.index()] == 1 {
            return Some(id);
        }
        let mut names = self.values().iter().map(|value| value.name.clone()).collect();
        let name = fresh(&mut names, format!("{}.{}", self.node(node).name, self.value(id).name));
        if let Some(integers) = self.metadata.quantization.parameters.get(&self.value(id).name) {
            self.metadata.quantization.parameters.insert(name.clone(), integers.clone());
        }
        Some(self.replace_parameter(node, index, name, parameter))
    }

    /// How many operands read each value.
    fn readers(&self) -> Vec<usize> {
        let mut readers = vec![0; self.values().len()];
        self.nodes().iter().flat_map(|node| &node.inputs).for_each(|input| readers[input.index()] += 1);
        readers
    }
}

/// A graph under way that is made from another one.
#[derive(Debug)]
pub struct Rewrite<'g> {
    graph: &'g Graph,
    builder: GraphBuilder,
    /// What stands for each value of the old graph.
    made: Vec<Option<ValueId>>,
    /// How many operands read each value of the old graph.
    readers: Vec<usize>,
    /// Names that are taken, among them all of the old graph.
    names: HashSet<String>,
}

impl Rewrite<'_> {
    /// What stands for a value of the old graph; a parameter is copied when it is read first.
    ///
    /// # Errors
    /// As [`GraphBuilder::parameter`].
    ///
    /// # Panics
    /// If it is the result of a node that nothing stands for.
    pub fn value(&mut self, old: ValueId) -> Result<ValueId, GraphError> {
        if let Some(made) = self.made[old.index()] {
            return Ok(made);
        }
        let Value { name, parameter, .. } = self.graph.value(old);
        let Some(Parameter { tensor, trainable }) = parameter else { panic!("nothing stands for `{name}`") };
        let copy = self.builder.parameter(name, tensor.clone(), *trainable)?;
        self.made[old.index()] = Some(copy);
        Ok(copy)
    }

    /// What stands for the operands of a node.
    ///
    /// # Errors
    /// As [`Rewrite::value`].
    pub fn operands(&mut self, node: &Node) -> Result<Vec<ValueId>, GraphError> {
        node.inputs.iter().map(|&id| self.value(id)).collect()
    }

    /// A trainable parameter for operand `index` of a node, in place of the one that it has, if it has one. It keeps
    /// that one's name where nothing else reads it; otherwise it is named `<node>.<role>`, with underscores if need be.
    ///
    /// # Errors
    /// As [`GraphBuilder::parameter`].
    pub fn parameter(&mut self, node: &Node, index: usize, role: &str, tensor: Tensor) -> Result<ValueId, GraphError> {
        let name = self.parameter_name(node, index, role);
        self.builder.parameter(name, tensor, true)
    }

    /// As [`Rewrite::parameter`], of integers, which the metadata then have as those of the file.
    ///
    /// # Errors
    /// As [`Rewrite::parameter`].
    pub fn integers(
        &mut self,
        node: &Node,
        index: usize,
        role: &str,
        dims: &[usize],
        integers: Integers,
    ) -> Result<ValueId, GraphError> {
        let name = self.parameter_name(node, index, role);
        let tensor = Tensor::new(dims, integers.real())?;
        self.builder.metadata_mut().quantization.parameters.insert(name.clone(), integers);
        self.builder.parameter(name, tensor, true)
    }

    fn parameter_name(&mut self, node: &Node, index: usize, role: &str) -> String {
        match node.inputs.get(index) {
            Some(id) if self.readers[id.index()] == 1 => self.graph.value(*id).name.clone(),
            _ => fresh(&mut self.names, format!("{}.{role}", node.name)),
        }
    }

    /// Adds a node of this name and operator with operands of the new graph. Its result stands for `result`, whose name
    /// it has.
    ///
    /// # Errors
    /// As [`GraphBuilder::push_named`].
    pub fn push(&mut self, node: &Node, operands: &[ValueId], result: ValueId) -> Result<(), GraphError> {
        let name = &self.graph.value(result).name;
        self.made[result.index()] = Some(self.builder.push_named(&node.name, node.op.clone(), operands, name)?);
        Ok(())
    }

    /// Adds a node as it is.
    ///
    /// # Errors
    /// As [`Rewrite::value`] and [`Rewrite::push`].
    pub fn keep(&mut self, node: &Node) -> Result<(), GraphError> {
        let operands = self.operands(node)?;
        self.push(node, &operands, node.output)
    }

    /// Leaves a node out: its first operand stands for its result.
    ///
    /// # Errors
    /// As [`Rewrite::value`].
    pub fn bypass(&mut self, node: &Node) -> Result<(), GraphError> {
        self.made[node.output.index()] = Some(self.value(node.inputs[0])?);
        Ok(())
    }
}

/// `name`, with underscores after it if need be, so that it is not among `names`; there it is put.
fn fresh(names: &mut HashSet<String>, mut name: String) -> String {
    while !names.insert(name.clone()) {
        name.push('_');
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Conv, Integers, Op, fixtures};

    /// Two convolutions of one weight and one bias, which a batch norm reads as beta and mean.
    fn shared() -> Graph {
        let mut builder = GraphBuilder::new("net", "x", [2, 3, 3]).unwrap();
        let mut parameter = |name: &str, dims: &[usize], first: f32| {
            let data = (0..dims.iter().product()).map(|i: usize| first + i as f32).collect();
            builder.parameter(name, Tensor::new(dims, data).unwrap(), true).unwrap()
        };
        let (weight, bias, ones) =
            (parameter("w", &[2, 2, 1, 1], -1.5), parameter("b", &[2], 0.5), parameter("g", &[2], 1.0));
        let conv = Op::Conv(Conv::square(1, 1, 0));
        let input = builder.input();
        let x = builder.push("first", conv.clone(), &[input, weight, bias]).unwrap();
        let x = builder.push("second", conv, &[x, weight, bias]).unwrap();
        let x = builder.push("norm", Op::BatchNorm { epsilon: 0.1 }, &[x, ones, bias, bias, ones]).unwrap();
        let x = builder.push("pool", Op::GlobalAveragePool, &[x]).unwrap();
        let x = builder.push("flat", Op::Flatten, &[x]).unwrap();
        builder.finish(x).unwrap()
    }

    #[test]
    fn what_is_kept_stays_the_same() {
        // In the order in which values are read.
        let ordered = shared().rewrite(|new, node| new.keep(node)).unwrap();
        for graph in [fixtures::residual(), fixtures::branches(), ordered] {
            assert_eq!(graph.rewrite(|new, node| new.keep(node)).unwrap(), graph);
        }
    }

    #[test]
    fn an_edited_parameter_belongs_to_the_operand_that_was_edited() {
        let graph = shared();
        let edit = |rewrite: &mut Rewrite<'_>, node: &Node| {
            if node.name != "first" {
                return rewrite.keep(node);
            }
            let zeros = Tensor::new([2, 2, 1, 1], vec![0.0; 4]).unwrap();
            let operands = [
                rewrite.value(node.inputs[0])?,
                rewrite.parameter(node, 1, "weight", zeros)?,
                rewrite.value(node.inputs[2])?,
            ];
            rewrite.push(node, &operands, node.output)
        };
        let edited = graph.rewrite(edit).unwrap();
        let [first, second] = [0, 1].map(|index| edited.nodes()[index].inputs[1]);
        assert_eq!(edited.value(first).name, "first.weight");
        assert_eq!(edited.parameter(second), graph.parameter(graph.nodes()[1].inputs[1]));
        // Once it is alone, it keeps its name.
        let again = edited.rewrite(edit).unwrap();
        assert_eq!(again, edited);
    }

    #[test]
    fn a_node_is_left_out_with_what_it_alone_read() {
        let graph = shared();
        let short = graph.rewrite(|new, node| if node.name == "norm" { new.bypass(node) } else { new.keep(node) });
        let short = short.unwrap();
        let names: Vec<&str> = short.parameters().map(|(_, name, _)| name).collect();
        assert_eq!((short.nodes().len(), names), (graph.nodes().len() - 1, vec!["w", "b"]));
    }

    #[test]
    fn every_reader_can_have_a_copy() {
        let mut graph = shared();
        let integers = Integers { scales: vec![1.0], values: vec![1, 2, 3, 4] };
        graph.metadata.quantization.parameters.insert("w".into(), integers);
        let before = graph.clone();
        let nodes: Vec<NodeId> = graph.producers().into_iter().flatten().collect();
        for &node in &nodes {
            for index in 0..graph.node(node).inputs.len() {
                let is_parameter = graph.parameter(graph.node(node).inputs[index]).is_some();
                assert_eq!(graph.own_parameter(node, index).is_some(), is_parameter);
            }
            assert_eq!(graph.own_parameter(node, 9), None);
        }
        assert!(
            graph.readers().iter().zip(graph.values()).all(|(&count, value)| value.parameter.is_none() || count == 1)
        );
        for (node, old) in graph.nodes().iter().zip(before.nodes()) {
            let contents = |graph: &Graph, node: &Node| -> Vec<_> {
                node.inputs.iter().map(|&id| graph.parameter(id).cloned()).collect()
            };
            assert_eq!(contents(&graph, node), contents(&before, old));
        }
        assert_eq!(graph.metadata.quantization.parameters.len(), 2);
        assert_eq!(graph.value(graph.nodes()[0].inputs[1]).name, "first.w");
    }
}
