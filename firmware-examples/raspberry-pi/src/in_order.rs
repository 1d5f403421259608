//! Jobs on several threads, results in the order of the jobs.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError, mpsc};

/// Does each of `jobs` by `work` on as many threads as there are `states`, each with a state of its own, and hands the
/// results to `take` in the order of the jobs, until it breaks off. A thread asks for its next job when it is free.
pub(crate) fn in_order<S: Send, J: Send, R: Send, B>(
    jobs: impl Iterator<Item = J> + Send,
    states: Vec<S>,
    work: impl Fn(&mut S, J) -> R + Sync,
    mut take: impl FnMut(R) -> ControlFlow<B>,
) -> ControlFlow<B> {
    let queue = Mutex::new(jobs.enumerate());
    let (queue, work) = (&queue, &work);
    std::thread::scope(|scope| {
        let (send, results) = mpsc::channel();
        for mut state in states {
            let send = send.clone();
            scope.spawn(move || {
                let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                while let Some((index, job)) = next() {
                    if send.send((index, work(&mut state, job))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(send);
        let (mut early, mut next) = (BTreeMap::new(), 0);
        for (index, result) in results {
            early.insert(index, result);
            while let Some(result) = early.remove(&next) {
                take(result)?;
                next += 1;
            }
        }
        ControlFlow::Continue(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn results_come_in_the_order_of_the_jobs() {
        for threads in [1, 3] {
            let (mut taken, states) = (Vec::new(), vec![0; threads]);
            let slow_first = |state: &mut i32, job: u64| {
                *state += 1;
                std::thread::sleep(Duration::from_millis(if job.is_multiple_of(5) { 8 } else { 0 }));
                job * job
            };
            let end = in_order(0..40, states, slow_first, |result| {
                taken.push(result);
                ControlFlow::<()>::Continue(())
            });
            assert_eq!(end, ControlFlow::Continue(()));
            assert_eq!(taken, (0..40).map(|job| job * job).collect::<Vec<_>>());
        }
    }

    #[test]
    fn who_breaks_off_ends_the_threads() {
        let mut taken = 0;
        let end = in_order(
            0..,
            vec![(), ()],
            |(), job: u64| job,
            |job| {
                taken += 1;
                if job == 6 { ControlFlow::Break("enough") } else { ControlFlow::Continue(()) }
            },
        );
        assert_eq!((end, taken), (ControlFlow::Break("enough"), 7));
    }
}
