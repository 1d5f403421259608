//! Why a quantized network cannot be packed.

use super::choice::Misfit;
use crate::plan::PlanError;
use crate::quant::QuantError;
use skipstone_runtime::format::LoadError;

/// A network that does not fit the packed format. Nothing has been written.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The network cannot be quantized.
    #[error(transparent)]
    Quant(#[from] QuantError),
    /// The network has no memory plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A number that is too large for its field.
    #[error("`{name}`: {what} is {value}, a packed model holds at most {most}")]
    TooLarge {
        /// The tensor or node, or `model`.
        name: String,
        /// The number's meaning.
        what: &'static str,
        /// The number.
        value: usize,
        /// The largest that fits.
        most: usize,
    },
    /// Class names that are not those of the scores.
    #[error("the network has {scores} scores and {names} class names")]
    ClassNames {
        /// Number of scores.
        scores: usize,
        /// Number of names.
        names: usize,
    },
    /// No choice of kernels fits the memories.
    #[error("no set of kernels fits: {}", missing(.misfit, .peak))]
    Misfit {
        /// What the smallest choices take.
        misfit: Box<Misfit>,
        /// The layer and the tensor that set the smallest arena's peak.
        peak: [String; 2],
    },
    /// The runtime refuses what was packed.
    #[error("the runtime refuses the packed model: {0}")]
    Refused(LoadError),
}

/// What is missing, in bytes.
fn missing(misfit: &Misfit, [layer, tensor]: &[String; 2]) -> String {
    let Misfit { limits, least_flash, least_ram, .. } = misfit;
    let [flash, ram] = [least_flash.left(*limits).flash_spare, least_ram.left(*limits).ram_spare];
    let mut missing = Vec::new();
    if flash < 0 {
        missing.push(format!(
            "{} bytes of flash are missing (there are {}; the smallest model takes {}, its program about {})",
            -flash,
            limits.flash,
            least_flash.model_bytes,
            least_flash.program_bytes + u64::from(limits.support.flash)
        ));
    }
    if ram < 0 {
        missing.push(format!(
            "{} bytes of RAM are missing (there are {}; the smallest arena takes {}, stack and variables about {}; \
             its peak is in layer `{layer}`, where `{tensor}` takes the most)",
            -ram,
            limits.ram,
            least_ram.arena_bytes,
            limits.stack_and_variables()
        ));
    }
    if missing.is_empty() {
        missing.push(format!(
            "the kernels with the least flash lack {} bytes of RAM, those with the smallest arena {} bytes of flash",
            -least_flash.left(*limits).ram_spare,
            -least_ram.left(*limits).flash_spare
        ));
    }
    missing.join("; ")
}
