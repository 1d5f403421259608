//! Images inside the page.

use crate::data::Dataset;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::imageops::{FilterType, resize};
use image::{DynamicImage, GrayImage, ImageFormat, RgbImage};
use std::io::Cursor;

/// Pixels of the longer side of a thumbnail, which bounds what the page takes.
const SIDE: u32 = 96;

/// The image as the value of an `img` element's `src`: a PNG file inside the page. `bgr` says that the set's channels are
/// blue, green, red.
pub(super) fn source(data: &Dataset, index: usize, bgr: bool) -> Option<String> {
    let [channels, height, width] = data.dims;
    let mut pixels = data.image(index).to_vec();
    if bgr && channels == 3 {
        pixels.as_chunks_mut::<3>().0.iter_mut().for_each(|pixel| pixel.reverse());
    }
    let size = [width, height].map(|side| side as u32);
    let image = match channels {
        1 => GrayImage::from_raw(size[0], size[1], pixels).map(DynamicImage::from),
        3 => RgbImage::from_raw(size[0], size[1], pixels).map(DynamicImage::from),
        _ => None,
    }?;
    let image = match size.into_iter().max() {
        Some(longer) if longer > SIDE => {
            let [width, height] = size.map(|side| (side * SIDE / longer).max(1));
            DynamicImage::from(resize(&image, width, height, FilterType::Triangle)).into_rgb8().into()
        }
        _ => image,
    };
    let mut file = Cursor::new(Vec::new());
    image.write_to(&mut file, ImageFormat::Png).ok()?;
    Some(format!("data:image/png;base64,{}", STANDARD.encode(file.into_inner())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thumbnail_shows_the_image_and_is_no_larger_than_it_has_to_be() {
        let decode = |text: &str| {
            let file = STANDARD.decode(text.strip_prefix("data:image/png;base64,").unwrap()).unwrap();
            image::load_from_memory(&file).unwrap().into_rgb8()
        };
        let set =
            |dims: [usize; 3], pixels: Vec<u8>| Dataset { dims, pixels, labels: vec![0], class_names: Vec::new() };
        let small = set([3, 1, 2], vec![1, 2, 3, 4, 5, 6]);
        assert_eq!(decode(&source(&small, 0, false).unwrap()).into_raw(), [1, 2, 3, 4, 5, 6]);
        assert_eq!(decode(&source(&small, 0, true).unwrap()).into_raw(), [3, 2, 1, 6, 5, 4]);
        let gray = set([1, 200, 100], vec![7; 20_000]);
        let image = decode(&source(&gray, 0, false).unwrap());
        assert_eq!((image.dimensions(), image.get_pixel(0, 0).0), ((48, 96), [7, 7, 7]));
        assert_eq!(source(&set([4, 1, 1], vec![0; 4]), 0, false), None);
    }
}
