//! RandAugment (Cubuk et al., 2019) as *ResNet strikes back* uses it: timm's fifteen operations that all grow stronger
//! with the magnitude, `rand-mM-mstdS-inc1`. Each operation equals timm's on Pillow bit for bit.

use super::{AugmentationError, Image, blend, levels, warp};
use rand::{Rng, RngExt};
use rand_distr::{Distribution, Normal};
use serde::{Deserialize, Serialize};

/// The greatest magnitude.
const MOST: f64 = 10.0;
/// Chance that a chosen operation is applied.
const CHANCE: f64 = 0.5;

/// Operations drawn anew for each image.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandAugment {
    /// How many are drawn, with replacement; each is applied by a chance of one half.
    pub operations: usize,
    /// Mean of the magnitude, 0 to 10.
    pub magnitude: f64,
    /// Deviation of the magnitude, which is clipped to 0..=10.
    pub deviation: f64,
}

impl RandAugment {
    /// Two operations of a magnitude whose deviation is 0.5.
    pub const fn of(magnitude: f64) -> Self {
        Self { operations: 2, magnitude, deviation: 0.5 }
    }

    pub(super) fn check(&self) -> Result<(), AugmentationError> {
        let magnitude = (0.0..=MOST).contains(&self.magnitude);
        AugmentationError::unless(magnitude, "rand_augment.magnitude", &self.magnitude, "0 to 10")?;
        let deviation = self.deviation.is_finite() && self.deviation >= 0.0;
        AugmentationError::unless(deviation, "rand_augment.deviation", &self.deviation, "at least 0")
    }

    pub(super) fn apply(&self, mut image: Image, fill: &[u8], rng: &mut impl Rng) -> Image {
        let magnitudes = Normal::new(self.magnitude, self.deviation).expect("the settings have been checked");
        for _ in 0..self.operations {
            let operation = Operation::ALL[rng.random_range(0..Operation::ALL.len())];
            if rng.random_bool(CHANCE) {
                let magnitude = magnitudes.sample(rng).clamp(0.0, MOST);
                image = operation.apply(image, magnitude, rng.random_bool(0.5), fill);
            }
        }
        image
    }
}

/// What can be done to an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Stretches each channel's values to 0..=255.
    AutoContrast,
    /// Evens each channel's histogram.
    Equalize,
    /// The negative.
    Invert,
    /// Turns by up to 30 degrees.
    Rotate,
    /// Keeps 4 down to no bits of each value.
    Posterize,
    /// Inverts the values from 256 down to 0 on.
    Solarize,
    /// Adds up to 110 to the values below 128.
    SolarizeAdd,
    /// Saturation times 0.1 to 1.9.
    Color,
    /// Contrast times 0.1 to 1.9.
    Contrast,
    /// Brightness times 0.1 to 1.9.
    Brightness,
    /// Sharpness times 0.1 to 1.9.
    Sharpness,
    /// Moves rows by up to 0.3 of their distance from the top.
    ShearX,
    /// Moves columns by up to 0.3 of their distance from the left.
    ShearY,
    /// Moves by up to 0.45 of the width.
    TranslateX,
    /// Moves by up to 0.45 of the height.
    TranslateY,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::AutoContrast,
        Self::Equalize,
        Self::Invert,
        Self::Rotate,
        Self::Posterize,
        Self::Solarize,
        Self::SolarizeAdd,
        Self::Color,
        Self::Contrast,
        Self::Brightness,
        Self::Sharpness,
        Self::ShearX,
        Self::ShearY,
        Self::TranslateX,
        Self::TranslateY,
    ];

    /// The image, changed by a magnitude of 0 to 10; `negative` turns the direction where there are two, and `fill` is
    /// the colour of what comes from outside.
    pub fn apply(self, mut image: Image, magnitude: f64, negative: bool, fill: &[u8]) -> Image {
        let level = magnitude / MOST;
        let signed = if negative { -level } else { level };
        let factor = (1.0 + 0.9 * signed).max(0.1) as f32;
        match self {
            Self::AutoContrast => levels::auto_contrast(&mut image),
            Self::Equalize => levels::equalize(&mut image),
            Self::Invert => levels::invert(&mut image),
            Self::Rotate => image = warp::rotate(&image, 30.0 * signed, fill),
            Self::Posterize => levels::posterize(&mut image, 4 - (4.0 * level) as u32),
            Self::Solarize => levels::solarize(&mut image, 256 - (256.0 * level) as usize),
            Self::SolarizeAdd => levels::solarize_add(&mut image, (110.0 * level) as u8),
            Self::Color => blend::color(&mut image, factor),
            Self::Contrast => blend::contrast(&mut image, factor),
            Self::Brightness => blend::brightness(&mut image, factor),
            Self::Sharpness => blend::sharpness(&mut image, factor),
            Self::ShearX => image = warp::shear_x(&image, 0.3 * signed, fill),
            Self::ShearY => image = warp::shear_y(&image, 0.3 * signed, fill),
            Self::TranslateX => image = warp::translate_x(&image, 0.45 * signed, fill),
            Self::TranslateY => image = warp::translate_y(&image, 0.45 * signed, fill),
        }
        image
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::stream;

    #[test]
    fn magnitudes_have_their_meaning() {
        let grey = |pixels: &[u8]| Image { height: 1, width: pixels.len(), channels: 1, pixels: pixels.to_vec() };
        let done = |operation: Operation, pixels: &[u8], magnitude, negative| {
            operation.apply(grey(pixels), magnitude, negative, &[7]).pixels
        };
        assert_eq!(done(Operation::Posterize, &[255, 100], 7.0, false), [192, 64]);
        assert_eq!(done(Operation::Posterize, &[255, 100], 0.0, false), [240, 96]);
        assert_eq!(done(Operation::Solarize, &[76, 77, 255], 7.0, false), [76, 178, 0]);
        assert_eq!(done(Operation::Solarize, &[0, 255], 10.0, false), [255, 0]);
        assert_eq!(done(Operation::SolarizeAdd, &[0, 127, 128], 7.0, false), [77, 204, 128]);
        assert_eq!(done(Operation::Brightness, &[100, 10], 5.0, false), [145, 14]);
        assert_eq!(done(Operation::Brightness, &[100, 10], 10.0, true), [10, 1]);
        assert_eq!(done(Operation::TranslateX, &[1, 2, 3, 4], 10.0, true)[..1], [7]);
        assert_eq!(done(Operation::TranslateX, &[1, 2, 3, 4], 10.0, false)[3..], [7]);
        for operation in [Operation::Rotate, Operation::ShearX, Operation::TranslateY, Operation::Contrast] {
            assert_eq!(done(operation, &[9, 8, 7], 0.0, true), [9, 8, 7], "{operation:?}");
        }
    }

    #[test]
    fn half_of_the_drawn_operations_are_applied() {
        let image = Image { height: 4, width: 4, channels: 3, pixels: (0..48).map(|i| i * 5).collect() };
        let once = RandAugment { operations: 1, magnitude: 7.0, deviation: 0.5 };
        let mut rng = stream(3, 0, 0);
        let changed = (0..1000).filter(|_| once.apply(image.clone(), &[128; 3], &mut rng) != image).count();
        // Equalize leaves so small an image as it is.
        let expected = 1000.0 * 0.5 * 14.0 / 15.0;
        assert!((changed as f64 - expected).abs() < 60.0, "{changed}");
        let none = RandAugment { operations: 0, ..once };
        assert_eq!(none.apply(image.clone(), &[128; 3], &mut rng), image);
    }

    #[test]
    fn every_operation_takes_every_size() {
        for (height, width, channels) in [(1, 1, 1), (1, 1, 3), (1, 5, 3), (5, 1, 1), (2, 2, 3), (3, 7, 1)] {
            let pixels: Vec<u8> = (0..height * width * channels).map(|i| (i * 97 % 256) as u8).collect();
            let image = Image { height, width, channels, pixels };
            for operation in Operation::ALL {
                for (magnitude, negative) in [(0.0, false), (7.3, true), (10.0, false), (10.0, true)] {
                    let changed = operation.apply(image.clone(), magnitude, negative, &vec![128; channels]);
                    assert_eq!(changed.pixels.len(), image.pixels.len(), "{operation:?}");
                }
            }
        }
    }

    /// FNV-1a of the outputs of timm 1.0.20's operations on Pillow 13.0.0, both directions, three images, magnitudes
    /// 3.7 and 7.4, fill (124, 116, 104), bicubic.
    const REFERENCE: [(Operation, u64); 15] = [
        (Operation::AutoContrast, 0x658f_ecf5_239e_fa4d),
        (Operation::Equalize, 0xdfc8_9646_656b_a355),
        (Operation::Invert, 0x624b_94e3_e937_7ef1),
        (Operation::Rotate, 0xeee1_291f_04eb_1e02),
        (Operation::Posterize, 0x6df7_4bc7_2356_2bb5),
        (Operation::Solarize, 0xf8ad_9d73_cc40_70e5),
        (Operation::SolarizeAdd, 0xbab2_bb3d_f688_6665),
        (Operation::Color, 0x54d8_9dd2_321c_4184),
        (Operation::Contrast, 0x2c33_73b0_0498_79e8),
        (Operation::Brightness, 0x7e7b_81a8_2454_9633),
        (Operation::Sharpness, 0x3c67_380c_0fc4_6569),
        (Operation::ShearX, 0xd96a_f01f_6857_38d5),
        (Operation::ShearY, 0xe2f2_0a2a_ac8e_272f),
        (Operation::TranslateX, 0xaa5b_17ab_c036_b092),
        (Operation::TranslateY, 0x35d9_fc2c_de33_cebc),
    ];

    #[test]
    fn operations_equal_the_reference_bit_for_bit() {
        for (operation, expected) in REFERENCE {
            let mut hash = 0xcbf2_9ce4_8422_2325_u64;
            for negative in [false, true] {
                for (height, width) in [(5, 7), (32, 32), (40, 28)] {
                    let value = |i: usize| {
                        let (y, x, c) = (i / 3 / width, i / 3 % width, i % 3);
                        (37 * x + 61 * y + 83 * c + 11 * x * y) as u8
                    };
                    let image =
                        Image { height, width, channels: 3, pixels: (0..height * width * 3).map(value).collect() };
                    for magnitude in [3.7, 7.4] {
                        for byte in operation.apply(image.clone(), magnitude, negative, &[124, 116, 104]).pixels {
                            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
                        }
                    }
                }
            }
            assert_eq!(hash, expected, "{operation:?}");
        }
    }
}
