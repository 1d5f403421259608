//! One file, one image: the host's loader and that of the Raspberry Pi's program make the same bytes of it.

#[path = "../../firmware-examples/raspberry-pi/src/image.rs"]
mod device;

use skipstone::data::{self, Split};
use skipstone::pack::{AlignedBytes, Options, quantize};
use skipstone::zoo;
use skipstone_onnx::{ChannelOrder, Filter, Fit, Normalization, Preprocessing};
use skipstone_runtime::Model;
use skipstone_tests::pictures::{BLACK_AND_WHITE, PALETTE, write_all};

/// A packed network without training that takes images of `dims`.
fn model(dims: [usize; 3], preprocessing: Preprocessing) -> AlignedBytes {
    let options = zoo::Options { input: Some(dims), classes: Some(3), seed: 1, ..zoo::Options::default() };
    let mut graph = zoo::build("resnet8", &options).unwrap();
    let channels = dims[0];
    graph.metadata.normalization = Some(Normalization { mean: vec![0.5; channels], std: vec![0.25; channels] });
    graph.metadata.preprocessing = preprocessing;
    let count = dims.iter().product::<usize>();
    let images = data::Dataset {
        dims,
        pixels: (0..count).map(|index| (index * 37 % 251) as u8).collect(),
        labels: vec![0],
        class_names: vec![String::new(); 3],
    };
    AlignedBytes::copy(&quantize(&graph, &images, &Options::default()).unwrap().stone)
}

#[test]
fn the_device_makes_the_pixels_of_the_host() {
    let folder = tempfile::tempdir().unwrap();
    let class = folder.path().join("test/class");
    let pictures = write_all(&class);
    std::fs::create_dir_all(folder.path().join("test/other")).unwrap();
    std::fs::copy(&pictures[0], folder.path().join("test/other/0.png")).unwrap();
    assert!(pictures.len() >= 20, "{pictures:?}");
    let spec = format!("folder:{}", folder.path().display()).parse().unwrap();
    let (bilinear, bgr) = (Filter::Bilinear, ChannelOrder::Bgr);
    let default = Preprocessing::default();
    let cases = [
        ([3, 16, 16], default),
        ([1, 16, 20], default),
        ([3, 24, 12], Preprocessing { channels: bgr, ..default }),
        ([3, 16, 20], Preprocessing { fit: Fit::Stretch, filter: bilinear, ..default }),
        ([1, 16, 16], Preprocessing { fit: Fit::Resize(19), filter: bilinear, ..default }),
        ([3, 16, 16], Preprocessing { fit: Fit::Resize(18), channels: bgr, ..default }),
    ];
    let mut seen = Vec::new();
    for (dims, preprocessing) in cases {
        let stone = model(dims, preprocessing);
        let model = Model::from_bytes(stone.as_slice()).unwrap();
        let options = data::Options { dims: Some(dims), preprocessing, ..data::Options::default() };
        let (set, notes) = data::load_with(&spec, Split::Test, &options).unwrap();
        assert!(notes.skipped.is_empty(), "{notes:?}");
        for (index, path) in pictures.iter().enumerate() {
            let host = data::read_image(path, dims, &preprocessing).unwrap();
            assert_eq!(
                device::read(path, &model).unwrap(),
                std::slice::from_ref(&host),
                "{} {preprocessing}",
                path.display()
            );
            assert_eq!(set.image(index), host, "{} {preprocessing}", path.display());
            seen.push(host);
        }
    }
    // Images that differ stay different.
    let count = seen.len();
    seen.sort();
    seen.dedup();
    assert!(seen.len() > count / 2, "{} of {count}", seen.len());
}

#[test]
fn files_of_known_pixels_are_read_right() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.png");
    let (color, grey) = (model([3, 12, 18], Preprocessing::default()), model([1, 12, 18], Preprocessing::default()));
    for (file, colors, greys) in [
        (
            PALETTE,
            [[255, 0, 0], [0, 255, 0], [0, 0, 255], [10, 20, 30], [0, 0, 255], [0, 255, 0]],
            [76, 150, 29, 18, 29, 150],
        ),
        (BLACK_AND_WHITE, [[0; 3], [255; 3], [255; 3], [255; 3], [0; 3], [255; 3]], [0, 255, 255, 255, 0, 255]),
    ] {
        std::fs::write(&path, file).unwrap();
        let read = |dims| data::read_image(&path, dims, &Preprocessing::default()).unwrap();
        assert_eq!(read([3, 2, 3]), colors.concat());
        assert_eq!(read([1, 2, 3]), greys);
        for (stone, dims) in [(&color, [3, 12, 18]), (&grey, [1, 12, 18])] {
            let model = Model::from_bytes(stone.as_slice()).unwrap();
            assert_eq!(device::read(&path, &model).unwrap(), [read(dims)]);
        }
    }
    std::fs::write(&path, &PALETTE[..60]).unwrap();
    let model = Model::from_bytes(color.as_slice()).unwrap();
    let host = data::read_image(&path, [3, 12, 18], &Preprocessing::default()).unwrap_err().to_string();
    assert!(host.ends_with(&device::read(&path, &model).unwrap_err()), "{host}");
}

#[test]
fn a_file_of_test_images_is_taken_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("images.bin");
    let bgr = Preprocessing { channels: ChannelOrder::Bgr, fit: Fit::Resize(30), ..Preprocessing::default() };
    let stone = model([3, 12, 18], bgr);
    let model = Model::from_bytes(stone.as_slice()).unwrap();
    let pixels: Vec<u8> = (0..2 * 3 * 12 * 18).map(|index| (index % 256) as u8).collect();
    let mut file = b"SKIPIMGS\x02\0\0\0\x0c\0\x12\0\x03\0\0\0".to_vec();
    file.extend(&pixels);
    file.extend([0; 4]);
    std::fs::write(&path, &file).unwrap();
    let [first, second] = [&pixels[..648], &pixels[648..]];
    assert_eq!(device::read(&path, &model).unwrap(), [first, second]);
    std::fs::write(&path, &file[..file.len() - 1]).unwrap();
    assert!(device::read(&path, &model).unwrap_err().contains("do not hold 2 images"));
    file[12] = 13;
    std::fs::write(&path, &file).unwrap();
    assert_eq!(device::read(&path, &model).unwrap_err(), "images of 3x13x18 where the model takes 3x12x18");
}
