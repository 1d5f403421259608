//! A folder of images per class, of any size, as people keep their own data.
//!
//! Either `DIR` holds the class folders, and a file's name decides for ever whether it is among the fifth of the images
//! to test with, or `DIR/train` and `DIR/test` (or `DIR/val`), or folders with names like these, hold them. The classes
//! are the folders in the order of their names; files may lie in folders inside a class folder. Names that begin with a
//! dot are passed over.

mod classes;
mod contents;
mod decode;
mod layout;

use super::{DataError, Dataset, Notes, Options, Split};
use classes::Listing;
use rayon::prelude::*;
use skipstone_onnx::Preprocessing;
use skipstone_runtime::image;
use std::path::Path;

pub(super) use classes::class_names;
pub(super) use decode::decode;

/// One split at `dims`. A file that cannot be read is left out and noted; `strict` refuses it, and images that are
/// smaller than `dims`.
pub(super) fn load(
    folder: &Path,
    split: Split,
    dims: [usize; 3],
    options: &Options,
) -> Result<(Dataset, Notes), DataError> {
    let preprocessing = check_input(folder, dims, &options.preprocessing)?;
    let Listing { class_names, entries, files } = classes::entries(folder, split)?;
    let len = dims.iter().product::<usize>();
    let mut pixels = Vec::new();
    let too_large = || DataError::TooLarge { path: folder.to_path_buf(), count: entries.len(), dims };
    let total = entries.len().checked_mul(len).ok_or_else(too_large)?;
    pixels.try_reserve_exact(total).map_err(|_| too_large())?;
    pixels.resize(total, 0);

    let mut listed = vec![0; class_names.len()];
    entries.iter().for_each(|entry| listed[usize::from(entry.label)] += 1);

    let outcomes: Vec<Result<bool, String>> = pixels
        .par_chunks_exact_mut(len)
        .zip(&entries)
        .map(|(slot, entry)| decode(&entry.path, dims, preprocessing, slot))
        .collect();

    let mut set = Dataset { dims, pixels, labels: Vec::with_capacity(entries.len()), class_names };
    let mut notes = Notes::default();
    for (index, (entry, outcome)) in entries.into_iter().zip(outcomes).enumerate() {
        match outcome {
            Ok(enlarged) => {
                let kept = set.labels.len();
                if kept < index {
                    set.pixels.copy_within(index * len..(index + 1) * len, kept * len);
                }
                set.labels.push(entry.label);
                if enlarged {
                    notes.enlarged.push(entry.path);
                }
            }
            Err(reason) => notes.skipped.push((entry.path, reason)),
        }
    }
    set.pixels.truncate(set.labels.len() * len);
    if options.strict {
        notes.refuse(dims)?;
    }
    let counts = Counts { files, listed };
    check(&set, split, folder, &counts, &mut notes)?;
    Ok((set, notes))
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
        let reason = match notes.skipped.first() {
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
    for &label in &set.labels {
        counts[usize::from(label)] += 1;
    }
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
mod tests;
