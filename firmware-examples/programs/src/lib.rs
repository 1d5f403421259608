//! What the programs do on any board: [`classify`] images, [`selftest`] the model, [`bench`] its layers. A board says by
//! [`Board`] how it talks; [`program!`] makes a program of the two and of the model that its build script has embedded.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "bench")]
mod bench;
mod classify;
mod selftest;

#[cfg(feature = "bench")]
pub use bench::{Layers, bench, count};
pub use classify::classify;
pub use selftest::selftest;
pub use skipstone_runtime as runtime;

use lines::Sink;
use skipstone_runtime::format::checksum::Crc32;
use skipstone_runtime::{Engine, LoadError, Model, Program};

/// A board, with what of it the programs use.
pub trait Board {
    /// Where lines go.
    type Log: Sink;

    /// What [`counted`](Self::counted) counts, and a blank: `"cycles "`.
    const COUNTS: &'static str;

    /// The log.
    fn log(&mut self) -> &mut Self::Log;

    /// Ticks of the counter since the start of the program.
    fn ticks() -> u64;

    /// What so many ticks count.
    fn counted(ticks: u64) -> u64 {
        ticks
    }

    /// Begins to measure the stack.
    fn paint_stack(&mut self) {}

    /// The deepest stack since [`paint_stack`](Self::paint_stack), in bytes; 0 where it is not measured.
    fn stack(&self) -> usize {
        0
    }

    /// Shows the class of an image, whose name the model knows, to people: on LEDs, on the serial port.
    fn show(&mut self, _class: usize, _model: &Model<'_>) {}

    /// Waits for an image, `[height][width][channels]` of pixels 0..=255, that a sensor or a serial port delivers.
    /// Returns whether it is there; a board without an input has none.
    fn receive(&mut self, _image: &mut [u8]) -> bool {
        false
    }

    /// Ends the program.
    fn end(&mut self, success: bool) -> !;
}

/// Makes a model of the bytes of a packed one.
pub type Load = fn(&'static [u8]) -> Result<Model<'static>, LoadError>;

/// What the build has put into the program, and its memory.
pub struct Firmware {
    /// The packed model.
    pub stone: &'static [u8],
    /// Makes a model of it.
    pub load: Load,
    /// Operators and kernels.
    pub program: Program,
    /// An image by its number: those that the program was built with, or else those of the model's test vectors.
    pub image: fn(&Model<'static>, usize) -> Option<&'static [u8]>,
    /// Memory for the engine.
    pub arena: &'static mut [u8],
    /// A checksum for each node.
    pub layers: &'static mut [Crc32],
    /// An image that is received; empty where the board receives none.
    pub received: &'static mut [u8],
}

/// Loads the model and makes its engine, or ends the program.
fn engine<'a, B: Board>(
    board: &mut B,
    (stone, load): (&'static [u8], Load),
    arena: &'a mut [u8],
    program: Program,
) -> Engine<'static, 'a> {
    let model = load(stone).unwrap_or_else(|error| {
        lines::load_error(&error, board.log());
        board.end(false)
    });
    Engine::with_program(&model, arena, program).unwrap_or_else(|error| {
        lines::engine_error(&error, board.log());
        board.end(false)
    })
}

fn fail(board: &mut impl Board, why: &str) -> ! {
    let log = board.log();
    log.text("error ");
    log.text(why);
    log.text("\n");
    board.end(false)
}

/// The program `classify` or `selftest`, with the model that `embed` has put into the build's output, for the board that `start` gives: `program!(classify, board::start)`. With `receives`, there is memory for an
/// image from outside. `program!(bench, board::start, board::Type)`.
#[macro_export]
macro_rules! program {
    (@main $program:ident, $start:path, $received:expr, { $($bench:tt)* }) => {
        include!(concat!(env!("OUT_DIR"), "/model.rs"));

        #[cortex_m_rt::entry]
        fn main() -> ! {
            static mut ARENA: $crate::runtime::Arena<ARENA_LEN> = $crate::runtime::Arena::new();
            static mut LAYERS: [$crate::runtime::format::checksum::Crc32; NODES] =
                [const { $crate::runtime::format::checksum::Crc32::new() }; NODES];
            static mut RECEIVED: [u8; $received] = [0; $received];
            let firmware = $crate::Firmware {
                stone: STONE,
                load,
                program: PROGRAM,
                image,
                arena: ARENA.as_mut_slice(),
                layers: LAYERS,
                received: RECEIVED,
            };
            $crate::$program($start(), firmware $($bench)*)
        }
    };
    (bench, $start:path, $board:ty) => {
        static TICKS: $crate::Layers<NODES> = $crate::Layers::new();

        fn count(node: usize, moment: $crate::runtime::Moment) {
            $crate::count::<$board>(&TICKS.0, node, moment);
        }

        $crate::program!(@main bench, $start, 0, { , &TICKS.0, count });
    };
    ($program:ident, $start:path) => {
        $crate::program!(@main $program, $start, 0, {});
    };
    ($program:ident, $start:path, receives) => {
        $crate::program!(@main $program, $start, IMAGE_LEN, {});
    };
}
