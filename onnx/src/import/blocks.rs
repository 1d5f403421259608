//! Pixels as channels and channels as pixels, where a file's views of its tensors amount to that.

use super::Importer;
use super::draft::Id;
use super::failure::Failure;
use super::feature::{Affine, Feature};
use super::layout::{CHANNELS, Layout};
use crate::{Coordinates, Op, Resize};

impl Importer<'_> {
    /// The feature over a map whose pixels are those that the file shows, if it made channels of pixels, pixels of channels,
    /// or several pixels of one. Channels may still be in another order.
    pub(super) fn rearranged(&mut self, feature: Feature, name: &str) -> Result<Feature, Failure> {
        let dims = self.draft.dims(feature.value).to_vec();
        let made =
            |value: Id, layout: Layout| Feature { value, layout, affine: Affine::identity(), sole: true, log: false };
        if let Some(([rows, columns], layout)) = feature.layout.enlarged(&dims) {
            let x = self.settle(feature, name)?;
            let resize = Resize::new([dims[1] * rows, dims[2] * columns], Coordinates::Nearest);
            let value = self.push_fresh(&format!("{name}.repeated"), Op::Resize(resize), &[x.value])?;
            return Ok(made(value, layout));
        }
        if let Some((block, layout)) = feature.layout.blocks(&dims) {
            let x = self.settle(feature, name)?;
            let value = self.push_fresh(&format!("{name}.blocks"), Op::SpaceToDepth { block }, &[x.value])?;
            return Ok(made(value, layout));
        }
        if let Some((block, order)) = feature.layout.spread(&dims) {
            let x = self.settle(feature, name)?;
            let value = self.with_channels(x.value, order, x.sole, name)?;
            let value = self.push_fresh(&format!("{name}.blocks"), Op::DepthToSpace { block }, &[value])?;
            let plain = self.plain(value);
            return Ok(plain);
        }
        if feature.layout.order(self.batch, &dims).is_some() || feature.layout.shuffled(&dims).is_some() {
            return Ok(feature);
        }
        match feature.layout.unrolled(&dims) {
            Some(block) => {
                let x = self.settle(feature, name)?;
                let whole = Op::SpaceToDepth { block: [dims[1], dims[2]] };
                let pixel = if dims[1..] == [1, 1] {
                    x.value
                } else {
                    self.push_fresh(&format!("{name}.pixel"), whole, &[x.value])?
                };
                let value = if block == [1, 1] {
                    pixel
                } else {
                    self.push_fresh(&format!("{name}.blocks"), Op::DepthToSpace { block }, &[pixel])?
                };
                Ok(self.plain(value))
            }
            None => Ok(feature),
        }
    }

    /// Maps side by side along axis `along` of a value, which counts rows or columns.
    pub(super) fn side_by_side(&mut self, maps: &[Id], along: usize, name: &str) -> Result<(Id, [usize; 2]), Failure> {
        let block = |size: usize| if along == CHANNELS + 1 { [size, 1] } else { [1, size] };
        let mut pixels = Vec::with_capacity(maps.len());
        let mut total = 0;
        for &map in maps {
            let size = self.draft.dims(map)[along - 1];
            total += size;
            let block = block(size);
            // What was made of such pixels is these.
            let before = self.draft.producer(map).filter(|node| node.op == Op::DepthToSpace { block });
            let before = if size == 1 { Some(map) } else { before.map(|node| node.inputs[0]) };
            pixels.push(match before {
                Some(pixel) => pixel,
                None => self.push_fresh(&format!("{name}.line"), Op::SpaceToDepth { block }, &[map])?,
            });
        }
        let joined = self.push_fresh(&format!("{name}.lines"), Op::Concat, &pixels)?;
        Ok((joined, block(total)))
    }
}
