//! How an image of any size becomes the pixels of a network's input, as text in a file's metadata.

use std::fmt;
use std::str::FromStr;

/// How pixels become the network's input: `(pixel / 255 - mean) / std`, per channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Normalization {
    /// Mean of each input channel, on pixels scaled to 0..1.
    pub mean: Vec<f32>,
    /// Standard deviation of each input channel, on the same scale; positive.
    pub std: Vec<f32>,
}

/// How an image becomes the pixels that [`Normalization`] speaks of. `docs/data.md` defines each
/// step in integers; the default is what files mean that do not say it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Preprocessing {
    /// Which part of the image is used.
    pub fit: Fit,
    /// How it is scaled.
    pub filter: Filter,
    /// The order of the input's channels, if there are three.
    pub channels: ChannelOrder,
}

/// Which part of an image a network sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Fit {
    /// The largest centred window of the input's shape.
    #[default]
    Crop,
    /// All of it, whatever its shape.
    Stretch,
    /// The centre of the image scaled so that its shorter side has this many pixels.
    Resize(u16),
}

/// How pixels are interpolated. Where an image becomes smaller, the filter is as much wider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Filter {
    /// Catmull-Rom's cubic, over two pixels on each side.
    #[default]
    Bicubic,
    /// A triangle, over one pixel on each side.
    Bilinear,
}

/// The order of three channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ChannelOrder {
    /// Red, green, blue.
    #[default]
    Rgb,
    /// Blue, green, red.
    Bgr,
}

impl ChannelOrder {
    /// Each order's opposite.
    pub fn reversed(self) -> Self {
        match self {
            Self::Rgb => Self::Bgr,
            Self::Bgr => Self::Rgb,
        }
    }
}

/// The only definition of grey there is; it is written so that another one can be told from it.
const GREY: &str = "bt601";

impl fmt::Display for Preprocessing {
    /// Such as `fit=crop filter=bicubic channels=rgb grey=bt601`, or `fit=256` for [`Fit::Resize`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fit {
            Fit::Crop => f.write_str("fit=crop")?,
            Fit::Stretch => f.write_str("fit=stretch")?,
            Fit::Resize(side) => write!(f, "fit={side}")?,
        }
        let filter = match self.filter {
            Filter::Bicubic => "bicubic",
            Filter::Bilinear => "bilinear",
        };
        let channels = match self.channels {
            ChannelOrder::Rgb => "rgb",
            ChannelOrder::Bgr => "bgr",
        };
        write!(f, " filter={filter} channels={channels} grey={GREY}")
    }
}

impl FromStr for Preprocessing {
    type Err = String;

    /// Reads what [`Display`](fmt::Display) wrote; the error names what this version does not know.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut read = Self::default();
        for entry in text.split_whitespace() {
            let unknown = || format!("`{entry}` is not known to this version");
            match entry.split_once('=').ok_or_else(unknown)? {
                ("fit", "crop") => read.fit = Fit::Crop,
                ("fit", "stretch") => read.fit = Fit::Stretch,
                ("fit", side) => {
                    let side = side.parse().ok().filter(|&side| side > 0);
                    read.fit = Fit::Resize(side.ok_or_else(unknown)?);
                }
                ("filter", "bicubic") => read.filter = Filter::Bicubic,
                ("filter", "bilinear") => read.filter = Filter::Bilinear,
                ("channels", "rgb") => read.channels = ChannelOrder::Rgb,
                ("channels", "bgr") => read.channels = ChannelOrder::Bgr,
                ("grey", GREY) => {}
                _ => return Err(unknown()),
            }
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_and_what_is_not_known_is_refused() {
        for fit in [Fit::Crop, Fit::Stretch, Fit::Resize(256)] {
            for filter in [Filter::Bicubic, Filter::Bilinear] {
                for channels in [ChannelOrder::Rgb, ChannelOrder::Bgr] {
                    let preprocessing = Preprocessing { fit, filter, channels };
                    assert_eq!(preprocessing.to_string().parse(), Ok(preprocessing));
                }
            }
        }
        assert_eq!(Preprocessing::default().to_string(), "fit=crop filter=bicubic channels=rgb grey=bt601");
        assert_eq!("".parse(), Ok(Preprocessing::default()));
        for text in ["fit=0", "fit=70000", "fit=pad", "channels=yuv", "grey=bt709", "crop", "gamma=2.2"] {
            let error = format!("fit=crop {text}").parse::<Preprocessing>().unwrap_err();
            assert!(error.contains(text), "{error}");
        }
    }
}
