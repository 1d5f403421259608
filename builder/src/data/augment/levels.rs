//! Operations that map each pixel value to another: a table per channel.
//!
//! All equal Pillow's `ImageOps` (and timm's `solarize_add`) bit for bit.

use super::Image;

type Table = [u8; 256];

/// Stretches each channel so that its darkest value becomes 0 and its lightest 255.
pub(super) fn auto_contrast(image: &mut Image) {
    per_channel(image, |counts| {
        let low = counts.iter().position(|&count| count > 0)?;
        let high = counts.iter().rposition(|&count| count > 0)?;
        if high <= low {
            return None;
        }
        let scale = 255.0 / (high - low) as f64;
        let offset = -(low as f64) * scale;
        // The conversion clamps and rounds toward zero.
        Some(std::array::from_fn(|value| (value as f64 * scale + offset) as u8))
    });
}

/// Makes each channel's histogram as even as it gets.
pub(super) fn equalize(image: &mut Image) {
    per_channel(image, |counts| {
        let last = counts.iter().rposition(|&count| count > 0)?;
        let step = counts[..last].iter().sum::<usize>() / 255;
        if step == 0 {
            return None;
        }
        let mut below = step / 2;
        Some(std::array::from_fn(|value| {
            let level = below / step;
            below += counts[value];
            level.min(255) as u8
        }))
    });
}

/// The negative.
pub(super) fn invert(image: &mut Image) {
    map(image, |value| 255 - value);
}

/// Keeps the `bits` highest bits of each value, 0 to 8.
pub(super) fn posterize(image: &mut Image, bits: u32) {
    let mask = (0xff00_u32 >> bits) as u8;
    map(image, |value| value & mask);
}

/// Inverts the values from `threshold` on, 0 to 256.
pub(super) fn solarize(image: &mut Image, threshold: usize) {
    map(image, |value| if usize::from(value) < threshold { value } else { 255 - value });
}

/// Lightens the values below 128.
pub(super) fn solarize_add(image: &mut Image, add: u8) {
    map(image, |value| if value < 128 { value.saturating_add(add) } else { value });
}

fn map(image: &mut Image, table: impl Fn(u8) -> u8) {
    image.pixels.iter_mut().for_each(|pixel| *pixel = table(*pixel));
}

/// Applies to each channel the table that `table` makes of its histogram; none leaves the channel as it is.
fn per_channel(image: &mut Image, table: impl Fn(&[usize; 256]) -> Option<Table>) {
    for channel in 0..image.channels {
        let mut counts = [0; 256];
        for &pixel in image.pixels[channel..].iter().step_by(image.channels) {
            counts[usize::from(pixel)] += 1;
        }
        if let Some(table) = table(&counts) {
            for pixel in image.pixels[channel..].iter_mut().step_by(image.channels) {
                *pixel = table[usize::from(*pixel)];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(pixels: &[u8], operation: impl Fn(&mut Image)) -> Vec<u8> {
        let mut image = Image { height: 1, width: pixels.len(), channels: 1, pixels: pixels.to_vec() };
        operation(&mut image);
        image.pixels
    }

    #[test]
    fn contrast_is_stretched_per_channel() {
        assert_eq!(changed(&[50, 100, 150], auto_contrast), [0, 127, 255]);
        assert_eq!(changed(&[7, 7], auto_contrast), [7, 7]);
        let mut image = Image { height: 1, width: 2, channels: 3, pixels: vec![10, 0, 9, 20, 255, 9] };
        auto_contrast(&mut image);
        assert_eq!(image.pixels, [0, 0, 9, 255, 255, 9]);
    }

    #[test]
    fn histograms_are_evened() {
        // 510 of 0, 255 of 10, 255 of 20: step (1020 - 255) / 255 = 3, levels (1 + pixels below) / 3.
        let pixels = [vec![0; 510], vec![10; 255], vec![20; 255]].concat();
        let even = changed(&pixels, equalize);
        assert_eq!([even[0], even[510], even[765]], [0, 170, 255]);
        // Too few pixels for a step.
        assert_eq!(changed(&[1, 2, 3], equalize), [1, 2, 3]);
        assert_eq!(changed(&[4; 1000], equalize), [4; 1000]);
    }

    #[test]
    fn values_are_mapped() {
        assert_eq!(changed(&[0, 100, 255], invert), [255, 155, 0]);
        assert_eq!(changed(&[0, 127, 200, 255], |image| posterize(image, 2)), [0, 64, 192, 192]);
        assert_eq!(changed(&[3, 255], |image| posterize(image, 8)), [3, 255]);
        assert_eq!(changed(&[3, 255], |image| posterize(image, 0)), [0, 0]);
        assert_eq!(changed(&[0, 99, 100, 255], |image| solarize(image, 100)), [0, 99, 155, 0]);
        assert_eq!(changed(&[0, 255], |image| solarize(image, 256)), [0, 255]);
        assert_eq!(changed(&[0, 100, 127, 128], |image| solarize_add(image, 110)), [110, 210, 237, 128]);
    }
}
