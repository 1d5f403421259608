//! Changes valid packed models in many ways, a million times unless told otherwise, and exercises what comes out: bits
//! turned, the end cut off, parts of other files spliced in, records copied over others, fields with hostile numbers.
//!
//! Usage: `cargo run --release -p skipstone-tests --example mutations -- FOLDER [COUNT [SEED]]`, where FOLDER holds
//! `.stone` files, such as those that the example `seeds` writes. A panic, or back ends that differ, end it; the
//! changes follow from the seed alone.

use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};
use rayon::prelude::*;
use skipstone_tests::hostile::{Outcome, exercise};
use std::error::Error;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

/// Numbers that bounds are likely to get wrong.
const HOSTILE: [u32; 12] = [0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF];
/// Bytes of the records that a change may copy over another one.
const RECORDS: [usize; 4] = [8, 16, 32, 64];

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("usage: mutations FOLDER [COUNT [SEED]]")?;
    let count: u64 = arguments.next().map_or(Ok(1_000_000), |count| count.parse())?;
    let seed: u64 = arguments.next().map_or(Ok(1), |seed| seed.parse())?;
    let files = models(Path::new(&folder))?;
    if files.is_empty() {
        return Err(format!("no .stone file in {folder}").into());
    }
    let start = Instant::now();
    let total = (0..count).into_par_iter().map(|index| one(&files, seed, index)).reduce(Tally::default, Tally::plus);
    let Tally { refused, too_large, ran, slowest } = total;
    println!(
        "{count} changed files of {} models in {:.0} s: {refused} refused, {ran} ran alike on all back ends, {too_large} too \
         large to run; the slowest took {:.0} ms",
        files.len(),
        start.elapsed().as_secs_f64(),
        slowest.as_secs_f64() * 1e3
    );
    Ok(())
}

fn models(folder: &Path) -> std::io::Result<Vec<Vec<u8>>> {
    let mut paths: Vec<_> =
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    paths.sort();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "stone"));
    paths.iter().map(std::fs::read).collect()
}

/// How often each outcome came.
#[derive(Clone, Copy, Default)]
struct Tally {
    refused: u64,
    too_large: u64,
    ran: u64,
    slowest: Duration,
}

impl Tally {
    fn plus(self, other: Self) -> Self {
        Self {
            refused: self.refused + other.refused,
            too_large: self.too_large + other.too_large,
            ran: self.ran + other.ran,
            slowest: self.slowest.max(other.slowest),
        }
    }
}

fn one(files: &[Vec<u8>], seed: u64, index: u64) -> Tally {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&index.to_le_bytes());
    let mut random = Random(TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let mut file = files[random.below(files.len())].clone();
    for _ in 0..1 + random.below(4) {
        if change(&mut file, files, &mut random).is_break() {
            break;
        }
    }
    let start = Instant::now();
    let outcome = exercise(&file);
    let mut tally = Tally { slowest: start.elapsed(), ..Tally::default() };
    match outcome {
        Outcome::Refused => tally.refused = 1,
        Outcome::TooLarge => tally.too_large = 1,
        Outcome::Ran => tally.ran = 1,
    }
    tally
}

/// One change; breaks off where nothing is left to be changed.
fn change(file: &mut Vec<u8>, files: &[Vec<u8>], random: &mut Random) -> ControlFlow<()> {
    if file.is_empty() {
        return ControlFlow::Break(());
    }
    match random.below(8) {
        0 | 1 => {
            let at = random.below(file.len());
            file[at] ^= 1 << random.below(8);
        }
        2 => file.truncate(random.below(file.len())),
        3 => {
            let other = &files[random.below(files.len())];
            let from = random.below(other.len());
            let len = random.below(other.len() - from).min(512);
            let at = random.below(file.len());
            let end = file.len().min(at + len);
            file.splice(at..end, other[from..from + len].iter().copied());
        }
        4 => {
            let len = RECORDS[random.below(RECORDS.len())].min(file.len());
            let [from, to] =
                [random.below(file.len() - len + 1), random.below(file.len() - len + 1)].map(|at| at / 4 * 4);
            file.copy_within(from..from + len, to);
        }
        kind => {
            // The header alone, or anywhere; in fields of one, two or four bytes.
            let end = if kind == 5 { file.len().min(128) } else { file.len() };
            let width = 1 << random.below(3);
            let at = random.below(end) / width * width;
            let value = HOSTILE[random.below(HOSTILE.len())].to_le_bytes();
            let end = file.len().min(at + width);
            file[at..end].copy_from_slice(&value[..end - at]);
        }
    }
    ControlFlow::Continue(())
}

struct Random(TestRng);

impl Random {
    /// A number below `end`, or 0 where `end` is 0.
    fn below(&mut self, end: usize) -> usize {
        (self.0.next_u64() % end.max(1) as u64) as usize
    }
}
