//! The processes that train one network together, each with its part of every batch.

mod launch;
#[cfg(feature = "mpi")]
mod mpi;
#[cfg(test)]
pub(crate) mod threads;

use bytemuck::Pod;
use std::fmt::Debug;
use std::ops::AddAssign;
use std::sync::Arc;

/// Bytes that each process sends to all others as they are; sums of more are shared out among the processes.
const SMALL: usize = 16 << 10;

/// How bytes get from process to process. All processes make the same calls in the same order, one at a time, from any
/// thread.
pub trait Transport: Debug + Send + Sync {
    /// The number of this process, from 0.
    fn rank(&self) -> usize;
    /// Number of processes.
    fn size(&self) -> usize;
    /// Fills `all` with the `own` bytes of each process, equally many, in the order of the ranks.
    fn all_gather(&self, own: &[u8], all: &mut [u8]);
    /// Sends the `i`-th of `size` equal parts of `parts` to process `i`; fills `received` with what each process sent
    /// here, in the order of the ranks.
    fn all_to_all(&self, parts: &[u8], received: &mut [u8]);
    /// Overwrites `bytes`, equally many everywhere, with those of process 0.
    fn broadcast(&self, bytes: &mut [u8]);
    /// Ends all processes.
    fn abort(&self) -> !;
}

/// Why the processes that were started with this one cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// The program was built without MPI.
    #[error("{size} processes were started, but this program was built without MPI: build it with --features mpi")]
    NotBuilt {
        /// The number of this process.
        rank: usize,
        /// Number of processes.
        size: usize,
    },
    /// The launcher belongs to another library than the one that the program was built with.
    #[error(
        "{expected} processes were started, but the MPI library that this program was built with sees {found}: start \
         it with the mpirun of that library"
    )]
    Library {
        /// Processes that the library sees.
        found: usize,
        /// Processes that were started.
        expected: usize,
    },
    /// The library cannot be called from several threads in turn.
    #[error("the MPI library was built without support for threads (MPI_THREAD_SERIALIZED)")]
    Threads,
    /// MPI has been initialized already.
    #[error("the processes have been joined already")]
    Twice,
}

/// The processes that train one network together; by default this one alone, for which nothing costs anything.
///
/// Only bytes go between processes: sums are computed here, in an order that depends on the number of processes alone.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    transport: Option<Arc<dyn Transport>>,
}

impl Cluster {
    /// The processes that `transport` connects.
    pub fn new(transport: impl Transport + 'static) -> Self {
        Self { transport: (transport.size() > 1).then(|| Arc::new(transport) as Arc<dyn Transport>) }
    }

    /// The number of this process, from 0.
    pub fn rank(&self) -> usize {
        self.transport.as_ref().map_or(0, |transport| transport.rank())
    }

    /// Number of processes.
    pub fn size(&self) -> usize {
        self.transport.as_ref().map_or(1, |transport| transport.size())
    }

    /// Whether this is the process that writes files and speaks.
    pub fn is_first(&self) -> bool {
        self.rank() == 0
    }

    /// Replaces each number by its sum over all processes: neighbouring ranks are added first, then neighbouring sums.
    /// So all have the same bits, in every run.
    pub fn sum<T: Pod + AddAssign>(&self, values: &mut [T]) {
        let Some(transport) = &self.transport else { return };
        let size = transport.size();
        if size_of_val(values) <= SMALL {
            let mut all = vec![T::zeroed(); size * values.len()];
            transport.all_gather(bytemuck::cast_slice(values), bytemuck::cast_slice_mut(&mut all));
            add_pairs(&mut all, size);
            values.copy_from_slice(&all[..values.len()]);
            return;
        }
        // Each process adds up one part: twice the bytes of `values` pass through each, however many there are.
        let part = values.len().div_ceil(size);
        let mut all = vec![T::zeroed(); size * part];
        all[..values.len()].copy_from_slice(values);
        let mut parts = vec![T::zeroed(); size * part];
        transport.all_to_all(bytemuck::cast_slice(&all), bytemuck::cast_slice_mut(&mut parts));
        add_pairs(&mut parts, size);
        transport.all_gather(bytemuck::cast_slice(&parts[..part]), bytemuck::cast_slice_mut(&mut all));
        values.copy_from_slice(&all[..values.len()]);
    }

    /// What process 0 has as `bytes`.
    pub fn broadcast(&self, bytes: Vec<u8>) -> Vec<u8> {
        let Some(transport) = &self.transport else { return bytes };
        let mut count = (bytes.len() as u64).to_le_bytes();
        transport.broadcast(&mut count);
        let mut bytes = bytes;
        bytes.resize(u64::from_le_bytes(count) as usize, 0);
        transport.broadcast(&mut bytes);
        bytes
    }

    /// The lowest rank whose `number` is not that of process 0.
    pub fn first_other(&self, number: u64) -> Option<usize> {
        let all = self.numbers(number);
        all.iter().position(|other| *other != all[0])
    }

    /// The lowest rank for which `failed` holds. Whoever gets none knows that all came here without a failure.
    pub fn first_failed(&self, failed: bool) -> Option<usize> {
        self.numbers(failed.into()).iter().position(|&failed| failed == 1)
    }

    /// The result, if all processes have one; else the error of the first that has none, there, and `elsewhere` of its
    /// rank in the others.
    ///
    /// # Errors
    /// These.
    pub fn together<T, E>(&self, result: Result<T, E>, elsewhere: impl FnOnce(usize) -> E) -> Result<T, E> {
        match (self.first_failed(result.is_err()), result) {
            (None, result) => result,
            (Some(first), Err(error)) if first == self.rank() => Err(error),
            (Some(rank), _) => Err(elsewhere(rank)),
        }
    }

    fn numbers(&self, number: u64) -> Vec<u64> {
        let Some(transport) = &self.transport else { return vec![number] };
        let mut all = vec![0; transport.size()];
        transport.all_gather(bytemuck::bytes_of(&number), bytemuck::cast_slice_mut(&mut all));
        all
    }

    /// Ends all processes, where there are others: they would wait for this one.
    pub fn abort(&self) {
        if let Some(transport) = &self.transport {
            transport.abort();
        }
    }
}

/// Adds up `count` rows of equally many values into the first one: neighbours first, then neighbouring sums.
fn add_pairs<T: Copy + AddAssign>(values: &mut [T], count: usize) {
    let len = values.len() / count;
    let mut step = 1;
    while step < count {
        for first in (0..count - step).step_by(2 * step) {
            let (sum, other) = values.split_at_mut((first + step) * len);
            sum[first * len..][..len].iter_mut().zip(&other[..len]).for_each(|(sum, &other)| *sum += other);
        }
        step *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::images::sum_pairs;

    #[test]
    fn alone_everything_stays() {
        let cluster = Cluster::default();
        let mut values = [1.5f32, 2.5];
        cluster.sum(&mut values);
        assert_eq!((values, cluster.rank(), cluster.size()), ([1.5, 2.5], 0, 1));
        assert_eq!(cluster.broadcast(vec![1, 2]), [1, 2]);
        assert_eq!(
            (cluster.first_other(5), cluster.first_failed(false), cluster.first_failed(true)),
            (None, None, Some(0))
        );
        cluster.abort();
    }

    /// Numbers whose sum depends on the order.
    fn numbers(rank: usize, count: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 7919 + rank * 104_729) % 1009) as f32 * 0.1f32.powi((i + rank) as i32 % 7)).collect()
    }

    #[test]
    fn all_have_the_sum_in_pairs_of_ranks() {
        for size in [2, 3, 4, 7] {
            for count in [0, 1, 5, 4096, 4097, 10_001] {
                let add = |a: &mut Vec<f32>, b: Vec<f32>| a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
                let expected = sum_pairs((0..size).map(|rank| numbers(rank, count)).collect(), add).unwrap();
                let sums = threads::run(size, |cluster| {
                    let mut values = numbers(cluster.rank(), count);
                    cluster.sum(&mut values);
                    values
                });
                assert!(sums.iter().all(|sum| *sum == expected), "{size} processes, {count} numbers");
            }
        }
    }

    #[test]
    fn all_learn_what_the_first_has_and_who_differs() {
        let found = threads::run(3, |cluster| {
            let rank = cluster.rank();
            let bytes = cluster.broadcast(vec![rank as u8 + 1; 5 + rank]);
            let failed = cluster.first_failed(rank > 0);
            (bytes, cluster.first_other(7), cluster.first_other(rank as u64 / 2), failed, cluster.first_failed(false))
        });
        assert!(found.iter().all(|found| *found == (vec![1; 5], None, Some(2), Some(1), None)), "{found:?}");
    }
}
