//! The whole of an augmentation, and its operations against those of timm and Pillow.

use super::*;

fn set() -> Dataset {
    let pixels = (1..=2 * 12).collect();
    Dataset { dims: [1, 3, 4], pixels, labels: vec![0, 1], class_names: vec!["a".into(), "b".into()] }
}

fn identity() -> Normalization {
    Normalization { mean: vec![0.0], std: vec![1.0 / 255.0] }
}

fn everything() -> Augmentation {
    Augmentation {
        crop_padding: 1,
        flip: true,
        reflect: false,
        alternating_flip: false,
        cutout: 2,
        resized_crop: Some(ResizedCrop::IMAGENET),
        rand_augment: Some(RandAugment::of(7.0)),
    }
}

#[test]
fn without_augmentation_equals_the_plain_batch() {
    let plain = set().batch(&[1, 0], &identity());
    assert_eq!(Augmentation::NONE.batch(&set(), &[1, 0], &identity(), 7, 3), plain);
}

#[test]
fn every_shift_and_mirror_occurs_and_is_right() {
    let set = set();
    let augmentation = Augmentation { crop_padding: 1, flip: true, ..Augmentation::NONE };
    let at = |row: i32, column: i32| {
        let inside = (0..3).contains(&row) && (0..4).contains(&column);
        if inside { f32::from(set.image(1)[(row * 4 + column) as usize]) } else { 0.0 }
    };
    let mut seen = [[[0; 2]; 3]; 3];
    for epoch in 0..300 {
        let batch = augmentation.batch(&set, &[1], &identity(), 1, epoch);
        let matches = |down: i32, right: i32, mirrored: bool| {
            (0..12).all(|i| {
                let (row, column) = (i / 4, if mirrored { 3 - i % 4 } else { i % 4 });
                (batch.data()[i as usize] - at(row + down, column + right)).abs() < 1e-3
            })
        };
        let mut found = 0;
        for (down, seen) in (-1..=1).zip(&mut seen) {
            for (right, seen) in (-1..=1).zip(seen) {
                for (mirrored, seen) in [false, true].into_iter().zip(seen) {
                    let same = matches(down, right, mirrored);
                    *seen += usize::from(same);
                    found += usize::from(same);
                }
            }
        }
        assert_eq!(found, 1, "epoch {epoch}");
    }
    assert!(seen.iter().flatten().flatten().all(|&count| count > 4), "{seen:?}");
}

#[test]
fn an_alternating_flip_shows_the_other_side_in_each_epoch() {
    let pixels: Vec<u8> = (0..64).flat_map(|_| [1, 2, 3]).collect();
    let set = Dataset { dims: [1, 1, 3], pixels, labels: vec![0; 64], class_names: vec!["a".into()] };
    let augmentation = Augmentation { flip: true, alternating_flip: true, crop_padding: 0, ..Augmentation::NONE };
    let all: Vec<usize> = (0..64).collect();
    let mirrored = |seed, epoch| -> Vec<bool> {
        let batch = augmentation.batch(&set, &all, &identity(), seed, epoch);
        batch.data().chunks_exact(3).map(|image| image[0] > 2.0).collect()
    };
    let first = mirrored(1, 0);
    let count = first.iter().filter(|&&mirrored| mirrored).count();
    assert!((16..=48).contains(&count), "{count}");
    let other: Vec<bool> = first.iter().map(|mirrored| !mirrored).collect();
    for epoch in 1..6 {
        assert_eq!(mirrored(1, epoch), if epoch % 2 == 0 { first.clone() } else { other.clone() }, "{epoch}");
    }
    assert_ne!(mirrored(2, 0), first);
}

#[test]
fn changes_depend_on_the_sample_not_on_its_place() {
    let both = everything().batch(&set(), &[0, 1], &identity(), 5, 2);
    let swapped = everything().batch(&set(), &[1, 0], &identity(), 5, 2);
    assert_eq!((both.image(0), both.image(1)), (swapped.image(1), swapped.image(0)));
    let again: Vec<Tensor> =
        (0..8).map(|repeat| everything().batch(&set(), &[Sample { index: 0, repeat }], &identity(), 5, 2)).collect();
    assert_eq!(again[0].image(0), both.image(0));
    assert!(again[1..].iter().any(|other| other != &again[0]));
}

#[test]
fn what_is_cut_out_takes_the_mean() {
    let normalization = Normalization { mean: vec![100.0 / 255.0], std: vec![0.5] };
    let augmentation = Augmentation { cutout: 2, ..Augmentation::NONE };
    let set = set();
    for epoch in 0..20 {
        let batch = augmentation.batch(&set, &[0], &normalization, 1, epoch);
        let plain = set.batch(&[0], &normalization);
        let changed: Vec<f32> =
            batch.data().iter().zip(plain.data()).filter(|(a, b)| a != b).map(|(a, _)| *a).collect();
        assert!((1..=4).contains(&changed.len()) && changed.iter().all(|x| x.abs() < 1e-6), "{changed:?}");
    }
}

#[test]
fn settings_round_trip_as_toml_and_are_checked() {
    for augmentation in [Augmentation::NONE, everything()] {
        augmentation.check().unwrap();
        let text = toml::to_string(&augmentation).unwrap();
        assert_eq!(toml::from_str::<Augmentation>(&text).unwrap(), augmentation);
    }
    let before: Augmentation = toml::from_str("crop_padding = 4\nflip = true").unwrap();
    assert_eq!(before, Augmentation { crop_padding: 4, flip: true, ..Augmentation::NONE });
    let wrong = [
        Augmentation { crop_padding: 1 << 20, ..everything() },
        Augmentation { resized_crop: Some(ResizedCrop { scale: [0.0, 1.0], ..ResizedCrop::MILD }), ..everything() },
        Augmentation {
            resized_crop: Some(ResizedCrop { scale: [0.5, f64::NAN], ..ResizedCrop::MILD }),
            ..everything()
        },
        Augmentation { resized_crop: Some(ResizedCrop { ratio: [2.0, 1.0], ..ResizedCrop::MILD }), ..everything() },
        Augmentation { rand_augment: Some(RandAugment::of(10.5)), ..everything() },
        Augmentation { rand_augment: Some(RandAugment { deviation: -0.1, ..RandAugment::of(7.0) }), ..everything() },
    ];
    for augmentation in wrong {
        let error = augmentation.check().unwrap_err().to_string();
        assert!(error.starts_with('`') && error.contains("must be"), "{error}");
    }
}
