//! Test vectors: images that travel in a packed model with what the engine makes of them.

use super::{HostError, Model};
use crate::pack::AlignedBytes;
use skipstone_runtime::format::checksum;
use skipstone_runtime::format::records::{ALIGNMENT, Header};

/// The packed model `stone` with a test vector for each of `images`, `[height][width][channels]` of pixels 0..=255, in
/// place of those that it has. Each takes the bytes of its image, of the scores, and 4 for each node.
///
/// # Errors
/// [`HostError`] if the model is not valid, cannot run here, takes images of another size, or the file becomes too large.
pub fn with_test_vectors(stone: &[u8], images: &[&[u8]]) -> Result<Vec<u8>, HostError> {
    let stone = AlignedBytes::copy(stone);
    let model = Model::new(&stone).map_err(HostError::Load)?;
    let too_many = || HostError::Vectors { count: images.len() };
    let mut file = model.view().bytes_before_test_vectors().to_vec();
    file.resize(file.len().next_multiple_of(ALIGNMENT), 0);
    let at = if images.is_empty() { 0 } else { file.len() };
    for image in images {
        let trace = model.trace(image)?;
        file.extend(trace.nodes.iter().flat_map(|node| node.checksum.to_le_bytes()));
        file.extend(trace.scores.iter().map(|score| score.cast_unsigned()));
        file.extend_from_slice(image);
        file.resize(file.len().next_multiple_of(ALIGNMENT), 0);
    }
    let mut header = Header {
        vectors: at.try_into().map_err(|_| too_many())?,
        vector_count: images.len().try_into().map_err(|_| too_many())?,
        file_len: file.len().try_into().map_err(|_| too_many())?,
        ..*model.view().header()
    };
    file[..Header::LEN].copy_from_slice(&header.emit());
    header.checksum = checksum::of_file(&file);
    file[..Header::LEN].copy_from_slice(&header.emit());
    skipstone_runtime::Model::from_bytes(AlignedBytes::copy(&file).as_slice()).map_err(HostError::Load)?;
    Ok(file)
}
