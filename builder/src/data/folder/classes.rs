//! Which classes a folder has and which files belong to a split, before any of them is opened.

use super::archive;
use super::contents::{malformed, subfolders, visible};
use super::files::Files;
use super::layout::{HOLDS, Layout};
use super::listing::{Listing, is_test};
use super::{DataError, Split};
use std::path::Path;

/// Names of the class folders, in the order of the classes.
pub(in crate::data) fn class_names(folder: &Path) -> Result<Vec<String>, DataError> {
    let archives = archive::find(folder)?;
    if !archives.is_empty() {
        return archive::class_names(folder, &archives);
    }
    let layout = Layout::find(folder)?;
    let classes = subfolders(layout.names())?;
    if classes.len() < 2 || classes.len() > usize::from(u16::MAX) {
        let reason = format!("has {} class folders: give {HOLDS}", classes.len());
        return Err(malformed(layout.names(), reason));
    }
    Ok(classes)
}

/// The classes and the files of one split.
pub(super) fn list(folder: &Path, split: Split) -> Result<Listing, DataError> {
    let archives = archive::find(folder)?;
    if !archives.is_empty() {
        return archive::list(folder, &archives, split);
    }
    let class_names = class_names(folder)?;
    let layout = Layout::find(folder)?;
    let root = layout.root(folder, split)?;
    if let Some(stray) = subfolders(root)?.into_iter().find(|name| !class_names.contains(name)) {
        let reason = format!("is no class of {}, which names the classes", layout.names().display());
        return Err(malformed(&root.join(stray), reason));
    }
    let is_hashed = matches!(layout, Layout::Hashed(_));
    let (mut files, mut counts) = (Files::default(), vec![0; class_names.len()]);
    for (label, name) in class_names.iter().enumerate() {
        let class = root.join(name);
        if !class.is_dir() && split == Split::Test {
            continue;
        }
        let is_wanted = |key: &str| !is_hashed || is_test(key) == (split == Split::Test);
        counts[label] = collect(&class, name, label as u16, &is_wanted, &mut files)?;
        if counts[label] == 0 {
            return Err(malformed(&class, "is a class without images: add some or remove the folder".into()));
        }
    }
    Ok(Listing { class_names, files, counts })
}

/// Lists the files in a folder and those below it whose key, the path from the class folder's name on, is wanted; gives
/// the number of all. A link to a folder is not followed but counts as a file, so that decoding names it.
fn collect(
    folder: &Path,
    key: &str,
    label: u16,
    is_wanted: &dyn Fn(&str) -> bool,
    files: &mut Files,
) -> Result<usize, DataError> {
    let number = files.folder(folder);
    let mut count = 0;
    for name in visible(folder)? {
        let (path, key) = (folder.join(&name), format!("{key}/{}", name.to_string_lossy()));
        if path.is_dir() && !path.is_symlink() {
            count += collect(&path, &key, label, is_wanted, files)?;
        } else {
            count += 1;
            if is_wanted(&key) {
                files.push(number, name, label, None);
            }
        }
    }
    Ok(count)
}
