//! Parameters that several operands of a network read, before it is trained.

use skipstone_onnx::{Graph, Op, Tensor};

/// Gives operands parameters of their own where training would go wrong with one for all: running statistics, which
/// each batch norm has for itself; and what is one number throughout, which exporters merge because it is equal, not
/// because it is meant to stay so. Other weights that layers share stay one parameter, which has the sum of their
/// gradients.
pub(super) fn separate(graph: &mut Graph) {
    for id in graph.producers().into_iter().flatten() {
        for index in 1..graph.node(id).inputs.len() {
            let node = graph.node(id);
            let is_statistic = matches!(node.op, Op::BatchNorm { .. }) && index > 2;
            if is_statistic || graph.parameter(node.inputs[index]).is_some_and(is_one_number) {
                graph.own_parameter(id, index);
            }
        }
    }
}

fn is_one_number(tensor: &Tensor) -> bool {
    tensor.data().windows(2).all(|pair| pair[0] == pair[1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autograd::loss::{Loss, targets};
    use crate::autograd::{FakeQuantization, Noise, Tape};
    use crate::passes::fold_batch_norm;
    use crate::quant::fixtures::{copied, random_images, shared_graph};
    use crate::quant::{Settings, fake_quantization, quantize};
    use skipstone_onnx::GraphBuilder;

    /// The gradient for each operand that is a parameter, and the graph after the step.
    fn step(graph: &Graph, fake: Option<&FakeQuantization>, seed: u64) -> (Vec<Option<Vec<f32>>>, Graph) {
        let images = random_images(graph, 3, seed);
        let batch = images.batch_for(graph, &[0, 1, 2]);
        let targets = targets(&[0, 1, 0], graph.value(graph.output()).dims[0], 0.0);
        let mut graph = graph.clone();
        let mut tape = fake.cloned().map_or_else(Tape::new, Tape::with_fake_quantization);
        tape.step(&mut graph, batch, &targets, Loss::CrossEntropy, Noise::default());
        let operands = graph.nodes().iter().flat_map(|node| &node.inputs);
        let operands = operands.filter(|&&id| graph.parameter(id).is_some());
        (operands.map(|&id| tape.gradient(id).map(<[f32]>::to_vec)).collect(), graph)
    }

    /// Checks that each shared parameter has the sum of the gradients of its copies.
    fn check_sums(graph: &Graph, fakes: Option<[&FakeQuantization; 2]>, seed: u64) {
        let (found, _) = step(graph, fakes.map(|fakes| fakes[0]), seed);
        let (parts, _) = step(&copied(graph), fakes.map(|fakes| fakes[1]), seed);
        let operands: Vec<_> = graph.nodes().iter().flat_map(|node| &node.inputs).collect();
        let operands: Vec<_> = operands.into_iter().filter(|&&id| graph.parameter(id).is_some()).collect();
        for (id, found) in operands.iter().zip(&found) {
            let of_copies =
                operands.iter().zip(&parts).filter(|(other, _)| other == &id).filter_map(|(_, part)| part.as_ref());
            let sum = of_copies.cloned().reduce(|a, b| a.iter().zip(&b).map(|(a, b)| a + b).collect());
            assert_eq!(found.is_some(), sum.is_some());
            for (found, sum) in found.iter().flatten().zip(sum.iter().flatten()) {
                assert!((found - sum).abs() <= 1e-4 * sum.abs().max(0.1), "seed {seed}: {found}, {sum}");
            }
        }
    }

    #[test]
    fn a_shared_parameter_has_the_sum_of_the_gradients() {
        for seed in 0..16 {
            let mut graph = shared_graph(seed);
            separate(&mut graph);
            check_sums(&graph, None, seed);
        }
    }

    #[test]
    fn a_shared_parameter_that_is_rounded_for_each_layer_has_the_sum_of_the_gradients() {
        for seed in 0..16 {
            let graph = fold_batch_norm(&shared_graph(seed)).unwrap();
            let quantized = quantize(&graph, &random_images(&graph, 3, seed), &Settings::default()).unwrap();
            let fakes = [&graph, &copied(&graph)].map(|graph| fake_quantization(graph, &quantized.qgraph));
            check_sums(&graph, Some([&fakes[0], &fakes[1]]), seed);
        }
    }

    #[test]
    fn batch_norms_have_statistics_of_their_own_after_a_step() {
        for seed in 0..16 {
            let shared = shared_graph(seed);
            let (mut own, copies) = (shared.clone(), copied(&shared));
            separate(&mut own);
            let (own, copies) = (step(&own, None, seed).1, step(&copies, None, seed).1);
            for (node, copy) in own.nodes().iter().zip(copies.nodes()) {
                if matches!(node.op, Op::BatchNorm { .. }) {
                    let statistics = |graph: &Graph, node: &skipstone_onnx::Node| {
                        [3, 4].map(|index| graph.parameter(node.inputs[index]).unwrap().clone())
                    };
                    assert_eq!(statistics(&own, node), statistics(&copies, copy));
                }
            }
        }
    }

    #[test]
    fn equal_constants_are_separated_and_shared_weights_stay_one() {
        let mut builder = GraphBuilder::new("net", "x", [2, 3, 3]).unwrap();
        let weight = Tensor::new([2, 2, 1, 1], vec![0.5, -1.0, 2.0, 0.0]).unwrap();
        let weight = builder.parameter("w", weight, true).unwrap();
        let zeros = builder.parameter("zeros", Tensor::filled([2], 0.0), true).unwrap();
        let conv = Op::Conv(skipstone_onnx::Conv::square(1, 1, 0));
        let input = builder.input();
        let x = builder.push("first", conv.clone(), &[input, weight, zeros]).unwrap();
        let x = builder.push("second", conv, &[x, weight, zeros]).unwrap();
        let x = builder.push("pool", Op::GlobalAveragePool, &[x]).unwrap();
        let x = builder.push("flat", Op::Flatten, &[x]).unwrap();
        let mut graph = builder.finish(x).unwrap();
        separate(&mut graph);
        let [first, second] = [0, 1].map(|index| &graph.nodes()[index].inputs);
        assert_eq!(first[1], second[1]);
        assert_ne!(first[2], second[2]);
        let again = graph.clone();
        separate(&mut graph);
        assert_eq!(graph, again);
    }
}
