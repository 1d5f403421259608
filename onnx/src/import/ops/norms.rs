//! Normalizations without parameters.

use super::axis;
use crate::Op;
use crate::import::layout::CHANNELS;
use crate::import::node::{Failure, NodeReader};

/// Only over the channels, by the Euclidean norm.
pub(super) fn lp_normalization(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let p = node.attributes.int("p")?.unwrap_or(2);
    if p != 2 {
        return Err(format!("attribute `p` is {p}, only 2 is supported").into());
    }
    let x = node.settled(0)?;
    let at = node.attributes.int("axis")?.unwrap_or(-1);
    let dims = node.dims(x.value);
    let whole = x.layout.whole_axes(&[axis(at, x.layout.dims().len())?], dims);
    // One channel is as good as any other axis of one element.
    let is_channels = whole.is_some_and(|whole| whole == [CHANNELS] || whole.is_empty() && dims[0] == 1);
    if !is_channels {
        return Err(format!("attribute `axis` is {at}, only the channels' is supported").into());
    }
    node.push_like(Op::L2Norm, &[x.value], &x)
}

/// Only with scales of 1 and biases of 0.
pub(super) fn instance_normalization(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let epsilon = node.attributes.float("epsilon")?.unwrap_or(1e-5);
    let x = node.map(0)?;
    let channels = node.dims(x)[0];
    for (index, what, only) in [(1, "scale", 1.0), (2, "bias", 0.0)] {
        let operand = node.weights(index)?;
        if operand.dims() != [channels] {
            return Err(format!("operand {index} has dimensions {:?}, must be [{channels}]", operand.dims()).into());
        }
        if let Some(other) = operand.data().iter().find(|&&value| value != only) {
            return Err(format!("a {what} is {other}, only {only} is supported").into());
        }
    }
    let value = node.push(Op::InstanceNorm { epsilon }, &[x])?;
    node.bind_value(value)
}

#[cfg(test)]
mod tests {
    use crate::Op;
    use crate::import::from_model;
    use crate::proto::{AttributeProto, DataType, Dim, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};

    /// What one node over maps of `[2, 3, 3]` and `constants` is read as.
    fn read(op: &str, constants: Vec<TensorProto>, attributes: Vec<AttributeProto>) -> Result<Op, String> {
        let inputs: Vec<&str> = ["x"].into_iter().chain(constants.iter().map(|tensor| tensor.name.as_str())).collect();
        let info = |name, dims: &[Dim]| ValueInfoProto::tensor(name, DataType::Float, dims);
        let graph = GraphProto {
            node: vec![
                NodeProto::new(op, "n", &inputs, &["y"], attributes),
                NodeProto::new("Flatten", "flatten", &["y"], &["scores"], vec![]),
            ],
            input: vec![info("x", &[1, 2, 3, 3].map(Dim::Fixed))],
            output: vec![info("scores", &[])],
            initializer: constants,
            ..GraphProto::default()
        };
        let graph = from_model(&ModelProto::new(graph, 17)).map_err(|error| error.to_string())?;
        Ok(graph.nodes()[0].op.clone())
    }

    #[test]
    fn lp_normalization_is_that_of_channels_by_the_euclidean_norm() {
        let int = AttributeProto::int;
        for attributes in [vec![int("axis", 1)], vec![int("axis", -3), int("p", 2)]] {
            assert_eq!(read("LpNormalization", vec![], attributes), Ok(Op::L2Norm));
        }
        for (attributes, part) in [
            (vec![int("axis", 1), int("p", 1)], "`p` is 1"),
            (vec![], "`axis` is -1"),
            (vec![int("axis", 2)], "`axis` is 2"),
            (vec![int("axis", i64::MIN)], "do not fit 4 dimensions"),
        ] {
            let error = read("LpNormalization", vec![], attributes).unwrap_err();
            assert!(error.contains("`n` (LpNormalization)") && error.contains(part), "{error}");
        }
    }

    #[test]
    fn instance_normalization_has_no_scale_and_bias_of_its_own() {
        let operands = |scale: &[f32], bias: &[f32]| {
            vec![TensorProto::f32("s", &[scale.len()], scale), TensorProto::f32("b", &[bias.len()], bias)]
        };
        let whole = |constants, epsilon| {
            read("InstanceNormalization", constants, vec![AttributeProto::float("epsilon", epsilon)])
        };
        assert_eq!(whole(operands(&[1.0; 2], &[0.0; 2]), 1e-3), Ok(Op::InstanceNorm { epsilon: 1e-3 }));
        let usual = read("InstanceNormalization", operands(&[1.0; 2], &[0.0; 2]), vec![]);
        assert_eq!(usual, Ok(Op::InstanceNorm { epsilon: 1e-5 }));
        for (constants, epsilon, part) in [
            (operands(&[1.0, 2.0], &[0.0; 2]), 1e-3, "a scale is 2"),
            (operands(&[1.0; 2], &[0.5, 0.0]), 1e-3, "a bias is 0.5"),
            (operands(&[1.0; 3], &[0.0; 2]), 1e-3, "operand 1 has dimensions [3], must be [2]"),
            (operands(&[1.0; 2], &[0.0; 2])[..1].to_vec(), 1e-3, "operand 2 is missing"),
            (operands(&[1.0; 2], &[0.0; 2]), 0.0, "epsilon is 0"),
            (operands(&[1.0; 2], &[0.0; 2]), f32::NAN, "NaN"),
        ] {
            let error = whole(constants, epsilon).unwrap_err();
            assert!(error.contains("`n` (InstanceNormalization)") && error.contains(part), "{error}");
        }
    }
}
