//! A first convolution that whitens: its filters are principal components of the images' patches.

use super::TrainError;
use crate::data::Dataset;
use serde::{Deserialize, Serialize};
use skipstone_onnx::{Graph, Node, Normalization, Op, ValueId};

/// How the first convolution is set before training. Its weights stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Whitening {
    /// Images, spread over the set, whose patches are looked at.
    pub images: usize,
    /// What is added to the variance of a component before the division by its root.
    pub epsilon: f64,
    /// Epochs at the beginning in which the convolution's bias is trained.
    pub bias_epochs: usize,
}

impl Default for Whitening {
    /// As in airbench.
    fn default() -> Self {
        Self { images: 5000, epsilon: 5e-4, bias_epochs: 3 }
    }
}

/// The parameters of a whitening convolution.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stem {
    pub(super) weight: ValueId,
    pub(super) bias: Option<ValueId>,
}

/// The convolution that reads the image.
///
/// # Errors
/// [`TrainError::NoWhitening`] if there is none, or its filters are not two for each component.
pub(super) fn stem(graph: &Graph) -> Result<Stem, TrainError> {
    let refused = |reason: String| TrainError::NoWhitening { arch: graph.name.clone(), reason };
    let mut readers = graph.nodes().iter().filter(|node| node.inputs.contains(&graph.input()));
    let (Some(Node { op: Op::Conv(conv), inputs, .. }), None) = (readers.next(), readers.next()) else {
        return Err(refused("one convolution alone must read the image".into()));
    };
    let [filters, channels, height, width] = *graph.value(inputs[1]).dims.as_slice() else {
        return Err(refused("its first convolution has no filters".into()));
    };
    let size = channels * height * width;
    let [map_height, map_width] = [1, 2].map(|axis| graph.value(graph.input()).dims[axis]);
    if conv.groups != 1 || filters % 2 == 1 || filters / 2 > size || height > map_height || width > map_width {
        return Err(refused(format!(
            "its first convolution has {filters} filters in {} groups for patches of {size} values, and must have one \
             group and an even number up to {}",
            conv.groups,
            2 * size
        )));
    }
    Ok(Stem { weight: inputs[1], bias: inputs.get(2).copied() })
}

/// Sets the filters of `stem`: the first half are the strongest principal components of the patches of the images, each
/// divided by the root of its variance; the second half are their negatives.
pub(super) fn whiten(graph: &mut Graph, stem: Stem, images: &Dataset, normalization: &Normalization, epsilon: f64) {
    let &[filters, channels, height, width] = graph.value(stem.weight).dims.as_slice() else { return };
    let covariance = covariance(images, normalization, [channels, height, width]);
    let components = symmetric_eigen(covariance, channels * height * width);
    let strongest = components.iter().take(filters / 2);
    let scaled: Vec<f32> = strongest
        .flat_map(|(variance, vector)| {
            let scale = 1.0 / (variance + epsilon).sqrt();
            vector.iter().map(move |x| (x * scale) as f32)
        })
        .collect();
    let Some(weight) = graph.parameter_mut(stem.weight) else { return };
    let (first, second) = weight.data_mut().split_at_mut(scaled.len());
    first.copy_from_slice(&scaled);
    second.iter_mut().zip(&scaled).for_each(|(weight, x)| *weight = -x);
    if let Some(bias) = stem.bias.and_then(|id| graph.parameter_mut(id)) {
        bias.data_mut().fill(0.0);
    }
}

/// The mean product of each two values of a patch, `[channel][row][column]` as filters have them, over all patches.
fn covariance(set: &Dataset, normalization: &Normalization, [channels, height, width]: [usize; 3]) -> Vec<f64> {
    let [_, rows, columns] = set.dims;
    let size = channels * height * width;
    let mut sums = vec![0.0; size * size];
    let mut count = 0.0;
    for start in (0..set.len()).step_by(BATCH) {
        let indices: Vec<usize> = (start..set.len().min(start + BATCH)).collect();
        let batch = set.batch(&indices, normalization);
        let mut patch = vec![0.0; size];
        for image in (0..indices.len()).map(|index| batch.image(index)) {
            for (top, left) in (0..=rows - height).flat_map(|top| (0..=columns - width).map(move |left| (top, left))) {
                for (at, value) in patch.iter_mut().enumerate() {
                    let (channel, row, column) = (at / (height * width), at / width % height, at % width);
                    *value = image[((top + row) * columns + left + column) * channels + channel];
                }
                for (sums, &a) in sums.chunks_exact_mut(size).zip(&patch) {
                    sums.iter_mut().zip(&patch).for_each(|(sum, &b)| *sum += f64::from(a * b));
                }
                count += 1.0;
            }
        }
    }
    sums.iter_mut().for_each(|sum| *sum /= count);
    sums
}

/// Images that are normalized together.
const BATCH: usize = 256;
/// Sweeps over all pairs; each about squares what is left beside the diagonal.
const SWEEPS: usize = 30;

/// Eigenvalues and eigenvectors of length 1 of a symmetric matrix, the largest first, by Jacobi's rotations.
fn symmetric_eigen(mut matrix: Vec<f64>, size: usize) -> Vec<(f64, Vec<f64>)> {
    let mut vectors = vec![0.0; size * size];
    (0..size).for_each(|at| vectors[at * size + at] = 1.0);
    for _ in 0..SWEEPS {
        for p in 0..size {
            for q in p + 1..size {
                let off = matrix[p * size + q];
                if off == 0.0 {
                    continue;
                }
                // The rotation that makes this element 0 (Golub and Van Loan, 8.5.2).
                let ratio = (matrix[q * size + q] - matrix[p * size + p]) / (2.0 * off);
                let tangent = ratio.signum() / (ratio.abs() + ratio.hypot(1.0));
                let cosine = 1.0 / tangent.hypot(1.0);
                let sine = tangent * cosine;
                for k in 0..size {
                    let (a, b) = (matrix[k * size + p], matrix[k * size + q]);
                    matrix[k * size + p] = cosine * a - sine * b;
                    matrix[k * size + q] = sine * a + cosine * b;
                }
                for k in 0..size {
                    let (a, b) = (matrix[p * size + k], matrix[q * size + k]);
                    matrix[p * size + k] = cosine * a - sine * b;
                    matrix[q * size + k] = sine * a + cosine * b;
                    let (a, b) = (vectors[p * size + k], vectors[q * size + k]);
                    vectors[p * size + k] = cosine * a - sine * b;
                    vectors[q * size + k] = sine * a + cosine * b;
                }
            }
        }
    }
    let mut found: Vec<(f64, Vec<f64>)> =
        vectors.chunks_exact(size).enumerate().map(|(at, vector)| (matrix[at * size + at], vector.to_vec())).collect();
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autograd;
    use crate::data::{Spec, Split, load};
    use crate::zoo;

    #[test]
    fn eigenvectors_are_orthogonal_and_make_up_the_matrix() {
        let size = 7;
        let value = |i: usize, j: usize| ((i.min(j) * 7 + i.max(j)) * 37 % 19) as f64 - 9.0;
        let matrix: Vec<f64> = (0..size * size).map(|at| value(at / size, at % size)).collect();
        let found = symmetric_eigen(matrix.clone(), size);
        assert!(found.is_sorted_by(|a, b| a.0 >= b.0));
        for i in 0..size {
            for j in 0..size {
                let sum: f64 = found.iter().map(|(value, vector)| value * vector[i] * vector[j]).sum();
                assert!((sum - matrix[i * size + j]).abs() < 1e-9, "{i} {j}: {sum}");
                let product: f64 = (0..size).map(|k| found[i].1[k] * found[j].1[k]).sum();
                assert!((product - f64::from(u8::from(i == j))).abs() < 1e-9);
            }
        }
    }

    /// The stem's feature maps before the ReLU have covariance 1 where the variance is well above epsilon.
    #[test]
    fn whitened_patches_have_the_covariance_of_noise() {
        let spec: Spec = "digits".parse().unwrap();
        let set = load(&spec, Split::Test).unwrap().spread(200);
        let normalization = spec.normalization();
        let options = zoo::Options { input: Some([1, 9, 9]), ..zoo::Options::default() };
        let set =
            Dataset { dims: [1, 9, 9], pixels: set.pixels.iter().copied().cycle().take(150 * 81).collect(), ..set };
        let set = Dataset { labels: set.labels[..150].to_vec(), ..set };
        let mut graph = zoo::build("resnet-fast", &options).unwrap();
        let stem = stem(&graph).unwrap();
        whiten(&mut graph, stem, &set, &normalization, 1e-9);
        let all: Vec<usize> = (0..set.len()).collect();
        let maps = graph.nodes()[0].output;
        autograd::observe(&graph, &set.batch(&all, &normalization), &mut |id, x| {
            if id != maps {
                return;
            }
            let pixels = x.data().chunks_exact(8);
            let count = pixels.len() as f32;
            for a in 0..8 {
                for b in 0..8 {
                    let mean = pixels.clone().map(|pixel| pixel[a] * pixel[b]).sum::<f32>() / count;
                    let expected = if a == b {
                        1.0
                    } else if a % 4 == b % 4 {
                        -1.0
                    } else {
                        0.0
                    };
                    assert!((mean - expected).abs() < 1e-3, "{a} {b}: {mean}");
                }
            }
        });
    }

    #[test]
    fn a_stem_with_too_many_filters_is_refused() {
        let options = zoo::Options { input: Some([1, 8, 8]), ..zoo::Options::default() };
        assert!(stem(&zoo::build("resnet20", &options).unwrap()).is_ok());
        let error = stem(&zoo::build("resnet8-large", &options).unwrap()).unwrap_err().to_string();
        assert!(error.contains("resnet8-large") && error.contains("40 filters"), "{error}");
    }
}
