//! The table at the end: what ran, where, how long, and how it ended.

use crate::shell::Failure;
use std::fmt::Write;
use std::time::Duration;

/// A row that ran.
pub(crate) struct Entry {
    /// The row's name.
    pub(crate) name: &'static str,
    /// Machine, target or board that it ran on.
    pub(crate) place: &'static str,
    /// Wall-clock time.
    pub(crate) took: Duration,
    /// A remark, or the reason.
    pub(crate) outcome: Result<String, Failure>,
}

/// The table as text; its last line counts passed and failed rows.
pub(crate) fn render(entries: &[Entry]) -> String {
    let width = |text: fn(&Entry) -> &str| entries.iter().map(|e| text(e).len()).max().unwrap_or(0).max(5);
    let (name, place) = (width(|e| e.name), width(|e| e.place));
    let mut text = format!("{:name$}  {:place$}  {:>7}  result\n", "row", "where", "seconds");
    for entry in entries {
        let (verdict, remark) = match &entry.outcome {
            Ok(remark) => ("passed", remark.as_str()),
            Err(failure) => ("FAILED", failure.0.as_str()),
        };
        let colon = if remark.is_empty() { "" } else { ": " };
        let seconds = entry.took.as_secs_f64();
        let _ = writeln!(text, "{:name$}  {:place$}  {seconds:7.1}  {verdict}{colon}{remark}", entry.name, entry.place);
    }
    let failed = entries.iter().filter(|entry| entry.outcome.is_err()).count();
    let _ = writeln!(text, "{} passed, {failed} failed", entries.len() - failed);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::fail;

    #[test]
    fn every_row_shows_and_the_last_line_counts() {
        let entry = |name, outcome| Entry { name, place: "host", took: Duration::from_millis(1500), outcome };
        let text = render(&[entry("fmt", Ok(String::new())), entry("qemu-m4", fail("no qemu-system-arm"))]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "fmt      host       1.5  passed");
        assert_eq!(lines[2], "qemu-m4  host       1.5  FAILED: no qemu-system-arm");
        assert_eq!(lines[3], "1 passed, 1 failed");
    }
}
