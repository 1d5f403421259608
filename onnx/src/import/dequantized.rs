//! Constants that a file holds as integers and dequantizes.

use crate::{Integers, Tensor};

/// A constant that was dequantized.
#[derive(Clone)]
pub(super) struct Dequantized {
    /// One scale, or one for each element of an axis.
    pub(super) scales: Vec<f32>,
    /// The integers of a vector; those of other constants follow from the numbers.
    pub(super) values: Option<Vec<i32>>,
}

impl Dequantized {
    pub(super) fn scales_only(&self) -> Self {
        Self { scales: self.scales.clone(), values: None }
    }

    /// The integers of a parameter that is `factor` times the constant; `None` where it is no longer integers times
    /// scales of its output channels.
    pub(super) fn integers(&self, tensor: &Tensor, factor: f64) -> Option<Integers> {
        let outputs = *tensor.dims().first()?;
        let mut scales = match self.scales.as_slice() {
            &[scale] => vec![scale; outputs],
            scales => scales.to_vec(),
        };
        scales.iter_mut().for_each(|scale| *scale = (f64::from(*scale) * factor) as f32);
        if scales.len() != outputs {
            return None;
        }
        let per_channel = tensor.count() / outputs;
        let values = self.values.clone().unwrap_or_else(|| {
            let steps =
                |(index, x): (usize, &f32)| (f64::from(*x) / f64::from(scales[index / per_channel])).round() as i32;
            tensor.data().iter().enumerate().map(steps).collect()
        });
        let integers = Integers { scales, values };
        // A factor was rounded, too.
        let near = |(x, own): (&f32, &f32)| x == own || (x - own).abs() <= 4.0 * f32::EPSILON * x.abs();
        let same = integers.real().len() == tensor.count()
            && tensor
                .data()
                .iter()
                .zip(&integers.real())
                .all(|pair| if factor == 1.0 { pair.0 == pair.1 } else { near(pair) });
        same.then_some(integers)
    }
}
