//! Rows of feature maps as they lie in the arena and in scratch.

/// A row of a feature map as it lies in the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapRow<'a> {
    /// From the first channel of the first pixel to the last channel of the last pixel.
    pub bytes: &'a [i8],
    /// Channels of a pixel.
    pub channels: usize,
    /// Elements from a pixel to the next.
    pub pixel_stride: usize,
}

impl<'a> MapRow<'a> {
    /// The pixels, each as its channels.
    pub fn pixels(self) -> impl Iterator<Item = &'a [i8]> {
        let channels = self.channels;
        self.bytes.chunks(self.pixel_stride.max(1)).map(move |pixel| pixel.get(..channels).unwrap_or(pixel))
    }

    /// The channels of pixel `x`; none if there is no such pixel.
    pub fn pixel(self, x: usize) -> &'a [i8] {
        let rest = self.bytes.get(x * self.pixel_stride..).unwrap_or(&[]);
        rest.get(..self.channels).unwrap_or(&[])
    }

    /// Whether pixels follow each other without gaps.
    pub fn is_dense(self) -> bool {
        self.channels == self.pixel_stride
    }
}

/// Where some channels of a pixel lie in a padded row.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// Elements before the first pixel's.
    pub left: usize,
    /// Elements from a pixel to the next.
    pub pixel_stride: usize,
}
