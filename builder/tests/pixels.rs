//! What becomes of pixels and tensors on their way into a network of others, float and packed.

use serde_json::Value;
use skipstone_onnx::proto::{
    AttributeProto, DataType, Dim, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto,
};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const SIDE: usize = 8;
const MEAN: [f32; 3] = [90.0, 120.0, 140.0];
const STD: [f32; 3] = [60.0, 50.0, 70.0];

fn skipstone(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_skipstone")).args(arguments).output().expect("the program starts")
}

fn works(arguments: &[&str]) -> Value {
    let output = skipstone(&[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Runs a command that must fail with `code` and one line; gives the line.
fn fails(arguments: &[&str], code: i32) -> String {
    let output = skipstone(arguments);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), errors.lines().count()), (Some(code), 1), "{arguments:?}: {errors}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
    errors
}

/// A network as exporters of Keras write them: an image `[N, H, W, C]` of pixels 0..255, normalized inside, and softmax
/// at the end. `reversed` takes its channels in the opposite order; `gain` multiplies the weights.
fn network(reversed: bool, gain: f32) -> Vec<u8> {
    let order = |channel: usize| if reversed { 2 - channel } else { channel };
    let per_channel = |values: [f32; 3]| [0, 1, 2].map(|channel| values[order(channel)]);
    let mut weights = vec![0.0; 4 * 3 * 9];
    for (index, weight) in weights.iter_mut().enumerate() {
        let (output, channel, tap) = (index / 27, order(index / 9 % 3), index % 9);
        *weight = gain * (((output * 31 + channel * 17 + tap * 7) % 23) as f32 / 23.0 - 0.4) / 3.0;
    }
    let linear: Vec<f32> = (0..12).map(|index| (index * 5 % 11) as f32 / 5.0 - 1.0).collect();
    let node =
        |op: &str, inputs: &[&str], output: &str, attributes| NodeProto::new(op, output, inputs, &[output], attributes);
    let image = [Dim::Symbol("N"), Dim::Fixed(SIDE), Dim::Fixed(SIDE), Dim::Fixed(3)];
    let graph = GraphProto {
        name: "others".into(),
        input: vec![ValueInfoProto::tensor("image", DataType::Float, &image)],
        output: vec![ValueInfoProto::tensor("classes", DataType::Float, &[Dim::Symbol("N"), Dim::Fixed(3)])],
        initializer: vec![
            TensorProto::f32("mean", &[3], &per_channel(MEAN)),
            TensorProto::f32("std", &[3], &per_channel(STD)),
            TensorProto::f32("weight", &[4, 3, 3, 3], &weights),
            TensorProto::f32("linear", &[4, 3], &linear),
            TensorProto::f32("bias", &[3], &[0.1, -0.2, 0.1]),
        ],
        node: vec![
            node("Sub", &["image", "mean"], "centred", vec![]),
            node("Div", &["centred", "std"], "normal", vec![]),
            node("Transpose", &["normal"], "planes", vec![AttributeProto::ints("perm", &[0, 3, 1, 2])]),
            node("Conv", &["planes", "weight"], "conv", vec![AttributeProto::ints("pads", &[1; 4])]),
            node("Relu", &["conv"], "relu", vec![]),
            node("GlobalAveragePool", &["relu"], "pool", vec![]),
            node("Flatten", &["pool"], "flat", vec![]),
            node("Gemm", &["flat", "linear", "bias"], "scores", vec![]),
            node("Softmax", &["scores"], "classes", vec![]),
        ],
        ..GraphProto::default()
    };
    ModelProto::new(graph, 17).to_bytes()
}

/// [`network`] with an input of uint8.
fn network_of_bytes() -> Vec<u8> {
    let mut model = ModelProto::from_bytes(&network(false, 1.0)).unwrap();
    let graph = model.graph.as_mut().unwrap();
    let image = [Dim::Symbol("N"), Dim::Fixed(SIDE), Dim::Fixed(SIDE), Dim::Fixed(3)];
    graph.input = vec![ValueInfoProto::tensor("bytes", DataType::Uint8, &image)];
    let to_float = AttributeProto::int("to", DataType::Float as i64);
    graph.node.insert(0, NodeProto::new("Cast", "image", &["bytes"], &["image"], vec![to_float]));
    model.to_bytes()
}

/// A folder with a data set of three classes, and files that tests write.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for split in ["train", "test"] {
            for class in 0..3u32 {
                let path = folder.0.path().join("data").join(split).join(format!("class{class}"));
                std::fs::create_dir_all(&path).unwrap();
                for (index, (width, height)) in (0..).zip([(21, 16), (8, 8), (8, 8), (30, 30)]) {
                    picture(width, height, class * 10 + index).save(path.join(format!("{index}.png"))).unwrap();
                }
            }
        }
        folder
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, bytes: &[u8]) -> String {
        std::fs::write(self.0.path().join(name), bytes).unwrap();
        self.path(name)
    }

    fn data(&self) -> String {
        format!("folder:{}", self.path("data"))
    }

    /// Packs a network; `flags` say how it takes pixels.
    fn quantize(&self, model: &str, flags: &[&str]) -> String {
        let stone = PathBuf::from(model).with_extension("stone").to_str().unwrap().to_owned();
        let data = self.data();
        works(&[&["quantize", model, "--calib", &data, "-o", &stone], flags].concat());
        stone
    }

    /// What `run` writes for images.
    fn scores(&self, model: &str, images: &[&str], flags: &[&str]) -> Vec<f32> {
        let output = self.path("y.npy");
        works(&[&["run", model, "--output", &output], images, flags].concat());
        elements(Path::new(&output))
    }

    /// What `run` writes for a tensor.
    fn scores_of(&self, model: &str, tensor: &str) -> Vec<f32> {
        let output = self.path("y.npy");
        works(&["run", model, "--input", tensor, "--output", &output]);
        elements(Path::new(&output))
    }
}

fn picture(width: u32, height: u32, seed: u32) -> image::RgbImage {
    image::RgbImage::from_fn(width, height, |x, y| {
        let wave = |channel: u32| {
            let phase = ((x * (seed % 5 + 1) + y * (channel + 2) + seed * 13) as f32) / 9.0;
            (127.5 + 90.0 * phase.sin() + (seed * (channel + 3) * 7 % 37) as f32) as u8
        };
        image::Rgb([wave(0), wave(1), wave(2)])
    })
}

/// A .npy file.
fn npy(kind: &str, dims: &[usize], data: &[u8]) -> Vec<u8> {
    let dims: String = dims.iter().map(|dim| format!("{dim}, ")).collect();
    let mut bytes = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
    bytes.extend(format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({dims}), }}").bytes());
    bytes.resize(127, b' ');
    bytes.push(b'\n');
    bytes.extend(data);
    bytes
}

/// The float32 elements of a file with a header of 128 bytes.
fn elements(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).unwrap();
    bytes[128..].chunks_exact(4).map(|raw| f32::from_le_bytes(raw.try_into().unwrap())).collect()
}

fn float_bytes(values: impl IntoIterator<Item = f32>) -> Vec<u8> {
    values.into_iter().flat_map(f32::to_le_bytes).collect()
}

fn assert_near(a: &[f32], b: &[f32], tolerance: f32) {
    assert_eq!(a.len(), b.len());
    assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() <= tolerance), "{a:?} {b:?}");
}

#[test]
fn a_packed_network_takes_and_gives_what_its_file_does() {
    let folder = Folder::new();
    let model = folder.write("m.onnx", &network(false, 1.0));
    let stone = folder.quantize(&model, &["--raw"]);
    let (a, b) = (folder.path("a.png"), folder.path("b.png"));
    let pictures = [picture(8, 8, 4), picture(8, 8, 25)];
    pictures[0].save(&a).unwrap();
    pictures[1].save(&b).unwrap();
    let pixels = || pictures.iter().flat_map(|picture| picture.as_raw()).map(|&pixel| f32::from(pixel));
    let tensor = folder.write("x.npy", &npy("<f4", &[2, SIDE, SIDE, 3], &float_bytes(pixels())));

    let of_images = folder.scores(&model, &[&a, &b], &["--raw"]);
    assert_near(&of_images, &folder.scores_of(&model, &tensor), 1e-6);
    assert!((of_images.iter().sum::<f32>() - 2.0).abs() < 1e-5 && of_images.len() == 6, "{of_images:?}");
    let packed = folder.scores(&stone, &[&a, &b], &[]);
    // The same int8 image by either way.
    assert_eq!(packed, folder.scores_of(&stone, &tensor));
    assert_near(&packed, &of_images, 0.04);
    // Not what it makes of another tensor.
    let other = folder.write("o.npy", &npy("<f4", &[2, SIDE, SIDE, 3], &float_bytes(pixels().map(|x| x / 255.0))));
    let difference = folder.scores_of(&model, &other)[0] - of_images[0];
    assert!(difference.abs() > 0.05, "{difference}");
    assert_near(&folder.scores_of(&stone, &other), &folder.scores_of(&model, &other), 0.04);

    let planes = folder.write("p.npy", &npy("<f4", &[2, 3, SIDE, SIDE], &float_bytes(pixels())));
    let bytes: Vec<u8> = pictures.iter().flat_map(|picture| picture.as_raw()).copied().collect();
    let bytes = folder.write("u.npy", &npy("|u1", &[2, SIDE, SIDE, 3], &bytes));
    let y = folder.path("y.npy");
    for model in [&model, &stone] {
        let error = fails(&["run", model, "--input", &planes, "--output", &y], 1);
        assert!(error.contains("p.npy") && error.contains("[N, H, W, C]"), "{error}");
        let error = fails(&["run", model, "--input", &bytes, "--output", &y], 1);
        assert!(error.contains("holds uint8, the network takes float32"), "{error}");
    }

    let model = folder.write("bytes.onnx", &network_of_bytes());
    let stone = folder.quantize(&model, &[]);
    assert_near(&folder.scores_of(&model, &bytes), &of_images, 1e-5);
    assert_eq!(folder.scores_of(&stone, &bytes), packed);
    assert_eq!(folder.scores_of(&stone, &tensor), packed);
}

#[test]
fn the_order_of_the_channels_and_the_frame_are_the_models() {
    let folder = Folder::new();
    let rgb = folder.write("rgb.onnx", &network(false, 1.0));
    let bgr = folder.write("bgr.onnx", &network(true, 1.0));
    let (photo, small) = (folder.path("photo.png"), folder.path("small.png"));
    picture(40, 30, 3).save(&photo).unwrap();
    picture(8, 8, 3).save(&small).unwrap();
    for flags in [&["--raw"][..], &["--raw", "--resize", "12"], &["--raw", "--fit", "stretch", "--filter", "bilinear"]]
    {
        let reversed = [flags, &["--channels", "bgr"]].concat();
        let expected = folder.scores(&rgb, &[&photo, &small], flags);
        assert_near(&folder.scores(&bgr, &[&photo, &small], &reversed), &expected, 1e-5);
        let [of_rgb, of_bgr] = [folder.quantize(&rgb, flags), folder.quantize(&bgr, &reversed)];
        for stone in [of_rgb, of_bgr] {
            assert_near(&folder.scores(&stone, &[&photo, &small], &[]), &expected, 0.04);
            let shown = String::from_utf8(skipstone(&["inspect", &stone]).stdout).unwrap();
            let fit = if flags.contains(&"12") { "fit=12" } else { "filter=bi" };
            assert!(shown.contains(fit), "{shown}");
        }
        let data = folder.data();
        let verified = works(&[&["verify", &bgr, "--data", &data, "--count", "6"], &reversed[..]].concat());
        assert_eq!(verified["float_top1_agreement"], 1.0);
    }
    // The frame and the order matter here.
    let crop = folder.scores(&rgb, &[&photo], &["--raw"]);
    for flags in [&["--raw", "--resize", "12"][..], &["--raw", "--fit", "stretch"], &["--raw", "--channels", "bgr"]] {
        let other = folder.scores(&rgb, &[&photo], flags);
        assert!(crop.iter().zip(&other).any(|(a, b)| (a - b).abs() > 1e-3), "{flags:?}: {crop:?} {other:?}");
    }
}

#[test]
fn scores_that_are_no_numbers_are_one_line() {
    let folder = Folder::new();
    let model = folder.write("m.onnx", &network(false, 1.0));
    let huge = folder.write("huge.onnx", &network(false, 1e38));
    let photo = folder.path("photo.png");
    picture(40, 30, 3).save(&photo).unwrap();
    let error = fails(&["run", &huge, &photo, "--raw"], 1);
    assert!(error.contains("photo.png: ") && error.contains("scores that are not finite"), "{error}");
    let data = folder.data();
    let error = fails(&["eval", &huge, "--data", &data, "--raw"], 1);
    assert!(error.contains("scores that are not finite"), "{error}");

    let stone = folder.quantize(&model, &["--raw"]);
    let y = folder.path("y.npy");
    for (odd, named) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf")] {
        let mut values = vec![7.0; SIDE * SIDE * 3];
        values[3 * SIDE + 3 * 2 + 1] = odd;
        let tensor = folder.write("x.npy", &npy("<f4", &[1, SIDE, SIDE, 3], &float_bytes(values)));
        for model in [&model, &stone] {
            let error = fails(&["run", model, "--input", &tensor, "--output", &y], 1);
            assert!(error.contains(&format!("x.npy: element [0, 1, 2, 1] is {named}")), "{error}");
        }
    }
    assert!(!Path::new(&y).exists());
}

#[test]
fn wrong_options_say_what_to_give() {
    let folder = Folder::new();
    let model = folder.write("m.onnx", &network(false, 1.0));
    let photo = folder.path("photo.png");
    picture(40, 30, 3).save(&photo).unwrap();
    let run = |flags: &[&str]| fails(&[&["run", &model, &photo], flags].concat(), 2);
    let error = run(&["--mean", "123.675,116.28,103.53", "--std", "58.395,57.12,57.375"]);
    assert!(error.contains("give --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225"), "{error}");
    assert!(run(&["--raw", "--resize", "7"]).contains("3x8x8"));
    assert!(run(&["--raw", "--resize", "9", "--fit", "crop"]).contains("--fit"));
    assert!(run(&["--raw", "--channels", "grb"]).contains("bgr"));
    assert!(run(&["--raw", "--input", "x.npy", "--output", "y.npy"]).contains("--input"));
    assert!(run(&[]).contains("--mean"));
    let stone = folder.quantize(&model, &["--raw"]);
    assert!(fails(&["run", &stone, &photo, "--channels", "bgr"], 2).contains("carries the normalization"));
}
