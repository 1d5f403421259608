//! What the planner asks about a network: which rows each step reads and makes, and from which row on a tensor is
//! needed.

use skipstone_runtime::format::records::{CONCAT_VIEW, NONE, Node, OpCode, Tensor};
use skipstone_runtime::{ops, rows};
use std::ops::Range;

/// Records before memory is planned, with the rows of all their steps.
pub(super) struct Network<'a> {
    pub(super) nodes: &'a [Node],
    pub(super) tensors: &'a [Tensor],
    /// The tensor that no node makes.
    pub(super) image: usize,
    tables: Vec<Table>,
    /// For each tensor the nodes that read it, in order; a node that reads it twice is there twice.
    readers: Vec<Vec<Reader>>,
    /// For each tensor the last node that reads it or a view of it.
    last_readers: Vec<Option<usize>>,
}

#[derive(Clone, Copy)]
struct Reader {
    node: usize,
    as_operand: bool,
}

/// The rows of a node's steps.
struct Table {
    steps: usize,
    /// Output rows that exist after so many steps.
    made: Vec<u16>,
    /// Rows of the first and of the second operand that each step reads.
    input: Vec<Range<u16>>,
    operand: Vec<Range<u16>>,
}

impl Table {
    fn new(node: &Node, tensors: &[Tensor]) -> Self {
        let (input, output) = (&tensors[usize::from(node.input)], &tensors[usize::from(node.output)]);
        let steps = ops::steps(node, input, output);
        let narrow = |rows: Range<usize>| rows.start as u16..rows.end as u16;
        Self {
            steps,
            made: (0..=steps).map(|done| ops::rows_made(node, input, output, done) as u16).collect(),
            input: (0..steps).map(|step| narrow(ops::input_rows(node, input, output, step))).collect(),
            operand: match node.operand {
                NONE => Vec::new(),
                _ => (0..steps).map(|step| narrow(rows::output_rows(node, output, step))).collect(),
            },
        }
    }
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
        let tables = nodes.iter().map(|node| Table::new(node, tensors)).collect();
        let mut network = Self { nodes, tensors, image, tables, readers, last_readers: vec![None; tensors.len()] };
        // Views are read by later nodes only, so that theirs are known.
        for tensor in nodes.iter().rev().map(|node| usize::from(node.output)).chain([image]) {
            let through = |reader: &Reader| match network.is_view(reader.node) {
                true => network.last_readers[network.output(reader.node)],
                false => Some(reader.node),
            };
            network.last_readers[tensor] = network.readers[tensor].iter().filter_map(through).max();
        }
        network
    }

    /// Whether a node only puts the rows of others side by side, for those who read its output.
    pub(super) fn is_view(&self, node: usize) -> bool {
        rows::is_view(&self.nodes[node])
    }

    /// The node that makes a tensor; `None` for the image.
    pub(super) fn producer(&self, tensor: usize) -> Option<usize> {
        let producer = self.tensors[tensor].producer;
        (producer != NONE).then_some(producer.into())
    }

    /// Calls `visit` for all tensors whose bytes `node` reads: its operands, and the members of views among them.
    pub(super) fn for_each_read(&self, node: usize, visit: &mut impl FnMut(usize)) {
        if self.is_view(node) {
            return;
        }
        let record = &self.nodes[node];
        for operand in [record.input, record.operand].into_iter().filter(|&operand| operand != NONE) {
            let mut tensor = usize::from(operand);
            while let Some(producer) = self.producer(tensor).filter(|&producer| self.is_view(producer)) {
                visit(self.nodes[producer].operand.into());
                tensor = self.nodes[producer].input.into();
            }
            visit(tensor);
        }
    }

    pub(super) fn output(&self, node: usize) -> usize {
        self.nodes[node].output.into()
    }

    /// Steps of a node.
    pub(super) fn steps(&self, node: usize) -> usize {
        self.tables[node].steps
    }

    /// Rows that exist of a node's output after `done` steps.
    pub(super) fn rows_made(&self, node: usize, done: u16) -> usize {
        self.tables[node].made[usize::from(done)].into()
    }

    /// The first operand of `node` that lacks a row for its next step, in the order that the pull rule asks them.
    pub(super) fn lacking(&self, node: usize, done: &[u16], fed: usize, operand_first: bool) -> Option<usize> {
        let (record, table, step) = (&self.nodes[node], &self.tables[node], usize::from(done[node]));
        let lacks = |tensor: u16, rows: &[Range<u16>]| {
            if tensor == NONE {
                return None;
            }
            let made = match self.producer(tensor.into()) {
                Some(producer) => self.rows_made(producer, done[producer]),
                None => fed,
            };
            (made < rows[step].end.into()).then_some(usize::from(tensor))
        };
        let (input, operand) = (|| lacks(record.input, &table.input), || lacks(record.operand, &table.operand));
        if operand_first { operand().or_else(input) } else { input().or_else(operand) }
    }

    /// The first row of a tensor that a step yet to come reads, the steps of node `except` left out. The scores, which
    /// nothing reads, are needed for ever.
    pub(super) fn first_needed(&self, tensor: usize, done: &[u16], except: Option<usize>) -> usize {
        let readers = &self.readers[tensor];
        if readers.is_empty() {
            return 0;
        }
        let first = |reader: &Reader| {
            if self.is_view(reader.node) {
                return self.first_needed(self.output(reader.node), done, except);
            }
            let table = &self.tables[reader.node];
            let rows = if reader.as_operand { &table.operand } else { &table.input };
            rows.get(usize::from(done[reader.node])).map_or(usize::MAX, |rows| rows.start.into())
        };
        readers.iter().filter(|reader| Some(reader.node) != except).map(first).min().unwrap_or(usize::MAX)
    }

    /// The nodes that read a tensor, views among them.
    pub(super) fn readers(&self, tensor: usize) -> impl Iterator<Item = usize> + '_ {
        self.readers[tensor].iter().map(|reader| reader.node)
    }

    /// The last node that reads a tensor, or a view of it; `None` for the scores.
    pub(super) fn last_reader(&self, tensor: usize) -> Option<usize> {
        self.last_readers[tensor]
    }

    /// Bytes of a row, as it lies in a ring.
    pub(super) fn row_bytes(&self, tensor: usize) -> usize {
        self.tensors[tensor].row_stride as usize
    }

    /// Bytes of all rows.
    pub(super) fn map_bytes(&self, tensor: usize) -> usize {
        usize::from(self.tensors[tensor].height) * self.row_bytes(tensor)
    }

    /// The operand whose rows a node may overwrite with its own, if nothing needs them afterwards; not one that the
    /// node reads as its input, too, or as a part of that.
    pub(super) fn in_place_operand(&self, node: usize) -> Option<usize> {
        let record = &self.nodes[node];
        let operand = usize::from(record.operand);
        let mut reads = 0;
        self.for_each_read(node, &mut |tensor| reads += usize::from(tensor == operand));
        let shape = |tensor: &Tensor| (tensor.height, tensor.width, tensor.channels);
        let candidate = record.operand != NONE
            && record.op != OpCode::Concat as u8
            && reads == 1
            && operand != self.image
            && shape(&self.tensors[operand]) == shape(&self.tensors[usize::from(record.output)]);
        candidate.then_some(operand)
    }
}

/// Makes views of the concatenations whose readers can gather their rows: nothing is copied then, and each member keeps
/// only the rows that it needs.
pub(super) fn choose_views(nodes: &mut [Node], tensors: &[Tensor]) {
    for index in 0..nodes.len() {
        if nodes[index].op != OpCode::Concat as u8 {
            continue;
        }
        let output = nodes[index].output;
        let gathers = |node: &Node| node.operand != output && (node.input != output || ops::reads_views(node));
        let members = [nodes[index].input, nodes[index].operand].map(|tensor| tensors[usize::from(tensor)].producer);
        let is_read = nodes.iter().any(|node| node.input == output);
        let view = is_read && !members.contains(&NONE) && nodes.iter().all(gathers);
        nodes[index].flags = if view { CONCAT_VIEW } else { 0 };
    }
}
