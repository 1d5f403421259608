//! Archives in the place of folders.

use super::tests::{error, folder, load_at};
use super::*;
use crate::data::Options;
use ::image::{Rgb, RgbImage};
use std::fs;

/// A tar archive of these files.
fn archive(path: &Path, files: &[(&str, &[u8])]) {
    let mut archive = tar::Builder::new(fs::File::create(path).unwrap());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, *bytes).unwrap();
    }
    archive.finish().unwrap();
}

fn png(color: [u8; 3]) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    RgbImage::from_pixel(8, 6, Rgb(color)).write_to(&mut bytes, ::image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

#[test]
fn an_archive_is_what_its_folder_was() {
    let there = folder(50);
    fs::write(there.path().join("dog/notes.txt"), "no image").unwrap();
    let packed = tempfile::tempdir().unwrap();
    let (whole, shards) = (packed.path().join("photos.tar"), packed.path().join("shards"));
    fs::create_dir(&shards).unwrap();
    // One archive with a folder around the classes, as `tar cf photos.tar photos` makes it; two shards without.
    let mut builder = tar::Builder::new(fs::File::create(&whole).unwrap());
    builder.append_dir_all("photos", there.path()).unwrap();
    builder.finish().unwrap();
    for class in ["cat", "dog"] {
        let mut builder = tar::Builder::new(fs::File::create(shards.join(format!("{class}.tar"))).unwrap());
        builder.append_dir_all(format!("./{class}"), there.path().join(class)).unwrap();
        builder.finish().unwrap();
    }
    for split in [Split::Train, Split::Test] {
        let (expected, notes) = load_at(there.path(), split, [3, 4, 4], false).unwrap();
        for path in [&whole, &shards] {
            let (found, its) = load_at(path, split, [3, 4, 4], false).unwrap();
            assert_eq!((&found.class_names, &found.labels), (&expected.class_names, &expected.labels), "{path:?}");
            assert!(found.pixels == expected.pixels, "{path:?}");
            assert_eq!(its.skipped.named().len(), notes.skipped.named().len());
        }
    }
    // Only a part of the pixels is kept; the others are read from the archive when they are asked for.
    let options = Options::default();
    let (set, files, _) = open(&whole, Split::Train, [3, 4, 4], &options, 48 * 10, &mut |_, _| ()).unwrap();
    assert_eq!((set.pixels.len(), files.len()), (480, set.len() - 10));
    let mut pixels = vec![0; 48];
    files.read(files.len() - 1, [3, 4, 4], &mut pixels).unwrap();
    assert!(pixels.chunks(3).all(|pixel| pixel == [0, 0, 200]));
}

#[test]
fn archives_name_their_splits() {
    let packed = tempfile::tempdir().unwrap();
    let (red, blue) = (png([200, 0, 0]), png([0, 0, 200]));
    let inside = packed.path().join("inside.tar");
    archive(
        &inside,
        &[("p/train/cat/1.png", &red), ("p/train/dog/1.png", &blue), ("p/val/dog/2.png", &blue), ("p/README", b"text")],
    );
    let shards = packed.path().join("shards");
    fs::create_dir(&shards).unwrap();
    archive(&shards.join("train-000.tar"), &[("cat/1.png", &red), ("stray.png", &red)]);
    archive(&shards.join("train-001.tar"), &[("dog/1.png", &blue)]);
    archive(&shards.join("test-000.tar"), &[("dog/2.png", &blue)]);
    for path in [&inside, &shards] {
        let sizes = [Split::Train, Split::Test].map(|split| load_at(path, split, [3, 4, 4], true).unwrap().0.labels);
        assert_eq!(sizes, [vec![0, 1], vec![1]], "{path:?}");
    }
    archive(&shards.join("more.tar"), &[("dog/2.png", &blue)]);
    assert!(error(&shards, Split::Train, false).contains("more.tar: is called after no split"));
    fs::remove_file(shards.join("more.tar")).unwrap();
    archive(&shards.join("test-001.tar"), &[("bird/2.png", &blue)]);
    let found = error(&shards, Split::Test, false);
    assert!(found.contains("test-001.tar: bird/2.png is of class `bird`, which"), "{found}");
}

#[test]
fn of_files_with_the_same_path_the_last_one_counts() {
    let packed = tempfile::tempdir().unwrap();
    let path = packed.path().join("train.tar");
    let (red, blue) = (png([200, 0, 0]), png([0, 0, 200]));
    archive(&path, &[("cat/1.png", &blue), ("dog/1.png", &blue), ("cat/1.png", &red)]);
    let (set, _) = load_at(&path, Split::Train, [3, 4, 4], true).unwrap();
    assert_eq!(set.labels, [0, 1]);
    assert!(set.pixels[..48].chunks(3).all(|pixel| pixel == [200, 0, 0]), "{:?}", &set.pixels[..48]);
}

#[test]
fn archives_of_webdataset_have_a_class_for_each_key() {
    let packed = tempfile::tempdir().unwrap();
    let (red, blue) = (png([200, 0, 0]), png([0, 0, 200]));
    let path = packed.path().join("train-0.tar");
    archive(
        &path,
        &[("a/7.png", &red), ("a/7.cls", b"10\n"), ("a/8.json", b"{}"), ("a/8.png", &blue), ("a/8.cls", b"9")],
    );
    let (set, _) = load_at(&path, Split::Train, [3, 4, 4], true).unwrap();
    assert_eq!((set.class_names, set.labels), (vec!["9".to_owned(), "10".into()], vec![0, 1]));
    assert_eq!(set.pixels[..3], [0, 0, 200]);
    archive(&path, &[("7.png", &red), ("7.cls", b"10"), ("8.png", &blue)]);
    let found = error(&path, Split::Train, false);
    assert!(found.contains("8.png has no class: 8.cls is missing or empty"), "{found}");
}

#[test]
fn archives_that_cannot_be_read_say_why() {
    let packed = tempfile::tempdir().unwrap();
    let (path, red) = (packed.path().join("photos.tar"), png([200, 0, 0]));
    archive(&path, &[("cat/1.png", &red), ("cat/2.png", &red), ("dog/1.png", &red)]);
    let whole = fs::read(&path).unwrap();
    // The end of the last file, and the whole of its header.
    for (len, reason) in [(whole.len() - 1024 - 512, "cut short"), (512 + 100, "photos.tar")] {
        fs::write(&path, &whole[..len]).unwrap();
        let found = error(&path, Split::Train, false);
        assert!(found.contains(reason) && found.contains("photos.tar"), "{found}");
    }
    fs::write(&path, b"no archive at all").unwrap();
    error(&path, Split::Train, false);
    archive(&path, &[("cat/1.png", &red)]);
    assert!(error(&path, Split::Train, false).contains("holds images of 1 classes"));
    let packed = packed.path().join("photos.tar.gz");
    fs::write(&packed, b"\x1f\x8b").unwrap();
    assert!(error(&packed, Split::Train, false).contains("is compressed"));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
    #[test]
    fn damaged_archives_are_lists_or_errors(
        changes in proptest::collection::vec((0usize..1 << 14, proptest::prelude::any::<u8>()), 0..24),
        len in 0usize..1 << 14,
    ) {
        let packed = tempfile::tempdir().unwrap();
        let (path, red) = (packed.path().join("photos.tar"), png([200, 0, 0]));
        archive(&path, &[("cat/1.png", &red), ("dog/1.png", &red), ("dog/1.cls", b"dog"), ("dog/2.png", &red)]);
        let mut bytes = fs::read(&path).unwrap();
        for (at, value) in changes {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        bytes.truncate(len.max(512));
        fs::write(&path, &bytes).unwrap();
        // A panic would fail; what is listed are images that were packed.
        if let Ok((set, _)) = load_at(&path, Split::Train, [3, 4, 4], false) {
            proptest::prop_assert!(set.len() <= 3 && set.pixels.len() == 48 * set.len());
        }
    }
}
