//! The command line.

use clap::Parser;
use std::path::PathBuf;

/// Classify images, folders of images, or the frames of a camera.
///
/// Standard output gets one line an image: its name and its likeliest classes. On a terminal, a camera's frames replace
/// each other. Standard error gets the kernels that run, frames per second and latencies.
#[derive(Debug, Parser)]
#[command(name = "raspberry-pi", version, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// A packed model: `skipstone quantize --target neon` (Pi 3, 4, Zero 2 W) or `--target dotprod` (Pi 5)
    #[arg(value_name = "MODEL.stone")]
    pub(crate) model: PathBuf,
    /// PNG or JPEG files, or folders of them with all folders inside
    #[arg(value_name = "IMAGE|FOLDER", required_unless_present = "camera", conflicts_with = "camera")]
    pub(crate) images: Vec<PathBuf>,
    /// Classify live: a V4L2 device, a file of Motion JPEG, or `-` for Motion JPEG on standard input
    #[arg(long, value_name = "SOURCE", num_args = 0..=1, require_equals = true, default_missing_value = "/dev/video0")]
    pub(crate) camera: Option<PathBuf>,
    /// Pixels of the frames that a V4L2 device is asked for; it may give others
    #[arg(long, value_name = "WxH", default_value = "640x480", value_parser = size)]
    pub(crate) size: [u32; 2],
    /// Stop after so many frames of the camera
    #[arg(long, value_name = "N", requires = "camera", conflicts_with = "images")]
    pub(crate) frames: Option<usize>,
    /// Engines that run at the same time, each on a core [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
    /// Classes shown of each image
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) top: usize,
    /// Print the lines that programs read: backend, scores, checksums of all layers
    #[arg(long, conflicts_with = "camera")]
    pub(crate) lines: bool,
}

const EXAMPLES: &str = "Examples:
  raspberry-pi cats.stone photo.jpg
  raspberry-pi cats.stone photos/ --threads 4 > labels.txt
  raspberry-pi cats.stone --camera
  raspberry-pi cats.stone --camera=/dev/video2 --size 320x240 --frames 100
  rpicam-vid -n -t 0 --codec mjpeg -o - | raspberry-pi cats.stone --camera=-";

impl Arguments {
    /// How many engines run at the same time.
    pub(crate) fn threads(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        self.threads.map_or_else(cores, usize::from)
    }
}

fn size(text: &str) -> Result<[u32; 2], String> {
    let sides = text.split_once('x').and_then(|(width, height)| Some([width.parse().ok()?, height.parse().ok()?]));
    sides.filter(|sides| !sides.contains(&0)).ok_or_else(|| "width and height, as in 640x480".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(line: &str) -> Result<Arguments, String> {
        Arguments::try_parse_from(line.split(' ')).map_err(|error| error.to_string())
    }

    #[test]
    fn lines_are_parsed() {
        Arguments::command().debug_assert();
        let arguments = parse("raspberry-pi m.stone --camera --size 320x240").unwrap();
        assert_eq!((arguments.camera, arguments.size), (Some("/dev/video0".into()), [320, 240]));
        assert_eq!(parse("raspberry-pi m.stone --camera=-").unwrap().camera, Some("-".into()));
        let arguments = parse("raspberry-pi m.stone a.png b --threads 3 --top 1").unwrap();
        assert_eq!((arguments.images.len(), arguments.threads(), arguments.top), (2, 3, 1));
    }

    #[test]
    fn wrong_lines_are_refused() {
        for (line, reason) in [
            ("raspberry-pi m.stone", "required"),
            ("raspberry-pi m.stone a.png --camera", "cannot be used with"),
            ("raspberry-pi m.stone a.png --frames 3", "cannot be used with"),
            ("raspberry-pi m.stone a.png --threads 0", "0 is not in 1..=256"),
            ("raspberry-pi m.stone --camera --size 0x4", "width and height, as in 640x480"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(reason), "{line}: {error}");
        }
    }
}
