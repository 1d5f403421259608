//! Frames: of a camera that Linux knows, or of Motion JPEG from a file or a pipe.

mod motion_jpeg;
mod newest;
mod v4l;
mod yuyv;

use image::DynamicImage;
use motion_jpeg::MotionJpeg;
use newest::Newest;
use std::fs::File;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::time::Instant;

/// A frame as the camera gives it.
pub(crate) struct Frame {
    /// When it had arrived.
    pub(crate) taken: Instant,
    pixels: Pixels,
}

/// How a camera encodes a frame.
#[derive(Debug, PartialEq, Eq)]
enum Pixels {
    /// A JPEG file, perhaps without its Huffman tables, which are then those of the standard.
    Jpeg(Vec<u8>),
    /// See [`yuyv`].
    Yuyv { width: u32, height: u32, row_len: usize, bytes: Vec<u8> },
}

/// Frames, or why the camera gives no more.
pub(crate) type Frames = Box<dyn Iterator<Item = Result<Frame, String>> + Send>;

impl Frame {
    fn now(pixels: Pixels) -> Self {
        Self { taken: Instant::now(), pixels }
    }

    /// # Errors
    /// Why it is no picture.
    pub(crate) fn decode(&self) -> Result<DynamicImage, String> {
        match &self.pixels {
            Pixels::Jpeg(bytes) => motion_jpeg::decode(bytes),
            &Pixels::Yuyv { width, height, row_len, ref bytes } => yuyv::decode(width, height, row_len, bytes),
        }
    }
}

/// The frames of `source`: a V4L2 device, which is asked for frames of `size`; `-`, a pipe or a file of Motion JPEG. A file
/// gives all its frames, the others the newest one whenever the next is asked for.
///
/// # Errors
/// There is no such camera, or it cannot give frames that this program decodes.
pub(crate) fn open(source: &Path, size: [u32; 2]) -> Result<Frames, String> {
    let named = |reason: &dyn std::fmt::Display| format!("{}: {reason}", source.display());
    if source.as_os_str() == "-" {
        return Ok(Box::new(Newest::of(MotionJpeg::new(std::io::stdin()))));
    }
    let kind = std::fs::metadata(source).map_err(|error| named(&format_args!("no camera: {error}; {}", v4l::LIST)))?;
    if kind.file_type().is_char_device() {
        return Ok(Box::new(Newest::of(v4l::open(source, size).map_err(|reason| named(&reason))?)));
    }
    let frames = MotionJpeg::new(File::open(source).map_err(|error| named(&error))?);
    Ok(if kind.file_type().is_fifo() { Box::new(Newest::of(frames)) } else { Box::new(frames) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_camera_is_named() {
        let reason = |source: &str| open(Path::new(source), [640, 480]).err().unwrap();
        let absent = reason("/dev/absent-camera");
        assert!(absent.starts_with("/dev/absent-camera: no camera: No such file"), "{absent}");
        assert!(absent.ends_with("`v4l2-ctl --list-devices` lists those that are connected"), "{absent}");
        let zero = reason("/dev/zero");
        assert!(zero.starts_with("/dev/zero: not a camera: ") && !zero.contains('\n'), "{zero}");
    }
}
