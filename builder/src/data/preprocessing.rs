//! A graph's preprocessing and a packed model's: the same, in two crates that do not know each other.

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

/// The runtime's as a graph's.
pub(crate) fn of_graph(preprocessing: &image::Preprocessing) -> Preprocessing {
    Preprocessing {
        fit: match preprocessing.fit {
            image::Fit::Crop => Fit::Crop,
            image::Fit::Stretch => Fit::Stretch,
            image::Fit::Resize(side) => Fit::Resize(side),
        },
        filter: match preprocessing.filter {
            image::Filter::Bicubic => Filter::Bicubic,
            image::Filter::Bilinear => Filter::Bilinear,
        },
        channels: match preprocessing.channels {
            image::ChannelOrder::Rgb => ChannelOrder::Rgb,
            image::ChannelOrder::Bgr => ChannelOrder::Bgr,
        },
    }
}
