//! The processes of `mpirun -n N skipstone train`: the first one speaks for all, unless another one fails alone.

use crate::cli::failure::Failure;
use crate::cluster::{Cluster, JoinError};
use crate::train::TrainError;

/// The processes that were started together with this one.
pub(super) fn join() -> Result<Cluster, Failure> {
    Cluster::join().map_err(|error| match error {
        JoinError::NotBuilt { rank, .. } if rank > 0 => Failure::Elsewhere,
        error => error.into(),
    })
}

/// What this process has prepared, if all could; else the first that could not says why.
pub(super) fn together<T>(cluster: &Cluster, prepared: Result<T, Failure>) -> Result<T, Failure> {
    cluster.together(prepared, |_| Failure::Elsewhere).map_err(|failure| of_process(cluster, failure))
}

/// The failure of training. The process that speaks ends the others, which may wait for it.
pub(super) fn end(cluster: &Cluster, error: TrainError) -> Failure {
    let is_shared = matches!(error, TrainError::Diverged { .. } | TrainError::Apart { .. });
    if matches!(error, TrainError::Elsewhere { .. }) || (is_shared && !cluster.is_first()) {
        return Failure::Elsewhere;
    }
    let failure = of_process(cluster, error.into());
    if cluster.size() > 1 {
        failure.report();
        cluster.abort();
        return Failure::Elsewhere;
    }
    failure
}

/// The failure with the number of the process that it happened in, unless that is the first one.
fn of_process(cluster: &Cluster, failure: Failure) -> Failure {
    match failure {
        Failure::Work(message) if !cluster.is_first() => {
            Failure::Work(format!("process {}: {message}", cluster.rank()))
        }
        failure => failure,
    }
}
