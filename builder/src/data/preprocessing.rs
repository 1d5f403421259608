//! A graph's preprocessing as a packed model's: the same, in two crates that do not know each other.

use skipstone_onnx::{ChannelOrder, Filter, Fit, Preprocessing};
use skipstone_runtime::image;

/// A graph's as the runtime's.
pub(crate) fn of_runtime(preprocessing: &Preprocessing) -> image::Preprocessing {
    image::Preprocessing {
        fit: match preprocessing.fit {
            Fit::Crop => image::Fit::Crop,
            Fit::Stretch => image::Fit::Stretch,
            Fit::Resize(side) => image::Fit::Resize(side),
        },
        filter: match preprocessing.filter {
            Filter::Bicubic => image::Filter::Bicubic,
            Filter::Bilinear => image::Filter::Bilinear,
        },
        channels: match preprocessing.channels {
            ChannelOrder::Rgb => image::ChannelOrder::Rgb,
            ChannelOrder::Bgr => image::ChannelOrder::Bgr,
        },
    }
}
