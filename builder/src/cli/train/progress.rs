//! What is seen of training while it goes on.

use crate::cli::console::Console;
use crate::cli::table::grouped;
use crate::train::{Config, EpochRecord, Progress, Status};
use indicatif::{HumanDuration, ProgressBar};
use std::time::Duration;

/// A live line for each epoch on a terminal, and a line after it.
pub(in crate::cli) struct Bars<'c> {
    console: &'c Console,
    bar: ProgressBar,
    epochs: usize,
}

impl<'c> Bars<'c> {
    /// The progress of training.
    pub(in crate::cli) fn new(console: &'c Console) -> Self {
        Self { console, bar: ProgressBar::hidden(), epochs: 0 }
    }

    /// Takes the live line away.
    pub(in crate::cli) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn show(&self, status: &Status) {
        self.bar.set_length(status.batches as u64);
        self.bar.set_position(status.batch as u64);
        self.bar.set_prefix(format!("epoch {}/{}", status.epoch + 1, self.epochs));
        let (loss, accuracy) = (status.loss, 100.0 * status.accuracy);
        self.bar.set_message(format!("loss {loss:.4}, accuracy {accuracy:.2} %{}", pace(status)));
    }
}

/// Images per second and the time left, where they are known.
fn pace(status: &Status) -> String {
    let speed = if status.batch > 0 {
        format!(", {} images/s", grouped(status.images_per_second as u64))
    } else {
        String::new()
    };
    // Of what is left after the last batch of all, nothing is known.
    match status.seconds_left.map(Duration::try_from_secs_f64) {
        Some(Ok(left)) if !left.is_zero() => format!("{speed}, {} left", HumanDuration(left)),
        _ => speed,
    }
}

impl Progress for Bars<'_> {
    fn start(&mut self, config: &Config, status: &Status) {
        self.epochs = config.epochs;
        if status.epoch + status.batch > 0 {
            let (epoch, batch) = (status.epoch, status.batch);
            self.console.say(format!("resuming after {epoch} epochs and {batch} batches"));
        }
        self.bar = self.console.batches();
        self.show(status);
    }

    fn step(&mut self, status: &Status) {
        self.show(status);
    }

    fn epoch(&mut self, record: &EpochRecord, status: &Status) {
        let EpochRecord { epoch, train_loss, test_loss, test_accuracy, seconds, .. } = record;
        let line = format!(
            "epoch {epoch:>3}/{}: loss {train_loss:.4}, test loss {test_loss:.4}, accuracy {:.2} %, {seconds:.1} s{}",
            self.epochs,
            100.0 * test_accuracy,
            pace(status)
        );
        self.bar.suspend(|| self.console.say(line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_said_where_it_is_known() {
        let status = Status {
            epoch: 0,
            batch: 7,
            batches: 10,
            loss: 1.0,
            accuracy: 0.5,
            images_per_second: 2345.6,
            seconds_left: Some(130.0),
        };
        assert_eq!(pace(&status), ", 2,345 images/s, 2 minutes left");
        assert_eq!(pace(&Status { seconds_left: Some(0.0), ..status }), ", 2,345 images/s");
        assert_eq!(pace(&Status { batch: 0, seconds_left: None, ..status }), "");
    }
}
