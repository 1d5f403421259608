//! What the planner asks about a network: who reads a tensor, and from which row on.

use skipstone_runtime::format::records::{NONE, Node, Tensor};
use skipstone_runtime::geometry;

/// Records before memory is planned, with their readers.
pub(super) struct Network<'a> {
    pub(super) nodes: &'a [Node],
    pub(super) tensors: &'a [Tensor],
    /// The tensor that no node makes.
    pub(super) image: usize,
    /// For each tensor the nodes that read it, in order; a node that reads it twice is there twice.
    readers: Vec<Vec<Reader>>,
}

#[derive(Clone, Copy)]
struct Reader {
    node: usize,
    as_operand: bool,
}

impl<'a> Network<'a> {
    pub(super) fn new(nodes: &'a [Node], tensors: &'a [Tensor]) -> Self {
        let mut readers = vec![Vec::new(); tensors.len()];
        for (node, record) in nodes.iter().enumerate() {
            readers[usize::from(record.input)].push(Reader { node, as_operand: false });
            if record.operand != NONE {
                readers[usize::from(record.operand)].push(Reader { node, as_operand: true });
            }
        }
        let image = tensors.iter().position(|tensor| tensor.producer == NONE).unwrap_or(0);
        Self { nodes, tensors, image, readers }
    }

    /// The tensors that `node` reads: its input and its operand, if it has one.
    pub(super) fn reads(&self, node: usize) -> impl Iterator<Item = usize> + use<> {
        let record = &self.nodes[node];
        let operand = (record.operand != NONE && record.operand != record.input).then_some(record.operand);
        [Some(record.input), operand].into_iter().flatten().map(usize::from)
    }

    pub(super) fn output(&self, node: usize) -> usize {
        self.nodes[node].output.into()
    }

    /// Steps of a node.
    pub(super) fn steps(&self, node: usize) -> usize {
        let record = &self.nodes[node];
        geometry::steps(record, &self.tensors[usize::from(record.input)], &self.tensors[usize::from(record.output)])
    }

    /// Rows that exist of a node's output after `done` steps.
    pub(super) fn rows_made(&self, node: usize, done: usize) -> usize {
        let record = &self.nodes[node];
        let (input, output) = (&self.tensors[usize::from(record.input)], &self.tensors[usize::from(record.output)]);
        geometry::rows_made(record, input, output, done)
    }

    /// The first row of a tensor that a step yet to come reads, the steps of node `except` left out. The scores, which
    /// nobody reads, are needed for ever.
    pub(super) fn first_needed(&self, tensor: usize, done: &[u16], except: Option<usize>) -> usize {
        let readers = &self.readers[tensor];
        if readers.is_empty() {
            return 0;
        }
        let first = |reader: &Reader| {
            let (node, step) = (&self.nodes[reader.node], usize::from(done[reader.node]));
            let (input, output) = (&self.tensors[usize::from(node.input)], &self.tensors[usize::from(node.output)]);
            if step >= geometry::steps(node, input, output) {
                usize::MAX
            } else if reader.as_operand {
                geometry::output_rows(node, output, step).start
            } else {
                geometry::input_rows(node, input, output, step).start
            }
        };
        readers.iter().filter(|reader| Some(reader.node) != except).map(first).min().unwrap_or(usize::MAX)
    }

    /// The last node that reads a tensor; `None` for the scores.
    pub(super) fn last_reader(&self, tensor: usize) -> Option<usize> {
        self.readers[tensor].last().map(|reader| reader.node)
    }

    /// Bytes of a row, as it lies in a ring.
    pub(super) fn row_bytes(&self, tensor: usize) -> usize {
        self.tensors[tensor].row_stride as usize
    }

    /// Bytes of all rows.
    pub(super) fn map_bytes(&self, tensor: usize) -> usize {
        usize::from(self.tensors[tensor].height) * self.row_bytes(tensor)
    }

    /// The operand whose rows a node may overwrite with its own, if nobody needs them afterwards.
    pub(super) fn in_place_operand(&self, node: usize) -> Option<usize> {
        let record = &self.nodes[node];
        let operand = usize::from(record.operand);
        let shape = |tensor: &Tensor| (tensor.height, tensor.width, tensor.channels);
        let candidate = record.operand != NONE
            && record.operand != record.input
            && operand != self.image
            && shape(&self.tensors[operand]) == shape(&self.tensors[usize::from(record.output)]);
        candidate.then_some(operand)
    }
}
