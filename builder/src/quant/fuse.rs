//! Which operators of the float network become one integer operator, and in which order they run.

use super::QuantError;
use skipstone_onnx::{Graph, Node, NodeId, Op, ValueId};
use std::collections::HashMap;

/// What one integer operator does, in terms of the float network.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum StepOp {
    /// A convolution, or a linear layer over the whole map.
    Conv,
    /// A sum that no convolution takes over.
    Add,
    /// A global average pool.
    GlobalAveragePool,
    /// A strided slice, a padding of channels, or both.
    Shortcut {
        /// Vertical and horizontal stride.
        stride: [usize; 2],
        /// Zero channels before the copied ones.
        channels_before: usize,
    },
}

/// One integer operator.
#[derive(Clone, Debug)]
pub(crate) struct Step<'g> {
    pub(crate) op: StepOp,
    /// The float operator that does the work and gives its name.
    pub(crate) node: &'g Node,
    pub(crate) input: ValueId,
    pub(crate) operand: Option<ValueId>,
    /// The value that the step makes: behind the sum and the ReLU that it took over.
    pub(crate) output: ValueId,
    pub(crate) relu: bool,
}

/// The network as integer operators in the order of execution. Values are named by what [`Fused::input`] and the steps
/// list; a flattened map is the map.
#[derive(Debug)]
pub(crate) struct Fused<'g> {
    pub(crate) steps: Vec<Step<'g>>,
    pub(crate) input: ValueId,
    pub(crate) output: ValueId,
}

/// Fuses a network without batch normalizations.
///
/// A sum joins the convolution that runs last among its producers and whose result nothing else reads; that convolution
/// then runs where the sum stood, so that the other operand exists. A ReLU joins the operator before it.
///
/// # Errors
/// [`QuantError::Unsupported`] naming the node that has no integer form.
pub(crate) fn fuse(graph: &Graph) -> Result<Fused<'_>, QuantError> {
    let mut fusion = Fusion { graph, consumers: graph.consumers(), steps: Vec::new(), maps: HashMap::new() };
    for node in graph.nodes() {
        fusion.node(node)?;
    }
    let output = fusion.map(graph.output());
    if !fusion.steps.iter().any(|step| step.output == output) {
        let node = graph.nodes().last().map_or_else(|| graph.name.clone(), |node| node.name.clone());
        return Err(QuantError::Unsupported { node, op: "Graph", reason: "the scores are the image itself".into() });
    }
    Ok(Fused { steps: fusion.steps, input: graph.input(), output })
}

struct Fusion<'g> {
    graph: &'g Graph,
    consumers: Vec<Vec<NodeId>>,
    steps: Vec<Step<'g>>,
    /// The map behind each flattened value.
    maps: HashMap<ValueId, ValueId>,
}

impl<'g> Fusion<'g> {
    /// The map that `value` is, whether flattened or not.
    fn map(&self, value: ValueId) -> ValueId {
        self.maps.get(&value).copied().unwrap_or(value)
    }

    /// How many operators, and the network's end, read the map `value`.
    fn uses(&self, value: ValueId) -> usize {
        let flattened = self.maps.iter().filter(|&(_, &map)| map == value).map(|(&flat, _)| flat);
        let mut uses = 0;
        for value in flattened.chain([value]) {
            let readers = self.consumers[value.index()].iter();
            uses += readers.filter(|&&id| !matches!(self.graph.node(id).op, Op::Flatten)).count();
            uses += usize::from(value == self.graph.output());
        }
        // A flatten whose result is not known yet reads for whoever reads that result.
        let pending = self.consumers[value.index()].iter().map(|&id| self.graph.node(id));
        uses + pending.filter(|n| matches!(n.op, Op::Flatten) && !self.maps.contains_key(&n.output)).count()
    }

    fn push(&mut self, op: StepOp, node: &'g Node, input: ValueId, operand: Option<ValueId>) {
        let (input, operand) = (self.map(input), operand.map(|id| self.map(id)));
        self.steps.push(Step { op, node, input, operand, output: node.output, relu: false });
    }

    fn node(&mut self, node: &'g Node) -> Result<(), QuantError> {
        let input = node.inputs[0];
        match &node.op {
            Op::Conv(_) | Op::Gemm => self.push(StepOp::Conv, node, input, None),
            Op::GlobalAveragePool => self.push(StepOp::GlobalAveragePool, node, input, None),
            Op::Relu => self.relu(node)?,
            Op::Add => self.add(node, input, node.inputs[1])?,
            Op::Flatten => {
                let map = self.map(input);
                self.maps.insert(node.output, map);
            }
            Op::Slice(_) => self.slice(node)?,
            Op::Pad(_) => self.pad(node)?,
            Op::BatchNorm { .. } => return Err(unsupported(node, "it must be folded into a convolution first")),
        }
        Ok(())
    }

    fn relu(&mut self, node: &'g Node) -> Result<(), QuantError> {
        let input = self.map(node.inputs[0]);
        let uses = self.uses(input);
        let Some(step) = self.steps.iter_mut().find(|step| step.output == input) else {
            return Err(unsupported(node, "nothing is computed before it"));
        };
        if matches!(step.op, StepOp::Shortcut { .. }) {
            return Err(unsupported(node, "it follows a shortcut, which only copies"));
        }
        if uses != 1 {
            return Err(unsupported(
                node,
                "its operand is read by other nodes too, and a ReLU of its own has no integer form yet",
            ));
        }
        step.relu = true;
        step.output = node.output;
        Ok(())
    }

    fn add(&mut self, node: &'g Node, a: ValueId, b: ValueId) -> Result<(), QuantError> {
        let (a, b) = (self.map(a), self.map(b));
        if self.graph.value(a).dims != self.graph.value(b).dims {
            return Err(unsupported(node, "its operands are flattened from maps of different shapes"));
        }
        let takes_sum = |step: &Step<'_>| {
            (step.output == a || step.output == b)
                && step.op == StepOp::Conv
                && step.operand.is_none()
                && !step.relu
                && self.uses(step.output) == 1
        };
        let Some(last) = self.steps.iter().rposition(takes_sum) else {
            self.push(StepOp::Add, node, a, Some(b));
            return Ok(());
        };
        let mut step = self.steps.remove(last);
        step.operand = Some(if step.output == a { b } else { a });
        step.output = node.output;
        self.steps.push(step);
        Ok(())
    }

    /// A strided slice becomes a shortcut, together with the padding of channels behind it if that is all that reads it.
    fn slice(&mut self, node: &'g Node) -> Result<(), QuantError> {
        let stride = self.slice_stride(node)?;
        let readers = &self.consumers[node.output.index()];
        let only_padded = matches!(readers.as_slice(), &[id] if matches!(self.graph.node(id).op, Op::Pad(_)));
        if !only_padded || node.output == self.graph.output() {
            self.push(StepOp::Shortcut { stride, channels_before: 0 }, node, node.inputs[0], None);
        }
        Ok(())
    }

    fn slice_stride(&self, node: &Node) -> Result<[usize; 2], QuantError> {
        let Op::Slice(slice) = &node.op else { unreachable!("called for slices") };
        let dims = &self.graph.value(node.inputs[0]).dims;
        let out = &self.graph.value(node.output).dims;
        let whole = (0..3).all(|axis| slice.start[axis] == 0 && out[axis] == dims[axis].div_ceil(slice.step[axis]));
        if !whole || slice.step[0] != 1 {
            return Err(unsupported(
                node,
                "only a slice of every n-th row and column of all channels has an integer form",
            ));
        }
        Ok([slice.step[1], slice.step[2]])
    }

    fn pad(&mut self, node: &'g Node) -> Result<(), QuantError> {
        let Op::Pad(pad) = &node.op else { unreachable!("called for paddings") };
        if pad.before[1..] != [0, 0] || pad.after[1..] != [0, 0] {
            return Err(unsupported(node, "only a padding of channels has an integer form"));
        }
        let sliced = self.graph.nodes().iter().find(|n| n.output == node.inputs[0] && matches!(n.op, Op::Slice(_)));
        let made = self.steps.iter().any(|step| step.output == node.inputs[0]);
        let (input, stride) = match sliced {
            Some(slice) if !made => (slice.inputs[0], self.slice_stride(slice)?),
            _ => (node.inputs[0], [1, 1]),
        };
        self.push(StepOp::Shortcut { stride, channels_before: pad.before[0] }, node, input, None);
        Ok(())
    }
}

fn unsupported(node: &Node, reason: impl Into<String>) -> QuantError {
    QuantError::Unsupported { node: node.name.clone(), op: node.op.name(), reason: reason.into() }
}
