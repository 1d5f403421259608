//! What one of several processes has of a batch.

use crate::cluster::Cluster;

/// The part of a batch that this process computes: as many images as any other's, in the order of the ranks.
#[derive(Clone, Debug, Default)]
pub struct Shard {
    /// The processes that share the batch.
    pub cluster: Cluster,
    /// Whether batch statistics are those of the whole batch, not of this process's images.
    pub sync_bn: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autograd::loss::{BatchScore, Loss, targets};
    use crate::autograd::{Noise, Tape};
    use crate::cluster::threads;
    use crate::data::{Spec, Split, load};
    use crate::tensor::Tensor;
    use crate::zoo;
    use skipstone_onnx::Graph;

    const BATCH: usize = 64;

    /// The mean gradients of a step of `size` processes, the running statistics after it, and the mean loss, as each
    /// process has them.
    fn step(graph: &Graph, images: &Tensor, labels: &[u16], size: usize, sync_bn: bool) -> Vec<(Vec<Vec<f32>>, f64)> {
        threads::run(size, |cluster| {
            let count = BATCH / size;
            let first = cluster.rank() * count;
            let len = images.data().len() / BATCH;
            let mut dims = images.dims().to_vec();
            dims[0] = count;
            let shard = Tensor::new(dims, images.data()[first * len..][..count * len].to_vec());
            let targets = targets(&labels[first..][..count], 10, 0.1);
            let mut graph = graph.clone();
            let mut tape = Tape::new().with_shard(Shard { cluster: cluster.clone(), sync_bn });
            let noise = Noise { seed: 5, step: 3 };
            let BatchScore { loss, .. } = tape.step(&mut graph, shard, &targets, Loss::CrossEntropy, noise);
            let mut values: Vec<Vec<f32>> = Vec::new();
            for (id, _, parameter) in graph.parameters() {
                values.push(match tape.gradient(id) {
                    Some(gradient) => {
                        let mut gradient = gradient.to_vec();
                        cluster.sum(&mut gradient);
                        gradient.iter_mut().for_each(|gradient| *gradient /= size as f32);
                        gradient
                    }
                    None => parameter.tensor.data().to_vec(),
                });
            }
            let mut losses = [loss];
            cluster.sum(&mut losses);
            (values, losses[0] / size as f64)
        })
    }

    #[test]
    fn with_statistics_of_the_whole_batch_processes_give_the_gradients_of_one() {
        let spec: Spec = "digits".parse().unwrap();
        let indices: Vec<usize> = (0..BATCH).collect();
        let set = load(&spec, Split::Test).unwrap();
        let images = set.batch(&indices, &spec.normalization());
        for (arch, dropout, stochastic_depth) in [("resnet8", 0.0, 0.3), ("densenet-bc22-k8", 0.2, 0.0)] {
            let noise = zoo::Options { dropout, stochastic_depth, ..zoo::Options::default() };
            let graph = zoo::build(arch, &zoo::Options { input: Some([1, 8, 8]), seed: 1, ..noise }).unwrap();
            let [alone] = &step(&graph, &images, &set.labels, 1, false)[..] else { unreachable!("one process") };
            for size in [2, 4] {
                for (found, loss) in step(&graph, &images, &set.labels, size, true) {
                    assert!(found == alone.0, "{arch}, {size} processes");
                    assert!((loss - alone.1).abs() < 1e-12);
                }
                let apart = step(&graph, &images, &set.labels, size, false);
                assert!(apart[0].0 != alone.0, "{arch}, {size} processes");
            }
        }
    }
}
