//! Normalizations by statistics of the image itself.

use crate::Op;
use crate::import::axes::axis;
use crate::import::failure::Failure;
use crate::import::feature::{Affine, Feature};
use crate::import::layout::{CHANNELS, Layout};
use crate::import::node::NodeReader;

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

/// Over each channel's map; or, where the file shows the channels of a group as one, over those of the group. Scales and
/// biases are left to the layers after.
pub(super) fn instance_normalization(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let epsilon = node.attributes.float("epsilon")?.unwrap_or(1e-5);
    let x = node.settled(0)?;
    let shown = x.layout.dims();
    let groups = *shown.get(1).ok_or("takes a tensor [N, C, ...]")?;
    let affine = affine(node, groups)?;
    normalize(node, x, groups, epsilon, affine)
}

/// From operator set 21 on scales and biases are those of channels, before that those of groups.
pub(super) fn group_normalization(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let epsilon = node.attributes.float("epsilon")?.unwrap_or(1e-5);
    node.attributes.only("stash_type", 1)?;
    let groups = node.attributes.int("num_groups")?.ok_or("attribute `num_groups` is missing")?;
    let groups = usize::try_from(groups).ok().filter(|&groups| groups > 0);
    let groups = groups.ok_or("attribute `num_groups` is no number of groups")?;
    let x = node.settled(0)?;
    let shown = x.layout.dims();
    let channels = *shown.get(1).ok_or("takes a tensor [N, C, ...]")?;
    let affine = affine(node, if node.opset() < 21 { groups } else { channels })?;
    normalize(node, x, groups, epsilon, affine)
}

/// Operands 1 and 2, one number for each of `count`.
fn affine(node: &NodeReader<'_, '_>, count: usize) -> Result<[Vec<f64>; 2], Failure> {
    let mut numbers = [Vec::new(), Vec::new()];
    for (index, numbers) in numbers.iter_mut().enumerate() {
        let operand = node.weights(index + 1)?;
        if operand.dims() != [count] {
            let dims = operand.dims();
            return Err(format!("operand {} has dimensions {dims:?}, must be [{count}]", index + 1).into());
        }
        numbers.extend(operand.data().iter().copied().map(f64::from));
    }
    Ok(numbers)
}

/// `x` with the mean and the variance of each of `groups` taken out, then scaled and shifted.
fn normalize(
    node: &mut NodeReader<'_, '_>,
    x: Feature,
    groups: usize,
    epsilon: f32,
    [scale, shift]: [Vec<f64>; 2],
) -> Result<(), Failure> {
    let x = match node.dims(x.value).len() {
        3 => x,
        _ => {
            let (value, layout) = node.importer.unflatten(&x)?;
            Feature { value, layout, ..x }
        }
    };
    let name = node.name.clone();
    let x = node.importer.in_order(x, &name)?;
    let dims = node.dims(x.value).to_vec();
    let channels = dims[0];
    let plain = Layout::plain(node.importer.batch, &dims);
    if !channels.is_multiple_of(groups) || plain.reshaped(&x.layout.dims()).ok().as_ref() != Some(&x.layout) {
        return Err(format!("normalizes {groups} groups of {:?}, which are none of channels", x.layout.dims()).into());
    }
    let op = if groups == channels { Op::InstanceNorm { epsilon } } else { Op::GroupNorm { groups, epsilon } };
    let value = node.push(op, &[x.value])?;
    let spread = |numbers: Vec<f64>| -> Vec<f64> {
        let times = channels / numbers.len();
        numbers.iter().flat_map(|&number| std::iter::repeat_n(number, times)).collect()
    };
    let affine = Affine::new(spread(scale), spread(shift));
    node.bind(Feature { value, affine, sole: true, ..x })
}

#[cfg(test)]
mod tests {
    use crate::import::from_model;
    use crate::proto::{AttributeProto, DataType, Dim, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};
    use crate::{Graph, Op};

    /// What one node over maps of `[2, 3, 3]` and `constants` is read as.
    fn read(op: &str, constants: Vec<TensorProto>, attributes: Vec<AttributeProto>) -> Result<Op, String> {
        network(op, constants, attributes).map(|graph| graph.nodes()[0].op.clone())
    }

    fn network(op: &str, constants: Vec<TensorProto>, attributes: Vec<AttributeProto>) -> Result<Graph, String> {
        let inputs: Vec<&str> = ["x"].into_iter().chain(constants.iter().map(|tensor| tensor.name.as_str())).collect();
        let info = |name, dims: &[Dim]| ValueInfoProto::tensor(name, DataType::Float, dims);
        let graph = GraphProto {
            node: vec![
                NodeProto::new(op, "n", &inputs, &["y"], attributes),
                NodeProto::new("GlobalAveragePool", "pool", &["y"], &["pooled"], vec![]),
                NodeProto::new("Flatten", "flatten", &["pooled"], &["scores"], vec![]),
            ],
            input: vec![info("x", &[1, 2, 3, 3].map(Dim::Fixed))],
            output: vec![info("scores", &[])],
            initializer: constants,
            ..GraphProto::default()
        };
        from_model(&ModelProto::new(graph, 17)).map_err(|error| error.to_string())
    }

    #[test]
    fn groups_are_normalized_together() {
        let numbers = |name: &str, count: usize| TensorProto::f32(name, &[count], &vec![1.0; count]);
        let groups = |count| vec![AttributeProto::int("num_groups", count)];
        let own = |count, groups: i64| {
            let attributes = vec![AttributeProto::int("num_groups", groups)];
            read("GroupNormalization", vec![numbers("s", count), numbers("b", count)], attributes)
        };
        assert_eq!(own(1, 1), Ok(Op::GroupNorm { groups: 1, epsilon: 1e-5 }));
        assert_eq!(own(2, 2), Ok(Op::InstanceNorm { epsilon: 1e-5 }));
        assert!(own(2, 1).unwrap_err().contains("must be [1]"));
        assert!(own(3, 3).unwrap_err().contains("3 groups"));
        assert!(read("GroupNormalization", vec![], groups(0)).unwrap_err().contains("`num_groups`"));
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
    fn instance_normalization_is_one_without_parameters_and_an_affine() {
        let operands = |scale: &[f32], bias: &[f32]| {
            vec![TensorProto::f32("s", &[scale.len()], scale), TensorProto::f32("b", &[bias.len()], bias)]
        };
        let whole = |constants, epsilon| {
            read("InstanceNormalization", constants, vec![AttributeProto::float("epsilon", epsilon)])
        };
        assert_eq!(whole(operands(&[1.0; 2], &[0.0; 2]), 1e-3), Ok(Op::InstanceNorm { epsilon: 1e-3 }));
        let usual = read("InstanceNormalization", operands(&[1.0; 2], &[0.0; 2]), vec![]);
        assert_eq!(usual, Ok(Op::InstanceNorm { epsilon: 1e-5 }));
        // Scales and biases are a convolution after.
        let graph = network("InstanceNormalization", operands(&[1.0, 2.0], &[0.5, 0.0]), vec![]).unwrap();
        let names: Vec<&str> = graph.nodes().iter().map(|node| node.op.name()).collect();
        assert_eq!(names, ["InstanceNormalization", "Conv", "GlobalAveragePool", "Flatten"]);
        let parameters: Vec<&[f32]> = graph.parameters().map(|(_, _, parameter)| parameter.tensor.data()).collect();
        assert_eq!(parameters, [[1.0, 2.0], [0.5, 0.0]]);
        for (constants, epsilon, part) in [
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
