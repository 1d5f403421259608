//! A bias for every convolution and linear layer.

use super::copy_parameter;
use skipstone_onnx::{Graph, GraphBuilder, GraphError, Op, Tensor};
use std::collections::HashMap;

/// The same network with a bias of zeros, named `<node>.bias`, where a convolution or a linear layer has none.
///
/// # Errors
/// [`GraphError`] where names clash.
pub fn with_biases(graph: &Graph) -> Result<Graph, GraphError> {
    let input = graph.value(graph.input());
    let mut builder = GraphBuilder::new(&graph.name, &input.name, [input.dims[0], input.dims[1], input.dims[2]])?;
    *builder.metadata_mut() = graph.metadata.clone();
    let mut ids = HashMap::from([(graph.input(), builder.input())]);
    for node in graph.nodes() {
        let mut operands = Vec::with_capacity(node.inputs.len() + 1);
        for &operand in &node.inputs {
            operands.push(match ids.get(&operand) {
                Some(&id) => id,
                None => copy_parameter(graph, &mut builder, &mut ids, operand)?,
            });
        }
        if matches!(node.op, Op::Conv(_) | Op::Gemm) && operands.len() == 2 {
            let channels = graph.value(node.output).dims[0];
            let zeros = Tensor::new([channels], vec![0.0; channels]).expect("one bias for each channel");
            operands.push(builder.parameter(format!("{}.bias", node.name), zeros, true)?);
        }
        let name = &graph.value(node.output).name;
        ids.insert(node.output, builder.push_named(&node.name, node.op.clone(), &operands, name)?);
    }
    builder.finish(ids[&graph.output()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autograd;
    use crate::quant::fixtures::{random_graph, random_images};

    #[test]
    fn new_biases_change_nothing() {
        for seed in 0..8 {
            let graph = random_graph(seed);
            let with = with_biases(&graph).unwrap();
            let layers = with.nodes().iter().filter(|node| matches!(node.op, Op::Conv(_) | Op::Gemm));
            assert!(layers.clone().all(|node| node.inputs.len() == 3));
            let images = random_images(&graph, 2, 1).batch(&[0, 1], graph.metadata.normalization.as_ref().unwrap());
            assert_eq!(autograd::infer(&graph, &images), autograd::infer(&with, &images));
            assert_eq!(with_biases(&with).unwrap(), with);
        }
    }
}
