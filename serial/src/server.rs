//! What a board does with requests.

use crate::link::{Closed, Link, Talk};
use crate::machine::{self, Machine};
use crate::message::{Board, Refusal, Reply, Request, Room, Status, VERSION, Want};
use embedded_io::{Read, Write};
use skipstone_runtime::format::checksum::Crc32;
use skipstone_runtime::{Engine, Model};

/// Where a board's model lies.
pub trait Store {
    /// The bytes of the model, which has been [judged](Machine::judge); `None` if there is none.
    fn stone(&self) -> Option<&[u8]>;

    /// Bytes that a new model may have; `None` if there are no updates.
    fn room(&self) -> Option<u32> {
        None
    }

    /// What the slots hold; `None` if there are no updates.
    fn status(&mut self) -> Option<Status> {
        None
    }

    /// Makes room for a new model of `len` bytes with this checksum.
    ///
    /// # Errors
    /// [`Refusal`], as those of the methods below.
    fn begin(&mut self, len: u32, checksum: u32) -> Result<(), Refusal> {
        let _ = (len, checksum);
        Err(Refusal::NoUpdates)
    }

    /// Takes the next bytes of the new model.
    ///
    /// # Errors
    /// They do not follow the last ones, or the flash fails.
    fn write(&mut self, offset: u32, data: &[u8]) -> Result<(), Refusal> {
        let _ = (offset, data);
        Err(Refusal::NoUpdates)
    }

    /// Judges the new model, switches to it, and gives its checksum.
    ///
    /// # Errors
    /// What is wrong with it; then the old one stays.
    fn finish(&mut self, machine: &mut Machine<'_>) -> Result<u32, Refusal> {
        let _ = machine;
        Err(Refusal::NoUpdates)
    }
}

/// A model that is a part of the program, whose build has checked it.
#[derive(Clone, Copy, Debug)]
pub struct Fixed<'m>(
    /// Its bytes.
    pub &'m [u8],
);

impl Store for Fixed<'_> {
    fn stone(&self) -> Option<&[u8]> {
        Some(self.0)
    }
}

/// Bytes of a board's name for which every frame has room.
const LONGEST_NAME: usize = 40;

/// What has happened, for a display or a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// An image was classified.
    Classified {
        /// The class with the highest score.
        class: usize,
    },
    /// There is a new model.
    Switched {
        /// Its checksum.
        checksum: u32,
    },
}

/// A board's program: a name, a model, and what it runs with.
pub struct Server<'a, S> {
    name: &'a str,
    store: S,
    machine: Machine<'a>,
}

impl<'a, S: Store> Server<'a, S> {
    /// A program on the board `name` that runs the model of `store` on `machine`.
    pub fn new(name: &'a str, store: S, machine: Machine<'a>) -> Self {
        Self { name, store, machine }
    }

    /// Answers requests until the line ends, which that of a UART never does; `watch` is told what happens.
    pub fn serve<P: Read + Write, const FRAME: usize>(
        &mut self,
        link: &mut Link<P, FRAME>,
        mut watch: impl FnMut(Event),
    ) -> Closed {
        loop {
            if let Err(closed) = self.answer(link, &mut watch) {
                return closed;
            }
        }
    }

    fn answer<P: Read + Write, const FRAME: usize>(
        &mut self,
        link: &mut Link<P, FRAME>,
        watch: &mut dyn FnMut(Event),
    ) -> Result<(), Closed> {
        let (request, talk) = link.request()?;
        let reply = match request {
            Request::Hello { .. } => Ok(Reply::Hello(self.board(talk.block()))),
            Request::Image { want } => return self.image(want, link, watch),
            Request::Status => self.store.status().map(Reply::Status).ok_or(Refusal::NoUpdates),
            Request::Begin(header) => self.begin(header).map(|()| Reply::More),
            Request::Block { offset, data } => self.store.write(offset, data).map(|()| Reply::More),
            Request::End => self.store.finish(&mut self.machine).map(|checksum| {
                watch(Event::Switched { checksum });
                Reply::Switched { checksum }
            }),
            Request::Pixels(_) | Request::Next => Err(Refusal::OutOfOrder),
        };
        talk.reply(&reply.unwrap_or_else(Reply::Refused));
        Ok(())
    }

    fn board(&self, block: usize) -> Board<'_> {
        let arena = self.machine.arena.len() as u32;
        Board {
            version: VERSION,
            name: self.name.get(..LONGEST_NAME).unwrap_or(self.name),
            block: block.min(u16::MAX.into()) as u16,
            model: self.store.stone().and_then(machine::identity),
            updates: self.store.room().map(|model| Room { model, arena }),
        }
    }

    /// Refuses a model that cannot fit, before it is sent.
    fn begin(&mut self, header: &[u8]) -> Result<(), Refusal> {
        let room = self.store.room().ok_or(Refusal::NoUpdates)?;
        let header = machine::header(header)?;
        if header.file_len > room {
            return Err(Refusal::TooLarge { needed: header.file_len, room });
        }
        let arena = self.machine.arena.len() as u32;
        if header.arena_len > arena {
            return Err(Refusal::Arena { needed: header.arena_len, room: arena });
        }
        self.store.begin(header.file_len, header.checksum)
    }

    /// Takes an image and tells what the model makes of it.
    fn image<P: Read + Write, const FRAME: usize>(
        &mut self,
        want: Want,
        link: &mut Link<P, FRAME>,
        watch: &mut dyn FnMut(Event),
    ) -> Result<(), Closed> {
        let Machine { arena, sums, program } = &mut self.machine;
        let stone = self.store.stone().ok_or(Refusal::NoModel);
        let loaded = stone.and_then(|stone| Ok(Model::from_checked(stone)?));
        let engine = loaded.and_then(|model| Ok(Engine::with_program(&model, arena, *program)?));
        let most = sums.len() as u16;
        let sums = match &engine {
            Ok(engine) if want == Want::Checksums => sums.get_mut(..engine.model().nodes().len()),
            _ => Some(&mut [][..]),
        };
        let (mut engine, sums) = match (engine, sums) {
            (Ok(engine), Some(sums)) => (engine, sums),
            (Ok(_), None) => {
                link.reply(&Reply::Refused(Refusal::TooManyNodes { most }));
                return Ok(());
            }
            (Err(refusal), _) => {
                link.reply(&Reply::Refused(refusal));
                return Ok(());
            }
        };
        sums.fill(Crc32::new());
        link.reply(&Reply::More);
        loop {
            // Any other request ends the image; without an answer it comes again.
            let (Request::Pixels(pixels), talk) = link.request()? else { return Ok(()) };
            let fed = feed(&mut engine, pixels, want, sums, talk)?;
            match fed {
                Fed::Wrong => {
                    talk.reply(&Reply::Refused(Refusal::Pixels));
                    return Ok(());
                }
                Fed::Abandoned => return Ok(()),
                Fed::Part if talk.piece(&Reply::More)? => {}
                Fed::Part => return Ok(()),
                Fed::Whole => {
                    watch(Event::Classified { class: engine.top_k::<1>().first().map_or(0, |best| best.class) });
                    let scores = engine.scores().iter().map(|&score| score as u8);
                    if talk.pieces(scores, |data| Reply::Scores(data))? {
                        talk.pieces(sums.iter().flat_map(|sum| sum.value().to_le_bytes()), |data| {
                            Reply::Checksums(data)
                        })?;
                    }
                    return Ok(());
                }
            }
        }
    }
}

/// How far an image has come.
enum Fed {
    /// Rows are missing.
    Part,
    /// The scores are there.
    Whole,
    /// The pixels are no whole rows.
    Wrong,
    /// The host has gone on to something else.
    Abandoned,
}

/// Feeds rows of an image, and tells the rows that nodes make of them if they are wanted.
fn feed<P: Read + Write, const FRAME: usize>(
    engine: &mut Engine<'_, '_>,
    pixels: &[u8],
    want: Want,
    sums: &mut [Crc32],
    talk: &mut Talk<P, FRAME>,
) -> Result<Fed, Closed> {
    let rows = pixels.chunks_exact(engine.model().image().row_len());
    if pixels.is_empty() || !rows.remainder().is_empty() {
        return Ok(Fed::Wrong);
    }
    let mut told = Ok(true);
    for row in rows {
        let fed = engine.feed_row_observed(row, |made| {
            let values = made.values.pixels();
            if want == Want::Outputs && told == Ok(true) {
                let node = made.node as u16;
                told = talk.pieces(values.flatten().map(|&value| value as u8), |data| Reply::Rows { node, data });
            } else if let Some(sum) = sums.get_mut(made.node) {
                values.for_each(|pixel| sum.update(pixel));
            }
        });
        match (told?, fed) {
            (false, _) => return Ok(Fed::Abandoned),
            (true, Ok(true)) => return Ok(Fed::Whole),
            (true, Ok(false)) => {}
            (true, Err(_)) => return Ok(Fed::Wrong),
        }
    }
    Ok(Fed::Part)
}
