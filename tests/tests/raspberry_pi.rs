//! The program for a Raspberry Pi on emulated processors: bytes, labels and kernels, and what it says to people.
//!
//! These tests need QEMU and a compiler for aarch64, so `cargo test` lists them as ignored and `cargo xtask test` runs
//! them. Where something is missing they fail and say what.

use skipstone::data;
use skipstone::device::{Device, LinuxProgram};
use skipstone::pack::{Options, quantize};
use skipstone::target::Core;
use skipstone::{host, zoo};
use skipstone_onnx::{Graph, Normalization};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Processor, its core, and the kernels that run the convolutions of a ResNet-8.
const PROCESSORS: [(&str, Core, &str, &str); 3] = [
    ("cortex-a53", Core::Neon, "neon", "conv_4x4_neon"),
    ("cortex-a72", Core::Neon, "neon", "conv_4x4_neon"),
    ("cortex-a76", Core::Dotprod, "dotprod", "conv_16x4_dotprod"),
];
const DIMS: [usize; 3] = [3, 24, 32];

fn program(cpu: &str) -> LinuxProgram {
    LinuxProgram::build(Device::of_cpu(cpu).unwrap()).unwrap()
}

fn network() -> Graph {
    let options = zoo::Options { input: Some(DIMS), classes: Some(10), seed: 7, ..Default::default() };
    let mut graph = zoo::with_nontrivial_statistics(zoo::build("resnet8", &options).unwrap(), 7);
    graph.metadata.normalization = Some(Normalization { mean: vec![0.5; 3], std: vec![0.25; 3] });
    graph.metadata.class_names = (0..10).map(|class| format!("class {class}")).collect();
    graph
}

/// A folder with a model for each core, and pictures with folders inside.
struct Scene {
    folder: tempfile::TempDir,
    graph: Graph,
    pictures: Vec<PathBuf>,
}

impl Scene {
    fn new() -> Self {
        let (folder, graph) = (tempfile::tempdir().unwrap(), network());
        let mut pictures = skipstone_tests::pictures::write_all(&folder.path().join("pictures/kinds"));
        for index in 0..4u32 {
            let path = folder.path().join(format!("pictures/wave{index}.png"));
            fs::write(&path, skipstone_tests::pictures::wave(40, 30, index)).unwrap();
            pictures.push(path);
        }
        Self { folder, graph, pictures }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn model(&self, core: Core) -> PathBuf {
        let path = self.at(&format!("{}.stone", core.name()));
        if !path.exists() {
            let pixels = |path: &PathBuf| data::read_image(path, DIMS, &self.graph.metadata.preprocessing).unwrap();
            let pixels: Vec<u8> = self.pictures.iter().flat_map(pixels).collect();
            let count = self.pictures.len();
            let class_names = self.graph.metadata.class_names.clone();
            let images = data::Dataset { dims: DIMS, pixels, labels: vec![0; count], class_names };
            let options = Options { target: core, ..Options::default() };
            fs::write(&path, quantize(&self.graph, &images, &options).unwrap().stone).unwrap();
        }
        path
    }
}

fn said(command: &mut Command) -> (Output, String, String) {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    (output, out, err)
}

/// How the program's lines of the pictures begin: path and the likeliest class.
fn labels_of_the_host(scene: &Scene, model: &Path) -> Vec<String> {
    let stone = fs::read(model).unwrap();
    let label = |path: &PathBuf| {
        let pixels = data::read_image(path, DIMS, &scene.graph.metadata.preprocessing).unwrap();
        let scores = host::trace(&stone, &pixels).unwrap().scores;
        let best = (0..scores.len()).rev().max_by_key(|&class| scores[class]).unwrap();
        format!("{}: class {best} ", path.display())
    };
    scene.pictures.iter().map(label).collect()
}

#[test]
#[ignore = "needs QEMU and a compiler for the device: cargo xtask test"]
fn every_processor_makes_the_hosts_bytes_and_names_its_kernels() {
    let scene = Scene::new();
    let mut program = program("cortex-a53");
    for (cpu, core, backend, kernel) in PROCESSORS {
        let program = program.on(Device::of_cpu(cpu).unwrap());
        let model = scene.model(core);
        let stone = fs::read(&model).unwrap();
        let run = program.run(&model, &scene.pictures).unwrap();
        assert_eq!((run.backend.as_str(), run.kernels.as_slice()), (backend, &[kernel.to_owned()][..]), "{cpu}");
        assert_eq!(run.labels.len(), scene.pictures.len());
        for (index, picture) in scene.pictures.iter().enumerate() {
            let pixels = data::read_image(picture, DIMS, &scene.graph.metadata.preprocessing).unwrap();
            let trace = host::trace(&stone, &pixels).unwrap();
            let layers: Vec<u32> = trace.nodes.iter().map(|node| node.checksum).collect();
            assert_eq!(run.scores[index], trace.scores, "{cpu} {}", picture.display());
            assert_eq!(run.layer_checksums[index], layers, "{cpu} {}", picture.display());
        }

        // What people see of a folder: one line an image in the order of the names, however many engines there are.
        for threads in ["1", "3"] {
            let mut command = program.command().unwrap();
            let command = command.arg(&model).arg(scene.at("pictures")).args(["--threads", threads, "--top", "1"]);
            let (output, out, err) = said(command);
            assert!(output.status.success(), "{err}");
            let lines: Vec<&str> = out.lines().collect();
            let expected = labels_of_the_host(&scene, &model);
            assert_eq!(lines.len(), expected.len(), "{out}");
            for (line, expected) in lines.iter().zip(&expected) {
                assert!(line.starts_with(expected.as_str()) && line.ends_with(" %"), "{cpu}: {line}, not {expected}");
            }
            let log: Vec<&str> = err.lines().collect();
            let plural = if threads == "1" { "" } else { "s" };
            assert_eq!(log[0], format!("backend {backend} kernels {kernel}, {threads} thread{plural}"), "{cpu}");
            assert!(log[1].starts_with(&format!("{} images, ", lines.len())), "{err}");
            for part in [format!(" images/s on {threads} thread{plural}; latency p50 "), " p95 ".into(), " p99 ".into()]
            {
                assert!(log[1].contains(&part), "{err}");
            }
        }
    }
}

/// Motion JPEG from a file and from standard input, as `rpicam-vid` gives it.
#[test]
#[ignore = "needs QEMU and a compiler for the device: cargo xtask test"]
fn frames_are_classified_live() {
    let scene = Scene::new();
    let program = program("cortex-a72");
    let model = scene.model(Core::Neon);
    let frames: Vec<Vec<u8>> = (0..6).map(|index| skipstone_tests::pictures::wave_as_jpeg(64, 48, index)).collect();
    let stream = scene.at("stream.mjpeg");
    fs::write(&stream, [frames.concat(), frames[0][..100].to_vec()].concat()).unwrap();
    let single: Vec<String> = (0..frames.len())
        .map(|index| {
            let path = scene.at(&format!("frame{index}.jpg"));
            fs::write(&path, &frames[index]).unwrap();
            let (_, out, err) = said(program.command().unwrap().arg(&model).arg(&path));
            out.split_once(": ").unwrap_or_else(|| panic!("{err}")).1.to_owned()
        })
        .collect();

    let camera = format!("--camera={}", stream.display());
    let (output, out, err) = said(program.command().unwrap().arg(&model).args([&camera, "--threads=2"]));
    assert!(output.status.success(), "{err}");
    let expected: String = single.iter().enumerate().map(|(index, line)| format!("frame {index}: {line}")).collect();
    assert_eq!(out, expected);
    assert!(err.contains("\n6 frames, ") && err.contains(" frames/s on 2 threads; latency p50 "), "{err}");

    let (_, out, _) = said(program.command().unwrap().arg(&model).args([&camera, "--frames=2"]));
    assert_eq!(out.lines().count(), 2);

    let mut piped = program.command().unwrap();
    let (output, out, err) = said(piped.arg(&model).arg("--camera=-").stdin(fs::File::open(&stream).unwrap()));
    // Frames for which there was no time are left out; the last one never is.
    let last = out.lines().last().and_then(|line| line.split_once(": ")).map(|(_, classes)| format!("{classes}\n"));
    assert!(output.status.success() && last.as_ref() == single.last(), "{out} {err}");
}

#[test]
#[ignore = "needs QEMU and a compiler for the device: cargo xtask test"]
fn what_goes_wrong_is_one_line() {
    let scene = Scene::new();
    let program = program("cortex-a53");
    let model = scene.model(Core::Neon);
    let good = &scene.pictures[0];
    let fails = |arguments: &[&Path]| {
        let (output, out, err) = said(program.command().unwrap().args(arguments));
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {out} {err}");
        (out, err)
    };
    let error = |arguments: &[&Path]| {
        let (out, err) = fails(arguments);
        assert!(out.is_empty() && err.starts_with("error: ") && err.trim_end().lines().count() == 1, "{out} {err}");
        err.trim_end()["error: ".len()..].replace(&format!("{}/", scene.folder.path().display()), "")
    };

    // One damaged picture among good ones: it is named, the others are classified.
    let mixed = scene.at("mixed");
    fs::create_dir(&mixed).unwrap();
    fs::copy(good, mixed.join("a.png")).unwrap();
    fs::write(mixed.join("b.png"), b"no picture").unwrap();
    let jpeg = skipstone_tests::pictures::wave_as_jpeg(64, 48, 1);
    fs::write(mixed.join("c.jpg"), &jpeg[..jpeg.len() / 2]).unwrap();
    fs::copy(good, mixed.join("d.png")).unwrap();
    let (out, err) = fails(&[&model, &mixed]);
    assert!(out.lines().count() == 2 && out.contains("a.png: ") && out.contains("d.png: "), "{out}");
    let place = mixed.display();
    for line in [
        format!("error: {place}/b.png: neither a PNG nor a JPEG file\n"),
        format!("error: {place}/c.jpg: the file is cut short: a part of the picture is missing\n"),
        "error: 2 of 4 files could not be classified\n".into(),
    ] {
        assert!(err.contains(&line), "{err}");
    }

    assert_eq!(
        error(&[&scene.model(Core::CortexM4), good]),
        "cortex-m4.stone: packed for cortex-m4, whose weights this processor's kernels do not read: pack it again with \
         `skipstone quantize MODEL.onnx --calib SPEC --target neon -o FILE.stone`"
    );
    let bytes = fs::read(&model).unwrap();
    let cut = scene.at("cut.stone");
    fs::write(&cut, &bytes[..bytes.len() - 7]).unwrap();
    let (len, whole) = (bytes.len() - 7, bytes.len());
    assert_eq!(error(&[&cut, good]), format!("cut.stone: damaged: cut short after {len} of {whole} bytes"));
    assert_eq!(error(&[&scene.at("absent.stone"), good]), "absent.stone: No such file or directory (os error 2)");
    let empty = scene.at("empty");
    fs::create_dir(&empty).unwrap();
    assert_eq!(error(&[&model, &empty]), "empty: the folder has no PNG or JPEG files");
    let camera = error(&[&model, Path::new("--camera=/dev/absent-camera")]);
    assert!(camera.starts_with("/dev/absent-camera: no camera: No such file"), "{camera}");
    let camera = error(&[&model, Path::new("--camera=/dev/zero")]);
    assert!(camera.starts_with("/dev/zero: not a camera: "), "{camera}");
    fs::write(scene.at("noise"), b"no frames").unwrap();
    let (_, err) = fails(&[&model, Path::new(&format!("--camera={}", scene.at("noise").display()))]);
    assert!(err.ends_with("noise: no frames\n"), "{err}");

    let (output, out, err) = said(program.command().unwrap().arg(&model));
    assert!(output.status.code() == Some(2) && out.is_empty() && err.contains("Usage: "), "{err}");
    let (output, out, _) = said(program.command().unwrap().arg("--help"));
    assert!(output.status.success() && out.contains("--camera") && out.contains("Examples:"), "{out}");
}
