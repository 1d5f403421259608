//! ONNX models run by tract.

use super::VerifyError;
use super::elements::Elements;
use skipstone_onnx::proto::ModelProto;
use std::sync::Arc;
use tract_onnx::prelude::*;

/// A model, prepared for inputs of fixed dimensions.
pub(super) struct Reference {
    what: String,
    inputs: Vec<Vec<usize>>,
    plan: Arc<TypedRunnableModel>,
}

impl Reference {
    /// Prepares `model`, which errors call `what`, for inputs of the given dimensions, batch included.
    ///
    /// The model is run in tract's typed form: its optimized one gave wrong results on some QDQ files.
    pub(super) fn new(what: &str, model: &ModelProto, inputs: &[Vec<usize>]) -> Result<Self, VerifyError> {
        let plan = prepare(model, inputs).map_err(|error| failure(what, &error))?;
        Ok(Self { what: what.into(), inputs: inputs.to_vec(), plan })
    }

    /// The outputs for inputs of the dimensions that the model was prepared for.
    pub(super) fn run(&self, inputs: &[Elements]) -> Result<Vec<Elements>, VerifyError> {
        self.try_run(inputs).map_err(|error| failure(&self.what, &error))
    }

    fn try_run(&self, inputs: &[Elements]) -> TractResult<Vec<Elements>> {
        let inputs = inputs
            .iter()
            .zip(&self.inputs)
            .map(|(elements, dims)| {
                let tensor = match elements {
                    Elements::F32(data) => Tensor::from_shape(dims, data)?,
                    Elements::I8(data) => Tensor::from_shape(dims, data)?,
                };
                Ok(tensor.into_tvalue())
            })
            .collect::<TractResult<TVec<TValue>>>()?;
        let outputs = self.plan.run(inputs)?;
        outputs
            .iter()
            .map(|output| {
                let view = output.try_as_plain_ram()?;
                Ok(match output.datum_type() {
                    DatumType::I8 => Elements::I8(view.as_slice::<i8>()?.to_vec()),
                    // As int8 of the same real values, whose zero point is 128 less.
                    DatumType::U8 => {
                        Elements::I8(view.as_slice::<u8>()?.iter().map(|&q| q.wrapping_sub(128) as i8).collect())
                    }
                    _ => Elements::F32(view.as_slice::<f32>()?.to_vec()),
                })
            })
            .collect()
    }
}

fn prepare(model: &ModelProto, inputs: &[Vec<usize>]) -> TractResult<Arc<TypedRunnableModel>> {
    let mut model = tract_onnx::onnx()
        .with_ignore_value_info(true)
        .with_ignore_output_shapes(true)
        .model_for_read(&mut model.to_bytes().as_slice())?;
    for (index, dims) in inputs.iter().enumerate() {
        let fact = model.input_fact(index)?.clone();
        model.set_input_fact(index, fact.with_shape(dims))?;
    }
    model.into_typed()?.into_runnable()
}

fn failure(what: &str, error: &TractError) -> VerifyError {
    // Causes, outermost first, in one line.
    let causes: Vec<String> = error.chain().map(|cause| cause.to_string().replace('\n', " ")).collect();
    VerifyError::Tract { what: what.into(), reason: causes.join(": ") }
}
