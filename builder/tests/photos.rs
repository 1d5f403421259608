//! Somebody's network and somebody else's photos.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

fn skipstone(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_skipstone")).args(arguments).output().expect("the program starts")
}

/// Runs a command that must succeed; gives what it prints as JSON, and what it says besides.
fn json(arguments: &[&str]) -> (Value, String) {
    let output = skipstone(&[arguments, &["--json"]].concat());
    let remarks = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(output.status.success(), "{arguments:?}: {remarks}");
    let value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
    (value, remarks)
}

/// Runs a command that must fail with `code` and, at the end, a line that holds all of `parts`.
fn fails(arguments: &[&str], code: i32, parts: &[&str]) {
    let output = skipstone(arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
    let line = errors.lines().last().unwrap_or_default();
    assert!(line.starts_with("error: "), "{arguments:?}: {errors}");
    for part in parts {
        assert!(line.contains(part), "{arguments:?}: `{part}` is not in: {line}");
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders have names in UTF-8")
}

/// Photos of patterns, `count` of each class, of odd sizes, PNG and JPEG.
fn photos(folder: &Path, classes: [&str; 3], count: u32) -> String {
    for (class, name) in classes.into_iter().enumerate() {
        std::fs::create_dir_all(folder.join(name)).unwrap();
        for i in 0..count {
            let image = image::RgbImage::from_fn(19 + i % 7, 17 + i % 5, |x, y| {
                let [across, down] = [(x + i) / 3 % 2, (y + i / 2) / 3 % 2];
                let on = [across, down, across ^ down][class] == 1;
                let level = if on { 200 - i as u8 } else { 30 + i as u8 };
                image::Rgb([level, 255 - level, (x * 5 + y + i) as u8])
            });
            let extension = if i % 2 == 0 { "png" } else { "jpg" };
            image.save(folder.join(name).join(format!("{i}.{extension}"))).unwrap();
        }
    }
    format!("folder:{}", text(folder))
}

/// A copy of a network with other metadata or parameters.
fn changed(file: &Path, to: &Path, change: impl FnOnce(&mut skipstone_onnx::Graph)) {
    let mut graph = skipstone_onnx::import(&std::fs::read(file).unwrap()).unwrap();
    change(&mut graph);
    std::fs::write(to, skipstone_onnx::export(&graph, skipstone_onnx::Batch::Any)).unwrap();
}

#[test]
fn a_network_of_others_learns_three_classes() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| text(&folder.path().join(name)).to_owned();
    let data = photos(&folder.path().join("photos"), ["across", "checks", "down"], 24);
    let (ours, theirs) = (path("ours.onnx"), path("theirs.onnx"));
    json(&["export", "--arch", "resnet8", "--input", "3x16x16", "--seed", "1", "-o", &ours]);
    // As others write it: without normalization.
    changed(ours.as_ref(), theirs.as_ref(), |graph| graph.metadata = Default::default());
    let out = path("run");
    let train = ["train", "--init", &theirs, "--data", &data, "--epochs", "6", "--out", &out];
    fails(&train, 2, &["theirs.onnx", "--raw", "--mean"]);
    fails(&[&train[..], &["--raw", "--arch", "plain20"]].concat(), 2, &["`resnet8`", "`plain20`"]);
    fails(&[&train[..], &["--raw", "--freeze", "layer9"]].concat(), 1, &["`layer9...`", "stem"]);
    fails(&[&train[..], &["--raw", "--input", "3x32x32"]].concat(), 2, &["3x16x16", "3x32x32"]);
    for lr in ["-0.1", "0", "nan", "inf"] {
        fails(&[&train[..], &["--raw", "--lr", lr]].concat(), 2, &["`lr` is", "above 0"]);
    }
    fails(&[&train[..], &["--raw", "--lr", "x"]].concat(), 2, &["--lr", "x"]);
    fails(&[&train[..6], &["-1", "--out", &out]].concat(), 2, &["--epochs", "-1"]);
    fails(&[&train[..], &["--mean", "0,0,0", "--std", "-1,1,1"]].concat(), 2, &["--std", "positive"]);
    fails(&["quantize", &theirs, "--calib", &data, "-o", &path("x.stone"), "--count", "-1"], 2, &["--count", "-1"]);
    assert!(!Path::new(&out).exists());

    // All of a network that was never trained has to learn.
    let pixels = ["--mean", "0.5,0.5,0.5", "--std", "0.5,0.5,0.5", "--lr", "0.1"];
    let (result, remarks) = json(&[&train[..], &pixels].concat());
    assert!(result["accuracy"].as_f64().unwrap() > 0.7, "{result} {remarks}");
    assert_eq!(remarks.matches("new head").count(), 1, "{remarks}");
    assert!(remarks.contains("10 classes") && remarks.contains("data set's 3"), "{remarks}");
    let (int8, _) = json(&["quantize", &out, "--calib", &data, "-o", &path("m.stone")]);
    assert!((int8["accuracy_int8"].as_f64().unwrap() - result["accuracy"].as_f64().unwrap()).abs() < 0.2, "{int8}");

    // The head alone: all else is as it was, to the bit, statistics of batch normalization included.
    let alone = path("alone");
    json(&[&train[..7], &["--out", &alone, "--head-only"], &pixels].concat());
    let read = |file: &str| skipstone_onnx::import(&std::fs::read(file).unwrap()).unwrap();
    let (before, after) = (read(&theirs), read(&format!("{alone}/model.onnx")));
    let mut kept = 0;
    for (_, name, parameter) in after.parameters() {
        let (_, _, old) = before.parameters().find(|(_, other, _)| *other == name).expect(name);
        if parameter.tensor.dims()[0] == 3 && old.tensor.dims()[0] == 10 {
            continue;
        }
        assert!(parameter.tensor == old.tensor, "{name}");
        kept += 1;
    }
    assert_eq!(kept + 2, before.parameters().count());
    let config = std::fs::read_to_string(format!("{alone}/config.toml")).unwrap();
    assert!(config.contains("head_only = true") && config.contains("theirs.onnx"), "{config}");

    names_of_classes_decide(folder.path(), &out, &data);
    numbers_that_are_none_are_named(folder.path(), &out, &data);
}

fn names_of_classes_decide(folder: &Path, run: &str, data: &str) {
    let path = |name: &str| text(&folder.join(name)).to_owned();
    let other = photos(&folder.join("other"), ["across", "checks", "dawn"], 12);
    let stone = path("other.stone");
    let both = ["only the network has `down`", "only the data set has `dawn`"];
    fails(&["eval", run, "--data", &other], 1, &both);
    fails(&["eval", &path("m.stone"), "--data", &other], 1, &both);
    fails(&["verify", run, "--data", &other], 1, &both);
    let out = path("renamed");
    let train = ["train", "--init", run, "--data", &other, "--epochs", "1", "--out", &out];
    fails(&train, 1, &[both[0], both[1], "--new-head"]);
    let (_, remarks) = json(&[&train[..], &["--new-head"]].concat());
    assert!(remarks.contains("new head"), "{remarks}");
    // The classes of a run stay its classes.
    std::fs::rename(folder.join("other/dawn"), folder.join("other/dusk")).unwrap();
    fails(&["train", "--resume", "--out", &out], 1, &["`dawn`", "`dusk`"]);

    // The same classes in another order: labels go by name.
    let (accuracy, _) = json(&["eval", run, "--data", data]);
    let turned = path("turned.onnx");
    changed(&folder.join("run/model.onnx"), turned.as_ref(), |graph| {
        let head = graph.nodes().last().unwrap().inputs[1..].to_vec();
        for id in head {
            let tensor = graph.parameter_mut(id).unwrap().data_mut();
            let each = tensor.len() / 3;
            tensor.rotate_left(each);
        }
        graph.metadata.class_names.rotate_left(1);
    });
    let (same, remarks) = json(&["eval", &turned, "--data", data]);
    assert_eq!(same["accuracy"], accuracy["accuracy"], "{remarks}");
    assert_eq!(remarks.matches("in another order").count(), 1, "{remarks}");
    let (int8, _) = json(&["quantize", &turned, "--calib", data, "-o", &stone]);
    assert_eq!(int8["accuracy_float"], accuracy["accuracy"]);
    let (same, _) = json(&["eval", &stone, "--data", data]);
    assert_eq!(same["accuracy"], int8["accuracy_int8"]);
    let (trained, remarks) = json(&["train", "--init", &turned, "--data", data, "--epochs", "1", "--out", &path("on")]);
    assert!(remarks.contains("in another order") && !remarks.contains("new head"), "{remarks}");
    assert!(trained["accuracy"].as_f64().unwrap() > 0.6, "{trained}");
}

fn numbers_that_are_none_are_named(folder: &Path, run: &str, data: &str) {
    let path = |name: &str| text(&folder.join(name)).to_owned();
    let odd = path("odd.onnx");
    changed(&folder.join("run/model.onnx"), odd.as_ref(), |graph| {
        let id = graph.nodes()[0].inputs[1];
        graph.parameter_mut(id).unwrap().data_mut().fill(3e38);
    });
    let photo = format!("{}/across/0.png", data.strip_prefix("folder:").unwrap());
    fails(&["eval", &odd, "--data", data], 1, &["not finite"]);
    fails(&["run", &odd, &photo], 1, &["not finite"]);
    fails(&["verify", &odd, "--data", data, "--float-only"], 1, &["a score is"]);
    fails(&["train", "--init", &odd, "--data", data, "--out", &path("nan")], 1, &["diverged"]);
    fails(&["train", "--init", run, "--data", data, "--lr", "1e30", "--out", &path("far")], 1, &["diverged", "--lr"]);
    let pointer = path("pointer.onnx");
    std::fs::write(&pointer, "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n").unwrap();
    fails(&["eval", &pointer, "--data", data], 1, &["pointer.onnx", "git lfs pull"]);
    // A photo that is cut short.
    let whole = std::fs::read(folder.join("photos/across/1.jpg")).unwrap();
    let cut = path("cut.jpg");
    std::fs::write(&cut, &whole[..whole.len() * 9 / 10]).unwrap();
    fails(&["run", run, &cut], 1, &["cut.jpg", "cut short"]);
}

#[test]
fn a_run_that_began_with_a_network_is_one_process_and_resumes_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| text(&folder.path().join(name)).to_owned();
    let data = photos(&folder.path().join("photos"), ["across", "checks", "down"], 60);
    let (theirs, init) = (path("theirs.onnx"), path("init.onnx"));
    json(&["export", "--arch", "resnet8", "--input", "3x16x16", "--seed", "2", "-o", &theirs]);
    changed(theirs.as_ref(), init.as_ref(), |graph| graph.metadata = Default::default());
    let [whole, killed] = ["whole", "killed"].map(path);
    let options =
        ["train", "--init", &init, "--raw", "--data", &data, "--epochs", "4", "--freeze", "stem", "--lr", "1e-3"];
    json(&[&options[..], &["--out", &whole]].concat());
    let mut child = Command::new(env!("CARGO_BIN_EXE_skipstone"))
        .args([&options[..], &["--out", &killed]].concat())
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("the program starts");
    let history = folder.path().join("killed/history.csv");
    let deadline = Instant::now() + Duration::from_secs(120);
    while !history.exists() && child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "no epoch ended within two minutes");
        std::thread::sleep(Duration::from_millis(5));
    }
    // Stopped, not ended: it holds its folder for as long as the others try.
    let stopped = kill_process(Pid::from_child(&child), Signal::STOP);
    if stopped.is_ok() && child.try_wait().unwrap().is_none() {
        fails(&["train", "--resume", "--out", &killed], 1, &["killed", "another process"]);
        fails(&[&options[..], &["--out", &killed]].concat(), 1, &["another process"]);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // What it began with is not needed any more.
    std::fs::remove_file(&init).unwrap();
    let (result, _) = json(&["train", "--resume", "--out", &killed]);
    assert_eq!(result["epochs"], 4);
    for file in ["model.onnx", "last.safetensors"] {
        let [whole, killed] = [&whole, &killed].map(|run| std::fs::read(Path::new(run).join(file)).unwrap());
        if file == "model.onnx" {
            let weights = |bytes: &[u8]| {
                let graph = skipstone_onnx::import(bytes).unwrap();
                graph.parameters().map(|(_, _, parameter)| parameter.tensor.clone()).collect::<Vec<_>>()
            };
            assert!(weights(&whole) == weights(&killed), "another best network");
        } else {
            let tensors =
                |bytes: &[u8]| bytes[8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize..].to_vec();
            assert!(tensors(&whole) == tensors(&killed), "other weights");
        }
    }
}
