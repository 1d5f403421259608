//! The program as a user runs it.

use safetensors::SafeTensors;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

fn skipstone(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_skipstone")).args(arguments).output().expect("the program starts")
}

/// Runs a command that must succeed and gives what it prints as JSON.
fn json(arguments: &[&str]) -> Value {
    let output = skipstone(&[arguments, &["--json"]].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
}

/// Runs a command that must fail with `code` and one line that holds all of `parts`.
fn fails(arguments: &[&str], code: i32, parts: &[&str]) {
    let output = skipstone(arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
    assert_eq!(errors.lines().count(), 1, "{arguments:?}: {errors}");
    assert!(errors.starts_with("error: "), "{arguments:?}: {errors}");
    for part in parts {
        assert!(errors.contains(part), "{arguments:?}: `{part}` is not in: {errors}");
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders have names in UTF-8")
}

fn entries(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// What `mpirun` does where the program lacks MPI: the processes would fight for the folder.
#[cfg(not(feature = "mpi"))]
#[test]
fn several_processes_without_mpi_are_refused_by_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    for (rank, code, error) in [
        (
            "0",
            1,
            "error: 4 processes were started, but this program was built without MPI: build it with --features mpi\n",
        ),
        ("1", 0, ""),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_skipstone"));
        command.args(["train", "--arch", "resnet8", "--data", "digits", "--out", text(&out)]);
        command.env("OMPI_COMM_WORLD_SIZE", "4").env("OMPI_COMM_WORLD_RANK", rank);
        let output = command.output().expect("the program starts");
        assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(code), error));
        assert!(output.stdout.is_empty() && !out.exists());
    }
}

#[test]
fn zoo_lists_exact_counts() {
    let list = json(&["zoo"]);
    assert_eq!(list.as_array().unwrap().len(), 56);
    let count = |name: &str| {
        let entry = list.as_array().unwrap().iter().find(|entry| entry["name"] == name).expect(name);
        (entry["params"].as_u64().unwrap(), entry["macs"].as_u64().unwrap())
    };
    assert_eq!(count("resnet8"), (78_186, 12_501_632));
    assert_eq!(count("resnet20"), (269_722, 40_551_040));
    assert_eq!(count("plain20"), (269_722, 40_551_040));
    assert_eq!(count("attention92"), (52_466_344, 10_533_789_696));
    let one = json(&["zoo", "--arch", "resnet8"]);
    assert_eq!(one[0]["family"], "resnet");
    assert_eq!((&one[0]["classes"], &one[0]["input"]), (&10.into(), &"3x32x32".into()));
}

#[test]
fn alone_it_prints_the_help() {
    let output = skipstone(&[]);
    let help = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    assert!(help.contains("Usage: skipstone") && help.contains("quantize"), "{help}");
}

#[test]
fn wrong_usage_is_exit_code_2() {
    let folder = tempfile::tempdir().unwrap();
    let onnx = folder.path().join("x.onnx");
    let onnx = text(&onnx);
    fails(&["--json"], 2, &["--help"]);
    fails(&["frobnicate"], 2, &["frobnicate"]);
    fails(&["zoo", "--arch", "resnet9"], 2, &["resnet9", "resnet8", "resnet20", "skipstone zoo"]);
    fails(&["export", "--arch", "resnet8"], 2, &["--output"]);
    fails(&["export", "--arch", "resnet9", "-o", onnx], 2, &["resnet9"]);
    fails(&["export", "--arch", "resnet8", "--input", "3x32", "-o", onnx], 2, &["3x32x32"]);
    fails(&["export", "--arch", "resnet8", "--input", "3x2x2", "-o", onnx], 2, &["at least 3"]);
    fails(&["export", "--arch", "resnet8", "--classes", "1", "-o", onnx], 2, &["classes"]);
    fails(&["export", "--arch", "resnet8", "--opset", "12", "-o", onnx], 2, &["`12`", "from 13 to 21"]);
    fails(&["export", "--arch", "resnet8", "--opset", "x", "-o", onnx], 2, &["`x`", "from 13 to 21"]);
    fails(&["export", "--arch", "resnet8", "--batch", "4", "-o", onnx], 2, &["`4`", "`any`"]);
    fails(&["train", "--arch", "resnet9", "--data", "digits", "--out", onnx], 2, &["resnet9", "resnet8"]);
    fails(&["train", "--arch", "resnet8", "--data", "digitz", "--out", onnx], 2, &["digitz", "cifar10:DIR"]);
    fails(&["eval", onnx, "--data", "digits@dev"], 2, &["@test"]);
    fails(&["eval", onnx, "--data", "digits", "--views", "3"], 2, &["1, 2 or 6"]);
    fails(&["train", "--arch", "resnet8", "--data", "digits", "--cache", "x", "--out", onnx], 2, &["'x'", "512MiB"]);
    assert!(entries(folder.path()).is_empty());
}

#[test]
fn help_and_version_go_to_standard_output() {
    for arguments in [["--help"], ["--version"]] {
        let output = skipstone(&arguments);
        assert!(output.status.success() && output.stderr.is_empty());
        assert!(String::from_utf8_lossy(&output.stdout).contains("skipstone"));
    }
}

#[test]
fn damaged_and_missing_files_are_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| text(&folder.path().join(name)).to_owned();
    let whole = path("whole.onnx");
    json(&["export", "--arch", "resnet8", "--input", "1x8x8", "--seed", "3", "-o", &whole]);
    let bytes = std::fs::read(&whole).unwrap();
    let cut = path("cut.onnx");
    for len in [0, 1, 100, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&cut, &bytes[..len]).unwrap();
        for command in [&["inspect", &cut][..], &["eval", &cut, "--data", "digits"]] {
            fails(command, 1, &["cut.onnx"]);
        }
    }
    fails(&["inspect", &path("absent.onnx")], 1, &["absent.onnx"]);
    fails(&["inspect", &path("absent")], 1, &["absent"]);
    fails(&["inspect", text(folder.path())], 1, &["model.onnx"]);
    std::fs::write(path("noise.stone"), [7; 1000]).unwrap();
    fails(&["inspect", &path("noise.stone")], 1, &["noise.stone"]);
    std::fs::write(path("photo.png"), [7; 1000]).unwrap();
    fails(&["run", &whole, &path("photo.png")], 1, &["photo.png"]);
    fails(&["run", &whole, &path("absent.png")], 1, &["absent.png"]);
    let output = path("y.npy");
    fails(&["run", &whole, "--input", &path("photo.png"), "--output", &output], 1, &["photo.png", ".npy"]);
    assert!(!Path::new(&output).exists());
    // The image has other dimensions than the network.
    fails(&["eval", &whole, "--data", "cifar10:absent"], 1, &["absent"]);
}

#[test]
fn places_that_cannot_be_written_are_found_before_work_starts() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let below = file.join("below");
    fails(&["export", "--arch", "resnet8", "-o", text(&below)], 1, &["file/below"]);
    fails(&["train", "--arch", "resnet8", "--data", "digits", "--out", text(&below)], 1, &["file"]);
    assert_eq!(entries(folder.path()), ["file"]);
    assert_eq!(std::fs::read(&file).unwrap(), b"x");
}

#[test]
fn truncated_data_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("batches.meta.txt"), "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n").unwrap();
    for batch in 1..=5 {
        std::fs::write(folder.path().join(format!("data_batch_{batch}.bin")), [0; 5000]).unwrap();
    }
    std::fs::write(folder.path().join("test_batch.bin"), [0; 5000]).unwrap();
    let out = folder.path().join("run");
    let data = format!("cifar10:{}", text(folder.path()));
    fails(&["train", "--arch", "resnet8", "--data", &data, "--out", text(&out)], 1, &["data_batch_1.bin"]);
    assert!(!out.join("model.onnx").exists());
    let absent = format!("cifar10:{}", text(&folder.path().join("absent")));
    fails(&["train", "--arch", "resnet8", "--data", &absent, "--out", text(&out)], 1, &["absent"]);
}

/// Trains for `epochs`.
fn train(out: &Path, epochs: &str) {
    let arguments = ["train", "--arch", "resnet8", "--data", "digits", "--epochs", epochs, "--seed", "5"];
    let result = json(&[&arguments[..], &["--out", text(out)]].concat());
    assert_eq!(result["epochs"], epochs.parse::<u64>().unwrap());
    for field in ["accuracy", "loss", "seconds"] {
        assert!(result[field].is_f64(), "{result}");
    }
}

/// The state at the end of a run: names, dimensions and contents of the tensors in its last checkpoint.
fn weights(run: &Path) -> Vec<(String, Vec<usize>, Vec<u8>)> {
    let bytes = std::fs::read(run.join("last.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors: Vec<_> =
        file.iter().map(|(name, view)| (name.to_owned(), view.shape().to_vec(), view.data().to_vec())).collect();
    tensors.sort();
    tensors
}

/// Everything from a run to a packed model, as far as it goes without a device.
#[test]
fn a_run_is_evaluated_quantized_verified_inspected_and_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| text(&folder.path().join(name)).to_owned();
    let (run, stone, qdq) = (path("run"), path("m.stone"), path("m.qdq.onnx"));
    train(Path::new(&run), "1");
    assert_eq!(entries(Path::new(&run)), [".lock", "config.toml", "history.csv", "last.safetensors", "model.onnx"]);
    fails(&["train", "--arch", "resnet8", "--data", "digits", "--out", &run], 1, &["--resume"]);

    let float = json(&["eval", &run, "--data", "digits"]);
    assert_eq!(float["count"], 364);
    let accuracy = float["accuracy"].as_f64().unwrap();
    assert!(accuracy > 0.3, "{float}");
    assert!(float["loss"].is_f64() && float["images_per_second"].as_f64().unwrap() > 0.0);

    fails(&["quantize", &run, "--calib", "digits", "-o", &stone, "--method", "best"], 2, &["best", "entropy"]);
    fails(&["quantize", &run, "--calib", "digits", "-o", &stone, "--percentile", "20"], 2, &["above 50"]);
    fails(&["quantize", &run, "--calib", "digits", "-o", &stone, "--percentile", "99"], 2, &["--method percentile"]);
    fails(&["quantize", &run, "--calib", "digits", "-o", &stone, "--optimize", "best"], 2, &["best", "speed"]);
    fails(&["quantize", &run, "--calib", "digits", "-o", &stone, "--raw"], 2, &["normalization"]);
    let quantized = json(&["quantize", &run, "--calib", "digits", "-o", &stone, "--qdq", &qdq]);
    assert_eq!(quantized["accuracy_float"].as_f64().unwrap(), accuracy);
    assert!((quantized["accuracy_int8"].as_f64().unwrap() - accuracy).abs() < 0.05, "{quantized}");
    let int8 = json(&["eval", &stone, "--data", "digits"]);
    assert_eq!(int8["accuracy"], quantized["accuracy_int8"]);

    let inspected = json(&["inspect", &stone]);
    assert_eq!(inspected["core"], "generic");
    for field in ["weights_bytes", "arena_bytes"] {
        assert_eq!(inspected[field], quantized[field], "{field}");
    }
    assert_eq!(inspected["macs"], json(&["inspect", &run])["macs"]);
    assert_eq!(inspected["layers"].as_array().unwrap().len(), 11);

    for command in [&["verify", &run, "--stone", &stone][..], &["verify", &run]] {
        let verified = json(&[command, &["--data", "digits", "--count", "20"]].concat());
        assert!(verified["float_max_abs_diff"].as_f64().unwrap() <= 1e-4, "{verified}");
        assert!(verified["int8_exact_fraction"].as_f64().unwrap() >= 0.9999, "{verified}");
        assert!(verified["int8_max_steps"].as_u64().unwrap() <= 1, "{verified}");
        assert_eq!(verified["count"], 20);
        for field in ["float_top1_agreement", "int8_end_to_end_fraction", "int8_top1_agreement"] {
            assert!(verified[field].as_f64().unwrap() > 0.9, "{verified}");
        }
    }

    let each = json(&["verify", &run, "--stone", &stone, "--data", "digits", "--count", "5", "--per-node"]);
    assert!(each["float_first_divergence"].is_null() && each["int8_first_divergence"].is_null(), "{each}");
    let nodes = each["float_nodes"].as_array().unwrap();
    assert!(nodes.len() > 20 && nodes.iter().any(|node| node["op"] == "BatchNormalization"), "{each}");
    assert_eq!(each["int8_layers"].as_array().unwrap().len(), 11);
    let float = json(&["verify", &run, "--data", "digits", "--count", "5", "--float-only"]);
    assert!(float["float_top1_agreement"] == 1.0 && float["count"] == 5 && float.get("int8_max_steps").is_none());
    fails(&["verify", &run, "--stone", &stone, "--float-only", "--data", "digits"], 2, &["--float-only"]);

    chooses_numbers_and_trains_for_int8(&run, accuracy, folder.path());
    classifies_images_and_tensors(&run, &stone, folder.path());
    refuses_a_damaged_model(&stone, folder.path());
    let other = path("other.onnx");
    json(&["export", "--arch", "plain20", "--input", "1x8x8", "-o", &other]);
    fails(&["verify", &other, "--stone", &stone, "--data", "digits"], 1, &["another network"]);
    fails(&["eval", &other, "--data", "digits", "--mean", "0.5", "--std", "0.5"], 2, &["normalization"]);
}

fn chooses_numbers_and_trains_for_int8(run: &str, accuracy: f64, folder: &Path) {
    let path = |name: &str| text(&folder.join(name)).to_owned();
    let stone = path("other.stone");
    for options in [
        &["--method", "percentile", "--percentile", "99.9"][..],
        &["--method", "mse", "--equalize"],
        &["--method", "entropy", "--bias-correction"],
    ] {
        let quantized =
            json(&[&["quantize", run, "--calib", "digits", "-o", &stone, "--count", "100"], options].concat());
        assert!((quantized["accuracy_int8"].as_f64().unwrap() - accuracy).abs() < 0.05, "{options:?}: {quantized}");
    }
    // What was changed is in the float network that goes with it.
    let (float, again) = (path("float.onnx"), path("again.stone"));
    let corrected = ["--equalize", "--bias-correction", "--count", "100", "--float", &float];
    json(&[&["quantize", run, "--calib", "digits", "-o", &stone][..], &corrected].concat());
    json(&["quantize", &float, "--calib", "digits", "-o", &again]);
    assert_eq!(std::fs::read(&stone).unwrap(), std::fs::read(&again).unwrap());
    fails(&["inspect", run, "--quantization"], 2, &["--calib"]);
    fails(&["inspect", &stone, "--quantization", "--calib", "digits"], 2, &["packed for a device"]);
    let layers = json(&["inspect", run, "--quantization", "--calib", "digits", "--count", "50"]);
    let layers = layers.as_array().unwrap();
    assert_eq!((layers.len(), &layers[0]["noise_rank"]), (11, &1.into()));
    for field in ["layer", "op", "signal_to_noise_db", "accuracy_regained", "loss_regained", "regained_rank"] {
        assert!(!layers[0][field].is_null(), "{field}: {layers:?}");
    }

    let qat = path("qat");
    fails(&["train", "--qat", "--data", "digits", "--out", &qat], 2, &["--init"]);
    let trained = json(&["train", "--qat", "--init", run, "--data", "digits", "--epochs", "2", "--out", &qat]);
    assert!(trained["accuracy"].as_f64().unwrap() >= accuracy - 0.01, "{trained}");
    let model = skipstone_onnx::import(&std::fs::read(folder.join("qat/model.onnx")).unwrap()).unwrap();
    let command = model.metadata.command.unwrap();
    assert!(command.starts_with(&format!("skipstone train --init {run} --data digits")), "{command}");
    let quantized = json(&["quantize", &qat, "--calib", "digits", "-o", &stone]);
    for (option, remark) in [(&[][..], "keeps the int8 scales"), (&["--recalibrate"], "calibrating on")] {
        let output =
            skipstone(&[&["quantize", &qat, "--calib", "digits", "-o", &stone, "--count", "50"], option].concat());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && errors.contains(remark), "{option:?}: {errors}");
    }
    let difference = quantized["accuracy_int8"].as_f64().unwrap() - trained["accuracy"].as_f64().unwrap();
    assert!(difference.abs() <= 1.0 / 364.0, "{trained} {quantized}");
}

fn classifies_images_and_tensors(run: &str, stone: &str, folder: &Path) {
    let image = folder.join("gray.png");
    image::RgbImage::from_fn(20, 30, |x, y| image::Rgb([x as u8 * 10, y as u8 * 5, 90])).save(&image).unwrap();
    for model in [run, stone] {
        let result = json(&["run", model, text(&image), text(&image)]);
        assert_eq!(result.as_array().unwrap().len(), 2);
        assert_eq!(result[0]["image"], text(&image));
        let top = result[0]["top"].as_array().unwrap();
        assert!(top[0]["label"].is_string() && top[0]["class"].is_u64());
        assert!(top.is_sorted_by_key(|class| std::cmp::Reverse((1e9 * class["score"].as_f64().unwrap()) as u64)));
    }

    // Two images [2, 1, 8, 8] of one half, as numpy.save writes them.
    let mut npy =
        b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1, 8, 8), }".to_vec();
    npy.resize(127, b' ');
    npy.push(b'\n');
    npy.extend([0.5f32; 128].iter().flat_map(|value| value.to_le_bytes()));
    let (x, y) = (folder.join("x.npy"), folder.join("y.npy"));
    std::fs::write(&x, &npy).unwrap();
    let scores = |model: &str| -> Vec<f32> {
        json(&["run", model, "--input", text(&x), "--output", text(&y)]);
        let bytes = std::fs::read(&y).unwrap();
        let data = &bytes[bytes.len() - 80..];
        data.chunks_exact(4).map(|raw| f32::from_le_bytes(raw.try_into().unwrap())).collect()
    };
    let (float, int8) = (scores(run), scores(stone));
    assert_eq!(float[..10], float[10..]);
    let spread = float.iter().fold(0f32, |spread, score| spread.max(score.abs()));
    for (float, int8) in float.iter().zip(&int8) {
        assert!((float - int8).abs() < 0.2 * spread, "{float} {int8}");
    }
    std::fs::write(&x, &npy[..npy.len() - 1]).unwrap();
    fails(&["run", run, "--input", text(&x), "--output", text(&y)], 1, &["x.npy", "cut short"]);
}

fn refuses_a_damaged_model(stone: &str, folder: &Path) {
    let bytes = std::fs::read(stone).unwrap();
    let damaged = folder.join("damaged.stone");
    for bit in (0..bytes.len() * 8).step_by(bytes.len() / 3 * 8 + 77) {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&damaged, &bytes).unwrap();
        fails(&["inspect", text(&damaged)], 1, &["damaged.stone"]);
        fails(&["eval", text(&damaged), "--data", "digits"], 1, &["damaged.stone"]);
    }
    let mut older = bytes.clone();
    older[8] = 3;
    std::fs::write(&damaged, &older).unwrap();
    for command in [&["inspect"][..], &["eval", "--data", "digits"]] {
        fails(
            &[command, &[text(&damaged)]].concat(),
            1,
            &["damaged.stone", "format version 3", "pack the model again"],
        );
    }
}

#[test]
fn a_killed_run_resumes_to_the_same_weights() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, killed) = (folder.path().join("whole"), folder.path().join("killed"));
    train(&whole, "2");

    let arguments = ["train", "--arch", "resnet8", "--data", "digits", "--epochs", "2", "--seed", "5", "--out"];
    let mut child = Command::new(env!("CARGO_BIN_EXE_skipstone"))
        .args(arguments)
        .arg(&killed)
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("the program starts");
    let history = killed.join("history.csv");
    let deadline = Instant::now() + Duration::from_secs(60);
    while !history.exists() && child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "no epoch ended within a minute");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();

    fails(&["train", "--resume", "--out", text(&killed), "--lr", "0.5"], 1, &["lr"]);
    let result = json(&["train", "--resume", "--out", text(&killed)]);
    assert_eq!(result["epochs"], 2);
    assert!(weights(&killed) == weights(&whole), "other weights");
    let model = |run: &Path| std::fs::read(run.join("model.onnx")).unwrap();
    assert!(model(&killed) == model(&whole), "another best network");
    fails(&["train", "--resume", "--out", text(&folder.path().join("none"))], 1, &["no run to resume"]);
}

#[test]
fn recipes_and_settings_files_are_read_and_overridden() {
    let folder = tempfile::tempdir().unwrap();
    let (run, file) = (folder.path().join("run"), folder.path().join("settings.toml"));
    let (run, settings) = (text(&run), text(&file));
    fails(&["train", "--arch", "resnet8", "--data", "digits", "--recipe", "rsb", "--out", run], 2, &["rsb-a1"]);
    fails(&["train", "--config", settings, "--out", run], 1, &["cannot read", "settings.toml"]);
    std::fs::write(&file, "arch = 'resnet8'\nepoch = 3\n").unwrap();
    fails(&["train", "--config", settings, "--out", run], 2, &["--data"]);
    fails(&["train", "--config", settings, "--data", "digits", "--out", run], 1, &["settings.toml", "`epoch`"]);
    std::fs::write(&file, "recipe = 'cifar'\ndata = 'digits'\nepochs = 3\n[optimizer]\nkind = 'adamw'\n").unwrap();
    fails(&["train", "--config", settings, "--out", run], 2, &["--arch"]);
    assert_eq!(entries(folder.path()), ["settings.toml"]);

    let options = ["--arch", "resnet8", "--epochs", "1", "--lr", "0.01", "--out", run];
    let result = json(&[&["train", "--config", settings], &options[..]].concat());
    assert_eq!(result["epochs"], 1);
    if cfg!(target_os = "linux") {
        assert!(result["peak_bytes"].as_u64().unwrap() > 1 << 20);
    }
    let config = std::fs::read_to_string(Path::new(run).join("config.toml")).unwrap();
    for expected in ["epochs = 1", "batch = 128", "lr = 0.01", "kind = \"adamw\"", "milestones = [0.5, 0.75]"] {
        assert!(config.contains(expected), "{expected}: {config}");
    }

    let other = folder.path().join("other");
    for (choice, value, arch, reason) in [
        ("zero_gamma", "true", "plain20", "batch norm"),
        ("naive_attention", "true", "resnet8", "attention"),
        ("mask_activation", "'spatial'", "resnet8", "attention"),
    ] {
        std::fs::write(&file, format!("{choice} = {value}\n")).unwrap();
        let train = ["train", "--config", settings, "--data", "digits", "--out", text(&other)];
        fails(&[&train[..], &["--arch", arch]].concat(), 2, &[arch, reason]);
        fails(&[&train[..], &["--init", run]].concat(), 2, &[choice, "--init"]);
        fails(
            &["train", "--init", run, "--data", "digits", "--arch", "plain20", "--out", run],
            2,
            &["plain20", "resnet8"],
        );
    }
    fails(
        &["train", "--init", run, "--data", "digits", "--input", "1x9x9", "--out", text(&other)],
        2,
        &["1x8x8", "1x9x9"],
    );
    assert!(!other.exists());
}

/// The devices' compilers and emulators are found by the search path; what needs them says so, and the rest works.
#[test]
fn the_demo_works_without_emulators() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("demo");
    let demo = |options: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_skipstone"));
        command.args(["demo", "--out", text(&out)]).args(options).env("PATH", folder.path());
        command.output().expect("the program starts")
    };
    let output = demo(&["--json"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert_eq!(errors.matches("is missing").count(), 2, "{errors}");
    let rows: Value = serde_json::from_slice(&output.stdout).unwrap();
    let accuracies: Vec<f64> = rows.as_array().unwrap().iter().map(|row| row["accuracy"].as_f64().unwrap()).collect();
    assert_eq!(accuracies.len(), 2);
    assert!(rows.as_array().unwrap().iter().all(|row| row["schema"] == 1), "{rows}");
    assert!(accuracies.iter().all(|&accuracy| accuracy >= 0.97), "{accuracies:?}");
    let files = entries(&out);
    for name in ["model.onnx", "model.qdq.onnx", "model.stone", "model.cortex-m.stone"] {
        assert!(files.iter().any(|file| file == name), "{files:?}");
    }
    // Its own folder is replaced, another run's is not.
    let trained = std::fs::read(out.join("model.onnx")).unwrap();
    json(&["export", "--arch", "resnet8", "-o", text(&out.join("model.onnx"))]);
    fails(&["demo", "--out", text(&out)], 1, &["demo"]);
    assert_eq!(entries(&out), files);
    std::fs::write(out.join("model.onnx"), &trained).unwrap();
    // For people the checks and the table are the result.
    let output = demo(&[]);
    let [table, errors] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert!(output.status.success(), "{errors}");
    for part in ["ok   test accuracy", "flash bytes", "int8, host", "model.qdq.onnx"] {
        assert!(table.contains(part) && !errors.contains(part), "{part}: {table}\n--\n{errors}");
    }
    assert!(std::fs::read(out.join("model.onnx")).unwrap() == trained, "another network of the same seed");
}

#[test]
fn a_folder_of_images_is_trained_on_and_classified() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("images");
    for (class, level) in [("dark", 30), ("light", 220)] {
        std::fs::create_dir_all(images.join(class)).unwrap();
        for i in 0..40_u8 {
            let path = images.join(class).join(format!("{i}.png"));
            image::RgbImage::from_pixel(24, 20, image::Rgb([level, level - i / 2, level])).save(&path).unwrap();
        }
    }
    let spec = format!("folder:{}", text(&images));
    let out = folder.path().join("run");
    let train = ["train", "--arch", "resnet8", "--data", &spec, "--input", "3x16x16", "--epochs", "4", "--batch", "8"];
    let train = [train.as_slice(), &["--out", text(&out)]].concat();
    let result = json(&train);
    assert!(result["accuracy"].as_f64().unwrap() > 0.9);
    let class = |index: usize, field: &str| result["classes"][index][field].as_u64().unwrap();
    assert_eq!((&result["classes"][0]["name"], &result["classes"][1]["name"]), (&"dark".into(), &"light".into()));
    assert_eq!([0, 1].map(|index| class(index, "train") + class(index, "test")), [40, 40]);
    let right = |index| result["classes"][index]["accuracy"].as_f64().unwrap() * class(index, "test") as f64;
    let accuracy = (right(0) + right(1)) / (class(0, "test") + class(1, "test")) as f64;
    assert!((accuracy - result["accuracy"].as_f64().unwrap()).abs() < 1e-9, "{result}");
    assert!((1..=4).contains(&result["best_epoch"].as_u64().unwrap()), "{result}");

    // Without room for most of the pixels, everything is the same, and said.
    let streamed = folder.path().join("streamed");
    let small = [&train[..train.len() - 1], &[text(&streamed), "--cache", "10KiB"]].concat();
    let output = skipstone(&small);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.contains("13 of 80 images are kept in memory"), "{errors}");
    let model = |run: &Path| {
        let mut graph = skipstone_onnx::import::import(&std::fs::read(run.join("model.onnx")).unwrap()).unwrap();
        graph.metadata.command = None;
        graph
    };
    assert_eq!(model(&streamed), model(&out));
    fails(&[&train[..], &["--cache", "much"]].concat(), 2, &["--cache", "much"]);

    // A run that was stopped before its first epoch was over knows its size too.
    std::fs::remove_file(out.join("model.onnx")).unwrap();
    std::fs::remove_file(out.join("last.safetensors")).unwrap();
    json(&["train", "--resume", "--out", text(&out)]);
    assert_eq!(json(&["inspect", text(&out)])["input"], serde_json::json!([3, 16, 16]));

    let damaged = images.join("dark/5.jpg");
    std::fs::write(&damaged, b"no image").unwrap();
    let eval = ["eval", text(&out), "--data", &format!("{spec}@train")];
    let skipped = skipstone(&eval);
    let errors = String::from_utf8_lossy(&skipped.stderr);
    assert!(skipped.status.success() && errors.contains("skipped 1 file that cannot be read"), "{errors}");
    assert!(errors.contains(text(&damaged)), "{errors}");
    fails(&[eval.as_slice(), &["--strict"]].concat(), 1, &["dark/5.jpg", "neither a PNG nor a JPEG"]);
    let run = json(&["run", text(&out), text(&images.join("light/7.png"))]);
    assert_eq!(run[0]["top"][0]["label"], "light");

    std::fs::create_dir(images.join("empty")).unwrap();
    let other = folder.path().join("other");
    let again = [&train[..train.len() - 1], &[text(&other)]].concat();
    fails(&again, 1, &["empty", "class without images"]);
}
