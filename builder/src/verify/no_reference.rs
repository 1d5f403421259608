//! Stands for tract in programs built without it.

use super::VerifyError;
use super::elements::Elements;
use skipstone_onnx::proto::ModelProto;

/// A model that cannot be run.
pub(super) enum Reference {}

impl Reference {
    pub(super) fn new(_what: &str, _model: &ModelProto, _inputs: &[Vec<usize>]) -> Result<Self, VerifyError> {
        Err(VerifyError::WithoutTract)
    }

    pub(super) fn run(&self, _inputs: &[Elements]) -> Result<Vec<Elements>, VerifyError> {
        match *self {}
    }
}
