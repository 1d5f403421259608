//! Float scores of whole networks.

use super::elements::Elements;
use super::runner::Runner;
use super::{VerifyError, argmax, fraction, to_channels_first};
use crate::tensor::Tensor;
use serde::Serialize;
use skipstone_onnx::proto::ModelProto;

/// How our float scores compare to tract's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct FloatAgreement {
    /// Largest absolute difference of two scores.
    pub float_max_abs_diff: f32,
    /// Part of the images with the same label.
    pub float_top1_agreement: f64,
}

/// Compares our `scores` (`[N, classes]`) of `images` (`[N, H, W, C]`, normalized) with those that tract computes from
/// the ONNX file `onnx`.
///
/// # Errors
/// [`VerifyError`] if tract cannot run the file, or scores are of different sizes or not finite.
pub fn float(onnx: &[u8], images: &Tensor, scores: &Tensor) -> Result<FloatAgreement, VerifyError> {
    float_model(ModelProto::from_bytes(onnx)?, false, images, scores)
}

/// As [`float`], of a model of others, whose one output holds the scores. `channels_last` says that its input is
/// `[N, H, W, C]`, and not `[N, C, H, W]`.
///
/// # Errors
/// As [`float`].
pub fn float_model(
    model: ModelProto,
    channels_last: bool,
    images: &Tensor,
    scores: &Tensor,
) -> Result<FloatAgreement, VerifyError> {
    let reference = scores_of(model, channels_last, images)?;
    if reference.dims() != scores.dims() {
        let (ours, theirs) = (scores.dims(), reference.dims());
        return Err(VerifyError::Mismatch(format!("our scores have dimensions {ours:?}, tract's {theirs:?}")));
    }
    if let Some(odd) = scores.data().iter().chain(reference.data()).find(|score| !score.is_finite()) {
        return Err(VerifyError::Mismatch(format!("a score is {odd}")));
    }
    let same = (0..scores.batch()).filter(|&i| argmax(scores.image(i)) == argmax(reference.image(i))).count();
    let differences = scores.data().iter().zip(reference.data()).map(|(ours, theirs)| (ours - theirs).abs());
    Ok(FloatAgreement {
        float_max_abs_diff: differences.fold(0.0, f32::max),
        float_top1_agreement: fraction(same as u64, scores.batch() as u64),
    })
}

/// The scores, `[N, classes]`, that tract computes for `images` (`[N, H, W, C]`, normalized).
///
/// # Errors
/// [`VerifyError`] if tract cannot run the file on them.
pub fn float_scores(onnx: &[u8], images: &Tensor) -> Result<Tensor, VerifyError> {
    scores_of(ModelProto::from_bytes(onnx)?, false, images)
}

fn scores_of(model: ModelProto, channels_last: bool, images: &Tensor) -> Result<Tensor, VerifyError> {
    let &[count, height, width, channels] = images.dims() else {
        return Err(VerifyError::Mismatch(format!("images have dimensions {:?}, must be [N, H, W, C]", images.dims())));
    };
    if count == 0 {
        return Err(VerifyError::Mismatch("there are no images".into()));
    }
    let (dims, data) = if channels_last {
        (vec![height, width, channels], images.data().to_vec())
    } else {
        let dims = vec![channels, height, width];
        let data = to_channels_first(images.data(), &dims);
        (dims, data)
    };
    let input = Elements::F32(data);
    let mut runner = Runner::new("the ONNX file", model, vec![dims]);
    match runner.run(count, &[input])?.swap_remove(0) {
        Elements::F32(scores) => Ok(Tensor::new([count, scores.len() / count], scores)),
        Elements::I8(_) => Err(VerifyError::Mismatch("the file's scores are int8, must be float32".into())),
    }
}
