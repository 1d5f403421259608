//! Which classes a folder has and which files belong to a split, before any of them is opened.

use super::{DataError, Split};
use crate::files::FileError;
use std::fs;
use std::path::{Path, PathBuf};

const HOLDS: &str = "a folder of PNG or JPEG files per class, or train/ and test/ (or val/) with such folders";

/// One of so many files is for testing.
const TEST_EVERY: u64 = 5;

/// A file that should be an image, and its class.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) path: PathBuf,
    pub(super) label: u16,
}

/// Names of the class folders, in the order of the classes.
pub(in crate::data) fn class_names(folder: &Path) -> Result<Vec<String>, DataError> {
    let layout = Layout::find(folder)?;
    let classes = subfolders(layout.names())?;
    if classes.len() < 2 || classes.len() > usize::from(u16::MAX) {
        let reason = format!("has {} class folders: give {HOLDS}", classes.len());
        return Err(malformed(layout.names(), reason));
    }
    Ok(classes)
}

/// The classes, and the files of one split, class by class, in the order of their names.
pub(super) fn entries(folder: &Path, split: Split) -> Result<(Vec<String>, Vec<Entry>), DataError> {
    let names = class_names(folder)?;
    let layout = Layout::find(folder)?;
    let root = layout.root(folder, split)?;
    if let Some(stray) = subfolders(root)?.into_iter().find(|name| !names.contains(name)) {
        let reason = format!("is no class of {}, which names the classes", layout.names().display());
        return Err(malformed(&root.join(stray), reason));
    }
    let mut entries = Vec::new();
    for (label, name) in names.iter().enumerate() {
        let class = root.join(name);
        if !class.is_dir() && split == Split::Test {
            continue;
        }
        let mut files = Vec::new();
        collect(&class, name, &mut files)?;
        if files.is_empty() {
            return Err(malformed(&class, "is a class without images: add some or remove the folder".into()));
        }
        if matches!(layout, Layout::Hashed(_)) {
            files.retain(|(_, key)| is_test(key) == (split == Split::Test));
        }
        entries.extend(files.into_iter().map(|(path, _)| Entry { path, label: label as u16 }));
    }
    Ok((names, entries))
}

enum Layout {
    /// Class folders, whose files are divided by their names.
    Hashed(PathBuf),
    /// Class folders of each split, of which one may be absent.
    Split { train: Option<PathBuf>, test: Option<PathBuf> },
}

impl Layout {
    fn find(folder: &Path) -> Result<Self, DataError> {
        if !folder.is_dir() {
            return Err(DataError::NotAFolder { path: folder.to_path_buf(), holds: HOLDS });
        }
        let of = |name: &str| {
            let path = folder.join(name);
            let holds_classes = path.is_dir() && subfolders(&path).is_ok_and(|classes| !classes.is_empty());
            holds_classes.then_some(path)
        };
        Ok(match (of("train"), of("test").or_else(|| of("val"))) {
            (None, None) => Self::Hashed(folder.to_path_buf()),
            (train, test) => Self::Split { train, test },
        })
    }

    /// The folder whose subfolders name the classes.
    fn names(&self) -> &Path {
        match self {
            Self::Hashed(folder) => folder,
            Self::Split { train, test } => train.as_deref().or(test.as_deref()).unwrap_or(Path::new("")),
        }
    }

    /// The folder that holds the class folders of `split`.
    fn root(&self, folder: &Path, split: Split) -> Result<&Path, DataError> {
        let (path, wanted, there) = match (self, split) {
            (Self::Hashed(folder), _) => return Ok(folder),
            (Self::Split { train, .. }, Split::Train) => (train, "no train/", "a test/ or val/"),
            (Self::Split { test, .. }, Split::Test) => (test, "neither test/ nor val/", "a train/"),
        };
        path.as_deref()
            .ok_or_else(|| malformed(folder, format!("has {there} with class folders, but {wanted} beside it")))
    }
}

/// Names of the folders in a folder, sorted.
fn subfolders(folder: &Path) -> Result<Vec<String>, DataError> {
    let mut names = Vec::new();
    for path in visible(folder)? {
        if path.is_dir() {
            names.push(name(&path));
        }
    }
    Ok(names)
}

/// Files in a folder and those below it, each with its path from the class folder's name on. A link to a folder is
/// not followed but counts as a file, so that decoding names it.
fn collect(folder: &Path, key: &str, files: &mut Vec<(PathBuf, String)>) -> Result<(), DataError> {
    for path in visible(folder)? {
        let key = format!("{key}/{}", name(&path));
        if path.is_dir() && !path.is_symlink() {
            collect(&path, &key, files)?;
        } else {
            files.push((path, key));
        }
    }
    Ok(())
}

/// What a folder holds, sorted, without names that begin with a dot.
fn visible(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let fail = |error| FileError::new("read", folder, error);
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Whether the file of this key is for testing: a function of the key alone, so that a file keeps its split when others
/// come or go. FNV-1a in 64 bits, then MurmurHash3's finalizer, because names are alike.
fn is_test(key: &str) -> bool {
    let hash = key
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    (hash ^ (hash >> 33)).is_multiple_of(TEST_EVERY)
}

fn malformed(path: &Path, reason: String) -> DataError {
    DataError::Malformed { path: path.to_path_buf(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifth_of_the_names_is_for_testing() {
        for pattern in ["cat/", "dog/IMG_"] {
            let count = (0..10_000).filter(|i| is_test(&format!("{pattern}{i:05}.jpg"))).count();
            assert!((1900..2100).contains(&count), "{pattern}: {count}");
        }
    }

    #[test]
    fn the_split_of_a_name_never_changes() {
        let chosen: Vec<usize> = (0..20).filter(|i| is_test(&format!("cat/{i}.png"))).collect();
        assert_eq!(chosen, [1, 6, 19]);
    }
}
