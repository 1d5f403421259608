//! 3x3 convolutions with stride 1 by minimal filtering with large tiles, F(4x4, 3x3): 36 products for each pair of
//! channels give 16 results, which take 144 product by product.
//!
//! The points of interpolation are 0, infinity, and plus and minus the roots of 1/2 and of 2. Squares of these lie as
//! far below one as above it, so transforms enlarge what is transformed, and its rounding, far less than with whole
//! numbers: a result is within a few 1e-6 of the largest one. Beside a pixel that is infinite, results are no numbers.
//!
//! Many tiles, of several images where maps are small, are transformed together; then each of the 36 positions is a
//! matrix product, whose operands stay in cache.

mod correlate;
mod gradient;
mod rounded;
#[cfg(test)]
mod tests;
mod transform;
mod weights;

pub(crate) use correlate::correlate;
pub(crate) use gradient::weight_gradient;
use skipstone_onnx::Conv;
pub(crate) use weights::Weights;

/// Rows and columns of a tile of results.
const TILE: usize = 4;
/// Rows and columns of pixels that a tile reads.
const PATCH: usize = 6;
/// Elements of a transformed tile.
const POSITIONS: usize = PATCH * PATCH;
/// Channels for which the products outweigh the transforms.
const CHANNELS: usize = 8;
/// Rows and columns of results from which on a tile saves products.
const LEAST: usize = 3;

/// Whether a convolution whose results have `size` rows and columns can be computed so, and is worth it.
pub(crate) fn suits(conv: &Conv, channels: usize, outputs: usize, size: [usize; 2]) -> bool {
    let shape = conv.kernel == [3; 2] && conv.stride == [1; 2] && conv.groups == 1;
    shape && channels.min(outputs) >= CHANNELS && size.iter().all(|&size| size >= LEAST)
}

/// Maps of a batch: `[image][row][column][channel]`.
#[derive(Clone, Copy)]
pub(crate) struct Maps<'a> {
    pub(crate) elements: &'a [f32],
    /// Rows and columns.
    pub(crate) size: [usize; 2],
    pub(crate) channels: usize,
}

impl Maps<'_> {
    /// Elements of one map.
    fn image(&self) -> usize {
        self.size[0] * self.size[1] * self.channels
    }
}

/// A tile of results.
#[derive(Clone, Copy, Default)]
struct Tile {
    image: usize,
    /// Row and column of its first result.
    at: [usize; 2],
}

/// How results of `size` rows and columns are cut into tiles.
#[derive(Clone, Copy)]
struct Tiling {
    columns: usize,
    /// Tiles of an image.
    count: usize,
}

impl Tiling {
    fn new(size: [usize; 2]) -> Self {
        let [rows, columns] = size.map(|size| size.div_ceil(TILE));
        Self { columns, count: rows * columns }
    }

    /// The tiles from `first` on of images that follow each other.
    fn list(self, first: usize, count: usize) -> Vec<Tile> {
        (first..first + count)
            .map(|index| {
                let (image, tile) = (index / self.count, index % self.count);
                Tile { image, at: [tile / self.columns * TILE, tile % self.columns * TILE] }
            })
            .collect()
    }
}

/// From a position of a transformed block to the next, in lines of [`BLOCK`](super::tiles::BLOCK) elements: an odd
/// number, so that the positions of a tile lie in different sets of the cache.
fn position_step(tiles: usize) -> usize {
    tiles | 1
}
