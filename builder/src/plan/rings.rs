//! How many rows each tensor keeps, and when it is alive, when the device's schedule is followed.

use super::network::Network;
use super::place::Span;
use skipstone_runtime::format::records::Segment;

/// One entry of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The next row of the image arrives.
    Feed,
    /// The next step of a node.
    Node(usize),
}

/// The ring that one or several tensors share: each of them takes, row by row, the place of the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ring {
    /// Those that are made or read by the steps, the one that came first before the others.
    pub(super) tensors: Vec<usize>,
    pub(super) rows: usize,
    /// First and last step during which it is alive.
    pub(super) first: usize,
    pub(super) last: usize,
}

impl Ring {
    pub(super) fn span(&self, network: &Network) -> Span {
        Span { bytes: self.rows * network.row_bytes(self.tensors[0]), first: self.first, last: self.last }
    }
}

const NOWHERE: usize = usize::MAX;

/// Follows schedules of a network; its memory is used again from one to the next.
pub(super) struct Simulation<'n> {
    network: &'n Network<'n>,
    /// Nodes before this one are complete.
    begin: usize,
    /// Steps that each node has taken: none from `begin` on between two runs.
    done: Vec<u16>,
    steps: Vec<Step>,
    stack: Vec<usize>,
    /// Last step of each node.
    last_steps: Vec<usize>,
    /// Of each tensor, the one whose ring it lies in, the next one in that ring, and the step that made its first row.
    heads: Vec<usize>,
    nexts: Vec<usize>,
    firsts: Vec<usize>,
    /// Of each ring's first tensor: the most rows that are kept, and the first member that is still read.
    rows: Vec<usize>,
    alive: Vec<usize>,
    /// Tensors that are made or read.
    touched: Vec<usize>,
    is_touched: Vec<bool>,
}

impl<'n> Simulation<'n> {
    pub(super) fn new(network: &'n Network<'n>) -> Self {
        let (nodes, tensors) = (network.nodes.len(), network.tensors.len());
        Self {
            network,
            begin: 0,
            done: vec![0; nodes],
            steps: Vec::new(),
            stack: Vec::new(),
            last_steps: vec![0; nodes],
            heads: (0..tensors).collect(),
            nexts: vec![NOWHERE; tensors],
            firsts: vec![NOWHERE; tensors],
            rows: vec![0; tensors],
            alive: (0..tensors).collect(),
            touched: Vec::new(),
            is_touched: vec![false; tensors],
        }
    }

    /// The steps of the last run.
    pub(super) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// First and last step of a node in the last run.
    pub(super) fn span_of_node(&self, node: usize) -> (usize, usize) {
        let first = self.steps.iter().position(|&step| step == Step::Node(node));
        (first.unwrap_or(0), self.last_steps[node])
    }

    /// The rings of all tensors that `segments`, which follow each other, make or read. All nodes before them are
    /// complete; `image_rows` rows of the image are there, others arrive when they are needed. `None` if the last node
    /// of a segment does not need all the others: the pull rule would leave some of them for later.
    pub(super) fn run(&mut self, segments: &[Segment], image_rows: usize) -> Option<Vec<Ring>> {
        let first = segments.first().map_or(0, |segment| usize::from(segment.first));
        let end = segments.last().map_or(0, |segment| usize::from(segment.end));
        self.start_at(first);
        self.steps.clear();
        let mut fed = image_rows;
        let complete = segments.iter().all(|segment| self.pull(segment, &mut fed));
        let rings = complete.then(|| self.rings(first..end, image_rows));
        self.done[first..end].fill(0);
        rings
    }

    fn start_at(&mut self, first: usize) {
        for node in self.begin..first {
            self.done[node] = self.network.steps(node) as u16;
        }
        self.done[first.min(self.begin)..self.begin].fill(0);
        self.begin = first;
    }

    /// Follows the pull rule to the end of a segment. The rule begins again at the last node after each step; that
    /// leads to the node that waited for it, so that the way is kept on a stack here.
    fn pull(&mut self, segment: &Segment, fed: &mut usize) -> bool {
        let last = usize::from(segment.end) - 1;
        self.stack.clear();
        while usize::from(self.done[last]) < self.network.steps(last) {
            let node = self.stack.last().copied().unwrap_or(last);
            match self.network.lacking(node, &self.done, *fed, segment.operand_first != 0) {
                Some(tensor) => match self.network.producer(tensor) {
                    Some(producer) => self.stack.push(producer),
                    None => {
                        *fed += 1;
                        self.steps.push(Step::Feed);
                    }
                },
                None => {
                    self.last_steps[node] = self.steps.len();
                    self.steps.push(Step::Node(node));
                    self.done[node] += 1;
                    self.stack.pop();
                }
            }
        }
        let nodes = usize::from(segment.first)..usize::from(segment.end);
        nodes.into_iter().all(|node| usize::from(self.done[node]) == self.network.steps(node))
    }

    fn rings(&mut self, nodes: std::ops::Range<usize>, image_rows: usize) -> Vec<Ring> {
        self.touch(nodes.clone(), image_rows);
        self.done[nodes.clone()].fill(0);
        self.find_heads(nodes.clone());
        self.done[nodes.clone()].fill(0);
        self.count_rows(image_rows);
        let mut rings: Vec<Ring> = Vec::new();
        for index in 0..self.touched.len() {
            let head = self.touched[index];
            if self.heads[head] != head {
                continue;
            }
            let mut ring = Ring { tensors: Vec::new(), rows: self.rows[head], first: NOWHERE, last: 0 };
            let mut tensor = head;
            while tensor != NOWHERE {
                let last = match self.network.last_reader(tensor) {
                    Some(reader) if reader < nodes.end => self.last_read(tensor, nodes.end),
                    _ => self.steps.len(),
                };
                ring.first = ring.first.min(self.firsts[tensor]);
                ring.last = ring.last.max(last);
                ring.tensors.push(tensor);
                tensor = self.nexts[tensor];
            }
            rings.push(ring);
        }
        rings
    }

    /// Lists the tensors of `nodes` and forgets what earlier runs found out about them.
    fn touch(&mut self, nodes: std::ops::Range<usize>, image_rows: usize) {
        self.touched.clear();
        let network = self.network;
        let mut touch = |tensor: usize| {
            if !std::mem::replace(&mut self.is_touched[tensor], true) {
                self.touched.push(tensor);
            }
        };
        if image_rows > 0 && nodes.start == 0 {
            touch(network.image);
        }
        for node in nodes {
            network.for_each_read(node, &mut touch);
            if !network.is_view(node) {
                touch(network.output(node));
            }
        }
        for &tensor in &self.touched {
            self.is_touched[tensor] = false;
            (self.heads[tensor], self.nexts[tensor]) = (tensor, NOWHERE);
            (self.rows[tensor], self.alive[tensor]) = (0, tensor);
            let made_before = network.producer(tensor).map_or(image_rows > 0, |producer| producer < self.begin);
            self.firsts[tensor] = if made_before { 0 } else { NOWHERE };
        }
    }

    /// A sum takes the place of its operand where every row of the operand is dead for all others when it is
    /// overwritten.
    fn find_heads(&mut self, nodes: std::ops::Range<usize>) {
        let network = self.network;
        let mut operands: Vec<Option<usize>> = nodes.clone().map(|node| network.in_place_operand(node)).collect();
        for step in &self.steps {
            let Step::Node(node) = *step else { continue };
            let candidate = &mut operands[node - nodes.start];
            if let Some(operand) = *candidate {
                let end = network.rows_made(node, self.done[node] + 1);
                if network.first_needed(operand, &self.done, Some(node)) < end {
                    *candidate = None;
                }
            }
            self.done[node] += 1;
        }
        // Nodes come after those whose outputs they read, so that the head of an operand is final.
        for (node, operand) in nodes.zip(operands) {
            if let Some(operand) = operand.filter(|&operand| self.nexts[operand] == NOWHERE) {
                let output = network.output(node);
                self.nexts[operand] = output;
                self.heads[output] = self.heads[operand];
            }
        }
    }

    fn made(&self, tensor: usize, fed: usize) -> usize {
        self.network.producer(tensor).map_or(fed, |producer| self.network.rows_made(producer, self.done[producer]))
    }

    fn count_rows(&mut self, image_rows: usize) {
        let network = self.network;
        let mut fed = image_rows;
        // All rows of an image that is there at once have to be kept.
        self.rows[network.image] = image_rows;
        for at in 0..self.steps.len() {
            let output = match self.steps[at] {
                Step::Feed => network.image,
                Step::Node(node) => network.output(node),
            };
            let (written, rows) = match self.steps[at] {
                Step::Feed => (fed, fed + 1),
                Step::Node(node) => {
                    (network.rows_made(node, self.done[node]), network.rows_made(node, self.done[node] + 1))
                }
            };
            let is_view = matches!(self.steps[at], Step::Node(node) if network.is_view(node));
            if rows > written && !is_view {
                self.firsts[output] = self.firsts[output].min(at);
                let (mut oldest, mut newest) = (written, rows);
                let head = self.heads[output];
                let mut member = self.alive[head];
                while member != NOWHERE {
                    let made = self.made(member, fed);
                    let needed = network.first_needed(member, &self.done, None);
                    if needed == usize::MAX && member == self.alive[head] && self.nexts[member] != NOWHERE {
                        // The next member has taken the place of all its rows.
                        self.alive[head] = self.nexts[member];
                    }
                    if made == 0 && member != output {
                        break;
                    }
                    if needed < made {
                        oldest = oldest.min(needed);
                    }
                    newest = newest.max(made);
                    member = self.nexts[member];
                }
                self.rows[head] = self.rows[head].max(newest - oldest);
            }
            match self.steps[at] {
                Step::Feed => fed += 1,
                Step::Node(node) => self.done[node] += 1,
            }
        }
    }

    /// The last step that reads a tensor, by a node before `end`.
    fn last_read(&self, tensor: usize, end: usize) -> usize {
        let last = |reader: usize| match self.network.is_view(reader) {
            true => self.last_read(self.network.output(reader), end),
            false if (self.begin..end).contains(&reader) => self.last_steps[reader],
            false => 0,
        };
        self.network.readers(tensor).map(last).max().unwrap_or(0)
    }
}
