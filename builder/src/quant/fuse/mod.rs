//! Which operators of the float network become one integer operator, and in which order they run.

mod step;

pub(crate) use step::{Clamp, Prologue, Step, StepOp};

use super::QuantError;
use super::given;
use super::graph::Function;
use skipstone_onnx::{Graph, Node, NodeId, Op, Pad, Resize, Slice, ValueId, Window};

/// The network as integer operators in the order of execution. What only passes values on (flattening, dropout) is gone:
/// its result is the map that it reads.
#[derive(Debug)]
pub(crate) struct Fused<'g> {
    pub(crate) steps: Vec<Step<'g>>,
    pub(crate) input: ValueId,
    pub(crate) output: ValueId,
}

/// Fuses a network whose batch normalizations are folded where they can be.
///
/// A sum joins the convolution among its producers whose result nothing else reads, of two the one at the end of the longer
/// branch, whose rows come later, or else the one that runs last; that convolution then runs where the sum stood, so that
/// the other operand exists. A ReLU or clip joins the operator before it, if that
/// computes and nothing else reads its result. A batch normalization joins the unpadded 1x1 convolution that alone reads
/// it. `t + sigmoid * t` is one gate. What the network's file rounds to integers is never lost in one of these.
///
/// # Errors
/// [`QuantError::Unsupported`] naming the node that has no integer form.
pub(crate) fn fuse(graph: &Graph) -> Result<Fused<'_>, QuantError> {
    let mut fusion = Fusion::new(graph);
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
    /// The map that each value is.
    maps: Vec<ValueId>,
    /// How many operators, and the network's end, read each map.
    uses: Vec<usize>,
    /// Channels, height, width of each map, once it is made.
    dims: Vec<[usize; 3]>,
}

impl<'g> Fusion<'g> {
    fn new(graph: &'g Graph) -> Self {
        let passes_on = |node: &Node| match node.op {
            Op::Flatten | Op::Dropout { .. } | Op::StochasticDepth { .. } => true,
            Op::Concat => node.inputs.len() == 1,
            _ => false,
        };
        let mut maps = graph.value_ids().collect::<Vec<_>>();
        let mut uses = vec![0; maps.len()];
        for node in graph.nodes() {
            if passes_on(node) {
                maps[node.output.index()] = maps[node.inputs[0].index()];
            } else {
                node.inputs.iter().for_each(|input| uses[maps[input.index()].index()] += 1);
            }
        }
        uses[maps[graph.output().index()].index()] += 1;
        let mut dims = vec![[0; 3]; maps.len()];
        dims[graph.input().index()] = map_dims(graph, graph.input());
        Self { graph, consumers: graph.consumers(), steps: Vec::new(), maps, uses, dims }
    }

    /// The map that `value` is.
    fn map(&self, value: ValueId) -> ValueId {
        self.maps[value.index()]
    }

    fn dims(&self, map: ValueId) -> [usize; 3] {
        self.dims[map.index()]
    }

    /// Position of the step that makes `map`.
    fn producer(&self, map: ValueId) -> Option<usize> {
        self.steps.iter().rposition(|step| step.output == map)
    }

    /// As [`producer`](Self::producer), if nothing but one operator reads the map.
    fn sole_producer(&self, map: ValueId) -> Option<usize> {
        self.producer(map).filter(|_| self.uses[map.index()] == 1)
    }

    /// Appends a step whose result has the dimensions `dims`.
    fn push(&mut self, op: StepOp, node: &'g Node, operands: &[ValueId], dims: [usize; 3]) {
        let operands: Vec<ValueId> = operands.iter().map(|&id| self.map(id)).collect();
        self.dims[node.output.index()] = dims;
        self.steps.push(Step {
            op,
            node,
            prologue: None,
            input: operands[0],
            operand: operands.get(1).copied(),
            rest: operands.into_iter().skip(2).collect(),
            output: node.output,
            dims,
            clamp: Clamp::NONE,
        });
    }

    fn node(&mut self, node: &'g Node) -> Result<(), QuantError> {
        let input = self.map(node.inputs[0]);
        let dims = map_dims(self.graph, node.output);
        let from = self.dims(input);
        match &node.op {
            Op::Conv(_) | Op::Gemm => self.convolution(node, input, dims),
            Op::BatchNorm { .. } => self.push(StepOp::Affine, node, &[input], from),
            Op::Relu => self.clamp(node, input, Clamp { lo: 0.0, ..Clamp::NONE }),
            &Op::Clip { min: lo, max: hi } => self.clamp(node, input, Clamp { lo, hi }),
            Op::Sigmoid => self.push(StepOp::Lookup(Function::Sigmoid), node, &[input], from),
            Op::Unary(unary) => self.push(StepOp::Lookup(Function::Unary(*unary)), node, &[input], from),
            Op::Add => self.add(node, input, self.map(node.inputs[1]))?,
            Op::Mul => self.mul(node, input, self.map(node.inputs[1]))?,
            Op::Concat if node.inputs.len() > 1 => self.concat(node, dims)?,
            Op::MaxPool(window) => self.push(StepOp::MaxPool(window.clone()), node, &[input], dims),
            Op::GlobalMaxPool => {
                self.push(StepOp::MaxPool(Window::whole([from[1], from[2]])), node, &[input], dims);
            }
            Op::AveragePool { window, count_include_pad } => {
                let op = StepOp::AveragePool { window: window.clone(), count_include_pad: *count_include_pad };
                self.push(op, node, &[input], dims);
            }
            Op::GlobalAveragePool => self.push(StepOp::GlobalAveragePool, node, &[input], dims),
            Op::Resize(Resize { coordinates, .. }) => {
                self.push(StepOp::Resize(*coordinates), node, &[input], dims);
            }
            Op::Slice(slice) => self.slice(node, slice, dims)?,
            Op::Pad(pad) => self.pad(node, pad, dims)?,
            Op::Flatten | Op::Dropout { .. } | Op::StochasticDepth { .. } | Op::Concat => {}
            Op::L2Norm | Op::InstanceNorm { .. } | Op::Softmax => return Err(no_integer_form(node)),
        }
        Ok(())
    }

    /// A convolution, together with the batch normalization that it alone reads, if it can apply that as it reads: where
    /// it reads every element once and pads nothing. On the image, whose channels are not padded, it has to.
    fn convolution(&mut self, node: &'g Node, input: ValueId, dims: [usize; 3]) {
        self.push(StepOp::Conv, node, &[input], dims);
        let Op::Conv(conv) = &node.op else { return };
        let Some(at) = self.sole_producer(input).filter(|&at| self.steps[at].op == StepOp::Affine) else { return };
        if (conv.kernel == [1, 1] && conv.pads == [0; 4]) || self.steps[at].input == self.graph.input() {
            let affine = self.steps.remove(at);
            let step = self.steps.last_mut().expect("pushed above");
            step.input = affine.input;
            step.prologue = Some(Prologue { node: affine.node, value: affine.output, clamp: affine.clamp });
        }
    }

    fn clamp(&mut self, node: &'g Node, input: ValueId, clamp: Clamp) {
        let dims = self.dims(input);
        // What the file rounds before and after is rounded twice.
        let once =
            given::rounding(self.graph, input).is_none_or(|own| Some(own) == given::rounding(self.graph, node.output));
        match self.sole_producer(input).filter(|&at| once && self.steps[at].op.clamps()) {
            Some(at) => {
                let step = &mut self.steps[at];
                step.clamp = step.clamp.then(clamp);
                step.output = node.output;
                self.dims[node.output.index()] = dims;
            }
            None => {
                let Clamp { lo, hi } = clamp;
                self.push(StepOp::Lookup(Function::Clip { lo, hi }), node, &[input], dims);
            }
        }
    }

    fn add(&mut self, node: &'g Node, a: ValueId, b: ValueId) -> Result<(), QuantError> {
        let dims = self.same_dims(node, a, b)?;
        if self.one_plus(node, a, b) || self.one_plus(node, b, a) {
            self.dims[node.output.index()] = dims;
            return Ok(());
        }
        let takes_sum = |step: &Step<'_>| {
            (step.output == a || step.output == b)
                && step.op == StepOp::Conv
                && step.operand.is_none()
                && step.clamp == Clamp::NONE
                && self.uses[step.output.index()] == 1
                && given::rounding(self.graph, step.output).is_none()
        };
        let depths = self.depths();
        let candidates = (0..self.steps.len()).filter(|&index| takes_sum(&self.steps[index]));
        let Some(deepest) = candidates.max_by_key(|&index| depths[index]) else {
            self.push(StepOp::Add, node, &[a, b], dims);
            return Ok(());
        };
        let mut step = self.steps.remove(deepest);
        step.operand = Some(if step.output == a { b } else { a });
        step.output = node.output;
        self.dims[node.output.index()] = dims;
        self.steps.push(step);
        Ok(())
    }

    /// For each step, how many steps one after the other lead to its result.
    fn depths(&self) -> Vec<usize> {
        let mut of_values = vec![0; self.dims.len()];
        let depth = |step: &Step<'_>| {
            let depth = 1 + step.reads().map(|id| of_values[id.index()]).max().unwrap_or(0);
            of_values[step.output.index()] = depth;
            depth
        };
        self.steps.iter().map(depth).collect()
    }

    /// Whether `product + trunk` is `(1 + mask) * trunk` of a sigmoid that nothing else reads; then it is one gate.
    fn one_plus(&mut self, node: &'g Node, product: ValueId, trunk: ValueId) -> bool {
        let Some(at) = self.sole_producer(product) else { return false };
        let step = &self.steps[at];
        let fits = step.op == StepOp::Gate { one_plus: false }
            && step.clamp == Clamp::NONE
            && step.operand == Some(trunk)
            && given::rounding(self.graph, product).is_none()
            && self.sole_producer(step.input).is_some_and(|at| self.steps[at].op.is_sigmoid());
        if fits {
            let step = &mut self.steps[at];
            step.op = StepOp::Gate { one_plus: true };
            step.output = node.output;
        }
        fits
    }

    /// A product. The mask is the gate of one pixel, or a sigmoid, or the first operand.
    fn mul(&mut self, node: &'g Node, a: ValueId, b: ValueId) -> Result<(), QuantError> {
        let is_gate = |fusion: &Self, gate: ValueId, map: ValueId| {
            let ([gates, height, width], [channels, ..]) = (fusion.dims(gate), fusion.dims(map));
            (gates, height, width) == (channels, 1, 1)
        };
        let is_sigmoid = |map: ValueId| self.producer(map).is_some_and(|at| self.steps[at].op.is_sigmoid());
        let (mask, trunk) = if self.dims(a) == self.dims(b) {
            if is_sigmoid(b) && !is_sigmoid(a) { (b, a) } else { (a, b) }
        } else if is_gate(self, a, b) {
            (a, b)
        } else if is_gate(self, b, a) {
            (b, a)
        } else {
            return Err(unsupported(node, DIFFERENT));
        };
        self.push(StepOp::Gate { one_plus: false }, node, &[mask, trunk], self.dims(trunk));
        Ok(())
    }

    fn concat(&mut self, node: &'g Node, dims: [usize; 3]) -> Result<(), QuantError> {
        let flattened = |&value: &ValueId| self.dims(self.map(value))[1..] != dims[1..];
        if node.inputs.iter().any(flattened) {
            return Err(unsupported(
                node,
                "its operands are flattened from maps of more than one pixel; flatten behind the concatenation",
            ));
        }
        self.push(StepOp::Concat, node, &node.inputs, dims);
        Ok(())
    }

    fn same_dims(&self, node: &Node, a: ValueId, b: ValueId) -> Result<[usize; 3], QuantError> {
        let dims = self.dims(a);
        if dims == self.dims(b) { Ok(dims) } else { Err(unsupported(node, DIFFERENT)) }
    }

    /// A strided slice becomes a shortcut, together with the padding of channels behind it if that is all that reads it.
    fn slice(&mut self, node: &'g Node, slice: &Slice, dims: [usize; 3]) -> Result<(), QuantError> {
        let stride = self.slice_stride(node, slice)?;
        let readers = &self.consumers[node.output.index()];
        let only_padded = matches!(readers.as_slice(), &[id] if matches!(self.graph.node(id).op, Op::Pad(_)));
        if !only_padded || node.output == self.graph.output() {
            self.push(StepOp::Shortcut { stride, channels_before: 0 }, node, &[node.inputs[0]], dims);
        }
        Ok(())
    }

    fn slice_stride(&self, node: &Node, slice: &Slice) -> Result<[usize; 2], QuantError> {
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

    fn pad(&mut self, node: &'g Node, pad: &Pad, dims: [usize; 3]) -> Result<(), QuantError> {
        if pad.before[1..] != [0, 0] || pad.after[1..] != [0, 0] {
            return Err(unsupported(node, "only a padding of channels has an integer form"));
        }
        let sliced = self.graph.nodes().iter().find_map(|before| match &before.op {
            Op::Slice(slice) if before.output == node.inputs[0] => Some((before, slice)),
            _ => None,
        });
        let made = self.producer(node.inputs[0]).is_some();
        let (input, stride) = match sliced {
            Some((before, slice)) if !made => (before.inputs[0], self.slice_stride(before, slice)?),
            _ => (node.inputs[0], [1, 1]),
        };
        self.push(StepOp::Shortcut { stride, channels_before: pad.before[0] }, node, &[input], dims);
        Ok(())
    }
}

/// Channels, height, width of an activation; vectors are one pixel.
pub(crate) fn map_dims(graph: &Graph, value: ValueId) -> [usize; 3] {
    match *graph.value(value).dims {
        [channels, height, width] => [channels, height, width],
        ref vector => [vector.iter().product(), 1, 1],
    }
}

const DIFFERENT: &str = "its operands are flattened from maps of different shapes";

fn no_integer_form(node: &Node) -> QuantError {
    let reason = match node.op {
        Op::L2Norm => {
            "it has no integer form: its divisor, a root, is another one at each position of each image; use a sigmoid mask"
        }
        Op::InstanceNorm { .. } => {
            "it has no integer form: its mean and variance are those of each image; use batch normalization or a mask without it"
        }
        _ => "it has no integer form inside a network; only the scores before a last softmax are computed",
    };
    unsupported(node, reason)
}

fn unsupported(node: &Node, reason: impl Into<String>) -> QuantError {
    QuantError::Unsupported { node: node.name.clone(), op: node.op.name(), reason: reason.into() }
}

#[cfg(test)]
mod tests;
