//! Scores of a tensor that is given to a network as its file takes it.

use super::failure::Failure;
use super::model::{self, Kind};
use super::npy::{self, Array};
use super::packed::Packed;
use crate::session::Session;
use crate::tensor::Tensor;
use crate::{files, zoo::dims_text};
use skipstone_onnx::{Ending, Imported, InputIntegers};
use skipstone_runtime::Model;
use skipstone_runtime::format::records;
use std::path::Path;

/// The output of `model` for the tensor in the file `input`. A packed network takes and gives what the file that it was
/// made from takes and gives.
pub(super) fn scores(model: &Path, input: &Path) -> Result<Tensor, Failure> {
    let array = Array::from_bytes(&files::read(input)?).map_err(|reason| Failure::at(input, reason))?;
    if let Some(odd) = array.data.iter().position(|value| !value.is_finite()) {
        let reason = format!("element {:?} is {}, which no network takes", place(odd, &array.dims), array.data[odd]);
        return Err(Failure::at(input, reason));
    }
    let (file, kind) = model::locate(model)?;
    let (scores, ending) = match kind {
        Kind::Onnx => {
            let (_, Imported { graph, channels_last, ending, .. }) = model::load(&file)?;
            let array = given(array, input, graph.metadata.quantization.input)?;
            let batch = images(&array, input, model::input_dims(&graph), channels_last)?;
            (Session::new(&graph).run(&batch), ending)
        }
        Kind::Stone => of_packed(&Packed::read(&file)?, array, input)?,
    };
    check_finite(&scores)?;
    Ok(finished(scores, ending))
}

fn of_packed(packed: &Packed, array: Array, input: &Path) -> Result<(Tensor, Ending), Failure> {
    let model = packed.model();
    let image = model.input();
    let source = model.source().unwrap_or_default();
    let signed = match records::Element::from_code(source.element) {
        Some(records::Element::Uint8) => Some(false),
        Some(records::Element::Int8) => Some(true),
        _ => None,
    };
    let integers = signed.map(|signed| InputIntegers { signed, scale: source.scale, zero_point: source.zero_point });
    let array = given(array, input, integers)?;
    let dims = [image.channels, image.height, image.width].map(usize::from);
    let mut images = images(&array, input, dims, source.channels_last == 1)?;
    normalize(&model, &mut images);
    let scores = packed.scores(images.batch(), |engine, index| {
        let quantized: Vec<i8> = images.image(index).iter().map(|&x| quantize(image, x)).collect();
        engine.run_int8(&quantized).map(drop)
    })?;
    Ok((scores, ending(&model)))
}

/// What an array gives to a network: its numbers, or where the network's file takes `integers` and the array holds
/// some, what these stand for.
fn given(mut array: Array, file: &Path, integers: Option<InputIntegers>) -> Result<Array, Failure> {
    let takes = match integers {
        Some(InputIntegers { signed: true, .. }) => npy::Kind::I8,
        Some(InputIntegers { signed: false, .. }) => npy::Kind::U8,
        None => npy::Kind::F32,
    };
    if array.kind != npy::Kind::F32 && array.kind != takes {
        let (has, takes) = (array.kind.name(), takes.name());
        return Err(Failure::at(file, format!("holds {has}, the network takes {takes}: save it as that")));
    }
    if let Some(InputIntegers { scale, zero_point, .. }) = integers.filter(|_| array.kind == takes) {
        array.data.iter_mut().for_each(|x| *x = scale * (*x - zero_point as f32));
    }
    Ok(array)
}

/// What the file that a packed network was made from gives of its scores.
pub(super) fn ending(model: &Model) -> Ending {
    match records::Ending::from_code(model.source().unwrap_or_default().ending) {
        Some(records::Ending::Softmax) => Ending::Softmax,
        Some(records::Ending::LogSoftmax) => Ending::LogSoftmax,
        _ => Ending::Scores,
    }
}

/// Brings images from the normalization of the network's file to that of the packed network.
fn normalize(model: &Model, images: &mut Tensor) {
    let channels: Vec<_> = model.source_normalization().zip(model.normalization()).collect();
    if channels.iter().all(|(file, own)| file == own) {
        return;
    }
    for pixel in images.data_mut().chunks_exact_mut(channels.len()) {
        for (value, ((file_mean, file_std), (mean, std))) in pixel.iter_mut().zip(&channels) {
            let scaled = f64::from(*value) * f64::from(*file_std) + f64::from(*file_mean);
            *value = ((scaled - f64::from(*mean)) / f64::from(*std)) as f32;
        }
    }
}

/// Checks that each score is a number.
pub(super) fn check_finite(scores: &Tensor) -> Result<(), Failure> {
    match (0..scores.batch()).find_map(|image| scores.image(image).iter().position(|score| !score.is_finite())) {
        None => Ok(()),
        Some(class) => Err(Failure::Work(format!(
            "the network gives scores that are not finite (class {class}): its weights are damaged or it diverged in \
             training, or --mean and --std are not its own"
        ))),
    }
}

/// The indices of an element.
fn place(mut at: usize, dims: &[usize]) -> Vec<usize> {
    let mut indices: Vec<usize> = dims
        .iter()
        .rev()
        .map(|dim| {
            let index = at % dim;
            at /= dim;
            index
        })
        .collect();
    indices.reverse();
    indices
}

/// What the file that a network was read from makes of its scores.
pub(super) fn finished(mut scores: Tensor, ending: Ending) -> Tensor {
    if ending == Ending::Scores {
        return scores;
    }
    let classes = scores.dims()[1];
    for scores in scores.data_mut().chunks_exact_mut(classes) {
        let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = scores.iter().map(|score| f64::from(score - largest).exp()).sum();
        for score in scores {
            let log = f64::from(*score - largest) - sum.ln();
            *score = if ending == Ending::Softmax { log.exp() as f32 } else { log as f32 };
        }
    }
    scores
}

/// The array `[N, C, H, W]`, or `[N, H, W, C]` if `channels_last`, as a batch `[N, H, W, C]` of images of `dims`.
fn images(array: &Array, file: &Path, dims: [usize; 3], channels_last: bool) -> Result<Tensor, Failure> {
    let order = if channels_last { "[N, H, W, C]" } else { "[N, C, H, W]" };
    let (count, [a, b, c]) = match *array.dims.as_slice() {
        [count, a, b, c] => (count, [a, b, c]),
        // One image, as files without a batch take it.
        [a, b, c] => (1, [a, b, c]),
        _ => return Err(Failure::at(file, format!("has dimensions {:?}, must be {order}", array.dims))),
    };
    let [c, h, w] = if channels_last { [c, a, b] } else { [a, b, c] };
    let [channels, height, width] = dims;
    if [c, h, w] != dims || count == 0 {
        let (has, takes) = (dims_text([c, h, w]), dims_text(dims));
        return Err(Failure::at(file, format!("holds {count} images of {has}, the network takes {takes} as {order}")));
    }
    if channels_last {
        return Ok(Tensor::new([count, height, width, channels], array.data.clone()));
    }
    let area = height * width;
    let mut data = Vec::with_capacity(array.data.len());
    for image in array.data.chunks_exact(channels * area) {
        for pixel in 0..area {
            data.extend((0..channels).map(|channel| image[channel * area + pixel]));
        }
    }
    Ok(Tensor::new([count, height, width, channels], data))
}

/// As ONNX's QuantizeLinear: ties go to the even number.
fn quantize(input: &records::Tensor, value: f32) -> i8 {
    ((value / input.scale).round_ties_even() + f32::from(input.zero_point)).clamp(-128.0, 127.0) as i8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_what_they_stand_for() {
        let array = |kind, x: f32| Array { dims: vec![1], data: vec![x], kind };
        let integers = Some(InputIntegers { signed: true, scale: 0.5, zero_point: -128 });
        let file = Path::new("x.npy");
        let numbers = |kind, integers| given(array(kind, 100.0), file, integers).map(|array| array.data[0]);
        assert_eq!(numbers(npy::Kind::I8, integers).unwrap(), 114.0);
        assert_eq!(numbers(npy::Kind::F32, integers).unwrap(), 100.0);
        assert!(numbers(npy::Kind::U8, integers).is_err());
        // Bytes are not normalized.
        assert!(numbers(npy::Kind::U8, None).is_err());
    }

    #[test]
    fn an_element_is_found_by_its_indices() {
        assert_eq!(place(0, &[2, 3]), [0, 0]);
        assert_eq!(place(5, &[2, 3]), [1, 2]);
        assert_eq!(place(23 + 60, &[2, 3, 4, 5]), [1, 1, 0, 3]);
    }
}
