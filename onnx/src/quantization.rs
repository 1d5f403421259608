//! How a file that others quantized rounds its tensors.

use std::collections::BTreeMap;

/// Scales, zero points and integers of a file that holds a quantized network. The graph is the float network whose
/// weights are what the integers stand for; all names are those of its values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Quantization {
    /// Activations that the file rounds to int8, or to uint8: then the zero point is 128 less than the file's.
    pub activations: BTreeMap<String, QuantParams>,
    /// Weights and biases that the file holds as integers.
    pub parameters: BTreeMap<String, Integers>,
    /// What the integers stand for that the file takes as its input; nothing if it takes floats.
    pub input: Option<InputIntegers>,
}

/// Integers as a file's input: int8 or uint8, of which the graph's input is `scale * (integer - zero_point)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InputIntegers {
    /// Whether they are int8: pixels less 128. Otherwise they are uint8: pixels as they are.
    pub signed: bool,
    /// Real value of one step; positive and finite.
    pub scale: f32,
    /// The integer that stands for 0.
    pub zero_point: i32,
}

/// How real numbers become int8: `q = round(x / scale) + zero_point`, between -128 and 127, stands for
/// `scale * (q - zero_point)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QuantParams {
    /// Real value of one step; positive and finite.
    pub scale: f32,
    /// The integer that stands for 0.
    pub zero_point: i8,
}

impl QuantParams {
    /// What the integer `q` stands for.
    pub fn real(self, q: i8) -> f64 {
        f64::from(self.scale) * (f64::from(q) - f64::from(self.zero_point))
    }

    /// `x` in steps, before it is rounded to an integer.
    pub fn steps(self, x: f64) -> f64 {
        x / f64::from(self.scale) + f64::from(self.zero_point)
    }
}

/// A parameter's elements as integers times scales.
#[derive(Clone, Debug, PartialEq)]
pub struct Integers {
    /// Scale of each output channel: of each element of the parameter's first axis.
    pub scales: Vec<f32>,
    /// The integers, in the parameter's order.
    pub values: Vec<i32>,
}

impl Quantization {
    /// Whether the file quantizes neither activations nor parameters.
    pub fn is_empty(&self) -> bool {
        self.activations.is_empty() && self.parameters.is_empty()
    }
}

impl Integers {
    /// The same integers under scales that are multiplied by a factor for each output channel.
    pub fn scaled(&self, factor: impl Fn(usize) -> f64) -> Self {
        let scales = self.scales.iter().enumerate();
        let scales = scales.map(|(channel, &scale)| (f64::from(scale) * factor(channel)) as f32).collect();
        Self { scales, values: self.values.clone() }
    }

    /// What the integers stand for.
    pub fn real(&self) -> Vec<f32> {
        let per_channel = (self.values.len() / self.scales.len().max(1)).max(1);
        let scales = self.scales.iter().flat_map(|scale| std::iter::repeat_n(scale, per_channel));
        self.values.iter().zip(scales).map(|(&value, scale)| value as f32 * scale).collect()
    }

    /// Whether these are the elements `data` of a parameter, none of which has changed since it was read.
    pub fn are(&self, data: &[f32]) -> bool {
        let per_channel = (data.len() / self.scales.len().max(1)).max(1);
        data.len() == self.values.len()
            && data.iter().zip(&self.values).enumerate().all(|(index, (x, &value))| {
                self.scales.get(index / per_channel).is_some_and(|scale| value as f32 * scale == *x)
            })
    }
}
