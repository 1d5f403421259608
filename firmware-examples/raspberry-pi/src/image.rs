//! PNG and JPEG files as the model takes them: decoded and made its size as the host does it.

#[path = "../../../builder/src/data/picture/mod.rs"]
mod picture;

use skipstone_runtime::Model;
use std::path::Path;

/// The pixels of a file, `[height][width][channels]`, as the model's preprocessing makes them.
pub fn read(path: &Path, model: &Model<'_>) -> Result<Vec<u8>, String> {
    let input = model.input();
    let dims = [input.channels, input.height, input.width].map(usize::from);
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    let mut pixels = vec![0; dims.iter().product()];
    picture::prepare(&picture::decode(&bytes)?, dims, model.preprocessing(), &mut pixels)?;
    Ok(pixels)
}
