//! Learning rates over the steps of training.

use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// How the learning rate changes, given its highest value `lr` and a number of epochs of warm-up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Schedule {
    /// Rises from 0 over the warm-up, then stays.
    Constant,
    /// Rises from 0 over the warm-up, then is multiplied by `factor` at each milestone.
    Step {
        /// Shares of all epochs, rising, between 0 and 1.
        milestones: Vec<f64>,
        /// What the rate is multiplied by.
        #[serde(default = "tenth")]
        factor: f64,
    },
    /// Rises from 0 over the warm-up, then falls along half a cosine to `floor` over the epochs that are left; changes
    /// with every step.
    Cosine {
        /// The rate at the end.
        #[serde(default)]
        floor: f64,
    },
    /// Rises from 0 over the warm-up, then falls along a line to `floor` over the epochs that are left, with every
    /// step.
    Linear {
        /// The rate at the end.
        #[serde(default)]
        floor: f64,
    },
    /// As `Cosine`, begun anew at each milestone with a rate that is `factor` of that before (SGDR, Loshchilov and
    /// Hutter, 2016).
    WarmRestarts {
        /// Shares of all epochs, rising, between 0 and 1; a cycle begins at the nearest step.
        milestones: Vec<f64>,
        /// What the highest rate is multiplied by.
        #[serde(default = "unchanged")]
        factor: f64,
        /// The rate at the end of each cycle.
        #[serde(default)]
        floor: f64,
    },
    /// timm's cosine: changes with every epoch; rises from `start` over the warm-up, which the cosine's time includes:
    /// epoch `t` of `T` after the warm-up has `floor + (lr - floor) (1 + cos(pi t / T)) / 2`.
    TimmCosine {
        /// The first epoch's rate if there is warm-up.
        #[serde(default = "timm_start")]
        start: f64,
        /// What the rate falls to.
        #[serde(default)]
        floor: f64,
    },
    /// One cycle (Smith, 2018) as in PyTorch: half a cosine up from `lr / start_divisor` over the warm-up, and another
    /// down to `lr / (start_divisor * end_divisor)` at the last step. The momentum stays.
    OneCycle {
        /// How much lower the first rate is than the highest.
        #[serde(default = "start_divisor")]
        start_divisor: f64,
        /// How much lower the last rate is than the first.
        #[serde(default = "end_divisor")]
        end_divisor: f64,
    },
}

fn tenth() -> f64 {
    0.1
}

fn unchanged() -> f64 {
    1.0
}

fn timm_start() -> f64 {
    1e-5
}

fn start_divisor() -> f64 {
    25.0
}

fn end_divisor() -> f64 {
    1e4
}

/// The length of training and the highest rate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) lr: f64,
    pub(super) epochs: usize,
    /// Epochs, or a part of one.
    pub(super) warmup: f64,
    /// Steps per epoch.
    pub(super) steps: usize,
}

impl Schedule {
    /// The rate of a step, counted from 0 over all epochs.
    pub(super) fn rate(&self, step: usize, span: Span) -> f64 {
        let Span { lr, epochs, warmup, steps } = span;
        let (at, total, rise) = (step as f64, (epochs * steps) as f64, warmup * steps as f64);
        match *self {
            Self::TimmCosine { start, floor } => {
                let epoch = (step / steps) as f64;
                if epoch < warmup {
                    start + (lr - start) * epoch / warmup
                } else {
                    half_cosine(lr, floor, epoch / epochs as f64)
                }
            }
            Self::OneCycle { start_divisor, end_divisor } => {
                let (first, last) = (lr / start_divisor, lr / (start_divisor * end_divisor));
                // PyTorch's phases end on a step: the highest rate at step `rise - 1`, the lowest at the last.
                let top = (rise - 1.0).max(0.0);
                if at < top {
                    half_cosine(first, lr, at / top)
                } else {
                    half_cosine(lr, last, (at - top) / (total - 1.0 - top).max(1.0))
                }
            }
            _ if at < rise => lr * (at + 1.0) / (rise + 1.0),
            Self::Constant => lr,
            Self::Step { ref milestones, factor } => {
                let passed = milestones.iter().filter(|&&milestone| at >= milestone * total).count();
                lr * factor.powi(passed as i32)
            }
            Self::Cosine { floor } => half_cosine(lr, floor, (at - rise) / (total - rise).max(1.0)),
            Self::Linear { floor } => floor + (lr - floor) * (total - at) / (total - rise).max(1.0),
            Self::WarmRestarts { ref milestones, factor, floor } => {
                let starts = milestones.iter().map(|milestone| (milestone * total).round());
                let passed = starts.clone().take_while(|&start| at >= start);
                let (cycle, begin) = passed.fold((0, rise), |(cycle, begin), start| (cycle + 1, start.max(begin)));
                let end = starts.clone().nth(cycle as usize).unwrap_or(total);
                half_cosine(lr * factor.powi(cycle), floor, (at - begin) / (end - begin).max(1.0))
            }
        }
    }

    /// Values with their names, and whether they are in range.
    pub(super) fn ranges(&self) -> Vec<(&'static str, String, bool, &'static str)> {
        let rate = |name, value: f64| (name, value.to_string(), value.is_finite() && value >= 0.0, "at least 0");
        let divisor = |name, value: f64| (name, value.to_string(), value.is_finite() && value >= 1.0, "at least 1");
        let falls = |milestones: &[f64], factor: f64| {
            let inside = milestones.iter().all(|milestone| (0.0..=1.0).contains(milestone));
            let text = format!("{milestones:?}");
            vec![
                ("schedule.milestones", text, inside && milestones.is_sorted(), "rising shares between 0 and 1"),
                ("schedule.factor", factor.to_string(), (0.0..=1.0).contains(&factor), "between 0 and 1"),
            ]
        };
        match self {
            Self::Constant => Vec::new(),
            Self::Step { milestones, factor } => falls(milestones, *factor),
            Self::WarmRestarts { milestones, factor, floor } => {
                [falls(milestones, *factor), vec![rate("schedule.floor", *floor)]].concat()
            }
            Self::Cosine { floor } | Self::Linear { floor } => vec![rate("schedule.floor", *floor)],
            Self::TimmCosine { start, floor } => {
                vec![rate("schedule.start", *start), rate("schedule.floor", *floor)]
            }
            Self::OneCycle { start_divisor, end_divisor } => {
                vec![divisor("schedule.start_divisor", *start_divisor), divisor("schedule.end_divisor", *end_divisor)]
            }
        }
    }
}

/// From `from` at 0 to `to` at 1.
fn half_cosine(from: f64, to: f64, progress: f64) -> f64 {
    to + (from - to) * 0.5 * (1.0 + (PI * progress).cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Span = Span { lr: 0.5, epochs: 10, warmup: 1.0, steps: 10 };

    fn rates(schedule: &Schedule, span: Span) -> Vec<f64> {
        (0..span.epochs * span.steps).map(|step| schedule.rate(step, span)).collect()
    }

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn cosine_rises_and_falls_with_every_step() {
        let rates = rates(&Schedule::Cosine { floor: 0.1 }, SPAN);
        assert!(rates[..10].is_sorted() && rates[10..].is_sorted_by(|a, b| a > b));
        assert!(near(rates[0], 0.5 / 11.0) && rates[10] == 0.5 && near(rates[55], 0.3), "{rates:?}");
        assert!(rates[99] > 0.1 && rates[99] < 0.1002);
    }

    #[test]
    fn a_line_falls_by_as_much_with_every_step() {
        let rates = rates(&Schedule::Linear { floor: 0.05 }, SPAN);
        assert!(rates[..10].is_sorted() && rates[10] == 0.5, "{rates:?}");
        assert!(rates[10..].windows(2).all(|pair| near(pair[0] - pair[1], 0.005)), "{rates:?}");
        assert!(near(rates[99], 0.055), "{rates:?}");
    }

    #[test]
    fn each_cycle_is_a_cosine() {
        let schedule = Schedule::WarmRestarts { milestones: vec![0.502, 0.8], factor: 0.5, floor: 0.1 };
        let rates = rates(&schedule, SPAN);
        // The first is that of a training that ends there, bit for bit.
        let first = Schedule::Cosine { floor: 0.1 };
        assert!((0..50).all(|step| rates[step] == first.rate(step, Span { epochs: 5, ..SPAN })), "{rates:?}");
        assert!(
            rates[50] == 0.25 && near(rates[65], 0.175) && rates[80] == 0.125 && near(rates[90], 0.1125),
            "{rates:?}"
        );
        assert!([10..50, 50..80, 80..100].into_iter().all(|cycle| rates[cycle].is_sorted_by(|a, b| a > b)));
    }

    #[test]
    fn steps_fall_at_milestones() {
        let schedule = Schedule::Step { milestones: vec![0.5, 0.75], factor: 0.1 };
        let rates = rates(&schedule, Span { warmup: 0.0, ..SPAN });
        for (range, rate) in [(0..50, 0.5), (50..75, 0.05), (75..100, 0.005)] {
            assert!(rates[range].iter().all(|&r| near(r, rate)), "{rates:?}");
        }
        assert!(near(Schedule::Constant.rate(99, SPAN), 0.5) && near(Schedule::Constant.rate(4, SPAN), 2.5 / 11.0));
    }

    /// timm 0.9's `CosineLRScheduler(t_initial=10, lr_min=0.1, warmup_t=2, warmup_lr_init=0.1)` at lr 0.5.
    #[test]
    fn timm_cosine_counts_the_warm_up() {
        let schedule = Schedule::TimmCosine { start: 0.1, floor: 0.1 };
        let rates = rates(&schedule, Span { warmup: 2.0, ..SPAN });
        let epochs: Vec<f64> = rates.iter().step_by(10).copied().collect();
        assert!(rates.chunks(10).zip(&epochs).all(|(steps, first)| steps.iter().all(|rate| rate == first)));
        assert!(near(epochs[0], 0.1) && near(epochs[1], 0.3), "{epochs:?}");
        for (epoch, &rate) in epochs.iter().enumerate().skip(2) {
            assert!(near(rate, 0.1 + 0.2 * (1.0 + (PI * epoch as f64 / 10.0).cos())), "{epochs:?}");
        }
        // The rate never reaches `lr` after a warm-up that counts.
        assert!(near(epochs[2], 0.461_803_398_874_989_5));
    }

    /// `OneCycleLR(max_lr=0.5, total_steps=100, pct_start=0.3)`: 0.02 first, 0.5 at step 29, 2e-6 at step 99.
    #[test]
    fn one_cycle_ends_on_its_last_step() {
        let schedule = Schedule::OneCycle { start_divisor: 25.0, end_divisor: 1e4 };
        let rates = rates(&schedule, Span { warmup: 3.0, ..SPAN });
        assert!(near(rates[0], 0.02) && near(rates[29], 0.5) && near(rates[99], 2e-6), "{rates:?}");
        assert!(rates[..30].is_sorted() && rates[29..].is_sorted_by(|a, b| a > b));
        // Without warm-up only the fall is left; a single step has the highest rate.
        assert!(near(schedule.rate(0, Span { warmup: 0.0, ..SPAN }), 0.5));
        assert!(near(schedule.rate(0, Span { warmup: 1.0, epochs: 1, steps: 1, ..SPAN }), 0.5));
    }

    #[test]
    fn every_schedule_is_finite_and_positive_where_warm_up_is_all_or_nothing() {
        let schedules = [
            Schedule::Constant,
            Schedule::Step { milestones: vec![0.0, 1.0], factor: 0.5 },
            Schedule::Cosine { floor: 0.0 },
            Schedule::Linear { floor: 0.0 },
            Schedule::WarmRestarts { milestones: vec![0.0, 0.3, 0.3, 1.0], factor: 0.5, floor: 0.0 },
            Schedule::TimmCosine { start: 1e-5, floor: 0.0 },
            Schedule::OneCycle { start_divisor: 1.0, end_divisor: 1.0 },
        ];
        for schedule in schedules {
            for (epochs, steps) in [(1, 1), (1, 7), (3, 1), (3, 5)] {
                for warmup in [0.0, 0.5, epochs as f64] {
                    let rates = rates(&schedule, Span { lr: 0.5, epochs, warmup, steps });
                    assert!(rates.iter().all(|rate| rate.is_finite() && *rate > 0.0), "{schedule:?} {rates:?}");
                }
            }
        }
    }
}
