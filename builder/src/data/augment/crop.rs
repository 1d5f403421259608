//! Which part of an image is seen: shift, mirror, random resized crop, Cutout.

use super::{AugmentationError, Image};
use image::imageops::{self, FilterType};
use image::{ImageBuffer, Luma, Pixel, Rgb};
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

/// Draws before the centre is taken.
const ATTEMPTS: usize = 10;

/// The image seen through a window that lies `down` rows lower and `right` columns further right; outside is `fill`.
pub fn shift(image: &Image, down: isize, right: isize, fill: &[u8]) -> Image {
    let Image { height, width, channels, .. } = *image;
    // Of each row, the columns from `start` to `end` come from the image.
    let start = (-right).clamp(0, width as isize) as usize;
    let end = (width as isize - right).clamp(0, width as isize) as usize;
    let outside = |pixels: &mut Vec<u8>, columns| pixels.extend(std::iter::repeat_n(fill, columns).flatten());
    let mut pixels = Vec::with_capacity(image.pixels.len());
    for row in 0..height {
        match row.checked_add_signed(down).filter(|&row| row < height && start < end) {
            Some(row) => {
                let source = (row * width + start).saturating_add_signed(right) * channels;
                outside(&mut pixels, start);
                pixels.extend_from_slice(&image.pixels[source..][..(end - start) * channels]);
                outside(&mut pixels, width - end);
            }
            None => outside(&mut pixels, width),
        }
    }
    Image { pixels, ..*image }
}

/// As [`shift`], but outside is the image's mirror image at its border, without the pixels of the border itself; of
/// shifts as long as the image, what lies further out repeats the last pixel.
pub fn shift_reflected(image: &Image, down: isize, right: isize) -> Image {
    let Image { height, width, .. } = *image;
    let inside = |at: usize, by: isize, size: usize| {
        let (at, last) = (at as isize + by, size as isize - 1);
        let at = if at < 0 { -at } else { at };
        let at = if at > last { 2 * last - at } else { at };
        at.clamp(0, last) as usize
    };
    let mut pixels = Vec::with_capacity(image.pixels.len());
    for row in 0..height {
        let row = inside(row, down, height);
        for column in 0..width {
            pixels.extend_from_slice(image.pixel(row, inside(column, right, width)));
        }
    }
    Image { pixels, ..*image }
}

/// Exchanges left and right.
pub fn mirror(image: &mut Image) {
    for row in image.pixels.chunks_exact_mut(image.width * image.channels) {
        row.reverse();
        row.chunks_exact_mut(image.channels).for_each(<[u8]>::reverse);
    }
}

/// Paints a square of `side` about (row, column), as far as it lies inside, with `fill` (DeVries and Taylor,
/// *Improved regularization of convolutional neural networks with Cutout*). An odd side is rounded down to an even one.
pub fn cutout(image: &mut Image, row: usize, column: usize, side: usize, fill: &[u8]) {
    let span = |centre: usize, len: usize| centre.saturating_sub(side / 2)..centre.saturating_add(side / 2).min(len);
    for row in span(row, image.height) {
        for column in span(column, image.width) {
            let at = (row * image.width + column) * image.channels;
            image.pixels[at..at + image.channels].copy_from_slice(fill);
        }
    }
}

/// A random part of the image, scaled bicubically to the whole (Szegedy et al., *Going deeper with convolutions*).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResizedCrop {
    /// Least and most of the image's area.
    pub scale: [f64; 2],
    /// Least and most width per height of the part.
    pub ratio: [f64; 2],
}

impl ResizedCrop {
    /// As for ImageNet: 8 % to all of the area, aspect ratios 3/4 to 4/3.
    pub const IMAGENET: Self = Self { scale: [0.08, 1.0], ratio: [3.0 / 4.0, 4.0 / 3.0] };
    /// For images that are small or already cropped: half to all of the area.
    pub const MILD: Self = Self { scale: [0.5, 1.0], ..Self::IMAGENET };

    pub(super) fn check(&self) -> Result<(), AugmentationError> {
        let ordered = |[least, most]: [f64; 2], limit| least > 0.0 && least <= most && most <= limit;
        AugmentationError::unless(
            ordered(self.scale, 1.0),
            "resized_crop.scale",
            &self.scale,
            "two numbers above 0 and up to 1, the smaller first",
        )?;
        AugmentationError::unless(
            ordered(self.ratio, 1000.0),
            "resized_crop.ratio",
            &self.ratio,
            "two numbers above 0 and up to 1000, the smaller first",
        )
    }

    pub(super) fn apply(&self, image: &Image, rng: &mut impl Rng) -> Image {
        resize(image, self.window(image.height, image.width, rng))
    }

    fn window(&self, height: usize, width: usize, rng: &mut impl Rng) -> Window {
        let area = (height * width) as f64;
        let logs = self.ratio.map(f64::ln);
        for _ in 0..ATTEMPTS {
            let target = rng.random_range(self.scale[0]..=self.scale[1]) * area;
            let aspect = rng.random_range(logs[0]..=logs[1]).exp();
            let columns = (target * aspect).sqrt().round() as usize;
            let rows = (target / aspect).sqrt().round() as usize;
            if (1..=height).contains(&rows) && (1..=width).contains(&columns) {
                let top = rng.random_range(0..=height - rows);
                let left = rng.random_range(0..=width - columns);
                return Window { top, left, rows, columns };
            }
        }
        self.centre(height, width)
    }

    /// The largest centred window whose aspect ratio is allowed.
    fn centre(&self, height: usize, width: usize) -> Window {
        let aspect = (width as f64 / height as f64).clamp(self.ratio[0], self.ratio[1]);
        let rows = ((width as f64 / aspect).round() as usize).clamp(1, height);
        let columns = ((height as f64 * aspect).round() as usize).clamp(1, width);
        Window { top: (height - rows) / 2, left: (width - columns) / 2, rows, columns }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    top: usize,
    left: usize,
    rows: usize,
    columns: usize,
}

/// The window of the image, at the image's size.
fn resize(image: &Image, window: Window) -> Image {
    if (window.rows, window.columns) == (image.height, image.width) {
        return image.clone();
    }
    let pixels = match image.channels {
        1 => resize_as::<Luma<u8>>(image, window),
        _ => resize_as::<Rgb<u8>>(image, window),
    };
    Image { pixels, ..*image }
}

fn resize_as<P: Pixel<Subpixel = u8> + 'static>(image: &Image, window: Window) -> Vec<u8> {
    let [width, height, left, top, columns, rows] =
        [image.width, image.height, window.left, window.top, window.columns, window.rows].map(|size| size as u32);
    let whole = ImageBuffer::<P, &[u8]>::from_raw(width, height, image.pixels.as_slice())
        .expect("an image has a pixel per row and column");
    let part = imageops::crop_imm(&whole, left, top, columns, rows);
    imageops::resize(&*part, width, height, FilterType::CatmullRom).into_raw()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::stream;

    fn image() -> Image {
        Image { height: 2, width: 3, channels: 1, pixels: vec![1, 2, 3, 4, 5, 6] }
    }

    #[test]
    fn shifts_bring_in_the_fill() {
        assert_eq!(shift(&image(), 0, 0, &[9]), image());
        assert_eq!(shift(&image(), 1, -1, &[9]).pixels, [9, 4, 5, 9, 9, 9]);
        assert_eq!(shift(&image(), -1, 2, &[0]).pixels, [0, 0, 0, 3, 0, 0]);
        for (down, right) in [(5, 5), (0, 3), (0, -3), (0, 9), (0, -9), (2, 0), (-2, 0)] {
            assert_eq!(shift(&image(), down, right, &[0]).pixels, [0; 6]);
        }
        let colored = Image { height: 1, width: 2, channels: 3, pixels: vec![1, 2, 3, 4, 5, 6] };
        assert_eq!(shift(&colored, 0, 1, &[7, 8, 9]).pixels, [4, 5, 6, 7, 8, 9]);
    }

    #[test]
    fn reflection_leaves_out_the_border() {
        let wide = Image { height: 1, width: 4, channels: 2, pixels: vec![1, 2, 3, 4, 5, 6, 7, 8] };
        assert_eq!(shift_reflected(&wide, 0, -2).pixels, [5, 6, 3, 4, 1, 2, 3, 4]);
        assert_eq!(shift_reflected(&wide, 0, 2).pixels, [5, 6, 7, 8, 5, 6, 3, 4]);
        assert_eq!(shift_reflected(&image(), 1, 0).pixels, [4, 5, 6, 1, 2, 3]);
        assert_eq!(shift_reflected(&image(), 0, 0), image());
        assert_eq!(shift_reflected(&wide, 3, 9).pixels.len(), 8);
    }

    #[test]
    fn mirroring_keeps_rows_and_channels() {
        let mut grey = image();
        mirror(&mut grey);
        assert_eq!(grey.pixels, [3, 2, 1, 6, 5, 4]);
        let mut colored = Image { height: 1, width: 2, channels: 3, pixels: vec![1, 2, 3, 4, 5, 6] };
        mirror(&mut colored);
        assert_eq!(colored.pixels, [4, 5, 6, 1, 2, 3]);
    }

    #[test]
    fn cutout_is_clipped() {
        let blank = Image { height: 4, width: 4, channels: 1, pixels: vec![0; 16] };
        let cut = |row, column, side| {
            let mut image = blank.clone();
            cutout(&mut image, row, column, side, &[5]);
            image.pixels.chunks(4).map(|row| row.iter().filter(|&&p| p == 5).count()).collect::<Vec<usize>>()
        };
        assert_eq!(cut(2, 1, 2), [0, 2, 2, 0]);
        assert_eq!(cut(0, 0, 4), [2, 2, 0, 0]);
        assert_eq!(cut(3, 3, 100), [4, 4, 4, 4]);
        assert_eq!(cut(1, 1, 1), [0; 4]);
    }

    #[test]
    fn windows_keep_their_ranges() {
        let crop = ResizedCrop::IMAGENET;
        let mut rng = stream(1, 0, 0);
        let (mut least, mut most) = (f64::MAX, 0.0_f64);
        for _ in 0..2000 {
            let window = crop.window(64, 64, &mut rng);
            assert!(window.top + window.rows <= 64 && window.left + window.columns <= 64);
            let scale = (window.rows * window.columns) as f64 / 4096.0;
            let ratio = window.columns as f64 / window.rows as f64;
            assert!((0.07..=1.0).contains(&scale) && (0.7..1.42).contains(&ratio), "{window:?}");
            least = least.min(scale);
            most = most.max(scale);
        }
        assert!(least < 0.09 && most > 0.95, "{least} {most}");
    }

    #[test]
    fn impossible_shapes_take_the_centre() {
        let crop = ResizedCrop { scale: [1.0, 1.0], ratio: [3.0 / 4.0, 4.0 / 3.0] };
        let window = crop.window(6, 60, &mut stream(1, 0, 0));
        assert_eq!(window, Window { top: 0, left: 26, rows: 6, columns: 8 });
        let window = crop.window(60, 6, &mut stream(1, 0, 0));
        assert_eq!(window, Window { top: 26, left: 0, rows: 8, columns: 6 });
        assert_eq!(crop.window(1, 1, &mut stream(1, 0, 0)), Window { top: 0, left: 0, rows: 1, columns: 1 });
    }

    #[test]
    fn a_flat_part_stays_flat_and_the_whole_stays_itself() {
        let mut pixels = vec![40; 8 * 8 * 3];
        pixels[..8 * 3].fill(200);
        let image = Image { height: 8, width: 8, channels: 3, pixels };
        let part = resize(&image, Window { top: 2, left: 1, rows: 4, columns: 5 });
        assert_eq!(part.pixels, [40; 8 * 8 * 3]);
        assert_eq!(resize(&image, Window { top: 0, left: 0, rows: 8, columns: 8 }), image);
    }

    #[test]
    fn parts_are_scaled_as_by_pillow() {
        let value = |i: usize| {
            let (y, x, c) = (i / 15, i / 3 % 5, i % 3);
            (20 * x + 25 * y + 15 * c + 3 * x * y + if y % 2 == 1 { 5 * x * x } else { 0 }) as u8
        };
        let image = Image { height: 4, width: 5, channels: 3, pixels: (0..60).map(value).collect() };
        let scaled = resize(&image, Window { top: 1, left: 1, rows: 3, columns: 3 });
        // Pillow 13.0.0, BICUBIC; it rounds and clips between the two directions.
        let expected = [
            49, 64, 79, 63, 78, 93, 90, 105, 120, 124, 139, 154, 144, 159, 174, //
            63, 78, 93, 74, 89, 104, 94, 109, 124, 117, 132, 147, 129, 144, 159, //
            88, 103, 118, 100, 115, 130, 122, 137, 152, 146, 161, 176, 159, 174, 189, //
            108, 123, 138, 124, 139, 154, 156, 171, 186, 194, 209, 224, 215, 230, 245_u8, //
        ];
        for (i, (&got, expected)) in scaled.pixels.iter().zip(expected).enumerate() {
            assert!(got.abs_diff(expected) <= 1, "{i}: {got} instead of {expected}");
        }
    }
}
