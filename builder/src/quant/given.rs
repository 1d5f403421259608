//! What the file of a network that others quantized says of its integers, which then are ours too.

use super::graph::{QGraph, QNode, QOp};
use skipstone_onnx::{Graph, Integers, Node, QuantParams, ValueId};
use std::collections::HashMap;

/// Largest magnitude of a weight in a packed model.
const LARGEST: i32 = 127;

/// Weights of a channel that are not the file's are rounded to the best of the scales under which the largest is one of
/// these integers.
const CANDIDATES: std::ops::RangeInclusive<i32> = 96..=LARGEST;

/// Scale and zero point that the file has for an activation.
pub(super) fn rounding(graph: &Graph, value: ValueId) -> Option<QuantParams> {
    graph.metadata.quantization.activations.get(&graph.value(value).name).copied()
}

/// Integers and scales of a layer's weights, if it still has the weights of the file.
pub(super) fn weights<'g>(graph: &'g Graph, node: &Node) -> Option<&'g Integers> {
    integers(graph, *node.inputs.get(1)?)
}

/// Integers and scales of a layer's bias, if it still has that of the file.
pub(super) fn bias<'g>(graph: &'g Graph, node: &Node) -> Option<&'g Integers> {
    integers(graph, *node.inputs.get(2)?)
}

fn integers(graph: &Graph, parameter: ValueId) -> Option<&Integers> {
    let known = graph.metadata.quantization.parameters.get(&graph.value(parameter).name)?;
    graph.parameter(parameter).is_some_and(|tensor| known.are(tensor.data())).then_some(known)
}

/// The weights of one output channel.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Channel {
    pub(super) weights: Vec<i8>,
    /// Positive.
    pub(super) scale: f32,
}

/// A channel of the file with a scale that a packed model can have. The same numbers, where whole multiples of a scale up
/// to 127 can be them; otherwise they are rounded to a larger scale, that with the least squared error.
///
/// `multiplier` is what one unit of the accumulator would be in output steps for a scale of 1, and `limit` what it must
/// stay below: small integers are then multiples of a smaller scale.
pub(super) fn channel(values: &[i32], scale: f32, [multiplier, limit]: [f64; 2]) -> Channel {
    let largest = values.iter().map(|value| value.unsigned_abs()).max().unwrap_or(0);
    if largest == 0 || scale == 0.0 {
        return Channel { weights: vec![0; values.len()], scale: if scale == 0.0 { 1.0 } else { scale.abs() } };
    }
    let sign = if scale < 0.0 { -1.0 } else { 1.0 };
    let scale = scale.abs();
    let whole = |factor: f64| values.iter().map(|&value| (sign * f64::from(value) * factor).round() as i8).collect();
    if largest <= LARGEST as u32 {
        let fits = |factor: &f64| f64::from(scale) / factor * multiplier < limit;
        let mut factors = (0..7).map(|power| f64::from(1 << power)).take_while(|f| f64::from(largest) * f <= 127.0);
        let factor = factors.find(fits).unwrap_or(1.0);
        return Channel { weights: whole(factor), scale: (f64::from(scale) / factor) as f32 };
    }
    let divisor = values.iter().fold(0, |divisor, value| common_divisor(divisor, value.unsigned_abs()));
    if largest / divisor <= LARGEST as u32 {
        // As large as they can be, so that the multiplier is small.
        let factor = f64::from(LARGEST as u32 / (largest / divisor)) / f64::from(divisor);
        return Channel { weights: whole(factor), scale: (f64::from(scale) / factor) as f32 };
    }
    let rounded = |most: i32| {
        let step = f64::from(largest) / f64::from(most);
        let nearest = |value: &i32| (f64::from(*value) / step).round();
        let error: f64 = values.iter().map(|value| (f64::from(*value) - step * nearest(value)).powi(2)).sum();
        (error, step)
    };
    let best = CANDIDATES
        .rev()
        .map(rounded)
        .fold((f64::INFINITY, 1.0), |best, next| if next.0 < best.0 { next } else { best });
    let weights = values.iter().map(|&value| (sign * f64::from(value) / best.1).round() as i8).collect();
    Channel { weights, scale: (f64::from(scale) * best.1) as f32 }
}

fn common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

/// A bias as an integer and a scale, exactly.
pub(super) fn real(bias: f32) -> (i32, f32) {
    if bias == 0.0 || !bias.is_finite() {
        return (0, 1.0);
    }
    // A float32 has 24 digits; what is below its smallest normal number is nothing.
    let exponent = (f64::from(bias).abs().log2().floor() as i32 - 23).max(f32::MIN_EXP - 1);
    let scale = 2f64.powi(exponent);
    ((f64::from(bias) / scale).round() as i32, scale as f32)
}

/// A layer whose weights are not all those of its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rerounded {
    /// The layer's node.
    pub layer: String,
    /// Its output channels whose weights are rounded anew.
    pub channels: usize,
    /// All of its output channels.
    pub of: usize,
}

/// The layers of a network that others quantized whose weights are not those of its file, in order: integers that are no
/// multiples of a scale up to 127, scales for each input channel, weights that the file leaves in float. `graph` is what
/// `qgraph` was made from.
pub fn rerounded(graph: &Graph, qgraph: &QGraph) -> Vec<Rerounded> {
    let layer = |(node, errors): (&QNode, Vec<f64>)| {
        let channels = errors.iter().filter(|error| **error > 0.0).count();
        (channels > 0).then(|| Rerounded { layer: node.name.clone(), channels, of: errors.len() })
    };
    weight_errors(graph, qgraph).into_iter().filter_map(layer).collect()
}

/// How far the sums of each layer's output channels can be from those with the weights of the file, in real numbers,
/// because weights were rounded anew; by the layers' names, of which those without an error are left out. `graph` is
/// what `qgraph` was made from.
pub fn rerounding_bounds(graph: &Graph, qgraph: &QGraph) -> HashMap<String, Vec<f64>> {
    let bounds = |(node, errors): (&QNode, Vec<f64>)| {
        let read = qgraph.factor(node);
        let zero_point = i32::from(read.params.zero_point);
        let largest = f64::from(read.params.scale) * f64::from((127 - zero_point).max(zero_point + 128));
        (node.name.clone(), errors.into_iter().map(|error| error * largest).collect::<Vec<_>>())
    };
    let layers = weight_errors(graph, qgraph).into_iter().map(bounds);
    layers.filter(|(_, bounds)| bounds.iter().any(|bound| *bound > 0.0)).collect()
}

/// For each layer of a network that others quantized, and each of its output channels, what the magnitudes of the
/// differences between its weights and those of the file add up to.
fn weight_errors<'q>(graph: &Graph, qgraph: &'q QGraph) -> Vec<(&'q QNode, Vec<f64>)> {
    if graph.metadata.quantization.is_empty() {
        return Vec::new();
    }
    let nodes: HashMap<&str, &Node> = graph.nodes().iter().map(|node| (node.name.as_str(), node)).collect();
    let layer = |node: &'q QNode| {
        let QOp::Conv(conv) = &node.op else { return None };
        let weight = graph.parameter(nodes.get(node.name.as_str())?.inputs[1])?.data();
        let (of, area) = (conv.bias.len(), conv.kernel[0] * conv.kernel[1]);
        let per_channel = conv.weights.len() / of;
        let error = |channel: usize| -> f64 {
            let scale = f64::from(conv.weight_scales[channel]);
            let real = &weight[channel * per_channel..][..per_channel];
            let ours = conv.channel(channel);
            // OIHW and OHWI.
            let per_group = per_channel / area;
            let apart = |index: usize| {
                let ours = scale * f64::from(ours[index % area * per_group + index / area]);
                let real = f64::from(real[index]);
                let apart = (real - ours).abs();
                // float32 of the same number is no other, and rounding is off by at most half a step.
                if apart > 1e-6 * real.abs() && apart <= 0.501 * scale { apart } else { 0.0 }
            };
            (0..per_channel).map(apart).sum()
        };
        Some((node, (0..of).map(error).collect()))
    };
    qgraph.nodes.iter().filter_map(layer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: [f64; 2] = [0.0, 0.5];

    #[test]
    fn weights_that_fit_are_those_of_the_file() {
        assert_eq!(channel(&[127, -127, 3], 0.25, ANY), Channel { weights: vec![127, -127, 3], scale: 0.25 });
        assert_eq!(channel(&[100, -7], -0.25, ANY), Channel { weights: vec![-100, 7], scale: 0.25 });
        // Multiples of 2, of 85 and of 64, though larger than 127.
        assert_eq!(channel(&[254, -128, 2], 0.5, ANY), Channel { weights: vec![127, -64, 1], scale: 1.0 });
        assert_eq!(channel(&[255, 85, 0], 42.0, ANY), Channel { weights: vec![126, 42, 0], scale: 85.0 });
        assert_eq!(channel(&[-128, 0, 64], 63.0, ANY), Channel { weights: vec![-126, 0, 63], scale: 64.0 });
    }

    #[test]
    fn weights_that_do_not_fit_are_rounded_and_never_clipped() {
        for values in [vec![-128, 1, 77], vec![255, 254, 1, 0, 13], vec![200, -55, 3, 199]] {
            let Channel { weights, scale } = channel(&values, 0.1, ANY);
            for (value, weight) in values.iter().zip(&weights) {
                let error = f64::from(*value) * 0.1 - f64::from(*weight) * f64::from(scale);
                assert!(error.abs() <= f64::from(scale) * 0.5001, "{value} became {weight} of {scale}");
            }
            let step = f64::from(scale) / 0.1;
            assert!(step <= 255.0 / 96.0, "{step}");
        }
    }

    #[test]
    fn small_integers_take_a_smaller_scale_where_the_multiplier_would_not_fit() {
        assert_eq!(channel(&[1, 0, -1], 1.0, [1.0, 0.5]), Channel { weights: vec![4, 0, -4], scale: 0.25 });
        assert_eq!(channel(&[1, 0], 1.0, [0.1, 0.5]), Channel { weights: vec![1, 0], scale: 1.0 });
        assert_eq!(channel(&[127], 1.0, [1.0, 0.5]), Channel { weights: vec![127], scale: 1.0 });
    }

    #[test]
    fn dead_channels_have_a_scale() {
        assert_eq!(channel(&[0, 0], 0.0, ANY), Channel { weights: vec![0, 0], scale: 1.0 });
        assert_eq!(channel(&[0, 0], 7.0, ANY), Channel { weights: vec![0, 0], scale: 7.0 });
    }

    #[test]
    fn every_bias_is_an_integer_times_a_scale() {
        for bias in [0.0, 1.5, -0.1, 3.0e38, 1.0e-20, -7.25, f32::MIN_POSITIVE] {
            let (steps, scale) = real(bias);
            assert_eq!((f64::from(steps) * f64::from(scale)) as f32, bias);
            assert!(scale.is_normal() && steps.unsigned_abs() <= 1 << 24);
        }
    }
}
