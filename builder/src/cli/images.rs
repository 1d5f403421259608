//! The images that a command works on.

use super::console::Console;
use super::failure::Failure;
use crate::data::{self, Dataset, Options, Spec, Split};
use skipstone_onnx::Preprocessing;

/// How strictly images are loaded.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(super) struct Images {
    /// Fail on files of an image folder that cannot be read and on images smaller than the network's input, instead of
    /// skipping the former and enlarging the latter.
    #[arg(long)]
    strict: bool,
}

impl Images {
    /// The images of `spec`, those of a folder at `dims`, made as `preprocessing` says; says what was left out or
    /// enlarged.
    pub(super) fn load(
        self,
        spec: &Spec,
        default: Split,
        dims: [usize; 3],
        preprocessing: &Preprocessing,
        console: &Console,
    ) -> Result<Dataset, Failure> {
        let options = Options { dims: Some(dims), preprocessing: *preprocessing, strict: self.strict };
        let (set, notes) = data::load_with(spec, default, &options)?;
        notes.lines().into_iter().for_each(|line| console.say(line));
        Ok(set)
    }
}
