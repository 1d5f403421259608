//! Functions of one element that have no operator of their own in every operator set, by operators that all have.

use super::Writer;
use crate::graph::Node;
use crate::proto::NodeProto;
use crate::{Op, Unary};
use std::f32::consts::FRAC_1_SQRT_2;

/// An operand of a [`Part`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Operand {
    /// The function's argument.
    Argument,
    /// A number, and what its name ends in.
    Number(&'static str, f32),
    /// The result of the part of this position.
    Part(usize),
}

/// One operator of a function's written form.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// The operator's name in the ONNX specification.
    pub op: &'static str,
    /// What the name of its result ends in.
    pub suffix: &'static str,
    /// Its operands.
    pub operands: Vec<Operand>,
}

/// The operators that compute a function, in an order in which [`import`](crate::import()) recognizes it; the last one
/// gives its value. `None` where it has an operator of its own.
pub fn parts(unary: Unary) -> Option<Vec<Part>> {
    use Operand::{Argument as X, Number, Part as P};
    let part = |op, suffix, operands: &[Operand]| Part { op, suffix, operands: operands.to_vec() };
    let half = part("Mul", "halved", &[X, Number("half", 0.5)]);
    Some(match unary {
        // (x / 2) * (1 + erf(x / sqrt(2)))
        Unary::Gelu => vec![
            part("Mul", "scaled", &[X, Number("root", FRAC_1_SQRT_2)]),
            part("Erf", "erf", &[P(0)]),
            part("Add", "sum", &[P(1), Number("one", 1.0)]),
            half,
            part("Mul", "product", &[P(3), P(2)]),
        ],
        // (x / 2) * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3)))
        Unary::GeluTanh => vec![
            part("Mul", "square", &[X, X]),
            part("Mul", "cube", &[P(0), X]),
            part("Mul", "scaled_cube", &[P(1), Number("cube_factor", Unary::GELU_CUBE)]),
            part("Add", "argument", &[X, P(2)]),
            part("Mul", "scaled", &[P(3), Number("root", Unary::SQRT_2_OVER_PI)]),
            part("Tanh", "tanh", &[P(4)]),
            part("Add", "sum", &[P(5), Number("one", 1.0)]),
            half,
            part("Mul", "product", &[P(7), P(6)]),
        ],
        // x * tanh(ln(1 + exp(x)))
        Unary::Mish => {
            vec![part("Softplus", "softplus", &[X]), part("Tanh", "tanh", &[P(0)]), part("Mul", "product", &[X, P(1)])]
        }
        Unary::Power { exponent } => vec![part("Pow", "power", &[X, Number("exponent", exponent)])],
        Unary::LeakyRelu { .. }
        | Unary::Elu { .. }
        | Unary::Erf
        | Unary::Softplus
        | Unary::Softsign
        | Unary::Exp
        | Unary::Log
        | Unary::ThresholdedRelu { .. } => return None,
    })
}

impl Writer<'_> {
    /// The nodes of a function that has no operator of its own; the last one has the node's name.
    pub(super) fn function(&mut self, node: &Node) -> Option<Vec<NodeProto>> {
        let Op::Unary(unary) = node.op else { return None };
        let parts = parts(unary)?;
        let [x, y] = [node.inputs[0], node.output].map(|id| self.graph.value(id).name.clone());
        let mut results: Vec<String> = Vec::with_capacity(parts.len());
        let mut nodes = Vec::with_capacity(parts.len());
        for (index, part) in parts.iter().enumerate() {
            let name = |operand: &Operand| match *operand {
                Operand::Argument => x.clone(),
                Operand::Number(suffix, number) => self.scalar(&node.name, suffix, number),
                Operand::Part(index) => results[index].clone(),
            };
            let inputs: Vec<String> = part.operands.iter().map(name).collect();
            let last = index + 1 == parts.len();
            let output = if last { y.clone() } else { self.name(&node.name, part.suffix) };
            let own = if last { &node.name } else { &output };
            nodes.push(NodeProto::new(part.op, own, &inputs, &[&output], Vec::new()));
            results.push(output);
        }
        Some(nodes)
    }
}
