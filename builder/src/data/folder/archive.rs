//! Tar archives in the place of a folder: one file, or a folder of shards.
//!
//! An archive holds what a folder would: class folders, or folders of splits, also inside a folder that holds all.
//! Shards may be called after their split (`train-0007.tar`). Archives of WebDataset have a file `KEY.cls` with the
//! class of each image `KEY.jpg`.

use super::contents::{is_image, malformed, subfolders, visible};
use super::files::{Files, Member};
use super::layout::{Part, part};
use super::listing::{Listing, is_test};
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
    let Images { classes, mut images } = images;
    let labels: Vec<Option<usize>> =
        classes.names.iter().map(|class| class_names.iter().position(|name| name == class)).collect();
    images.retain(|image| image.part == part);
    images.sort_by(|a, b| (labels[a.class as usize], &a.path).cmp(&(labels[b.class as usize], &b.path)));
    for image in images {
        let class = image.class as usize;
        let Some(label) = labels[class] else {
            let class = &classes.names[class];
            let reason = format!("{} is of class `{class}`, which the training images do not have", image.path);
            return Err(malformed(&archives[image.archive as usize], reason));
        };
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
    classes: Classes,
    images: Vec<Image>,
}

/// Names of classes, each once, in the order in which they were found.
#[derive(Default)]
struct Classes {
    names: Vec<String>,
    numbers: BTreeMap<String, u32>,
}

impl Classes {
    fn number(&mut self, name: &str) -> u32 {
        if let Some(&number) = self.numbers.get(name) {
            return number;
        }
        let number = self.names.len() as u32;
        self.names.push(name.into());
        self.numbers.insert(name.into(), number);
        number
    }
}

struct Image {
    /// Inside the archive, without folders that hold everything.
    path: String,
    /// Its number among [`Classes`].
    class: u32,
    part: Option<Part>,
    archive: u32,
    member: Member,
}

/// A file of an archive.
struct Found {
    /// Names of folders and of the file, with `/` between them.
    path: String,
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
        let mut classes = Classes::default();
        let images = if labels.is_empty() {
            by_folder(folder, found, &parts, &mut classes)?
        } else {
            by_key(archives, found, &parts, &labels, &mut classes)?
        };
        Ok(Self { classes, images })
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
        let found: BTreeSet<u32> = counted.map(|image| image.class).collect();
        let mut names: Vec<String> =
            found.into_iter().map(|class| self.classes.names[class as usize].clone()).collect();
        names.sort();
        if names.iter().all(|name| name.parse::<u32>().is_ok()) {
            names.sort_by_key(|name| name.parse::<u32>().unwrap_or_default());
        }
        if names.len() < 2 || names.len() > usize::from(u16::MAX) {
            let reason = format!(
                "holds images of {} classes: give archives with a folder of PNG or JPEG files per class, or with a file \
                 KEY.cls for each image",
                names.len()
            );
            return Err(malformed(folder, reason));
        }
        Ok(names)
    }
}

/// Lists the files of an archive, and reads the classes of WebDataset's keys. Of files with the same path the last one
/// counts, as when the archive is unpacked.
fn scan(
    path: &Path,
    archive: u32,
    found: &mut Vec<Found>,
    labels: &mut BTreeMap<(u32, String), String>,
) -> Result<(), DataError> {
    let fail = |error: std::io::Error| malformed(path, format!("cannot be read as a tar archive: {error}"));
    let file = File::open(path).map_err(|error| FileError::new("read", path, error))?;
    let size = file.metadata().map_err(fail)?.len();
    let mut files = BTreeMap::new();
    for entry in Archive::new(BufReader::new(file)).entries_with_seek().map_err(fail)? {
        let mut entry = entry.map_err(fail)?;
        if !matches!(entry.header().entry_type(), EntryType::Regular | EntryType::Continuous) {
            continue;
        }
        let name = String::from_utf8(entry.path_bytes().into_owned())
            .map_err(|_| malformed(path, "holds a file whose name is not UTF-8: pack it again".into()))?;
        let parts: Vec<&str> = name.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        let member = Member { offset: entry.raw_file_position(), len: entry.size() };
        if member.offset.checked_add(member.len).is_none_or(|end| end > size) {
            return Err(malformed(path, format!("is cut short: {name} would end after the file's end")));
        }
        if parts.iter().any(|part| part.starts_with('.') || *part == "__MACOSX") {
            continue;
        }
        let file = parts.join("/");
        if let Some(key) = file.strip_suffix(".cls") {
            let mut class = String::new();
            if entry.size() > CLASS_BYTES {
                return Err(malformed(path, format!("{name} has {} bytes, too many for a class's name", entry.size())));
            }
            let read = entry.read_to_string(&mut class);
            read.map_err(|error| malformed(path, format!("{name} names no class: {error}")))?;
            labels.insert((archive, key.to_owned()), class.trim().to_owned());
            continue;
        }
        files.insert(file, member);
    }
    found.extend(files.into_iter().map(|(path, member)| Found { path, archive, member }));
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
fn by_folder(
    folder: &Path,
    mut found: Vec<Found>,
    shards: &[Option<Part>],
    classes: &mut Classes,
) -> Result<Vec<Image>, DataError> {
    let outer = outer_folder(&found);
    found.retain(|file| file.path.starts_with(&outer));
    let around = outer.len();
    let inner = |path: &str| path[around..].matches('/').count();
    let first = |path: &str| path[around..].split('/').next().and_then(part);
    let in_splits = found.iter().any(|file| inner(&file.path) > 1 && first(&file.path).is_some());
    // A file that lies beside the class folders is none of theirs.
    found.retain(|file| inner(&file.path) > usize::from(in_splits));
    found
        .into_iter()
        .map(|Found { mut path, archive, member }| {
            path.drain(..around);
            let mut names = path.split('/');
            let mut name = names.next().unwrap_or_default();
            let mut part = shards[archive as usize];
            if in_splits {
                if part.is_some() {
                    let reason = "holds folders of splits, and is called after a split itself: rename it";
                    return Err(malformed(folder, reason.into()));
                }
                part = self::part(name);
                if part.is_none() {
                    let reason = format!("holds folders of splits, and beside them `{name}`, which names none");
                    return Err(malformed(folder, reason));
                }
                name = names.next().unwrap_or_default();
            }
            let class = classes.number(name);
            Ok(Image { path, class, part, archive, member })
        })
        .collect()
}

/// The path, with `/` at its end, of the folder that holds all images in class folders or splits; empty if there is none.
fn outer_folder(found: &[Found]) -> String {
    let mut images = found.iter().map(|file| &file.path[..]).filter(|path| has_image_name(path));
    let Some(first) = images.next() else { return String::new() };
    let mut outer = "";
    while let Some((name, rest)) = first[outer.len()..].split_once('/')
        && rest.contains('/')
        && part(name).is_none()
    {
        let longer = &first[..outer.len() + name.len() + 1];
        if images.clone().any(|path| !path.starts_with(longer) || !path[longer.len()..].contains('/')) {
            break;
        }
        outer = longer;
    }
    outer.to_owned()
}

fn has_image_name(path: &str) -> bool {
    is_image(Path::new(path))
}

/// The images of WebDataset's archives.
fn by_key(
    archives: &[PathBuf],
    found: Vec<Found>,
    shards: &[Option<Part>],
    labels: &BTreeMap<(u32, String), String>,
    classes: &mut Classes,
) -> Result<Vec<Image>, DataError> {
    found
        .into_iter()
        .filter(|file| has_image_name(&file.path))
        .map(|Found { path, archive, member }| {
            let key = path.rsplit_once('.').map_or(&path[..], |(key, _)| key);
            let class = labels.get(&(archive, key.to_owned())).filter(|class| !class.is_empty()).ok_or_else(|| {
                malformed(&archives[archive as usize], format!("{path} has no class: {key}.cls is missing or empty"))
            })?;
            Ok(Image { class: classes.number(class), part: shards[archive as usize], archive, member, path })
        })
        .collect()
}
