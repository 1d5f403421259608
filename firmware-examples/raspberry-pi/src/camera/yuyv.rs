//! YUYV, 4:2:2: two pixels in four bytes, `Y0 U Y1 V`, in the limited range of ITU-R BT.601, as cameras on USB give it.

use image::{DynamicImage, RgbImage};

/// The picture of `width` x `height` pixels in rows of `row_len` bytes.
///
/// # Errors
/// There are fewer bytes, or the width is odd.
pub(super) fn decode(width: u32, height: u32, row_len: usize, bytes: &[u8]) -> Result<DynamicImage, String> {
    let used = 2 * width as usize;
    let (rows, fours) = (bytes.chunks(row_len.max(1)).take(height as usize), width / 2);
    let whole = |row: &&[u8]| row.len() >= used;
    if rows.clone().filter(whole).count() != height as usize || !width.is_multiple_of(2) {
        return Err(format!("{} bytes are no {width}x{height} pixels of YUYV", bytes.len()));
    }
    let pixels = rows.flat_map(|row| row.as_chunks().0.iter().take(fours as usize));
    let rgb = pixels.flat_map(|&[y0, u, y1, v]| [rgb(y0, u, v), rgb(y1, u, v)]).flatten().collect();
    RgbImage::from_raw(width, height, rgb).map(DynamicImage::from).ok_or_else(|| "the frame is too large".into())
}

/// In 1/256.
fn rgb(y: u8, u: u8, v: u8) -> [u8; 3] {
    let (y, u, v) = (298 * (i32::from(y) - 16), i32::from(u) - 128, i32::from(v) - 128);
    [y + 409 * v, y - 100 * u - 208 * v, y + 516 * u].map(|color| ((color + 128) >> 8).clamp(0, 255) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colors_are_those_of_the_standard() {
        for y in (0..=255u8).step_by(5) {
            for (u, v) in (0..=255u8).step_by(15).flat_map(|u| (0..=255u8).step_by(17).map(move |v| (u, v))) {
                let (luma, blue, red) = ((f64::from(y) - 16.0) / 219.0, centered(u), centered(v));
                let exact = [
                    luma + 1.402 * red,
                    luma - 0.114 / 0.587 * 1.772 * blue - 0.299 / 0.587 * 1.402 * red,
                    luma + 1.772 * blue,
                ];
                for (color, exact) in rgb(y, u, v).into_iter().zip(exact) {
                    assert!((f64::from(color) - (255.0 * exact).clamp(0.0, 255.0)).abs() < 1.5, "{y} {u} {v}");
                }
            }
        }
        assert_eq!([rgb(16, 128, 128), rgb(235, 128, 128)], [[0; 3], [255; 3]]);
    }

    fn centered(chroma: u8) -> f64 {
        (f64::from(chroma) - 128.0) / 224.0
    }

    #[test]
    fn rows_may_be_padded_but_not_missing() {
        // Black, white, pad; red, red, pad.
        let bytes = [[16, 128, 235, 128, 9, 9], [82, 90, 82, 240, 9, 9]].concat();
        let image = decode(2, 2, 6, &bytes).unwrap().into_rgb8();
        assert_eq!(image.get_pixel(0, 0).0, [0; 3]);
        assert_eq!(image.get_pixel(1, 0).0, [255; 3]);
        let [red, green, blue] = image.get_pixel(1, 1).0;
        assert!(red > 250 && green < 5 && blue < 5, "{image:?}");
        assert!(decode(2, 2, 6, &bytes[..10]).is_ok());
        for (width, height, len) in [(2, 2, 9), (2, 3, 12), (3, 2, 12)] {
            let reason = decode(width, height, 6, &bytes[..len]).unwrap_err();
            assert!(reason.ends_with("pixels of YUYV"), "{reason}");
        }
    }
}
