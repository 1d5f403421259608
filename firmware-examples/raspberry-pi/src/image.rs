//! Files of images as the model takes them.

#[path = "../../../builder/src/data/picture/mod.rs"]
mod picture;

use image::DynamicImage;
use skipstone_runtime::Model;
use std::path::Path;

/// Bytes before the pixels of a file of test images.
const HEADER: usize = 20;

/// The pixels of the images in a file, `[height][width][channels]`: of a PNG or JPEG file one image, decoded and made
/// the model's size as its preprocessing says; of a file of test images (`docs/targets.md`) all, as they are.
pub(crate) fn read(path: &Path, model: &Model<'_>) -> Result<Vec<Vec<u8>>, String> {
    let input = model.input();
    let dims = [input.channels, input.height, input.width].map(usize::from);
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    if bytes.starts_with(b"SKIPIMGS") {
        return test_images(&bytes, dims);
    }
    Ok(vec![prepare(&decode(&bytes)?, model)?])
}

/// The pixels that the model takes, made of a picture as its preprocessing says.
pub(crate) fn prepare(picture: &DynamicImage, model: &Model<'_>) -> Result<Vec<u8>, String> {
    let input = model.input();
    let dims = [input.channels, input.height, input.width].map(usize::from);
    let mut pixels = vec![0; dims.iter().product()];
    picture::prepare(picture, dims, model.preprocessing(), &mut pixels)?;
    Ok(pixels)
}

fn test_images(file: &[u8], dims: [usize; 3]) -> Result<Vec<Vec<u8>>, String> {
    let (header, rest) = file.split_at_checked(HEADER).ok_or("cut short")?;
    let word = |at: usize| usize::from(u16::from_le_bytes([header[at], header[at + 1]]));
    let count = word(8) | word(10) << 16;
    let [height, width, channels] = [word(12), word(14), word(16)];
    if [channels, height, width] != dims {
        let [c, h, w] = dims;
        return Err(format!("images of {channels}x{height}x{width} where the model takes {c}x{h}x{w}"));
    }
    let len = dims.iter().product::<usize>();
    if count.checked_mul(len + 2) != Some(rest.len()) {
        return Err(format!("{} bytes do not hold {count} images and their labels", file.len()));
    }
    Ok(rest.chunks_exact(len).take(count).map(<[u8]>::to_vec).collect())
}

/// The picture of a PNG or JPEG file.
pub(crate) fn decode(bytes: &[u8]) -> Result<DynamicImage, String> {
    picture::decode(bytes)
}
