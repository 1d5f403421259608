//! A folder whose pixels have no room in memory: the same results, in bounded memory. The only test of its program,
//! because it looks at the peak memory of the process.

use image::{Rgb, RgbImage};
use skipstone::data::{self, Options, Spec, Split};
use skipstone::train::{Config, Job, Outcome, peak_bytes, train};
use skipstone_onnx::{Conv, Graph, GraphBuilder, Op, Tensor};
use std::path::Path;

/// Channels, height and width: 196,608 bytes an image.
const DIMS: [usize; 3] = [3, 256, 256];
/// Images of each of the two classes.
const IMAGES: usize = 450;
/// Pictures of each class that differ; the others are links to them.
const PICTURES: usize = 25;
/// Pixels in memory, of 169 MiB in all.
const CACHE: usize = 4 << 20;
/// What training may take, whatever the number of images: batches that are ready, and decoders at work.
const BOUND: u64 = 96 << 20;

/// Pictures of 120 to 340 pixels, JPEG and PNG, the classes of different colours.
fn fill(folder: &Path) {
    for (class, tint) in [("green", [0, 90, 0]), ("red", [90, 0, 0])] {
        let class = folder.join(class);
        std::fs::create_dir(&class).unwrap();
        for number in 0..IMAGES {
            let path = |number: usize| {
                class.join(format!("{number}.{}", if number.is_multiple_of(5) { "png" } else { "jpg" }))
            };
            if number >= PICTURES {
                std::fs::hard_link(path(number % PICTURES), path(number)).unwrap();
                continue;
            }
            let (width, height) = (120 + 220 * number / PICTURES, 340 - 200 * (number * 7 % PICTURES) / PICTURES);
            let level = |x: u32, y: u32, c: usize| (x * 3 + y * (number as u32 + 1)) as u8 % 160 + tint[c];
            let pixel = |x, y| Rgb([level(x, y, 0), level(x, y, 1), level(x, y, 2)]);
            RgbImage::from_fn(width as u32, height as u32, pixel).save(path(number)).unwrap();
        }
    }
    // One that cannot be read, in the middle.
    std::fs::remove_file(folder.join("green/77.jpg")).unwrap();
    std::fs::write(folder.join("green/77.jpg"), b"no picture").unwrap();
}

/// One convolution without overlap, which takes hardly any memory.
fn network(spec: &Spec) -> Graph {
    let mut b = GraphBuilder::new("tiny", "image", DIMS).unwrap();
    b.metadata_mut().normalization = Some(spec.normalization());
    let weights = |count: usize| (0..count).map(|i| (i * 37 % 19) as f32 / 190.0 - 0.045).collect::<Vec<f32>>();
    let weight = b.parameter("conv.weight", Tensor::new([4, 3, 8, 8], weights(768)).unwrap(), true).unwrap();
    let input = b.input();
    let x = b.push("conv", Op::Conv(Conv::square(8, 8, 0)), &[input, weight]).unwrap();
    let x = b.push("relu", Op::Relu, &[x]).unwrap();
    let x = b.push("pool", Op::GlobalAveragePool, &[x]).unwrap();
    let x = b.push("flatten", Op::Flatten, &[x]).unwrap();
    let weight = b.parameter("linear.weight", Tensor::new([2, 4], weights(8)).unwrap(), true).unwrap();
    let bias = b.parameter("linear.bias", Tensor::filled([2], 0.0), true).unwrap();
    let x = b.push("linear", Op::Gemm, &[x, weight, bias]).unwrap();
    b.finish(x).unwrap()
}

/// Trains for two epochs with at most `cache` bytes of pixels in memory.
fn run(spec: &Spec, cache: usize, out: &Path) -> Outcome {
    let options = Options { dims: Some(DIMS), ..Options::default() };
    let open = |split| data::open(spec, split, &options, cache, &mut |_, _| {}).unwrap();
    let ((images, notes), (test, _)) = (open(Split::Train), open(Split::Test));
    assert!(images.kept_bytes() <= cache && test.kept_bytes() <= cache);
    assert_eq!(images.kept() == images.len(), cache == usize::MAX);
    assert!(notes.lines()[0].contains("green/77.jpg (neither a PNG nor a JPEG file)"), "{:?}", notes.lines());
    let config = Config { epochs: 2, batch: 4, lr: 0.01, ..Config::new("tiny", spec) };
    train(Job { threads: Some(2), ..Job::new(network(spec), config, [images, test], out) }, &mut ()).unwrap()
}

#[test]
fn a_cache_smaller_than_the_folder_changes_memory_alone() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("images");
    std::fs::create_dir(&images).unwrap();
    fill(&images);
    let spec: Spec = format!("folder:{}", images.display()).parse().unwrap();
    let before = peak_bytes();
    let few = run(&spec, CACHE, &folder.path().join("few"));
    let streamed = peak_bytes();
    let all = run(&spec, usize::MAX, &folder.path().join("all"));
    let kept = peak_bytes();

    assert_eq!(few.best, all.best);
    assert_eq!((few.accuracy, few.loss, &few.confusion), (all.accuracy, all.loss, &all.confusion));
    let curve = |outcome: &Outcome| outcome.history.iter().map(|e| (e.train_loss, e.test_loss)).collect::<Vec<_>>();
    assert_eq!(curve(&few), curve(&all));
    if cfg!(target_os = "linux") {
        let [before, streamed, kept] = [before, streamed, kept].map(Option::unwrap);
        let pixels = (DIMS.iter().product::<usize>() * (2 * IMAGES - 1)) as u64;
        assert!(streamed - before < BOUND + CACHE as u64, "{before} {streamed}");
        // Otherwise the bound shows nothing.
        assert!(kept - before > pixels && pixels > 3 * BOUND / 2, "{before} {kept}");
    }
}
