//! Tar archives in the place of a folder: one file, or a folder of shards.
//!
//! An archive holds what a folder would: class folders, or folders of splits, also inside a folder that holds all.
//! Shards may be called after their split (`train-0007.tar`). Archives of WebDataset have a file `KEY.cls` with the
//! class of each image `KEY.jpg`.

use super::classes::{Listing, is_test};
use super::contents::{is_image, malformed, subfolders, visible};
use super::files::{Files, Member};
use super::layout::{Part, part};
use crate::data::{DataError, Split};
use crate::files::FileError;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use tar::{Archive, EntryType};

/// Bytes of a file that names a class, at most.
const CLASS_BYTES: u64 = 256;

/// The archives at `path`: itself, or the `.tar` files of a folder without folders.
pub(super) fn find(path: &Path) -> Result<Vec<PathBuf>, DataError> {
    let named = |path: &Path, ends: &str| path.to_string_lossy().to_lowercase().ends_with(ends);
    if path.is_file() && [".tar.gz", ".tgz", ".tar.zst", ".tar.xz"].iter().any(|ends| named(path, ends)) {
        return Err(malformed(
            path,
            "is compressed, so that no image can be read by itself: unpack it to a .tar file".into(),
        ));
    }
    if path.is_file() && named(path, ".tar") {
        return Ok(vec![path.to_path_buf()]);
    }
    if !path.is_dir() || !subfolders(path)?.is_empty() {
        return Ok(Vec::new());
    }
    let files = visible(path)?.into_iter().map(|name| path.join(name));
    Ok(files.filter(|path| path.is_file() && named(path, ".tar")).collect())
}

/// The classes and the files of one split.
pub(super) fn list(folder: &Path, archives: &[PathBuf], split: Split) -> Result<Listing, DataError> {
    let images = Images::read(folder, archives)?;
    let part = images.part_of(folder, split)?;
    let class_names = images.class_names(folder)?;
    let (mut files, mut counts) = (Files::default(), vec![0; class_names.len()]);
    archives.iter().for_each(|path| _ = files.folder(path));
    let mut all: Vec<(usize, Image)> = Vec::new();
    for image in images.images {
        if image.part != part {
            continue;
        }
        let Some(label) = class_names.iter().position(|name| *name == image.class) else {
            let reason = format!("{} is of class `{}`, which the training images do not have", image.path, image.class);
            return Err(malformed(&archives[image.archive as usize], reason));
        };
        all.push((label, image));
    }
    all.sort_by(|(a, left), (b, right)| (a, &left.path).cmp(&(b, &right.path)));
    for (label, image) in all {
        counts[label] += 1;
        if part.is_some() || is_test(&image.path) == (split == Split::Test) {
            files.push(image.archive, OsString::from(image.path), label as u16, Some(image.member));
        }
    }
    Ok(Listing { class_names, files, counts })
}

/// Names of the classes, in order.
pub(super) fn class_names(folder: &Path, archives: &[PathBuf]) -> Result<Vec<String>, DataError> {
    Images::read(folder, archives)?.class_names(folder)
}

/// What archives hold.
struct Images {
    images: Vec<Image>,
}

struct Image {
    /// Inside the archive, without folders that hold everything.
    path: String,
    class: String,
    part: Option<Part>,
    archive: u32,
    member: Member,
}

/// A file of an archive.
struct Found {
    path: Vec<String>,
    archive: u32,
    member: Member,
}

impl Images {
    fn read(folder: &Path, archives: &[PathBuf]) -> Result<Self, DataError> {
        let (mut found, mut labels) = (Vec::new(), BTreeMap::new());
        for (number, path) in (0..).zip(archives) {
            scan(path, number, &mut found, &mut labels)?;
        }
        let parts: Vec<Option<Part>> = archives.iter().map(|path| shard_part(path)).collect();
        if parts.iter().any(Option::is_some) != parts.iter().all(Option::is_some) {
            let other = parts.iter().position(Option::is_none).map_or(folder, |at| &archives[at]);
            return Err(malformed(other, "is called after no split, as other archives beside it are".into()));
        }
        let images = if labels.is_empty() {
            by_folder(folder, found, &parts)?
        } else {
            by_key(archives, found, &parts, &labels)?
        };
        Ok(Self { images })
    }

    /// The part of the archives that is a split; `None` where names divide the images.
    fn part_of(&self, folder: &Path, split: Split) -> Result<Option<Part>, DataError> {
        let there: BTreeSet<Option<Part>> = self.images.iter().map(|image| image.part).collect();
        if there.contains(&None) {
            return Ok(None);
        }
        let wanted: &[Part] = match split {
            Split::Train => &[Part::Train],
            Split::Test => &[Part::Test, Part::Validation],
        };
        let name = if split == Split::Train { "to train on" } else { "to test with" };
        let found = wanted.iter().find(|part| there.contains(&Some(**part)));
        found
            .map(|&part| Some(part))
            .ok_or_else(|| malformed(folder, format!("names splits, but has no images {name}")))
    }

    fn class_names(&self, folder: &Path) -> Result<Vec<String>, DataError> {
        let has_train = self.images.iter().any(|image| image.part == Some(Part::Train));
        let counted = self.images.iter().filter(|image| !has_train || image.part == Some(Part::Train));
        let mut names: Vec<String> =
            counted.map(|image| image.class.clone()).collect::<BTreeSet<_>>().into_iter().collect();
        let numbers: Option<Vec<u32>> = names.iter().map(|name| name.parse().ok()).collect();
        if numbers.is_some() {
            names.sort_by_key(|name| name.parse::<u32>().unwrap_or_default());
        }
        if names.len() < 2 || names.len() > usize::from(u16::MAX) {
            let reason = format!(
                "holds images of {} classes: give archives with a folder of PNG or JPEG files per class, or \
                                  with a file KEY.cls for each image",
                names.len()
            );
            return Err(malformed(folder, reason));
        }
        Ok(names)
    }
}

/// Lists the files of an archive, and reads the classes of WebDataset's keys.
fn scan(
    path: &Path,
    archive: u32,
    found: &mut Vec<Found>,
    labels: &mut BTreeMap<(u32, String), String>,
) -> Result<(), DataError> {
    let fail = |error: std::io::Error| malformed(path, format!("cannot be read as a tar archive: {error}"));
    let file = File::open(path).map_err(|error| FileError::new("read", path, error))?;
    let size = file.metadata().map_err(fail)?.len();
    for entry in Archive::new(BufReader::new(file)).entries_with_seek().map_err(fail)? {
        let mut entry = entry.map_err(fail)?;
        if !matches!(entry.header().entry_type(), EntryType::Regular | EntryType::Continuous) {
            continue;
        }
        let name = String::from_utf8(entry.path_bytes().into_owned())
            .map_err(|_| malformed(path, "holds a file whose name is not UTF-8: pack it again".into()))?;
        let parts: Vec<String> =
            name.split('/').filter(|part| !part.is_empty() && *part != ".").map(String::from).collect();
        let member = Member { offset: entry.raw_file_position(), len: entry.size() };
        if member.offset.checked_add(member.len).is_none_or(|end| end > size) {
            return Err(malformed(path, format!("is cut short: {name} would end after the file's end")));
        }
        if parts.iter().any(|part| part.starts_with('.') || part == "__MACOSX") {
            continue;
        }
        if let Some(key) = parts.join("/").strip_suffix(".cls") {
            let mut class = String::new();
            let read = (&mut entry).take(CLASS_BYTES).read_to_string(&mut class);
            read.map_err(|error| malformed(path, format!("{name} names no class: {error}")))?;
            labels.insert((archive, key.to_owned()), class.trim().to_owned());
            continue;
        }
        found.push(Found { path: parts, archive, member });
    }
    Ok(())
}

/// The split that an archive is called after, numbers apart.
fn shard_part(path: &Path) -> Option<Part> {
    let stem = path.file_stem()?.to_str()?;
    let is_number = |word: &&str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    let words: Vec<&str> = stem.split(|c: char| !c.is_alphanumeric()).filter(|word| !is_number(word)).collect();
    part(&words.join(" "))
}

/// The images of archives that hold class folders, or folders of splits.
fn by_folder(folder: &Path, mut found: Vec<Found>, shards: &[Option<Part>]) -> Result<Vec<Image>, DataError> {
    let mut depth = 0;
    // Folders that hold every image.
    let images: Vec<&[String]> = found.iter().map(|file| &file.path[..]).filter(|path| has_image_name(path)).collect();
    while let [first, ..] = images[..]
        && let Some(name) = first.get(depth)
        && part(name).is_none()
        && images.iter().all(|path| path.len() > depth + 2 && path[depth] == *name)
    {
        depth += 1;
    }
    let around: Vec<String> = images.first().map_or(Vec::new(), |path| path[..depth].to_vec());
    found.retain(|file| file.path.starts_with(&around));
    let in_splits = found.iter().any(|file| file.path.len() > depth + 2 && part(&file.path[depth]).is_some());
    // A file that lies beside the class folders is none of theirs.
    found.retain(|file| file.path.len() > depth + 1 + usize::from(in_splits));
    found
        .into_iter()
        .map(|Found { path, archive, member }| {
            let path = &path[depth..];
            let (part, class) = match (in_splits, shards[archive as usize]) {
                (true, None) => {
                    let Some(part) = part(&path[0]) else {
                        let reason =
                            format!("holds folders of splits, and beside them `{}`, which names none", path[0]);
                        return Err(malformed(folder, reason));
                    };
                    (Some(part), &path[1])
                }
                (true, Some(_)) => {
                    let reason = "holds folders of splits, and is called after a split itself: rename it";
                    return Err(malformed(folder, reason.into()));
                }
                (false, part) => (part, &path[0]),
            };
            Ok(Image { path: path.join("/"), class: class.clone(), part, archive, member })
        })
        .collect()
}

fn has_image_name(path: &[String]) -> bool {
    path.last().is_some_and(|name| is_image(Path::new(name)))
}

/// The images of WebDataset's archives.
fn by_key(
    archives: &[PathBuf],
    found: Vec<Found>,
    shards: &[Option<Part>],
    labels: &BTreeMap<(u32, String), String>,
) -> Result<Vec<Image>, DataError> {
    found
        .into_iter()
        .filter(|file| has_image_name(&file.path))
        .map(|Found { path, archive, member }| {
            let path = path.join("/");
            let key = path.rsplit_once('.').map_or(&path[..], |(key, _)| key);
            let class = labels.get(&(archive, key.to_owned())).filter(|class| !class.is_empty()).ok_or_else(|| {
                malformed(&archives[archive as usize], format!("{path} has no class: {key}.cls is missing or empty"))
            })?;
            Ok(Image { class: class.clone(), part: shards[archive as usize], archive, member, path })
        })
        .collect()
}
