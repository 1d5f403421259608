//! The programs of `firmware-examples` on every board that the emulator has: `classify` and `selftest` with a trained
//! network of each family.
//!
//! These tests need QEMU and compilers for the boards, so `cargo test` lists them as ignored and `cargo xtask test` runs
//! them.

use skipstone::data::{self, Dataset, Spec, Split};
use skipstone::device::{self, Device, DeviceError, TestImages};
use skipstone::pack::{AlignedBytes, Options, quantize};
use skipstone::target::Board;
use skipstone::train::{Config, Job, train};
use skipstone::{host, zoo};
use skipstone_onnx::Graph;
use skipstone_runtime::Model;
use skipstone_runtime::format::checksum;
use skipstone_runtime::format::records::{Header, OpCode};
use skipstone_runtime::schedule::Network;
use std::path::Path;

/// Trained on the digits here; a ResNet-8 that was trained on CIFAR-10 lies in `models/`.
const TRAINED: [&str; 3] = ["resnext20-8x2d", "densenet-bc22-k8", "attention-mini"];
/// Images that a board classifies, and the one of them that travels in the model.
const IMAGES: usize = 2;

fn digits() -> [Dataset; 2] {
    let spec: Spec = "digits".parse().unwrap();
    [Split::Train, Split::Test].map(|split| data::load(&spec, split).unwrap())
}

/// A network after an epoch on the digits.
fn trained(arch: &str, digits: &[Dataset; 2]) -> Graph {
    let spec: Spec = "digits".parse().unwrap();
    let config = Config { epochs: 1, ..Config::new(arch, &spec) };
    let options = zoo::Options {
        classes: Some(spec.classes().unwrap()),
        input: Some(spec.dims()),
        seed: 7,
        ..Default::default()
    };
    let mut graph = zoo::build(arch, &options).unwrap();
    graph.metadata.normalization = Some(spec.normalization());
    let folder = tempfile::tempdir().unwrap();
    train(Job::new(graph, config, digits.clone(), folder.path().join("run")), &mut ()).unwrap().best
}

/// Pictures of waves, for the network of CIFAR-10.
fn waves() -> Dataset {
    let pixel = |at: usize| {
        let (channel, x, y, image) = (at % 3, at / 3 % 32, at / 96 % 32, at / 3072);
        let phase = (x * (image + 1) + y * (channel + 2)) as f32 / 7.0;
        (127.5 + 100.0 * phase.sin() + 27.0 * (phase * 11.0).cos()) as u8
    };
    Dataset {
        dims: [3, 32, 32],
        pixels: (0..8 * 3072).map(pixel).collect(),
        labels: vec![0; 8],
        class_names: vec!["wave".into(); 10],
    }
}

/// The network packed for a board, with a test vector.
fn pack(graph: &Graph, images: &Dataset, board: &Board) -> Vec<u8> {
    let stone = quantize(graph, images, &Options { target: board.core, ..Options::default() }).unwrap().stone;
    host::with_test_vectors(&stone, &[images.image(1)]).unwrap()
}

/// Runs both programs and compares every layer with the host; a line of the table.
fn run(board: &'static Board, name: &str, stone: &[u8], images: &Dataset) -> Result<String, DeviceError> {
    let device = Device::of_board(board).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.stone");
    std::fs::write(&path, stone).unwrap();
    let run = device::run(device, &path, &TestImages::first(images, IMAGES).unwrap())?;
    for index in 0..IMAGES {
        let trace = host::trace(stone, images.image(index)).unwrap();
        let layers: Vec<u32> = trace.nodes.iter().map(|node| node.checksum).collect();
        assert_eq!(run.scores[index], trace.scores, "{name} on {}, image {index}", board.name);
        assert_eq!(run.layer_checksums[index], layers, "{name} on {}, image {index}", board.name);
    }
    assert_eq!(device::self_test(device, &path)?, [Ok(())], "{name} on {}", board.name);
    let (flash, ram) = (run.flash_bytes.unwrap(), run.ram_bytes.unwrap());
    assert!(flash <= board.flash.bytes.into() && ram <= board.ram.bytes.into(), "{run:?}");
    let instructions = run.instructions_per_inference.unwrap();
    Ok(format!("{flash:9} {ram:9} {instructions:12}  equal, {} layers", run.layer_checksums[0].len()))
}

#[test]
#[ignore = "needs QEMU and compilers for the boards: cargo xtask test"]
fn every_emulated_board_runs_a_network_of_each_family() {
    let digits = digits();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/resnet8-cifar10.onnx");
    let mut networks = vec![("resnet8-cifar10", skipstone_onnx::import_file(&file).unwrap(), waves())];
    networks.extend(TRAINED.map(|arch| (arch, trained(arch, &digits), digits[1].spread(64))));
    println!("{:14} {:17}     flash       RAM instructions  bytes", "board", "network");
    let boards: Vec<&'static Board> = Board::ALL.iter().filter(|board| board.machine.is_some()).collect();
    assert_eq!(boards.len(), 7);
    let (mut ran, mut refused) = (0, 0);
    for board in boards {
        for (name, graph, images) in &networks {
            let line = match run(board, name, &pack(graph, images, board), images) {
                Ok(line) => {
                    ran += 1;
                    line
                }
                Err(error @ DeviceError::Room { .. }) => {
                    refused += 1;
                    error.to_string()
                }
                Err(error) => panic!("{name} on {}: {error}", board.name),
            };
            println!("{:14} {name:17} {line}", board.name);
        }
    }
    println!("{ran} ran, {refused} do not fit");
    assert!(ran >= 26, "{ran} of 28");
}

#[test]
#[ignore = "needs a compiler for the board: cargo xtask test"]
fn what_does_not_fit_is_refused_before_building() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/resnet20-cifar10.onnx");
    let board = Board::named("microbit").unwrap();
    let stone = pack(&skipstone_onnx::import_file(&file).unwrap(), &waves(), board);
    let error = run(board, "resnet20-cifar10", &stone, &waves()).unwrap_err().to_string();
    let model = AlignedBytes::copy(&stone);
    let arena = Model::from_bytes(model.as_slice()).unwrap().arena_len() + 4096;
    assert!(error.starts_with("the model does not fit microbit: it takes "), "{error}");
    assert!(error.contains("of which there are 262144"), "{error}");
    assert!(error.ends_with(&format!("{arena} bytes of RAM with the stack, of which there are 16384")), "{error}");
}

/// The file with a bit changed and the checksum of what it is now.
fn changed(stone: &[u8], at: usize) -> Vec<u8> {
    let mut stone = stone.to_vec();
    stone[at] ^= 1;
    let mut header = Header::parse(stone.first_chunk().unwrap());
    header.checksum = checksum::of_file(&stone);
    stone[..Header::LEN].copy_from_slice(&header.emit());
    stone
}

#[test]
#[ignore = "needs QEMU and a compiler for the board: cargo xtask test"]
fn a_self_test_that_fails_names_the_layer() {
    let board = Board::named("netduinoplus2").unwrap();
    let device = Device::of_board(board).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.stone");
    let self_test = |stone: &[u8]| {
        std::fs::write(&path, stone).unwrap();
        device::self_test(device, &path)
    };
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/resnet8-cifar10.onnx");
    let images = waves();
    let plain = quantize(
        &skipstone_onnx::import_file(&file).unwrap(),
        &images,
        &Options { target: board.core, ..Options::default() },
    );
    let plain = plain.unwrap().stone;
    let stone = host::with_test_vectors(&plain, &[images.image(0), images.image(1)]).unwrap();
    let bytes = AlignedBytes::copy(&stone);
    let model = Model::from_bytes(bytes.as_slice()).unwrap();
    let named = |node: usize| format!("node {node} {}", model.string(model.node(node).name));
    // A checksum of the first vector; a score of the second.
    let vectors = model.header().vectors as usize;
    assert_eq!(self_test(&changed(&stone, vectors + 4 * 3)).unwrap(), [Err(named(3)), Ok(())]);
    let second = (stone.len() - vectors) / 2;
    let score = vectors + second + 4 * model.nodes().len();
    assert_eq!(self_test(&changed(&stone, score)).unwrap(), [Ok(()), Err("scores".into())]);
    // A layer that computes something else than on the host, by one step of one weight.
    let conv = (5..).find(|&node| model.node(node).op == OpCode::Conv as u8).unwrap();
    let wrong = self_test(&changed(&stone, model.node(conv).weights as usize)).unwrap();
    assert!(wrong.contains(&Err(named(conv))), "{wrong:?}");
    let error = self_test(&plain).unwrap_err().to_string();
    assert!(error.ends_with("the model has no test vectors: quantize it with --test-vectors 2"), "{error}");
}
