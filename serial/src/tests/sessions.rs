//! Sessions of a host with a board.

use super::flash::Fake;
use super::line::{End, Faults, line};
use super::{digits, image, on_machine, other, scores};
use crate::client::{Answer, Client, ClientError, Patience};
use crate::frame::frame_len;
use crate::link::Link;
use crate::message::{Refusal, Want};
use crate::server::{Event, Fixed, Server, Store};
use crate::slots::Slots;
use skipstone_runtime::format::checksum::crc32;
use skipstone_runtime::{AlignedBytes, Engine, Model};
use std::io::{Read, Write};
use std::thread;
use std::time::Duration;

const ARENA: usize = 8192;

fn patience() -> Patience {
    let [again, hello, answer] = [20, 1_000, 20_000].map(Duration::from_millis);
    Patience { again, hello, answer }
}

/// Has a host talk to a board whose model lies in a store; gives what the host made of it and what the board did.
fn session<S: Store + Send, T>(
    faults: Faults,
    arena: usize,
    store: impl FnOnce(&mut crate::Machine<'_>) -> S + Send,
    host: impl FnOnce(End) -> T,
) -> (T, Vec<Event>) {
    let (near, far) = line(faults);
    thread::scope(|scope| {
        let board = scope.spawn(move || {
            on_machine(arena, |mut machine| {
                let store = store(&mut machine);
                let mut events = Vec::new();
                let mut link = Link::<_, { frame_len(200) }>::new(far);
                Server::new("test board", store, machine).serve(&mut link, |event| events.push(event));
                events
            })
        });
        let made = host(near);
        (made, board.join().unwrap())
    })
}

/// What the engine makes here.
fn expected(stone: &[u8], pixels: &[u8]) -> Answer {
    let model = Model::from_bytes(stone).unwrap();
    let mut arena = AlignedBytes::zeros(model.arena_len());
    let mut engine = Engine::new(&model, arena.as_mut_slice()).unwrap();
    let mut outputs = vec![Vec::new(); model.nodes().len()];
    let scores = engine.run_observed(pixels, |made| outputs[made.node].extend(made.values.pixels().flatten()));
    let scores = scores.unwrap().to_vec();
    let checksums = outputs.iter().map(|values: &Vec<i8>| {
        let bytes: Vec<u8> = values.iter().map(|&value| value as u8).collect();
        crc32(&bytes)
    });
    Answer { scores, checksums: checksums.collect(), outputs }
}

fn assert_classifies(client: &mut Client<impl Read + Write>, stone: &[u8]) {
    for seed in 0..3 {
        let expected = expected(stone, &image(seed));
        let mut ask = |want| client.classify(&image(seed), want).unwrap();
        let scores = Answer { scores: expected.scores.clone(), ..Answer::default() };
        assert_eq!(ask(Want::Scores), scores);
        assert_eq!(ask(Want::Checksums), Answer { checksums: expected.checksums.clone(), ..scores });
        assert_eq!(ask(Want::Outputs), Answer { checksums: Vec::new(), ..expected });
    }
}

#[test]
fn a_board_tells_what_the_engine_makes() {
    let stone = digits();
    let (repeated, events) = session(
        Faults::default(),
        ARENA,
        |_| Fixed(stone.as_slice()),
        |line| {
            let mut client = Client::open(line, patience()).unwrap();
            assert_eq!((client.name(), client.updates()), ("test board", None));
            assert_eq!(client.model().unwrap().image, [8, 8, 1]);
            assert_classifies(&mut client, stone.as_slice());
            client.repeated()
        },
    );
    assert_eq!((repeated, events.len()), (0, 9));
    assert!(events.iter().all(|event| matches!(event, Event::Classified { .. })));
}

/// A model is sent, and images, over lines that drop, double and change bytes: everything arrives, once.
#[test]
fn damaged_frames_are_sent_again() {
    for (seed, faults) in [
        Faults { drop: 400, ..Faults::default() },
        Faults { double: 400, ..Faults::default() },
        Faults { flip: 400, ..Faults::default() },
        Faults { drop: 1000, double: 1000, flip: 1000, ..Faults::default() },
    ]
    .into_iter()
    .enumerate()
    {
        let (old, new) = (digits(), other());
        let faults = Faults { seed: 10 * seed as u64, ..faults };
        let store = |machine: &mut crate::Machine<'_>| {
            Slots::open(Fake::<8>::new(1 << 15), [0..1 << 14, 1 << 14..1 << 15], machine)
        };
        let (repeated, events) = session(faults, ARENA, store, |line| {
            let mut client = Client::open(line, patience()).unwrap();
            assert_eq!(client.model(), None);
            let refused = client.classify(&image(0), Want::Scores).unwrap_err().to_string();
            assert_eq!(refused, "the board refuses: it has no model yet: send one with `skipstone update`");
            for stone in [old.as_slice(), new.as_slice()] {
                client.update(stone, |_| {}).unwrap();
                assert_classifies(&mut client, stone);
            }
            let status = client.status().unwrap();
            assert_eq!((status.active, status.received), (Some(1), None));
            client.repeated()
        });
        assert!(repeated > 10, "{repeated} frames were sent again");
        let switches = events.iter().filter(|event| matches!(event, Event::Switched { .. })).count();
        assert_eq!((switches, events.len()), (2, 20), "something was done twice");
    }
}

/// A host that ends in the middle of an image leaves a board that the next one can talk to.
#[test]
fn an_image_that_is_not_finished_is_forgotten() {
    let stone = digits();
    session(
        Faults::default(),
        ARENA,
        |_| Fixed(stone.as_slice()),
        |mut line| {
            for after in 1..12 {
                let mut cut = Cut { line: &mut line, requests: after };
                if let Ok(mut client) = Client::open(&mut cut, patience()) {
                    assert!(client.classify(&image(1), Want::Outputs).is_err());
                }
                let mut client = Client::open(&mut line, patience()).unwrap();
                assert_eq!(
                    client.classify(&image(2), Want::Scores).unwrap().scores,
                    scores(stone.as_slice(), &image(2))
                );
            }
        },
    );
}

/// A line that fails after some requests.
struct Cut<'l> {
    line: &'l mut End,
    requests: usize,
}

impl Read for Cut<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.line.read(buffer)
    }
}

impl Write for Cut<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.requests = self.requests.checked_sub(1).ok_or(std::io::ErrorKind::BrokenPipe)?;
        self.line.write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_does_not_fit_is_refused_before_it_is_sent() {
    let (stone, mut cut_short) = (digits(), digits().as_slice().to_vec());
    let store = |machine: &mut crate::Machine<'_>| {
        Slots::open(Fake::<8>::new(1 << 14), [0..1 << 13, 1 << 13..1 << 14], machine)
    };
    session(Faults::default(), ARENA, store, |line| {
        let mut client = Client::open(line, patience()).unwrap();
        let mut update = |stone: &[u8]| client.update(stone, |_| panic!("a block was sent")).unwrap_err().to_string();
        let mut large = stone.as_slice().to_vec();
        large[16..20].copy_from_slice(&8129u32.to_le_bytes());
        assert_eq!(update(&large), "the board refuses: the model has 8129 bytes, a slot takes 8128");
        large[16..20].copy_from_slice(&7000u32.to_le_bytes());
        large[20..24].copy_from_slice(&8193u32.to_le_bytes());
        assert_eq!(update(&large), "the board refuses: the model needs an arena of 8193 bytes, there are 8192");
        large[8] += 1;
        assert!(update(&large).ends_with("it runs models of another format version than 6"));
        large[0] = 0;
        assert_eq!(update(&large), "the board refuses: what arrived is no packed model");
        assert_eq!(update(&large[..100]), "no packed model: it is too short");
        cut_short.pop();
        let refused = client.update(&cut_short, |_| {}).unwrap_err().to_string();
        assert_eq!(refused, "the board refuses: the request does not fit what came before it");
        assert_eq!(client.model(), None);
    });
    session(
        Faults::default(),
        ARENA,
        |_| Fixed(stone.as_slice()),
        |line| {
            let mut client = Client::open(line, patience()).unwrap();
            let refused = client.update(stone.as_slice(), |_| {}).unwrap_err().to_string();
            assert_eq!(refused, "the board refuses: its program takes no updates: flash it anew");
            assert!(matches!(
                client.classify(&[0; 63], Want::Scores),
                Err(ClientError::Image { expected: 64, found: 63 })
            ));
        },
    );
}

#[test]
fn a_board_that_does_not_answer_or_only_noise_is_said() {
    let short = Patience { hello: Duration::from_millis(60), ..patience() };
    let (near, _far) = line(Faults::default());
    let error = Client::open(near, short).err().unwrap();
    assert!(error.to_string().starts_with("no answer for 0."), "{error}");
    let (near, far) = line(Faults::default());
    drop(far);
    assert!(matches!(Client::open(near, short), Err(ClientError::Closed)));
    // Every frame is damaged.
    let stone = digits();
    let faults = Faults { flip: 8, ..Faults::default() };
    session(
        faults,
        ARENA,
        |_| Fixed(stone.as_slice()),
        |line| {
            let error = Client::open(line, patience()).err().unwrap();
            assert!(error.to_string().starts_with("the transfer is garbled: 40 damaged frames"), "{error}");
        },
    );
    // The answers come from something that speaks another language.
    let (near, mut far) = line(Faults::default());
    far.write_all(b"U-Boot 2026.07\r\n=> ").unwrap();
    let error = Client::open(near, short).err().unwrap();
    assert!(error.to_string().starts_with("the transfer is garbled: 1 damaged frames"), "{error}");
    assert_eq!(Refusal::Flash.to_string(), "its flash could not be written");
}
