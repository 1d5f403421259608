//! Threads that stand for processes, for tests.

use super::{Cluster, Transport};
use std::sync::{Arc, Barrier, Mutex, PoisonError};

#[derive(Debug)]
struct Exchange {
    sent: Mutex<Vec<Vec<u8>>>,
    barrier: Barrier,
}

#[derive(Debug)]
struct Process {
    rank: usize,
    exchange: Arc<Exchange>,
}

/// Calls `work` in `size` threads, each with its rank; gives the results in the order of the ranks.
pub(crate) fn run<R: Send>(size: usize, work: impl Fn(Cluster) -> R + Sync) -> Vec<R> {
    let exchange = Arc::new(Exchange { sent: Mutex::new(vec![Vec::new(); size]), barrier: Barrier::new(size) });
    std::thread::scope(|scope| {
        let start = |rank| {
            let (exchange, work) = (Arc::clone(&exchange), &work);
            scope.spawn(move || work(Cluster::new(Process { rank, exchange })))
        };
        let threads: Vec<_> = (0..size).map(start).collect();
        threads.into_iter().map(|thread| thread.join().expect("the work does not panic")).collect()
    })
}

impl Process {
    /// Shows what all have sent.
    fn exchange(&self, own: &[u8], take: impl FnOnce(&[Vec<u8>])) {
        let sent = || self.exchange.sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent()[self.rank] = own.to_vec();
        self.exchange.barrier.wait();
        take(&sent());
        self.exchange.barrier.wait();
    }
}

impl Transport for Process {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.exchange.sent.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn all_gather(&self, own: &[u8], all: &mut [u8]) {
        self.exchange(own, |sent| all.copy_from_slice(&sent.concat()));
    }

    fn all_to_all(&self, parts: &[u8], received: &mut [u8]) {
        self.exchange(parts, |sent| {
            let part = received.len() / sent.len();
            let own = sent.iter().map(|parts| &parts[self.rank * part..][..part]);
            received.copy_from_slice(&own.collect::<Vec<_>>().concat());
        });
    }

    fn broadcast(&self, bytes: &mut [u8]) {
        let own = bytes.to_vec();
        self.exchange(&own, |sent| bytes.copy_from_slice(&sent[0]));
    }

    fn abort(&self) -> ! {
        panic!("process {} ends all", self.rank);
    }
}
