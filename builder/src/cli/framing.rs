//! What a command says of the pixels of a network whose file does not say it.

use super::failure::Failure;
use crate::data::preprocessing::of_runtime;
use crate::zoo;
use clap::ValueEnum;
use skipstone_onnx::{ChannelOrder, Filter, Fit, Preprocessing};
use skipstone_runtime::image;

/// How an image becomes pixels, for files that do not say it.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(super) struct Framing {
    /// Order of the network's three channels, and of --mean and --std [default: rgb].
    #[arg(long, value_name = "ORDER", value_enum)]
    channels: Option<Order>,
    /// What the network sees of an image: `crop`, the largest centred window of its input's shape, or `stretch`, all of
    /// it [default: crop].
    #[arg(long, value_enum, conflicts_with = "resize")]
    fit: Option<Shape>,
    /// Scale the shorter side of an image to N pixels and crop the centre: 256 for most networks that take 224.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    resize: Option<u16>,
    /// How images are scaled [default: bicubic].
    #[arg(long, value_enum)]
    filter: Option<Interpolation>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Order {
    Rgb,
    Bgr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shape {
    Crop,
    Stretch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Interpolation {
    Bicubic,
    Bilinear,
}

impl Framing {
    /// Whether the command says anything.
    pub(super) fn given(self) -> bool {
        self.channels.is_some() || self.fit.is_some() || self.resize.is_some() || self.filter.is_some()
    }

    /// `own` with what the command says, for a network's input of `dims`.
    pub(super) fn apply(self, own: Preprocessing, dims: [usize; 3]) -> Result<Preprocessing, Failure> {
        let mut preprocessing = own;
        match self.channels {
            Some(Order::Rgb) => preprocessing.channels = ChannelOrder::Rgb,
            Some(Order::Bgr) => preprocessing.channels = ChannelOrder::Bgr,
            None => {}
        }
        match (self.fit, self.resize) {
            (Some(Shape::Crop), _) => preprocessing.fit = Fit::Crop,
            (Some(Shape::Stretch), _) => preprocessing.fit = Fit::Stretch,
            (None, Some(side)) => preprocessing.fit = Fit::Resize(side),
            (None, None) => {}
        }
        match self.filter {
            Some(Interpolation::Bicubic) => preprocessing.filter = Filter::Bicubic,
            Some(Interpolation::Bilinear) => preprocessing.filter = Filter::Bilinear,
            None => {}
        }
        let takes = zoo::dims_text(dims);
        if preprocessing.channels == ChannelOrder::Bgr && dims[0] != 3 {
            return Err(Failure::Usage(format!("--channels bgr orders three channels, the network takes {takes}")));
        }
        if self.given() && !of_runtime(&preprocessing).suits(dims.map(|dim| u16::try_from(dim).unwrap_or(u16::MAX))) {
            return Err(Failure::Usage(format!(
                "--resize makes images smaller than the {takes} that the network takes"
            )));
        }
        Ok(preprocessing)
    }
}

/// A packed model's preprocessing as a graph's.
pub(super) fn of_graph(preprocessing: &image::Preprocessing) -> Preprocessing {
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

/// Refuses means and deviations of pixels 0..255 with those of pixels 0..1 to give instead.
pub(super) fn check_scale(mean: &[f32], std: &[f32]) -> Result<(), Failure> {
    let large = |values: &[f32]| values.iter().any(|value| value.abs() > 1.0);
    if !large(mean) && !large(std) {
        return Ok(());
    }
    // A deviation below 1 is none of pixels 0..255: 1 there means that they are not divided.
    let divided = |values: &[f32], divide: bool| -> Vec<f64> {
        values.iter().map(|&value| f64::from(value) / if divide { 255.0 } else { 1.0 }).collect()
    };
    let new_mean = divided(mean, large(mean));
    let new_std = divided(std, std.iter().any(|&value| value >= 1.0));
    let scale = "--mean and --std are those of pixels scaled to 0..1";
    if new_mean.iter().chain(&new_std).any(|value| value.is_nan() || value.abs() > 1.0) {
        return Err(Failure::Usage(format!("{scale}: none of them is above 1, and of pixels 0..255 none above 255")));
    }
    let list = |values: &[f64]| values.iter().map(|&value| short(value)).collect::<Vec<_>>().join(",");
    Err(Failure::Usage(format!(
        "{scale}: for these values of pixels 0..255 give --mean {} --std {}",
        list(&new_mean),
        list(&new_std)
    )))
}

/// A number with seven significant digits, as many as float32 has.
fn short(value: f64) -> String {
    if value == 0.0 {
        return "0".into();
    }
    let digits = (6.0 - value.abs().log10().floor()).max(0.0) as usize;
    format!("{value:.digits$}").trim_end_matches('0').trim_end_matches('.').into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_pixels_to_255_are_refused_with_those_to_give() {
        let flags = |mean: &[f32], std: &[f32]| match check_scale(mean, std) {
            Ok(()) => String::new(),
            Err(Failure::Usage(reason) | Failure::Work(reason)) => {
                reason.split_once("give ").map_or(reason.clone(), |(_, flags)| flags.to_owned())
            }
            Err(failure) => panic!("{failure:?}"),
        };
        for (mean, std, expected) in [
            (
                &[123.675, 116.28, 103.53][..],
                &[58.395, 57.12, 57.375][..],
                "--mean 0.485,0.456,0.406 --std 0.229,0.224,0.225",
            ),
            (
                &[104.0, 117.0, 123.0],
                &[1.0; 3],
                "--mean 0.4078431,0.4588235,0.4823529 --std 0.003921569,0.003921569,0.003921569",
            ),
            (&[127.5], &[127.5], "--mean 0.5 --std 0.5"),
            (&[123.675], &[0.229], "--mean 0.485 --std 0.229"),
            (&[0.0], &[255.0], "--mean 0 --std 1"),
            (&[0.5], &[127.5], "--mean 0.5 --std 0.5"),
            (&[-127.5], &[128.0], "--mean -0.5 --std 0.5019608"),
            (&[0.0], &[1.0], ""),
            (&[1.0], &[0.5], ""),
            (&[0.485, 0.456, 0.406], &[0.229, 0.224, 0.225], ""),
        ] {
            assert_eq!(flags(mean, std), expected, "{mean:?} {std:?}");
        }
        assert!(flags(&[300.0], &[1.0]).contains("none above 255"));
    }

    #[test]
    fn what_does_not_suit_the_input_is_refused() {
        let framing = Framing { resize: Some(256), ..Framing::default() };
        let read = framing.apply(Preprocessing::default(), [3, 224, 224]).unwrap();
        assert_eq!(read, Preprocessing { fit: Fit::Resize(256), ..Preprocessing::default() });
        let refused = |framing: Framing, dims| framing.apply(Preprocessing::default(), dims).is_err();
        assert!(refused(framing, [3, 224, 299]));
        let bgr = Framing { channels: Some(Order::Bgr), ..Framing::default() };
        assert!(refused(bgr, [1, 28, 28]) && !refused(bgr, [3, 28, 28]));
    }
}
