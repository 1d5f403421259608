//! The operators that have no weights.

use super::Writer;
use crate::quant::graph::{Function, QAffine, QCopy, QNode, QOp, block};
use skipstone_onnx::Unary;
use skipstone_onnx::export::functions::{self, Operand};
use skipstone_onnx::export::{BLOCKS, blocks_apart, function_attributes, resize_parts, window_attributes};
use skipstone_onnx::proto::{AttributeProto, TensorProto};
use skipstone_runtime::format::records::PadMode;

impl Writer<'_> {
    /// The result of an operator other than convolution and sum, before it is clamped and rounded.
    pub(super) fn other(&mut self, node: &QNode, op: &QOp, input: String, operand: Option<String>) -> String {
        let name = node.name.as_str();
        match op {
            QOp::Conv(_) | QOp::Add => input,
            QOp::GlobalAveragePool => self.computed("GlobalAveragePool", name, &[input], Vec::new()),
            QOp::Copy(copy) => self.copy(node, copy, input),
            QOp::Blocks => self.blocks(node, input),
            QOp::Affine(affine) => self.affine(name, affine, input),
            QOp::MaxPool { window, count_include_pad } => {
                let [top, left, bottom, right] = window.pads;
                let (mut input, mut window) = (input, window.clone());
                if *count_include_pad {
                    let (before, after) = ([0, top, left], [0, bottom, right]);
                    input = self.pad(node, &QCopy { before, after, ..QCopy::WHOLE }, input);
                    window.pads = [0; 4];
                }
                self.computed("MaxPool", name, &[input], window_attributes(&window))
            }
            QOp::AveragePool { window, count_include_pad } => {
                let mut attributes = window_attributes(window);
                attributes.push(AttributeProto::int("count_include_pad", (*count_include_pad).into()));
                self.computed("AveragePool", name, &[input], attributes)
            }
            QOp::Lookup { function: Function::Sigmoid, .. } => self.computed("Sigmoid", name, &[input], Vec::new()),
            QOp::Lookup { function: Function::Clip { lo: 0.0, hi: f32::INFINITY }, .. } => {
                self.computed("Relu", name, &[input], Vec::new())
            }
            QOp::Lookup { function: Function::Clip { lo, hi }, .. } => self.clip(name, input, *lo, *hi),
            QOp::Lookup { function: Function::Unary(unary), .. } => self.unary(name, *unary, input),
            QOp::Gate { one_plus } => {
                let trunk = operand.unwrap_or_else(|| input.clone());
                let product = self.computed("Mul", name, &[input, trunk.clone()], Vec::new());
                if !one_plus {
                    return product;
                }
                self.computed("Add", &format!("{name}_sum"), &[product, trunk], Vec::new())
            }
            QOp::Resize(resize) => {
                let [_, height, width] = self.qgraph.tensors[node.input].dims;
                let (scales, attributes) = resize_parts([height, width], resize);
                let scales = self.floats(&format!("{name}_scales"), &[4], &scales);
                self.computed("Resize", name, &[input, String::new(), scales], attributes)
            }
            QOp::L2Norm => {
                let attributes = vec![AttributeProto::int("axis", 1), AttributeProto::int("p", 2)];
                self.computed("LpNormalization", name, &[input], attributes)
            }
            QOp::InstanceNorm { epsilon } => {
                let channels = self.qgraph.tensors[node.output].dims[0];
                self.instance_norm(name, channels, *epsilon, input)
            }
            QOp::GroupNorm { groups, epsilon } => {
                let dims = self.qgraph.tensors[node.output].dims.map(|size| size as i64);
                let grouped = self.numbers(node, "grouped_shape", &[0, *groups as i64, -1]);
                let grouped = self.computed("Reshape", &format!("{name}_grouped"), &[input, grouped], Vec::new());
                let normalized = self.instance_norm(&format!("{name}_normalized"), *groups, *epsilon, grouped);
                let shape = self.numbers(node, "shape", &[&[0], dims.as_slice()].concat());
                self.computed("Reshape", name, &[normalized, shape], Vec::new())
            }
            QOp::Concat => {
                let operands = [Some(input), operand].into_iter().flatten().collect::<Vec<String>>();
                self.computed("Concat", name, &operands, vec![AttributeProto::int("axis", 1)])
            }
        }
    }

    fn instance_norm(&mut self, name: &str, channels: usize, epsilon: f32, input: String) -> String {
        let [scale, bias] = [("scale", 1.0), ("bias", 0.0)]
            .map(|(suffix, number)| self.floats(&format!("{name}_{suffix}"), &[channels], &vec![number; channels]));
        let attributes = vec![AttributeProto::float("epsilon", epsilon)];
        self.computed("InstanceNormalization", name, &[input, scale, bias], attributes)
    }

    /// A factor and a constant for each channel.
    pub(super) fn affine(&mut self, name: &str, affine: &QAffine, input: String) -> String {
        let dims = [1, affine.factors.len(), 1, 1];
        let factors = self.floats(&format!("{name}_factors"), &dims, &affine.factors);
        let constants = self.floats(&format!("{name}_constants"), &dims, &affine.constants);
        let product = self.computed("Mul", &format!("{name}_product"), &[input, factors], Vec::new());
        self.computed("Add", name, &[product, constants], Vec::new())
    }

    fn unary(&mut self, name: &str, unary: Unary, input: String) -> String {
        let Some(parts) = functions::parts(unary) else {
            return self.computed(unary.name(), name, &[input], function_attributes(unary));
        };
        let mut results: Vec<String> = Vec::with_capacity(parts.len());
        for (index, part) in parts.iter().enumerate() {
            let operands: Vec<String> = part
                .operands
                .iter()
                .map(|operand| match *operand {
                    Operand::Argument => input.clone(),
                    Operand::Number(suffix, number) => self.floats(&format!("{name}_{suffix}"), &[], &[number]),
                    Operand::Part(index) => results[index].clone(),
                })
                .collect();
            let own = if index + 1 == parts.len() { name.into() } else { format!("{name}_{}", part.suffix) };
            results.push(self.computed(part.op, &own, &operands, Vec::new()));
        }
        results.pop().unwrap_or(input)
    }

    /// `min(max(value, lo), hi)`; a side without a limit has an infinite one.
    pub(super) fn clip(&mut self, name: &str, value: String, lo: f32, hi: f32) -> String {
        let mut inputs = vec![value];
        for (side, limit) in [("min", lo), ("max", hi)] {
            let limit =
                if limit.is_finite() { self.floats(&format!("{name}_{side}"), &[], &[limit]) } else { String::new() };
            inputs.push(limit);
        }
        if inputs.last().is_some_and(String::is_empty) {
            inputs.pop();
        }
        self.computed("Clip", &format!("{name}_clip"), &inputs, Vec::new())
    }

    /// A slice, a padding, or both; the map as it is is one with a padding of nothing.
    fn copy(&mut self, node: &QNode, copy: &QCopy, mut input: String) -> String {
        let (from, to) = (self.qgraph.tensors[node.input].dims, self.qgraph.tensors[node.output].dims);
        let ends = [0, 1, 2].map(|axis| {
            let count = to[axis] - copy.before[axis] - copy.after[axis];
            copy.start[axis] + (count - 1) * copy.step[axis] + 1
        });
        let is_whole = copy.start == [0; 3] && copy.step == [1; 3] && ends == from;
        if !is_whole {
            let mut inputs = vec![input];
            for (kind, numbers) in [("starts", copy.start), ("ends", ends), ("axes", [1, 2, 3]), ("steps", copy.step)] {
                inputs.push(self.numbers(node, kind, &numbers.map(|number| number as i64)));
            }
            input = self.computed("Slice", &format!("{}_slice", node.name), &inputs, Vec::new());
        }
        if is_whole || copy.before != [0; 3] || copy.after != [0; 3] {
            input = self.pad(node, copy, input);
        }
        input
    }

    /// The padding of a copy.
    fn pad(&mut self, node: &QNode, copy: &QCopy, input: String) -> String {
        let pads = [[0].as_slice(), &copy.before, &[0], &copy.after].concat();
        let pads = self.numbers(node, "pads", &pads.iter().map(|&pad| pad as i64).collect::<Vec<i64>>());
        let mode = match copy.mode {
            PadMode::Zero => "constant",
            PadMode::Edge => "edge",
            PadMode::Reflect => "reflect",
            PadMode::Wrap => return self.wrap(node, copy, input),
        };
        let mode = vec![AttributeProto::string("mode", mode)];
        self.computed("Pad", &format!("{}_pad", node.name), &[input, pads], mode)
    }

    /// The padding of a copy that wraps, for which this operator set has no `Pad`: along each axis the last elements, all,
    /// and the first ones.
    fn wrap(&mut self, node: &QNode, copy: &QCopy, mut input: String) -> String {
        let dims = self.qgraph.tensors[node.output].dims;
        for (axis, what) in ["channels", "rows", "columns"].into_iter().enumerate() {
            let (before, after) = (copy.before[axis], copy.after[axis]);
            if before + after == 0 {
                continue;
            }
            let size = dims[axis] - before - after;
            let mut part = |which: &str, start: usize, end: usize| {
                let mut inputs = vec![input.clone()];
                for (kind, number) in [("starts", start), ("ends", end), ("axes", axis + 1)] {
                    inputs.push(self.numbers(node, &format!("{which}_{what}_{kind}"), &[number as i64]));
                }
                self.computed("Slice", &format!("{}_{which}_{what}", node.name), &inputs, Vec::new())
            };
            let last = (before > 0).then(|| part("last", size - before, size));
            let first = (after > 0).then(|| part("first", 0, after));
            let parts: Vec<String> = [last, Some(input), first].into_iter().flatten().collect();
            let along = vec![AttributeProto::int("axis", axis as i64 + 1)];
            input = self.computed("Concat", &format!("{}_{what}", node.name), &parts, along);
        }
        input
    }

    /// Blocks of pixels as channels, or the other way round.
    fn blocks(&mut self, node: &QNode, input: String) -> String {
        let (from, to) = (self.qgraph.tensors[node.input].dims, self.qgraph.tensors[node.output].dims);
        let (block, spreads) = block(from, to);
        let (apart, order) = blocks_apart(spreads, block, from);
        let of_images = |dims: &[usize]| -> Vec<i64> { [0].iter().chain(dims).map(|&dim| dim as i64).collect() };
        let apart = self.numbers(node, "apart_shape", &of_images(&apart));
        let joined = self.numbers(node, "shape", &of_images(&to));
        let split = self.computed("Reshape", &format!("{}_apart", node.name), &[input, apart], Vec::new());
        let order = vec![AttributeProto::ints("perm", &order)];
        let moved = self.computed("Transpose", &format!("{}_moved", node.name), &[split], order);
        let result = self.computed("Reshape", &node.name, &[moved, joined], Vec::new());
        if let Some(last) = self.nodes.last_mut() {
            last.doc_string = BLOCKS.into();
        }
        result
    }

    fn numbers(&mut self, node: &QNode, kind: &str, numbers: &[i64]) -> String {
        let name = self.fresh(&format!("{}_{kind}", node.name));
        self.initializers.push(TensorProto::i64(&name, &[numbers.len()], numbers));
        name
    }

    fn floats(&mut self, name: &str, dims: &[usize], numbers: &[f32]) -> String {
        let name = self.fresh(name);
        self.initializers.push(TensorProto::f32(&name, dims, numbers));
        name
    }
}
