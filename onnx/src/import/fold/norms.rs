//! Normalization of constants: weights that a network standardizes before it convolves with them.

use super::{Array, Elements, Failure, NodeReader, claim};

type Results = Result<Vec<Array>, Failure>;

/// By given statistics, or in training mode by those of the constant itself.
pub(super) fn batch_normalization(node: &mut NodeReader<'_, '_>) -> Results {
    let epsilon = f64::from(node.attributes.float("epsilon")?.unwrap_or(1e-5));
    let momentum = f64::from(node.attributes.float("momentum")?.unwrap_or(0.9));
    for name in ["is_test", "consumed_inputs"] {
        node.attributes.ignore(name);
    }
    node.attributes.only("spatial", 1)?;
    // Up to opset 13 statistics as further results are what says so.
    let mode = node.attributes.int("training_mode")?;
    let training = mode.map_or(node.opset() < 14 && node.output_count() > 1, |mode| mode != 0);
    let x = node.constant(0)?;
    let Elements::Float(data) = &x.elements else { return Err("takes floats".into()) };
    let &[_, channels, ref inner @ ..] = x.dims.as_slice() else {
        return Err(format!("takes a tensor [N, C, ...], has {:?}", x.dims).into());
    };
    let area: usize = inner.iter().product();
    let mut vectors = Vec::with_capacity(4);
    for index in 1..5 {
        let vector = node.constant(index)?.floats();
        if vector.len() != channels {
            return Err(format!("operand {index} has {} elements, must have {channels}", vector.len()).into());
        }
        vectors.push(vector);
    }
    claim(node, &x.dims)?;
    let mut result = data.clone();
    let mut statistics = [vectors[2].clone(), vectors[3].clone()];
    let image = channels * area;
    for channel in 0..channels {
        let at = |index: usize| f64::from(vectors[index][channel]);
        let places = || {
            data.chunks_exact(image.max(1)).enumerate().flat_map(|(n, image)| {
                let start = channel * area;
                image[start..start + area].iter().enumerate().map(move |(i, &x)| (n, i, f64::from(x)))
            })
        };
        let (mut mean, mut variance) = (at(2), at(3));
        if training {
            let count = places().count() as f64;
            mean = places().map(|(.., x)| x).sum::<f64>() / count;
            variance = places().map(|(.., x)| (x - mean).powi(2)).sum::<f64>() / count;
            for (statistic, own) in statistics.iter_mut().zip([mean, variance]) {
                statistic[channel] = (momentum * f64::from(statistic[channel]) + (1.0 - momentum) * own) as f32;
            }
        }
        let factor = at(0) / (variance + epsilon).sqrt();
        for (n, i, x) in places() {
            result[n * image + channel * area + i] = ((x - mean) * factor + at(1)) as f32;
        }
    }
    let [mean, variance] = statistics.map(|data| Array { dims: vec![channels], elements: Elements::Float(data) });
    let mut results = vec![Array { dims: x.dims.clone(), elements: Elements::Float(result) }];
    results.extend([mean, variance].into_iter().filter(|_| training));
    Ok(results)
}
