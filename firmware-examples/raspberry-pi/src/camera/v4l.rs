//! Cameras by Video4Linux 2.

use super::{Frame, Pixels};
use linuxvideo::format::{PixFormat, PixelFormat};
use linuxvideo::stream::ReadStream;
use linuxvideo::{BufType, Device};
use std::path::Path;

/// Where to look for cameras.
pub(super) const LIST: &str = "`v4l2-ctl --list-devices` lists those that are connected";

/// Encodings that [`Frame::decode`] knows; the first that a camera has is taken.
const KNOWN: [PixelFormat; 3] = [PixelFormat::MJPG, PixelFormat::JPEG, PixelFormat::YUYV];

struct Camera {
    stream: ReadStream,
    format: Format,
}

/// What a camera agreed to.
struct Format {
    pixels: PixelFormat,
    width: u32,
    height: u32,
    row_len: usize,
}

/// The frames of the camera at `path`, of `size` pixels or what it has instead.
///
/// # Errors
/// It is no camera, or gives nothing that [`Frame::decode`] knows.
pub(super) fn open(path: &Path, size: [u32; 2]) -> Result<impl Iterator<Item = Result<Frame, String>> + use<>, String> {
    let text = |error: std::io::Error| error.to_string();
    let device = Device::open(path).map_err(|error| format!("not a camera: {error}; {LIST}"))?;
    let formats = device.formats(BufType::VIDEO_CAPTURE).map(|format| format.map(|format| format.pixel_format()));
    let formats = formats.collect::<Result<Vec<_>, _>>().map_err(text)?;
    let format = choose(&formats)?;
    let [width, height] = size;
    let capture = device.video_capture(PixFormat::new(width, height, format)).map_err(text)?;
    let format = Format::of(capture.format());
    choose(&[format.pixels])?;
    Ok(Camera { stream: capture.into_stream().map_err(text)?, format })
}

/// The encoding to ask a camera for that has `formats`.
fn choose(formats: &[PixelFormat]) -> Result<PixelFormat, String> {
    let known = KNOWN.into_iter().find(|known| formats.contains(known));
    known.ok_or_else(|| {
        let name = |format: &PixelFormat| String::from_utf8_lossy(&format.as_fourcc()).into_owned();
        let names = formats.iter().map(name).collect::<Vec<_>>().join(", ");
        let names = if names.is_empty() { "no frames" } else { &names };
        format!(
            "it gives {names}, not MJPG, JPEG or YUYV; for a camera module of the Pi: \
             rpicam-vid -n -t 0 --codec mjpeg -o - | raspberry-pi MODEL.stone --camera=-"
        )
    })
}

impl Iterator for Camera {
    type Item = Result<Frame, String>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let bytes = self.stream.dequeue(|view| Ok((!view.is_error()).then(|| view.to_vec())));
            match bytes {
                Ok(Some(bytes)) => return Some(Ok(Frame::now(self.format.frame(bytes)))),
                // The driver says that the frame is damaged.
                Ok(None) => {}
                Err(error) => return Some(Err(error.to_string())),
            }
        }
    }
}

impl Format {
    fn of(format: &PixFormat) -> Self {
        let (width, height) = (format.width(), format.height());
        // Some drivers do not say.
        let row_len = format.bytes_per_line().max(2 * width) as usize;
        Self { pixels: format.pixel_format(), width, height, row_len }
    }

    fn frame(&self, bytes: Vec<u8>) -> Pixels {
        let &Self { pixels, width, height, row_len } = self;
        if pixels == PixelFormat::YUYV { Pixels::Yuyv { width, height, row_len, bytes } } else { Pixels::Jpeg(bytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn motion_jpeg_is_preferred_and_raw_sensors_are_refused() {
        let raw = PixelFormat::from_fourcc(*b"pRAA");
        assert_eq!(choose(&[PixelFormat::YUYV, raw, PixelFormat::MJPG]), Ok(PixelFormat::MJPG));
        assert_eq!(choose(&[raw, PixelFormat::YUYV]), Ok(PixelFormat::YUYV));
        let reason = choose(&[raw]).unwrap_err();
        assert!(
            reason.starts_with("it gives pRAA, not MJPG, JPEG or YUYV") && reason.contains("rpicam-vid"),
            "{reason}"
        );
        assert!(choose(&[]).unwrap_err().starts_with("it gives no frames, not"));
    }

    #[test]
    fn frames_are_what_the_camera_agreed_to() {
        let frame = |format, bytes| Format::of(&PixFormat::new(4, 2, format)).frame(bytes);
        let yuyv = frame(PixelFormat::YUYV, vec![0; 16]);
        assert_eq!(yuyv, Pixels::Yuyv { width: 4, height: 2, row_len: 8, bytes: vec![0; 16] });
        assert_eq!(frame(PixelFormat::MJPG, vec![7]), Pixels::Jpeg(vec![7]));
    }
}
