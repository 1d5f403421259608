//! Samples of a decoded picture as pixels of one or three channels of 8 bits.

use crate::bounds;

/// Samples as a decoder gives them: the channels of a pixel side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Samples<'s> {
    /// 0..=255.
    Bits8(&'s [u8]),
    /// 0..=65535.
    Bits16(&'s [u16]),
}

/// A row of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row<'s> {
    /// Its samples.
    pub samples: Samples<'s>,
    /// Samples of a pixel: 1 grey, 2 grey and alpha, 3 red, green, blue, 4 these and alpha.
    pub channels: u8,
}

impl<'s> Row<'s> {
    /// Number of whole pixels; 0 if pixels of so many samples mean nothing.
    pub fn width(&self) -> usize {
        let samples = match self.samples {
            Samples::Bits8(samples) => samples.len(),
            Samples::Bits16(samples) => samples.len(),
        };
        match self.channels {
            1..=4 => samples / usize::from(self.channels),
            _ => 0,
        }
    }

    /// The pixels from `first` on, without alpha, as `channels` (1 or 3) samples of 8 bits each; in `converted`, which
    /// says how many, unless they are that already.
    pub(super) fn pixels<'p>(&self, first: usize, channels: usize, converted: &'p mut [u8]) -> &'p [u8]
    where
        's: 'p,
    {
        let start = first * usize::from(self.channels);
        match self.samples {
            Samples::Bits8(samples) => {
                let samples = bounds::rest(samples, start);
                if usize::from(self.channels) == channels {
                    return bounds::part(samples, 0, converted.len());
                }
                convert(samples, self.channels, |sample| sample, converted, channels);
            }
            Samples::Bits16(samples) => {
                convert(bounds::rest(samples, start), self.channels, eight_bits, converted, channels);
            }
        }
        converted
    }
}

/// The nearest of `sample / 257`.
fn eight_bits(sample: u16) -> u8 {
    ((u32::from(sample) + 128) / 257) as u8
}

/// ITU-R BT.601's luma in 16 fractional bits.
fn luma([red, green, blue]: [u8; 3]) -> u8 {
    ((19595 * u32::from(red) + 38470 * u32::from(green) + 7471 * u32::from(blue) + 32768) >> 16) as u8
}

fn convert<S: Copy>(samples: &[S], from: u8, eight: impl Fn(S) -> u8, out: &mut [u8], to: usize) {
    match from {
        1 => spread(samples.as_chunks::<1>().0, |&[grey]| [eight(grey); 3], out, to),
        2 => spread(samples.as_chunks::<2>().0, |&[grey, _]| [eight(grey); 3], out, to),
        3 => spread(samples.as_chunks::<3>().0, |&[red, green, blue]| [eight(red), eight(green), eight(blue)], out, to),
        4 => {
            let color = |&[red, green, blue, _]: &[S; 4]| [eight(red), eight(green), eight(blue)];
            spread(samples.as_chunks::<4>().0, color, out, to);
        }
        _ => {}
    }
}

/// Writes colors as they are, or their luma, which is a grey's own value.
fn spread<P>(pixels: &[P], color: impl Fn(&P) -> [u8; 3], out: &mut [u8], to: usize) {
    if to == 1 {
        out.iter_mut().zip(pixels).for_each(|(grey, pixel)| *grey = luma(color(pixel)));
    } else {
        out.as_chunks_mut::<3>().0.iter_mut().zip(pixels).for_each(|(out, pixel)| *out = color(pixel));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grey_is_its_own_luma_and_sixteen_bits_are_rounded() {
        for v in 0..=255 {
            assert_eq!(luma([v; 3]), v);
            assert_eq!(eight_bits(257 * u16::from(v)), v);
        }
        for (sample, expected) in [(128, 0), (129, 1), (0x8000, 128), (65406, 254), (65407, 255)] {
            assert_eq!(eight_bits(sample), expected, "{sample}");
        }
        // Pillow: Image.new("RGB", (1, 1), color).convert("L").
        for (color, grey) in [([255, 0, 0], 76), ([0, 255, 0], 150), ([0, 0, 255], 29), ([10, 20, 30], 18)] {
            assert_eq!(luma(color), grey, "{color:?}");
        }
    }
}
