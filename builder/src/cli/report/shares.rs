//! Shares of a whole, as the page writes them.

/// A share as a percentage.
pub(super) fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

/// The share of a whole, as the style sheet's `--share`.
pub(super) fn share(part: f64, whole: f64) -> String {
    let share = if whole > 0.0 { (part / whole).clamp(0.0, 1.0) } else { 0.0 };
    format!("--share: {:.1}%", 100.0 * share)
}
