//! From a decoded picture of any size to the pixels that a network takes: one definition, in integers, for the host that
//! trains and quantizes and for the device.
//!
//! 1. **8 bits.** A 16-bit sample becomes the nearest of `v / 257`.
//! 2. **Channels.** Alpha is dropped. A network of one channel sees `(19595 R + 38470 G + 7471 B + 32768) >> 16`, ITU-R
//!    BT.601's luma; grey serves a network of three channels in each of them.
//! 3. **Window and size**, by [`Fit`] and [`Filter`]: rows first, then columns, both rounded to 8 bits ([`axis`]).
//! 4. **Order** of the channels, [`ChannelOrder`].
//!
//! Steps 2 and 3 give the pixels of Pillow 11, which many networks were trained on (later versions take some shapes'
//! columns first). What follows, the normalization of the
//! pixels 0..=255, is [`Model::pixel_requant`](crate::Model::pixel_requant)'s.
//!
//! Nothing here needs a heap: [`Resampler`] takes a picture row by row, as a camera delivers it, and gives rows that
//! [`Engine::feed_row`](crate::Engine::feed_row) takes.

pub mod axis;
mod convert;
mod resample;
#[cfg(all(test, feature = "std"))]
mod tests;

pub use axis::Axis;
pub use convert::{Row, Samples};
pub use resample::{Plan, Resampler, RowError};

/// How an image becomes the pixels of a network's input. The default is what models mean that do not say it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Preprocessing {
    /// Which part of the image is used.
    pub fit: Fit,
    /// How it is scaled.
    pub filter: Filter,
    /// The order of the network's channels, if there are three.
    pub channels: ChannelOrder,
}

/// Which part of an image a network sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Fit {
    /// The largest centred window of the input's shape.
    #[default]
    Crop,
    /// All of it, whatever its shape.
    Stretch,
    /// The centre of the image scaled so that its shorter side has this many pixels, no fewer than the input's sides.
    Resize(u16),
}

/// How pixels are interpolated. Where an image becomes smaller, the filter is as much wider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Filter {
    /// Catmull-Rom's cubic, over two pixels on each side.
    #[default]
    Bicubic = 0,
    /// A triangle, over one pixel on each side.
    Bilinear = 1,
}

/// The order of three channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ChannelOrder {
    /// Red, green, blue.
    #[default]
    Rgb = 0,
    /// Blue, green, red.
    Bgr = 1,
}

impl Preprocessing {
    /// The preprocessing of a model's codes, if it has a meaning for images of `channels`, `height`, `width`.
    pub fn from_codes([fit, filter, order]: [u8; 3], resize: u16, dims: [u16; 3]) -> Option<Self> {
        let fit = match (fit, resize) {
            (0, 0) => Fit::Crop,
            (1, 0) => Fit::Stretch,
            (2, 1..) => Fit::Resize(resize),
            _ => return None,
        };
        let filter = [Filter::Bicubic, Filter::Bilinear].get(usize::from(filter)).copied()?;
        let channels = [ChannelOrder::Rgb, ChannelOrder::Bgr].get(usize::from(order)).copied()?;
        let preprocessing = Self { fit, filter, channels };
        preprocessing.suits(dims).then_some(preprocessing)
    }

    /// The codes by which a model holds it, and the side of [`Fit::Resize`] or 0.
    pub fn codes(&self) -> ([u8; 3], u16) {
        let (fit, resize) = match self.fit {
            Fit::Crop => (0, 0),
            Fit::Stretch => (1, 0),
            Fit::Resize(side) => (2, side),
        };
        ([fit, self.filter as u8, self.channels as u8], resize)
    }

    /// Whether a network's input of `channels`, `height`, `width` can have it: only three channels have an order, and an
    /// image that is scaled and cut has pixels for the input's sides.
    pub fn suits(&self, [channels, height, width]: [u16; 3]) -> bool {
        let ordered = channels == 3 || self.channels == ChannelOrder::Rgb;
        ordered && !matches!(self.fit, Fit::Resize(side) if side < height || side < width)
    }
}
