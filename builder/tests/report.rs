//! The page that `skipstone report` writes.

use serde_json::Value;
use skipstone_runtime::{AlignedBytes, Model};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The largest page.
const MOST_BYTES: usize = 1_000_000;

fn skipstone(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_skipstone")).args(arguments).output().expect("the program starts")
}

/// Runs a command that must succeed; gives what it prints as JSON, and on standard error.
fn json(arguments: &[&str]) -> (Value, String) {
    let output = skipstone(&[arguments, &["--json"]].concat());
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {errors}");
    (serde_json::from_slice(&output.stdout).expect("JSON"), errors)
}

/// Runs a command that must fail with one line that holds `part`.
fn fails(arguments: &[&str], code: i32, part: &str) {
    let output = skipstone(arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
    assert!(errors.lines().last().is_some_and(|line| line.starts_with("error: ") && line.contains(part)), "{errors}");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders have names in UTF-8")
}

/// A run on the digits that knows most of them.
fn run_in(folder: &Path) -> PathBuf {
    let run = folder.join("run");
    json(&["train", "--arch", "resnet8", "--data", "digits", "--epochs", "2", "--seed", "1", "--out", text(&run)]);
    run
}

/// What the pages of a run and of its packed model must have, or must not.
fn check(page: &str, sections: &[&str], absent: &[&str]) {
    assert!(page.len() < MOST_BYTES, "{} bytes", page.len());
    for section in sections {
        assert!(page.contains(&format!("<h2>{section}</h2>")), "{section} is missing");
    }
    for section in absent {
        assert!(!page.contains(&format!("<h2>{section}</h2>")), "{section} is there");
    }
    for foreign in ["<script", "src=\"http", "href=", "url(", "@import"] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    assert!(!page.contains("NaN") && !page.contains("inf dB"));
}

#[test]
fn a_report_tells_what_is_known_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let run = run_in(folder.path());
    let [page, again, stone] = ["page.html", "again.html", "model.stone"].map(|name| folder.path().join(name));
    let (output, _) = json(&["report", text(&run), "-o", text(&page)]);
    let html = std::fs::read_to_string(&page).unwrap();
    let device = ["Layers on the device", "What speed costs", "The arena over time", "Boards", "Where it comes from"];
    let judged = ["Classes", "Worst errors"];
    let float = ["Training", "What int8 costs, layer by layer"];
    check(&html, &[&device[..], &judged, &float].concat(), &[]);
    assert_eq!(output["bytes"], html.len());
    assert_eq!(output["accuracy_float"], json(&["eval", text(&run), "--data", "digits"]).0["accuracy"]);
    let board = ["--board", "nucleo-f446re"];
    json(&[&["quantize", text(&run), "--calib", "digits", "-o", text(&stone)][..], &board].concat());
    assert_eq!(output["accuracy_int8"], json(&["eval", text(&stone), "--data", "digits"]).0["accuracy"]);
    let made = AlignedBytes::copy(&std::fs::read(&stone).unwrap());
    let checksum = Model::from_bytes(made.as_slice()).unwrap().header().checksum;
    assert!(html.contains(&format!("checksum {checksum:08x}")), "the command on the page makes the model of the page");
    assert!(html.contains("skipstone train --arch resnet8 --data digits --epochs 2"), "how to train it again");

    json(&["report", text(&run), "-o", text(&again)]);
    let differs = std::fs::read_to_string(&again).unwrap() != html.replace("page.html", "again.html");
    assert!(!differs, "the same run gives the same page");

    json(&["report", text(&stone), "--data", "digits", "-o", text(&page)]);
    check(&std::fs::read_to_string(&page).unwrap(), &[&device[..], &judged].concat(), &float);
    let (_, errors) = json(&["report", text(&stone), "-o", text(&page)]);
    check(&std::fs::read_to_string(&page).unwrap(), &device, &[&judged[..], &float].concat());
    assert!(errors.contains("no data set is named: the page has no accuracies"), "{errors}");

    let history = run.join("history.csv");
    std::fs::write(&history, "epoch\n1,2\n").unwrap();
    fails(&["report", text(&run), "-o", text(&page)], 1, "history.csv: line 2 is no epoch's figures");
    std::fs::remove_file(&history).unwrap();
    let (_, errors) = json(&["report", text(&run), "-o", text(&page)]);
    assert!(errors.contains("holds no history.csv: the page has no curves"), "{errors}");
    check(&std::fs::read_to_string(&page).unwrap(), &judged, &["Training"]);
}

#[test]
fn what_cannot_be_reported_is_said_in_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let [page, onnx, stone] = ["page.html", "model.onnx", "model.stone"].map(|name| folder.path().join(name));
    json(&["export", "--arch", "resnet8", "--seed", "1", "-o", text(&onnx)]);
    let report = |arguments: &[&'static str], code, part: &str, model: &Path| {
        fails(&[&["report", text(model), "-o", text(&page)][..], arguments].concat(), code, part);
        assert!(!page.exists());
    };
    report(&[], 1, "cannot read", &folder.path().join("absent.onnx"));
    std::fs::write(folder.path().join("foreign.onnx"), b"no network").unwrap();
    report(&[], 1, "foreign.onnx", &folder.path().join("foreign.onnx"));
    report(&["--board", "nucleo"], 2, "the nearest are nucleo", &onnx);
    report(&["--data", "digits"], 1, "takes images of 3x32x32", &onnx);
    fails(&["report", text(&onnx), "-o", text(&folder.path().join("absent/page.html"))], 1, "cannot write");
    report(&["--stone", "x.stone"], 2, "--stone is for a run or an .onnx file", &stone);
    report(&[], 1, "cannot read", &stone);
}

/// The page inside a frame of a phone's or a screen's width, and what tells how wide and high its content is.
fn framed(page: &str, width: usize) -> String {
    let escaped = page.replace('&', "&amp;").replace('"', "&quot;");
    format!(
        "<!doctype html><body style='margin:0'><iframe style='border:0;width:{width}px;height:4000px' srcdoc=\"{escaped}\">\
         </iframe><p></p><script>const frame = document.querySelector('iframe'); frame.onload = () => {{\
         const root = frame.contentDocument.documentElement; document.querySelector('p').textContent = \
         `size ${{root.scrollWidth}} ${{root.clientWidth}} ${{root.scrollHeight}}`; }}</script>"
    )
}

/// Needs Chromium.
#[test]
#[ignore = "needs Chromium: cargo xtask test --only report"]
fn the_page_fits_a_phone_and_a_screen() {
    let folder = tempfile::tempdir().unwrap();
    let run = run_in(folder.path());
    let page = folder.path().join("page.html");
    json(&["report", text(&run), "-o", text(&page)]);
    let html = std::fs::read_to_string(&page).unwrap();
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("report");
    std::fs::create_dir_all(&pictures).unwrap();
    for width in [400, 1400] {
        let file = folder.path().join("framed.html");
        std::fs::write(&file, framed(&html, width)).unwrap();
        let picture = pictures.join(format!("{width}.png"));
        let chromium = |argument: &str| {
            let profile = tempfile::tempdir().unwrap();
            let output = Command::new("chromium")
                .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"])
                .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
                .arg(format!("--user-data-dir={}", text(profile.path())))
                .arg(format!("--window-size={},4000", width.max(500)))
                .args([argument, &format!("file://{}", text(&file))])
                .output()
                .expect("Chromium starts");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let dom = chromium("--dump-dom");
        let size = dom.split("<p>size ").nth(1).and_then(|rest| rest.split('<').next()).expect("the page renders");
        let size: Vec<usize> = size.split(' ').map(|number| number.parse().unwrap()).collect();
        let [content, frame, height] = size[..] else { panic!("{size:?}") };
        assert!(content <= frame && frame <= width && height > 1000, "{width}: {size:?}");
        chromium(&format!("--screenshot={}", text(&picture)));
        let bytes = std::fs::metadata(&picture).expect("a screenshot").len();
        assert!(bytes > 20_000, "{bytes} bytes");
        println!("{}: {content} of {frame} pixels wide, {height} high", picture.display());
    }
}
