//! [`Metadata`] as the key-value pairs of an ONNX file.
//!
//! | key | value |
//! |---|---|
//! | `skipstone.mean`, `skipstone.std` | numbers of the channels, separated by commas |
//! | `skipstone.preprocessing` | a [`Preprocessing`], such as `fit=crop filter=bicubic channels=rgb grey=bt601`; without one, the default |
//! | `skipstone.classes` | class names, one a line; `\n` and `\\` inside a name are escaped |
//! | `skipstone.command` | the training command |
//! | `skipstone.activations` | `scale zero_point name` of each activation that has int8 scales, one a line; names escaped |
//!
//! A key that is absent stands for unknown. Keys of others are ignored.

use crate::proto::StringStringEntryProto;
use crate::{Metadata, Normalization, Preprocessing, QuantParams, Quantization};

const MEAN: &str = "skipstone.mean";
const STD: &str = "skipstone.std";
const PREPROCESSING: &str = "skipstone.preprocessing";
const CLASSES: &str = "skipstone.classes";
const COMMAND: &str = "skipstone.command";
const ACTIVATIONS: &str = "skipstone.activations";

impl Metadata {
    /// The pairs to write into a file.
    pub fn to_props(&self) -> Vec<StringStringEntryProto> {
        let mut props = Vec::new();
        if let Some(Normalization { mean, std }) = &self.normalization {
            props.push(StringStringEntryProto::new(MEAN, write_numbers(mean)));
            props.push(StringStringEntryProto::new(STD, write_numbers(std)));
        }
        if self.normalization.is_some() || self.preprocessing != Preprocessing::default() {
            props.push(StringStringEntryProto::new(PREPROCESSING, self.preprocessing.to_string()));
        }
        if !self.class_names.is_empty() {
            let names: Vec<String> = self.class_names.iter().map(|name| escape(name)).collect();
            props.push(StringStringEntryProto::new(CLASSES, names.join("\n")));
        }
        if let Some(command) = &self.command {
            props.push(StringStringEntryProto::new(COMMAND, command));
        }
        if !self.activation_scales.is_empty() {
            let line = |(name, by): &(String, QuantParams)| format!("{} {} {}", by.scale, by.zero_point, escape(name));
            let lines: Vec<String> = self.activation_scales.iter().map(line).collect();
            props.push(StringStringEntryProto::new(ACTIVATIONS, lines.join("\n")));
        }
        props
    }

    /// Reads what [`Metadata::to_props`] wrote.
    ///
    /// # Errors
    /// The key and what is wrong with its value.
    pub fn from_props(props: &[StringStringEntryProto]) -> Result<Self, String> {
        let get = |key: &str| props.iter().find(|prop| prop.key == key).map(|prop| prop.value.as_str());
        let normalization = match (get(MEAN), get(STD)) {
            (None, None) => None,
            (Some(mean), Some(std)) => {
                let normalization = Normalization { mean: read_numbers(MEAN, mean)?, std: read_numbers(STD, std)? };
                if normalization.std.iter().any(|&std| std <= 0.0) {
                    return Err(format!("`{STD}` must be positive, is `{std}`"));
                }
                if normalization.mean.len() != normalization.std.len() {
                    return Err(format!("`{MEAN}` and `{STD}` speak of different numbers of channels"));
                }
                Some(normalization)
            }
            _ => return Err(format!("`{MEAN}` and `{STD}` belong together, one is missing")),
        };
        let preprocessing = get(PREPROCESSING)
            .map(|text| text.parse().map_err(|reason| format!("`{PREPROCESSING}` is `{text}`, of which {reason}")));
        let class_names = get(CLASSES).map(|names| names.split('\n').map(unescape).collect()).unwrap_or_default();
        let activation_scales = get(ACTIVATIONS).into_iter().flat_map(|lines| lines.split('\n')).map(read_scale);
        Ok(Self {
            normalization,
            preprocessing: preprocessing.transpose()?.unwrap_or_default(),
            source: None,
            class_names,
            command: get(COMMAND).map(Into::into),
            activation_scales: activation_scales.collect::<Result<_, _>>()?,
            quantization: Quantization::default(),
        })
    }
}

fn write_numbers(numbers: &[f32]) -> String {
    let numbers: Vec<String> = numbers.iter().map(f32::to_string).collect();
    numbers.join(",")
}

fn read_numbers(key: &str, text: &str) -> Result<Vec<f32>, String> {
    text.split(',')
        .map(|number| match number.trim().parse::<f32>() {
            Ok(number) if number.is_finite() => Ok(number),
            _ => Err(format!("`{key}` must hold numbers separated by commas, holds `{text}`")),
        })
        .collect()
}

fn read_scale(line: &str) -> Result<(String, QuantParams), String> {
    let mut parts = line.splitn(3, ' ');
    let scale = parts.next().and_then(|scale| scale.parse().ok()).filter(|s: &f32| s.is_finite() && *s > 0.0);
    let zero_point = parts.next().and_then(|zero_point| zero_point.parse().ok());
    match (scale, zero_point, parts.next()) {
        (Some(scale), Some(zero_point), Some(name)) => Ok((unescape(name), QuantParams { scale, zero_point })),
        _ => Err(format!("`{ACTIVATIONS}` must hold lines of scale, zero point and name, holds `{line}`")),
    }
}

fn escape(name: &str) -> String {
    name.replace('\\', "\\\\").replace('\n', "\\n")
}

fn unescape(line: &str) -> String {
    let mut name = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(char) = chars.next() {
        if char != '\\' {
            name.push(char);
            continue;
        }
        match chars.next() {
            Some('n') => name.push('\n'),
            Some(other) => name.push(other),
            None => name.push('\\'),
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Fit;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn reads_back_what_was_written(
            channels in proptest::collection::vec((-1e6f32..1e6, 1e-30f32..1e6), 1..4),
            class_names in proptest::collection::vec("[a-z\\\\\n, é]{0,6}", 0..5),
            side in proptest::option::of(1u16..),
            command in proptest::option::of(".{0,20}"),
            scales in proptest::collection::vec(("[a-z /\\\\\n]{0,6}", 1e-30f32..1e6, any::<i8>()), 0..4),
        ) {
            let (mean, std) = channels.into_iter().unzip();
            let scale = |(name, scale, zero_point)| (name, QuantParams { scale, zero_point });
            let activation_scales = scales.into_iter().map(scale).collect();
            let normalization = Some(Normalization { mean, std });
            let quantization = Quantization::default();
            let fit = side.map_or(Fit::Crop, Fit::Resize);
            let preprocessing = Preprocessing { fit, ..Preprocessing::default() };
            let metadata = Metadata {
                normalization,
                preprocessing,
                source: None,
                class_names,
                command,
                activation_scales,
                quantization,
            };
            prop_assert_eq!(Metadata::from_props(&metadata.to_props()).unwrap(), metadata);
        }
    }

    #[test]
    fn refuses_values_that_would_normalize_wrongly() {
        let props =
            |mean: &str, std: &str| [StringStringEntryProto::new(MEAN, mean), StringStringEntryProto::new(STD, std)];
        for (mean, std, reason) in [
            ("0.5", "0", "must be positive"),
            ("0.5,x", "1,1", "separated by commas"),
            ("NaN", "1", "separated by commas"),
            ("0.5,0.5", "1", "different numbers"),
        ] {
            let error = Metadata::from_props(&props(mean, std)).unwrap_err();
            assert!(error.contains(reason), "{mean} {std}: {error}");
        }
        for line in ["", "0.5 3", "0 3 x", "-1 3 x", "inf 3 x", "0.5 200 x", "0.5 3 x\n"] {
            let error = Metadata::from_props(&[StringStringEntryProto::new(ACTIVATIONS, line)]).unwrap_err();
            assert!(error.contains("lines of scale, zero point and name"), "{line}: {error}");
        }
        let other = [StringStringEntryProto::new(PREPROCESSING, "fit=crop channels=yuv")];
        let error = Metadata::from_props(&other).unwrap_err();
        assert!(error.contains("of which `channels=yuv` is not known"), "{error}");
        assert!(Metadata::from_props(&props("1", "1")[..1]).unwrap_err().contains("missing"));
    }
}
