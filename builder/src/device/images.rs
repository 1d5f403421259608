//! Images as a file that devices read.

use super::DeviceError;
use crate::data::Dataset;

/// First bytes of a file of test images.
const MAGIC: [u8; 8] = *b"SKIPIMGS";

/// Images that a device classifies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestImages {
    /// Rows of an image.
    pub height: u16,
    /// Pixels of a row.
    pub width: u16,
    /// Channels of a pixel.
    pub channels: u16,
    /// `[image][height][width][channels]`, 0..=255.
    pub pixels: Vec<u8>,
    /// The class of each image, for people who read the file: devices do not look at it.
    pub labels: Vec<u16>,
}

impl TestImages {
    /// The first `count` images of a data set, or all if it has fewer.
    ///
    /// # Errors
    /// [`DeviceError::Images`] if they are larger than 65,535 pixels in a direction.
    pub fn first(dataset: &Dataset, count: usize) -> Result<Self, DeviceError> {
        let too_large = |_| DeviceError::Images("they are too large");
        let [channels, height, width] = dataset.dims;
        let count = count.min(dataset.len());
        Ok(Self {
            height: height.try_into().map_err(too_large)?,
            width: width.try_into().map_err(too_large)?,
            channels: channels.try_into().map_err(too_large)?,
            pixels: dataset.pixels[..count * channels * height * width].to_vec(),
            labels: dataset.labels[..count].to_vec(),
        })
    }

    /// Number of images.
    pub fn count(&self) -> usize {
        self.labels.len()
    }

    fn image_len(&self) -> usize {
        [self.height, self.width, self.channels].into_iter().map(usize::from).product()
    }

    fn check(&self) -> Result<(), DeviceError> {
        if self.labels.is_empty() {
            return Err(DeviceError::Images("there are none"));
        }
        if self.image_len() * self.count() != self.pixels.len() || self.image_len() == 0 {
            return Err(DeviceError::Images("pixels, dimensions and labels do not fit together"));
        }
        Ok(())
    }

    /// The file that programs for microcontrollers are built with and others read, little endian: `SKIPIMGS`, count
    /// (u32), height, width, channels and 0 (u16 each), all pixels, all labels (u16 each).
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, DeviceError> {
        self.check()?;
        let count = u32::try_from(self.count()).map_err(|_| DeviceError::Images("there are too many"))?;
        let mut bytes = MAGIC.to_vec();
        bytes.extend(count.to_le_bytes());
        bytes.extend([self.height, self.width, self.channels, 0].map(u16::to_le_bytes).as_flattened());
        bytes.extend(&self.pixels);
        bytes.extend(self.labels.iter().flat_map(|label| label.to_le_bytes()));
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images() -> TestImages {
        TestImages { height: 2, width: 1, channels: 3, pixels: (0..12).collect(), labels: vec![7, 300] }
    }

    #[test]
    fn file_has_the_documented_layout() {
        let bytes = images().to_bytes().unwrap();
        assert_eq!(bytes[..20], *b"SKIPIMGS\x02\0\0\0\x02\0\x01\0\x03\0\0\0");
        assert_eq!(bytes[20..], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 7, 0, 44, 1]);
    }

    #[test]
    fn pixels_that_do_not_fit_are_refused() {
        let short = TestImages { pixels: vec![0; 11], ..images() };
        assert_eq!(
            short.to_bytes().unwrap_err().to_string(),
            "test images: pixels, dimensions and labels do not fit together"
        );
        let none = TestImages { pixels: vec![], labels: vec![], ..images() };
        assert_eq!(none.to_bytes().unwrap_err().to_string(), "test images: there are none");
    }
}
