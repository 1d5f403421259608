//! Firmware that the command makes, builds and starts: in QEMU, and handed to a program that stands for probe-rs.
//!
//! These tests compile for microcontrollers, so `cargo test` lists them as ignored and `cargo xtask test` runs them.
#![cfg(unix)]

use serde_json::Value;
use skipstone::data::{self, Spec, Split};
use skipstone::pack::{Options, quantize};
use skipstone::target::{Board, Core};
use skipstone::{host, zoo};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// An untrained ResNet-8 for the digits, packed for `target`, with test vectors.
fn stone(seed: u64, target: Core) -> Vec<u8> {
    let spec: Spec = "digits".parse().unwrap();
    let digits = data::load(&spec, Split::Test).unwrap().spread(20);
    let (input, classes) = (Some(spec.dims()), Some(spec.classes().unwrap()));
    let options = zoo::Options { input, classes, seed, ..Default::default() };
    let mut graph = zoo::with_nontrivial_statistics(zoo::build("resnet8", &options).unwrap(), seed);
    graph.metadata.normalization = Some(spec.normalization());
    let stone = quantize(&graph, &digits, &Options { target, ..Options::default() }).unwrap().stone;
    host::with_test_vectors(&stone, &[digits.image(0), digits.image(1)]).unwrap()
}

/// The line of scores that a program prints for the picture of the template's `camera_row`.
fn scores(stone: &[u8]) -> String {
    let pixels: Vec<u8> = (0..64).map(|at| (13 * (at / 8) + 7 * (at % 8)) as u8).collect();
    let scores = host::trace(stone, &pixels).unwrap().scores;
    format!("scores {}", scores.iter().map(i8::to_string).collect::<Vec<_>>().join(" "))
}

fn assert_ran(output: &Output, stone: &[u8]) {
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}{errors}");
    for line in [&scores(stone), "PASS test vector 0", "PASS test vector 1"] {
        assert!(text.lines().any(|found| found == line), "`{line}` is not in: {text}{errors}");
    }
}

/// A folder of models, projects and what is compiled for them.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> String {
        std::fs::write(self.path(name), bytes).unwrap();
        self.path(name).to_str().unwrap().to_owned()
    }

    fn skipstone(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_skipstone"));
        command.args(arguments).env("SKIPSTONE_CACHE", self.path("cache"));
        command
    }

    /// `cargo` in a project, with nothing of the cargo that runs this test but what it has compiled of others' crates.
    fn cargo(&self, project: &Path, subcommand: &str) -> Output {
        let mut command = Command::new("cargo");
        for variable in ["CARGO", "RUSTC", "RUSTC_WRAPPER", "CARGO_TARGET_DIR", "RUSTFLAGS"] {
            command.env_remove(variable);
        }
        let release = ["--release", "--target-dir"];
        command.arg(subcommand).args(release).arg(self.path("cache/firmware/target"));
        command.current_dir(project).output().expect("cargo starts")
    }

    /// A program that stands for probe-rs: it notes its arguments, and says and exits as told.
    fn probe_rs(&self, name: &str, says: &str, code: u8) -> String {
        let folder = self.path(name);
        std::fs::create_dir(&folder).unwrap();
        let (program, noted) = (folder.join("probe-rs"), self.path("noted"));
        let script = format!("#!/bin/sh\necho \"$@\" >> {}\necho \"{says}\" >&2\nexit {code}\n", noted.display());
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        format!("{}:{}", folder.display(), std::env::var("PATH").unwrap())
    }

    fn noted(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.path("noted")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

fn assert_fails(output: &Output, parts: &[&str]) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    let last: Vec<&str> = errors.lines().filter(|line| line.starts_with("error: ")).collect();
    assert!(last.len() == 1 && parts.iter().all(|part| last[0].contains(part)), "{parts:?}: {errors}");
}

/// Into an empty folder, built and run there, nothing edited; a model that does not suit the board does not build.
#[test]
#[ignore = "needs QEMU and a compiler for the device: cargo xtask test"]
fn a_new_project_builds_and_runs_as_it_is() {
    let place = Place::new();
    for (board, core) in [("microbit", Core::CortexM0), ("mps2-an386", Core::CortexM4)] {
        let stone = stone(7, core);
        let file = place.write("model.stone", &stone);
        let project = place.path(board);
        let new = ["firmware", "new", project.to_str().unwrap(), "--board", board, "--model", &file];
        let made = place.skipstone(&new).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        let built = place.cargo(&project, "build");
        let said = String::from_utf8_lossy(&built.stderr);
        assert!(built.status.success(), "{said}");
        let (fits, flash) = (format!("fits {board}: yes"), format!("flash: model {} of ", stone.len()));
        for part in [&fits, &flash, "RAM: arena "] {
            assert!(said.lines().any(|line| line.starts_with("warning: ") && line.contains(part)), "{part}: {said}");
        }
        assert_ran(&place.cargo(&project, "run"), &stone);
    }

    let project = place.path("microbit");
    let fails = |part: &str| {
        let built = place.cargo(&project, "build");
        let said = String::from_utf8_lossy(&built.stderr).into_owned();
        assert!(!built.status.success() && said.contains(part), "{said}");
    };
    std::fs::write(project.join("model.stone"), stone(7, Core::CortexM4)).unwrap();
    fails("model.stone: the model is laid out for cortex-m4, programs for thumbv6m-none-eabi do not read it");
    std::fs::write(project.join("model.stone"), stone(7, Core::CortexM0)).unwrap();
    let map = std::fs::read_to_string(project.join("memory.x")).unwrap();
    std::fs::write(project.join("memory.x"), map.replace("LENGTH = 0x30000", "LENGTH = 64K")).unwrap();
    fails("bytes of flash are missing");
}

#[test]
#[ignore = "needs QEMU and a compiler for the device: cargo xtask test"]
fn an_emulated_board_is_flashed_and_gets_another_model() {
    let place = Place::new();
    let stones = [7, 8].map(|seed| stone(seed, Core::CortexM4));
    let [first, second] = [0, 1].map(|index| place.write(&format!("{index}.stone"), &stones[index]));
    assert_ne!(scores(&stones[0]), scores(&stones[1]));
    let flash = |arguments: &[&str]| {
        let arguments = [&["flash"], arguments, &["--board", "mps2-an386"]].concat();
        place.skipstone(&arguments).output().unwrap()
    };
    assert_ran(&flash(&[&first]), &stones[0]);
    assert_ran(&flash(&[&second, "--only-model"]), &stones[1]);

    // The program does not run a model that arrived damaged.
    let dry = flash(&[&second, "--only-model", "--dry-run", "--json"]);
    let report: Value = serde_json::from_slice(&dry.stdout).expect("JSON");
    assert_eq!((report["schema"].as_u64(), report["model_bytes"].as_u64()), (Some(1), Some(stones[1].len() as u64)));
    let command: Vec<&str> = report["commands"][0].as_str().unwrap().split(' ').collect();
    let loaded = place.path("cache/firmware/mps2-an386/replacement.stone");
    let mut damaged = std::fs::read(&loaded).unwrap();
    damaged[5000] ^= 1;
    std::fs::write(&loaded, damaged).unwrap();
    let output = Command::new(command[0]).args(&command[1..]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && said.starts_with("error checksum "), "{said}");

    // A model of other layers needs another program.
    let spec: Spec = "digits".parse().unwrap();
    let digits = data::load(&spec, Split::Test).unwrap().spread(20);
    let (input, classes) = (Some(spec.dims()), Some(spec.classes().unwrap()));
    let options = zoo::Options { input, classes, seed: 7, ..Default::default() };
    let mut graph = zoo::with_nontrivial_statistics(zoo::build("resnet20", &options).unwrap(), 7);
    graph.metadata.normalization = Some(spec.normalization());
    let options = Options { target: Core::CortexM4, ..Options::default() };
    let large = place.write("large.stone", &quantize(&graph, &digits, &options).unwrap().stone);
    assert_fails(
        &flash(&[&large, "--only-model"]),
        &["cannot replace the model on mps2-an386: it takes ", "--only-model"],
    );
}

#[test]
#[ignore = "needs a compiler for the device: cargo xtask test"]
fn a_real_board_is_handed_to_probe_rs() {
    let place = Place::new();
    let file = place.write("model.stone", &stone(7, Core::CortexM4));
    let flash = |path: &str, options: &[&str]| {
        let arguments = [&["flash", &file, "--board", "nucleo-f446re"], options].concat();
        place.skipstone(&arguments).env("PATH", path).output().unwrap()
    };
    let (works, unplugged) =
        (place.probe_rs("a", "", 0), place.probe_rs("b", "Error: No connected probes were found.", 1));
    let folder = place.path("cache/firmware/nucleo-f446re");
    let shown = |name: &str| folder.join(name).display().to_string();

    let dry = flash(&unplugged, &["--dry-run"]);
    let said = String::from_utf8_lossy(&dry.stdout);
    let command = format!("probe-rs run --chip STM32F446RETx {}", shown("program.elf"));
    assert!(dry.status.success() && said.contains(&format!("command: {command}\n")), "{said}");
    assert!(said.contains("nucleo-f446re: program ") && said.contains(" at 0x08020000, RAM "), "{said}");
    assert_eq!(place.noted(), [""; 0]);
    assert_fails(&flash(&unplugged, &[]), &["no debug probe is connected", "probe-rs list"]);
    assert_fails(&flash(&works, &["--only-model"]), &["flash it once without --only-model"]);

    assert!(flash(&works, &[]).status.success());
    assert!(flash(&works, &["--only-model"]).status.success());
    let model = format!("--binary-format bin --base-address 0x8020000 {}", shown("replacement.stone"));
    let expected = [
        format!("run --chip STM32F446RETx {}", shown("program.elf")),
        format!("run --chip STM32F446RETx {}", shown("program.elf")),
        format!("download --chip STM32F446RETx {model}"),
        "reset --chip STM32F446RETx".into(),
        format!("attach --chip STM32F446RETx {}", shown("flashed.elf")),
    ];
    assert_eq!(place.noted(), expected);
}

/// What the ROMs of Raspberry Pi's chips look for is where they look.
#[test]
#[ignore = "needs a compiler for the device: cargo xtask test"]
fn boards_with_a_drive_get_a_file_for_it() {
    let place = Place::new();
    for (board, core, family) in [("pico", Core::CortexM0, 0xE48B_FF56_u32), ("pico2", Core::CortexM33, 0xE48B_FF59)] {
        let stone = stone(7, core);
        let file = place.write("model.stone", &stone);
        let output = place.skipstone(&["flash", &file, "--board", board, "--dry-run", "--json"]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        println!("{board}: program {} bytes, RAM {}", report["program_bytes"], report["ram_bytes"]);
        assert!(report["program_bytes"].as_u64().unwrap() < 64 << 10, "{report}");
        let uf2 = std::fs::read(report["image"].as_str().unwrap()).unwrap();
        let blocks: Vec<&[u8]> = uf2.chunks_exact(512).collect();
        let word = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        assert!(blocks.iter().all(|block| word(block, 28) == family), "{board}");
        let page = |address: u32| *blocks.iter().find(|block| word(block, 12) == address).unwrap();
        let flash = Board::named(board).unwrap().flash.origin;
        // A vector table begins with the stack's start, in RAM, and the reset's address, in flash.
        let (vectors, is_marked) = if board == "pico" {
            (page(flash + 256), page(flash)[32..288].iter().any(|&byte| byte != 0 && byte != 0xFF))
        } else {
            let first = blocks.iter().take_while(|block| word(block, 12) < flash + 4096);
            (page(flash), first.flat_map(|block| block[32..288].chunks(4)).any(|bytes| word(bytes, 0) == 0xFFFF_DED3))
        };
        assert!(is_marked && word(vectors, 32) >> 20 == 0x200 && word(vectors, 36) >> 20 == 0x100, "{board}");
        let model = page(report["model_address"].as_u64().unwrap() as u32);
        assert_eq!(model[32..288], stone[..256], "{board}");
        // No board is here with its button held.
        let output = place.skipstone(&["flash", &file, "--board", board]).output().unwrap();
        assert_fails(&output, &["no drive RP", "hold the button BOOTSEL", "firmware.uf2", "--probe"]);
    }
}
