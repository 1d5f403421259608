//! Whether a folder holds class folders, or folders of splits that hold them.

use super::contents::{holds_images, malformed, subfolders};
use crate::data::{DataError, Split};
use std::path::{Path, PathBuf};

/// What a folder of images should hold.
pub(super) const HOLDS: &str =
    "a folder of PNG or JPEG files per class, train/ and test/ (or val/) with such folders, or .tar archives of them";

/// Words that people add to the name of a split.
const FILLERS: [&str; 11] =
    ["set", "data", "dataset", "image", "images", "img", "imgs", "photos", "pictures", "split", "seg"];
/// What archives of other systems hold beside the data.
const FOREIGN: [&str; 1] = ["__MACOSX"];

/// How the class folders lie.
pub(super) enum Layout {
    /// Class folders, whose files are divided by their names.
    Hashed(PathBuf),
    /// Class folders of each split, of which one may be absent.
    Split { train: Option<PathBuf>, test: Option<PathBuf> },
}

/// The part of a data set that a folder's name says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Train,
    Test,
    Validation,
}

impl Layout {
    pub(super) fn find(folder: &Path) -> Result<Self, DataError> {
        if !folder.is_dir() {
            return Err(DataError::NotAFolder { path: folder.to_path_buf(), holds: HOLDS });
        }
        let (mut splits, mut others) = (Vec::new(), Vec::new());
        for name in subfolders(folder)? {
            match part(&name) {
                Some(part) => splits.push((part, name)),
                None => others.push(name),
            }
        }
        if splits.is_empty() {
            return Ok(Self::Hashed(folder.to_path_buf()));
        }
        let list = |names: &[String]| names.iter().map(|name| format!("{name}/")).collect::<Vec<_>>().join(", ");
        let seen = list(&splits.iter().map(|(_, name)| name.clone()).collect::<Vec<_>>());
        others.retain(|name| !FOREIGN.contains(&name.as_str()) && holds_images(&folder.join(name)));
        if !others.is_empty() {
            let count = others.len();
            others.truncate(5);
            let more = if count > others.len() { ", ..." } else { "" };
            let reason = format!(
                "holds {seen}, which names a split, and beside it folders of images: {}{more}; keep either class folders \
                 or splits there (a class that is called so needs another name)",
                list(&others)
            );
            return Err(malformed(folder, reason));
        }
        for (_, name) in &splits {
            if subfolders(&folder.join(name))?.is_empty() {
                let reason = format!("{name}/ names a split, but holds no class folders: give {HOLDS}");
                return Err(malformed(folder, reason));
            }
        }
        let of = |wanted: Part| {
            let mut named = splits.iter().filter(|(part, _)| *part == wanted).map(|(_, name)| name);
            match (named.next(), named.next()) {
                (Some(one), Some(other)) => {
                    let reason = format!("{one}/ and {other}/ name the same split: keep one of them");
                    Err(malformed(folder, reason))
                }
                (name, _) => Ok(name.map(|name| folder.join(name))),
            }
        };
        Ok(Self::Split { train: of(Part::Train)?, test: of(Part::Test)?.or(of(Part::Validation)?) })
    }

    /// The folder whose subfolders name the classes.
    pub(super) fn names(&self) -> &Path {
        match self {
            Self::Hashed(folder) => folder,
            Self::Split { train, test } => train.as_deref().or(test.as_deref()).unwrap_or(Path::new("")),
        }
    }

    /// The folder that holds the class folders of `split`.
    pub(super) fn root(&self, folder: &Path, split: Split) -> Result<&Path, DataError> {
        let (path, wanted, there) = match (self, split) {
            (Self::Hashed(folder), _) => return Ok(folder),
            (Self::Split { train, .. }, Split::Train) => (train, "no train/", "a test/ or val/"),
            (Self::Split { test, .. }, Split::Test) => (test, "neither test/ nor val/", "a train/"),
        };
        path.as_deref()
            .ok_or_else(|| malformed(folder, format!("has {there} with class folders, but {wanted} beside it")))
    }
}

/// The split that a folder is called after: `Training`, `val`, `test_set`, `Train Images`, `seg_train`.
pub(super) fn part(name: &str) -> Option<Part> {
    let lower = name.to_lowercase();
    let mut words = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let mut found = None;
    if !words.all(|word| {
        let bare = word.strip_suffix("set").unwrap_or(word);
        let part = match bare {
            "train" | "training" | "trains" => Part::Train,
            "test" | "testing" | "tests" => Part::Test,
            "val" | "valid" | "validation" | "validate" | "validating" | "eval" | "dev" => Part::Validation,
            _ => return FILLERS.contains(&word),
        };
        found.replace(part).is_none()
    }) {
        return None;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_are_known_by_their_names() {
        for name in
            ["train", "Train", "TRAINING", "training_set", "trainset", "Train Images", "seg_train", "train-data"]
        {
            assert_eq!(part(name), Some(Part::Train), "{name}");
        }
        for name in ["test", "Testing", "Test", "test_set", "TestSet", "images.test"] {
            assert_eq!(part(name), Some(Part::Test), "{name}");
        }
        for name in ["val", "Valid", "VALIDATION", "valset", "validation_images"] {
            assert_eq!(part(name), Some(Part::Validation), "{name}");
        }
        for name in ["cat", "images", "train_station", "testosterone", "valley", "trainer", "test train", "dataset", ""]
        {
            assert_eq!(part(name), None, "{name}");
        }
    }
}
