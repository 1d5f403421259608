//! Free space on the disk, which a whole test fills with builds.

use crate::shell::{Failure, Run};
use std::path::Path;

/// GiB that a whole test of an empty clone writes.
const WHOLE: f64 = 10.0;
/// GiB below which a failure may be for want of space.
const LITTLE: f64 = 0.5;

/// One line about the space that is left.
pub(crate) fn summary(root: &Path) -> String {
    match free(root) {
        Some(free) => format!("disk: {free:.1} GiB free; a whole test of an empty clone writes about {WHOLE} GiB"),
        None => "disk: `df` does not say what is free".into(),
    }
}

/// The failure, with the cause where the disk is full.
pub(crate) fn explained(failure: Failure, root: &Path) -> Failure {
    match free(root) {
        Some(free) if free < LITTLE => Failure(format!(
            "{failure}; the disk is full ({:.0} MiB left): free {WHOLE} GiB, or set CARGO_TARGET_DIR to another disk",
            free * 1024.0
        )),
        _ => failure,
    }
}

/// GiB that are left where `root` lies.
fn free(root: &Path) -> Option<f64> {
    let table = Run::line("df -Pk", root).args([root]).read().ok()?;
    parse(&table)
}

/// The fourth column of `df -Pk`, in GiB.
fn parse(table: &str) -> Option<f64> {
    let kib: f64 = table.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()?;
    Some(kib / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_space_of_a_table_is_its_fourth_column() {
        let table = "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/vda 264000000 12 2097152 13% /\n";
        assert_eq!(parse(table), Some(2.0));
        assert_eq!(parse("df: no such file\n"), None);
    }

    #[test]
    fn failures_without_a_full_disk_stay_as_they_are() {
        let failure = Failure("why".into());
        if free(Path::new(".")).is_some_and(|free| free > LITTLE) {
            assert_eq!(explained(failure.clone(), Path::new(".")), failure);
        }
        assert!(summary(Path::new(".")).contains("GiB free"));
    }
}
