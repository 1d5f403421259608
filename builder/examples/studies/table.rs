//! Tables in Markdown.

use crate::timing::median;
use skipstone::train::EpochRecord;
use skipstone_onnx::Graph;

/// A line of a study's table.
pub(crate) struct Row {
    name: &'static str,
    params: usize,
    macs: u64,
    result: Vec<String>,
}

const HEAD: [&str; 8] =
    ["run", "parameters", "MACs", "epochs", "accuracy, last epoch", "best epoch", "images/s", "seconds"];

impl Row {
    /// A line about a network that was not trained yet.
    pub(crate) fn new(name: &'static str, graph: &Graph) -> Self {
        Self { name, params: graph.parameter_count(), macs: graph.macs(), result: Vec::new() }
    }

    /// The result: at least one epoch, each of `images` training images. Their seconds include the test after each
    /// epoch; the speed is that of the median one, so that what else the machine did in some of them does not count.
    pub(crate) fn trained(&mut self, history: &[EpochRecord], images: usize) {
        let seconds = history.iter().map(|record| record.seconds);
        let percent = |accuracy: f64| format!("{:.2} %", 100.0 * accuracy);
        let last = history.last().map_or(0.0, |record| record.test_accuracy);
        let best = history.iter().map(|record| record.test_accuracy).fold(0.0, f64::max);
        let epochs = history.len();
        self.result = vec![
            epochs.to_string(),
            percent(last),
            percent(best),
            format!("{:.0}", images as f64 / median(seconds.clone())),
            format!("{:.0}", seconds.sum::<f64>()),
        ];
    }

    /// The result: a loss or weight that was not finite in `epoch`.
    pub(crate) fn diverged(&mut self, epoch: usize) {
        let none = || "-".to_string();
        self.result = vec![epoch.to_string(), "diverged".into(), none(), none(), none()];
    }
}

/// The table of `rows`.
pub(crate) fn markdown(rows: &[Row]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let mut text = line(&HEAD.map(String::from));
    text += "|---|---:|---:|---:|---:|---:|---:|---:|\n";
    for Row { name, params, macs, result } in rows {
        text += &line(&[&[format!("`{name}`"), grouped(*params as u64), grouped(*macs)], &result[..]].concat());
    }
    text
}

/// `1234567` as `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join(",")
}
