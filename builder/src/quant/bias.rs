//! Bias correction: what rounding and clipping shift on average is taken back.
//!
//! The empirical form of Nagel et al. (*Data-free quantization through weight equalization and bias correction*, 2019).

use super::{QGraph, QuantError, calibrate, fake_quantization};
use crate::autograd::{self, Pool};
use crate::data::Dataset;
use crate::tensor::Tensor;
use skipstone_onnx::{Graph, Op, ValueId};

/// Images whose float activations are measured together.
const BATCH: usize = 64;

/// Elements of the largest activation that all images together may have.
const ELEMENTS: usize = 1 << 25;

/// The network with biases under which the mean of each channel that a convolution or a linear layer makes, over the
/// images, is the same in `qgraph`, which was made from it, as in float.
///
/// The quantized network runs layer by layer, so each correction knows those before it. Where the images do not fit into
/// memory at once, as many as do are taken, spread over all. Layers without a bias stay as they are.
pub(super) fn correct_biases(graph: &Graph, qgraph: &QGraph, images: &Dataset) -> Result<Graph, QuantError> {
    let normalization = calibrate::check(graph, images)?;
    let largest = graph.values().iter().filter(|value| value.parameter.is_none());
    let largest = largest.map(|value| value.dims.iter().product::<usize>()).max().unwrap_or(1);
    let count = images.len().min((ELEMENTS / largest).max(1));
    let indices: Vec<usize> = (0..count).map(|index| index * images.len() / count).collect();

    let layers = graph.nodes().iter().filter(|node| matches!(node.op, Op::Conv(_) | Op::Gemm));
    let mut means: Vec<Option<Vec<f64>>> = vec![None; graph.values().len()];
    layers.for_each(|node| means[node.output.index()] = Some(vec![0.0; graph.value(node.output).dims[0]]));
    for batch in indices.chunks(BATCH) {
        autograd::observe(graph, &images.batch(batch, normalization), &mut |id, tensor| {
            if let Some(mean) = &mut means[id.index()] {
                add_means(mean, tensor, batch.len() as f64 / count as f64);
            }
        });
    }
    let mut corrected = graph.clone();
    for node in graph.producers().into_iter().flatten() {
        if matches!(graph.node(node).op, Op::Conv(_) | Op::Gemm) {
            corrected.own_parameter(node, 2);
        }
    }
    run_corrected(&mut corrected, qgraph, images.batch(&indices, normalization), &means);
    Ok(corrected)
}

/// Runs the quantized network over all images; each layer's result, and its bias in `graph`, is shifted to its mean in
/// float before others read it.
fn run_corrected(graph: &mut Graph, qgraph: &QGraph, images: Tensor, means: &[Option<Vec<f64>>]) {
    let fake = fake_quantization(graph, qgraph);
    let rounded = fake.with_rounded_parameters(graph);
    let pool = Pool::default();
    let mut uses = vec![0usize; rounded.values().len()];
    rounded.nodes().iter().flat_map(|node| &node.inputs).for_each(|input| uses[input.index()] += 1);
    let mut values: Vec<Option<Tensor>> = vec![None; graph.values().len()];
    let round = |id: ValueId, x: Tensor| match fake.grid(id) {
        Some(grid) => {
            let y = grid.rounded(&x, &pool);
            pool.give(x);
            y
        }
        None => x,
    };
    values[graph.input().index()] = Some(round(graph.input(), images));
    for node in rounded.nodes() {
        let mut operands = Vec::with_capacity(2);
        for input in node.inputs.iter().filter(|&&input| rounded.parameter(input).is_none()) {
            let index = input.index();
            uses[index] -= 1;
            operands.extend(if uses[index] == 0 { values[index].take() } else { values[index].clone() });
        }
        let mut result = autograd::evaluate_node(&rounded, node, operands, &pool);
        if let (Some(mean), Some(&bias)) = (&means[node.output.index()], node.inputs.get(2)) {
            let mut shift = vec![0.0; mean.len()];
            add_means(&mut shift, &result, -1.0);
            let shift: Vec<f32> = shift.iter().zip(mean).map(|(negative, mean)| (mean + negative) as f32).collect();
            for pixel in result.data_mut().chunks_exact_mut(shift.len()) {
                pixel.iter_mut().zip(&shift).for_each(|(x, shift)| *x += shift);
            }
            if let Some(bias) = graph.parameter_mut(bias) {
                bias.data_mut().iter_mut().zip(&shift).for_each(|(bias, shift)| *bias += shift);
            }
        }
        values[node.output.index()] = Some(round(node.output, result));
    }
}

/// Adds `factor` times the mean of each channel to `means`.
fn add_means(means: &mut [f64], tensor: &Tensor, factor: f64) {
    let channels = means.len();
    let mut sums = vec![0.0f64; channels];
    for pixel in tensor.data().chunks_exact(channels) {
        sums.iter_mut().zip(pixel).for_each(|(sum, &x)| *sum += f64::from(x));
    }
    let factor = factor * channels as f64 / tensor.data().len() as f64;
    means.iter_mut().zip(sums).for_each(|(mean, sum)| *mean += factor * sum);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::passes::{fold_batch_norm, with_biases};
    use crate::quant::fixtures::{random_graph, random_images};
    use crate::quant::{Method, lower};

    /// Distance between the mean scores in float and in int8.
    fn shift(graph: &Graph, float: &Graph, qgraph: &QGraph, images: &Tensor) -> f64 {
        let fake = fake_quantization(graph, qgraph);
        let scores = autograd::infer_quantized(&fake.with_rounded_parameters(graph), &fake, images);
        let expected = autograd::infer(float, images);
        let mut means = vec![0.0; scores.dims()[1]];
        add_means(&mut means, &scores, 1.0);
        add_means(&mut means, &expected, -1.0);
        means.iter().map(|x| x * x).sum::<f64>().sqrt()
    }

    #[test]
    fn mean_scores_come_closer_to_float() {
        let (mut before, mut after) = (0.0, 0.0);
        for seed in 0..12 {
            let graph = with_biases(&fold_batch_norm(&random_graph(seed)).unwrap()).unwrap();
            let data = random_images(&graph, 40, seed);
            let ranges = calibrate::calibrate(&graph, &data, Method::MinMax).unwrap();
            let qgraph = lower(&graph, &ranges).unwrap();
            let corrected = correct_biases(&graph, &qgraph, &data).unwrap();
            let again = lower(&corrected, &ranges).unwrap();
            let all: Vec<usize> = (0..40).collect();
            let images = data.batch_for(&graph, &all);
            before += shift(&graph, &graph, &qgraph, &images);
            after += shift(&corrected, &graph, &again, &images);
        }
        assert!(after < 0.4 * before, "{after} was {before}");
    }
}
