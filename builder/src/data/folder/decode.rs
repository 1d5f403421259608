//! From a file to the pixels of an image of the size asked for.

use image::imageops::FilterType;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, ImageResult};
use std::io::Cursor;
use std::path::Path;

/// Decodes a PNG or JPEG file, whatever its name says, turned upright as its EXIF orientation asks, into `pixels`,
/// `[row][column][channel]` of `[channels, height, width]` in `dims`, with one channel (luma) or three (red, green,
/// blue; transparency is dropped).
///
/// Of the image, the largest centred window of the target's shape is kept and scaled bicubically. Returns whether it
/// had to be enlarged; the error says why the file cannot be read.
pub(in crate::data) fn decode(path: &Path, dims: [usize; 3], pixels: &mut [u8]) -> Result<bool, String> {
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    if bytes.is_empty() {
        return Err("the file is empty".into());
    }
    let format = match image::guess_format(&bytes) {
        Ok(format @ (ImageFormat::Png | ImageFormat::Jpeg)) => format,
        _ => return Err("neither a PNG nor a JPEG file".into()),
    };
    let image = upright(&bytes, format).map_err(|error| error.to_string())?;
    let [channels, height, width] = dims.map(|dim| dim as u32);
    let (image, enlarged) = fit(image, height, width);
    match channels {
        1 => pixels.copy_from_slice(&image.into_luma8()),
        _ => pixels.copy_from_slice(&image.into_rgb8()),
    }
    Ok(enlarged)
}

fn upright(bytes: &[u8], format: ImageFormat) -> ImageResult<DynamicImage> {
    let mut decoder = ImageReader::with_format(Cursor::new(bytes), format).into_decoder()?;
    let orientation = decoder.orientation()?;
    let mut image = DynamicImage::from_decoder(decoder)?;
    image.apply_orientation(orientation);
    Ok(image)
}

/// The centred window of the shape `height` x `width`, at that size, and whether it was smaller.
fn fit(image: DynamicImage, height: u32, width: u32) -> (DynamicImage, bool) {
    let (rows, columns) = (image.height(), image.width());
    if (rows, columns) == (height, width) {
        return (image, false);
    }
    // Rounded side of the window along the longer side, where the shorter one is used whole.
    let side = |whole: u32, across: u32, along: u32| {
        ((u64::from(whole) * u64::from(along) + u64::from(across) / 2) / u64::from(across)).max(1) as u32
    };
    let (window_rows, window_columns) = if u64::from(columns) * u64::from(height) > u64::from(rows) * u64::from(width) {
        (rows, side(rows, height, width).min(columns))
    } else {
        (side(columns, width, height).min(rows), columns)
    };
    let (top, left) = ((rows - window_rows) / 2, (columns - window_columns) / 2);
    let window = image.crop_imm(left, top, window_columns, window_rows);
    let enlarged = window_rows < height || window_columns < width;
    (window.resize_exact(width, height, FilterType::CatmullRom), enlarged)
}
