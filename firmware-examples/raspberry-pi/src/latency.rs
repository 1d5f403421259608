//! How long images took.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

/// Images that a percentile is computed of at most: the last ones.
const WINDOW: usize = 10_000;
/// Images of which the current rate is.
const RECENT: usize = 50;

/// What an image took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// From the file's bytes or the camera's frame to the scores.
    pub(crate) whole: Duration,
    /// From the pixels to the scores.
    pub(crate) inference: Duration,
}

/// What the images so far took.
pub(crate) struct Latencies {
    begin: Instant,
    count: usize,
    times: VecDeque<Times>,
    ends: VecDeque<Instant>,
}

impl Latencies {
    pub(crate) fn new() -> Self {
        Self { begin: Instant::now(), count: 0, times: VecDeque::new(), ends: VecDeque::new() }
    }

    pub(crate) fn add(&mut self, times: Times) {
        self.count += 1;
        push(&mut self.times, times, WINDOW);
        push(&mut self.ends, Instant::now(), RECENT + 1);
    }

    /// Number of images.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Images per second since the begin.
    pub(crate) fn rate(&self) -> f64 {
        self.count as f64 / self.begin.elapsed().as_secs_f64().max(1e-9)
    }

    /// Images per second lately.
    pub(crate) fn recent_rate(&self) -> f64 {
        let (Some(&first), Some(&last)) = (self.ends.front(), self.ends.back()) else { return 0.0 };
        if first == last { self.rate() } else { (self.ends.len() - 1) as f64 / (last - first).as_secs_f64() }
    }
}

fn push<T>(queue: &mut VecDeque<T>, value: T, most: usize) {
    if queue.len() == most {
        queue.pop_front();
    }
    queue.push_back(value);
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |part: fn(&Times) -> Duration| Percentiles::of(self.times.iter().map(part).collect());
        write!(f, "latency {}, inference alone {}", of(|times| times.whole), of(|times| times.inference))
    }
}

/// Durations that so many percent do not exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Percentiles([Duration; 3]);

const PERCENT: [usize; 3] = [50, 95, 99];

impl Percentiles {
    /// By nearest rank: the smallest duration that at least so many percent do not exceed.
    fn of(mut durations: Vec<Duration>) -> Self {
        durations.sort_unstable();
        let rank = |percent: usize| (durations.len() * percent).div_ceil(100).saturating_sub(1);
        Self(PERCENT.map(|percent| durations.get(rank(percent)).copied().unwrap_or_default()))
    }
}

impl fmt::Display for Percentiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (percent, duration) in PERCENT.iter().zip(self.0) {
            write!(f, "p{percent} {:.2} ", 1e3 * duration.as_secs_f64())?;
        }
        f.write_str("ms")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_nearest_rank() {
        let of = |count: u64| Percentiles::of((1..=count).rev().map(Duration::from_millis).collect());
        let millis = |values: [u64; 3]| Percentiles(values.map(Duration::from_millis));
        assert_eq!(of(0), millis([0, 0, 0]));
        assert_eq!(of(1), millis([1, 1, 1]));
        assert_eq!(of(4), millis([2, 4, 4]));
        assert_eq!(of(100), millis([50, 95, 99]));
        assert_eq!(of(1000), millis([500, 950, 990]));
        assert_eq!(of(4).to_string(), "p50 2.00 p95 4.00 p99 4.00 ms");
    }

    #[test]
    fn old_times_are_forgotten_and_counted() {
        let mut latencies = Latencies::new();
        for millis in 0..(WINDOW as u64 + 7) {
            let whole = Duration::from_millis(millis);
            latencies.add(Times { whole, inference: whole / 2 });
        }
        assert_eq!((latencies.count(), latencies.times.len()), (WINDOW + 7, WINDOW));
        assert_eq!(latencies.times[0].whole, Duration::from_millis(7));
        assert!(latencies.recent_rate() > 0.0 && latencies.rate() > 0.0);
    }
}
