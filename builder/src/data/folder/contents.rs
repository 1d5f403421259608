//! What folders hold.

use super::DataError;
use crate::files::FileError;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

/// Names of the folders in a folder, sorted. Class names are UTF-8, so theirs have to be.
pub(super) fn subfolders(folder: &Path) -> Result<Vec<String>, DataError> {
    let mut names = Vec::new();
    for name in visible(folder)?.into_iter().filter(|name| folder.join(name).is_dir()) {
        let name = name.into_string().map_err(|name| {
            let reason = "the name of this folder is not UTF-8, so that it cannot be a class's: rename it";
            malformed(&folder.join(name), reason.into())
        })?;
        names.push(name);
    }
    Ok(names)
}

/// Whether a file in a folder or below it is called as images are.
pub(super) fn holds_images(folder: &Path) -> bool {
    let mut paths = visible(folder).unwrap_or_default().into_iter().map(|name| folder.join(name));
    paths.any(|path| if path.is_dir() && !path.is_symlink() { holds_images(&path) } else { is_image(&path) })
}

/// Whether a file is called as images are.
pub(super) fn is_image(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    ["png", "jpg", "jpeg", "jpe", "jfif"].contains(&extension.to_lowercase().as_str())
}

/// Names of what a folder holds, sorted, without those that begin with a dot.
pub(super) fn visible(folder: &Path) -> Result<Vec<OsString>, DataError> {
    let fail = |error| FileError::new("read", folder, error);
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(fail)? {
        let name = entry.map_err(fail)?.file_name();
        if !name.as_encoded_bytes().starts_with(b".") {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// The error of a folder that is not as it should be.
pub(super) fn malformed(path: &Path, reason: String) -> DataError {
    DataError::Malformed { path: path.to_path_buf(), reason }
}
