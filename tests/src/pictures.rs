//! PNG and JPEG files of every kind that a camera or a drawing program writes.

use image::{ExtendedColorType, ImageFormat, Rgb, RgbImage};
use std::io::Cursor;
use std::path::{Path, PathBuf};

/// A PNG file of 3x2 pixels with a palette of red, green (transparent), blue and (10, 20, 30), two bits a pixel.
pub const PALETTE: &[u8] = b"\x89PNG\r\n\x1a\n\
    \0\0\0\rIHDR\0\0\0\x03\0\0\0\x02\x02\x03\0\0\0\xe0\x1a\x8e\x89\
    \0\0\0\x0cPLTE\xff\0\0\0\xff\0\0\0\xff\n\x14\x1e\"\x88)\x04\
    \0\0\0\x02tRNS\xff\0\xe5\xb70J\
    \0\0\0\x0cIDATx\x9cc\x90`x\x02\0\x010\0\xfdV\xcd\x1cs\
    \0\0\0\0IEND\xaeB`\x82";

/// A PNG file of 3x2 pixels, black and white, one bit a pixel: 0 1 1, 1 0 1.
pub const BLACK_AND_WHITE: &[u8] = b"\x89PNG\r\n\x1a\n\
    \0\0\0\rIHDR\0\0\0\x03\0\0\0\x02\x01\0\0\0\0\xb5\x0f[\xb7\
    \0\0\0\x0cIDATx\x9ccH`r\0\0\x01h\0\xa3\xfe\xd6\x02\xec\
    \0\0\0\0IEND\xaeB`\x82";

/// Writes pictures of odd sizes, of 8 and 16 bits, grey and in colors, with and without alpha, with a palette, turned
/// in every way; gives their paths, in the order of their names.
///
/// # Panics
/// If `folder` cannot be written to.
pub fn write_all(folder: &Path) -> Vec<PathBuf> {
    std::fs::create_dir_all(folder).expect("the folder can be made");
    let mut files: Vec<(String, Vec<u8>)> =
        vec![("palette.png".into(), PALETTE.into()), ("black_and_white.png".into(), BLACK_AND_WHITE.into())];
    for (width, height) in [(37, 23), (16, 16), (9, 31)] {
        let sample = |index: u32| (index.wrapping_mul(index) / 7 + index * 11) % 65536;
        let eight: Vec<u8> = (0..width * height * 4).map(|index| (sample(index) >> 8) as u8 ^ index as u8).collect();
        let sixteen: Vec<u8> =
            (0..width * height * 4).flat_map(|index| (sample(index * 29) as u16).to_ne_bytes()).collect();
        for (name, color, samples) in [
            ("grey8", ExtendedColorType::L8, 1),
            ("grey_alpha8", ExtendedColorType::La8, 2),
            ("rgb8", ExtendedColorType::Rgb8, 3),
            ("rgba8", ExtendedColorType::Rgba8, 4),
            ("grey16", ExtendedColorType::L16, 1),
            ("grey_alpha16", ExtendedColorType::La16, 2),
            ("rgb16", ExtendedColorType::Rgb16, 3),
            ("rgba16", ExtendedColorType::Rgba16, 4),
        ] {
            let deep = name.ends_with("16");
            let bytes = if deep { &sixteen[..] } else { &eight };
            let bytes = &bytes[..(width * height * samples * if deep { 2 } else { 1 }) as usize];
            let encode = |format| {
                let mut file = Cursor::new(Vec::new());
                image::write_buffer_with_format(&mut file, bytes, width, height, color, format).expect("it is encoded");
                file.into_inner()
            };
            files.push((format!("{name}_{width}.png"), encode(ImageFormat::Png)));
            if matches!(color, ExtendedColorType::L8 | ExtendedColorType::Rgb8) {
                let jpeg = encode(ImageFormat::Jpeg);
                let turned = (1..=8).map(|turn| (format!("{name}_{width}_{turn}.jpg"), oriented(&jpeg, turn)));
                files.extend(turned.step_by(if width == 37 { 1 } else { 5 }));
            }
        }
    }
    files.sort();
    let write = |(name, bytes): (String, Vec<u8>)| {
        let path = folder.join(name);
        std::fs::write(&path, bytes).expect("the file can be written");
        path
    };
    files.into_iter().map(write).collect()
}

/// A PNG file of a wave in colors, each number another one.
///
/// # Panics
/// If it cannot be encoded.
pub fn wave(width: u32, height: u32, number: u32) -> Vec<u8> {
    wave_as(ImageFormat::Png, width, height, number)
}

/// [`wave`] as a JPEG file.
///
/// # Panics
/// If it cannot be encoded.
pub fn wave_as_jpeg(width: u32, height: u32, number: u32) -> Vec<u8> {
    wave_as(ImageFormat::Jpeg, width, height, number)
}

fn wave_as(format: ImageFormat, width: u32, height: u32, number: u32) -> Vec<u8> {
    let picture = RgbImage::from_fn(width, height, |x, y| {
        let phase = (x * (number + 1) + y * (number % 3 + 2)) as f32 / 7.0;
        Rgb([0.0, 2.0, 4.0].map(|shift| (127.5 + 120.0 * (phase + shift * (number + 1) as f32).sin()) as u8))
    });
    let mut file = Cursor::new(Vec::new());
    picture.write_to(&mut file, format).expect("it is encoded");
    file.into_inner()
}

/// A JPEG file with an EXIF segment that says how it is to be turned: 1 not at all to 8.
///
/// # Panics
/// If `jpeg` does not start as a JPEG file does.
pub fn oriented(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let (start, rest) = jpeg.split_at(2);
    assert_eq!(start, b"\xff\xd8");
    // One entry: orientation (0x0112), one u16.
    let mut tiff = *b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\0\0\0\0\0\0\0\0";
    tiff[18] = orientation;
    let segment = [&[0xff, 0xe1, 0, 2 + 6 + tiff.len() as u8][..], b"Exif\0\0", &tiff].concat();
    [start, &segment, rest].concat()
}
