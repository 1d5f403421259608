//! Files that are whole or absent: written beside their place and renamed into it.

use std::io::Write;
use std::path::{Path, PathBuf};

/// A file that could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path}: {source}", path = path.display())]
pub struct FileError {
    /// `read`, `write`, `create`.
    pub action: &'static str,
    /// The file or folder.
    pub path: PathBuf,
    /// The system's reason.
    pub source: std::io::Error,
}

impl FileError {
    /// An error of `action` on `path`.
    pub fn new(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self { action, path: path.to_path_buf(), source }
    }
}

/// An error of tempfile's without the name of its file, which helps nobody.
pub(crate) fn unnamed(error: std::io::Error) -> std::io::Error {
    let text = error.to_string();
    match text.rsplit_once(" at path ") {
        Some((reason, _)) => std::io::Error::new(error.kind(), reason),
        None => error,
    }
}

/// What Git keeps in place of a large file that was not fetched.
const LFS_POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";

/// The contents of a file.
///
/// # Errors
/// [`FileError`] naming the path; also where a Git LFS pointer stands for the contents.
pub fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let bytes = std::fs::read(path).map_err(|e| FileError::new("read", path, e))?;
    if bytes.starts_with(LFS_POINTER) {
        let reason = "it is a Git LFS pointer, not the file: run `git lfs pull`";
        return Err(FileError::new("read", path, std::io::Error::other(reason)));
    }
    Ok(bytes)
}

/// Creates a folder and those above it.
///
/// # Errors
/// [`FileError`] naming the path.
pub fn create_dir(path: &Path) -> Result<(), FileError> {
    std::fs::create_dir_all(path).map_err(|e| FileError::new("create", path, e))
}

/// Writes a file so that a reader sees the old contents or the new ones, never a part: a killed process or a full disk
/// leaves the old file. A device, a pipe or a socket is written to, not replaced.
///
/// # Errors
/// [`FileError`] naming the path.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let fail = |e| FileError::new("write", path, e);
    if is_special(path) {
        return std::fs::write(path, bytes).map_err(fail);
    }
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".skipstone-");
    // A temporary file is for its owner alone unless told otherwise; this one becomes a file like any other.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut aside = builder.tempfile_in(folder).map_err(|e| fail(unnamed(e)))?;
    // The file's own errors are the system's.
    aside.as_file_mut().write_all(bytes).map_err(fail)?;
    aside.as_file().sync_all().map_err(fail)?;
    aside.persist(path).map_err(|e| fail(e.error))?;
    Ok(())
}

/// Whether a path is there and neither a file nor a folder.
pub(crate) fn is_special(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn what_is_no_file_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
        // A socket cannot be opened as a file.
        assert!(write(&path, b"new").is_err());
        assert!(is_special(&path));
    }

    #[test]
    fn a_folder_that_is_missing_is_named_with_the_systems_reason() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("none").join("model.stone");
        let error = write(&path, b"new").unwrap_err();
        assert_eq!(error.source.kind(), std::io::ErrorKind::NotFound);
        let system = std::fs::read(&path).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot write {}: {system}", path.display()));
    }

    #[test]
    fn write_replaces_and_leaves_nothing_beside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.stone");
        write(&path, b"old").unwrap();
        write(&path, b"new").unwrap();
        assert_eq!(read(&path).unwrap(), b"new");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn written_files_have_the_permissions_of_others() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (ours, plain) = (folder.path().join("ours"), folder.path().join("plain"));
        write(&ours, b"x").unwrap();
        std::fs::write(&plain, b"x").unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&plain));
    }

    #[test]
    fn errors_name_the_path() {
        let folder = tempfile::tempdir().unwrap();
        let error = write(&folder.path().join("absent/model.stone"), b"x").unwrap_err().to_string();
        assert!(error.starts_with("cannot write ") && error.contains("absent/model.stone"), "{error}");
        assert!(!error.contains(".skipstone-"), "a temporary file's name helps nobody: {error}");
    }
}
