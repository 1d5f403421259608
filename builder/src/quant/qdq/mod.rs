//! The quantized network as a standard ONNX file of QuantizeLinear and DequantizeLinear pairs, which any engine runs.
//!
//! Between the int8 tensors stands the real arithmetic that our integers stand for: each layer is
//! DequantizeLinear, the operator with int8 weights and int32 bias dequantized, the sum, the ReLU, QuantizeLinear, and
//! nothing else.
//!
//! | name | what |
//! |---|---|
//! | name of the input | the normalized image, float32, `[N, C, H, W]` |
//! | `<tensor>_quantized` | the int8 tensor, `[N, C, H, W]` |
//! | `<tensor>_dequantized`, `<tensor>_float` | its real value, and the value that was rounded |
//! | `<tensor>_scale`, `<tensor>_zero_point` | its quantization |
//! | `<node>_factors`, `<node>_constants` | of a batch normalization, float32 |
//! | `<node>_weight_quantized`, `<node>_weight_scale` | int8 weights OIHW, scale of each output channel |
//! | `<node>_bias_quantized`, `<node>_bias_scale` | int32 bias, input scale times weight scale, or the scale of the file |
//! | `<node>_weight_zero_point`, `<node>_bias_zero_point` | zeros, which some engines insist on |
//! | name of the output | the scores, float32, `[N, classes]` |
//!
//! The result of a batch normalization that a convolution applies as it reads is a tensor like others.
//!
//! A name that is taken gets underscores appended; those of the int8 tensors never do.

mod ops;

use super::graph::{QConv, QGraph, QNode, QOp, QTensor};
use skipstone_onnx::export::{ANTIALIAS_OPSET, Batch, OPSET};
use skipstone_onnx::proto::{
    AttributeProto, DataType, Dim, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto,
};
use std::collections::HashSet;

/// Name of the int8 tensor of `tensor` in the QDQ file.
pub fn quantized_name(tensor: &QTensor) -> String {
    format!("{}_quantized", tensor.name)
}

/// The quantized network as a QDQ model of opset 17, or of 18 where it antialiases. The same network gives the same bytes.
pub fn to_qdq(qgraph: &QGraph, batch: Batch) -> ModelProto {
    let mut writer = Writer {
        qgraph,
        names: qgraph.tensors.iter().chain(prologues(qgraph)).map(quantized_name).collect(),
        nodes: Vec::new(),
        initializers: Vec::new(),
        dequantized: Vec::new(),
    };
    let input = writer.fresh(&qgraph.tensors[qgraph.input].name);
    let output = writer.fresh(&qgraph.tensors[qgraph.output].name);
    writer.dequantized = vec![String::new(); qgraph.tensors.len()];
    writer.dequantized[qgraph.input] = writer.quantize(&qgraph.tensors[qgraph.input], &input);
    for node in &qgraph.nodes {
        writer.node(node);
    }
    let scores = writer.dequantized[qgraph.output].clone();
    writer.push("Flatten", "scores", &[scores], &output, vec![AttributeProto::int("axis", 1)]);

    let [channels, height, width] = qgraph.tensors[qgraph.input].dims.map(Dim::Fixed);
    let classes = Dim::Fixed(qgraph.class_count());
    let antialiases = qgraph.nodes.iter().any(|node| matches!(&node.op, QOp::Resize(resize) if resize.antialias));
    let mut model = ModelProto::new(
        GraphProto {
            node: writer.nodes,
            name: qgraph.name.clone(),
            initializer: writer.initializers,
            input: vec![ValueInfoProto::tensor(input, DataType::Float, &[batch.dim(), channels, height, width])],
            output: vec![ValueInfoProto::tensor(output, DataType::Float, &[batch.dim(), classes])],
            ..GraphProto::default()
        },
        if antialiases { ANTIALIAS_OPSET } else { OPSET },
    );
    model.metadata_props = qgraph.metadata.to_props();
    model
}

/// Tensors between the batch normalization and the convolution of one node.
fn prologues(qgraph: &QGraph) -> impl Iterator<Item = &QTensor> {
    qgraph.nodes.iter().filter_map(|node| node.op.prologue()).map(|prologue| &prologue.tensor)
}

struct Writer<'q> {
    qgraph: &'q QGraph,
    names: HashSet<String>,
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
    /// Real value of each tensor.
    dequantized: Vec<String>,
}

impl Writer<'_> {
    /// `name`, or the next of its kind that is free.
    fn fresh(&mut self, name: &str) -> String {
        let mut name = name.to_string();
        while !self.names.insert(name.clone()) {
            name.push('_');
        }
        name
    }

    fn push(&mut self, op: &str, name: &str, inputs: &[String], output: &str, attributes: Vec<AttributeProto>) {
        self.nodes.push(NodeProto::new(op, name, inputs, &[output], attributes));
    }

    /// Adds an operator whose result gets a free name, which is returned.
    fn computed(&mut self, op: &str, name: &str, inputs: &[String], attributes: Vec<AttributeProto>) -> String {
        let output = self.fresh(name);
        self.push(op, name, inputs, &output, attributes);
        output
    }

    /// Rounds the real value `value` to `tensor`, and dequantizes that: its real value, for its readers.
    fn quantize(&mut self, tensor: &QTensor, value: &str) -> String {
        let quantized = quantized_name(tensor);
        let scale = self.fresh(&format!("{}_scale", tensor.name));
        let zero_point = self.fresh(&format!("{}_zero_point", tensor.name));
        self.initializers.push(TensorProto::f32(&scale, &[], &[tensor.params.scale]));
        self.initializers.push(TensorProto::i8(&zero_point, &[], &[tensor.params.zero_point]));
        let inputs = [value.to_string(), scale.clone(), zero_point.clone()];
        self.push("QuantizeLinear", &format!("{}_quantize", tensor.name), &inputs, &quantized, Vec::new());
        let name = format!("{}_dequantized", tensor.name);
        self.computed("DequantizeLinear", &name, &[quantized, scale, zero_point], Vec::new())
    }

    /// Clamps the real value `value`, rounds it to `tensor`, and dequantizes that.
    fn round(&mut self, name: &str, tensor: &QTensor, mut value: String, [lo, hi]: [i8; 2]) -> String {
        let real = |q: i8| tensor.params.scale * (f32::from(q) - f32::from(tensor.params.zero_point));
        if lo == tensor.params.zero_point && hi == i8::MAX {
            value = self.computed("Relu", &format!("{name}_relu"), &[value], Vec::new());
        } else if (lo, hi) != (i8::MIN, i8::MAX) {
            let lo = if lo == i8::MIN { f32::NEG_INFINITY } else { real(lo) };
            let hi = if hi == i8::MAX { f32::INFINITY } else { real(hi) };
            value = self.clip(name, value, lo, hi);
        }
        self.quantize_named(tensor, value)
    }

    /// As [`quantize`](Self::quantize), of a value that gets a name of its own.
    fn quantize_named(&mut self, tensor: &QTensor, mut value: String) -> String {
        if let Some(last) = self.nodes.last_mut().filter(|last| last.output[0] == value) {
            let name = format!("{}_float", tensor.name);
            if self.names.insert(name.clone()) {
                last.output[0] = name.clone();
                value = name;
            }
        }
        self.quantize(tensor, &value)
    }

    fn node(&mut self, node: &QNode) {
        let input = self.dequantized[node.input].clone();
        let operand = node.operand.map(|index| self.dequantized[index].clone());
        let output = &self.qgraph.tensors[node.output];
        let mut value = match &node.op {
            QOp::Conv(conv) => self.conv(node, conv, input),
            QOp::Add => input,
            op => self.other(node, op, input, operand.clone()),
        };
        if let (QOp::Conv(_) | QOp::Add, Some(operand)) = (&node.op, operand) {
            value = self.computed("Add", &format!("{}_sum", node.name), &[value, operand], Vec::new());
        }
        self.dequantized[node.output] = match &node.op {
            QOp::Copy(_) | QOp::Blocks | QOp::Concat | QOp::Lookup { .. } => self.quantize_named(output, value),
            _ => self.round(&node.name, output, value, [node.lo, node.hi]),
        };
    }

    fn conv(&mut self, node: &QNode, conv: &QConv, mut input: String) -> String {
        if let Some(prologue) = &conv.prologue {
            let value = self.affine(&prologue.name, &prologue.affine, input);
            input = self.round(&prologue.name, &prologue.tensor, value, [prologue.lo, prologue.hi]);
        }
        let outputs = conv.bias.len();
        let area = conv.kernel[0] * conv.kernel[1];
        let per_group = conv.weights.len() / outputs / area;
        let mut weights = Vec::with_capacity(conv.weights.len());
        for channel in conv.weights.chunks_exact(area * per_group) {
            for c in 0..per_group {
                weights.extend(channel.iter().skip(c).step_by(per_group));
            }
        }
        let input_scale = self.qgraph.factor(node).params.scale;
        let scales = conv.weight_scales.iter().zip(&conv.bias_scales);
        let bias_scales: Vec<f32> = scales.map(|(weight, own)| own.unwrap_or(weight * input_scale)).collect();
        let dims = [outputs, per_group, conv.kernel[0], conv.kernel[1]];
        let zero_point = TensorProto::i8("", &[outputs], &vec![0; outputs]);
        let weights = TensorProto::i8("", &dims, &weights);
        let weight = self.constant(node, "weight", weights, &conv.weight_scales, zero_point);
        let zero_point = TensorProto::i32("", &[outputs], &vec![0; outputs]);
        let bias = self.constant(node, "bias", TensorProto::i32("", &[outputs], &conv.bias), &bias_scales, zero_point);
        let attributes = vec![
            AttributeProto::sizes("kernel_shape", &conv.kernel),
            AttributeProto::sizes("strides", &conv.stride),
            AttributeProto::sizes("pads", &conv.pads),
            AttributeProto::sizes("dilations", &[1, 1]),
            AttributeProto::int("group", conv.groups as i64),
        ];
        self.computed("Conv", &node.name, &[input, weight, bias], attributes)
    }

    /// An integer constant with a scale for each output channel, and its real value, whose name is returned.
    fn constant(
        &mut self,
        node: &QNode,
        kind: &str,
        values: TensorProto,
        scales: &[f32],
        zero_points: TensorProto,
    ) -> String {
        let name = format!("{}_{kind}", node.name);
        let scales = TensorProto::f32("", &[scales.len()], scales);
        let inputs = [("quantized", values), ("scale", scales), ("zero_point", zero_points)].map(|(role, tensor)| {
            let name = self.fresh(&format!("{name}_{role}"));
            self.initializers.push(TensorProto { name: name.clone(), ..tensor });
            name
        });
        let axis = vec![AttributeProto::int("axis", 0)];
        self.computed("DequantizeLinear", &format!("{name}_dequantized"), &inputs, axis)
    }
}
