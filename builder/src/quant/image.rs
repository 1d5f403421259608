//! The quantization of the image: from pixels 0..=255 to int8, with as little loss as the normalization allows.

use super::QuantError;
use super::requant::pixel;
use super::span::{scale_of, zero_point_of};
use skipstone_onnx::{Normalization, QuantParams};
use skipstone_runtime::arith::Requant;

/// Distance from a tie of rounding, in steps, that the conversion of every pixel keeps where it can: far more than
/// float32 arithmetic errs, so that an engine that quantizes the normalized image finds the same int8 values.
const TIE_MARGIN: f64 = 1.0 / 4096.0;

/// Scales that are tried, from the smallest that holds the range on, each larger by this part of it.
const CANDIDATES: u32 = 64;
const CANDIDATE_STEP: f64 = 1.0 / 4096.0;

/// Scale, zero point and pixel conversion of the image.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ImageQuantization {
    pub(crate) params: QuantParams,
    pub(crate) pixels: Vec<Requant>,
}

/// Chooses the smallest scale that holds all normalized pixels and keeps each of them away from a tie of rounding. With
/// one channel, or equal normalization of all, a step is then (nearly) a pixel level and nothing is lost.
///
/// # Errors
/// [`QuantError::Normalization`] if it has another number of channels, or is not finite and positive.
pub(crate) fn quantize_image(normalization: &Normalization, channels: usize) -> Result<ImageQuantization, QuantError> {
    let Normalization { mean, std } = normalization;
    let fail = |reason: String| QuantError::Normalization { reason };
    check(normalization, channels)?;
    let levels: Vec<f64> = mean
        .iter()
        .zip(std)
        .flat_map(|(&m, &s)| (0..256).map(move |p| (f64::from(p) / 255.0 - f64::from(m)) / f64::from(s)))
        .collect();
    let lo = levels.iter().copied().fold(0.0, f64::min) as f32;
    let hi = levels.iter().copied().fold(0.0, f64::max) as f32;
    let mut best = (f64::MIN, QuantParams { scale: 0.0, zero_point: 0 });
    for step in 0..CANDIDATES {
        let scale = (f64::from(scale_of((lo, hi))) * (1.0 + f64::from(step) * CANDIDATE_STEP)) as f32;
        let zero_point = zero_point_of((lo, hi), scale);
        let margin = levels.iter().map(|x| tie_distance(x / f64::from(scale))).fold(1.0, f64::min);
        if margin > best.0 {
            best = (margin, QuantParams { scale, zero_point });
        }
        if margin >= TIE_MARGIN {
            break;
        }
    }
    let (_, params) = best;
    let pixels: Option<Vec<Requant>> = mean.iter().zip(std).map(|(&m, &s)| pixel(m, s, params)).collect();
    let pixels = pixels.ok_or_else(|| fail(format!("its deviations differ too much: {std:?}")))?;
    Ok(ImageQuantization { params, pixels })
}

/// As [`quantize_image`], with a scale and a zero point that a file has for the normalized image.
///
/// # Errors
/// As [`quantize_image`].
pub(crate) fn quantize_image_by(
    normalization: &Normalization,
    channels: usize,
    params: QuantParams,
) -> Result<ImageQuantization, QuantError> {
    let Normalization { mean, std } = normalization;
    check(normalization, channels)?;
    let pixels: Option<Vec<Requant>> = mean.iter().zip(std).map(|(&m, &s)| pixel(m, s, params)).collect();
    let reason =
        || format!("pixels cannot be converted to steps of {}, which the file has for the image", params.scale);
    let pixels = pixels.ok_or_else(|| QuantError::Normalization { reason: reason() })?;
    Ok(ImageQuantization { params, pixels })
}

fn check(normalization: &Normalization, channels: usize) -> Result<(), QuantError> {
    let Normalization { mean, std } = normalization;
    let fail = |reason: String| Err(QuantError::Normalization { reason });
    if mean.len() != channels || std.len() != channels {
        return fail(format!("it has {} means and {} deviations for {channels} channels", mean.len(), std.len()));
    }
    if let Some(odd) = mean.iter().find(|m| !m.is_finite()).or(std.iter().find(|s| !(s.is_finite() && **s > 0.0))) {
        return fail(format!("{odd} is not a usable mean or deviation"));
    }
    Ok(())
}

/// Distance from the nearest number half-way between two integers.
fn tie_distance(steps: f64) -> f64 {
    (steps - steps.floor() - 0.5).abs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use skipstone_runtime::arith::raise;

    fn convert(image: &ImageQuantization, channel: usize, pixel: i32) -> i8 {
        image.pixels[channel].apply(raise(pixel), i8::MIN, i8::MAX)
    }

    fn quantized(mean: &[f32], std: &[f32]) -> ImageQuantization {
        quantize_image(&Normalization { mean: mean.to_vec(), std: std.to_vec() }, mean.len()).unwrap()
    }

    #[test]
    fn one_channel_loses_nothing() {
        let image = quantized(&[0.1307], &[0.3081]);
        let values: Vec<i8> = (0..256).map(|p| convert(&image, 0, p)).collect();
        assert_eq!((values[0], values[255]), (-128, 127));
        assert!(values.is_sorted() && values.windows(2).all(|w| w[1] - w[0] == 1), "{values:?}");
    }

    #[test]
    fn every_pixel_is_within_half_a_step_and_away_from_ties() {
        let normalizations: [(&[f32], &[f32]); 4] = [
            (&[0.4914, 0.4822, 0.4465], &[0.2023, 0.1994, 0.201]),
            (&[0.5], &[0.5]),
            (&[0.0, 0.0, 0.0], &[1.0 / 255.0; 3]),
            (&[0.485, 0.456, 0.406], &[0.229, 0.224, 0.225]),
        ];
        for (mean, std) in normalizations {
            let image = quantized(mean, std);
            let scale = f64::from(image.params.scale);
            for (channel, (&mean, &std)) in mean.iter().zip(std).enumerate() {
                for p in 0..256 {
                    let real = (f64::from(p) / 255.0 - f64::from(mean)) / f64::from(std);
                    let q = convert(&image, channel, p);
                    let error = (f64::from(q) - f64::from(image.params.zero_point)) - real / scale;
                    // The nudged end of the range may be clamped.
                    let most = if q == i8::MAX || q == i8::MIN { 1.0 } else { 0.5 };
                    assert!(error.abs() <= most, "{mean} {std}: pixel {p} is {q}, off by {error} steps");
                    // What QuantizeLinear finds from the normalized image in float32.
                    let normalized = (p as f32 / 255.0 - mean) / std;
                    let float = ((normalized / image.params.scale).round_ties_even()
                        + f32::from(image.params.zero_point))
                    .clamp(-128.0, 127.0);
                    assert_eq!(float as i8, q, "{mean} {std}: pixel {p}");
                }
            }
        }
    }

    #[test]
    fn unusable_normalizations_are_refused() {
        let refuse = |mean: &[f32], std: &[f32]| {
            quantize_image(&Normalization { mean: mean.to_vec(), std: std.to_vec() }, 1).unwrap_err().to_string()
        };
        assert!(refuse(&[0.0, 0.0], &[1.0]).contains("2 means and 1 deviations for 1 channels"));
        assert!(refuse(&[0.0], &[0.0]).contains("0 is not a usable"));
        assert!(refuse(&[f32::NAN], &[1.0]).contains("NaN is not a usable"));
    }
}
