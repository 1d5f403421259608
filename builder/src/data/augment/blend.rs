//! Operations that move an image away from a poorer version of itself, or toward it.
//!
//! `factor` 1 leaves the image, 0 is the poorer version, 2 doubles the difference. All equal Pillow's `ImageEnhance`
//! bit for bit: arithmetic in float32, rounded toward zero.

use super::Image;

/// Saturation, against grey. An image of one channel has none.
pub(super) fn color(image: &mut Image, factor: f32) {
    if image.channels != 3 {
        return;
    }
    for pixel in image.pixels.chunks_exact_mut(3) {
        let grey = luma(pixel);
        pixel.iter_mut().for_each(|value| *value = blend(grey, *value, factor));
    }
}

/// Contrast, against the image's mean grey.
pub(super) fn contrast(image: &mut Image, factor: f32) {
    let sum: u64 = image.pixels.chunks_exact(image.channels).map(|pixel| u64::from(luma(pixel))).sum();
    let mean = (sum as f64 / (image.height * image.width) as f64 + 0.5) as u8;
    image.pixels.iter_mut().for_each(|value| *value = blend(mean, *value, factor));
}

/// Brightness, against black.
pub(super) fn brightness(image: &mut Image, factor: f32) {
    image.pixels.iter_mut().for_each(|value| *value = blend(0, *value, factor));
}

/// Sharpness, against the image smoothed by a 3x3 kernel of ones with 5 in the middle; the border stays as it is.
pub(super) fn sharpness(image: &mut Image, factor: f32) {
    let Image { height, width, channels, .. } = *image;
    let source = image.pixels.clone();
    for row in 1..height.saturating_sub(1) {
        for at in (row * width + 1) * channels..(row * width + width.max(2) - 1) * channels {
            let sum: u32 = [at - width * channels, at, at + width * channels]
                .iter()
                .flat_map(|&middle| [middle - channels, middle, middle + channels])
                .map(|neighbour| u32::from(source[neighbour]))
                .sum();
            let smooth = (2 * (sum + 4 * u32::from(source[at])) + 13) / 26;
            image.pixels[at] = blend(smooth as u8, source[at], factor);
        }
    }
}

/// ITU-R 601 luma in 16-bit fixed point.
fn luma(pixel: &[u8]) -> u8 {
    match *pixel {
        [red, green, blue] => {
            ((19595 * u32::from(red) + 38470 * u32::from(green) + 7471 * u32::from(blue) + 0x8000) >> 16) as u8
        }
        _ => pixel[0],
    }
}

/// The conversion clamps to 0..=255.
fn blend(poor: u8, value: u8, factor: f32) -> u8 {
    (f32::from(poor) + factor * (f32::from(value) - f32::from(poor))) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(pixels: &[u8], channels: usize) -> Image {
        Image { height: 1, width: pixels.len() / channels, channels, pixels: pixels.to_vec() }
    }

    #[test]
    fn color_moves_from_grey() {
        // Luma of (100, 0, 0): 0.299 x 100.
        let mut image = row(&[100, 0, 0, 80, 80, 80], 3);
        color(&mut image, 0.0);
        assert_eq!(image.pixels, [30, 30, 30, 80, 80, 80]);
        let mut image = row(&[100, 0, 0], 3);
        color(&mut image, 1.5);
        assert_eq!(image.pixels, [135, 0, 0]);
        let mut grey = row(&[1, 200], 1);
        color(&mut grey, 0.1);
        assert_eq!(grey.pixels, [1, 200]);
    }

    #[test]
    fn contrast_moves_from_the_mean() {
        let mut image = row(&[0, 101], 1);
        contrast(&mut image, 0.0);
        assert_eq!(image.pixels, [51, 51]);
        let mut image = row(&[40, 60, 200, 100], 1);
        contrast(&mut image, 2.0);
        assert_eq!(image.pixels, [0, 20, 255, 100]);
    }

    #[test]
    fn brightness_moves_from_black() {
        let mut image = row(&[0, 101, 200], 1);
        brightness(&mut image, 0.5);
        assert_eq!(image.pixels, [0, 50, 100]);
        brightness(&mut image, 3.0);
        assert_eq!(image.pixels, [0, 150, 255]);
    }

    #[test]
    fn sharpness_moves_from_the_smoothed_inside() {
        let mut image = Image { height: 3, width: 3, channels: 1, pixels: vec![13; 9] };
        image.pixels[4] = 39;
        let source = image.clone();
        sharpness(&mut image, 0.0);
        // (8 x 13 + 5 x 39) / 13 = 23.
        assert_eq!(image.pixels, [13, 13, 13, 13, 23, 13, 13, 13, 13]);
        let mut image = source.clone();
        sharpness(&mut image, 2.0);
        assert_eq!(image.pixels[4], 55);
        for (height, width) in [(1, 9), (9, 1), (2, 4), (1, 1)] {
            let flat = Image { height, width, channels: 1, pixels: (0..height * width).map(|i| i as u8).collect() };
            let mut image = flat.clone();
            sharpness(&mut image, 0.1);
            assert_eq!(image, flat);
        }
    }

    #[test]
    fn factor_one_changes_nothing() {
        let source =
            Image { height: 4, width: 5, channels: 3, pixels: (0..60).map(|i| (i * 37 % 256) as u8).collect() };
        for operation in [color, contrast, brightness, sharpness] {
            let mut image = source.clone();
            operation(&mut image, 1.0);
            assert_eq!(image, source);
        }
    }
}
