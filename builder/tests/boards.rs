//! What the command does about boards: whether a model fits them, and what is refused before anything is built.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn skipstone(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_skipstone")).args(arguments).output().expect("the program starts")
}

/// The one line on standard error of a command that has to end with `code`; it holds all of `parts`.
fn assert_fails(output: &Output, code: i32, parts: &[&str]) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), errors.lines().count()), (Some(code), 1), "{errors}");
    for part in parts {
        assert!(errors.contains(part), "`{part}` is not in: {errors}");
    }
}

/// A folder with an untrained ResNet-8 for images of `input`, and its file packed with `options`.
struct Model {
    folder: tempfile::TempDir,
}

impl Model {
    fn packed(options: &[&str]) -> Self {
        let model = Self { folder: tempfile::tempdir().unwrap() };
        let (network, stone) = (model.path("network.onnx"), model.path("model.stone"));
        let [network, stone] = [&network, &stone].map(|path| path.to_str().unwrap());
        let quantize = ["quantize", network, "--calib", "digits", "--count", "20", "--eval-count", "0", "-o", stone];
        for command in
            [&["export", "--arch", "resnet8", "--input", "1x8x8", "-o", network][..], &[&quantize, options].concat()]
        {
            let output = skipstone(command);
            assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        model
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn stone(&self) -> String {
        text(&self.path("model.stone"))
    }
}

fn text(path: &Path) -> String {
    path.to_str().expect("UTF-8").to_owned()
}

#[test]
fn a_model_fits_a_board_or_the_command_fails() {
    let model = Model::packed(&["--target", "cortex-m0"]);
    let stone = model.stone();
    let checked = |arguments: &[&str]| {
        let output = skipstone(&[&["check", &stone, "--json"], arguments].concat());
        let boards: Vec<Value> = serde_json::from_slice(&output.stdout).expect("JSON");
        (output, boards)
    };
    let (output, boards) = checked(&["--board", "microbit", "nrf52840-dk"]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let names: Vec<&str> = boards.iter().map(|board| board["board"].as_str().unwrap()).collect();
    assert_eq!(names, ["microbit", "nrf52840-dk"]);
    assert!(boards.iter().all(|board| board["schema"] == 1), "{boards:?}");
    assert_eq!(boards[0]["flash"], 256 * 1024);
    assert_eq!(boards[0]["ram"], 16 * 1024);
    for board in &boards {
        let spare = ["flash_spare", "ram_spare"].map(|name| board[name].as_i64().unwrap());
        assert!(board["fits"] == true && spare.iter().all(|&spare| spare > 0), "{board}");
    }

    let (output, boards) = checked(&["--board", "blue-pill"]);
    assert!(boards[0]["fits"] == false && boards[0]["flash_spare"].as_i64().unwrap() < 0, "{boards:?}");
    assert_fails(
        &output,
        1,
        &["model.stone: does not fit blue-pill: ", " bytes of flash are missing (it has 65,536; "],
    );

    let (output, boards) = checked(&["--all"]);
    assert!(boards.len() > 15);
    let misfits = boards.iter().filter(|board| board["fits"] == false).count();
    let expected = format!("does not fit {misfits} of {} boards: ", boards.len());
    let one = "does not fit blue-pill";
    assert_fails(&output, 1, &[if misfits == 1 { one } else { &expected }, "blue-pill"]);
}

#[test]
fn what_no_board_takes_is_refused_in_one_line() {
    let model = Model::packed(&["--target", "cortex-m4"]);
    let (stone, network) = (model.stone(), text(&model.path("network.onnx")));
    let refused = |code, arguments: &[&str], parts: &[&str]| assert_fails(&skipstone(arguments), code, parts);
    let other_core = ["does not fit pico: packed for cortex-m4, with weights that Cortex-M0", "--target cortex-m0"];
    refused(1, &["check", &stone, "--board", "pico"], &other_core);
    refused(2, &["check", &stone, "--board", "nucleo-f44"], &["nucleo-f44", "nearest are nucleo-f446re"]);
    refused(2, &["check", &stone], &["--board", "--help"]);
    let quantize = ["network.onnx: ", "skipstone quantize", "--board NAME"];
    refused(1, &["check", &network, "--board", "pico"], &quantize);
    refused(1, &["check", "absent.stone", "--all"], &["cannot read absent.stone"]);
}

#[test]
fn firmware_is_refused_before_it_is_built() {
    let model = Model::packed(&["--target", "cortex-m4"]);
    let (stone, network) = (model.stone(), text(&model.path("network.onnx")));
    let empty = model.path("empty");
    std::fs::create_dir(&empty).unwrap();
    // Neither probe-rs nor a compiler is there.
    let refused = |code, arguments: &[&str], parts: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_skipstone"));
        command.args(arguments).env("PATH", &empty).env("SKIPSTONE_CACHE", model.path("cache"));
        assert_fails(&command.output().expect("the program starts"), code, parts);
    };
    refused(
        1,
        &["flash", &stone, "--board", "pico"],
        &["does not fit pico: packed for cortex-m4", "--target cortex-m0"],
    );
    refused(2, &["flash", &stone, "--board", "nucleo-f44"], &["nearest are nucleo-f446re"]);
    refused(1, &["flash", &network, "--board", "pico"], &["skipstone quantize"]);
    refused(2, &["flash", &stone, "--board", "mps2-an386", "--probe"], &["QEMU alone", "--probe"]);
    refused(1, &["flash", &stone, "--board", "mps2-an386"], &["qemu-system-arm is missing", "apt-get install"]);
    let missing = ["probe-rs is missing, so nothing runs on nucleo-f446re", "cargo install probe-rs-tools"];
    refused(1, &["flash", &stone, "--board", "nucleo-f446re"], &missing);
    refused(1, &["flash", &stone, "--board", "nucleo-f446re", "--only-model"], &["flash it once without --only-model"]);
    assert!(!model.path("cache").exists());

    let new = |folder: &Path, board| {
        ["firmware", "new", &text(folder), "--board", board, "--model", &stone].map(str::to_owned)
    };
    let new = |folder: &Path, board| new(folder, board).to_vec();
    let arguments = new(model.folder.path(), "mps2-an386");
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    refused(1, &arguments, &["is there and not empty"]);
    let arguments = new(&model.path("project"), "microbit");
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    refused(1, &arguments, &["does not fit microbit: packed for cortex-m4"]);
    assert!(!model.path("project").exists());
}

#[test]
fn a_model_that_is_too_large_is_refused_with_numbers() {
    let model = Model::packed(&["--target", "cortex-m3"]);
    let flash = skipstone(&["flash", &model.stone(), "--board", "blue-pill"]);
    assert_fails(
        &flash,
        1,
        &["does not fit blue-pill: ", " bytes of flash are missing (it has 65,536; the model takes "],
    );
}

#[test]
fn a_project_is_whole_and_for_its_board() {
    let model = Model::packed(&["--target", "cortex-m4"]);
    let folder = model.path("My Camera");
    std::fs::create_dir(&folder).unwrap();
    let made =
        skipstone(&["firmware", "new", &text(&folder), "--board", "nrf52840-dk", "--model", &model.stone(), "--json"]);
    assert!(made.status.success(), "{made:?}");
    let made: Value = serde_json::from_slice(&made.stdout).expect("JSON");
    assert_eq!((made["board"].as_str(), made["package"].as_str()), (Some("nrf52840-dk"), Some("my-camera")));
    assert_eq!(made["schema"], 1);
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    assert_eq!(std::fs::read(folder.join("model.stone")).unwrap(), std::fs::read(model.path("model.stone")).unwrap());
    assert!(read(".cargo/config.toml").contains("runner = \"probe-rs run --chip nRF52840_xxAA\""));
    assert!(read("memory.x").contains("MODEL : ORIGIN = 0x00020000, LENGTH = 0xe0000"));
    for name in ["Cargo.toml", "build.rs", "src/main.rs", "README.md", ".cargo/config.toml"] {
        assert!(!read(name).contains("{{"), "{name}");
    }
    assert!(folder.join("vendor/board-rtt/src/lib.rs").is_file() && !folder.join("vendor/board-qemu").exists());
}
