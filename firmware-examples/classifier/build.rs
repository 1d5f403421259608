//! Puts the model and the images into the program.
//!
//! `SKIPSTONE_MODEL` names a packed model, `SKIPSTONE_IMAGES` a file of test images (`docs/targets.md` has its layout).
//! Both are checked here, so that a program that builds has a model that it can hold.

use skipstone_runtime::{AlignedBytes, Model, codegen};
use std::path::{Path, PathBuf};

/// Bytes before the pixels of a file of test images.
const IMAGES_HEADER: usize = 20;

fn main() {
    println!("cargo::rustc-link-arg-bins=-Tlink.x");
    if let Err(e) = embed() {
        println!("cargo::error={e}");
    }
}

fn embed() -> Result<(), String> {
    let out = PathBuf::from(std::env::var("OUT_DIR").map_err(|e| format!("OUT_DIR: {e}"))?);
    let model = read_named("SKIPSTONE_MODEL", "a packed model (.stone)")?;
    let images = read_named("SKIPSTONE_IMAGES", "a file of test images (docs/targets.md)")?;
    let (model, images) = (AlignedBytes::copy(&model), AlignedBytes::copy(&images));

    let parsed = Model::from_bytes(model.as_slice()).map_err(|e| format!("SKIPSTONE_MODEL: {e}"))?;
    let target = std::env::var("TARGET").map_err(|e| format!("TARGET: {e}"))?;
    let small = std::env::var("OPT_LEVEL").is_ok_and(|level| matches!(level.as_str(), "s" | "z"));
    let program = if small { codegen::small_program } else { codegen::program };
    let program =
        program(&parsed, &target, codegen::Extension::of_package()).map_err(|e| format!("SKIPSTONE_MODEL: {e}"))?;
    let input = parsed.input();
    let (count, dims) = check_images(images.as_slice()).map_err(|e| format!("SKIPSTONE_IMAGES: {e}"))?;
    let expected = [input.height, input.width, input.channels];
    if dims != expected {
        return Err(format!("SKIPSTONE_IMAGES: images of {dims:?} where the model takes {expected:?}"));
    }
    let constants = format!(
        "const NODES: usize = {};\nconst IMAGES: usize = {count};\n\
         const IMAGES_HEADER: usize = {IMAGES_HEADER};\nconst IMAGE_LEN: usize = {};\n",
        parsed.nodes().len(),
        dims.iter().map(|&dim| usize::from(dim)).product::<usize>(),
    );
    write(&out.join("program.rs"), program.as_bytes())?;
    write(&out.join("model.stone"), model.as_slice())?;
    write(&out.join("images.bin"), images.as_slice())?;
    write(&out.join("constants.rs"), constants.as_bytes())
}

fn read_named(variable: &str, what: &str) -> Result<Vec<u8>, String> {
    println!("cargo::rerun-if-env-changed={variable}");
    let path = std::env::var(variable).map_err(|_| format!("set {variable} to the absolute path of {what}"))?;
    println!("cargo::rerun-if-changed={path}");
    std::fs::read(&path).map_err(|e| format!("{variable}: cannot read {path}: {e}"))
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
