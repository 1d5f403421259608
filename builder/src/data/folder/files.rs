//! Files that are images, listed in little memory.

use crate::data::{DataError, picture};
use crate::files;
use skipstone_runtime::image::Preprocessing;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Files that are or should be images, and how they become pixels. A folder's path is held once, whatever the number
/// of its files.
#[derive(Clone, Debug, Default)]
pub(in crate::data) struct Files {
    folders: Vec<PathBuf>,
    entries: Vec<Entry>,
    preprocessing: Preprocessing,
}

#[derive(Clone, Debug)]
struct Entry {
    name: Box<OsStr>,
    folder: u32,
    label: u16,
    /// Where the file lies in the archive that is its folder; `None` for a file of its own.
    member: Option<Member>,
}

/// Bytes of an archive that are a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub(super) offset: u64,
    pub(super) len: u64,
}

impl Files {
    /// Lists the files that come next in the folder or archive at `path`; gives its number.
    pub(super) fn folder(&mut self, path: &Path) -> u32 {
        self.folders.push(path.to_path_buf());
        self.folders.len() as u32 - 1
    }

    /// Adds a file of the folder or archive with this number.
    pub(super) fn push(&mut self, folder: u32, name: OsString, label: u16, member: Option<Member>) {
        self.entries.push(Entry { name: name.into_boxed_os_str(), folder, label, member });
    }

    /// The same files, made to pixels as `preprocessing` says.
    pub(super) fn made(self, preprocessing: Preprocessing) -> Self {
        Self { preprocessing, ..self }
    }

    pub(in crate::data) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(in crate::data) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn path(&self, index: usize) -> PathBuf {
        let entry = &self.entries[index];
        self.folders[entry.folder as usize].join(&*entry.name)
    }

    pub(super) fn label(&self, index: usize) -> u16 {
        self.entries[index].label
    }

    /// Keeps the files whose numbers `stays` says, in order.
    pub(in crate::data) fn retain_with(&mut self, stays: impl Fn(usize) -> bool) {
        let mut numbers = 0..self.len();
        self.entries.retain(|_| numbers.next().is_some_and(&stays));
        self.entries.shrink_to_fit();
    }

    /// Decodes a file into `pixels`; gives whether it had to be enlarged, or why it cannot be read.
    pub(super) fn decode(&self, index: usize, dims: [usize; 3], pixels: &mut [u8]) -> Result<bool, String> {
        picture::prepare(&picture::decode(&self.bytes(index)?)?, dims, self.preprocessing, pixels)
    }

    /// The bytes of a file.
    fn bytes(&self, index: usize) -> Result<Vec<u8>, String> {
        let entry = &self.entries[index];
        let Some(Member { offset, len }) = entry.member else {
            return files::read(&self.path(index)).map_err(|error| error.source.to_string());
        };
        let read = || {
            let mut archive = File::open(&self.folders[entry.folder as usize])?;
            archive.seek(SeekFrom::Start(offset))?;
            let mut bytes = Vec::new();
            archive.take(len).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let bytes = read().map_err(|error: std::io::Error| error.to_string())?;
        (bytes.len() as u64 == len).then_some(bytes).ok_or_else(|| "the archive is shorter than it was".into())
    }

    /// Decodes a file that could be read before.
    pub(in crate::data) fn read(&self, index: usize, dims: [usize; 3], pixels: &mut [u8]) -> Result<(), DataError> {
        let changed = |reason| DataError::Malformed {
            path: self.path(index),
            reason: format!("{reason}; it could be read when the data set was loaded: leave the files in place"),
        };
        self.decode(index, dims, pixels).map(drop).map_err(changed)
    }

    pub(in crate::data) fn too_large(&self, count: usize, dims: [usize; 3]) -> DataError {
        DataError::TooLarge { path: self.folders.first().cloned().unwrap_or_default(), count, dims }
    }
}
