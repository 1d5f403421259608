//! From the bytes of a PNG or JPEG file to the pixels of a network's input: the one way, for the host and for programs
//! on Linux devices, which compile this folder too and so depend on crate `image` and on the runtime alone.

mod jpeg;

use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, ImageResult};
use skipstone_runtime::image::{Plan, Preprocessing, Resampler, Row, Samples};
use std::io::Cursor;

/// The picture of a PNG or JPEG file, turned upright as its EXIF orientation asks.
///
/// # Errors
/// Why the bytes are no such picture.
pub(crate) fn decode(bytes: &[u8]) -> Result<DynamicImage, String> {
    if bytes.is_empty() {
        return Err("the file is empty".into());
    }
    let format = match image::guess_format(bytes) {
        Ok(format @ (ImageFormat::Png | ImageFormat::Jpeg)) => format,
        _ if bytes.starts_with(b"version https://git-lfs.github.com/spec/") => {
            return Err("it is a Git LFS pointer, not the image: run `git lfs pull`".into());
        }
        _ => return Err("neither a PNG nor a JPEG file".into()),
    };
    let bytes = if format == ImageFormat::Jpeg { jpeg::whole(bytes)? } else { bytes.into() };
    upright(&bytes, format).map_err(|error| error.to_string())
}

fn upright(bytes: &[u8], format: ImageFormat) -> ImageResult<DynamicImage> {
    let mut decoder = ImageReader::with_format(Cursor::new(bytes), format).into_decoder()?;
    let orientation = decoder.orientation()?;
    let mut image = DynamicImage::from_decoder(decoder)?;
    image.apply_orientation(orientation);
    Ok(image)
}

/// Makes `pixels`, `[row][column][channel]` of `[channels, height, width]` in `dims`, with one channel or three, of a
/// picture.
///
/// Returns whether the picture had to be enlarged.
///
/// # Errors
/// Why it cannot become such pixels.
pub(crate) fn prepare(
    image: &DynamicImage,
    dims: [usize; 3],
    preprocessing: Preprocessing,
    pixels: &mut [u8],
) -> Result<bool, String> {
    let (width, height) = (image.width(), image.height());
    let short = |side: usize| u16::try_from(side).map_err(|_| format!("{side} pixels in a direction are too many"));
    let size = [short(width as usize)?, short(height as usize)?];
    let [channels, rows, columns] = dims;
    let plan = Plan::new(size, preprocessing, [short(channels)?, short(rows)?, short(columns)?]);
    let plan = plan.ok_or_else(|| format!("{width}x{height} pixels cannot become {channels}x{rows}x{columns}"))?;
    let (mut words, mut bytes) = (vec![0; plan.words()], vec![0; plan.bytes()]);
    let mut resampler = Resampler::new(plan, &mut words, &mut bytes).ok_or("the resampler needs more memory")?;
    let mut free = pixels.chunks_exact_mut(plan.row_len());
    let mut push = |samples, channels| {
        let row = Row { samples, channels };
        let taken = resampler.push(row, |made| free.next().into_iter().for_each(|row| row.copy_from_slice(made)));
        taken.map_err(|error| error.to_string())
    };
    let channels = image.color().channel_count();
    let len = width as usize * usize::from(channels);
    match image {
        DynamicImage::ImageLuma16(image) => rows16(image, len).try_for_each(|row| push(row, channels))?,
        DynamicImage::ImageLumaA16(image) => rows16(image, len).try_for_each(|row| push(row, channels))?,
        DynamicImage::ImageRgb16(image) => rows16(image, len).try_for_each(|row| push(row, channels))?,
        DynamicImage::ImageRgba16(image) => rows16(image, len).try_for_each(|row| push(row, channels))?,
        DynamicImage::ImageLuma8(image) => rows8(image, len).try_for_each(|row| push(row, channels))?,
        DynamicImage::ImageLumaA8(image) => rows8(image, len).try_for_each(|row| push(row, channels))?,
        DynamicImage::ImageRgb8(image) => rows8(image, len).try_for_each(|row| push(row, channels))?,
        DynamicImage::ImageRgba8(image) => rows8(image, len).try_for_each(|row| push(row, channels))?,
        _ => return Err("its samples have neither 8 nor 16 bits".into()),
    }
    Ok(plan.enlarges())
}

fn rows8(samples: &[u8], len: usize) -> impl Iterator<Item = Samples<'_>> {
    samples.chunks_exact(len).map(Samples::Bits8)
}

fn rows16(samples: &[u16], len: usize) -> impl Iterator<Item = Samples<'_>> {
    samples.chunks_exact(len).map(Samples::Bits16)
}
