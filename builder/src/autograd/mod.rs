//! Reverse-mode differentiation of a [`Graph`], in float32, on all cores.
//!
//! Each operator's forward pass gives its result and, in training, a closure that turns the gradient of the result
//! into gradients of the operands; the tape runs the closures in reverse. Work is split by image, never by thread, and
//! partial sums are added as a tree over the images, so results do not depend on the number of threads, nor, where the
//! shards of processes are whole branches of it, on theirs. They may differ in the last bits between processors whose
//! vectors have different widths.
//!
//! Most time outside convolutions goes into reading and writing maps, so an operator may leave its work to the only
//! reader of its result, through the context: batch norms do the work of the ReLU after them, 1x1 convolutions that of
//! both before them, additions that of batch norms before and the ReLU after them.
//!
//! Everything runs in the current rayon pool.
//!
//! To add an operator: its variant in [`skipstone_onnx::Op`], a file under `ops/` with `forward`, which records the
//! backward closure, and a finite-difference check, and its line in `ops::forward`.

mod pool;

pub mod fake;
pub mod loss;
mod saved;

mod context;
mod norm;
mod ops;
mod precision;
mod shard;
mod tape;

pub use context::Noise;
pub use fake::FakeQuantization;
pub(crate) use ops::neighbours;
pub(crate) use pool::Pool;
pub use precision::Precision;
pub use shard::Shard;
pub use tape::Tape;

use crate::tensor::Tensor;
use rayon::prelude::*;
use skipstone_onnx::{Graph, Node, ValueId};
use std::sync::Arc;

/// Images that go through the network together: so few that their activations stay in a core's cache.
const INFER_IMAGES: usize = 8;

/// The scores `[N, classes]` of normalized `images` `[N, H, W, C]`; batch normalization uses its running statistics.
///
/// # Panics
/// If the images' dimensions are not those of the graph's input.
pub fn infer(graph: &Graph, images: &Tensor) -> Tensor {
    infer_with(graph, None, images)
}

/// As [`infer`], under fake quantization; `rounded` is what [`FakeQuantization::with_rounded_parameters`] gave.
///
/// # Panics
/// If the images' dimensions are not those of the graph's input.
pub fn infer_quantized(rounded: &Graph, fake: &FakeQuantization, images: &Tensor) -> Tensor {
    infer_with(rounded, Some(fake), images)
}

fn infer_with(graph: &Graph, fake: Option<&FakeQuantization>, images: &Tensor) -> Tensor {
    check_dims(graph, images);
    let classes = graph.value(graph.output()).dims[0];
    let mut scores = Tensor::zeros([images.batch(), classes]);
    if images.batch() == 0 {
        return scores;
    }
    let image = images.data().len() / images.batch();
    let pool = Pool::default();
    scores
        .data_mut()
        .par_chunks_mut(INFER_IMAGES * classes)
        .zip(images.data().par_chunks(INFER_IMAGES * image))
        .for_each(|(scores, images)| {
            let mut data = pool.take(images.len());
            data.copy_from_slice(images);
            let mut dims = activation_dims(graph, graph.input());
            dims.insert(0, images.len() / image);
            let output = tape::evaluate(graph, fake, Tensor::within(dims, data), &pool, &mut |_, _| ());
            scores.copy_from_slice(output.data());
            pool.give(output);
        });
    scores
}

/// Runs the network as [`infer`] does and shows every activation of the whole batch, the input first, then each node's
/// result in order.
///
/// # Panics
/// If there are no images, or their dimensions are not those of the graph's input.
pub fn observe(graph: &Graph, images: &Tensor, visit: &mut dyn FnMut(ValueId, &Tensor)) {
    check_dims(graph, images);
    tape::evaluate(graph, None, images.clone(), &Pool::default(), visit);
}

/// Runs the network under fake quantization and shows every activation of the whole batch, the input first, then each
/// node's result in order; those that are quantized after rounding.
///
/// `rounded` is what [`FakeQuantization::with_rounded_parameters`] gave.
///
/// # Panics
/// If there are no images, or their dimensions are not those of the graph's input.
pub fn observe_quantized(
    rounded: &Graph,
    fake: &FakeQuantization,
    images: &Tensor,
    visit: &mut dyn FnMut(ValueId, &Tensor),
) {
    check_dims(rounded, images);
    tape::evaluate(rounded, Some(fake), images.clone(), &Pool::default(), visit);
}

/// One node's result in evaluation mode, of its operands that are activations, in order.
pub(crate) fn evaluate_node(graph: &Graph, node: &Node, operands: Vec<Tensor>, pool: &Pool) -> Tensor {
    let mut context = context::Forward::new(graph, pool, None);
    let (output, _) = ops::forward(&mut context, node, operands.into_iter().map(Arc::new).collect());
    pool.own(output)
}

/// Mean and unbiased variance, over a batch, of what each batch normalization normalizes in training; named by the
/// parameters that hold the running ones.
///
/// # Panics
/// If there are no images, or their dimensions are not those of the graph's input.
pub fn batch_statistics(graph: &Graph, images: &Tensor) -> Vec<(ValueId, Vec<f32>)> {
    check_dims(graph, images);
    let pool = Pool::default();
    let mut context = context::Forward::new(graph, &pool, Some(Noise::default()));
    tape::forward(&mut context, images.clone(), &mut |_, _| ());
    let weight = context::BATCH_NORM_MOMENTUM;
    let blended = context.statistics.into_iter();
    blended
        .map(|(id, new)| {
            let old = graph.parameter(id).map_or(&[][..], |tensor| tensor.data());
            (id, new.iter().zip(old).map(|(new, old)| (new - (1.0 - weight) * old) / weight).collect())
        })
        .collect()
}

/// Dimensions of one image's activation in execution order: `[H, W, C]` or `[features]`.
fn activation_dims(graph: &Graph, id: ValueId) -> Vec<usize> {
    match *graph.value(id).dims.as_slice() {
        [channels, height, width] => vec![height, width, channels],
        ref dims => dims.to_vec(),
    }
}

pub(crate) fn check_dims(graph: &Graph, images: &Tensor) {
    let expected = activation_dims(graph, graph.input());
    assert_eq!(images.dims()[1..], expected, "images of other dimensions than the input of `{}`", graph.name);
}

/// A tensor that several holders read; whoever holds it alone may overwrite it.
type Shared = Arc<Tensor>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Spec, Split, load};
    use crate::zoo;

    fn resnet8() -> (Graph, Tensor) {
        let options = zoo::Options { input: Some([1, 8, 8]), seed: 1, ..zoo::Options::default() };
        let spec: Spec = "digits".parse().unwrap();
        let indices: Vec<usize> = (0..19).collect();
        let images = load(&spec, Split::Test).unwrap().batch(&indices, &spec.normalization());
        (zoo::build("resnet8", &options).unwrap(), images)
    }

    #[test]
    fn scores_of_an_image_do_not_depend_on_the_others() {
        let (graph, images) = resnet8();
        let scores = infer(&graph, &images);
        assert_eq!(scores.dims(), [19, 10]);
        for index in [0, 7, 8, 18] {
            let one = Tensor::new([1, 8, 8, 1], images.image(index).to_vec());
            assert_eq!(infer(&graph, &one).data(), scores.image(index));
        }
        assert_eq!(infer(&graph, &Tensor::zeros([0, 8, 8, 1])).dims(), [0, 10]);
    }

    #[test]
    fn batch_statistics_are_those_of_the_operands() {
        let (graph, images) = resnet8();
        let statistics = batch_statistics(&graph, &images);
        let norms = graph.nodes().iter().filter(|node| node.op.name() == "BatchNormalization");
        assert_eq!(statistics.len(), 2 * norms.clone().count());
        // The operand of the first batch norm does not depend on the others.
        let first = norms.clone().next().unwrap();
        observe(&graph, &images, &mut |id, x| {
            if id == first.inputs[0] {
                let channels = x.dims()[3];
                let pixels = x.data().chunks_exact(channels);
                let count = pixels.len() as f32;
                for c in 0..channels {
                    let mean = pixels.clone().map(|pixel| pixel[c]).sum::<f32>() / count;
                    let squares = pixels.clone().map(|pixel| (pixel[c] - mean).powi(2)).sum::<f32>();
                    let expected = [mean, squares / (count - 1.0)];
                    for ((id, found), (operand, expected)) in
                        statistics[..2].iter().zip([3, 4].into_iter().zip(expected))
                    {
                        assert_eq!(*id, first.inputs[operand]);
                        assert!(
                            (found[c] - expected).abs() < 1e-4 * expected.abs().max(1.0),
                            "{} {expected}",
                            found[c]
                        );
                    }
                }
            }
        });
    }

    #[test]
    fn observe_shows_every_activation_once_and_ends_in_the_scores() {
        let (graph, images) = resnet8();
        let mut seen = Vec::new();
        let mut last = None;
        observe(&graph, &images, &mut |id, tensor| {
            assert_eq!(tensor.dims()[1..], activation_dims(&graph, id));
            seen.push(id);
            last = Some(tensor.clone());
        });
        let expected: Vec<_> =
            std::iter::once(graph.input()).chain(graph.nodes().iter().map(|node| node.output)).collect();
        assert_eq!(seen, expected);
        assert_eq!(last, Some(infer(&graph, &images)));
    }
}
