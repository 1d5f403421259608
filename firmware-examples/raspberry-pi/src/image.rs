//! PNG files as the model takes them.

use skipstone_runtime::format::records::Tensor;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

/// The pixels of a file, `[height][width][channels]`: grey images serve models of colors, and colors are made grey; an
/// alpha channel is left out. The size must be the model's.
pub fn read(path: &Path, input: &Tensor) -> Result<Vec<u8>, String> {
    let file = File::open(path).map_err(|e| e.to_string())?;
    let mut decoder = png::Decoder::new(BufReader::new(file));
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(|e| e.to_string())?;
    let size = reader.output_buffer_size().ok_or("the image is too large")?;
    let mut pixels = vec![0; size];
    let frame = reader.next_frame(&mut pixels).map_err(|e| e.to_string())?;
    pixels.truncate(frame.buffer_size());

    let expected = (u32::from(input.width), u32::from(input.height));
    if (frame.width, frame.height) != expected {
        let (width, height) = expected;
        return Err(format!("{} x {} pixels where the model takes {width} x {height}", frame.width, frame.height));
    }
    let channels = frame.color_type.samples();
    match (channels, input.channels) {
        (1 | 2, 1) => Ok(pixels.chunks_exact(channels).map(|pixel| pixel[0]).collect()),
        (1 | 2, 3) => Ok(pixels.chunks_exact(channels).flat_map(|pixel| [pixel[0]; 3]).collect()),
        (3 | 4, 1) => Ok(pixels.chunks_exact(channels).map(grey).collect()),
        (3 | 4, 3) => Ok(pixels.chunks_exact(channels).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect()),
        (_, wanted) => Err(format!("the model takes images of {wanted} channels, which PNG files do not hold")),
    }
}

/// Luma of ITU-R BT.601, rounded.
fn grey(pixel: &[u8]) -> u8 {
    let [red, green, blue] = [pixel[0], pixel[1], pixel[2]].map(u32::from);
    ((299 * red + 587 * green + 114 * blue + 500) / 1000) as u8
}
