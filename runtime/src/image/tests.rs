//! Pixels compared with Pillow's, and with the definition in real numbers.

use super::*;
use crate::format::checksum::crc32;
use core::num::NonZero;
use proptest::prelude::*;

/// `[row][column][channel]`.
fn picture([width, height]: [u16; 2], channels: u8) -> Vec<u8> {
    let mut samples = Vec::new();
    for y in 0..u32::from(height) {
        for x in 0..u32::from(width) {
            for k in 0..u32::from(channels) {
                samples.push(((x * 37 + y * 91 + k * 53 + x * y * (k + 1)) * (x + 3) / 7 % 256) as u8);
            }
        }
    }
    samples
}

fn run(plan: Plan, rows: &[Row]) -> Vec<u8> {
    let (mut words, mut bytes) = (vec![7; plan.words()], vec![9; plan.bytes()]);
    let mut resampler = Resampler::new(plan, &mut words, &mut bytes).unwrap();
    let mut out = Vec::new();
    for row in rows {
        resampler.push(*row, |pixels| out.extend_from_slice(pixels)).unwrap();
    }
    out
}

fn rows(samples: &[u8], width: u16, channels: u8) -> Vec<Row<'_>> {
    let len = usize::from(width) * usize::from(channels);
    samples.chunks(len).map(|row| Row { samples: Samples::Bits8(row), channels }).collect()
}

/// CRC-32 of what Pillow 11.3 makes of [`picture`]: `crop` and `resize`, `resize`, or `resize` and `crop` at the places
/// that torchvision chooses.
#[test]
fn pixels_are_pillows() {
    let cases = [
        ([13, 9], 3, Fit::Stretch, Filter::Bicubic, [8, 8], 0x3e9410d3),
        ([13, 9], 3, Fit::Stretch, Filter::Bilinear, [8, 8], 0x414da83a),
        ([13, 9], 1, Fit::Stretch, Filter::Bicubic, [5, 17], 0x7c9da2cc),
        ([320, 240], 3, Fit::Crop, Filter::Bicubic, [96, 96], 0x3df24ba6),
        ([320, 240], 3, Fit::Crop, Filter::Bilinear, [96, 96], 0x81e2173c),
        ([240, 321], 3, Fit::Crop, Filter::Bicubic, [50, 40], 0xbe8f90ff),
        ([500, 375], 3, Fit::Resize(256), Filter::Bilinear, [224, 224], 0xf76fda0e),
        ([375, 500], 3, Fit::Resize(256), Filter::Bicubic, [224, 224], 0xe974c009),
        ([301, 200], 1, Fit::Resize(41), Filter::Bilinear, [32, 40], 0x2b3baf51),
        ([3, 2], 3, Fit::Crop, Filter::Bicubic, [31, 29], 0x8f3807fc),
        ([1, 1], 1, Fit::Crop, Filter::Bilinear, [4, 4], 0xecbb4b55),
        ([1000, 7], 3, Fit::Stretch, Filter::Bicubic, [7, 3], 0xde4d5e2f),
        ([64, 48], 3, Fit::Crop, Filter::Bicubic, [48, 64], 0x3ba18110),
    ];
    for case in cases {
        let (size, channels, fit, filter, [height, width], expected) = case;
        let preprocessing = Preprocessing { fit, filter, ..Preprocessing::default() };
        let plan = Plan::new(size, preprocessing, [channels.into(), height, width]).unwrap();
        let out = run(plan, &rows(&picture(size, channels), size[0], channels));
        assert_eq!(out.len(), usize::from(channels) * usize::from(height) * usize::from(width), "{case:?}");
        assert_eq!(crc32(&out), expected, "{case:?}");
    }
}

#[test]
fn a_picture_of_the_right_size_stays() {
    for fit in [Fit::Crop, Fit::Stretch, Fit::Resize(7)] {
        for filter in [Filter::Bicubic, Filter::Bilinear] {
            let preprocessing = Preprocessing { fit, filter, ..Preprocessing::default() };
            let plan = Plan::new([9, 7], preprocessing, [3, 7, if fit == Fit::Resize(7) { 7 } else { 9 }]).unwrap();
            let samples = picture([9, 7], 3);
            let out = run(plan, &rows(&samples, 9, 3));
            let expected: Vec<u8> = if fit == Fit::Resize(7) {
                samples.chunks(27).flat_map(|row| &row[3..24]).copied().collect()
            } else {
                samples
            };
            assert_eq!(out, expected);
        }
    }
}

#[test]
fn every_kind_of_sample_becomes_pixels() {
    let bgr = Preprocessing { channels: ChannelOrder::Bgr, ..Preprocessing::default() };
    let rgb = Preprocessing::default();
    let cases: [(u8, &[u8], [u8; 3], u8); 4] = [
        (1, &[90], [90; 3], 90),
        (2, &[90, 7], [90; 3], 90),
        (3, &[10, 20, 30], [10, 20, 30], 18),
        (4, &[10, 20, 30, 0], [10, 20, 30], 18),
    ];
    for (channels, samples, color, grey) in cases {
        let wide: Vec<u16> = samples.iter().map(|&sample| 257 * u16::from(sample) + 128).collect();
        for samples in [Samples::Bits8(samples), Samples::Bits16(&wide)] {
            let row = [Row { samples, channels }];
            let pixels = |preprocessing, wanted| run(Plan::new([1, 1], preprocessing, [wanted, 1, 1]).unwrap(), &row);
            assert_eq!(pixels(rgb, 1), [grey], "{row:?}");
            assert_eq!(pixels(rgb, 3), color, "{row:?}");
            let [red, green, blue] = color;
            assert_eq!(pixels(bgr, 3), [blue, green, red], "{row:?}");
        }
    }
}

#[test]
fn what_has_no_meaning_is_refused() {
    let plan =
        |size, fit, channels, dims| Plan::new(size, Preprocessing { fit, channels, ..Preprocessing::default() }, dims);
    let (rgb, bgr) = (ChannelOrder::Rgb, ChannelOrder::Bgr);
    assert!(plan([4, 4], Fit::Crop, bgr, [3, 2, 2]).is_some());
    for (size, fit, order, dims) in [
        ([0, 4], Fit::Crop, rgb, [3, 2, 2]),
        ([4, 4], Fit::Crop, rgb, [3, 0, 2]),
        ([4, 4], Fit::Crop, rgb, [2, 2, 2]),
        ([4, 4], Fit::Crop, bgr, [1, 2, 2]),
        ([4, 4], Fit::Resize(3), rgb, [3, 2, 4]),
        ([60_000, 1], Fit::Resize(2), rgb, [3, 2, 2]),
    ] {
        assert_eq!(plan(size, fit, order, dims), None, "{size:?} {fit:?} {dims:?}");
    }
    let plan = plan([4, 4], Fit::Crop, rgb, [3, 2, 2]).unwrap();
    let (mut words, mut bytes) = (vec![0; plan.words()], vec![0; plan.bytes()]);
    let short = plan.words() - 1;
    assert!(Resampler::new(plan, &mut words[..short], &mut bytes).is_none());
    let short = plan.bytes() - 1;
    assert!(Resampler::new(plan, &mut words, &mut bytes[..short]).is_none());
    let mut resampler = Resampler::new(plan, &mut words, &mut bytes).unwrap();
    for (samples, channels) in [(&[0; 9][..], 3), (&[0; 12], 4), (&[0; 4], 0), (&[0; 20], 5)] {
        let error = resampler.push(Row { samples: Samples::Bits8(samples), channels }, |_| {}).unwrap_err();
        assert_eq!(error.expected, 4);
    }
}

#[test]
fn codes_round_trip() {
    for (codes, resize, ok) in [
        ([0, 0, 0], 0, true),
        ([1, 1, 1], 0, true),
        ([2, 0, 0], 8, true),
        ([2, 0, 0], 7, false),
        ([2, 0, 0], 0, false),
        ([0, 0, 0], 8, false),
        ([3, 0, 0], 0, false),
        ([0, 2, 0], 0, false),
        ([0, 0, 2], 0, false),
    ] {
        let read = Preprocessing::from_codes(codes, resize, [3, 8, 4]);
        assert_eq!(read.map(|read| read.codes()), ok.then_some((codes, resize)));
    }
    assert_eq!(Preprocessing::from_codes([0, 0, 1], 0, [1, 8, 8]), None);
}

/// The filters in real numbers.
fn filter(filter: Filter, t: f64) -> f64 {
    let t = t.abs();
    match filter {
        Filter::Bilinear => (1.0 - t).max(0.0),
        Filter::Bicubic if t < 1.0 => (1.5 * t - 2.5) * t * t + 1.0,
        Filter::Bicubic if t < 2.0 => ((-0.5 * t + 2.5) * t - 4.0) * t + 2.0,
        Filter::Bicubic => 0.0,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn weights_are_the_filters(
        len in prop_oneof![1u16..40, 1u16..5000, Just(u16::MAX)],
        scaled in prop_oneof![1u16..40, 1u16..5000, Just(u16::MAX)],
        position in 0.0f64..1.0,
        bicubic in any::<bool>(),
    ) {
        let kind = if bicubic { Filter::Bicubic } else { Filter::Bilinear };
        let [size, made] = [len, scaled].map(|length| NonZero::new(length).unwrap());
        let axis = Axis::new(size, made, 0, kind);
        let out = (position * f64::from(scaled)) as u16;
        let (first, count) = axis.elements(out);
        prop_assert!(count > 0 && first < len && count <= len - first && usize::from(count) <= axis.most_elements().get());
        let weights: Vec<i32> = axis.weights(out).collect();
        prop_assert_eq!(weights.len(), usize::from(count));
        // No sum of pixels exceeds 32 bits.
        prop_assert!(weights.iter().map(|w| i64::from(w.abs())).sum::<i64>() * 255 + (1 << 21) <= i64::from(i32::MAX));
        let ratio = f64::from(len) / f64::from(scaled);
        let weigh = |element: u16| {
            let distance = f64::from(element) + 0.5 - (f64::from(out) + 0.5) * ratio;
            filter(kind, distance / ratio.max(1.0))
        };
        let sum: f64 = (0..len).map(weigh).sum();
        for element in 0..len {
            let weight = element.checked_sub(first).and_then(|index| weights.get(usize::from(index))).copied();
            let error = f64::from(weight.unwrap_or(0)) / f64::from(1 << axis::WEIGHT_BITS) - weigh(element) / sum;
            prop_assert!(error.abs() < 1.3e-7, "element {} of output {}: off by {}", element, out, error);
        }
    }
}
