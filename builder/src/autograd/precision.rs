//! In what training multiplies.

use crate::kernels::x86::bf16::Bf16;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// In what the products of convolutions are computed in training, as far as kernels have them; all sums, and
/// everything else, are in float32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Single precision.
    #[default]
    Float32,
    /// bfloat16, by the processor's instructions (AVX-512 BF16).
    Bf16,
}

impl Precision {
    /// Whether this processor has it.
    pub fn is_available(self) -> bool {
        self == Self::Float32 || Bf16::detect().is_some()
    }

    pub(crate) fn bf16(self) -> Option<Bf16> {
        if self == Self::Bf16 { Bf16::detect() } else { None }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(if *self == Self::Bf16 { "bf16" } else { "float32" })
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "float32" => Ok(Self::Float32),
            "bf16" => Ok(Self::Bf16),
            _ => Err(format!("`{text}` is no precision: there are float32 and bf16")),
        }
    }
}
