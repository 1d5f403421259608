//! The loop over epochs and batches, and the run directory.

use super::average::Average;
use super::checkpoint::{self, Counters, State};
use super::distributed::{self, Bucket, Place, together};
use super::feed::{self, Batch};
use super::gradients::Accumulated;
use super::lock::{self, Lock};
use super::whitening::Stem;
use super::{
    Config, EpochRecord, Job, Outcome, Progress, START, Status, TrainError, frozen, memory, optimizer, shared,
    whitening,
};
use crate::autograd::{Noise, Shard, Tape};
use crate::cluster::Cluster;
use crate::data::DataError;
use crate::files;
use crate::metrics::{self, Confusion, Evaluation};
use skipstone_onnx::{Graph, Normalization, Op, Quantization, export, import};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

/// Work that may be lost.
pub(super) const CHECKPOINT: Duration = Duration::from_secs(20);

/// Files of a run directory.
struct Directory(PathBuf);

impl Directory {
    fn model(&self) -> PathBuf {
        self.0.join("model.onnx")
    }

    fn last(&self) -> PathBuf {
        self.0.join("last.safetensors")
    }

    fn history(&self) -> PathBuf {
        self.0.join("history.csv")
    }

    fn config(&self) -> PathBuf {
        self.0.join("config.toml")
    }

    /// Makes sure that a run with `config` may be written here; true if there is a state to go on from, and the right
    /// to write.
    fn open(&self, config: &Config, start: Option<&[u8]>, resume: bool) -> Result<(bool, Lock), TrainError> {
        let check = || {
            let holds_run = [self.config(), self.last(), self.model()].iter().any(|path| path.exists());
            if holds_run && !resume { Err(TrainError::Exists { path: self.0.clone() }) } else { Ok(()) }
        };
        lock::check_free(&self.0)?;
        check()?;
        files::create_dir(&self.0)?;
        let lock = Lock::take(&self.0)?;
        check()?;
        if self.config().exists() {
            config.check_same(&read_config(&self.config())?)?;
        }
        let text =
            toml::to_string(config).map_err(|e| TrainError::Damaged { path: self.config(), reason: e.to_string() })?;
        if let Some(start) = start {
            files::write(&self.0.join(START), start)?;
        }
        files::write(&self.config(), text.as_bytes())?;
        Ok((self.last().exists(), lock))
    }
}

fn read_config(path: &Path) -> Result<Config, TrainError> {
    let bytes = files::read(path)?;
    toml::from_str(&String::from_utf8_lossy(&bytes))
        .map_err(|error| TrainError::Damaged { path: path.to_path_buf(), reason: error.message().to_string() })
}

/// What a job says, checked.
struct Prepared {
    normalization: Normalization,
    /// By the index of the parameter.
    frozen: Vec<bool>,
    stem: Option<Stem>,
    place: Place,
}

/// Checks the job and readies its network.
fn prepare(job: &mut Job) -> Result<Prepared, TrainError> {
    for set in [&job.train, &job.test] {
        let (input, output) = (job.graph.input(), job.graph.output());
        let (input, classes) = (&job.graph.value(input).dims, job.graph.value(output).dims[0]);
        if set.is_empty() || *input != set.dims || classes != set.class_names.len() {
            return Err(TrainError::Mismatch {
                arch: job.graph.name.clone(),
                input: input.clone(),
                classes,
                count: set.len(),
                dims: set.dims,
                labels: set.class_names.len(),
            });
        }
    }
    check_noise(&job.graph, &job.config)?;
    if !job.config.precision.is_available() {
        return Err(TrainError::Precision(job.config.precision));
    }
    let Some(normalization) = job.graph.metadata.normalization.clone() else {
        return Err(TrainError::NoNormalization { arch: job.graph.name.clone() });
    };
    shared::separate(&mut job.graph);
    // Scales and integers are those of the weights as they were.
    job.graph.metadata.quantization = Quantization::default();
    job.graph.metadata.class_names = job.train.class_names.clone();
    let mut frozen = frozen::frozen(&job.graph, &job.config)?;
    let stem = job.config.whitening.map(|_| whitening::stem(&job.graph)).transpose()?;
    if let Some(stem) = stem {
        frozen.resize(job.graph.values().len(), false);
        frozen[stem.weight.index()] = true;
    }
    Ok(Prepared { normalization, frozen, stem, place: Place::new(&job.cluster, &job.config, job.train.len())? })
}

/// Trains; the state is saved after every epoch and whenever `interval` has passed since it was.
pub(super) fn run(mut job: Job, interval: Duration, progress: &mut dyn Progress) -> Result<Outcome, TrainError> {
    let cluster = job.cluster.clone();
    let prepared = prepare(&mut job);
    let Prepared { normalization, frozen, stem, place } = together(&cluster, prepared)?;
    let directory = Directory(job.out.clone());
    // The first process alone opens the directory and reads the state, so that all have the same.
    let opened = cluster.is_first().then(|| -> Result<(Vec<u8>, Lock), TrainError> {
        let (has_state, lock) = directory.open(&job.config, job.start.as_deref(), job.resume)?;
        let last = if has_state { files::read(&directory.last())? } else { Vec::new() };
        if has_state && last.is_empty() {
            return Err(TrainError::Damaged { path: directory.last(), reason: "it is empty".into() });
        }
        Ok((last, lock))
    });
    let (last, _lock) = together(&cluster, opened.transpose())?.unzip();
    let last = cluster.broadcast(last.unwrap_or_default());
    if let (Some(stem), Some(how), true) = (stem, job.config.whitening, last.is_empty()) {
        let images = together(&cluster, job.train.spread(how.images).map_err(TrainError::from))?;
        whitening::whiten(&mut job.graph, stem, &images, &normalization, how.epsilon);
    }
    let optimizer = optimizer::State::with_frozen(&job.graph, &job.config, &frozen);
    let average = Average::new(&job.graph, &job.config);
    let mut state = State { graph: job.graph, optimizer, average };
    let counters = match last.as_slice() {
        [] => Ok(Counters::default()),
        bytes => checkpoint::load(&directory.last(), bytes, &mut state),
    };
    let counters = together(&cluster, counters)?;
    let pool = || {
        let threads = rayon::ThreadPoolBuilder::new().num_threads(job.threads.unwrap_or(0));
        threads.build().map_err(|error| TrainError::Threads(error.to_string()))
    };
    let (threads, decoders) = (pool()?, pool()?);
    let batches = feed::batches(job.train.len(), &job.config);
    let Job { config, train, test, fake, .. } = job;
    let test = place.part(test);
    let shard = Shard { cluster: cluster.clone(), sync_bn: config.sync_bn };
    let mut run = Run {
        state,
        config: &config,
        tape: fake
            .clone()
            .map_or_else(Tape::new, Tape::with_fake_quantization)
            .with_frozen(frozen)
            .with_batch_norm_momentum(config.batch_norm_momentum as f32)
            .with_shard(shard)
            .with_precision(config.precision),
        stem,
        cluster: cluster.clone(),
        place,
        bucket: Bucket::default(),
        accumulated: Accumulated::default(),
        counters,
        batches,
        best: None,
        directory: &directory,
        progress,
        pace: None,
        since_start: Instant::now(),
        seconds_before: 0.0,
        images_before: 0,
        interval,
        saved: Instant::now(),
    };
    run.begin_epoch();
    let views = config.views;
    let status = run.status();
    run.progress.start(&config, &status);
    threads.install(|| {
        std::thread::scope(|scope| {
            let (epoch, batch) = (run.counters.epoch, run.counters.batch);
            let feed = feed::feed(scope, &decoders, &train, &config, place, &normalization, [epoch, batch]);
            let by_views = |graph: &Graph, views| {
                let (own, confusion) = metrics::judge(graph, fake.as_ref(), &test, &decoders, views)?;
                Ok((distributed::evaluation(&cluster, own), distributed::confusion(&cluster, confusion)))
            };
            let judge: Judge<'_> = &|graph| by_views(graph, 1);
            run.epochs(&feed, judge)?;
            drop(feed);
            let mut outcome = run.outcome(judge)?;
            if views > 1 {
                let (evaluation, _): (Evaluation, _) = by_views(&outcome.best, views)?;
                outcome.views_accuracy = Some(evaluation.accuracy);
            }
            Ok(outcome)
        })
    })
}

/// How well a network does on the test images.
type Judge<'a> = &'a dyn Fn(&Graph) -> Result<(Evaluation, Confusion), TrainError>;

/// Checks that the graph drops what the settings say: a network from a file, say, was built without them.
fn check_noise(graph: &Graph, config: &Config) -> Result<(), TrainError> {
    let has = |drops: fn(&Op) -> bool| graph.nodes().iter().any(|node| drops(&node.op));
    let wanted = [
        ("dropout", config.dropout, has(|op| matches!(op, Op::Dropout { .. }))),
        ("stochastic_depth", config.stochastic_depth, has(|op| matches!(op, Op::StochasticDepth { .. }))),
    ];
    match wanted.into_iter().find(|&(_, rate, has)| rate > 0.0 && !has) {
        Some((field, rate, _)) => Err(TrainError::NotBuilt { arch: graph.name.clone(), field, rate }),
        None => Ok(()),
    }
}

/// Training under way.
struct Run<'a> {
    state: State,
    config: &'a Config,
    tape: Tape,
    /// The convolution that whitens, if there is one.
    stem: Option<Stem>,
    /// The processes that train together, and what this one has of a batch.
    cluster: Cluster,
    place: Place,
    /// Gradients of all processes.
    bucket: Bucket,
    /// Gradients since the last step, where a step takes several batches.
    accumulated: Accumulated,
    counters: Counters,
    /// Batches per epoch.
    batches: usize,
    /// The best network and its answers, if it was found since the start of the process.
    best: Option<(Graph, Confusion)>,
    directory: &'a Directory,
    progress: &'a mut dyn Progress,
    /// When the first batch of the process was begun, and its number in all epochs.
    pace: Option<(Instant, usize)>,
    /// When the current epoch was begun or resumed, and how far it was then.
    since_start: Instant,
    seconds_before: f64,
    images_before: usize,
    interval: Duration,
    saved: Instant,
}

impl Run<'_> {
    fn epochs(&mut self, feed: &Receiver<Result<Batch, DataError>>, judge: Judge<'_>) -> Result<(), TrainError> {
        self.pace = Some((Instant::now(), self.batches_done()));
        while self.counters.epoch < self.config.epochs {
            while self.counters.batch < self.batches {
                // The feed ends after the last epoch's last batch.
                let Ok(batch) = feed.recv() else { return Ok(()) };
                self.step(batch?)?;
                if self.cluster.is_first() && self.is_stepped() && self.saved.elapsed() >= self.interval {
                    self.save()?;
                }
            }
            distributed::check_equal(&self.cluster, &self.state)?;
            let status = self.status();
            let (test, confusion) = judge(self.judged())?;
            self.finish_epoch(&status, test, confusion)?;
        }
        Ok(())
    }

    fn step(&mut self, batch: Batch) -> Result<(), TrainError> {
        let (images, targets) = (self.place.own(batch.images), self.place.own(batch.targets));
        let count = images.batch() * self.cluster.size();
        let Config { seed, loss, .. } = *self.config;
        let noise = Noise { seed, step: (self.counters.epoch * self.batches + self.counters.batch) as u64 };
        let own = self.tape.step(&mut self.state.graph, images, &targets, loss, noise);
        let step = distributed::score(&self.cluster, own);
        if !step.loss.is_finite() {
            return Err(self.diverged());
        }
        let lr = self.learning_rate();
        self.counters.batch += 1;
        self.counters.loss += step.loss * count as f64;
        self.counters.correct += step.correct;
        self.counters.images += count;
        self.descend(lr);
        let status = self.status();
        self.progress.step(&status);
        Ok(())
    }

    /// Takes in the gradients of a batch; with those of as many as a step needs, changes the weights.
    fn descend(&mut self, lr: f64) {
        let is_stepped = self.is_stepped();
        let State { graph, optimizer, average } = &mut self.state;
        let accumulates = self.config.accumulate > 1;
        if accumulates {
            self.accumulated.add(graph, &self.tape);
            if !is_stepped {
                return;
            }
            self.accumulated.average();
        }
        let own = |id| if accumulates { self.accumulated.gradient(id) } else { self.tape.gradient(id) };
        if self.cluster.size() == 1 {
            optimizer.step(graph, own, lr);
        } else {
            let is_settled = |id| self.config.sync_bn || self.tape.keeps_statistics(id);
            self.bucket.average(&self.cluster, graph, own, is_settled);
            optimizer.step(graph, |id| self.bucket.gradient(id), lr);
        }
        self.accumulated.clear();
        if let Some(average) = average {
            average.add(graph, optimizer.steps);
        }
    }

    /// Whether all batches so far have gone into a step.
    fn is_stepped(&self) -> bool {
        self.counters.batch.is_multiple_of(self.config.accumulate) || self.counters.batch == self.batches
    }

    /// The rate for the current batch.
    fn learning_rate(&self) -> f64 {
        let accumulate = self.config.accumulate;
        let steps = self.batches.div_ceil(accumulate);
        self.config.learning_rate(self.counters.epoch * steps + self.counters.batch / accumulate, steps)
    }

    /// The network that is judged and exported.
    fn judged(&self) -> &Graph {
        self.state.average.as_ref().map_or(&self.state.graph, |average| &average.graph)
    }

    fn finish_epoch(&mut self, status: &Status, test: Evaluation, confusion: Confusion) -> Result<(), TrainError> {
        let steps = self.batches.div_ceil(self.config.accumulate);
        let record = EpochRecord {
            epoch: self.counters.epoch + 1,
            lr: self.config.learning_rate((self.counters.epoch + 1) * steps - 1, steps),
            train_loss: self.counters.loss / self.counters.images as f64,
            train_accuracy: self.counters.correct as f64 / self.counters.images as f64,
            test_loss: test.loss,
            test_accuracy: test.accuracy,
            seconds: self.epoch_seconds(),
        };
        if !test.loss.is_finite() {
            return Err(self.diverged());
        }
        let is_best = self.counters.best().is_none_or(|best| record.test_accuracy > best.test_accuracy);
        let mut history = std::mem::take(&mut self.counters.history);
        history.push(record);
        self.counters = Counters { epoch: record.epoch, history, ..Counters::default() };
        self.begin_epoch();
        if is_best && self.cluster.is_first() {
            files::write(&self.directory.model(), &export::export(self.judged(), export::Batch::default()))?;
        }
        if is_best {
            self.best = Some((self.judged().clone(), confusion));
        }
        if self.cluster.is_first() {
            files::write(&self.directory.history(), history_csv(&self.counters.history).as_bytes())?;
        }
        self.save()?;
        self.progress.epoch(&record, &Status { seconds_left: self.seconds_left(), ..*status });
        Ok(())
    }

    fn save(&mut self) -> Result<(), TrainError> {
        if self.state.graph.parameters().any(|(_, _, p)| p.tensor.data().iter().any(|x| !x.is_finite())) {
            return Err(self.diverged());
        }
        let counters = Counters { epoch_seconds: self.epoch_seconds(), ..self.counters.clone() };
        if self.cluster.is_first() {
            checkpoint::save(&self.directory.last(), &self.state, &counters)?;
        }
        self.saved = Instant::now();
        Ok(())
    }

    fn begin_epoch(&mut self) {
        self.since_start = Instant::now();
        self.seconds_before = self.counters.epoch_seconds;
        self.images_before = self.counters.images;
        if let (Some(Stem { bias: Some(bias), .. }), Some(how)) = (self.stem, self.config.whitening)
            && self.counters.epoch >= how.bias_epochs
        {
            self.tape.freeze(bias);
        }
    }

    fn epoch_seconds(&self) -> f64 {
        self.seconds_before + self.since_start.elapsed().as_secs_f64()
    }

    fn diverged(&self) -> TrainError {
        TrainError::Diverged { epoch: self.counters.epoch + 1, batch: self.counters.batch + 1 }
    }

    /// Batches of all epochs that are done.
    fn batches_done(&self) -> usize {
        self.counters.epoch * self.batches + self.counters.batch
    }

    fn seconds_left(&self) -> Option<f64> {
        let (since, before) = self.pace?;
        let done = self.batches_done();
        let left = (self.config.epochs * self.batches).saturating_sub(done);
        (done > before).then(|| since.elapsed().as_secs_f64() / (done - before) as f64 * left as f64)
    }

    fn status(&self) -> Status {
        let images = self.counters.images - self.images_before;
        Status {
            epoch: self.counters.epoch,
            batch: self.counters.batch,
            batches: self.batches,
            loss: self.counters.loss / self.counters.images.max(1) as f64,
            accuracy: self.counters.correct as f64 / self.counters.images.max(1) as f64,
            images_per_second: images as f64 / self.since_start.elapsed().as_secs_f64().max(1e-9),
            seconds_left: self.seconds_left(),
        }
    }

    fn outcome(self, judge: Judge<'_>) -> Result<Outcome, TrainError> {
        let path = self.directory.model();
        let damaged = |reason: String| TrainError::Damaged { path: path.clone(), reason };
        let record = self.counters.best().copied().ok_or_else(|| damaged("no epoch was finished".into()))?;
        let (best, confusion) = match self.best {
            Some(best) => best,
            None => {
                let best = import::import(&files::read(&path)?).map_err(|error| damaged(error.to_string()))?;
                let (_, confusion) = judge(&best)?;
                (best, confusion)
            }
        };
        Ok(Outcome {
            best,
            accuracy: record.test_accuracy,
            confusion,
            best_epoch: record.epoch,
            loss: record.test_loss,
            views_accuracy: None,
            epochs: self.counters.epoch,
            seconds: self.counters.history.iter().map(|record| record.seconds).sum(),
            history: self.counters.history,
            peak_bytes: memory::peak_bytes(),
        })
    }
}

fn history_csv(history: &[EpochRecord]) -> String {
    let mut text = String::from("epoch,lr,train_loss,train_accuracy,test_loss,test_accuracy,seconds\n");
    for r in history {
        let EpochRecord { epoch, lr, train_loss, train_accuracy, test_loss, test_accuracy, seconds } = r;
        let _ = writeln!(
            text,
            "{epoch},{lr:.6},{train_loss:.6},{train_accuracy:.6},{test_loss:.6},{test_accuracy:.6},{seconds:.3}"
        );
    }
    text
}
