//! Both ends over lines that damage what they carry, and updates over flash whose power is cut.

mod flash;
mod line;
mod sessions;
mod updates;

use crate::machine::Machine;
use skipstone_runtime::format::checksum::{Crc32, of_file};
use skipstone_runtime::format::records::{Header, OpCode};
use skipstone_runtime::schedule::Network;
use skipstone_runtime::{AlignedBytes, Engine, Model, Program};

/// A small network for handwritten digits.
fn digits() -> AlignedBytes {
    AlignedBytes::copy(include_bytes!("../../../runtime/tests/digits.stone"))
}

/// The same network with other weights, which has other scores: the signs of the first layer's are turned.
fn other() -> AlignedBytes {
    let mut stone = digits();
    let node = *Model::from_bytes(digits().as_slice()).unwrap().node(0);
    assert_eq!((node.op, node.layout), (OpCode::Conv as u8, 0));
    let bytes = stone.as_mut_slice();
    let weights = node.weights as usize..(node.weights + node.weights_len) as usize;
    bytes[weights].iter_mut().for_each(|weight| *weight = weight.wrapping_neg());
    let checksum = of_file(bytes);
    bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
    Model::from_bytes(stone.as_slice()).unwrap();
    stone
}

/// The digits' network with a test vector, whose checksums and scores `change` may change.
fn with_vector(change: impl FnOnce(&mut [u32], &mut [i8])) -> AlignedBytes {
    let stone = digits();
    let model = Model::from_bytes(stone.as_slice()).unwrap();
    let (nodes, pixels) = (model.nodes().len(), image(5));
    let mut sums = vec![Crc32::new(); nodes];
    let mut arena = AlignedBytes::zeros(model.arena_len());
    let mut engine = Engine::new(&model, arena.as_mut_slice()).unwrap();
    let observe =
        |made: skipstone_runtime::Made<'_>| made.values.pixels().for_each(|pixel| sums[made.node].update(pixel));
    let mut scores = engine.run_observed(&pixels, observe).unwrap().to_vec();
    let mut sums: Vec<u32> = sums.into_iter().map(Crc32::value).collect();
    change(&mut sums, &mut scores);
    let mut bytes = stone.as_slice().to_vec();
    bytes.resize(bytes.len().next_multiple_of(16), 0);
    let vectors = bytes.len() as u32;
    bytes.extend(sums.iter().flat_map(|sum| sum.to_le_bytes()));
    bytes.extend(scores.iter().map(|&score| score as u8));
    bytes.extend(&pixels);
    bytes.resize(bytes.len().next_multiple_of(16), 0);
    let header = Header { vectors, vector_count: 1, file_len: bytes.len() as u32, ..*model.header() };
    bytes[..Header::LEN].copy_from_slice(&header.emit());
    let checksum = of_file(&bytes);
    bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
    AlignedBytes::copy(&bytes)
}

/// Image `seed` for these networks.
fn image(seed: u32) -> Vec<u8> {
    (0..64u32).map(|at| (at * 37 + seed * 101 + at * at * seed) as u8).collect()
}

/// The scores of an image, for whose model the arena is large enough.
fn scores(stone: &[u8], pixels: &[u8]) -> Vec<i8> {
    let model = Model::from_bytes(stone).unwrap();
    let mut arena = AlignedBytes::zeros(model.arena_len());
    Engine::new(&model, arena.as_mut_slice()).unwrap().run(pixels).unwrap().to_vec()
}

/// Runs `work` on a machine with an arena of so many bytes.
fn on_machine<T>(arena: usize, work: impl FnOnce(Machine<'_>) -> T) -> T {
    let mut arena = AlignedBytes::zeros(arena);
    let mut sums = [const { Crc32::new() }; 32];
    work(Machine { arena: arena.as_mut_slice(), sums: &mut sums, program: Program::any() })
}

/// Numbers that look random, the same every time: xorshift64*.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound
    }
}
