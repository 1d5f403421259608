//! What the programs' build scripts call: puts the model, the test images and the memory map into the build.
//!
//! `SKIPSTONE_MODEL` names a packed model, `SKIPSTONE_IMAGES` a file of test images (`docs/targets.md` has its layout), without
//! which the program takes those of the model's test vectors. Both are checked here, so that a program that builds has a
//! model that it can hold.

use skipstone_runtime::{AlignedBytes, Model, codegen};
use skipstone_targets::{Board, LEAST_STACK_BYTES, Memory};
use std::path::{Path, PathBuf};

/// The images of a program that was built with some, and of one that was not.
const BUILT_IN: &str = r#"
fn image(_: &skipstone_runtime::Model<'static>, index: usize) -> Option<&'static [u8]> {
    static IMAGES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/images.bin"));
    IMAGES.chunks_exact(IMAGE_LEN).nth(index)
}
"#;
const VECTORS: &str = r#"
fn image(model: &skipstone_runtime::Model<'static>, index: usize) -> Option<&'static [u8]> {
    model.test_vectors().nth(index).map(|vector| vector.pixels)
}
"#;

/// Bytes before the pixels of a file of test images.
const IMAGES_HEADER: usize = 20;

/// Of `model.rs`, after the program: what the macro `programs::program!` names.
const CONSTANTS: &str = r#"
const STONE: &[u8] = skipstone_runtime::include_stone!(concat!(env!("OUT_DIR"), "/model.stone"));
const ARENA_LEN: usize = skipstone_runtime::arena_len(STONE);

/// The build has checked the model; with the feature `checker` the program does it again.
fn load(stone: &'static [u8]) -> Result<skipstone_runtime::Model<'static>, skipstone_runtime::LoadError> {
    if cfg!(feature = "checker") {
        skipstone_runtime::Model::from_bytes_for(stone, &RULES)
    } else {
        skipstone_runtime::Model::from_checked(stone)
    }
}
"#;

/// Writes what `programs::program!` includes; a failure is an error of the build.
pub fn model() {
    println!("cargo::rustc-link-arg-bins=-Tlink.x");
    if std::env::var_os("CARGO_FEATURE_DEFMT").is_some() {
        println!("cargo::rustc-link-arg-bins=-Tdefmt.x");
    }
    report(embed());
}

/// Writes the memory map of a real board, as the table has it, for the linker; without the first `reserved` bytes of the
/// flash, and with `more` after it. A program that leaves less than [`LEAST_STACK_BYTES`] to its stack does not link.
pub fn memory(board: &str, reserved: u32, more: &str) {
    report(Board::named(board).ok_or_else(|| format!("no board {board} in the table")).and_then(|board| {
        let Memory { origin, bytes } = board.flash;
        let flash = Memory { origin: origin + reserved, bytes: bytes - reserved };
        let out = out_dir()?;
        println!("cargo::rustc-link-search={}", out.display());
        println!("cargo::rustc-link-arg-bins=-Tstack.x");
        let reason =
            format!("{LEAST_STACK_BYTES} bytes of RAM for the stack are missing: take a model with a smaller arena");
        let room = format!("ASSERT(_stack_start - __sheap >= {LEAST_STACK_BYTES}, \"{reason}\");\n");
        write(&out.join("stack.x"), room.as_bytes())?;
        write(&out.join("memory.x"), (Board { flash, ..*board }.memory_map() + more).as_bytes())
    }));
}

fn report(result: Result<(), String>) {
    if let Err(e) = result {
        println!("cargo::error={e}");
    }
}

fn out_dir() -> Result<PathBuf, String> {
    std::env::var("OUT_DIR").map(PathBuf::from).map_err(|e| format!("OUT_DIR: {e}"))
}

fn embed() -> Result<(), String> {
    let out = out_dir()?;
    let model =
        read_named("SKIPSTONE_MODEL")?.ok_or("set SKIPSTONE_MODEL to the absolute path of a packed model (.stone)")?;
    let model = AlignedBytes::copy(&model);
    let parsed = Model::from_bytes(model.as_slice()).map_err(|e| format!("SKIPSTONE_MODEL: {e}"))?;
    let target = std::env::var("TARGET").map_err(|e| format!("TARGET: {e}"))?;
    let small = std::env::var("OPT_LEVEL").is_ok_and(|level| matches!(level.as_str(), "s" | "z"));
    let program = if small { codegen::small_program } else { codegen::program };
    let program =
        program(&parsed, &target, codegen::Extension::of_package()).map_err(|e| format!("SKIPSTONE_MODEL: {e}"))?;
    let images = match read_named("SKIPSTONE_IMAGES")? {
        Some(file) => pixels(&file, &parsed).map_err(|e| format!("SKIPSTONE_IMAGES: {e}"))?,
        None => Vec::new(),
    };
    let image = if images.is_empty() { VECTORS } else { BUILT_IN };
    let nodes = parsed.nodes().len();
    let image_len = parsed.image().len();
    let constants =
        format!("const NODES: usize = {nodes};\n#[allow(dead_code)]\nconst IMAGE_LEN: usize = {image_len};\n");
    write(&out.join("model.rs"), (program + CONSTANTS + image + &constants).as_bytes())?;
    write(&out.join("model.stone"), model.as_slice())?;
    write(&out.join("images.bin"), &images)
}

/// The pixels of a file of test images that the model takes.
fn pixels(file: &[u8], model: &Model<'_>) -> Result<Vec<u8>, String> {
    let input = model.input();
    let (count, dims) = check_images(file)?;
    let expected = [input.height, input.width, input.channels];
    if dims != expected {
        return Err(format!("images of {dims:?} where the model takes {expected:?}"));
    }
    Ok(file[IMAGES_HEADER..][..count * model.image().len()].to_vec())
}

/// The file that a variable names, if it is set.
fn read_named(variable: &str) -> Result<Option<Vec<u8>>, String> {
    println!("cargo::rerun-if-env-changed={variable}");
    let Ok(path) = std::env::var(variable) else { return Ok(None) };
    println!("cargo::rerun-if-changed={path}");
    std::fs::read(&path).map(Some).map_err(|e| format!("{variable}: cannot read {path}: {e}"))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    std::fs::write(path, bytes).map_err(|e| format!("cannot write {}: {e}", path.display()))
}

/// The number of images and their height, width and channels.
fn check_images(file: &[u8]) -> Result<(usize, [u16; 3]), String> {
    let header = file.get(..IMAGES_HEADER).filter(|header| header.starts_with(b"SKIPIMGS"));
    let header = header.ok_or("not a file of test images: it does not start with SKIPIMGS")?;
    let u16_at = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
    let count = usize::from(u16_at(8)) | usize::from(u16_at(10)) << 16;
    let dims = [u16_at(12), u16_at(14), u16_at(16)];
    let pixels = dims.iter().try_fold(count, |product, &dim| product.checked_mul(dim.into()));
    let len = pixels.and_then(|pixels| pixels.checked_add(2 * count)?.checked_add(IMAGES_HEADER));
    match len {
        _ if count == 0 => Err("no images in it".into()),
        Some(len) if len == file.len() => Ok((count, dims)),
        _ => Err(format!("{} bytes do not hold {count} images of {dims:?} and their labels", file.len())),
    }
}
