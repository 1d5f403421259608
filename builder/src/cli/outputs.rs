//! Places to write to, tried before work starts.

use crate::files::{self, FileError};
use std::path::Path;

/// Tries whether `file` can be written: its folder is there and takes new files, and it is no folder itself.
pub(super) fn check_file(file: &Path) -> Result<(), FileError> {
    if file.is_dir() {
        return Err(FileError::new("write", file, std::io::ErrorKind::IsADirectory.into()));
    }
    if files::is_special(file) {
        return Ok(());
    }
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    try_folder(folder).map_err(|error| FileError::new("write", file, error))
}

/// Tries whether `folder` takes files, or can be created; creates nothing.
pub(super) fn check_folder(folder: &Path) -> Result<(), FileError> {
    let existing = folder.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("."));
    let existing = if existing.as_os_str().is_empty() { Path::new(".") } else { existing };
    if !existing.is_dir() {
        return Err(FileError::new("create", folder, std::io::ErrorKind::NotADirectory.into()));
    }
    try_folder(existing).map_err(|error| FileError::new("write into", folder, error))
}

fn try_folder(folder: &Path) -> Result<(), std::io::Error> {
    tempfile::Builder::new().prefix(".skipstone-").tempfile_in(folder).map(drop).map_err(files::unnamed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_that_cannot_be_written_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "x").unwrap();
        for path in [folder.path().join("absent/a.onnx"), file.join("a.onnx"), folder.path().to_path_buf()] {
            let error = check_file(&path).unwrap_err().to_string();
            assert!(error.contains(path.to_str().unwrap()), "{error}");
        }
        check_file(&file).unwrap();
        check_file(&folder.path().join("new.onnx")).unwrap();
        for path in [file.clone(), file.join("run"), file.join("a/run")] {
            let error = check_folder(&path).unwrap_err().to_string();
            assert!(error.contains(path.to_str().unwrap()), "{error}");
        }
        check_folder(folder.path()).unwrap();
        check_folder(&folder.path().join("a/b")).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
