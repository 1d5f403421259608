//! How the numbers of an int8 network are chosen.

use super::failure::Failure;
use crate::quant::{self, Settings};
use clap::ValueEnum;

/// Options of commands that quantize.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct Numbers {
    /// How the ranges of the activations are chosen [default: minmax; a network that was trained for int8 keeps its
    /// own].
    #[arg(long, value_enum)]
    method: Option<Method>,
    /// Percentage of the values that --method percentile keeps, at most 100 [default: 99.99].
    #[arg(long, value_name = "P", allow_negative_numbers = true, value_parser = percentage)]
    percentile: Option<f64>,
    /// Cross-layer equalization: scale the channels between two convolutions so that the weights on both sides have
    /// equal ranges.
    #[arg(long)]
    equalize: bool,
    /// Bias correction: subtract from each bias the mean error that rounding causes on the calibration images.
    #[arg(long)]
    bias_correction: bool,
    /// Discard the scales and integers of a quantized file, and the scales that a network was trained with, and
    /// calibrate again. Implied by --method, --equalize and --bias-correction.
    #[arg(long)]
    recalibrate: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Method {
    /// From the smallest to the largest value seen.
    Minmax,
    /// The range that holds most of the values: see --percentile.
    Percentile,
    /// The range with the least mean squared error.
    Mse,
    /// The range with the least divergence between the distributions of float and int8 values.
    Entropy,
}

impl Numbers {
    /// What the options say. Scales that a network was trained for are kept if they say nothing.
    ///
    /// # Errors
    /// [`Failure::Usage`] for a percentage that the method does not use.
    pub(super) fn settings(&self) -> Result<Settings, Failure> {
        if self.percentile.is_some() && self.method != Some(Method::Percentile) {
            return Err(Failure::Usage("--percentile is for --method percentile alone".into()));
        }
        let Self { equalize, bias_correction, .. } = *self;
        let method = self.method.map(|method| match method {
            Method::Minmax => quant::Method::MinMax,
            Method::Percentile => quant::Method::Percentile(self.percentile.unwrap_or(quant::Method::PERCENTILE)),
            Method::Mse => quant::Method::Mse,
            Method::Entropy => quant::Method::Entropy,
        });
        let recalibrate = self.recalibrate || method.is_some() || equalize || bias_correction;
        let method = method.unwrap_or(Settings::default().method);
        Ok(Settings { method, equalize, bias_correction, recalibrate })
    }
}

fn percentage(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(percentage) if percentage > 50.0 && percentage <= 100.0 => Ok(percentage),
        _ => Err("must be above 50 and at most 100".into()),
    }
}
