//! Motion JPEG: JPEG files one after the other.

use super::{Frame, Pixels};
use crate::image::decode as decode_file;
use image::{DynamicImage, ImageFormat};
use std::io::{BufReader, ErrorKind, Read, Result};

const MARKER: u8 = 0xff;
const START: [u8; 2] = [MARKER, 0xd8];
const END: u8 = 0xd9;
const SCAN: u8 = 0xda;
const HUFFMAN_TABLES: u8 = 0xc4;
/// The segment by which a JPEG file says that its Huffman tables are those of the standard.
const AVI: [u8; 18] = *b"\xff\xe0\0\x10AVI1\0\0\0\0\0\0\0\0\0\0";
/// Longest frame, in bytes.
const LONGEST: usize = 1 << 26;

/// The frames in a stream of bytes. What lies between them is left out, and a frame whose scan is cut short
/// by the next one's start or by the end.
pub(super) struct MotionJpeg<R> {
    input: BufReader<R>,
    /// The frame's bytes so far.
    frame: Vec<u8>,
    failed: bool,
}

impl<R: Read> MotionJpeg<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input: BufReader::with_capacity(1 << 16, input), frame: Vec::new(), failed: false }
    }

    fn byte(&mut self) -> Result<u8> {
        let mut byte = [0];
        self.input.read_exact(&mut byte)?;
        if self.frame.len() == LONGEST {
            return Err(std::io::Error::new(ErrorKind::InvalidData, "no Motion JPEG: a frame has no end"));
        }
        self.frame.push(byte[0]);
        Ok(byte[0])
    }

    /// The next marker that is no restart; what is before it is a scan's data.
    fn marker(&mut self) -> Result<u8> {
        let mut last = 0;
        loop {
            let byte = self.byte()?;
            if last == MARKER && !matches!(byte, 0 | MARKER | 0xd0..=0xd7) {
                return Ok(byte);
            }
            last = byte;
        }
    }

    /// The segment after a marker.
    fn segment(&mut self) -> Result<()> {
        let len = u16::from_be_bytes([self.byte()?, self.byte()?]);
        (2..len).try_for_each(|_| self.byte().map(drop))
    }

    fn frame(&mut self) -> Result<Vec<u8>> {
        self.frame.clear();
        while self.marker()? != START[1] {
            self.frame.clear();
        }
        self.frame = START.into();
        loop {
            match self.marker()? {
                END => return Ok(std::mem::take(&mut self.frame)),
                // The frame before it was cut short.
                0xd8 => self.frame = START.into(),
                _ => self.segment()?,
            }
        }
    }
}

impl<R: Read> Iterator for MotionJpeg<R> {
    type Item = std::result::Result<Frame, String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let frame = self.frame();
        self.failed = frame.is_err();
        match frame {
            Ok(bytes) => Some(Ok(Frame::now(Pixels::Jpeg(bytes)))),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => None,
            Err(error) => Some(Err(error.to_string())),
        }
    }
}

/// The picture of a frame.
///
/// # Errors
/// Why it is none.
pub(super) fn decode(frame: &[u8]) -> std::result::Result<DynamicImage, String> {
    let Some(rest) = frame.strip_prefix(&START) else { return Err("the frame is no JPEG file".into()) };
    // Of a frame that is cut short the decoder says so.
    if has_tables(rest).unwrap_or(true) {
        return decode_file(frame);
    }
    let with_tables = [&START[..], &AVI, rest].concat();
    image::load_from_memory_with_format(&with_tables, ImageFormat::Jpeg).map_err(|error| error.to_string())
}

/// Whether the segments of a JPEG file, up to the first scan, hold Huffman tables.
fn has_tables(segments: &[u8]) -> Result<bool> {
    let mut segments = MotionJpeg::new(segments);
    loop {
        match segments.marker()? {
            HUFFMAN_TABLES => return Ok(true),
            SCAN => return Ok(false),
            _ => segments.segment()?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    /// A picture of one color, encoded.
    fn jpeg(color: [u8; 3]) -> Vec<u8> {
        let picture = image::RgbImage::from_pixel(20, 12, image::Rgb(color));
        let mut file = Cursor::new(Vec::new());
        picture.write_to(&mut file, ImageFormat::Jpeg).unwrap();
        file.into_inner()
    }

    fn frames(stream: &[u8]) -> Vec<std::result::Result<Frame, String>> {
        MotionJpeg::new(stream).collect()
    }

    fn color(frame: &Frame) -> [u8; 3] {
        frame.decode().unwrap().into_rgb8().get_pixel(10, 6).0
    }

    /// Without its Huffman tables.
    fn bare(file: &[u8]) -> Vec<u8> {
        let (mut bare, mut at) = (file[..2].to_vec(), 2);
        while file[at + 1] != SCAN {
            let end = at + 2 + usize::from(u16::from_be_bytes([file[at + 2], file[at + 3]]));
            if file[at + 1] != HUFFMAN_TABLES {
                bare.extend(&file[at..end]);
            }
            at = end;
        }
        bare.extend(&file[at..]);
        assert!(bare.len() + 400 < file.len());
        bare
    }

    #[test]
    fn a_stream_is_cut_into_its_frames() {
        let files = [jpeg([200, 40, 40]), jpeg([40, 200, 40]), jpeg([40, 40, 200])];
        // Bytes between frames, a frame that is cut short, one at the end.
        let [first, second, third] = &files;
        let half = &first[..first.len() - 3];
        let stream = [b"\xff\x00noise", &first[..], b"--boundary\r\n", half, second, third, half].concat();
        let frames = frames(&stream);
        let pixels: Vec<_> = frames.iter().map(|frame| &frame.as_ref().unwrap().pixels).collect();
        let expected = [first, second, third].map(|file| Pixels::Jpeg(file.clone()));
        assert_eq!(pixels, expected.iter().collect::<Vec<_>>());
        assert!(color(frames[0].as_ref().unwrap())[0] > 180 && color(frames[2].as_ref().unwrap())[2] > 180);
    }

    #[test]
    fn frames_without_huffman_tables_are_decoded_by_those_of_the_standard() {
        let file = jpeg([200, 100, 50]);
        let frame = Frame::now(Pixels::Jpeg(bare(&file)));
        assert_eq!(frame.decode().unwrap(), decode_file(&file).unwrap());
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        let file = jpeg([9, 9, 9]);
        for (bytes, reason) in [
            (&b"no picture"[..], "the frame is no JPEG file"),
            (&file[..file.len() / 3], "cut short"),
            (&file[..2], "neither a PNG nor a JPEG file"),
        ] {
            let error = Frame::now(Pixels::Jpeg(bytes.into())).decode().unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
        assert!(frames(b"nothing of the kind").is_empty());
    }
}
