//! What folders hold.

use super::DataError;
use crate::files::FileError;
use std::fs;
use std::path::{Path, PathBuf};

/// Names of the folders in a folder, sorted. Class names are UTF-8, so theirs have to be.
pub(super) fn subfolders(folder: &Path) -> Result<Vec<String>, DataError> {
    let mut names = Vec::new();
    for path in visible(folder)?.into_iter().filter(|path| path.is_dir()) {
        match path.file_name().and_then(|name| name.to_str()) {
            Some(name) => names.push(name.to_owned()),
            None => {
                let reason = "the name of this folder is not UTF-8, so that it cannot be a class's: rename it";
                return Err(malformed(&path, reason.into()));
            }
        }
    }
    Ok(names)
}

/// Whether a file in a folder or below it is called as images are.
pub(super) fn holds_images(folder: &Path) -> bool {
    let is_image = |path: &Path| {
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        ["png", "jpg", "jpeg", "jpe", "jfif"].contains(&extension.to_lowercase().as_str())
    };
    let paths = visible(folder).unwrap_or_default();
    paths.iter().any(|path| if path.is_dir() && !path.is_symlink() { holds_images(path) } else { is_image(path) })
}

/// What a folder holds, sorted, without names that begin with a dot.
pub(super) fn visible(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
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

/// The error of a folder that is not as it should be.
pub(super) fn malformed(path: &Path, reason: String) -> DataError {
    DataError::Malformed { path: path.to_path_buf(), reason }
}
