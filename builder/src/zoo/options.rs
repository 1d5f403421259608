//! What may be chosen about an architecture.

use super::ZooError;
use super::blocks::MaskActivation;
use super::choice::Choice;

/// What an architecture is built for; what is not given is as published.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// Number of classes.
    pub classes: Option<usize>,
    /// Channels, height, width of the image.
    pub input: Option<[usize; 3]>,
    /// Seed of the initial weights.
    pub seed: u64,
    /// [`Choice::Dropout`]: the rate after every convolution but the first. The paper has 0.2, and only where images
    /// are not augmented.
    pub dropout: f32,
    /// [`Choice::StochasticDepth`]: the rate at the last block; it rises linearly from 0 at the first.
    pub stochastic_depth: f32,
    /// [`Choice::ZeroGamma`]: each block starts as its shortcut.
    pub zero_gamma: bool,
    /// [`Choice::NaiveAttention`]: modules give `mask * trunk`, not `(1 + mask) * trunk`.
    pub naive_attention: bool,
    /// [`Choice::MaskActivation`]: what makes the masks.
    pub mask_activation: MaskActivation,
}

impl Options {
    /// Checks that only `choices` are made, with possible rates.
    pub(super) fn check(&self, arch: &'static str, choices: &[Choice]) -> Result<(), ZooError> {
        for (choice, rate) in [(Choice::Dropout, self.dropout), (Choice::StochasticDepth, self.stochastic_depth)] {
            if !(0.0..1.0).contains(&rate) {
                return Err(ZooError::Rate { choice, rate });
            }
        }
        let made = [
            (Choice::Dropout, self.dropout > 0.0),
            (Choice::StochasticDepth, self.stochastic_depth > 0.0),
            (Choice::ZeroGamma, self.zero_gamma),
            (Choice::NaiveAttention, self.naive_attention),
            (Choice::MaskActivation, self.mask_activation != MaskActivation::default()),
        ];
        match made.into_iter().find(|&(choice, made)| made && !choices.contains(&choice)) {
            Some((choice, _)) => Err(ZooError::Choice { arch, choice }),
            None => Ok(()),
        }
    }
}
