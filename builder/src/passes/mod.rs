//! Rewriting a trained network into one that computes the same with fewer operators. A parameter that several operands
//! read changes only for those that are rewritten.

mod biases;
mod equalize;
mod preprocessing;

pub use biases::with_biases;
pub use equalize::equalize;
pub use preprocessing::absorb_preprocessing;

use crate::session::batch_norm_affine;
use skipstone_onnx::{Graph, GraphError, Integers, Node, Op, Tensor, ValueId};
use std::collections::HashMap;

/// The same network with batch normalizations folded into the weights and the bias of the convolution before them, also
/// across a max pool where no channel's sign is changed: the largest element stays the largest.
///
/// Nodes and values keep their names. A folded convolution's result, or that of the max pool after it, has the name of
/// the batch normalization's result, whose contents it has; a bias that did not exist, or that others read too, is
/// named `<convolution>.bias`. Metadata stays.
///
/// One that no convolution can absorb stays: after a sum or a concatenation, as pre-activation and dense networks have
/// them; where others read the convolution's result, too; and where the file rounds that result to integers.
///
/// # Errors
/// [`GraphError`] never, unless the graph's rules change.
pub fn fold_batch_norm(graph: &Graph) -> Result<Graph, GraphError> {
    let folds = folds(graph);
    graph.rewrite(|new, node| {
        if folds.values().any(|fold| fold.norm.output == node.output) {
            return Ok(());
        }
        if let Some(fold) = folds.values().find(|fold| fold.pool == Some(node.output)) {
            let operands = new.operands(node)?;
            return new.push(node, &operands, fold.norm.output);
        }
        let Some(&Fold { norm, pool }) = folds.get(&node.output) else { return new.keep(node) };
        let (weight, bias) = fold(graph, node, norm);
        let input = new.value(node.inputs[0])?;
        let weight = match folded_integers(graph, node, norm) {
            Some(integers) => new.integers(node, 1, "weight", weight.dims(), integers)?,
            None => new.parameter(node, 1, "weight", weight)?,
        };
        let bias = new.parameter(node, 2, "bias", bias)?;
        new.push(node, &[input, weight, bias], if pool.is_some() { node.output } else { norm.output })
    })
}

/// A batch normalization that a convolution absorbs.
struct Fold<'g> {
    norm: &'g Node,
    /// The result of the max pool between both, if there is one.
    pool: Option<ValueId>,
}

/// The batch normalizations that convolutions absorb, by the convolutions' results.
fn folds(graph: &Graph) -> HashMap<ValueId, Fold<'_>> {
    let (producers, consumers) = (graph.producers(), graph.consumers());
    let rounded = &graph.metadata.quantization.activations;
    let producer = |id: ValueId| producers[id.index()].map(|id| graph.node(id));
    let is_free = |id: ValueId| {
        consumers[id.index()].len() == 1 && id != graph.output() && !rounded.contains_key(&graph.value(id).name)
    };
    let norms = graph.nodes().iter().filter(|node| matches!(node.op, Op::BatchNorm { .. }));
    let folded = norms.filter_map(|norm| {
        let operand = norm.inputs[0];
        let before = producer(operand).filter(|_| is_free(operand))?;
        match before.op {
            Op::Conv(_) => Some((operand, Fold { norm, pool: None })),
            Op::MaxPool(_) => {
                let map = before.inputs[0];
                let conv = producer(map).is_some_and(|node| matches!(node.op, Op::Conv(_)));
                let rises = || batch_norm_affine(graph, norm).0.iter().all(|&factor| factor > 0.0);
                (conv && is_free(map) && rises()).then_some((map, Fold { norm, pool: Some(operand) }))
            }
            _ => None,
        }
    });
    folded.collect()
}

/// Weights and bias of `conv` with `norm` applied to its result: `w * g / sqrt(v + e)`,
/// `(b - mean) * g / sqrt(v + e) + beta`, computed in float64.
fn fold(graph: &Graph, conv: &Node, norm: &Node) -> (Tensor, Tensor) {
    let vector = |id: ValueId| graph.parameter(id).expect("a parameter of a batch norm").data();
    let (beta, mean) = (vector(norm.inputs[2]), vector(norm.inputs[3]));
    let (factors, _) = batch_norm_affine(graph, norm);
    let mut weight = graph.parameter(conv.inputs[1]).expect("a convolution's weight").clone();
    let bias = conv.inputs.get(2).map(|&id| vector(id));
    let channels = weight.dims()[0];
    let per_channel = weight.data().len() / channels;
    let mut folded = Vec::with_capacity(channels);
    for (channel, weights) in weight.data_mut().chunks_exact_mut(per_channel).enumerate() {
        let factor = factors[channel];
        for w in weights {
            *w = (f64::from(*w) * factor) as f32;
        }
        let bias = bias.map_or(0.0, |b| f64::from(b[channel]));
        folded.push(((bias - f64::from(mean[channel])) * factor + f64::from(beta[channel])) as f32);
    }
    (weight, Tensor::new([channels], folded).expect("one bias for each channel"))
}

/// The integers of the weights of `conv`, if its file has such, under scales that `norm` is multiplied into.
fn folded_integers(graph: &Graph, conv: &Node, norm: &Node) -> Option<Integers> {
    let known = graph.metadata.quantization.parameters.get(&graph.value(conv.inputs[1]).name)?;
    let known = known.are(graph.parameter(conv.inputs[1])?.data()).then_some(known)?;
    let (factors, _) = batch_norm_affine(graph, norm);
    Some(known.scaled(|channel| factors[channel]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autograd;
    use crate::quant::fixtures::{Net, random_graph, random_images};
    use proptest::prelude::*;
    use skipstone_onnx::{Conv, QuantParams, Window};

    fn norms(graph: &Graph) -> usize {
        graph.nodes().iter().filter(|node| matches!(node.op, Op::BatchNorm { .. })).count()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn the_folded_network_computes_the_same(seed in any::<u64>()) {
            let graph = random_graph(seed);
            let folded = fold_batch_norm(&graph).unwrap();
            prop_assert_eq!(norms(&folded) + folds(&graph).len(), norms(&graph));
            prop_assert_eq!(&folded.metadata, &graph.metadata);
            let images = random_images(&graph, 2, seed).batch_for(&graph, &[0, 1]);
            let (before, after) = (autograd::infer(&graph, &images), autograd::infer(&folded, &images));
            for (before, after) in before.data().iter().zip(after.data()) {
                prop_assert!((before - after).abs() <= 1e-4 * before.abs().max(1.0), "{before} became {after}");
            }
        }
    }

    #[test]
    fn other_operators_stay_as_they_are() {
        let mut net = Net::new(1, [3, 5, 4]);
        let conv = net.conv(net.input(), 4, Conv::square(3, 1, 1), false);
        let norm = net.norm(conv);
        let dropped = net.push(Op::Dropout { rate: 0.5 }, &[norm]);
        let mask = net.push(Op::Sigmoid, &[dropped]);
        let masked = net.push(Op::Mul, &[mask, dropped]);
        let joined = net.push(Op::Concat, &[masked, norm, net.input()]);
        let conv = net.conv(joined, 4, Conv::square(1, 1, 0), true);
        let norm = net.norm(conv);
        let pool = net.push(Op::MaxPool(Window::square(2, 2, 0)), &[norm]);
        let graph = net.head(pool, 2);
        let folded = fold_batch_norm(&graph).unwrap();
        let others = |graph: &Graph| -> Vec<Op> {
            let norms = |op: &Op| matches!(op, Op::BatchNorm { .. });
            graph.nodes().iter().map(|node| node.op.clone()).filter(|op| !norms(op)).collect()
        };
        assert_eq!((folded.nodes().len() + 2, others(&folded)), (graph.nodes().len(), others(&graph)));
        let images = crate::tensor::Tensor::new([1, 5, 4, 3], (0..60).map(|i| (i % 7) as f32 - 3.0).collect());
        let (before, after) = (autograd::infer(&graph, &images), autograd::infer(&folded, &images));
        for (before, after) in before.data().iter().zip(after.data()) {
            assert!((before - after).abs() <= 1e-4 * before.abs().max(1.0), "{before} became {after}");
        }
    }

    /// A negative factor would make the smallest element the largest.
    #[test]
    fn a_max_pool_lets_rising_norms_pass() {
        for (gamma, left) in [(0.5, 0), (-0.5, 1)] {
            let mut net = Net::new(1, [3, 6, 6]);
            let conv = net.conv(net.input(), 4, Conv::square(3, 1, 1), false);
            let pool = net.push(Op::MaxPool(Window::square(3, 2, 1)), &[conv]);
            let norm = net.norm(pool);
            let relu = net.push(Op::Relu, &[norm]);
            let mut graph = net.head(relu, 2);
            let ids = graph.nodes()[2].inputs.clone();
            graph.parameter_mut(ids[1]).unwrap().data_mut().fill(gamma);
            let folded = fold_batch_norm(&graph).unwrap();
            assert_eq!(norms(&folded), left);
            let pooled = &folded.value(folded.nodes()[1].output).name;
            assert_eq!(pooled == &graph.value(norm).name, left == 0, "{pooled}");
            let images = random_images(&graph, 2, 1).batch_for(&graph, &[0, 1]);
            let (before, after) = (autograd::infer(&graph, &images), autograd::infer(&folded, &images));
            for (before, after) in before.data().iter().zip(after.data()) {
                assert!((before - after).abs() <= 1e-4 * before.abs().max(1.0), "{before} became {after}");
            }
        }
    }

    #[test]
    fn names_stay() {
        let mut net = Net::new(1, [3, 4, 4]);
        let conv = net.conv(net.input(), 4, Conv::square(1, 1, 0), false);
        let norm = net.norm(conv);
        let norm_name = norm.index();
        let graph = net.head(norm, 2);
        let folded = fold_batch_norm(&graph).unwrap();
        let (before, after) = (&graph.nodes()[0], &folded.nodes()[0]);
        assert_eq!(after.name, before.name);
        assert_eq!(folded.value(after.output).name, graph.values()[norm_name].name);
        assert_eq!(folded.value(after.inputs[1]).name, graph.value(before.inputs[1]).name);
        assert_eq!(folded.value(after.inputs[2]).name, format!("{}.bias", before.name));
    }

    #[test]
    fn what_cannot_be_folded_may_stay() {
        let mut net = Net::new(1, [3, 5, 4]);
        let conv = net.conv(net.input(), 3, Conv::square(3, 1, 1), false);
        let folded = net.norm(conv);
        let sum = net.push(Op::Add, &[folded, net.input()]);
        let kept = net.norm(sum);
        let graph = net.head(kept, 2);
        let after = fold_batch_norm(&graph).unwrap();
        assert_eq!((after.nodes().len() + 1, norms(&after)), (graph.nodes().len(), 1));
        let images = crate::tensor::Tensor::new([1, 5, 4, 3], (0..60).map(|i| (i % 7) as f32 - 3.0).collect());
        let (before, after) = (autograd::infer(&graph, &images), autograd::infer(&after, &images));
        for (before, after) in before.data().iter().zip(after.data()) {
            assert!((before - after).abs() <= 1e-4 * before.abs().max(1.0), "{before} became {after}");
        }
    }

    #[test]
    fn what_others_read_or_the_file_rounds_is_not_folded() {
        let mut net = Net::new(1, [3, 4, 4]);
        let norm = net.norm(net.input());
        let graph = net.head(norm, 2);
        assert_eq!(fold_batch_norm(&graph).unwrap(), graph);

        let mut net = Net::new(1, [3, 4, 4]);
        let conv = net.conv(net.input(), 3, Conv::square(1, 1, 0), false);
        let norm = net.norm(conv);
        let sum = net.push(Op::Add, &[conv, norm]);
        let graph = net.head(sum, 2);
        assert_eq!(fold_batch_norm(&graph).unwrap(), graph);

        let mut net = Net::new(1, [3, 4, 4]);
        let conv = net.conv(net.input(), 3, Conv::square(1, 1, 0), false);
        let norm = net.norm(conv);
        let mut graph = net.head(norm, 2);
        assert_eq!(norms(&fold_batch_norm(&graph).unwrap()), 0);
        let rounded = graph.value(conv).name.clone();
        graph.metadata.quantization.activations.insert(rounded, QuantParams { scale: 0.1, zero_point: 3 });
        assert_eq!(fold_batch_norm(&graph).unwrap(), graph);
    }
}
