//! Which rows have passed on a commit: what a release looks for.

use crate::shell::{Failure, Run, fail};
use std::collections::BTreeSet;
use std::path::Path;

/// The commit, and below it a row a line.
const FILE: &str = "target/xtask-passed";

/// The commit that stands for what is tested.
///
/// # Errors
/// If there are changes that are not committed, so that none does.
pub(crate) fn tested(root: &Path) -> Result<String, Failure> {
    let changes = changes(root)?;
    if changes > 0 {
        return fail(format!("{changes} files are changed and not committed"));
    }
    commit(root)
}

/// Notes rows that have passed on the commit `before` their run, with those that passed before on the same.
///
/// # Errors
/// If another state was made meanwhile.
pub(crate) fn note(root: &Path, before: &str, rows: impl Iterator<Item = &'static str>) -> Result<(), Failure> {
    let commit = tested(root)?;
    if commit != before {
        return fail("another commit was checked out meanwhile");
    }
    let old = std::fs::read_to_string(root.join(FILE)).unwrap_or_default();
    let new = joined(&old, &commit, rows);
    std::fs::write(root.join(FILE), new).map_err(|e| Failure(format!("cannot write {FILE}: {e}")))
}

/// The rows that have passed on the commit that is checked out.
///
/// # Errors
/// If this is no checkout of git.
pub(crate) fn on_this_commit(root: &Path) -> Result<BTreeSet<String>, Failure> {
    let text = std::fs::read_to_string(root.join(FILE)).unwrap_or_default();
    Ok(rows_of(&text, &commit(root)?).map(str::to_owned).collect())
}

/// Files that are not as the commit has them, or not in it.
///
/// # Errors
/// If this is no checkout of git.
pub(crate) fn changes(root: &Path) -> Result<usize, Failure> {
    Run::line("git status --porcelain", root).read().map(|list| list.lines().count())
}

fn commit(root: &Path) -> Result<String, Failure> {
    Run::line("git rev-parse HEAD", root).read().map(|id| id.trim().to_owned())
}

fn rows_of<'t>(text: &'t str, commit: &str) -> impl Iterator<Item = &'t str> {
    let mut lines = text.lines();
    let same = lines.next() == Some(commit);
    lines.filter(move |_| same)
}

fn joined(old: &str, commit: &str, rows: impl Iterator<Item = &'static str>) -> String {
    let all: BTreeSet<String> = rows_of(old, commit).map(str::to_owned).chain(rows.map(str::to_owned)).collect();
    all.into_iter().fold(commit.to_owned(), |text, row| text + "\n" + &row) + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_count_for_their_commit_alone() {
        let first = joined("", "a1", ["fmt", "test"].into_iter());
        assert_eq!(first, "a1\nfmt\ntest\n");
        assert_eq!(joined(&first, "a1", ["demo"].into_iter()), "a1\ndemo\nfmt\ntest\n");
        assert_eq!(joined(&first, "b2", ["demo"].into_iter()), "b2\ndemo\n");
        assert_eq!(rows_of(&first, "b2").count(), 0);
    }
}
