//! The state of one model in an arena that the caller owns.

mod error;
mod self_test;
#[cfg(test)]
mod tests;

pub use error::{EngineError, InputError};
pub use self_test::SelfTestError;

use crate::arena::{self, Maps};
use crate::bounds;
use crate::format::records::{ALIGNMENT, OpCode};
use crate::kernels::load::{self, MapRow};
use crate::kernels::{self, Backend, elementwise};
use crate::model::Model;
use crate::ops::{self, Operators, conv};
use crate::rows::{self, is_slice, row_offset};
use crate::schedule::{Network, Pull, Tabled, Turn};
use crate::step::Step;

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

    /// Its bytes.
    pub const fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl<const LEN: usize> Default for Arena<LEN> {
    fn default() -> Self {
        Self::new()
    }
}

/// A class and its score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Ranked {
    /// The class's number.
    pub class: usize,
    /// Its score; [`Model::output`] says what real number that is.
    pub score: i8,
}

/// Classes with the highest scores, the highest first.
pub type TopK<const K: usize> = heapless::Vec<Ranked, K>;

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

/// What watches the steps of an engine: called with the node's number when a step begins and when it has ended.
#[cfg(feature = "profile")]
pub type Watch = fn(node: usize, moment: Moment);

/// When a [`Watch`] is called.
#[cfg(feature = "profile")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// A step begins.
    Begin,
    /// The step has ended.
    End,
}

/// A model at work: reads images, gives scores.
///
/// Scores are int8; `(score - zero_point) * scale` of [`Model::output`] gives their real values.
pub struct Engine<'m, 'a> {
    model: Model<'m>,
    program: Program,
    maps: Maps<'a>,
    scratch: &'a mut [i8],
    pull: Pull,
    /// Rows of the current image that have arrived.
    fed: usize,
    #[cfg(feature = "profile")]
    watch: Option<Watch>,
}

/// What a program can run: operators, and kernels for its convolutions. What no program names is not linked.
#[derive(Clone, Copy)]
pub struct Program {
    /// The operators.
    pub operators: &'static Operators,
    /// The kernels, which this processor must have.
    pub backend: &'static Backend,
}

impl Program {
    /// Every operator, and the fastest kernels that this processor has.
    pub fn any() -> Self {
        Self { operators: &ops::ALL, backend: kernels::best() }
    }

    /// Whether it runs a model.
    ///
    /// # Errors
    /// The first node for which it has no operator or no kernel.
    pub fn runs(&self, model: &Model<'_>) -> Result<(), EngineError> {
        for (index, node) in model.nodes().iter().enumerate() {
            if self.operators.get(node.op).is_none() {
                return Err(EngineError::NoOperator { node: index, operator: node.op });
            }
            let tensor = |index: u16| model.tensor(index.into());
            let runs = || conv::kernel(self.backend, node, tensor(node.input), tensor(node.output)).is_some();
            if node.op == OpCode::Conv as u8 && !runs() {
                return Err(EngineError::NoKernel { node: index, backend: self.backend.name });
            }
        }
        Ok(())
    }
}

impl<'m, 'a> Engine<'m, 'a> {
    /// Runs `model` in `arena`, which has at least [`Model::arena_len`] bytes at a multiple of 16, with every operator and
    /// the fastest kernels that this processor has for it.
    ///
    /// # Errors
    /// [`EngineError`] where the arena does not suit, or no kernel reads the model's weights.
    pub fn new(model: &Model<'m>, arena: &'a mut [u8]) -> Result<Self, EngineError> {
        Self::with_program(model, arena, Program::any())
    }

    /// [`new`](Self::new) with the kernels of `backend`, which must be available.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_backend(
        model: &Model<'m>,
        arena: &'a mut [u8],
        backend: &'static Backend,
    ) -> Result<Self, EngineError> {
        Self::with_program(model, arena, Program { operators: &ops::ALL, backend })
    }

    /// [`new`](Self::new) with the operators and kernels that a program names.
    ///
    /// # Errors
    /// As [`new`](Self::new), or the program lacks an operator.
    pub fn with_program(model: &Model<'m>, arena: &'a mut [u8], program: Program) -> Result<Self, EngineError> {
        let model = *model;
        program.runs(&model)?;
        if !arena.as_ptr().addr().is_multiple_of(ALIGNMENT) {
            return Err(EngineError::ArenaMisaligned);
        }
        let too_small = EngineError::ArenaTooSmall { needed: model.arena_len(), found: arena.len() };
        let arena = arena.get_mut(..model.arena_len()).ok_or(too_small)?;
        let arena = bytemuck::try_cast_slice_mut(arena).map_err(|_| too_small)?;
        let (maps, scratch) = arena::divide(arena, model.header()).ok_or(too_small)?;
        let mut engine = Self {
            model,
            program,
            maps,
            scratch,
            pull: Pull::default(),
            fed: 0,
            #[cfg(feature = "profile")]
            watch: None,
        };
        engine.begin();
        Ok(engine)
    }

    /// The model.
    pub fn model(&self) -> &Model<'m> {
        &self.model
    }

    /// The kernels that run it.
    pub fn backend(&self) -> &'static Backend {
        self.program.backend
    }

    /// Classifies an image, `[height][width][channels]` of pixels 0..=255, and returns the scores.
    pub fn run(&mut self, pixels: &[u8]) -> Result<&[i8], InputError> {
        self.run_observed(pixels, |_| {})
    }

    /// [`run`](Self::run), which shows every row that a node makes.
    pub fn run_observed(&mut self, pixels: &[u8], mut observe: impl FnMut(Made<'_>)) -> Result<&[i8], InputError> {
        self.run_pixels(pixels, &mut observe)
    }

    /// Classifies an image that is int8 already.
    pub fn run_int8(&mut self, image: &[i8]) -> Result<&[i8], InputError> {
        self.run_int8_observed(image, |_| {})
    }

    /// [`run_int8`](Self::run_int8), which shows every row that a node makes.
    pub fn run_int8_observed(&mut self, image: &[i8], mut observe: impl FnMut(Made<'_>)) -> Result<&[i8], InputError> {
        self.run_image(image, load::copy, &mut observe)
    }

    /// Takes the next row of an image, `[width][channels]` of pixels 0..=255, and runs until it needs another one.
    /// Returns whether this was the image's last row: then the scores are there, and the next row starts an image.
    pub fn feed_row(&mut self, pixels: &[u8]) -> Result<bool, InputError> {
        self.feed_row_observed(pixels, |_| {})
    }

    /// [`feed_row`](Self::feed_row), which shows every row that a node makes.
    pub fn feed_row_observed(&mut self, pixels: &[u8], mut observe: impl FnMut(Made<'_>)) -> Result<bool, InputError> {
        self.feed_pixels(pixels, &mut observe)
    }

    /// Forgets the rows of an image that has not been fed completely.
    pub fn restart(&mut self) {
        self.begin();
    }

    /// The scores of the last image that was completed, one for each class.
    pub fn scores(&self) -> &[i8] {
        self.maps.bytes(self.model.output().offset as usize, self.model.class_count())
    }

    /// The `K` classes with the highest scores, the highest first, fewer if the model has fewer classes; of equal scores the
    /// first class comes first.
    pub fn top_k<const K: usize>(&self) -> TopK<K> {
        let mut best = TopK::new();
        for (class, &score) in self.scores().iter().enumerate() {
            let mut place = Ranked { class, score };
            for next in best.iter_mut().filter(|next| next.score < score) {
                core::mem::swap(next, &mut place);
            }
            // Where there is no room left, the lowest is dropped.
            let _ = best.push(place);
        }
        best
    }

    /// The probability of each class: the softmax of the real scores. As many as `probabilities` holds, in the order of the
    /// classes; the others count in the sum. The exponential is [`micromath`]'s, for cores without floating point: a
    /// probability is within 0.01 of the true one.
    #[cfg(feature = "probabilities")]
    pub fn probabilities(&self, probabilities: &mut [f32]) {
        let scale = self.model.output().scale;
        let best = self.scores().iter().copied().max().unwrap_or(0);
        let power = |score: i8| micromath::F32(f32::from(i16::from(score) - i16::from(best)) * scale).exp().0;
        let sum: f32 = self.scores().iter().map(|&score| power(score)).sum();
        for (probability, &score) in probabilities.iter_mut().zip(self.scores()) {
            *probability = power(score) / sum;
        }
    }

    /// Has `watch` called around every step from now on, to measure what each layer takes.
    #[cfg(feature = "profile")]
    pub fn watch_steps(&mut self, watch: Watch) {
        self.watch = Some(watch);
    }

    /// One function for every observer.
    #[inline(never)]
    fn run_pixels(&mut self, pixels: &[u8], observe: &mut dyn FnMut(Made<'_>)) -> Result<&[i8], InputError> {
        let requant = self.model.pixel_requant();
        self.run_image(pixels, |row, out| elementwise::quantize(row, requant, out), observe)
    }

    #[inline(never)]
    fn feed_pixels(&mut self, pixels: &[u8], observe: &mut dyn FnMut(Made<'_>)) -> Result<bool, InputError> {
        let input = self.model.input();
        let expected = usize::from(input.width) * usize::from(input.channels);
        if pixels.len() != expected {
            return Err(InputError { expected, found: pixels.len() });
        }
        if self.fed == usize::from(input.height) {
            self.begin();
        }
        // Steps that need no row of the image come before its first.
        if self.advance(observe) == Turn::NeedsInputRow {
            let requant = self.model.pixel_requant();
            self.take_row(pixels, |row, out| elementwise::quantize(row, requant, out));
            self.advance(observe);
        } else {
            // All steps are done without the image's last rows, and their place may hold something else.
            self.fed += 1;
        }
        Ok(self.fed == usize::from(input.height))
    }

    fn run_image<P>(
        &mut self,
        image: &[P],
        convert: impl Fn(&[P], &mut [i8]),
        observe: &mut dyn FnMut(Made<'_>),
    ) -> Result<&[i8], InputError> {
        let input = self.model.input();
        let row_len = usize::from(input.width) * usize::from(input.channels);
        let expected = row_len * usize::from(input.height);
        if image.len() != expected {
            return Err(InputError { expected, found: image.len() });
        }
        self.begin();
        for row in bounds::pixels(image, row_len) {
            if self.advance(observe) != Turn::NeedsInputRow {
                break;
            }
            self.take_row(row, &convert);
        }
        self.advance(observe);
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
        if !is_slice(input) {
            convert(row, self.maps.dense_row_mut(input, self.fed));
        } else {
            let start = row_offset(input, self.fed);
            for (x, pixel) in bounds::pixels(row, channels).take(width).enumerate() {
                convert(pixel, self.maps.bytes_mut(start + x * usize::from(input.pixel_stride), channels));
            }
        }
        self.fed += 1;
    }

    /// Runs all steps up to the next row of the image or the end.
    fn advance(&mut self, observe: &mut dyn FnMut(Made<'_>)) -> Turn {
        let running = Tabled { model: self.model, table: self.program.operators };
        loop {
            let (node, step) = match self.pull.next(&running, &mut self.maps, self.fed) {
                Turn::Step { node, step } => (node, step),
                turn => return turn,
            };
            let index = node;
            let node = self.model.node(index);
            let Some(operator) = self.program.operators.get(node.op) else { return Turn::Done };
            let (input, output) = (self.model.tensor(node.input.into()), self.model.tensor(node.output.into()));
            let at = Step { model: &self.model, backend: self.program.backend, node, input, output, step };
            #[cfg(feature = "profile")]
            if let Some(watch) = self.watch {
                watch(index, Moment::Begin);
            }
            (operator.step)(&at, &mut self.maps, self.scratch);
            #[cfg(feature = "profile")]
            if let Some(watch) = self.watch {
                watch(index, Moment::End);
            }
            if rows::is_view(node) {
                continue;
            }
            let made = |steps| self.program.operators.rows_made(node, input, output, steps);
            for row in made(step)..made(step + 1) {
                observe(Made { node: index, row, values: self.maps.row(output, row) });
            }
        }
    }
}
