//! `update`, `send` and `verify --on`: the command against a board in this process.

mod board;

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

fn skipstone(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_skipstone")).args(arguments).output().expect("the program starts")
}

fn json(arguments: &[&str]) -> Value {
    let output = skipstone(&[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    let schema = if value.is_array() { &value[0]["schema"] } else { &value["schema"] };
    assert_eq!(*schema, 1, "{arguments:?}: {value}");
    value
}

/// The command fails with this exit code and one line that holds all of `parts`.
fn fails(arguments: &[&str], code: i32, parts: &[&str]) {
    let output = skipstone(arguments);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
    let line = text.lines().last().unwrap_or_default();
    for part in parts {
        assert!(line.starts_with("error: ") && line.contains(part), "{arguments:?}: `{part}`: {text}");
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders have names in UTF-8")
}

/// A ResNet-8 for the digits, untrained, and it packed: `name.onnx` and `name.stone` in the folder.
fn pack(folder: &Path, name: &str, seed: &str) -> (String, String) {
    let path = |extension: &str| text(&folder.join(name).with_extension(extension)).to_owned();
    let (onnx, stone) = (path("onnx"), path("stone"));
    let arguments = ["export", "--arch", "resnet8", "--input", "1x8x8", "--seed", seed, "-o", &onnx];
    assert!(skipstone(&arguments).status.success());
    let arguments = ["quantize", &onnx, "--calib", "digits", "--count", "50", "-o", &stone];
    assert!(skipstone(&arguments).status.success());
    (onnx, stone)
}

#[test]
fn a_board_gets_a_model_and_classifies_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let (_, stone) = pack(folder.path(), "first", "1");
    let (_, other) = pack(folder.path(), "second", "2");
    let photo = text(&folder.path().join("photo.png")).to_owned();
    image::GrayImage::from_fn(9, 9, |x, y| image::Luma([(x * 20 + y * 9) as u8])).save(&photo).unwrap();
    let to = board::on_tcp(board::program(false));

    fails(&["send", &stone, &photo, "--to", &to], 1, &[&to, "the board has no model; `skipstone update", "sends it"]);
    let update = json(&["update", &stone, "--to", &to]);
    assert_eq!(
        (&update["board"], &update["replaced"], &update["repeated"]),
        (&"test board".into(), &Value::Null, &0.into())
    );
    assert_eq!(update["bytes"], std::fs::metadata(&stone).unwrap().len());
    assert_eq!(json(&["update", &stone, "--to", &to])["bytes"], 0);

    // The board's scores are the host's.
    let sent = json(&["send", &stone, &photo, &photo, "--to", &to]);
    let here = json(&["run", &stone, &photo, &photo]);
    assert_eq!((sent[0]["top"].clone(), sent[1]["top"].clone()), (here[0]["top"].clone(), here[1]["top"].clone()));
    assert_eq!(sent[0]["scores"].as_array().unwrap().len(), 10);
    let output = skipstone(&["send", &stone, &photo, "--to", &to]);
    assert!(String::from_utf8(output.stdout).unwrap().contains("photo.png: "));

    fails(&["send", &other, &photo, "--to", &to], 1, &["the board has another model: ", "second.stone is "]);
    let replaced = json(&["update", &other, "--to", &to]);
    assert_eq!(replaced["replaced"], update["checksum"]);
    fails(&["send", &stone, &photo, "--to", &to], 1, &["the board has another model: "]);
}

/// The layers of a board are compared with those of the host, and saved.
#[test]
fn a_board_is_verified_layer_by_layer() {
    let folder = tempfile::tempdir().unwrap();
    let (onnx, stone) = pack(folder.path(), "model", "1");
    let to = board::on_tcp(board::program(false));
    let verify = |model: &str, more: &[&str]| {
        let arguments = [&["verify", model, "--data", "digits", "--count", "4", "--on", &to], more].concat();
        json(&arguments)
    };
    let same = |report: &Value| {
        let layers = report["layers"].as_array().unwrap();
        assert!(layers.len() > 8 && layers.iter().all(|layer| layer["differing"] == 0 && layer["rmse"] == 0.0));
        assert_eq!(
            (&report["top1_agreement"], &report["count"], &report["rmse"]),
            (&1.0.into(), &4.into(), &0.0.into())
        );
        assert_eq!(report["accuracy_board"], report["accuracy_host"]);
    };
    fails(&["verify", &stone, "--data", "digits", "--on", &to], 1, &["the board has no model; `skipstone update"]);
    json(&["update", &stone, "--to", &to]);
    let report = verify(&stone, &[]);
    same(&report);
    assert_eq!(report["float_top1_agreement"], Value::Null);
    let saved = folder.path().join("saved");
    let report = verify(&onnx, &["--stone", &stone, "--outputs", "--save", text(&saved)]);
    same(&report);
    assert!(report["float_top1_agreement"].as_f64().unwrap() > 0.0);
    let file = |name: &str| std::fs::read(saved.join(name)).unwrap();
    assert_eq!(file("inputs.npy").len(), 128 + 4 * 64);
    assert!(file("scores-board.npy").len() == 128 + 4 * 10 && file("scores-board.npy") == file("scores-host.npy"));
    assert!(
        file("layer-000-board.npy").len() > 128 + 4 * 64 && file("layer-003-board.npy") == file("layer-003-host.npy")
    );
    fails(
        &["verify", &onnx, "--data", "digits", "--on", &to],
        2,
        &["give the one that is on the board by --stone FILE"],
    );
    fails(&["verify", &stone, "--data", "digits", "--outputs"], 2, &["--on"]);
}

#[test]
fn a_board_that_computes_something_else_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let (onnx, stone) = pack(folder.path(), "model", "1");
    let to = board::on_tcp(board::program(true));
    json(&["update", &stone, "--to", &to]);
    let verify = ["verify", &stone, "--data", "digits", "--count", "2", "--on", &to];
    fails(&verify, 1, &[&to, "layer ", "is the first that differs on the board: in ", "of 2 of 2 images"]);
    let output = skipstone(&[&verify[..], &["--json"]].concat());
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let first = &report["layers"][0];
    assert!(first["differing"].as_u64().unwrap() > 0 && first["rmse"].as_f64().unwrap() > 0.0, "{first}");
    assert!(report["max_abs_diff"].as_f64().unwrap() > 0.0 && report["board"] == "test board");
    // With test images in the model such a board does not take it.
    let tested = text(&folder.path().join("tested.stone")).to_owned();
    let quantize = ["quantize", &onnx, "--calib", "digits", "--count", "50", "--test-vectors", "1", "-o", &tested];
    assert!(skipstone(&quantize).status.success());
    let refused = "the board refuses: test image 0 of the model has another result there, from node 0 on";
    fails(&["update", &tested, "--to", &to], 1, &[refused]);
    json(&["update", &tested, "--to", &board::on_tcp(board::program(false))]);
}

#[test]
fn lines_that_cannot_be_used_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let (_, stone) = pack(folder.path(), "model", "1");
    let update = |to: &str, code, parts: &[&str]| fails(&["update", &stone, "--to", to], code, parts);
    update("/dev/ttyACM0", 2, &["give serial:/dev/ttyACM0, serial:/dev/ttyACM0@115200 or tcp:HOST:PORT"]);
    update("serial:/dev/skipstone-absent", 1, &["serial:/dev/skipstone-absent: there is no such port: is the board"]);
    update(&format!("serial:{stone}"), 1, &["cannot open it as a serial port at 115200 baud"]);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    update(&format!("tcp:{closed}"), 1, &["cannot connect: "]);
    // Something that listens and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    update(&format!("tcp:{}", silent.local_addr().unwrap()), 1, &["no answer for 3.", "is the board on"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_serial_port_is_used_by_one_program_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let (_, stone) = pack(folder.path(), "model", "1");
    let path = board::on_terminal();
    let to = format!("serial:{}@115200", path.display());
    assert!(json(&["update", &stone, "--to", &to])["bytes"].as_u64().unwrap() > 10_000);
    let other = std::fs::File::open(&path).unwrap();
    other.lock().unwrap();
    fails(
        &["update", &stone, "--to", &to],
        1,
        &[&format!("serial:{}: another program has the port open", path.display())],
    );
    other.unlock().unwrap();
    assert_eq!(json(&["update", &stone, "--to", &to])["bytes"], 0);
}
