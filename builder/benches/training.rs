//! Images per second of training steps at batch 128, small networks for 3x32x32.
//!
//! ```text
//! cargo bench -p skipstone --bench training -- [NAME]
//! ```

mod workload;

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use skipstone::autograd::Precision;
use std::time::Duration;
use workload::Workload;

const BATCH: usize = 128;
const NETWORKS: [&str; 5] = ["resnet8", "resnet20", "densenet-bc40-k12", "resnext20-8x2d", "attention-mini"];

fn training(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("training");
    group
        .throughput(Throughput::Elements(BATCH as u64))
        .sampling_mode(SamplingMode::Flat)
        .sample_size(10)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(5));
    let threads = rayon::ThreadPoolBuilder::new().build().expect("threads can be started");
    for arch in NETWORKS {
        group.bench_function(BenchmarkId::from_parameter(arch), |bencher| {
            let mut workload = Workload::new(arch, BATCH, Precision::Float32).expect("the zoo has the network");
            bencher.iter(|| threads.install(|| workload.step()));
        });
    }
    group.finish();
}

criterion_group!(benches, training);
criterion_main!(benches);
