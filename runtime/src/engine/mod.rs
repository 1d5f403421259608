//! The state of one model in an arena that the caller owns.

mod steps;
mod store;
#[cfg(test)]
mod tests;

use crate::format::records::{ALIGNMENT, OpCode};
use crate::kernels::pad::{self, MapRow};
use crate::kernels::{self, Backend, elementwise};
use crate::model::Model;
use crate::schedule::{Pull, Turn};
use core::fmt;
use steps::Step;
use store::Maps;

/// Memory for an [`Engine`], aligned as it has to be.
#[derive(Clone, Debug)]
#[repr(C, align(16))]
pub struct Arena<const LEN: usize>(
    /// The bytes.
    pub [u8; LEN],
);

impl<const LEN: usize> Arena<LEN> {
    /// An arena of zeros.
    pub const fn new() -> Self {
        Self([0; LEN])
    }
}

impl<const LEN: usize> Default for Arena<LEN> {
    fn default() -> Self {
        Self::new()
    }
}

/// Why a model cannot run here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineError {
    /// The arena is shorter than the model needs.
    ArenaTooSmall {
        /// Bytes that the model needs.
        needed: usize,
        /// Bytes that the arena has.
        found: usize,
    },
    /// The arena does not start at a multiple of 16.
    ArenaMisaligned,
    /// The weights of a node are laid out for kernels that the backend does not have.
    NoKernel {
        /// The node.
        node: usize,
        /// The backend's name.
        backend: &'static str,
    },
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ArenaTooSmall { needed, found } => {
                write!(f, "the arena has {found} bytes, the model needs {needed}")
            }
            Self::ArenaMisaligned => f.write_str("the arena does not start at a multiple of 16: use Arena"),
            Self::NoKernel { node, backend } => write!(
                f,
                "the weights of node {node} are laid out for another processor, not for {backend}: pack the model for \
                 this target"
            ),
        }
    }
}

impl core::error::Error for EngineError {}

/// An image, or a row of one, has another length than the model's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputError {
    /// Bytes of an image or a row.
    pub expected: usize,
    /// Bytes that were given.
    pub found: usize,
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the input has {} bytes where the model takes {}", self.found, self.expected)
    }
}

impl core::error::Error for InputError {}

/// A row that a node has made. A view makes none: its rows are those of its operands, side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Made<'r> {
    /// The node.
    pub node: usize,
    /// The row of its output.
    pub row: usize,
    /// Its pixels, where they lie.
    pub values: MapRow<'r>,
}

/// A model at work: reads images, gives scores.
///
/// Scores are int8; `(score - zero_point) * scale` of [`Model::output`] gives their real values.
pub struct Engine<'m, 'a> {
    model: Model<'m>,
    backend: &'static Backend,
    maps: Maps<'a>,
    scratch: &'a mut [i8],
    pull: Pull,
    /// Rows of the current image that have arrived.
    fed: usize,
}

impl<'m, 'a> Engine<'m, 'a> {
    /// Runs `model` in `arena` by the fastest kernels that this processor has.
    pub fn new(model: &Model<'m>, arena: &'a mut [u8]) -> Result<Self, EngineError> {
        Self::with_backend(model, arena, kernels::best())
    }

    /// Runs `model` in `arena` by the kernels of `backend`, which must be available.
    pub fn with_backend(
        model: &Model<'m>,
        arena: &'a mut [u8],
        backend: &'static Backend,
    ) -> Result<Self, EngineError> {
        let model = *model;
        for (index, node) in model.nodes().iter().enumerate() {
            let is_conv = OpCode::from_code(node.op) == Some(OpCode::Conv);
            if is_conv && steps::readable_kind(&node, backend).is_none() {
                return Err(EngineError::NoKernel { node: index, backend: backend.name });
            }
        }
        if !arena.as_ptr().addr().is_multiple_of(ALIGNMENT) {
            return Err(EngineError::ArenaMisaligned);
        }
        let too_small = EngineError::ArenaTooSmall { needed: model.arena_len(), found: arena.len() };
        let arena = arena.get_mut(..model.arena_len()).ok_or(too_small)?;
        let arena = bytemuck::try_cast_slice_mut(arena).map_err(|_| too_small)?;
        let (maps, scratch) = store::divide(arena, model.header()).ok_or(too_small)?;
        let mut engine = Self { model, backend, maps, scratch, pull: Pull::default(), fed: 0 };
        engine.begin();
        Ok(engine)
    }

    /// The model.
    pub fn model(&self) -> &Model<'m> {
        &self.model
    }

    /// The kernels that run it.
    pub fn backend(&self) -> &'static Backend {
        self.backend
    }

    /// Classifies an image, `[height][width][channels]` of pixels 0..=255, and returns the scores.
    pub fn run(&mut self, pixels: &[u8]) -> Result<&[i8], InputError> {
        self.run_observed(pixels, |_| {})
    }

    /// [`run`](Self::run), which shows every row that a node makes.
    pub fn run_observed(&mut self, pixels: &[u8], observe: impl FnMut(Made<'_>)) -> Result<&[i8], InputError> {
        let requant = self.model.pixel_requant();
        self.run_image(pixels, |row, out| elementwise::quantize(row, requant, out), observe)
    }

    /// Classifies an image that is int8 already.
    pub fn run_int8(&mut self, image: &[i8]) -> Result<&[i8], InputError> {
        self.run_int8_observed(image, |_| {})
    }

    /// [`run_int8`](Self::run_int8), which shows every row that a node makes.
    pub fn run_int8_observed(&mut self, image: &[i8], observe: impl FnMut(Made<'_>)) -> Result<&[i8], InputError> {
        self.run_image(image, pad::copy, observe)
    }

    /// Takes the next row of an image, `[width][channels]` of pixels 0..=255, and runs until it needs another one.
    /// Returns whether this was the image's last row: then the scores are there, and the next row starts an image.
    pub fn feed_row(&mut self, pixels: &[u8]) -> Result<bool, InputError> {
        self.feed_row_observed(pixels, |_| {})
    }

    /// [`feed_row`](Self::feed_row), which shows every row that a node makes.
    pub fn feed_row_observed(&mut self, pixels: &[u8], mut observe: impl FnMut(Made<'_>)) -> Result<bool, InputError> {
        let input = self.model.input();
        let expected = usize::from(input.width) * usize::from(input.channels);
        if pixels.len() != expected {
            return Err(InputError { expected, found: pixels.len() });
        }
        if self.fed == usize::from(input.height) {
            self.begin();
        }
        // Steps that need no row of the image come before its first.
        if self.advance(&mut observe) == Turn::NeedsInputRow {
            let requant = self.model.pixel_requant();
            self.take_row(pixels, |row, out| elementwise::quantize(row, requant, out));
            self.advance(&mut observe);
        } else {
            // All steps are done without the image's last rows, and their place may hold something else.
            self.fed += 1;
        }
        Ok(self.fed == usize::from(input.height))
    }

    /// Forgets the rows of an image that has not been fed completely.
    pub fn restart(&mut self) {
        self.begin();
    }

    /// The scores of the last image that was completed, one for each class.
    pub fn scores(&self) -> &[i8] {
        self.maps.bytes(self.model.output().offset as usize, self.model.class_count())
    }

    /// The classes with the highest scores and those scores, the highest first, as many as `best` holds; of equal
    /// scores the first class comes first. Returns how many there are.
    pub fn top_k(&self, best: &mut [(usize, i8)]) -> usize {
        let mut count = 0;
        for (class, &score) in self.scores().iter().enumerate() {
            let rank = best.iter().take(count).filter(|(_, other)| *other >= score).count();
            let Some(below) = best.get_mut(rank..).filter(|below| !below.is_empty()) else { continue };
            let mut place = (class, score);
            for next in below {
                core::mem::swap(next, &mut place);
            }
            count = best.len().min(count + 1);
        }
        count
    }

    fn run_image<P>(
        &mut self,
        image: &[P],
        convert: impl Fn(&[P], &mut [i8]),
        mut observe: impl FnMut(Made<'_>),
    ) -> Result<&[i8], InputError> {
        let input = self.model.input();
        let row_len = usize::from(input.width) * usize::from(input.channels);
        let expected = row_len * usize::from(input.height);
        if image.len() != expected {
            return Err(InputError { expected, found: image.len() });
        }
        self.begin();
        for row in image.chunks(row_len.max(1)) {
            if self.advance(&mut observe) != Turn::NeedsInputRow {
                break;
            }
            self.take_row(row, &convert);
        }
        self.advance(&mut observe);
        self.fed = input.height.into();
        Ok(self.scores())
    }

    fn begin(&mut self) {
        self.pull = Pull::default();
        self.fed = 0;
        self.maps.reset_counters(self.model.header().node_count.into());
    }

    /// Writes the next row of the image into its ring.
    fn take_row<P>(&mut self, row: &[P], convert: impl Fn(&[P], &mut [i8])) {
        let input = self.model.input();
        let (width, channels) = (usize::from(input.width), usize::from(input.channels));
        if input.pixel_stride == input.channels {
            convert(row, self.maps.dense_row_mut(&input, self.fed));
        } else {
            let start = crate::geometry::row_offset(&input, self.fed);
            for (x, pixel) in row.chunks(channels.max(1)).take(width).enumerate() {
                convert(pixel, self.maps.bytes_mut(start + x * usize::from(input.pixel_stride), channels));
            }
        }
        self.fed += 1;
    }

    /// Runs all steps up to the next row of the image or the end.
    fn advance(&mut self, observe: &mut impl FnMut(Made<'_>)) -> Turn {
        loop {
            match self.pull.next(&self.model, &mut self.maps, self.fed) {
                Turn::Step { node, step } => {
                    Step::new(&self.model, self.backend, node, step).run(&mut self.maps, self.scratch, observe);
                }
                turn => return turn,
            }
        }
    }
}
