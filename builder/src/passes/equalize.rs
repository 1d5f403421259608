//! Cross-layer equalization (Nagel, van Baalen, Blankevoort, Welling: *Data-free quantization through weight
//! equalization and bias correction*, 2019).

use skipstone_onnx::{Graph, Node, NodeId, Op, ValueId};

/// Times that all pairs are equalized: a chain of layers converges within a few.
const ROUNDS: usize = 20;

/// Factors beyond this are not taken: what is so small does not matter.
const LARGEST: f32 = 1024.0;

/// Two convolutions with nothing but a ReLU between them.
struct Pair {
    /// Weight and bias of the first.
    first: [Option<ValueId>; 2],
    second: Option<ValueId>,
    /// Groups of the second.
    groups: usize,
}

/// The same function with other weights: where a ReLU, or nothing, is all that stands between two convolutions, each
/// channel between them is scaled so that the largest weight that makes it is as large as the largest weight that reads
/// it. A ReLU6 forbids it.
pub fn equalize(graph: &Graph) -> Graph {
    let mut graph = graph.clone();
    let pairs: Vec<Pair> = pairs(&graph)
        .into_iter()
        .map(|(first, second, groups)| Pair {
            first: [1, 2].map(|index| graph.own_parameter(first, index)),
            second: graph.own_parameter(second, 1),
            groups,
        })
        .collect();
    for _ in 0..ROUNDS {
        let changes = pairs.iter().map(|pair| equalize_pair(&mut graph, pair));
        if changes.fold(1.0, f32::max) < 1.001 {
            break;
        }
    }
    graph
}

/// The convolutions of each pair, and the groups of the second.
fn pairs(graph: &Graph) -> Vec<(NodeId, NodeId, usize)> {
    let (producers, consumers) = (graph.producers(), graph.consumers());
    let reader = |id: ValueId| match consumers[id.index()].as_slice() {
        &[reader] if id != graph.output() => Some(reader),
        _ => None,
    };
    let pair = |first: &Node| {
        let Op::Conv(_) = &first.op else { return None };
        let mut second = reader(first.output)?;
        if graph.node(second).op == Op::Relu {
            second = reader(graph.node(second).output)?;
        }
        let Op::Conv(conv) = &graph.node(second).op else { return None };
        Some((producers[first.output.index()]?, second, conv.groups))
    };
    graph.nodes().iter().filter_map(pair).collect()
}

/// Equalizes a pair; gives the largest factor, or its reciprocal.
fn equalize_pair(graph: &mut Graph, pair: &Pair) -> f32 {
    let ([Some(weight), bias], Some(reading)) = (pair.first, pair.second) else { return 1.0 };
    let (Some(first), Some(second)) = (graph.parameter(weight), graph.parameter(reading)) else { return 1.0 };
    let channels = first.dims()[0];
    let per_channel = first.data().len() / channels;
    // The second's weights are OIHW; output channels of a group read the channels of that group.
    let [outputs, inputs] = [second.dims()[0], second.dims()[1]];
    let area = second.data().len() / (outputs * inputs);
    let group_outputs = outputs / pair.groups;
    let channel_of = move |index: usize| {
        let (output, input) = (index / (inputs * area), index / area % inputs);
        output / group_outputs * inputs + input
    };
    let mut read = vec![0.0f32; channels];
    for (index, w) in second.data().iter().enumerate() {
        let largest = &mut read[channel_of(index)];
        *largest = largest.max(w.abs());
    }
    let made = first.data().chunks_exact(per_channel).map(|ws| ws.iter().fold(0.0, |a: f32, w| a.max(w.abs())));
    let factors: Vec<f32> = made
        .zip(read)
        .map(|(made, read)| {
            let factor = (read / made).sqrt();
            if (1.0 / LARGEST..=LARGEST).contains(&factor) { factor } else { 1.0 }
        })
        .collect();
    for (id, per_channel) in [(Some(weight), per_channel), (bias, 1)] {
        let Some(tensor) = id.and_then(|id| graph.parameter_mut(id)) else { continue };
        for (elements, factor) in tensor.data_mut().chunks_exact_mut(per_channel).zip(&factors) {
            elements.iter_mut().for_each(|x| *x *= factor);
        }
    }
    if let Some(tensor) = graph.parameter_mut(reading) {
        tensor.data_mut().iter_mut().enumerate().for_each(|(index, w)| *w /= factors[channel_of(index)]);
    }
    factors.iter().fold(1.0, |largest, factor| largest.max(factor.max(1.0 / factor)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autograd;
    use crate::passes::fold_batch_norm;
    use crate::quant::fixtures::{Net, random_graph, random_images};
    use proptest::prelude::*;
    use skipstone_onnx::Conv;

    fn largest(weights: &[f32]) -> f32 {
        weights.iter().fold(0.0, |a, w| a.max(w.abs()))
    }

    #[test]
    fn weights_on_both_sides_of_a_channel_become_equally_large() {
        let mut net = Net::new(3, [3, 5, 4]);
        let x = net.conv(net.input(), 4, Conv::square(3, 1, 1), true);
        let x = net.relu(x);
        let x = net.conv(x, 4, Conv { groups: 2, ..Conv::square(3, 1, 1) }, false);
        let x = net.conv(x, 8, Conv { groups: 4, ..Conv::square(1, 1, 0) }, true);
        let graph = net.head(x, 3);
        let equal = equalize(&graph);
        let weights = |index: usize| equal.parameter(equal.nodes()[index].inputs[1]).unwrap().data();
        let (first, second, third) = (weights(0), weights(2), weights(3));
        for channel in 0..4 {
            // Outputs 0 and 1 of the second read channels 0 and 1, the others the other two.
            let reads = [0, 1].map(|output| {
                let output = channel / 2 * 2 + output;
                largest(&second[(output * 2 + channel % 2) * 9..][..9])
            });
            let made = largest(&first[channel * 27..][..27]);
            assert!((made / reads[0].max(reads[1]) - 1.0).abs() < 0.01, "{made} {reads:?}");
            let made = largest(&second[channel * 18..][..18]);
            assert!((made / largest(&third[channel * 2..][..2]) - 1.0).abs() < 0.01);
        }
    }

    #[test]
    fn a_dead_channel_and_a_relu6_stay_as_they_are() {
        let mut net = Net::new(3, [3, 5, 4]);
        let x = net.conv(net.input(), 4, Conv::square(3, 1, 1), true);
        let x = net.push(Op::Clip { min: 0.0, max: 6.0 }, &[x]);
        let x = net.conv(x, 4, Conv::square(3, 1, 1), false);
        let graph = net.head(x, 3);
        assert_eq!(equalize(&graph), graph);

        let mut net = Net::new(3, [3, 5, 4]);
        let x = net.conv(net.input(), 2, Conv::square(1, 1, 0), true);
        let x = net.conv(x, 2, Conv::square(1, 1, 0), false);
        let mut graph = net.head(x, 3);
        let weight = graph.nodes()[0].inputs[1];
        graph.parameter_mut(weight).unwrap().data_mut()[..3].fill(0.0);
        let equal = equalize(&graph);
        assert_eq!(equal.parameter(weight).unwrap().data()[..3], [0.0; 3]);
        assert!(equal.parameters().all(|(_, _, p)| p.tensor.data().iter().all(|x| x.is_finite())));
        assert_ne!(equal, graph);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn the_equalized_network_computes_the_same(seed in any::<u64>()) {
            let graph = fold_batch_norm(&random_graph(seed)).unwrap();
            let equal = equalize(&graph);
            let images = random_images(&graph, 2, seed).batch_for(&graph, &[0, 1]);
            let (before, after) = (autograd::infer(&graph, &images), autograd::infer(&equal, &images));
            for (before, after) in before.data().iter().zip(after.data()) {
                prop_assert!((before - after).abs() <= 1e-4 * before.abs().max(1.0), "{before} became {after}");
            }
        }
    }
}
