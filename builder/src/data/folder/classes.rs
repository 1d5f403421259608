//! Which classes a folder has and which files belong to a split, before any of them is opened.

use super::archive;
use super::contents::{malformed, subfolders, visible};
use super::files::Files;
use super::layout::{HOLDS, Layout};
use super::{DataError, Split};
use std::path::Path;

/// One of so many files is for testing.
const TEST_EVERY: u64 = 5;

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

/// The files of one split.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) class_names: Vec<String>,
    /// Class by class, in the order of their names.
    pub(super) files: Files,
    /// Files of each class, those of the other split included where names decide.
    pub(super) counts: Vec<usize>,
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

/// Whether the file of this key is for testing: a function of the key alone, so that a file keeps its split when others
/// come or go. FNV-1a in 64 bits, then MurmurHash3's finalizer, because names are alike.
pub(super) fn is_test(key: &str) -> bool {
    let hash = key
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    (hash ^ (hash >> 33)).is_multiple_of(TEST_EVERY)
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
