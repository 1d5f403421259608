//! Which operators of the float network become one integer operator, and in which order they run.

mod step;

pub(crate) use step::{Clamp, Prologue, Step, StepOp};

use super::QuantError;
use super::given;
use super::graph::{Function, QCopy};
use skipstone_onnx::{Border, BorderPad, Graph, Node, NodeId, Op, Pad, Slice, ValueId, Window};
use skipstone_runtime::format::records::PadMode;

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
/// computes and nothing else reads its result; one that the file's rounding does anyway joins a copy or a table, too. A batch normalization joins the unpadded 1x1 convolution that alone reads
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
            Op::MaxPool(_) => {
                self.pool(node, dims, |window, count_include_pad| StepOp::MaxPool { window, count_include_pad })
            }
            Op::GlobalMaxPool => {
                let window = Window::whole([from[1], from[2]]);
                self.push(StepOp::MaxPool { window, count_include_pad: false }, node, &[input], dims);
            }
            Op::AveragePool { .. } => {
                self.pool(node, dims, |window, count_include_pad| StepOp::AveragePool { window, count_include_pad });
            }
            Op::GlobalAveragePool => self.push(StepOp::GlobalAveragePool, node, &[input], dims),
            Op::Resize(resize) => self.push(StepOp::Resize(resize.clone()), node, &[input], dims),
            Op::Slice(slice) => self.slice(node, slice, dims),
            Op::Pad(pad) => self.pad(node, pad, dims),
            Op::BorderPad(BorderPad { pads: [top, left, bottom, right], border }) => {
                let mode = match border {
                    Border::Edge => PadMode::Edge,
                    Border::Reflect => PadMode::Reflect,
                    Border::Wrap => PadMode::Wrap,
                };
                let (before, after) = ([0, *top, *left], [0, *bottom, *right]);
                self.push(StepOp::Copy(QCopy { before, after, mode, ..QCopy::WHOLE }), node, &[input], dims);
            }
            Op::DepthToSpace { .. } | Op::SpaceToDepth { .. } => self.push(StepOp::Blocks, node, &[input], dims),
            Op::Flatten | Op::Dropout { .. } | Op::StochasticDepth { .. } | Op::Concat => {}
            Op::L2Norm if dims != from => return Err(unsupported(node, FLATTENED)),
            Op::L2Norm => self.push(StepOp::L2Norm, node, &[input], dims),
            &Op::InstanceNorm { epsilon } => self.push(StepOp::InstanceNorm { epsilon }, node, &[input], from),
            &Op::GroupNorm { groups, epsilon } => {
                self.push(StepOp::GroupNorm { groups, epsilon }, node, &[input], from);
            }
            Op::Softmax => return Err(unsupported(node, SOFTMAX)),
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
        // Where the smallest integer stands for 0, rounding to it is a ReLU.
        let rounds = clamp == Clamp { lo: 0.0, ..Clamp::NONE }
            && given::rounding(self.graph, input).is_none()
            && given::rounding(self.graph, node.output).is_some_and(|by| by.zero_point == i8::MIN);
        match self.sole_producer(input).filter(|&at| once && (rounds || self.steps[at].op.clamps())) {
            Some(at) => {
                let step = &mut self.steps[at];
                if step.op.clamps() {
                    step.clamp = step.clamp.then(clamp);
                }
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
                "its operands are flattened from maps of more than one pixel; flatten after the concatenation",
            ));
        }
        self.push(StepOp::Concat, node, &node.inputs, dims);
        Ok(())
    }

    fn same_dims(&self, node: &Node, a: ValueId, b: ValueId) -> Result<[usize; 3], QuantError> {
        let dims = self.dims(a);
        if dims == self.dims(b) { Ok(dims) } else { Err(unsupported(node, DIFFERENT)) }
    }

    /// The node that alone reads the result of `node`.
    fn sole_reader(&self, node: &Node) -> Option<&'g Node> {
        match self.consumers[node.output.index()].as_slice() {
            &[reader] if node.output != self.graph.output() => Some(self.graph.node(reader)),
            _ => None,
        }
    }

    /// A slice becomes a copy, or part of the copy that the padding is which alone reads it.
    fn slice(&mut self, node: &'g Node, slice: &Slice, dims: [usize; 3]) {
        if !self.sole_reader(node).is_some_and(|reader| matches!(reader.op, Op::Pad(_))) {
            self.push(
                StepOp::Copy(QCopy { start: slice.start, step: slice.step, ..QCopy::WHOLE }),
                node,
                &node.inputs,
                dims,
            );
        }
    }

    /// A padding becomes a copy, or the padding of the pool that alone reads it.
    fn pad(&mut self, node: &'g Node, pad: &Pad, dims: [usize; 3]) {
        let input = self.map(node.inputs[0]);
        let made = self.producer(input).is_some() || input == self.graph.input();
        if made && self.sole_reader(node).is_some_and(|pool| self.window_with(pad, pool).is_some()) {
            return;
        }
        let &Pad { before, after } = pad;
        let (input, copy) = match self.graph.nodes().iter().find(|before| before.output == node.inputs[0]) {
            Some(&Node { op: Op::Slice(Slice { start, step, .. }), ref inputs, .. }) if !made => {
                (inputs[0], QCopy { start, step, before, after, ..QCopy::WHOLE })
            }
            _ => (input, QCopy { before, after, ..QCopy::WHOLE }),
        };
        self.push(StepOp::Copy(copy), node, &[input], dims);
    }

    /// The windows of a pool with the zeros of the padding before it, if each then still meets the map, and the file
    /// rounds nothing in between.
    fn window_with(&self, pad: &Pad, pool: &Node) -> Option<Window> {
        let (Op::MaxPool(window) | Op::AveragePool { window, .. }) = &pool.op else { return None };
        let rounded = given::rounding(self.graph, pool.inputs[0]).is_some();
        let [[_, top, left], [_, bottom, right]] = [pad.before, pad.after];
        let pads = [top, left, bottom, right];
        let [from, to] = [pool.inputs[0], pool.output].map(|value| map_dims(self.graph, value));
        let meets = |axis: usize| {
            let (before, after) = (pads[axis], pads[axis + 2]);
            let last = (to[axis + 1] - 1) * window.stride[axis];
            before.max(after) < window.kernel[axis] && last < from[axis + 1] - after
        };
        let alone = window.pads == [0; 4] && pad.before[0] + pad.after[0] == 0 && !rounded;
        (alone && meets(0) && meets(1)).then(|| Window { pads, ..window.clone() })
    }

    /// A pool, with the padding that it alone reads.
    fn pool(&mut self, node: &'g Node, dims: [usize; 3], op: impl Fn(Window, bool) -> StepOp) {
        let (window, counts) = match &node.op {
            Op::MaxPool(window) => (window, false),
            Op::AveragePool { window, count_include_pad } => (window, *count_include_pad),
            _ => return,
        };
        let padding = self.graph.nodes().iter().find(|before| before.output == node.inputs[0]);
        let padding = padding.filter(|_| self.producer(self.map(node.inputs[0])).is_none());
        let padded = padding.and_then(|before| match &before.op {
            Op::Pad(pad) => Some((self.map(before.inputs[0]), self.window_with(pad, node)?)),
            _ => None,
        });
        match padded {
            Some((input, window)) => self.push(op(window, true), node, &[input], dims),
            None => self.push(op(window.clone(), counts), node, &node.inputs, dims),
        }
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

const SOFTMAX: &str = "it has no integer form inside a network; only the scores before a last softmax are computed";

const FLATTENED: &str = "its operand is flattened from a map of more than one pixel; normalize each pixel instead";

fn unsupported(node: &Node, reason: impl Into<String>) -> QuantError {
    QuantError::Unsupported { node: node.name.clone(), op: node.op.name(), reason: reason.into() }
}

#[cfg(test)]
mod tests;
