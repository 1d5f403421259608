//! What the command says of cores and boards.

use serde_json::Value;
use std::process::{Command, Output};

fn skipstone(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_skipstone")).args(arguments).output().expect("the program starts")
}

fn inspect(stone: &str) -> Value {
    serde_json::from_slice(&skipstone(&["inspect", stone, "--json"]).stdout).expect("JSON")
}

/// Runs a command that is wrong usage and must say so in a line that holds all of `parts`.
fn is_refused(arguments: &[&str], parts: &[&str]) {
    let output = skipstone(arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), errors.lines().count()), (Some(2), 1), "{arguments:?}: {errors}");
    for part in parts {
        assert!(errors.contains(part), "{arguments:?}: `{part}` is not in: {errors}");
    }
}

#[test]
fn a_model_is_measured_on_the_host_and_refused_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let (network, stone) = (path("network.onnx"), path("m4.stone"));
    for command in [
        &["export", "--arch", "resnet8", "--input", "1x8x8", "-o", &network][..],
        &["quantize", &network, "--calib", "digits", "-o", &stone, "--eval-count", "0", "--target", "cortex-m4"],
    ] {
        assert!(skipstone(command).status.success(), "{command:?}");
    }
    let report: Value = serde_json::from_slice(&skipstone(&["bench", &stone, "--json"]).stdout).expect("JSON");
    assert_eq!((report["on"].as_str(), report["instructions"].as_u64()), (Some("host"), None));
    assert_eq!(report["schema"], 1);
    let times: Vec<u64> =
        report["layers"].as_array().unwrap().iter().map(|layer| layer["nanoseconds"].as_u64().unwrap()).collect();
    assert_eq!(times.len() as u64, inspect(&stone)["layers"].as_array().unwrap().len() as u64);
    assert!(times.is_sorted_by(|a, b| a >= b), "{times:?}");
    let shown = String::from_utf8(skipstone(&["bench", &stone, "--total"]).stdout).unwrap();
    let all: Vec<&str> = shown.lines().filter(|line| line.ends_with(|c: char| c.is_ascii_digit())).collect();
    assert!(all.len() == 1 && all[0].starts_with("all ") && shown.contains("MAC per ns"), "{shown}");

    is_refused(&["bench", &stone, "--on", "pico"], &["QEMU has no such board", "--on cortex-m0"]);
    is_refused(&["bench", &stone, "--on", "cortex-m5"], &["cortex-m5", "cortex-m55", "cortex-a72"]);
    is_refused(&["bench", &stone, "--plugin", "x.so"], &["--plugin", "--on"]);
    let output = skipstone(&["bench", &stone, "--on", "cortex-m0"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), errors.lines().count()), (Some(1), 1), "{errors}");
    assert!(errors.contains("packed for cortex-m4") && errors.contains("--target cortex-m0"), "{errors}");
}

#[test]
fn models_are_packed_for_cores_and_boards() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let (network, stone) = (path("network.onnx"), path("core.stone"));
    let exported = skipstone(&["export", "--arch", "resnet8", "--input", "1x8x8", "-o", &network]);
    assert!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));
    let quantize = ["quantize", &network, "--calib", "digits", "-o", &stone, "--count", "50", "--eval-count", "0"];
    // What standard error says of cores and boards.
    let packed = |options: &[&str], core: &str| {
        let output = skipstone(&[&quantize[..], options].concat());
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{options:?}: {errors}");
        let inspected = inspect(&stone);
        assert_eq!(inspected["core"], core, "{options:?}");
        let warnings = errors.lines().filter(|line| line.starts_with("warning: ")).map(str::to_owned);
        (warnings.collect::<Vec<_>>(), inspected)
    };
    let on = |inspected: &Value, name: &str| {
        let board = inspected["boards"].as_array().unwrap().iter().find(|board| board["board"] == name).unwrap();
        (board["fits"].as_bool().unwrap(), board["slowdown"].as_f64())
    };
    let (warnings, inspected) = packed(&[], "generic");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    for part in
        ["packed for no core in particular", "Cortex-M4", "Cortex-M55", "times the instructions", "--target", "--board"]
    {
        assert!(warnings[0].contains(part), "{part}: {warnings:?}");
    }
    assert_eq!(on(&inspected, "pico"), (true, Some(1.0)));
    assert!(matches!(on(&inspected, "pico2"), (true, Some(1.5..))), "{inspected}");
    assert!(packed(&["--target", "generic"], "generic").0.is_empty());

    let (warnings, inspected) = packed(&["--target", "cortex-m33"], "cortex-m33");
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!(["pico", "pico2"].map(|name| on(&inspected, name)), [(false, None), (true, Some(1.0))]);
    let shown = String::from_utf8(skipstone(&["inspect", &stone]).stdout).unwrap();
    assert!(shown.lines().any(|line| line == "packed for: cortex-m33"), "{shown}");
    let line = shown.lines().find(|line| line.starts_with("pico ")).unwrap();
    assert!(line.trim_end().ends_with("no, refused: packed for cortex-m33"), "{line}");

    let (warnings, inspected) = packed(&["--board", "nucleo-f446re"], "cortex-m4");
    assert!(warnings.is_empty() && on(&inspected, "nucleo-f446re").0, "{warnings:?}");
    let layers = |inspected: &Value, field: &str| -> Vec<Value> {
        inspected["layers"].as_array().unwrap().iter().map(|layer| layer[field].clone()).collect()
    };
    let convolutions = layers(&inspected, "why").into_iter().filter(|why| !why.is_null());
    assert!(convolutions.into_iter().all(|why| why == "fastest"), "{inspected}");
    let fastest = inspected["estimated_instructions"].as_u64().unwrap();

    // Less flash than the fastest kernels take, and less RAM; a goal that does not fit.
    let (_, smaller) = packed(&["--board", "nucleo-f446re", "--flash", "181000"], "cortex-m4");
    let (_, frugal) = packed(&["--target", "cortex-m4"], "cortex-m4");
    let [smaller, frugal] = [&smaller, &frugal].map(|inspected| inspected["estimated_instructions"].as_u64().unwrap());
    assert!(fastest < smaller && smaller < frugal, "{fastest} {smaller} {frugal}");
    let (_, narrow) = packed(&["--target", "cortex-m4", "--ram", "9000"], "cortex-m4");
    assert!(narrow["arena_bytes"].as_u64().unwrap() <= 9_000 - 4_096, "{narrow}");
    assert!(layers(&narrow, "next").iter().any(|next| next["instructions_saved"].as_u64() > Some(0)), "{narrow}");
    let tight = ["--target", "cortex-m4", "--optimize", "speed", "--flash", "150000"];
    let output = skipstone(&[&quantize[..], &tight].concat());
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && !errors.contains("does not fit"), "{errors}");

    let output = skipstone(&[&quantize[..], &["--board", "blue-pill"]].concat());
    let errors = String::from_utf8(output.stderr).unwrap();
    let last = errors.lines().last().unwrap();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(last.contains("no set of kernels fits: ") && last.contains(" bytes of flash are missing"), "{last}");

    let picture = path("tradeoff.svg");
    let shown = skipstone(&["inspect", &stone, "--tradeoff", "--svg", &picture, "--json"]);
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    let points = shown["points"].as_array().unwrap();
    for goal in ["speed", "ram", "size"] {
        assert!(points.iter().any(|point| point["optimize"] == goal), "{shown}");
    }
    let drawn = std::fs::read_to_string(&picture).unwrap();
    assert_eq!(drawn.matches("<circle").count(), points.len());
    // The name of older versions.
    packed(&["--target", "cortex-m"], "cortex-m4");

    is_refused(&[&quantize[..], &["--board", "nucleo-f44"]].concat(), &["nucleo-f44", "nearest", "nucleo-f446re"]);
    is_refused(&[&quantize[..], &["--target", "cortex-m5"]].concat(), &["cortex-m5", "cortex-m55", "dotprod"]);
    is_refused(&[&quantize[..], &["--target", "x86", "--board", "pico"]].concat(), &["--target", "--board"]);
}
