//! Blocks of pixels as channels, and channels as blocks of pixels.

use crate::Op;
use crate::import::failure::Failure;
use crate::import::node::NodeReader;

/// The attribute `blocksize`.
fn block_size(node: &mut NodeReader<'_, '_>) -> Result<usize, Failure> {
    let size = node.attributes.int("blocksize")?.and_then(|size| usize::try_from(size).ok());
    Ok(size.filter(|&size| size > 0).ok_or("attribute `blocksize` is missing or no size")?)
}

/// `SpaceToDepth`: channels in the order of row in the block, column in the block, channel.
pub(super) fn space_to_depth(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let size = block_size(node)?;
    let map = node.map(0)?;
    if size == 1 {
        return node.pass_through();
    }
    let value = node.push(Op::SpaceToDepth { block: [size; 2] }, &[map])?;
    node.bind_value(value)
}

/// `DepthToSpace`, of channels in that order, or in the order of channel, row, column.
pub(super) fn depth_to_space(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let size = block_size(node)?;
    let mode = node.attributes.string("mode")?.unwrap_or("DCR").to_owned();
    let mut map = node.map(0)?;
    if size == 1 {
        return node.pass_through();
    }
    let channels = node.dims(map)[0];
    match mode.as_str() {
        "DCR" => {}
        "CRD" if channels.is_multiple_of(size.saturating_mul(size)) => {
            let pixels = size * size;
            let order = (0..pixels).flat_map(|at| (0..channels / pixels).map(move |channel| channel * pixels + at));
            let (name, sole) = (node.name.clone(), node.feature(0)?.sole);
            map = node.importer.with_channels(map, order.collect(), sole, &name)?;
        }
        "CRD" => return Err(format!("its {channels} channels are no blocks of {size}x{size} pixels").into()),
        other => return Err(format!("attribute `mode` is `{other}`").into()),
    }
    let value = node.push(Op::DepthToSpace { block: [size; 2] }, &[map])?;
    node.bind_value(value)
}
