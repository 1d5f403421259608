//! Folders as people keep them, and as they should not.

use super::*;
use crate::data::{self, Options, Spec, load, load_with, picture};
use ::image::{GrayImage, Rgb, RgbImage, Rgba, RgbaImage};
use std::fs;
use std::path::PathBuf;

const DEFAULT: image::Preprocessing =
    image::Preprocessing { fit: image::Fit::Crop, filter: image::Filter::Bicubic, channels: image::ChannelOrder::Rgb };

/// What [`Files`] does with a file.
fn decode(path: &Path, dims: [usize; 3], made: image::Preprocessing, pixels: &mut [u8]) -> Result<bool, String> {
    picture::prepare(&picture::decode(&fs::read(path).unwrap())?, dims, made, pixels)
}

/// Classes `cat` (red) and `dog` (blue), `count` images of 8x6 pixels each, in `root`.
fn fill(root: &Path, count: usize) {
    for (class, color) in [("dog", [0, 0, 200]), ("cat", [200, 0, 0])] {
        fs::create_dir_all(root.join(class)).unwrap();
        for i in 0..count {
            RgbImage::from_pixel(8, 6, Rgb(color)).save(root.join(class).join(format!("{i}.png"))).unwrap();
        }
    }
}

pub(super) fn folder(count: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), count);
    folder
}

pub(super) fn load_at(
    folder: &Path,
    split: Split,
    dims: [usize; 3],
    strict: bool,
) -> Result<(Dataset, Notes), DataError> {
    let spec: Spec = format!("folder:{}", folder.display()).parse().unwrap();
    load_with(&spec, split, &Options { dims: Some(dims), strict, ..Options::default() })
}

/// The training files, in order.
fn paths(folder: &Path) -> Vec<PathBuf> {
    let files = classes::list(folder, Split::Train).unwrap().files;
    (0..files.len()).map(|index| files.path(index)).collect()
}

pub(super) fn error(folder: &Path, split: Split, strict: bool) -> String {
    let error = load_at(folder, split, [3, 4, 4], strict).unwrap_err().to_string();
    assert!(!error.contains('\n'), "{error}");
    error
}

#[test]
fn splits_are_disjoint_and_complete() {
    let folder = folder(50);
    let (train, notes) = load_at(folder.path(), Split::Train, [3, 4, 4], true).unwrap();
    assert!(notes.is_empty());
    let (test, _) = load_at(folder.path(), Split::Test, [3, 4, 4], true).unwrap();
    assert_eq!(train.class_names, ["cat", "dog"]);
    assert_eq!(train.len() + test.len(), 100);
    assert!((8..=32).contains(&test.len()), "{}", test.len());
    for set in [train, test] {
        assert_eq!(set.pixels.len(), set.len() * 48);
        assert!(set.labels.is_sorted());
        for (index, &label) in set.labels.iter().enumerate() {
            let color = if label == 0 { [200, 0, 0] } else { [0, 0, 200] };
            assert!(set.image(index).chunks(3).all(|pixel| pixel == color), "image {index}");
        }
    }
}

#[test]
fn folders_of_splits_are_taken_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    fill(&folder.path().join("train"), 3);
    let error = error(folder.path(), Split::Test, false);
    assert!(error.contains("has a train/ with class folders, but neither test/ nor val/"), "{error}");
    fill(&folder.path().join("val"), 2);
    let counts = || [Split::Train, Split::Test].map(|s| load_at(folder.path(), s, [3, 4, 4], true).unwrap().0.len());
    assert_eq!(counts(), [6, 4]);
    fill(&folder.path().join("test"), 1);
    assert_eq!(counts(), [6, 2]);
    let spec: Spec = format!("folder:{}", folder.path().display()).parse().unwrap();
    assert_eq!(spec.classes().unwrap(), 2);

    fs::create_dir(folder.path().join("test/bird")).unwrap();
    let error = self::error(folder.path(), Split::Test, false);
    assert!(error.contains("test/bird: is no class of"), "{error}");
}

#[test]
fn the_centre_is_kept_and_scaled() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wide.png");
    // 4 black columns, 8x8 pixels that grow by 10 per column, 4 white columns.
    let level = |x: u32| {
        if x < 4 {
            0
        } else if x < 12 {
            50 + 10 * x as u8
        } else {
            255
        }
    };
    GrayImage::from_fn(16, 8, |x, _| ::image::Luma([level(x)])).save(&path).unwrap();
    let mut same = [0; 64];
    assert!(!decode(&path, [1, 8, 8], DEFAULT, &mut same).unwrap());
    assert_eq!(same[..8], [90, 100, 110, 120, 130, 140, 150, 160]);
    let mut half = [0; 48];
    assert!(!decode(&path, [3, 4, 4], DEFAULT, &mut half).unwrap());
    // Halving a ramp gives the means of pairs; the first and last see the window's edge.
    assert_eq!(half[3..9], [115, 115, 115, 135, 135, 135]);
    let mut tall = [0; 2 * 8];
    assert!(!decode(&path, [1, 8, 2], DEFAULT, &mut tall).unwrap());
    assert_eq!(tall[..2], [120, 130]);
    let mut large = [0; 256];
    assert!(decode(&path, [1, 16, 16], DEFAULT, &mut large).unwrap());
}

#[test]
fn transparency_and_depth_are_dropped_and_names_do_not_matter() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("picture");
    RgbaImage::from_pixel(2, 2, Rgba([10, 20, 30, 0])).save_with_format(&path, ::image::ImageFormat::Png).unwrap();
    let mut pixels = [0; 12];
    decode(&path, [3, 2, 2], DEFAULT, &mut pixels).unwrap();
    assert_eq!(pixels[..3], [10, 20, 30]);
    let deep = ::image::ImageBuffer::from_pixel(2, 2, ::image::Luma([0x8000_u16]));
    deep.save_with_format(&path, ::image::ImageFormat::Png).unwrap();
    decode(&path, [3, 2, 2], DEFAULT, &mut pixels).unwrap();
    assert_eq!(pixels, [128; 12]);
    let photo = RgbImage::from_pixel(16, 16, Rgb([250, 10, 10]));
    photo.save_with_format(&path, ::image::ImageFormat::Jpeg).unwrap();
    decode(&path, [3, 2, 2], DEFAULT, &mut pixels).unwrap();
    assert!(pixels[0] > 240 && pixels[1] < 20, "{pixels:?}");
}

#[test]
fn photographs_are_turned_upright() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("held_sideways.jpg");
    // Black on the left, white on the right.
    GrayImage::from_fn(16, 8, |x, _| ::image::Luma([if x < 8 { 0 } else { 255 }])).save(&path).unwrap();
    let plain = fs::read(&path).unwrap();
    // An EXIF segment of one entry: orientation (0x0112), one u16, 6: turn clockwise by a quarter.
    let tiff = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    let segment = [&[0xff, 0xe1, 0, 2 + 6 + tiff.len() as u8][..], b"Exif\0\0", tiff].concat();
    fs::write(&path, [&plain[..2], &segment, &plain[2..]].concat()).unwrap();
    let mut pixels = [0; 128];
    assert!(!decode(&path, [1, 16, 8], DEFAULT, &mut pixels).unwrap());
    assert!(pixels[..64].iter().all(|&p| p < 30) && pixels[64..].iter().all(|&p| p > 225), "{pixels:?}");
}

#[test]
fn what_cannot_be_read_is_skipped_and_named_or_refused() {
    let folder = folder(30);
    let (clean, _) = load_at(folder.path(), Split::Train, [3, 4, 4], true).unwrap();
    let train = paths(folder.path());
    let half = fs::read(&train[2]).unwrap();
    fs::write(&train[0], b"").unwrap();
    fs::write(&train[1], b"GIF89a, or what claims to be one").unwrap();
    fs::write(&train[2], &half[..half.len() / 2]).unwrap();
    let (set, notes) = load_at(folder.path(), Split::Train, [3, 4, 4], false).unwrap();
    assert_eq!(set.len(), clean.len() - 3);
    assert_eq!((set.pixels.as_slice(), set.labels.as_slice()), (&clean.pixels[3 * 48..], &clean.labels[3..]));
    let lines = notes.lines();
    assert_eq!(lines.len(), 1);
    assert!(lines[0].starts_with("skipped 3 files that cannot be read: "), "{}", lines[0]);
    assert!(train[..3].iter().all(|path| lines[0].contains(path.to_str().unwrap())), "{}", lines[0]);
    assert!(lines[0].contains("the file is empty") && lines[0].contains("neither a PNG nor a JPEG"), "{}", lines[0]);
    let error = error(folder.path(), Split::Train, true);
    assert!(error.contains(train[0].to_str().unwrap()) && error.contains("3 files cannot be read"), "{error}");
    let spec: Spec = format!("folder:{}", folder.path().display()).parse().unwrap();
    assert!(load(&spec, Split::Train).unwrap_err().to_string().contains("3 files cannot be read"));
}

#[test]
fn small_images_are_enlarged_and_counted_or_refused() {
    let folder = folder(10);
    let (set, notes) = load_at(folder.path(), Split::Train, [1, 8, 8], false).unwrap();
    assert_eq!(notes.enlarged.len(), set.len());
    assert!(notes.lines()[0].starts_with(&format!("enlarged {} images smaller", set.len())), "{:?}", notes.lines());
    let error = load_at(folder.path(), Split::Train, [1, 8, 8], true).unwrap_err().to_string();
    assert!(error.contains("smaller than 8x8 pixels") && error.contains(".png"), "{error}");
}

#[test]
fn errors_name_folder_and_fault() {
    let missing = error(Path::new("absent"), Split::Train, false);
    assert!(missing.contains("absent is not a folder: give the folder that holds"), "{missing}");
    let folder = tempfile::tempdir().unwrap();
    assert!(error(folder.path(), Split::Train, false).contains("has 0 class folders"));
    fill(folder.path(), 12);
    fs::create_dir(folder.path().join("emu")).unwrap();
    fs::write(folder.path().join("emu/.DS_Store"), b"x").unwrap();
    for split in [Split::Train, Split::Test] {
        let empty = error(folder.path(), split, false);
        assert!(empty.contains("emu: is a class without images"), "{empty}");
    }
    for i in 0..12 {
        fs::write(folder.path().join(format!("emu/{i}.png")), b"x").unwrap();
    }
    let damaged = error(folder.path(), Split::Train, false);
    assert!(damaged.contains("class `emu` has no training image that can be read"), "{damaged}");
    for dims in [[2, 4, 4], [3, 0, 4], [3, 4, 0]] {
        let wrong = load_at(folder.path(), Split::Train, dims, false).unwrap_err().to_string();
        assert!(wrong.contains("cannot be loaded at"), "{wrong}");
        assert!(crate::data::read_image(&folder.path().join("cat/0.png"), dims, &Preprocessing::default()).is_err());
    }
    let huge = load_at(folder.path(), Split::Train, [3, 65535, 65535], false).unwrap_err().to_string();
    assert!(huge.contains("smaller --input"), "{huge}");
}

#[test]
fn pictures_that_are_cut_short_are_not_read() {
    let folder = folder(6);
    let level = |x: u32, y: u32| (x * 7 + y * 3 + (x / 5 + y / 5) % 2 * 90) as u8;
    let photo = RgbImage::from_fn(61, 47, |x, y| Rgb([level(x, y), level(y, x), 99]));
    let path = folder.path().join("cat/photo");
    let decoded = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let mut pixels = [0; 48];
        decode(&path, [3, 4, 4], DEFAULT, &mut pixels).map(|_| pixels)
    };
    for format in [::image::ImageFormat::Jpeg, ::image::ImageFormat::Png] {
        photo.save_with_format(&path, format).unwrap();
        let whole = fs::read(&path).unwrap();
        let pixels = decoded(&whole).unwrap();
        // Of a PNG file, the checksum and the end may be missing; of a JPEG file, the end.
        let step = whole.len() / 37;
        for len in (1..whole.len() - 30).step_by(step).chain(whole.len() - 30..whole.len()) {
            match decoded(&whole[..len]) {
                Ok(seen) => assert!(seen == pixels && len + 20 > whole.len(), "{format:?}: {len} of {}", whole.len()),
                Err(reason) => assert!(!reason.contains('\n'), "{reason}"),
            }
        }
        if format == ::image::ImageFormat::Jpeg {
            assert!(decoded(&whole[..whole.len() / 50]).is_err());
            assert_eq!(decoded(&whole[..whole.len() - 2]).unwrap(), pixels);
            assert!(decoded(&whole[..whole.len() - 3]).unwrap_err().contains("cut short"));
        }
    }
    // In a set they are left out, counted and named; strictly, they are an error, and one by one they are.
    fs::remove_file(&path).unwrap();
    let names = paths(folder.path());
    photo.save_with_format(&names[0], ::image::ImageFormat::Jpeg).unwrap();
    let whole = fs::read(&names[0]).unwrap();
    fs::write(&names[0], &whole[..whole.len() * 9 / 10]).unwrap();
    let (_, notes) = load_at(folder.path(), Split::Train, [3, 4, 4], false).unwrap();
    assert_eq!(notes.skipped.len(), 1, "{:?}", notes.lines());
    assert!(notes.lines()[0].contains("cut short"), "{:?}", notes.lines());
    assert!(error(folder.path(), Split::Train, true).contains(names[0].to_str().unwrap()));
    assert!(
        crate::data::read_image(&names[0], [3, 4, 4], &Preprocessing::default())
            .unwrap_err()
            .to_string()
            .contains("cut short")
    );
}

#[test]
fn splits_in_any_spelling_are_no_classes() {
    let root = tempfile::tempdir().unwrap();
    for (index, [train, test]) in [
        ["Training", "Testing"],
        ["Train", "Test"],
        ["TRAIN", "VAL"],
        ["train", "validation"],
        ["training_set", "valid"],
    ]
    .into_iter()
    .enumerate()
    {
        let folder = root.path().join(index.to_string());
        fill(&folder.join(train), 3);
        fill(&folder.join(test), 2);
        let counts = [Split::Train, Split::Test].map(|split| load_at(&folder, split, [3, 4, 4], true).unwrap().0.len());
        assert_eq!(counts, [6, 4], "{train} {test}");
        fs::create_dir_all(folder.join("annotations")).unwrap();
        fs::write(folder.join("annotations/all.xml"), "x").unwrap();
        assert!(load_at(&folder, Split::Test, [3, 4, 4], true).is_ok());
        fill(&folder.join("more"), 1);
        let mixed = error(&folder, Split::Train, false);
        assert!(mixed.contains(train) && mixed.contains("more/") && mixed.contains("splits"), "{mixed}");
    }
    let twice = root.path().join("twice");
    fill(&twice.join("Train"), 1);
    fill(&twice.join("training"), 1);
    assert!(error(&twice, Split::Train, false).contains("Train/ and training/ name the same split"));
    // A split beside classes, and splits without classes, as unlabelled images come.
    let beside = root.path().join("beside");
    fill(&beside, 3);
    fs::create_dir_all(beside.join("Test")).unwrap();
    fs::copy(beside.join("cat/0.png"), beside.join("Test/0.png")).unwrap();
    let error_beside = error(&beside, Split::Train, false);
    assert!(error_beside.contains("Test/") && error_beside.contains("cat/, dog/"), "{error_beside}");
    let flat = root.path().join("flat");
    for split in ["train", "test"] {
        fs::create_dir_all(flat.join(split)).unwrap();
        fs::copy(beside.join("cat/0.png"), flat.join(split).join("cat.0.png")).unwrap();
    }
    assert!(error(&flat, Split::Train, false).contains("holds no class folders"));
}

#[test]
fn a_class_with_one_image_is_named() {
    let folder = folder(40);
    for (file, split) in [("1.png", Split::Test), ("0.png", Split::Train)] {
        // Names that decide so: see `the_split_of_a_name_never_changes`.
        let path = folder.path().join("one");
        fs::create_dir_all(&path).unwrap();
        let name = (0..)
            .map(|i| format!("{i}.png"))
            .find(|name| listing::is_test(&format!("one/{name}")) == (split == Split::Test));
        fs::copy(folder.path().join("cat").join(file), path.join(name.unwrap())).unwrap();
        if split == Split::Test {
            let error = error(folder.path(), Split::Train, false);
            assert!(error.contains("class `one` has no training image, since its one image is for testing"), "{error}");
        } else {
            let (set, notes) = load_at(folder.path(), Split::Test, [3, 4, 4], true).unwrap();
            assert!(set.labels.iter().all(|&label| label < 2));
            assert!(notes.lines()[0].contains("`one` (of 1 file)"), "{:?}", notes.lines());
        }
        fs::remove_dir_all(path).unwrap();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_class_folder_has_a_name_in_utf_8() {
    use std::os::unix::ffi::OsStrExt;
    let folder = folder(10);
    fs::create_dir(folder.path().join(std::ffi::OsStr::from_bytes(b"caf\xe9"))).unwrap();
    for split in [Split::Train, Split::Test] {
        let error = error(folder.path(), split, false);
        assert!(error.contains("not UTF-8") && error.contains("rename"), "{error}");
    }
}

#[test]
fn pointers_of_git_lfs_are_named() {
    let folder = folder(10);
    let pointer = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 12345\n", "0".repeat(64));
    for i in 0..10 {
        fs::write(folder.path().join(format!("cat/{i}.png")), &pointer).unwrap();
    }
    let error = error(folder.path(), Split::Train, false);
    assert!(
        error.contains("class `cat` has no training image that can be read") && error.contains("git lfs pull"),
        "{error}"
    );
}

#[test]
fn what_has_no_room_is_decoded_when_it_is_asked_for() {
    let folder = folder(30);
    for (index, path) in paths(folder.path()).iter().enumerate() {
        RgbImage::from_pixel(9, 5, Rgb([index as u8, 0, 1])).save(path).unwrap();
    }
    let paths = paths(folder.path());
    fs::write(&paths[3], b"no picture").unwrap();
    let (memory, notes) = load_at(folder.path(), Split::Train, [3, 4, 4], false).unwrap();
    let spec: Spec = format!("folder:{}", folder.path().display()).parse().unwrap();
    let options = Options { dims: Some([3, 4, 4]), ..Options::default() };
    let mut seen = Vec::new();
    for images in [0, 1, 7, 1000] {
        let cache = 48 * images + 47;
        let progress = &mut |done, all| seen.push((done, all));
        let (set, streamed) = data::open(&spec, Split::Train, &options, cache, progress).unwrap();
        assert_eq!((set.kept(), &streamed), (images.min(memory.len()), &notes));
        assert_eq!(set.labels, memory.labels);
        (0..set.len()).for_each(|index| assert_eq!(set.read(index).unwrap(), memory.image(index), "{index}"));
        let part = set.clone().part(2..9).into_dataset().unwrap();
        assert_eq!((part.pixels.as_slice(), &part.labels[..]), (&memory.pixels[2 * 48..9 * 48], &memory.labels[2..9]));
        assert_eq!(set.into_dataset().unwrap().pixels, memory.pixels);
    }
    assert_eq!(seen, [(paths.len(), paths.len()); 4]);
    // A file that changes while it is in use.
    let (set, _) = data::open(&spec, Split::Train, &options, 0, &mut |_, _| {}).unwrap();
    fs::remove_file(&paths[5]).unwrap();
    let error = set.gather(&[3, 4, 5]).unwrap_err().to_string();
    assert!(error.starts_with(paths[5].to_str().unwrap()) && error.contains("leave the files in place"), "{error}");
}
