//! Where int8 loses accuracy.

use super::annotate::places;
use super::{Quantization, fake_quantization};
use crate::autograd::{self, FakeQuantization};
use crate::data::Dataset;
use crate::metrics::{self, Evaluation};
use skipstone_onnx::{Graph, ValueId};
use std::collections::HashMap;
use std::convert::Infallible;

/// Images whose activations are compared together.
const BATCH: usize = 16;

/// Images that are classified together.
const CLASSIFIED: usize = 256;

/// What one integer operator costs.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerSensitivity {
    /// Name of the float network's node that does the work.
    pub name: String,
    /// The integer operator.
    pub op: &'static str,
    /// Signal-to-noise ratio of its int8 output in the int8 network against the float network, in decibels: ten times the
    /// decimal logarithm of the ratio of the sums of squares. Infinite where they are equal.
    pub signal_to_noise: f64,
    /// The int8 network with this operator alone in float.
    pub in_float: Evaluation,
}

/// Where a network loses accuracy.
#[derive(Clone, Debug, PartialEq)]
pub struct Sensitivity {
    /// The float network.
    pub float: Evaluation,
    /// The int8 network.
    pub int8: Evaluation,
    /// In order of execution. Operators that only move elements are left out.
    pub layers: Vec<LayerSensitivity>,
}

/// Measures each integer operator on labelled images; calls `progress` for each.
///
/// The int8 network is the float network under fake quantization, which is the same but for ties.
///
/// # Panics
/// If there are no images, or they do not fit the network.
pub fn sensitivity(quantization: &Quantization, images: &Dataset, progress: &mut dyn FnMut()) -> Sensitivity {
    let Quantization { float, rounded, qgraph } = quantization;
    let fake = fake_quantization(rounded, qgraph);
    let ratios = signal_to_noise(float, rounded, &fake, images);
    let score = |fake: &FakeQuantization| score(rounded, Some(fake), images);
    let layers = places(rounded, qgraph).into_iter().map(|place| {
        progress();
        LayerSensitivity {
            name: place.node.name.clone(),
            op: place.node.op.name(),
            signal_to_noise: ratios[&rounded.value(place.output).name],
            in_float: score(&fake.without(place.output, place.layer)),
        }
    });
    let layers = layers.collect();
    Sensitivity { float: self::score(float, None, images), int8: score(&fake), layers }
}

fn score(graph: &Graph, fake: Option<&FakeQuantization>, images: &Dataset) -> Evaluation {
    let rounded = fake.map(|fake| fake.with_rounded_parameters(graph));
    let Ok(evaluation) = metrics::evaluate::<Infallible>(images, CLASSIFIED, |indices| {
        let batch = images.batch_for(graph, indices);
        Ok(match (fake, &rounded) {
            (Some(fake), Some(rounded)) => autograd::infer_quantized(rounded, fake, &batch),
            _ => autograd::infer(graph, &batch),
        })
    });
    evaluation
}

/// The ratio, in decibels, for the name of each activation that is rounded.
fn signal_to_noise<'g>(
    float: &Graph,
    rounded: &'g Graph,
    fake: &FakeQuantization,
    images: &Dataset,
) -> HashMap<&'g String, f64> {
    let with_integers = fake.with_rounded_parameters(rounded);
    let name = |graph: &Graph, id: ValueId| graph.value(id).name.clone();
    let watched = rounded.nodes().iter().map(|node| node.output).filter(|&id| fake.grid(id).is_some());
    let mut sums: HashMap<&String, [f64; 2]> = watched.map(|id| (&rounded.value(id).name, [0.0; 2])).collect();
    let indices: Vec<usize> = (0..images.len()).collect();
    for batch in indices.chunks(BATCH) {
        let batch = images.batch_for(float, batch);
        let mut expected = HashMap::new();
        autograd::observe(float, &batch, &mut |id, tensor| {
            if sums.contains_key(&name(float, id)) {
                expected.insert(name(float, id), tensor.clone());
            }
        });
        autograd::observe_quantized(&with_integers, fake, &batch, &mut |id, tensor| {
            let name = &rounded.value(id).name;
            if let (Some([signal, noise]), Some(expected)) = (sums.get_mut(name), expected.remove(name)) {
                for (&x, &q) in expected.data().iter().zip(tensor.data()) {
                    *signal += f64::from(x).powi(2);
                    *noise += (f64::from(x) - f64::from(q)).powi(2);
                }
            }
        });
    }
    let ratio = |[signal, noise]: [f64; 2]| if noise == 0.0 { f64::INFINITY } else { 10.0 * (signal / noise).log10() };
    sums.into_iter().map(|(name, sums)| (name, ratio(sums))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::fixtures::{Net, random_images};
    use crate::quant::{Settings, quantize};
    use skipstone_onnx::Conv;

    #[test]
    fn the_layer_that_was_spoilt_is_found() {
        let mut net = Net::new(5, [3, 8, 8]);
        let mut x = net.input();
        for _ in 0..3 {
            x = net.conv(x, 8, Conv::square(3, 1, 1), true);
            x = net.relu(x);
        }
        let mut graph = net.head(x, 6);
        // A large weight per channel of one layer leaves few steps to the others.
        let spoilt = &graph.nodes()[2];
        let (name, weight) = (spoilt.name.clone(), spoilt.inputs[1]);
        for weights in graph.parameter_mut(weight).unwrap().data_mut().chunks_exact_mut(72) {
            let square = weights.iter().map(|w| w * w).sum::<f32>();
            weights[0] = -60.0 * square.sqrt();
        }
        let mut images = random_images(&graph, 48, 5);
        let scores = autograd::infer(&graph, &images.batch_for(&graph, &Vec::from_iter(0..48)));
        // The float network is right about every image.
        for (index, label) in images.labels.iter_mut().enumerate() {
            let scores = scores.image(index);
            *label = (0..6).max_by(|&a, &b| scores[a].total_cmp(&scores[b])).unwrap() as u16;
        }
        let quantization = quantize(&graph, &images, &Settings::default()).unwrap();
        let mut count = 0;
        let found = sensitivity(&quantization, &images, &mut || count += 1);
        assert_eq!((found.float.accuracy, found.layers.len()), (1.0, count));
        let names: Vec<&str> = quantization.qgraph.nodes.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(found.layers.iter().map(|layer| layer.name.as_str()).collect::<Vec<_>>(), names);
        let best = found.layers.iter().min_by(|a, b| a.in_float.loss.total_cmp(&b.in_float.loss)).unwrap();
        assert_eq!(best.name, name, "{found:?}");
        let spoilt = found.layers.iter().position(|layer| layer.name == name).unwrap();
        let ratio = |index: usize| found.layers[index].signal_to_noise;
        assert!(ratio(spoilt) < ratio(spoilt - 1) - 10.0, "{found:?}");
    }
}
