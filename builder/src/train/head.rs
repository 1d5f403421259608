//! The head of a network: the last layer with weights, which makes the scores out of features.

use super::TrainError;
use crate::zoo::init::{Init, Initializer};
use skipstone_onnx::{Graph, GraphError, Node, Op, Tensor, ValueId};

/// The linear layer or convolution that has an output for each class, after which stand only operators without
/// parameters that keep channels apart.
pub(super) fn find(graph: &Graph) -> Result<&Node, TrainError> {
    let producers = graph.producers();
    let classes = graph.value(graph.output()).dims[0];
    let mut value = graph.output();
    while let Some(id) = producers[value.index()] {
        let node = graph.node(id);
        value = match &node.op {
            Op::Gemm => return Ok(node),
            Op::Conv(conv) if conv.groups == 1 && graph.value(node.output).dims[0] == classes => return Ok(node),
            Op::Flatten
            | Op::GlobalAveragePool
            | Op::GlobalMaxPool
            | Op::AveragePool { .. }
            | Op::MaxPool(_)
            | Op::Dropout { .. }
            | Op::Relu
            | Op::Clip { .. }
            | Op::Sigmoid
            | Op::Unary(_) => node.inputs[0],
            op => return Err(TrainError::NoHead { node: node.name.clone(), op: op.name() }),
        };
    }
    Err(TrainError::NoHead { node: graph.name.clone(), op: "network without layers" })
}

/// The name of the node that is the head of `graph`.
///
/// # Errors
/// [`TrainError::NoHead`] naming the node after which no head can be.
pub fn head_name(graph: &Graph) -> Result<&str, TrainError> {
    find(graph).map(|node| node.name.as_str())
}

/// The same network with a new head for `classes` classes: weights uniform up to `1 / sqrt(inputs)`, biases 0. Names
/// stay but those of a head's parameters that others read, too. Names of classes and int8 scales, which were the old
/// head's, are gone.
///
/// # Errors
/// [`TrainError::NoHead`] if there is no layer to be replaced.
pub fn with_new_head(graph: &Graph, classes: usize, seed: u64) -> Result<Graph, TrainError> {
    let head = find(graph)?;
    rebuilt(graph, head, classes, seed)
        .map_err(|error| TrainError::NoHead { node: format!("{} ({error})", head.name), op: head.op.name() })
}

fn rebuilt(graph: &Graph, head: &Node, classes: usize, seed: u64) -> Result<Graph, GraphError> {
    let mut rebuilt = graph.rewrite(|new, node| {
        if node.output != head.output {
            return new.keep(node);
        }
        let mut operands = vec![new.value(node.inputs[0])?];
        for (index, role) in (1..node.inputs.len()).zip(["new_weight", "new_bias"]) {
            let old = graph.parameter(node.inputs[index]).expect("a parameter of a layer");
            operands.push(new.parameter(node, index, role, fresh(old, classes, seed))?);
        }
        new.push(node, &operands, node.output)
    })?;
    let metadata = &mut rebuilt.metadata;
    metadata.class_names.clear();
    metadata.activation_scales.clear();
    metadata.quantization = Default::default();
    Ok(rebuilt)
}

/// A parameter of a head as `old`, for another number of classes.
fn fresh(old: &Tensor, classes: usize, seed: u64) -> Tensor {
    let mut dims = old.dims().to_vec();
    dims[0] = classes;
    if dims.len() == 1 {
        return Tensor::filled(dims, 0.0);
    }
    let inputs = dims[1..].iter().product();
    let weight = Initializer::new(Init::HeFanOut, Some(seed)).weight(&[classes, inputs]);
    Tensor::new(dims, weight.data().to_vec()).expect("as many elements")
}

/// The parameters of the head, weights first.
pub(super) fn parameters(graph: &Graph) -> Result<Vec<ValueId>, TrainError> {
    Ok(find(graph)?.inputs.iter().copied().filter(|&id| graph.value(id).parameter.is_some()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autograd;
    use crate::tensor;
    use crate::train::tests::tiny;
    use skipstone_onnx::{Conv, GraphBuilder};

    #[test]
    fn a_new_head_changes_nothing_else() {
        let mut graph = tiny();
        graph.metadata.class_names = vec!["x".into(); 10];
        let new = with_new_head(&graph, 3, 1).unwrap();
        assert_eq!(new.value(new.output()).dims, [3]);
        assert!(new.metadata.class_names.is_empty());
        assert_eq!(head_name(&new).unwrap(), "linear");
        let names = |graph: &Graph| graph.values().iter().map(|value| value.name.clone()).collect::<Vec<_>>();
        let mut sorted = [names(&graph), names(&new)];
        sorted.iter_mut().for_each(|names| names.sort());
        assert_eq!(sorted[0], sorted[1]);
        for (_, name, old) in graph.parameters() {
            let (_, _, kept) = new.parameters().find(|(_, other, _)| *other == name).unwrap();
            match name {
                "weight" => {
                    assert_eq!(kept.tensor.dims(), [3, 512]);
                    let peak = kept.tensor.data().iter().fold(0f32, |peak, w| peak.max(w.abs()));
                    assert!(peak > 0.04 && peak < 0.0442, "{peak}");
                }
                "bias" => assert_eq!(kept.tensor.data(), [0.0; 3]),
                _ => assert_eq!(kept, old, "{name}"),
            }
        }
        assert_eq!(with_new_head(&graph, 3, 1).unwrap(), new);
        assert_ne!(with_new_head(&graph, 3, 2).unwrap(), new);
    }

    /// A network of one convolution that is the head, and what stands after it.
    fn convolutional(groups: usize, ops: &[Op]) -> Graph {
        let mut b = GraphBuilder::new("conv", "image", [4, 6, 6]).unwrap();
        let weight = b.parameter("w", Tensor::filled([8, 4 / groups, 3, 3], 0.5), true).unwrap();
        let conv = Conv { groups, ..Conv::square(3, 1, 0) };
        let mut x = b.push("head", Op::Conv(conv), &[b.input(), weight]).unwrap();
        for (index, op) in ops.iter().enumerate() {
            x = b.push(format!("op{index}"), op.clone(), &[x]).unwrap();
        }
        b.finish(x).unwrap()
    }

    #[test]
    fn convolutions_can_be_heads() {
        let graph = convolutional(1, &[Op::Relu, Op::GlobalAveragePool, Op::Flatten]);
        let new = with_new_head(&graph, 5, 1).unwrap();
        assert_eq!((head_name(&new).unwrap(), &new.value(new.output()).dims[..]), ("head", &[5][..]));
        let image = tensor::Tensor::new([1, 6, 6, 4], vec![1.0; 144]);
        assert!(autograd::infer(&new, &image).data().iter().all(|score| *score < 6.0));

        // Features of several positions are no scores; neither are those of groups or of a softmax's gates.
        for graph in [convolutional(1, &[Op::Flatten]), convolutional(2, &[Op::GlobalAveragePool, Op::Flatten])] {
            let error = with_new_head(&graph, 5, 1).unwrap_err().to_string();
            assert!(error.contains("`head`") && error.contains("Conv"), "{error}");
        }
        let error = head_name(&convolutional(1, &[Op::GlobalAveragePool, Op::Flatten, Op::L2Norm])).unwrap_err();
        assert!(error.to_string().contains("`op2`"), "{error}");
    }
}
