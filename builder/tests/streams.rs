//! Results go to standard output, for people or as JSON; everything else goes to standard error.

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn skipstone(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_skipstone")).args(arguments).output().expect("the program starts")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders have names in UTF-8")
}

/// Runs a command into a pipe: its result holds all of `parts`, of which standard error has none. `remarks` is what
/// standard error says besides.
fn people(arguments: &[&str], parts: &[&str], remarks: &[&str]) {
    let output = skipstone(arguments);
    let [result, other] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("UTF-8"));
    assert!(output.status.success(), "{arguments:?}: {other}");
    for part in parts {
        assert!(result.contains(part) && !other.contains(part), "{arguments:?}: `{part}`: {result}\n--\n{other}");
    }
    for remark in remarks {
        assert!(other.contains(remark) && !result.contains(remark), "{arguments:?}: `{remark}`: {result}\n--\n{other}");
    }
}

/// Runs a command for a program: standard output holds one JSON value, of the command's result, and nothing else; and
/// standard error has none of `parts`. Each result says the version of its fields.
fn programs(arguments: &[&str], parts: &[&str]) {
    let output = skipstone(&[arguments, &["--json"]].concat());
    let other = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {other}");
    let value: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
    let results = value.as_array().map_or(std::slice::from_ref(&value), Vec::as_slice);
    assert!(!results.is_empty() && results.iter().all(|result| result["schema"] == 1), "{arguments:?}: {value}");
    for part in parts {
        assert!(!other.contains(part), "{arguments:?}: `{part}`: {other}");
    }
}

fn both(arguments: &[&str], parts: &[&str], remarks: &[&str]) {
    people(arguments, parts, remarks);
    programs(arguments, parts);
}

#[test]
fn every_command_can_be_piped() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| text(&folder.path().join(name)).to_owned();
    let (onnx, stone, photo) = (path("m.onnx"), path("m.stone"), path("photo.png"));
    image::RgbImage::from_pixel(9, 9, image::Rgb([200, 10, 30])).save(&photo).unwrap();

    programs(&["doctor"], &[]);
    programs(&["man", &path("man1")], &[]);
    both(&["completions", "bash"], &["_skipstone"], &[]);
    both(&["zoo", "--arch", "resnet8"], &["macs", "resnet8"], &[]);
    both(&["export", "--arch", "resnet8", "--input", "1x8x8", "-o", &onnx], &["m.onnx: ", "parameters"], &[]);
    both(&["inspect", &onnx], &["operator", "BatchNormalization", "multiply-accumulates"], &[]);
    both(&["eval", &onnx, "--data", "digits"], &["accuracy", "images"], &[]);
    let quantize = ["quantize", &onnx, "--calib", "digits", "--count", "50", "-o", &stone];
    both(&quantize, &["m.stone: ", "arena", "accuracy"], &["calibrating on 50 images"]);
    both(&["inspect", &stone], &["rows kept", "global average pool", "Raspberry Pi Pico"], &[]);
    let verify = ["verify", &onnx, "--stone", &stone, "--data", "digits", "--count", "10", "--per-node"];
    both(&verify, &["ok   float scores", "ok   int8", "float node", "end to end"], &[]);
    let ranked = ["inspect", &onnx, "--quantization", "--calib", "digits", "--count", "20"];
    both(&ranked, &["signal to noise", "accuracy on 20 images"], &[]);
    both(&["run", &stone, &photo], &["photo.png: ", " %"], &[]);
    both(&["check", &stone, "--board", "nrf52840-dk"], &["nRF52840"], &[]);
    programs(&["inspect", &stone, "--tradeoff"], &[]);
    for (run, check) in [("a", true), ("b", false)] {
        let out = path(run);
        let train = ["train", "--arch", "resnet8", "--data", "digits", "--epochs", "1", "--out", &out];
        if check {
            let remarks = ["epoch   1/1: loss", " images/s", "1,433 images to train on and 364 to test with: "];
            people(&train, &["after 1 epochs", "class  train  test  accuracy", "most often mistaken: "], &remarks);
        } else {
            programs(&train, &["after 1 epochs"]);
        }
    }
    programs(&["report", &stone, "-o", &path("report.html")], &[]);
}

/// What [`every_command_can_be_piped`] does not run; tests beside this one do, and look for the version of the fields.
const ELSEWHERE: [&str; 6] = ["bench", "demo", "firmware", "flash", "send", "update"];

#[test]
fn no_command_is_left_out() {
    let source = include_str!("streams.rs");
    let help = String::from_utf8(skipstone(&[]).stdout).unwrap();
    let list = help.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
    let names: Vec<&str> =
        list.lines().filter(|line| line.starts_with("  ")).filter_map(|line| line.split(' ').nth(2)).collect();
    assert!(names.len() > 15, "{help}");
    for name in names.into_iter().filter(|name| !name.is_empty()) {
        let run = source.contains(&format!("[\"{name}\", ")) || source.contains(&format!("[\"{name}\"]"));
        assert!(run || ELSEWHERE.contains(&name), "no test runs `{name} --json`");
    }
}

#[test]
fn a_reader_that_stops_early_is_no_failure() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_skipstone"))
        .arg("zoo")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What cannot be written is said: `/dev/full` takes nothing.
#[cfg(target_os = "linux")]
#[test]
fn a_result_that_cannot_be_written_is_a_failure() {
    for options in [&[][..], &["--json"]] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_skipstone"));
        let output = command.args(["zoo", "--arch", "resnet8"]).args(options).stdout(full).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{errors}");
        assert!(
            errors.starts_with("error: cannot write to standard output") && errors.lines().count() == 1,
            "{errors}"
        );
    }
}
