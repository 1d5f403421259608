//! Packed models on emulated devices: every layer's bytes equal the host's.
//!
//! These tests need QEMU and compilers for the devices, so `cargo test` lists them as ignored and `cargo xtask test`
//! runs them. Where something is missing they fail and say what.

use skipstone::data::{self, Dataset, Spec, Split};
use skipstone::device::{self, Device, DeviceError, DeviceRun, LinuxProgram, Program, TestImages};
use skipstone::pack::{AlignedBytes, Goal, Options, quantize};
use skipstone::target::{self, Board, Core};
use skipstone::{host, zoo};
use skipstone_onnx::{ChannelOrder, Fit, Normalization, Preprocessing};
use skipstone_runtime::Model;
use std::path::Path;

/// The device for a core.
fn on(core: Core) -> Device {
    Device::of_core(core).unwrap()
}

/// A ResNet-8 for the digits, untrained, packed for `target`; its bytes and the digits.
fn digits_model(arch: &str, target: Core) -> (Vec<u8>, Dataset) {
    let spec: Spec = "digits".parse().unwrap();
    let digits = data::load(&spec, Split::Test).unwrap();
    let options = zoo::Options {
        input: Some(spec.dims()),
        classes: Some(spec.classes().unwrap()),
        seed: 7,
        ..Default::default()
    };
    let mut graph = zoo::with_nontrivial_statistics(zoo::build(arch, &options).unwrap(), 7);
    graph.metadata.normalization = Some(spec.normalization());
    let stone = quantize(&graph, &digits, &Options { target, ..Options::default() }).unwrap().stone;
    (stone, digits)
}

fn run(device: Device, stone: &[u8], images: &TestImages) -> Result<DeviceRun, DeviceError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.stone");
    std::fs::write(&path, stone).unwrap();
    device::run(device, &path, images)
}

/// Runs `count` digits and compares scores and all layers with the host's engine.
fn assert_equals_host(device: Device, arch: &str, target: Core, count: usize) -> DeviceRun {
    let (stone, digits) = digits_model(arch, target);
    assert_same_on_host(device, &stone, &digits, count)
}

/// Runs the first `count` images and compares scores and all layers with the host's engine.
fn assert_same_on_host(device: Device, stone: &[u8], images: &Dataset, count: usize) -> DeviceRun {
    let run = run(device, stone, &TestImages::first(images, count).unwrap()).unwrap();
    assert_eq!(run.labels.len(), count);
    for index in 0..count {
        let trace = host::trace(stone, images.image(index)).unwrap();
        assert_eq!(run.scores[index], trace.scores, "image {index}");
        let layers = trace.nodes.iter().zip(&run.layer_checksums[index]);
        assert_eq!(run.layer_checksums[index].len(), trace.nodes.len());
        for (node, &checksum) in layers {
            assert_eq!(checksum, node.checksum, "image {index}, node {}", node.name);
        }
    }
    run
}

#[test]
#[ignore = "needs QEMU and a compiler for the device: cargo xtask test"]
fn cortex_m4_equals_the_host() {
    for arch in ["resnet8", "resnet20", "plain20"] {
        let run = assert_equals_host(on(Core::CortexM4), arch, Core::CortexM4, 5);
        assert!(run.backend == "cortex_m" && run.kernels.iter().all(|kernel| kernel.contains("_smlad")), "{run:?}");
        let instructions = run.instructions_per_inference.unwrap();
        assert!((100_000..30_000_000).contains(&instructions), "{arch}: {instructions}");
        assert!(run.ram_bytes.unwrap() > run.arena_bytes && run.flash_bytes.unwrap() > 20_000, "{run:?}");
    }
}

/// The cores whose programs have SMLAD kernels, each by its own memory map and clock, count nearly the same
/// instructions: those of a program for Armv8-M differ a little. A model that is packed for no core takes several times
/// as many, about what the kernels' estimates say.
#[test]
#[ignore = "needs QEMU and a compiler for the device: cargo xtask test"]
fn cores_with_smlad_count_alike_and_are_slow_with_generic_weights() {
    let count = |core: Core, target: Core, kernel: &str| {
        let run = assert_equals_host(on(core), "resnet8", target, 2);
        assert!(run.backend == "cortex_m" && run.kernels.iter().all(|name| name.contains(kernel)), "{run:?}");
        println!("{} for {}: {} instructions", core.title(), target.name(), run.instructions_per_inference.unwrap());
        run.instructions_per_inference.unwrap() as f64
    };
    let m4 = count(Core::CortexM4, Core::CortexM4, "_smlad");
    for core in [Core::CortexM7, Core::CortexM33] {
        let ratio = count(core, core, "_smlad") / m4;
        assert!((0.9..1.1).contains(&ratio), "{core:?}: {ratio}");
    }
    let measured = count(Core::CortexM4, Core::Generic, "conv_2x3_armv7m") / m4;
    let stone = AlignedBytes::copy(&digits_model("resnet8", Core::Generic).0);
    let estimate = target::suit(&Model::from_bytes(stone.as_slice()).unwrap(), Core::CortexM4).slowdown().unwrap();
    println!("a generic model is {measured:.1} times slower, {estimate:.1} by the kernels' estimates");
    assert!((0.75..1.33).contains(&(estimate / measured)), "{estimate} {measured}");
}

#[test]
#[ignore = "needs QEMU and a compiler for the device: cargo xtask test"]
fn cores_without_smlad_run_canonical_weights_and_refuse_pairs() {
    let run = assert_equals_host(on(Core::CortexM0), "resnet8", Core::Generic, 3);
    assert_eq!((run.backend.as_str(), run.kernels.as_slice()), ("thumb", &["conv_1x4_armv6m".to_owned()][..]));
    let run = assert_equals_host(on(Core::CortexM3), "resnet8", Core::CortexM3, 2);
    assert_eq!((run.backend.as_str(), run.kernels.as_slice()), ("thumb", &["conv_2x3_armv7m".to_owned()][..]));
    let (stone, digits) = digits_model("resnet8", Core::CortexM4);
    let error = self::run(on(Core::CortexM0), &stone, &TestImages::first(&digits, 1).unwrap()).unwrap_err().to_string();
    assert!(error.contains("the model is laid out for cortex-m4, programs for thumbv"), "{error}");
}

/// Cortex-M55: the kernels of the vectors, and those of canonical weights; a model of another core's is refused.
#[test]
#[ignore = "needs QEMU and a compiler for the device: cargo xtask test"]
fn helium_equals_the_host_and_refuses_other_weights() {
    for arch in ["resnet8", "resnext20-8x2d"] {
        let run = assert_equals_host(on(Core::CortexM55), arch, Core::CortexM55, 3);
        assert!(run.backend == "mve" && run.kernels.iter().all(|kernel| kernel.contains("_mve")), "{run:?}");
    }
    let run = assert_equals_host(on(Core::CortexM55), "resnet8", Core::Generic, 2);
    assert_eq!((run.backend.as_str(), run.kernels.as_slice()), ("mve", &["conv_2x3_armv7m".to_owned()][..]));
    let (stone, digits) = digits_model("resnet8", Core::CortexM33);
    let error =
        self::run(on(Core::CortexM55), &stone, &TestImages::first(&digits, 1).unwrap()).unwrap_err().to_string();
    assert!(error.contains("the model is laid out for cortex-m33, programs for thumbv8m"), "{error}");
}

/// What the layers take adds up to the whole, and the program whose size is told is the one that counts no layers.
#[test]
#[ignore = "needs QEMU and a compiler for the device: cargo xtask test"]
fn layers_add_up_to_the_inference() {
    let (stone, digits) = digits_model("resnet8", Core::CortexM4);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.stone");
    std::fs::write(&path, &stone).unwrap();
    let image = TestImages::first(&digits, 1).unwrap();
    let profile = device::profile(on(Core::CortexM4), &path, &image, true, None).unwrap();
    let whole = profile.whole.instructions;
    let layers: u64 = profile.layers.iter().map(|layer| layer.instructions).sum();
    assert!((whole * 8 / 10..whole).contains(&layers), "{profile:?}");
    assert!((10_000..60_000).contains(&profile.program_bytes.unwrap()), "{profile:?}");
    assert!((100..5_000).contains(&profile.stack_bytes.unwrap()), "{profile:?}");
    let error = device::profile(on(Core::Neon), &path, &image, true, None).unwrap_err().to_string();
    assert!(error.contains("counted by a plugin of QEMU: name its file by --plugin"), "{error}");
}

/// Flash of the programs around a ResNet-8 for CIFAR-10: small ones without the checker and with it, and a fast one.
#[test]
#[ignore = "needs QEMU and a compiler for the device: cargo xtask test"]
fn programs_are_small() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/resnet8-cifar10.onnx");
    let graph = skipstone_onnx::import_file(&file).unwrap();
    let images = waves([3, 32, 32], 4);
    let image = TestImages::first(&images, 1).unwrap();
    let mut over = Vec::new();
    for (goal, program, most) in [
        (Goal::Size, Program { checker: false, small: true }, Some(20 << 10)),
        (Goal::Size, Program { checker: true, small: true }, Some(32 << 10)),
        // What `inspect` and the choice of a board count with.
        (Goal::Ram, Program::default(), None),
        (Goal::Speed, Program::default(), None),
    ] {
        let options = Options { target: Core::CortexM4, goal, ..Options::default() };
        let stone = quantize(&graph, &images, &options).unwrap().stone;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.stone");
        std::fs::write(&path, &stone).unwrap();
        let run = device::run_program(on(Core::CortexM4), program, &path, &image).unwrap();
        let bytes = run.flash_bytes.unwrap() - stone.len() as u64;
        let counted =
            || target::Need::of(&Model::from_bytes(AlignedBytes::copy(&stone).as_slice()).unwrap()).program_bytes;
        let most = most.unwrap_or_else(counted);
        println!("{goal:?}, {program:?}: {bytes} bytes around a model of {}", stone.len());
        if bytes > most {
            over.push((program, bytes, most));
        }
    }
    assert!(over.is_empty(), "{over:?}");
}

/// The ResNet-8 of `models/`, which was trained on CIFAR-10, in 16 KiB of RAM.
#[test]
#[ignore = "needs QEMU and a compiler for the device: cargo xtask test"]
fn a_micro_bit_runs_a_resnet8_for_cifar10() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/resnet8-cifar10.onnx");
    let graph = skipstone_onnx::import_file(&file).unwrap();
    let images = waves([3, 32, 32], 8);
    let stone = quantize(&graph, &images, &Options { target: Core::Generic, ..Options::default() }).unwrap().stone;
    let micro_bit = Board::named("microbit").and_then(Device::of_board).unwrap();
    let run = assert_same_on_host(micro_bit, &stone, &images, 3);
    assert_eq!((run.backend.as_str(), run.kernels.as_slice()), ("thumb", &["conv_1x4_armv6m".to_owned()][..]));
    let (flash, ram) = (run.flash_bytes.unwrap(), run.ram_bytes.unwrap());
    println!("micro:bit: arena {} bytes, RAM with stack {ram} bytes, flash {flash} bytes", run.arena_bytes);
    println!("micro:bit: {} instructions per image", run.instructions_per_inference.unwrap());
    assert!(flash < 256 << 10 && ram <= 16 << 10, "{run:?}");
}

/// Pictures of waves in all channels, each another one.
fn waves(dims: [usize; 3], count: usize) -> Dataset {
    let [channels, height, width] = dims;
    let pixel = |index: usize| {
        let (channel, x) = (index % channels, index / channels % width);
        let (y, image) = (index / channels / width % height, index / channels / width / height);
        let phase = (x * (image + 1) + y * (channel + 2)) as f32 / 7.0;
        (127.5 + 100.0 * phase.sin() + 27.0 * (phase * 11.0).cos()) as u8
    };
    Dataset {
        dims,
        pixels: (0..count * channels * height * width).map(pixel).collect(),
        labels: vec![0; count],
        class_names: vec!["wave".into(); 10],
    }
}

/// Networks of the zoo that fit a microcontroller, as published, by programs that check their models.
#[test]
#[ignore = "needs QEMU and a compiler for the device: cargo xtask test"]
fn loading_takes_at_most_a_tenth_of_an_inference() {
    let mut over = Vec::new();
    for arch in ["resnet8", "resnet20", "densenet-bc22-k8", "attention-mini"] {
        let mut graph = zoo::with_nontrivial_statistics(zoo::build(arch, &zoo::Options::default()).unwrap(), 7);
        graph.metadata.normalization = Some(Normalization { mean: vec![0.5; 3], std: vec![0.25; 3] });
        let images = waves([3, 32, 32], 4);
        let options = Options { target: Core::CortexM4, ..Options::default() };
        let stone = quantize(&graph, &images, &options).unwrap().stone;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.stone");
        std::fs::write(&path, &stone).unwrap();
        let image = TestImages::first(&images, 1).unwrap();
        let checking = Program { checker: true, small: false };
        let run = device::run_program(on(Core::CortexM4), checking, &path, &image).unwrap();
        let (loading, inference) = (run.instructions_to_load.unwrap(), run.instructions_per_inference.unwrap());
        println!("{arch}: {loading} instructions to load {} bytes, {inference} per image", stone.len());
        if 10 * loading > inference {
            over.push(arch);
        }
    }
    assert!(over.is_empty(), "{over:?}");
}

#[test]
#[ignore = "needs QEMU and a compiler for the device: cargo xtask test"]
fn aarch64_equals_the_host() {
    for arch in ["resnet8", "resnet20"] {
        let run = assert_equals_host(on(Core::Neon), arch, Core::Neon, 5);
        assert_eq!((run.backend.as_str(), run.kernels.as_slice()), ("neon", &["conv_4x4_neon".to_owned()][..]));
    }
    let run = assert_equals_host(on(Core::Dotprod), "resnet8", Core::Dotprod, 5);
    assert_eq!((run.backend.as_str(), run.kernels.as_slice()), ("dotprod", &["conv_16x4_dotprod".to_owned()][..]));
}

/// PNG and JPEG files of all kinds, which the device decodes and makes the model's size itself.
#[test]
#[ignore = "needs QEMU and a compiler for the device: cargo xtask test"]
fn aarch64_sees_the_hosts_pixels() {
    let folder = tempfile::tempdir().unwrap();
    let pictures = skipstone_tests::pictures::write_all(&folder.path().join("pictures"));
    let dims = [3, 20, 24];
    let options = zoo::Options { input: Some(dims), classes: Some(10), seed: 7, ..Default::default() };
    let mut graph = zoo::with_nontrivial_statistics(zoo::build("resnet8", &options).unwrap(), 7);
    graph.metadata.normalization = Some(Normalization { mean: vec![0.5; 3], std: vec![0.25; 3] });
    graph.metadata.preprocessing =
        Preprocessing { fit: Fit::Resize(26), channels: ChannelOrder::Bgr, ..Preprocessing::default() };
    let options = Options { target: Core::Neon, ..Options::default() };
    let stone = quantize(&graph, &waves(dims, 8), &options).unwrap().stone;
    let path = folder.path().join("model.stone");
    std::fs::write(&path, &stone).unwrap();
    let run = LinuxProgram::build(on(Core::Neon)).unwrap().run(&path, &pictures).unwrap();
    assert_eq!(run.layer_checksums.len(), pictures.len());
    for (index, picture) in pictures.iter().enumerate() {
        let pixels = data::read_image(picture, dims, &graph.metadata.preprocessing).unwrap();
        let trace = host::trace(&stone, &pixels).unwrap();
        let layers: Vec<u32> = trace.nodes.iter().map(|node| node.checksum).collect();
        assert_eq!(run.layer_checksums[index], layers, "{}", picture.display());
    }
}

#[test]
#[ignore = "needs QEMU and a compiler for the device: cargo xtask test"]
fn what_a_device_cannot_run_is_one_line() {
    let (mut stone, digits) = digits_model("resnet8", Core::CortexM4);
    let images = TestImages::first(&digits, 1).unwrap();
    let wide = TestImages { width: 4, height: 16, ..images.clone() };
    let error = run(on(Core::CortexM4), &stone, &wide).unwrap_err().to_string();
    assert!(error.ends_with("SKIPSTONE_IMAGES: images of [16, 4, 1] where the model takes [8, 8, 1]"), "{error}");
    stone[300] ^= 1;
    for device in [on(Core::CortexM4), on(Core::Neon)] {
        let error = run(device, &stone, &images).unwrap_err().to_string();
        assert!(error.contains("damaged: checksum") && !error.contains('\n'), "{error}");
    }
    let error = device::run(on(Core::CortexM4), Path::new("absent.stone"), &images).unwrap_err().to_string();
    assert!(error.starts_with("cannot read absent.stone: "), "{error}");
}
