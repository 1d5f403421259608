//! A bias for every convolution and linear layer.

use skipstone_onnx::{Graph, GraphError, Op, Tensor};

/// The same network with a bias of zeros, named `<node>.bias`, where a convolution or a linear layer has none.
///
/// # Errors
/// [`GraphError`] never, unless the graph's rules change.
pub fn with_biases(graph: &Graph) -> Result<Graph, GraphError> {
    graph.rewrite(|new, node| {
        let mut operands = new.operands(node)?;
        if matches!(node.op, Op::Conv(_) | Op::Gemm) && operands.len() == 2 {
            let channels = graph.value(node.output).dims[0];
            let zeros = Tensor::new([channels], vec![0.0; channels]).expect("one bias for each channel");
            operands.push(new.parameter(node, 2, "bias", zeros)?);
        }
        new.push(node, &operands, node.output)
    })
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
            let images = random_images(&graph, 2, 1).batch_for(&graph, &[0, 1]);
            assert_eq!(autograd::infer(&graph, &images), autograd::infer(&with, &images));
            assert_eq!(with_biases(&with).unwrap(), with);
        }
    }
}
