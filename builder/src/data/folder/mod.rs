//! A folder of images per class, of any size, as people keep their own data.
//!
//! Either `DIR` holds the class folders, and a file's name decides for ever whether it is among the fifth of the images
//! to test with, or `DIR/train` and `DIR/test` (or `DIR/val`), or folders with names like these, hold them. The classes
//! are the folders in the order of their names; files may lie in folders inside a class folder. Names that begin with a
//! dot are passed over. Tar archives may stand for the folder.

mod archive;
mod classes;
mod contents;
mod files;
mod layout;
mod listing;

use super::{DataError, Dataset, Notes, Options, Split};
use listing::Listing;
use rayon::prelude::*;
use skipstone_onnx::Preprocessing;
use skipstone_runtime::image;
use std::path::Path;

pub(super) use classes::class_names;
pub(super) use files::Files;

/// Bytes of pixels that are decoded at a time to see which files can be read.
const CHECKED: usize = 16 << 20;
/// Bytes of an image's pixels, at most.
const LARGEST: usize = 1 << 30;
/// The same as [`CHECKED`], as files, at most.
const CHECKED_FILES: usize = 1024;

/// One split at `dims`. Every file is decoded once: one that cannot be read is left out and noted; `strict` refuses it,
/// and images that are smaller than `dims`. Gives the labels of all images with the pixels of the first ones, `cache`
/// bytes at most, and the files of the others.
/// `progress` gets the number of files seen, and of all.
pub(super) fn open(
    folder: &Path,
    split: Split,
    dims: [usize; 3],
    options: &Options,
    cache: usize,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<(Dataset, Files, Notes), DataError> {
    let preprocessing = check_input(folder, dims, &options.preprocessing)?;
    let Listing { class_names, files, counts } = classes::list(folder, split)?;
    let mut files = files.made(preprocessing);
    let len = dims.iter().product::<usize>();
    let room = (cache / len).min(files.len());
    let chunk = (CHECKED / len).clamp(1, CHECKED_FILES).min(files.len());
    let (mut kept, mut buffer) = (Vec::new(), Vec::new());
    let fits =
        len <= LARGEST && kept.try_reserve_exact(room * len).is_ok() && buffer.try_reserve_exact(chunk * len).is_ok();
    if !fits {
        return Err(DataError::TooLarge { path: folder.to_path_buf(), count: files.len(), dims });
    }
    buffer.resize(chunk * len, 0);

    let mut listed = vec![0; class_names.len()];
    let (mut labels, mut is_later) = (Vec::with_capacity(files.len()), Vec::with_capacity(files.len()));
    let mut notes = Notes::default();
    for start in (0..files.len()).step_by(chunk.max(1)) {
        let indices = start..files.len().min(start + chunk);
        let decode = |(slot, index): (&mut [u8], usize)| files.decode(index, dims, slot);
        let slots = buffer.par_chunks_exact_mut(len);
        let outcomes: Vec<Result<bool, String>> = slots.zip(indices.clone()).map(decode).collect();
        for ((index, outcome), pixels) in indices.clone().zip(outcomes).zip(buffer.chunks_exact(len)) {
            let label = files.label(index);
            listed[usize::from(label)] += 1;
            is_later.push(outcome.is_ok() && labels.len() >= room);
            match outcome {
                Ok(enlarged) => {
                    if labels.len() < room {
                        kept.extend_from_slice(pixels);
                    }
                    labels.push(label);
                    if enlarged {
                        notes.enlarged.push_with(|| files.path(index));
                    }
                }
                Err(reason) => notes.skipped.push_with(|| (files.path(index), reason)),
            }
        }
        progress(indices.end, files.len());
    }
    files.retain_with(|file| is_later[file]);
    let set = Dataset { dims, pixels: kept, labels, class_names };
    if options.strict {
        notes.refuse(dims)?;
    }
    check(&set, split, folder, &Counts { files: counts, listed }, &mut notes)?;
    Ok((set, files, notes))
}

/// Checks that images can have this many channels and a size, and can be made so; gives the runtime's word for it.
pub(super) fn check_input(
    path: &Path,
    dims: [usize; 3],
    preprocessing: &Preprocessing,
) -> Result<image::Preprocessing, DataError> {
    let [channels, height, width] = dims;
    let most = usize::from(u16::MAX);
    let fail = |reason| Err(DataError::Malformed { path: path.to_path_buf(), reason });
    if ![1, 3].contains(&channels) || !(1..=most).contains(&height) || !(1..=most).contains(&width) {
        return fail(format!(
            "images cannot be loaded at {channels}x{height}x{width}: they have 1 or 3 channels and sides of 1 to {most}"
        ));
    }
    let runtime = super::preprocessing::of_runtime(preprocessing);
    if !runtime.suits(dims.map(|dim| dim as u16)) {
        return fail(format!("images of {channels}x{height}x{width} cannot be made by `{preprocessing}`"));
    }
    Ok(runtime)
}

/// Files of each class.
struct Counts {
    /// In both splits, where file names decide.
    files: Vec<usize>,
    /// In the one that was loaded, whether they can be read or not.
    listed: Vec<usize>,
}

/// Checks that there is an image of each class to learn from, and any to test with; notes the classes without one.
fn check(set: &Dataset, split: Split, folder: &Path, files: &Counts, notes: &mut Notes) -> Result<(), DataError> {
    let fail = |reason: String| {
        let reason = match notes.skipped.named().first() {
            Some((path, why)) => {
                format!("{reason} that can be read; the first that cannot is {}: {why}", path.display())
            }
            None => reason,
        };
        Err(DataError::Malformed { path: folder.to_path_buf(), reason })
    };
    if split == Split::Test && set.is_empty() {
        return fail("has no image to test with".into());
    }
    let mut counts = vec![0; set.class_names.len()];
    set.labels.iter().for_each(|&label| counts[usize::from(label)] += 1);
    let mut missing = (0..counts.len()).filter(|&class| counts[class] == 0);
    if split == Split::Test {
        notes.untested = missing.map(|class| (set.class_names[class].clone(), files.files[class])).collect();
        return Ok(());
    }
    let Some(class) = missing.next() else { return Ok(()) };
    let name = &set.class_names[class];
    if files.listed[class] > 0 {
        return fail(format!("class `{name}` has no training image"));
    }
    let reason = match files.files[class] {
        1 => "its one image is".into(),
        count => format!("its {count} images are all"),
    };
    Err(DataError::Malformed {
        path: folder.join(name),
        reason: format!(
            "class `{name}` has no training image, since {reason} for testing, as file names decide: add images, or make \
             train/ and test/ folders"
        ),
    })
}

#[cfg(test)]
mod archive_tests;
#[cfg(test)]
mod tests;
