//! `docs/guide.md`, followed line by line in an empty folder with photos: every command runs as it is written, and says
//! what the guide promises.
//!
//! It compiles for microcontrollers and runs QEMU, so `cargo test` lists it as ignored and `cargo xtask test` runs it.
#![cfg(unix)]

use std::path::{Path, PathBuf};
use std::process::Command;

/// The guide's classes, one folder each.
const CLASSES: [&str; 3] = ["bird", "cat", "dog"];

/// Lines that do not run here, by what they begin with.
const NOT_HERE: [&str; 7] = [
    // Set up the machine, as xtask does.
    "cargo install --path builder",
    "rustup target add",
    "cargo install probe-rs-tools",
    "apt-get install",
    // For a board that is plugged in.
    "skipstone flash photos.stone --board nrf52840-dk  ",
    "skipstone flash photos.stone --board nrf52840-dk --only-model",
    // The LED's HAL; the code that uses it is a part of a program.
    "cargo add",
];

/// A fenced block of the guide.
struct Block {
    language: String,
    lines: Vec<String>,
}

fn blocks(markdown: &str) -> Vec<Block> {
    let (mut blocks, mut open) = (Vec::new(), None::<Block>);
    for line in markdown.lines() {
        match (line.strip_prefix("```"), open.take()) {
            (Some(language), None) => open = Some(Block { language: language.into(), lines: Vec::new() }),
            (Some(_), Some(block)) => blocks.push(block),
            (None, Some(mut block)) => {
                block.lines.push(line.into());
                open = Some(block);
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block has no end");
    blocks
}

/// Photos of patterns, one for each class, in sizes of cameras' pictures made small.
fn photos(folder: &Path) {
    for (class, name) in CLASSES.into_iter().enumerate() {
        std::fs::create_dir_all(folder.join(name)).unwrap();
        for number in 0..24 {
            let image = image::RgbImage::from_fn(64 + number % 7, 48 + number % 5, |x, y| {
                let [across, down] = [(x + number) / 6 % 2, (y + number / 2) / 6 % 2];
                let level =
                    if [across, down, across ^ down][class] == 1 { 200 - number as u8 } else { 30 + number as u8 };
                image::Rgb([level, 255 - level, (x + y + number) as u8])
            });
            let extension = if number % 2 == 0 { "png" } else { "jpg" };
            image.save(folder.join(name).join(format!("{number}.{extension}"))).unwrap();
        }
    }
}

/// Whether a line says what the guide promises, whatever the numbers and the class are.
fn is_promised(promised: &str, line: &str) -> bool {
    let has_digit = |word: &str| word.contains(|c: char| c.is_ascii_digit());
    let alike =
        |a: &str, b: &str| a == b || (has_digit(a) && has_digit(b)) || (CLASSES.contains(&a) && CLASSES.contains(&b));
    let [promised, found] = [promised, line].map(|line| line.split_whitespace().collect::<Vec<_>>());
    promised.len() == found.len() && promised.iter().zip(&found).all(|(a, b)| alike(a, b))
}

/// A shell's place: its folder, and what programs find in their environment.
struct Shell {
    folder: PathBuf,
}

impl Shell {
    /// Runs a line that must succeed; gives all that it says.
    fn run(&mut self, line: &str) -> String {
        if let Some(folder) = line.strip_prefix("cd ") {
            self.folder.push(folder);
            return String::new();
        }
        println!("$ {line}");
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guide");
        let programs = Path::new(env!("CARGO_BIN_EXE_skipstone")).parent().unwrap();
        let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
        let mut command = Command::new("sh");
        for variable in ["CARGO", "RUSTC", "RUSTC_WRAPPER", "RUSTFLAGS"] {
            command.env_remove(variable);
        }
        command
            .env("PATH", path)
            .env("SKIPSTONE_CACHE", kept.join("cache"))
            .env("CARGO_TARGET_DIR", kept.join("target"));
        let output = command.args(["-c", line]).current_dir(&self.folder).output().unwrap();
        let [said, remarks] = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        println!("{said}{remarks}");
        assert!(output.status.success() == succeeds(line), "`{line}` ended with {}", output.status);
        said + &remarks
    }
}

/// `check --all` fails as soon as one board is too small, and the guide says so.
fn succeeds(line: &str) -> bool {
    !line.ends_with("--all")
}

#[test]
#[ignore = "needs QEMU and a compiler for the device: cargo xtask test"]
fn every_line_of_the_guide_runs() {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guide.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let folder = tempfile::tempdir().unwrap();
    photos(&folder.path().join("photos"));
    let mut shell = Shell { folder: folder.path().into() };
    let (mut ran, mut left, mut promises) = (0, Vec::new(), 0);
    let mut said = String::new();
    for Block { language, lines } in blocks(&guide) {
        match language.as_str() {
            "sh" => said.clear(),
            "text" => {
                for promised in lines {
                    let kept = said.lines().any(|line| is_promised(&promised, line));
                    assert!(kept, "the guide promises `{promised}`, and the command says:\n{said}");
                    promises += 1;
                }
                continue;
            }
            "rust,ignore" | "toml" => continue,
            other => panic!("a block of `{other}`: commands are `sh`, what they say `text`"),
        }
        // Where the guide goes back to an earlier section, it is in the folder of its photos again.
        if !lines.iter().any(|line| line.starts_with("cargo ")) {
            shell.folder = folder.path().into();
        }
        for line in lines {
            match NOT_HERE.iter().find(|start| line.starts_with(**start)) {
                Some(start) => left.push(*start),
                None => {
                    said += &shell.run(line.split(" # ").next().unwrap().trim());
                    ran += 1;
                }
            }
        }
    }
    println!("{ran} commands ran, {promises} lines were as promised");
    assert!(ran >= 10 && promises >= 10, "the guide has fewer commands than it had");
    assert!(NOT_HERE.iter().all(|start| left.contains(start)), "the guide has no longer all of {NOT_HERE:?}");
}

#[test]
fn numbers_and_classes_may_differ_and_words_not() {
    assert!(is_promised("class bird label 2", "class  dog label 0"));
    assert!(is_promised("program 37,200 bytes, 19.4 %", "program 9 bytes, 7 %"));
    assert!(!is_promised("PASS test vector 0", "FAIL test vector 0"));
    assert!(!is_promised("scores 7 6 18", "scores 7 6"));
    assert!(!is_promised("instructions 14558560", "instructions none"));
}
