//! What happened to single files while a data set was loaded.

use super::DataError;
use std::path::PathBuf;

/// Files named in a line; the others are counted.
const NAMED: usize = 10;

/// Any number of things, of which the first ten are remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named<T> {
    first: Vec<T>,
    count: usize,
}

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self { first: Vec::new(), count: 0 }
    }
}

impl<T> Named<T> {
    /// The first ones.
    pub fn named(&self) -> &[T] {
        &self.first
    }

    /// Number of all.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds a thing that is made where it will be remembered.
    pub(super) fn push_with(&mut self, make: impl FnOnce() -> T) {
        if self.first.len() < NAMED {
            self.first.push(make());
        }
        self.count += 1;
    }

    fn list(&self, text: impl Fn(&T) -> String) -> String {
        list(self.first.iter().map(text), self.count)
    }
}

/// Files that were left out, and images that are not as sharp as their size says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// Files that cannot be read as images, and why.
    pub skipped: Named<(PathBuf, String)>,
    /// Images smaller than the size asked for.
    pub enlarged: Named<PathBuf>,
    /// Classes of which there is no image to test with, and their files in both splits.
    pub untested: Vec<(String, usize)>,
}

impl Notes {
    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.skipped.is_empty() && self.enlarged.is_empty() && self.untested.is_empty()
    }

    /// A line for each kind of thing that happened.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.skipped.is_empty() {
            let named = self.skipped.list(|(path, reason)| format!("{} ({reason})", path.display()));
            lines.push(format!("skipped {} that cannot be read: {named}", count(self.skipped.len(), "file")));
        }
        if !self.enlarged.is_empty() {
            let named = self.enlarged.list(|path| path.display().to_string());
            let images = count(self.enlarged.len(), "image");
            lines.push(format!("enlarged {images} smaller than the size asked for: {named}"));
        }
        if !self.untested.is_empty() {
            let named = self.untested.iter().map(|(class, files)| format!("`{class}` (of {})", count(*files, "file")));
            let classes = if self.untested.len() == 1 { "class" } else { "classes" };
            let (number, named) = (self.untested.len(), list(named, self.untested.len()));
            lines.push(format!("no image to test with of {number} {classes}, which accuracy leaves out: {named}"));
        }
        lines
    }

    /// Fails if there is something to say, `dims` being the size asked for.
    pub(super) fn refuse(&self, dims: [usize; 3]) -> Result<(), DataError> {
        if let Some((path, reason)) = self.skipped.named().first() {
            let files = count(self.skipped.len(), "file");
            let reason = format!("{reason}; {files} cannot be read, which is an error where loading is strict");
            return Err(DataError::Malformed { path: path.clone(), reason });
        }
        if let Some(path) = self.enlarged.named().first() {
            let images = count(self.enlarged.len(), "image");
            let [_, height, width] = dims;
            let reason = format!(
                "smaller than {height}x{width} pixels, as {images} of the set: an error where loading is strict"
            );
            return Err(DataError::Malformed { path: path.clone(), reason });
        }
        Ok(())
    }
}

fn count(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// The first of `count` things that have names.
fn list(named: impl Iterator<Item = String>, count: usize) -> String {
    let more = count.saturating_sub(NAMED);
    let named = named.take(NAMED).collect::<Vec<String>>().join(", ");
    if more == 0 { named } else { format!("{named} and {more} more") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_are_named_and_the_others_counted() {
        let mut notes = Notes { untested: vec![("cat".into(), 1)], ..Notes::default() };
        (0..12).for_each(|i| notes.skipped.push_with(|| (format!("{i}.png").into(), "empty".into())));
        notes.enlarged.push_with(|| "a.png".into());
        let lines = notes.lines();
        assert!(lines[0].starts_with("skipped 12 files that cannot be read: 0.png (empty), "), "{}", lines[0]);
        assert!(lines[0].ends_with("9.png (empty) and 2 more"), "{}", lines[0]);
        assert_eq!(lines[1], "enlarged 1 image smaller than the size asked for: a.png");
        assert_eq!(lines[2], "no image to test with of 1 class, which accuracy leaves out: `cat` (of 1 file)");
        assert!(Notes::default().is_empty() && Notes::default().lines().is_empty());
    }
}
