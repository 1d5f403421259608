//! Tables in Markdown.

use crate::timing::median;
use skipstone::train::EpochRecord;
use skipstone_onnx::Graph;

/// A line of a study's table: a network, and its results with each seed.
pub(crate) struct Row {
    name: &'static str,
    params: usize,
    macs: u64,
    epochs: usize,
    /// Test accuracy after the last epoch, for each seed that did not diverge.
    last: Vec<f64>,
    /// Test accuracy of the best epoch, likewise.
    best: Vec<f64>,
    /// Training images a second in each epoch of all seeds.
    speeds: Vec<f64>,
    seconds: f64,
    diverged: usize,
}

const HEAD: [&str; 8] =
    ["run", "parameters", "MACs", "epochs", "accuracy, last epoch", "best epoch", "images/s", "seconds"];

impl Row {
    /// A line about a network that was not trained yet.
    pub(crate) fn new(name: &'static str, graph: &Graph) -> Self {
        Self {
            name,
            params: graph.parameter_count(),
            macs: graph.macs(),
            epochs: 0,
            last: Vec::new(),
            best: Vec::new(),
            speeds: Vec::new(),
            seconds: 0.0,
            diverged: 0,
        }
    }

    /// The result with a seed: at least one epoch, each of `images` training images. Their seconds include the test
    /// after each epoch; the speed is that of the median one, so that what else the machine did in some of them does
    /// not count.
    pub(crate) fn trained(&mut self, history: &[EpochRecord], images: usize) {
        self.epochs = self.epochs.max(history.len());
        self.last.extend(history.last().map(|record| record.test_accuracy));
        self.best.push(history.iter().map(|record| record.test_accuracy).fold(0.0, f64::max));
        self.speeds.extend(history.iter().map(|record| images as f64 / record.seconds));
        self.seconds += history.iter().map(|record| record.seconds).sum::<f64>();
    }

    /// The result with a seed: a loss or weight that was not finite in `epoch`.
    pub(crate) fn diverged(&mut self, epoch: usize) {
        self.epochs = self.epochs.max(epoch);
        self.diverged += 1;
    }

    fn cells(&self) -> [String; 8] {
        let [speed, seconds] = if self.speeds.is_empty() {
            ["-", "-"].map(String::from)
        } else {
            [median(self.speeds.iter().copied()), self.seconds].map(|figure| format!("{figure:.0}"))
        };
        [
            format!("`{}`", self.name),
            grouped(self.params as u64),
            grouped(self.macs),
            self.epochs.to_string(),
            accuracy(&self.last, self.diverged),
            accuracy(&self.best, 0),
            speed,
            seconds,
        ]
    }
}

/// The table of `rows`.
pub(crate) fn markdown(rows: &[Row]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let mut text = line(&HEAD.map(String::from));
    text += "|---|---:|---:|---:|---:|---:|---:|---:|\n";
    for row in rows {
        text += &line(&row.cells());
    }
    text
}

/// The mean of the seeds' accuracies; of several seeds also the lowest and the highest, and how many diverged.
fn accuracy(seeds: &[f64], diverged: usize) -> String {
    let percent = |accuracy: f64| format!("{:.2}", 100.0 * accuracy);
    let text = match seeds {
        [] if diverged == 0 => return "-".into(),
        [] => return "diverged".into(),
        [one] => format!("{} %", percent(*one)),
        _ => {
            let mean = seeds.iter().sum::<f64>() / seeds.len() as f64;
            let lowest = seeds.iter().copied().fold(f64::INFINITY, f64::min);
            let highest = seeds.iter().copied().fold(0.0, f64::max);
            format!("{} % ({} to {})", percent(mean), percent(lowest), percent(highest))
        }
    };
    if diverged == 0 { text } else { format!("{text}, {diverged} diverged") }
}

/// `1234567` as `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::accuracy;

    #[test]
    fn seeds_that_diverged_are_counted() {
        assert_eq!(accuracy(&[0.5], 0), "50.00 %");
        assert_eq!(accuracy(&[0.75, 0.5], 0), "62.50 % (50.00 to 75.00)");
        assert_eq!(accuracy(&[0.5], 1), "50.00 %, 1 diverged");
        assert_eq!(accuracy(&[], 2), "diverged");
        assert_eq!(accuracy(&[], 0), "-");
    }
}
