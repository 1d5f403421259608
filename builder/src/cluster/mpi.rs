//! Processes that an MPI library connects.

use super::{JoinError, Transport};
use mpi::Threading;
use mpi::environment::Universe;
use mpi::traits::{Communicator, CommunicatorCollectives, Root};

/// Bytes that one call may count.
const MOST: usize = 1 << 30;

/// All processes that were started together. MPI ends when it is dropped.
pub(super) struct World {
    universe: Universe,
    rank: usize,
    size: usize,
}

impl World {
    /// Joins the processes that the launcher says to be `expected`.
    pub(super) fn join(expected: usize) -> Result<Self, JoinError> {
        // Calls come from one thread at a time, not always the same.
        let (universe, threads) = mpi::initialize_with_threading(Threading::Serialized).ok_or(JoinError::Twice)?;
        if threads < Threading::Serialized {
            return Err(JoinError::Threads);
        }
        let world = universe.world();
        let (rank, size) = (world.rank() as usize, world.size() as usize);
        if size != expected {
            return Err(JoinError::Library { found: size, expected });
        }
        Ok(Self { universe, rank, size })
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("rank", &self.rank).field("size", &self.size).finish_non_exhaustive()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // The others would wait for this one.
        if std::thread::panicking() {
            self.universe.world().abort(1);
        }
    }
}

impl Transport for World {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn all_gather(&self, own: &[u8], all: &mut [u8]) {
        self.universe.world().all_gather_into(own, all);
    }

    fn all_to_all(&self, parts: &[u8], received: &mut [u8]) {
        self.universe.world().all_to_all_into(parts, received);
    }

    fn broadcast(&self, bytes: &mut [u8]) {
        let world = self.universe.world();
        bytes.chunks_mut(MOST).for_each(|bytes| world.process_at_rank(0).broadcast_into(bytes));
    }

    fn abort(&self) -> ! {
        self.universe.world().abort(1)
    }
}
