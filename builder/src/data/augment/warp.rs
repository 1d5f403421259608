//! Operations that move pixels along straight lines: rotation, shear, translation.
//!
//! Interpolated as Pillow's `Image.transform` does with `BICUBIC`: Keys' kernel with a = -1, the border repeated,
//! rounded toward zero; a point outside the image takes the fill.

use super::Image;

/// Where an output point comes from: `x' = m[0] x + m[1] y + m[2]`, `y' = m[3] x + m[4] y + m[5]`, pixel centres lying
/// at halves.
type Matrix = [f64; 6];

/// Turns the image counter-clockwise about its middle.
pub(super) fn rotate(image: &Image, degrees: f64, fill: &[u8]) -> Image {
    let (sin, cos) = (-degrees.to_radians()).sin_cos();
    let (x, y) = (image.width as f64 / 2.0, image.height as f64 / 2.0);
    warp(image, [cos, sin, x - cos * x - sin * y, -sin, cos, y + sin * x - cos * y], fill)
}

/// Moves each row left by `factor` of its distance from the top.
pub(super) fn shear_x(image: &Image, factor: f64, fill: &[u8]) -> Image {
    warp(image, [1.0, factor, 0.0, 0.0, 1.0, 0.0], fill)
}

/// Moves each column up by `factor` of its distance from the left.
pub(super) fn shear_y(image: &Image, factor: f64, fill: &[u8]) -> Image {
    warp(image, [1.0, 0.0, 0.0, factor, 1.0, 0.0], fill)
}

/// Moves the image left by `part` of its width.
pub(super) fn translate_x(image: &Image, part: f64, fill: &[u8]) -> Image {
    warp(image, [1.0, 0.0, part * image.width as f64, 0.0, 1.0, 0.0], fill)
}

/// Moves the image up by `part` of its height.
pub(super) fn translate_y(image: &Image, part: f64, fill: &[u8]) -> Image {
    warp(image, [1.0, 0.0, 0.0, 0.0, 1.0, part * image.height as f64], fill)
}

fn warp(image: &Image, m: Matrix, fill: &[u8]) -> Image {
    let (height, width) = (image.height as f64, image.width as f64);
    let mut pixels = Vec::with_capacity(image.pixels.len());
    for row in 0..image.height {
        for column in 0..image.width {
            let (x, y) = (column as f64 + 0.5, row as f64 + 0.5);
            let (x, y) = (m[0] * x + m[1] * y + m[2], m[3] * x + m[4] * y + m[5]);
            if (0.0..width).contains(&x) && (0.0..height).contains(&y) {
                interpolate(image, x - 0.5, y - 0.5, &mut pixels);
            } else {
                pixels.extend_from_slice(fill);
            }
        }
    }
    Image { pixels, ..*image }
}

/// Appends the pixel at (x, y), pixel centres lying at whole numbers.
fn interpolate(image: &Image, x: f64, y: f64, pixels: &mut Vec<u8>) {
    let near =
        |at: f64, len: usize| [-1.0, 0.0, 1.0, 2.0].map(|d| (at.floor() + d).clamp(0.0, len as f64 - 1.0) as usize);
    let (columns, rows) = (near(x, image.width), near(y, image.height));
    for channel in 0..image.channels {
        let across =
            rows.map(|row| cubic(columns.map(|column| f64::from(image.pixel(row, column)[channel])), x - x.floor()));
        // The conversion clamps and rounds toward zero.
        pixels.push(cubic(across, y - y.floor()) as u8);
    }
}

/// The value at `t` of the way from `b` to `c`, exact where all are equal.
fn cubic([a, b, c, d]: [f64; 4], t: f64) -> f64 {
    b + t * (c - a + t * (2.0 * (a - b) + c - d + t * (b - a + d - c)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of 10, 20, 30 plus 100 per row.
    fn image() -> Image {
        Image { height: 2, width: 3, channels: 1, pixels: vec![10, 20, 30, 110, 120, 130] }
    }

    #[test]
    fn nothing_moves_by_nothing() {
        for operation in [rotate, shear_x, shear_y, translate_x, translate_y] {
            assert_eq!(operation(&image(), 0.0, &[7]), image());
        }
    }

    #[test]
    fn whole_pixels_move_exactly() {
        assert_eq!(translate_x(&image(), 1.0 / 3.0, &[7]).pixels, [20, 30, 7, 120, 130, 7]);
        assert_eq!(translate_x(&image(), -1.0 / 3.0, &[7]).pixels, [7, 10, 20, 7, 110, 120]);
        assert_eq!(translate_y(&image(), 0.5, &[7]).pixels, [110, 120, 130, 7, 7, 7]);
        assert_eq!(translate_y(&image(), -0.5, &[7]).pixels, [7, 7, 7, 10, 20, 30]);
        // A factor of 2 moves the first row, whose centre lies half a pixel down, by one.
        assert_eq!(shear_x(&image(), 2.0, &[7]).pixels, [20, 30, 7, 7, 7, 7]);
        assert_eq!(shear_y(&image(), -2.0, &[7]).pixels, [7, 7, 7, 10, 7, 7]);
    }

    #[test]
    fn a_quarter_turn_is_counter_clockwise() {
        let square = Image { height: 2, width: 2, channels: 1, pixels: vec![1, 2, 3, 4] };
        assert_eq!(rotate(&square, 90.0, &[7]).pixels, [2, 4, 1, 3]);
    }

    #[test]
    fn between_pixels_the_kernel_overshoots() {
        // Half-way: (-a + 5 b + 5 c - d) / 8 with a = -1, border repeated.
        let edge = Image { height: 1, width: 4, channels: 1, pixels: vec![0, 0, 80, 80] };
        assert_eq!(translate_x(&edge, 0.125, &[7]).pixels, [0, 40, 90, 7]);
        let flat = Image { height: 3, width: 3, channels: 3, pixels: [11, 22, 33].repeat(9) };
        assert_eq!(rotate(&flat, 17.3, &[11, 22, 33]), flat);
    }
}
