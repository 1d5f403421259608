//! Blocks of pixels as channels.

use crate::Op;
use crate::import::failure::Failure;
use crate::import::node::NodeReader;

/// `SpaceToDepth`: channels in the order of row in the block, column in the block, channel.
pub(super) fn space_to_depth(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let size = node.attributes.int("blocksize")?.and_then(|size| usize::try_from(size).ok());
    let size = size.filter(|&size| size > 0).ok_or("attribute `blocksize` is missing or no size")?;
    let map = node.map(0)?;
    let &[_, height, width] = node.dims(map) else { return Err("takes maps [N, C, H, W]".into()) };
    if height % size != 0 || width % size != 0 {
        return Err(format!("blocks of {size} do not cover {height}x{width}").into());
    }
    if size == 1 {
        return node.pass_through();
    }
    let name = node.name.clone();
    let slices = node.importer.positions_in_blocks(map, [size, size], &name)?;
    let value = node.push(Op::Concat, &slices)?;
    node.bind_value(value)
}
