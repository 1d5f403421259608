//! Operators on integers, as the float operators between dequantization and quantization that they stand for.

use super::standard;
use crate::proto::{AttributeProto, DataType, GraphProto, NodeProto, TensorProto};
use std::collections::{HashMap, HashSet};

/// The domain of ONNX Runtime's operators.
const MICROSOFT: &str = "com.microsoft";

/// An operator on integers. Operands are named by their positions.
struct Form {
    op: &'static str,
    microsoft: bool,
    /// The float operator.
    float: &'static str,
    /// Value, scale and zero point of each operand.
    operands: &'static [[usize; 3]],
    /// An int32 bias, whose scale is the product of those of the operands and of the attribute `alpha`.
    bias: Option<usize>,
    /// Scale and zero point of the result.
    result: [usize; 2],
}

const PAIR: &[[usize; 3]] = &[[0, 1, 2], [3, 4, 5]];
const ONE: &[[usize; 3]] = &[[0, 1, 2]];

const fn form(op: &'static str, float: &'static str, operands: &'static [[usize; 3]]) -> Form {
    let after = 3 * operands.len();
    Form { op, microsoft: true, float, operands, bias: None, result: [after, after + 1] }
}

const FORMS: [Form; 11] = [
    Form { microsoft: false, bias: Some(8), ..form("QLinearConv", "Conv", PAIR) },
    Form { microsoft: false, ..form("QLinearMatMul", "MatMul", PAIR) },
    form("QLinearAdd", "Add", PAIR),
    form("QLinearMul", "Mul", PAIR),
    Form { bias: Some(6), result: [7, 8], ..form("QGemm", "Gemm", PAIR) },
    form("QLinearAveragePool", "AveragePool", ONE),
    form("QLinearGlobalAveragePool", "GlobalAveragePool", ONE),
    form("QLinearLeakyRelu", "LeakyRelu", ONE),
    form("QLinearReduceMean", "ReduceMean", ONE),
    form("QLinearSigmoid", "Sigmoid", ONE),
    form("QLinearSoftmax", "Softmax", ONE),
];

/// The graph with float operators in place of those on integers; `None` where it has none.
pub(super) fn expand(graph: &GraphProto) -> Option<GraphProto> {
    let microsoft = |node: &&NodeProto| node.domain == MICROSOFT;
    let integers = |node: &&NodeProto| microsoft(node) || node.op_type.starts_with("QLinear");
    graph.node.iter().find(integers)?;
    let mut expansion = Expansion {
        names: HashSet::new(),
        nodes: Vec::with_capacity(3 * graph.node.len()),
        kinds: graph.initializer.iter().map(|tensor| (tensor.name.clone(), tensor.data_type)).collect(),
        initializers: Vec::new(),
    };
    for node in &graph.node {
        expansion.names.extend(node.input.iter().chain(&node.output).cloned());
    }
    expansion.names.extend(graph.initializer.iter().map(|tensor| tensor.name.clone()));
    for node in &graph.node {
        let from = expansion.nodes.len();
        expansion.node(node);
        for index in from..expansion.nodes.len() {
            expansion.learn(index);
        }
    }
    let mut expanded = graph.clone();
    expanded.node = expansion.nodes;
    expanded.initializer.append(&mut expansion.initializers);
    Some(expanded)
}

/// `name`, or where only the expanded graph has that tensor, the one of the file that it is made of.
pub(super) fn of_file(file: &GraphProto, expanded: &GraphProto, name: String) -> String {
    let makes = |node: &&NodeProto| node.output.contains(&name);
    if file.node.iter().any(|node| makes(&node)) {
        return name;
    }
    expanded.node.iter().find(makes).and_then(|node| node.input.first()).cloned().unwrap_or(name)
}

struct Expansion {
    names: HashSet<String>,
    nodes: Vec<NodeProto>,
    /// Types of elements, where they are known.
    kinds: HashMap<String, i32>,
    initializers: Vec<TensorProto>,
}

impl Expansion {
    fn node(&mut self, node: &NodeProto) {
        let known = |form: &&Form| {
            form.op == node.op_type && (if form.microsoft { node.domain == MICROSOFT } else { standard(&node.domain) })
        };
        if let Some(form) = FORMS.iter().find(known) {
            return self.form(node, form);
        }
        if node.domain == MICROSOFT && node.op_type == "QLinearConcat" {
            return self.concat(node);
        }
        let same = ["QuantizeLinear", "DequantizeLinear"].contains(&node.op_type.as_str());
        let mut copy = node.clone();
        if node.domain == MICROSOFT && same {
            copy.domain.clear();
        }
        self.nodes.push(copy);
    }

    fn form(&mut self, node: &NodeProto, form: &Form) {
        let input = |index: usize| node.input.get(index).cloned().unwrap_or_default();
        let mut inputs: Vec<String> = Vec::with_capacity(3);
        for (position, operand) in form.operands.iter().enumerate() {
            // Weights have a scale for each output channel or for each column.
            let axis = match form.float {
                _ if position == 0 => None,
                "Conv" => Some(0),
                "Gemm" => Some(i64::from(!transposed(node))),
                _ => Some(-1),
            };
            inputs.push(self.dequantize(node, operand.map(input), axis));
        }
        if let Some(bias) = form.bias.map(input).filter(|bias| !bias.is_empty()) {
            let mut scale = self.product(&bias, [input(form.operands[0][1]), input(form.operands[1][1])]);
            if let Some(alpha) = node.attribute.iter().find(|attribute| attribute.name == "alpha") {
                let name = self.fresh(&format!("{bias}.alpha"));
                self.initializers.push(TensorProto::f32(name.as_str(), &[], &[alpha.f.unwrap_or_default()]));
                scale = self.product(&bias, [scale, name]);
            }
            inputs.push(self.dequantize(node, [bias, scale, String::new()], Some(0)));
        }
        let result = form.result.map(input);
        self.operator(node, form.float, inputs, result);
    }

    /// The name of the product of two scales, that of a bias.
    fn product(&mut self, bias: &str, factors: [String; 2]) -> String {
        let output = self.fresh(&format!("{bias}.scale"));
        self.nodes.push(NodeProto::new("Mul", output.as_str(), &factors, &[&output], Vec::new()));
        output
    }

    fn concat(&mut self, node: &NodeProto) {
        let triples = node.input.get(2..).unwrap_or_default().chunks(3);
        let triple = |chunk: &[String]| std::array::from_fn(|index| chunk.get(index).cloned().unwrap_or_default());
        let inputs = triples.map(|chunk| self.dequantize(node, triple(chunk), None)).collect();
        let result = [0, 1].map(|index| node.input.get(index).cloned().unwrap_or_default());
        self.operator(node, "Concat", inputs, result);
    }

    /// The float operator under the node's name, and its result rounded, unless it stays float.
    fn operator(&mut self, node: &NodeProto, op: &str, inputs: Vec<String>, result: [String; 2]) {
        let mut float = node.clone();
        float.domain.clear();
        float.op_type = op.into();
        float.input = inputs;
        // Says that axes are in the usual order.
        float.attribute.retain(|attribute| !(attribute.name == "channels_last" && attribute.i == Some(0)));
        // Which operator set the Softmax follows.
        float.attribute.retain(|attribute| attribute.name != "opset");
        let kind = node.input.iter().find_map(|input| self.integer_kind(input));
        let [scale, zero] = result;
        let Some(output) = float.output.first_mut().filter(|_| !scale.is_empty()) else {
            self.nodes.push(float);
            return;
        };
        let rounded = output.clone();
        let name = self.fresh(&format!("{rounded}.float"));
        output.clone_from(&name);
        self.nodes.push(float);
        let quantize = format!("{}.quantize", node.name);
        // A zero point that is left out is 0 of the operands' type.
        let kind = kind.filter(|_| zero.is_empty()).map(|kind| AttributeProto::int("output_dtype", kind.into()));
        let inputs = [name, scale, zero];
        self.nodes.push(NodeProto::new("QuantizeLinear", quantize, &inputs, &[rounded], kind.into_iter().collect()));
    }

    /// The type of a tensor of 8-bit integers.
    fn integer_kind(&self, name: &str) -> Option<i32> {
        let small = [DataType::Int8, DataType::Uint8].map(i32::from);
        self.kinds.get(name).copied().filter(|kind| small.contains(kind))
    }

    /// Notes which integers the results of node `index` are.
    fn learn(&mut self, index: usize) {
        let node = &self.nodes[index];
        let named = |name: &str| node.attribute.iter().find(|attribute| attribute.name == name);
        let kind = match node.op_type.as_str() {
            "DequantizeLinear" => None,
            "Constant" => named("value").and_then(|value| value.t.as_ref()).map(|tensor| tensor.data_type),
            "Cast" => named("to").and_then(|to| to.i).map(|to| to as i32),
            "QuantizeLinear" => {
                let zero = node.input.get(2).and_then(|zero| self.integer_kind(zero));
                let named = named("output_dtype").and_then(|kind| kind.i).map(|kind| kind as i32);
                zero.or(named.filter(|&kind| kind != 0)).or(Some(DataType::Uint8.into()))
            }
            _ => node.input.first().and_then(|input| self.integer_kind(input)),
        };
        if let Some(kind) = kind {
            let outputs = node.output.clone();
            self.kinds.extend(outputs.into_iter().map(|output| (output, kind)));
        }
    }

    /// The name of an operand's real value.
    fn dequantize(&mut self, node: &NodeProto, operand: [String; 3], axis: Option<i64>) -> String {
        let output = self.fresh(&format!("{}.real", operand[0]));
        let name = format!("{}.dequantize", node.name);
        let axis = axis.map(|axis| AttributeProto::int("axis", axis));
        self.nodes.push(NodeProto::new("DequantizeLinear", name, &operand, &[&output], axis.into_iter().collect()));
        output
    }

    fn fresh(&mut self, name: &str) -> String {
        let mut name = name.to_owned();
        while !self.names.insert(name.clone()) {
            name.push('_');
        }
        name
    }
}

fn transposed(gemm: &NodeProto) -> bool {
    gemm.attribute.iter().any(|attribute| attribute.name == "transB" && attribute.i.unwrap_or_default() != 0)
}
