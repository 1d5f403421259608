//! Training: from a graph and a data set to a run directory.

mod average;
mod checkpoint;
mod config;
mod distributed;
#[cfg(test)]
mod distributed_tests;
mod feed;
mod frozen;
mod gradients;
mod head;
mod lock;
mod memory;
mod optimizer;
#[cfg(test)]
mod qat_tests;
mod recipe;
mod rule;
mod run;
mod schedule;
mod shared;
#[cfg(test)]
mod tests;
mod whitening;

pub use config::{Config, ConfigError};
pub use head::{head_name, with_new_head};
pub use lock::check_free;
pub use memory::peak_bytes;
pub use optimizer::State as OptimizerState;
pub use recipe::{Overrides, Recipe};
pub use rule::Optimizer;
pub use schedule::Schedule;
pub use whitening::Whitening;

use crate::autograd::FakeQuantization;
use crate::autograd::Precision;
use crate::cluster::Cluster;
use crate::data::{DataError, ImageSet};
use crate::files::FileError;
use crate::metrics::Confusion;
use serde::{Deserialize, Serialize};
use skipstone_onnx::Graph;
use std::path::PathBuf;

/// The file of a run directory that holds the network that the run began with, where no architecture's name stands for
/// it.
pub const START: &str = "start.onnx";

/// Everything that training needs.
#[derive(Debug)]
pub struct Job {
    /// The network with its initial weights; its name is the architecture's. It says how pixels are normalized.
    pub graph: Graph,
    /// How to train it.
    pub config: Config,
    /// Under which it is trained and judged, for `config.qat`; its scales are written into the exported network, as
    /// `graph.metadata.activation_scales` has them.
    pub fake: Option<FakeQuantization>,
    /// The images to learn from.
    pub train: ImageSet,
    /// The images that choose the best epoch.
    pub test: ImageSet,
    /// An ONNX file to keep in the run directory as `start.onnx`: the network to begin with where no architecture's
    /// name stands for it, from which a resumed run is built again.
    pub start: Option<Vec<u8>>,
    /// The run directory.
    pub out: PathBuf,
    /// Whether a run in `out` is continued; without one there, training starts.
    pub resume: bool,
    /// Number of threads that compute, and of threads that decode images meanwhile; all cores if `None`. Results do not
    /// depend on it.
    pub threads: Option<usize>,
    /// The processes that train together, all with the same job; the first one writes `out`. An error in one of them
    /// other than [`TrainError::Elsewhere`] leaves the others waiting: [`Cluster::abort`] ends them.
    pub cluster: Cluster,
}

impl Job {
    /// The training of `graph` from its beginning, in float32 on all cores.
    pub fn new(graph: Graph, config: Config, sets: [impl Into<ImageSet>; 2], out: impl Into<PathBuf>) -> Self {
        let ([train, test], out) = (sets.map(Into::into), out.into());
        Self {
            graph,
            config,
            fake: None,
            train,
            test,
            start: None,
            out,
            resume: false,
            threads: None,
            cluster: Cluster::default(),
        }
    }
}

/// Why training cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A file of the run directory.
    #[error(transparent)]
    File(#[from] FileError),
    /// Images that can no longer be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Wrong settings.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The run directory holds a run already.
    #[error("{path} holds a run already: continue it with --resume, or choose another folder", path = path.display())]
    Exists {
        /// The run directory.
        path: PathBuf,
    },
    /// A file of the run to continue that is not as training left it.
    #[error("{path}: {reason}; the run cannot be continued", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The network does not say how pixels become its input.
    #[error("`{arch}` does not say how pixels are normalized: set the metadata of its graph")]
    NoNormalization {
        /// The network.
        arch: String,
    },
    /// Another process trains in the run directory.
    #[error(
        "{path} is in use by another process, which trains there: wait for it, or choose another folder",
        path = path.display()
    )]
    Busy {
        /// The run directory.
        path: PathBuf,
    },
    /// The processor lacks the instructions.
    #[error("precision {0} needs a processor with AVX-512 BF16: train with --precision float32")]
    Precision(Precision),
    /// The first convolution cannot whiten.
    #[error("`{arch}` cannot begin with whitening: {reason}")]
    NoWhitening {
        /// The network.
        arch: String,
        /// Why not.
        reason: String,
    },
    /// There is no layer that makes scores out of features.
    #[error("the network has no head that can be told from the rest: `{node}` ({op}) stands where one would be")]
    NoHead {
        /// The node.
        node: String,
        /// Its operator.
        op: &'static str,
    },
    /// A prefix of no name.
    #[error("no layer with parameters is called `{prefix}...`: names begin with {names}")]
    NothingCalled {
        /// What was to be frozen.
        prefix: String,
        /// Beginnings of the names that there are.
        names: String,
    },
    /// All parameters are frozen.
    #[error("nothing is left to train: every parameter is frozen")]
    AllFrozen,
    /// The run to resume has other classes than the data set.
    #[error("{path}: the run was started with the classes {was}, the data set has {is}", path = path.display())]
    Classes {
        /// The run's state.
        path: PathBuf,
        /// Names at the beginning.
        was: String,
        /// Names now.
        is: String,
    },
    /// Network and images do not fit each other.
    #[error(
        "`{arch}` takes images of {input:?} in {classes} classes, the data set has {count} of {dims:?} in {labels}"
    )]
    Mismatch {
        /// The network.
        arch: String,
        /// Channels, height, width that it takes.
        input: Vec<usize>,
        /// Number of its classes.
        classes: usize,
        /// Images of the data set.
        count: usize,
        /// Channels, height, width of the images.
        dims: [usize; 3],
        /// Classes of the data set.
        labels: usize,
    },
    /// The settings ask for something that the network was built without.
    #[error("`{field}` is {rate}, but `{arch}` was built without it: set it to 0")]
    NotBuilt {
        /// The network.
        arch: String,
        /// The setting.
        field: &'static str,
        /// Its value.
        rate: f64,
    },
    /// The loss or the weights are no longer finite.
    #[error(
        "training diverged in epoch {epoch}, batch {batch}: lower the learning rate (--lr); \
         the last good state is kept in the run directory"
    )]
    Diverged {
        /// The epoch, from 1.
        epoch: usize,
        /// The batch in it, from 1.
        batch: usize,
    },
    /// A batch that several processes cannot share equally.
    #[error("a batch of {batch} images cannot be shared equally by {size} processes: choose a multiple with --batch")]
    Indivisible {
        /// Images of a batch.
        batch: usize,
        /// Number of processes.
        size: usize,
    },
    /// Another process has found an error, and says it.
    #[error("process {rank} has failed")]
    Elsewhere {
        /// Its rank.
        rank: usize,
    },
    /// Processes that should have the same weights do not.
    #[error(
        "process {rank} has other weights than process 0: start the same program on processors of the same type; \
         --resume goes on from the last good state"
    )]
    Apart {
        /// The first one that differs.
        rank: usize,
    },
    /// The threads cannot be started.
    #[error("cannot start the threads: {0}")]
    Threads(String),
}

/// Where training stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Status {
    /// Epochs that are done.
    pub epoch: usize,
    /// Batches of the current epoch that are done.
    pub batch: usize,
    /// Batches per epoch.
    pub batches: usize,
    /// Mean loss of the current epoch's images so far.
    pub loss: f64,
    /// Share of the current epoch's images so far that were classified correctly.
    pub accuracy: f64,
    /// Images per second since the start or resumption of the epoch.
    pub images_per_second: f64,
    /// Seconds until the last epoch will be done, as fast as this process has trained so far; `None` before its first
    /// batch.
    pub seconds_left: Option<f64>,
}

/// One line of `history.csv`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Number of the epoch, from 1.
    pub epoch: usize,
    /// Learning rate of its last step.
    pub lr: f64,
    /// Mean loss over its training images.
    pub train_loss: f64,
    /// Share of its training images that were classified correctly.
    pub train_accuracy: f64,
    /// Mean cross entropy over the test images.
    pub test_loss: f64,
    /// Share of the test images that are classified correctly.
    pub test_accuracy: f64,
    /// Seconds it took; not the same in two runs.
    pub seconds: f64,
}

/// Observes training. By default, all methods do nothing.
pub trait Progress: Send {
    /// Training starts, `epoch` epochs and `batch` batches from the beginning.
    fn start(&mut self, config: &Config, status: &Status) {
        let _ = (config, status);
    }
    /// A batch is done.
    fn step(&mut self, status: &Status) {
        let _ = status;
    }
    /// An epoch is done and judged; `status` is that of its last batch, with the time left from now on.
    fn epoch(&mut self, record: &EpochRecord, status: &Status) {
        let _ = (record, status);
    }
}

impl Progress for () {}

/// What training achieved.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The network of the best epoch, as in `model.onnx`.
    pub best: Graph,
    /// Its accuracy on the test images.
    pub accuracy: f64,
    /// Its answers to the test images.
    pub confusion: Confusion,
    /// The epoch that it is of, from 1.
    pub best_epoch: usize,
    /// Its loss on the test images.
    pub loss: f64,
    /// Its accuracy by the mean scores of [`Config::views`] views, where there are several.
    pub views_accuracy: Option<f64>,
    /// Epochs that were trained, those before a resumption included.
    pub epochs: usize,
    /// What `history.csv` says about each of them.
    pub history: Vec<EpochRecord>,
    /// Seconds of work, those before a resumption included.
    pub seconds: f64,
    /// The most bytes of the process that were resident at once since it started; `None` where the system does not
    /// count them (other than Linux).
    pub peak_bytes: Option<u64>,
}

/// Trains `job.graph` and fills the run directory `job.out`:
///
/// - `model.onnx`: the network of the epoch with the best accuracy on the test images so far;
/// - `last.safetensors`: the latest weights, running statistics, the optimizer's state, averages and counters, from
///   which `resume` goes on;
/// - `history.csv`: one line per epoch;
/// - `config.toml`: the settings;
/// - `start.onnx`: `job.start`, if there is one;
/// - `.lock`: whose lock keeps other processes out.
///
/// A run that was interrupted and resumed ends with the same weights, bit for bit, as one that was not. Several
/// processes end with the weights of one, as far as the order of sums goes ([`Cluster::sum`]); batch statistics are
/// each process's own, unless `config.sync_bn` says otherwise.
///
/// # Errors
/// [`TrainError`], before training starts where settings or the directory are at fault.
pub fn train(job: Job, progress: &mut dyn Progress) -> Result<Outcome, TrainError> {
    job.config.check()?;
    run::run(job, run::CHECKPOINT, progress)
}
