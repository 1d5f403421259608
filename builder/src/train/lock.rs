//! One process at a time in a run's folder.

use super::TrainError;
use crate::files::FileError;
use std::fs::{File, TryLockError};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The file whose lock says that a process trains in its folder. The system's lock counts, not the file: it is gone
/// with the process, however that ends.
pub(super) const FILE: &str = ".lock";

/// The right to write into a run's folder, until it is dropped.
pub(super) struct Lock {
    /// Closing it gives the lock back.
    _file: File,
}

/// How long a process that was stopped may take to be gone.
const PATIENCE: Duration = Duration::from_secs(1);

impl Lock {
    /// Locks `folder`, which exists; another process that holds it has a second to end.
    pub(super) fn take(folder: &Path) -> Result<Self, TrainError> {
        let path = folder.join(FILE);
        let open = File::options().create(true).truncate(false).write(true).open(&path);
        let file = open.map_err(|error| FileError::new("write", &path, error))?;
        let since = Instant::now();
        let locked = loop {
            match file.try_lock() {
                Err(TryLockError::WouldBlock) if since.elapsed() < PATIENCE => sleep(Duration::from_millis(10)),
                locked => break locked,
            }
        };
        match locked {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(TrainError::Busy { path: folder.to_path_buf() }),
            // File systems without locks take runs as well.
            Err(TryLockError::Error(error)) if error.kind() == std::io::ErrorKind::Unsupported => {
                Ok(Self { _file: file })
            }
            Err(TryLockError::Error(error)) => Err(FileError::new("lock", &path, error).into()),
        }
    }
}

/// Fails if another process trains in `folder`.
///
/// # Errors
/// [`TrainError::Busy`].
pub fn check_free(folder: &Path) -> Result<(), TrainError> {
    if folder.join(FILE).exists() { Lock::take(folder).map(drop) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_refused_until_the_first_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        check_free(folder.path()).unwrap();
        assert!(!folder.path().join(FILE).exists());
        let lock = Lock::take(folder.path()).unwrap();
        for error in [Lock::take(folder.path()).err(), check_free(folder.path()).err()] {
            let error = error.expect("it is locked").to_string();
            assert!(error.contains("another process") && error.contains(folder.path().to_str().unwrap()), "{error}");
        }
        drop(lock);
        check_free(folder.path()).unwrap();
        Lock::take(folder.path()).unwrap();
    }
}
