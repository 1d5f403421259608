//! From a file to the pixels of an image of the size asked for.

use crate::data::picture;
use crate::files;
use skipstone_runtime::image::Preprocessing;
use std::path::Path;

/// Decodes a PNG or JPEG file, whatever its name says, into `pixels`, `[row][column][channel]` of `[channels, height,
/// width]` in `dims`, with one channel or three.
///
/// Returns whether the image had to be enlarged; the error says why the file cannot be read.
pub(in crate::data) fn decode(
    path: &Path,
    dims: [usize; 3],
    preprocessing: Preprocessing,
    pixels: &mut [u8],
) -> Result<bool, String> {
    let bytes = files::read(path).map_err(|error| error.source.to_string())?;
    picture::prepare(&picture::decode(&bytes)?, dims, preprocessing, pixels)
}
