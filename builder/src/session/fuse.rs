//! Which nodes are computed together: a convolution with the batch norm, the sum and the clamp after it; a batch norm
//! or a sum with the clamp after it; both with the convolution of single pixels that reads them; a sigmoid with the
//! product, and the sum, that it gates.

use skipstone_onnx::{Graph, Node, NodeId, Op, ValueId};

/// Limits that clamp nothing.
const UNLIMITED: [f32; 2] = [f32::NEG_INFINITY, f32::INFINITY];

/// Nodes that become one step, and the value that they make.
pub(super) struct Fused<'g> {
    /// The first of the nodes.
    pub(super) node: &'g Node,
    /// Activations that the first node reads.
    pub(super) operands: Vec<ValueId>,
    /// A batch norm before a convolution of single pixels, and what its result is clamped to.
    pub(super) entry: Option<(&'g Node, [f32; 2])>,
    /// A batch norm after a convolution.
    pub(super) norm: Option<&'g Node>,
    /// What is added to the result.
    pub(super) residual: Option<ValueId>,
    /// Whether what a sigmoid is multiplied with is added to the product.
    pub(super) open: bool,
    /// What the result is clamped to.
    pub(super) limits: [f32; 2],
    /// The last node's result.
    pub(super) output: ValueId,
}

/// The graph's nodes as steps, in an order in which every operand stands before its use.
///
/// Nodes that do nothing in evaluation are left out: what read their results reads their operands.
pub(super) fn fuse(graph: &Graph) -> (Vec<Fused<'_>>, ValueId) {
    let mut fuser = Fuser {
        graph,
        consumers: graph.consumers(),
        taken: vec![false; graph.nodes().len()],
        made: vec![false; graph.values().len()],
        same: (0..graph.values().len()).map(|_| None).collect(),
    };
    fuser.made[graph.input().index()] = true;
    let mut steps = Vec::new();
    for (index, node) in graph.nodes().iter().enumerate() {
        if fuser.taken[index] {
            continue;
        }
        if matches!(node.op, Op::Dropout { .. } | Op::StochasticDepth { .. }) {
            fuser.same[node.output.index()] = Some(fuser.resolve(node.inputs[0]));
            continue;
        }
        let step = fuser.step(node);
        fuser.made[step.output.index()] = true;
        steps.push(step);
    }
    let output = fuser.resolve(graph.output());
    (steps, output)
}

struct Fuser<'g> {
    graph: &'g Graph,
    consumers: Vec<Vec<NodeId>>,
    /// Nodes that are part of a step.
    taken: Vec<bool>,
    /// Values that a step so far makes.
    made: Vec<bool>,
    /// Values that are the same as another.
    same: Vec<Option<ValueId>>,
}

impl<'g> Fuser<'g> {
    fn resolve(&self, id: ValueId) -> ValueId {
        self.same[id.index()].unwrap_or(id)
    }

    /// The only node that reads a value.
    fn reader(&self, id: ValueId) -> Option<(NodeId, &'g Node)> {
        match self.consumers[id.index()].as_slice() {
            &[reader] if id != self.graph.output() => Some((reader, self.graph.node(reader))),
            _ => None,
        }
    }

    fn step(&mut self, node: &'g Node) -> Fused<'g> {
        let activations = node.inputs.iter().filter(|&&id| self.graph.parameter(id).is_none());
        let operands = activations.map(|&id| self.resolve(id)).collect();
        let mut step = Fused {
            node,
            operands,
            entry: None,
            norm: None,
            residual: None,
            open: false,
            limits: UNLIMITED,
            output: node.output,
        };
        if matches!(node.op, Op::BatchNorm { .. }) {
            self.take_clamp(&mut step);
            self.take_convolution(&mut step);
        }
        match step.node.op {
            Op::Conv(_) => {
                self.take_norm(&mut step);
                self.take_sum(&mut step);
                self.take_clamp(&mut step);
            }
            Op::Gemm => {
                self.take_sum(&mut step);
                self.take_clamp(&mut step);
            }
            Op::Add => self.take_clamp(&mut step),
            Op::Sigmoid => self.take_gate(&mut step),
            _ => {}
        }
        step
    }

    /// Takes a convolution of single pixels after a batch norm.
    fn take_convolution(&mut self, step: &mut Fused<'g>) {
        if let Some((id, node)) = self.reader(step.output)
            && let Op::Conv(conv) = &node.op
            && (conv.kernel, conv.pads, conv.groups) == ([1; 2], [0; 4], 1)
            && node.inputs[0] == step.output
        {
            self.taken[id.index()] = true;
            step.entry = Some((step.node, step.limits));
            step.limits = UNLIMITED;
            step.node = node;
            step.output = node.output;
        }
    }

    /// Takes the product of a sigmoid with a map that is there already, and the sum of both with this map.
    fn take_gate(&mut self, step: &mut Fused<'g>) {
        let Some((id, product)) = self.reader(step.output) else { return };
        if product.op != Op::Mul {
            return;
        }
        let Some(&other) = product.inputs.iter().find(|&&input| input != step.output) else { return };
        let map = self.resolve(other);
        if !self.made[map.index()] || self.graph.value(map).dims != self.graph.value(step.output).dims {
            return;
        }
        self.taken[id.index()] = true;
        step.residual = Some(map);
        step.output = product.output;
        if let Some((id, sum)) = self.reader(step.output)
            && sum.op == Op::Add
            && sum.inputs.iter().any(|&input| input != step.output && self.resolve(input) == map)
        {
            self.taken[id.index()] = true;
            step.open = true;
            step.output = sum.output;
        }
    }

    fn take_norm(&mut self, step: &mut Fused<'g>) {
        if let Some((id, norm)) = self.reader(step.output)
            && matches!(norm.op, Op::BatchNorm { .. })
        {
            self.taken[id.index()] = true;
            step.norm = Some(norm);
            step.output = norm.output;
        }
    }

    /// Takes a sum whose other operand is there already.
    fn take_sum(&mut self, step: &mut Fused<'g>) {
        if let Some((id, sum)) = self.reader(step.output)
            && sum.op == Op::Add
            && let Some(&other) = sum.inputs.iter().find(|&&input| input != step.output)
            && self.made[self.resolve(other).index()]
        {
            self.taken[id.index()] = true;
            step.residual = Some(self.resolve(other));
            step.output = sum.output;
        }
    }

    fn take_clamp(&mut self, step: &mut Fused<'g>) {
        if let Some((id, clamp)) = self.reader(step.output)
            && let Some(limits) = limits(&clamp.op)
        {
            self.taken[id.index()] = true;
            step.limits = limits;
            step.output = clamp.output;
        }
    }
}

/// What an operator that only clamps clamps to.
pub(super) fn limits(op: &Op) -> Option<[f32; 2]> {
    match op {
        Op::Relu => Some([0.0, f32::INFINITY]),
        Op::Clip { min, max } => Some([*min, *max]),
        _ => None,
    }
}
