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
            Op::Clip { .. }
            | Op::Sigmoid
            | Op::Unary(_)
            | Op::L2Norm
            | Op::InstanceNorm { .. }
            | Op::Softmax
            | Op::Mul
            | Op::Concat
            | Op::MaxPool(_)
            | Op::AveragePool { .. }
            | Op::GlobalMaxPool
            | Op::Resize(_)
            | Op::Dropout { .. }
            | Op::StochasticDepth { .. } => return Err(unsupported(node, "it has no integer form yet")),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::fixtures::Net;
    use skipstone_onnx::{Conv, Coordinates, Pad, Resize, Slice, Window};

    fn steps(graph: &Graph) -> Vec<(String, StepOp, Option<String>, bool)> {
        let name = |id: ValueId| graph.value(id).name.clone();
        let fused = fuse(graph).unwrap();
        fused.steps.iter().map(|s| (s.node.name.clone(), s.op.clone(), s.operand.map(name), s.relu)).collect()
    }

    fn refusal(net: Net, last: ValueId) -> String {
        fuse(&net.head(last, 2)).unwrap_err().to_string()
    }

    fn half(dims: [usize; 3]) -> Op {
        Op::Slice(Slice { start: [0; 3], end: dims, step: [1, 2, 2] })
    }

    #[test]
    fn the_last_convolution_takes_the_sum_over_and_runs_where_it_stood() {
        let mut net = Net::new(1, [4, 6, 6]);
        let image = net.input();
        let x = net.conv(image, 4, Conv::square(3, 1, 1), true);
        let x = net.relu(x);
        let main = net.conv(x, 8, Conv::square(3, 2, 1), true);
        // The shortcut stands behind the convolution that needs it.
        let slice = net.push(half([4, 6, 6]), &[x]);
        let pad = net.push(Op::Pad(Pad { before: [4, 0, 0], after: [0; 3] }), &[slice]);
        let sum = net.push(Op::Add, &[main, pad]);
        let out = net.relu(sum);
        let graph = net.head(out, 2);
        let steps = steps(&graph);
        let (conv, shortcut) = (&graph.nodes()[2].name, &graph.nodes()[4]);
        assert_eq!(steps[1].1, StepOp::Shortcut { stride: [2, 2], channels_before: 4 });
        assert_eq!(steps[1].0, shortcut.name);
        let operand = Some(graph.value(shortcut.output).name.clone());
        assert_eq!(steps[2], (conv.clone(), StepOp::Conv, operand, true));
    }

    #[test]
    fn a_sum_of_two_convolutions_joins_the_later_one() {
        let mut net = Net::new(1, [4, 6, 6]);
        let image = net.input();
        let a = net.conv(image, 4, Conv::square(1, 1, 0), true);
        let b = net.conv(image, 4, Conv::square(1, 1, 0), true);
        let sum = net.push(Op::Add, &[a, b]);
        let graph = net.head(sum, 2);
        let steps = steps(&graph);
        assert_eq!((&steps[1].0, &steps[1].2), (&graph.nodes()[1].name, &Some(graph.value(a).name.clone())));
        assert!(!steps[1].3);
    }

    #[test]
    fn a_sum_that_no_convolution_can_take_over_stays() {
        let mut net = Net::new(1, [4, 6, 6]);
        let image = net.input();
        let a = net.conv(image, 4, Conv::square(1, 1, 0), true);
        // Read twice: by the sum and by what comes after it.
        let b = net.conv(a, 4, Conv::square(1, 1, 0), true);
        let b = net.relu(b);
        let first = net.push(Op::Add, &[a, b]);
        let first = net.relu(first);
        let second = net.push(Op::Add, &[first, a]);
        let graph = net.head(second, 2);
        let sums: Vec<_> = steps(&graph).into_iter().filter(|step| step.1 == StepOp::Add).collect();
        assert_eq!(sums.len(), 2);
        assert_eq!((sums[0].3, sums[1].3), (true, false));
    }

    #[test]
    fn what_has_no_integer_form_is_named() {
        let mut net = Net::new(1, [4, 6, 6]);
        let x = net.norm(net.input());
        assert!(refusal(net, x).contains("(BatchNormalization): it must be folded"));

        let mut net = Net::new(1, [4, 6, 6]);
        let x = net.relu(net.input());
        assert!(refusal(net, x).contains("(Relu): nothing is computed before it"));

        let mut net = Net::new(1, [4, 6, 6]);
        let a = net.conv(net.input(), 4, Conv::square(1, 1, 0), true);
        let b = net.relu(a);
        let sum = net.push(Op::Add, &[a, b]);
        assert!(refusal(net, sum).contains("(Relu): its operand is read by other nodes too"));

        let mut net = Net::new(1, [4, 6, 6]);
        let x = net.push(half([4, 6, 6]), &[net.input()]);
        let x = net.relu(x);
        assert!(refusal(net, x).contains("(Relu): it follows a shortcut"));

        let mut net = Net::new(1, [4, 6, 6]);
        let crop = Op::Slice(Slice { start: [0, 1, 0], end: [4, 6, 6], step: [1, 1, 1] });
        let x = net.push(crop, &[net.input()]);
        assert!(refusal(net, x).contains("(Slice): only a slice of every n-th row"));

        let mut net = Net::new(1, [4, 6, 6]);
        let x = net.push(Op::Pad(Pad { before: [0, 1, 1], after: [0, 1, 1] }), &[net.input()]);
        assert!(refusal(net, x).contains("(Pad): only a padding of channels"));
    }

    #[test]
    fn operators_without_an_integer_form_are_named() {
        let window = || Window::square(2, 1, 0);
        for op in [
            Op::Clip { min: 0.0, max: 6.0 },
            Op::Sigmoid,
            Op::L2Norm,
            Op::InstanceNorm { epsilon: 1e-5 },
            Op::Mul,
            Op::Concat,
            Op::MaxPool(window()),
            Op::AveragePool { window: window(), count_include_pad: false },
            Op::GlobalMaxPool,
            Op::Resize(Resize { size: [3, 3], coordinates: Coordinates::HalfPixel }),
            Op::Dropout { rate: 0.5 },
            Op::StochasticDepth { rate: 0.5 },
        ] {
            let mut net = Net::new(1, [4, 6, 6]);
            let x = net.conv(net.input(), 4, Conv::square(1, 1, 0), true);
            let operands = if matches!(op, Op::Mul | Op::Concat) { vec![x, x] } else { vec![x] };
            let name = op.name();
            let x = net.push(op, &operands);
            let error = refusal(net, x);
            assert!(
                error.starts_with("node `") && error.contains(&format!("({name}): it has no integer form")),
                "{error}"
            );
        }
    }

    #[test]
    fn a_network_must_compute_its_scores() {
        let mut builder = skipstone_onnx::GraphBuilder::new("net", "image", [2, 1, 1]).unwrap();
        let flat = builder.push("flat", Op::Flatten, &[builder.input()]).unwrap();
        let error = fuse(&builder.finish(flat).unwrap()).unwrap_err().to_string();
        assert!(error.starts_with("node `flat`") && error.contains("the scores are the image itself"), "{error}");
    }
}
