//! Runs of several processes, which are threads here, against those of one.

use super::tests::{config, history, job, results, tiny};
use super::*;
use crate::cluster::threads;
use crate::data::Augmentation;
use crate::data::augment::{Mixing, RandAugment};
use std::path::Path;
use std::time::Duration;

/// Trains with `size` processes, and gives their outcomes.
fn trained(config: &Config, out: &Path, size: usize, resume: bool) -> Vec<Outcome> {
    threads::run(size, |cluster| {
        let job = Job { config: config.clone(), cluster, threads: Some(1), ..job(out, resume) };
        train(job, &mut ()).unwrap()
    })
}

/// The tensors of a run's last state, one after the other.
fn weights(folder: &Path) -> Vec<f32> {
    results(folder).0.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

/// Everything that draws numbers or has a state.
fn all_methods() -> Config {
    let augmentation = Augmentation { rand_augment: Some(RandAugment::of(5.0)), cutout: 2, ..config().augmentation };
    let mixing = Mixing { mixup: 0.2, cutmix: 1.0 };
    Config {
        repeats: 2,
        average: 0.9,
        label_smoothing: 0.1,
        augmentation,
        mixing,
        optimizer: Optimizer::LAMB,
        ..config()
    }
}

#[test]
fn processes_with_synchronized_statistics_end_with_the_bytes_of_one() {
    for config in [Config { sync_bn: true, ..config() }, Config { sync_bn: true, epochs: 1, ..all_methods() }] {
        let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
        for (folder, size) in folders.iter().zip([1, 2, 4]) {
            let outcomes = trained(&config, folder.path(), size, false);
            assert!(outcomes.iter().all(|outcome| outcome.best == outcomes[0].best), "{size} processes");
            assert_eq!(history(folder.path()), history(folders[0].path()), "{size} processes");
            assert!(results(folder.path()) == results(folders[0].path()), "{size} processes");
        }
    }
}

#[test]
fn processes_whose_shards_are_no_branches_of_the_sum_differ_by_rounding() {
    let config = Config { sync_bn: true, batch: 60, epochs: 1, ..config() };
    let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
    for (folder, size) in folders.iter().zip([1, 3, 3]) {
        trained(&config, folder.path(), size, false);
    }
    let [one, three, again] = folders.each_ref().map(|folder| weights(folder.path()));
    assert!(three == again);
    let worst = one.iter().zip(&three).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst > 0.0 && worst < 1e-4, "{worst}");
}

#[test]
fn statistics_of_each_process_train_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config { batch: 60, ..all_methods() };
    let outcomes = trained(&config, folder.path(), 2, false);
    assert_eq!(outcomes[0].best, outcomes[1].best);
    let config = Config { epochs: 4, ..config };
    std::fs::remove_dir_all(folder.path()).unwrap();
    let plain = Config { optimizer: Optimizer::SGD, mixing: Mixing::NONE, repeats: 1, average: 0.0, ..config };
    assert!(trained(&plain, folder.path(), 4, false)[3].accuracy > 0.5);
}

/// Copies a run directory when training stands at an epoch and a batch: what killed processes leave.
struct CopyAt<'t>(&'t Path, &'t Path, [usize; 2]);

impl Progress for CopyAt<'_> {
    fn step(&mut self, status: &Status) {
        if [status.epoch, status.batch] == self.2 {
            for entry in std::fs::read_dir(self.0).unwrap() {
                let entry = entry.unwrap();
                std::fs::copy(entry.path(), self.1.join(entry.file_name())).unwrap();
            }
        }
    }
}

#[test]
fn an_interrupted_run_goes_on_with_another_number_of_processes() {
    let [straight, copy] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let config = Config { sync_bn: true, accumulate: 2, ..config() };
    threads::run(2, |cluster| {
        let first = cluster.is_first();
        let job = Job { config: config.clone(), cluster, ..job(straight.path(), false) };
        let mut copies = CopyAt(straight.path(), copy.path(), [1, 5]);
        let progress: &mut dyn Progress = if first { &mut copies } else { &mut () };
        run::run(job, Duration::ZERO, progress).unwrap();
    });
    let expected = (results(straight.path()), history(straight.path()));
    trained(&config, copy.path(), 2, true);
    assert!((results(copy.path()), history(copy.path())) == expected);

    // Other numbers go on as well; where gradients are accumulated, sums are in another order.
    let other = tempfile::tempdir().unwrap();
    CopyAt(straight.path(), other.path(), [0, 0]).step(&status());
    let longer = Config { epochs: 3, ..config.clone() };
    std::fs::write(other.path().join("config.toml"), toml::to_string(&longer).unwrap()).unwrap();
    assert_eq!(trained(&longer, other.path(), 4, true)[1].epochs, 3);
}

fn status() -> Status {
    Status { epoch: 0, batch: 0, batches: 1, loss: 0.0, accuracy: 0.0, images_per_second: 0.0, seconds_left: None }
}

/// What each process says of a job that fails.
fn errors(size: usize, change: impl Fn(&mut Job) + Sync) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    threads::run(size, |cluster| {
        let mut job = Job { cluster, ..job(&out, false) };
        change(&mut job);
        train(job, &mut ()).unwrap_err().to_string()
    })
}

#[test]
fn the_first_process_that_fails_says_why_and_all_stop() {
    let elsewhere = |rank: usize| format!("process {rank} has failed");
    let found = errors(3, |_| ());
    assert_eq!(
        found[0],
        "a batch of 64 images cannot be shared equally by 3 processes: choose a multiple with --batch"
    );
    assert_eq!(found[1..], [elsewhere(0), elsewhere(0)]);
    // Data that one of them lacks.
    let found = errors(4, |job| {
        if job.cluster.rank() == 2 {
            job.test = job.test.clone().part(0..0)
        }
    });
    assert!(found[2].contains("`tiny` takes images of [1, 8, 8]"), "{}", found[2]);
    assert!([0, 1, 3].iter().all(|&rank| found[rank] == elsewhere(2)), "{found:?}");
    // A folder that the first cannot write to.
    let found = errors(2, |job| job.out = "/dev/null/run".into());
    assert!(found[0].contains("/dev/null/run") && found[1] == elsewhere(0), "{found:?}");
    // A rate that bursts shows in all.
    let found = errors(2, |job| (job.config.lr, job.config.warmup) = (1e30, 0.0));
    assert!(found.iter().all(|found| found.starts_with("training diverged in epoch 1")), "{found:?}");
}

#[test]
fn weights_that_differ_are_found() {
    let found = errors(4, |job| {
        if job.cluster.rank() == 1 {
            let (id, ..) = job.graph.parameters().next().unwrap();
            job.graph.parameter_mut(id).unwrap().data_mut()[0] += 1e-3;
        }
    });
    assert!(found.iter().all(|found| found.starts_with("process 1 has other weights than process 0")), "{found:?}");
}

#[test]
fn mixed_images_are_those_of_the_whole_batch() {
    let set = job(Path::new("x"), false).train;
    let config = Config { mixing: Mixing { mixup: 0.4, cutmix: 1.0 }, batch: 12, epochs: 1, ..config() };
    let normalization = tiny().metadata.normalization.unwrap();
    let batches = |size| {
        threads::run(size, |cluster| {
            let place = distributed::Place::new(&cluster, &config, set.len()).unwrap();
            let decoders = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
            std::thread::scope(|scope| {
                let feed = feed::feed(scope, &decoders, &set, &config, place, &normalization, [0; 2]);
                let batches = feed.iter().take(20).map(Result::unwrap);
                batches.map(|batch| [place.own(batch.images), place.own(batch.targets)]).collect::<Vec<_>>()
            })
        })
    };
    let whole = &batches(1)[0];
    for size in [2, 3, 4] {
        for (rank, own) in batches(size).iter().enumerate() {
            for (own, whole) in own.iter().flatten().zip(whole.iter().flatten()) {
                let len = whole.data().len() / size;
                assert!(own.data() == &whole.data()[rank * len..][..len], "process {rank} of {size}");
            }
        }
    }
}
