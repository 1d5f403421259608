//! The images that a command works on.

use super::console::Console;
use super::failure::Failure;
use crate::data::{self, ImageSet, Options, Spec, Split};
use bytesize::ByteSize;
use skipstone_onnx::Preprocessing;

/// Decoded pixels that are kept in memory where no other size is asked for.
pub(super) const CACHE: ByteSize = ByteSize::gib(1);

/// How strictly images are loaded.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(super) struct Images {
    /// Fail on unreadable files of an image folder and on images smaller than the network's input, instead of skipping
    /// and enlarging them.
    #[arg(long)]
    strict: bool,
}

impl Images {
    /// The images of `spec`, those of a folder at `dims`, made as `preprocessing` says; says what was left out or
    /// enlarged. At most [`CACHE`] is kept in memory.
    pub(super) fn load(
        self,
        spec: &Spec,
        default: Split,
        dims: [usize; 3],
        preprocessing: &Preprocessing,
        console: &Console,
    ) -> Result<ImageSet, Failure> {
        self.open(spec, default, dims, preprocessing, CACHE, console)
    }

    /// As [`load`](Self::load), with at most `cache` in memory.
    pub(super) fn open(
        self,
        spec: &Spec,
        default: Split,
        dims: [usize; 3],
        preprocessing: &Preprocessing,
        cache: ByteSize,
        console: &Console,
    ) -> Result<ImageSet, Failure> {
        let options = Options { dims: Some(dims), preprocessing: *preprocessing, strict: self.strict };
        let cache = usize::try_from(cache.as_u64()).unwrap_or(usize::MAX);
        let bar = console.bar("reading", 0, "files");
        let opened = data::open(spec, default, &options, cache, &mut |seen, all| {
            bar.set_length(all as u64);
            bar.set_position(seen as u64);
        });
        bar.finish_and_clear();
        let (set, notes) = opened?;
        notes.lines().into_iter().for_each(|line| console.say(line));
        Ok(set)
    }
}
