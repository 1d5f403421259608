//! What the environment says of the launcher that started this process with others.

use super::{Cluster, JoinError};

/// Variables that hold the number of processes: of Open MPI; of MPICH and those made from it; of `srun` with PMIx.
const SIZES: [&str; 3] = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_NTASKS"];
/// Those that hold the rank; without one of them no MPI launcher was at work.
const RANKS: [&str; 3] = ["OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK"];

/// Rank and number of processes, by the launcher's account.
fn launched(variable: impl Fn(&str) -> Option<String>) -> Option<[usize; 2]> {
    let number = |name: &&str| variable(name)?.trim().parse().ok();
    Some([RANKS.iter().find_map(number)?, SIZES.iter().find_map(number)?])
}

impl Cluster {
    /// The processes that `mpirun` or `srun` started together with this one; this one alone where none did.
    ///
    /// # Errors
    /// [`JoinError`], where others were started and cannot be reached.
    pub fn join() -> Result<Self, JoinError> {
        match launched(|name| std::env::var(name).ok()) {
            Some([rank, size]) if size > 1 => connect(rank, size),
            _ => Ok(Self::default()),
        }
    }
}

#[cfg(feature = "mpi")]
fn connect(_: usize, size: usize) -> Result<Cluster, JoinError> {
    super::mpi::World::join(size).map(Cluster::new)
}

#[cfg(not(feature = "mpi"))]
fn connect(rank: usize, size: usize) -> Result<Cluster, JoinError> {
    Err(JoinError::NotBuilt { rank, size })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn launchers_are_known_by_their_variables() {
        let of = |variables: &[(&str, &str)]| {
            launched(|name| variables.iter().find(|variable| variable.0 == name).map(|variable| variable.1.to_string()))
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[("OMPI_COMM_WORLD_SIZE", "4"), ("OMPI_COMM_WORLD_RANK", "3")]), Some([3, 4]));
        assert_eq!(of(&[("PMI_RANK", "0"), ("PMI_SIZE", "2")]), Some([0, 2]));
        assert_eq!(of(&[("PMIX_RANK", "1"), ("SLURM_NTASKS", "16")]), Some([1, 16]));
        // A shell in an allocation is no process of a launcher.
        assert_eq!(of(&[("SLURM_NTASKS", "16")]), None);
    }

    #[cfg(not(feature = "mpi"))]
    #[test]
    fn several_processes_without_mpi_are_refused() {
        let error = connect(1, 4).unwrap_err().to_string();
        assert!(error.contains("4 processes") && error.contains("--features mpi"), "{error}");
    }
}
