//! The program of `firmware-examples/field-update` on an emulated board, whose emulator is stopped in the midst of
//! updates: with its flash in a file, that is a power cut.
//!
//! As the tests of devices, these are run by `cargo xtask test`.

use skipstone::device::{self, Device};
use skipstone::target::Board;
use skipstone_runtime::format::checksum::of_file;
use skipstone_runtime::schedule::Network;
use skipstone_runtime::{AlignedBytes, Engine, Model};
use skipstone_serial::{Answer, Client, ClientError, Patience, Want};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const BOARD: &str = "mps2-an386";
/// Says how many power cuts there are; and how many without it.
const CUTS: &str = "SKIPSTONE_POWER_CUTS";
const USUAL_CUTS: u64 = 60;
/// The board's PSRAM; its last page has the numbers by which a test cuts the power.
const FLASH: u64 = 16 << 20;
const STEPS: u64 = FLASH - 4096;
const IMAGE: [u8; 64] = {
    let mut image = [0; 64];
    let mut at = 0;
    while at < 64 {
        image[at] = (at * at * 5 % 256) as u8;
        at += 1;
    }
    image
};

/// A small network for the digits, and the same with its first weights turned: other scores, and another checksum.
fn models() -> [AlignedBytes; 2] {
    let stone = AlignedBytes::copy(include_bytes!("../../runtime/tests/digits.stone"));
    let node = *Model::from_bytes(stone.as_slice()).unwrap().node(0);
    let mut other = stone.clone();
    let bytes = other.as_mut_slice();
    let weights = node.weights as usize..(node.weights + node.weights_len) as usize;
    bytes[weights].iter_mut().for_each(|weight| *weight = weight.wrapping_neg());
    let checksum = of_file(bytes);
    bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
    [stone, other]
}

fn checksum(stone: &AlignedBytes) -> u32 {
    Model::from_bytes(stone.as_slice()).unwrap().header().checksum
}

fn scores(stone: &AlignedBytes) -> Vec<i8> {
    let model = Model::from_bytes(stone.as_slice()).unwrap();
    let mut arena = AlignedBytes::zeros(model.arena_len());
    Engine::new(&model, arena.as_mut_slice()).unwrap().run(&IMAGE).unwrap().to_vec()
}

/// An emulated board that is on.
struct Running {
    emulator: Child,
    client: Client<Line>,
}

/// The line to it, which ends after some bytes to the board.
struct Line {
    stream: TcpStream,
    sent: u64,
    end: u64,
}

impl Read for Line {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.stream.read(buffer)
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let left = (self.end - self.sent).min(bytes.len() as u64) as usize;
        if left == 0 {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let sent = self.stream.write(&bytes[..left])?;
        self.sent += sent as u64;
        Ok(sent)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.stream.flush()
    }
}

impl Running {
    fn start(program: &Path, flash: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, flash) = (listener.local_addr().unwrap().port(), flash.display());
        let emulator = Command::new("qemu-system-arm")
            .args(["-machine", &format!("{BOARD},memory-backend=flash"), "-display", "none", "-monitor", "none"])
            .args(["-object", &format!("memory-backend-file,id=flash,mem-path={flash},share=on,size={FLASH}")])
            .args([
                "-semihosting-config",
                "enable=on,target=native",
                "-serial",
                &format!("tcp:127.0.0.1:{port},nodelay=on"),
            ])
            .arg("-kernel")
            .arg(program)
            .stdin(Stdio::null())
            .spawn()
            .expect("qemu-system-arm runs: cargo xtask test --only tools");
        let (stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        let line = Line { stream, sent: 0, end: u64::MAX };
        let client = Client::open(line, Patience::default()).unwrap();
        Self { emulator, client }
    }

    fn answer(&mut self) -> Answer {
        self.client.classify(&IMAGE, Want::Scores).unwrap()
    }
}

/// The emulator is killed, if it has not ended.
impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.emulator.kill();
        let _ = self.emulator.wait();
    }
}

/// The flash as a file.
struct Flash(File);

impl Flash {
    fn number(&self, at: u64) -> u32 {
        let mut bytes = [0; 4];
        self.0.read_exact_at(&mut bytes, STEPS + at).unwrap();
        u32::from_le_bytes(bytes)
    }

    /// Writes of a unit and erases of a page so far.
    fn steps(&self) -> u32 {
        self.number(0)
    }

    /// Has the power cut within a step; never with 0.
    fn cut_at(&self, step: u32) {
        self.0.write_all_at(&step.to_le_bytes(), STEPS + 4).unwrap();
    }
}

/// Where the power is cut.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// After so many bytes to the board, wherever it is by then.
    Bytes(u64),
    /// Within this step of its flash.
    Step(u32),
}

/// What a whole update takes: bytes to the board, steps of its flash.
fn measure(board: &mut Running, flash: &Flash, stone: &AlignedBytes) -> (u64, u32) {
    let (sent, steps) = (board.client.port().sent, flash.steps());
    board.client.update(stone.as_slice(), |_| {}).unwrap();
    (board.client.port().sent - sent, flash.steps() - steps)
}

/// Points all over an update: two thirds by the bytes of the transfer, the others by the steps of the flash, with every
/// step of the record's write.
fn points(count: u64, bytes: u64, steps: u32) -> Vec<Cut> {
    let last = 10;
    let by_bytes = count * 2 / 3;
    let by_steps = count - by_bytes - last;
    let in_bytes = (0..by_bytes).map(|index| Cut::Bytes(1 + index * (bytes - 1) / (by_bytes - 1)));
    let in_steps = (0..by_steps).map(|index| Cut::Step(1 + (index * u64::from(steps) / by_steps) as u32));
    in_bytes.chain(in_steps).chain((0..last as u32).map(|back| Cut::Step(steps - back))).collect()
}

#[test]
#[ignore = "needs QEMU and a compiler for the device: cargo xtask test"]
fn an_update_survives_power_cuts() {
    let count = std::env::var(CUTS).map_or(USUAL_CUTS, |count| count.parse().expect("a number of cuts"));
    let folder = tempfile::tempdir().unwrap();
    let [program, file] = ["program", "flash.bin"].map(|name| folder.path().join(name));
    let board = Board::named(BOARD).and_then(Device::of_board).unwrap();
    device::build_package(board, "field-update", &program).unwrap();
    let stones = models();
    let (sums, expected) = (stones.each_ref().map(checksum), stones.each_ref().map(scores));
    assert!(sums[0] != sums[1] && expected[0] != expected[1]);

    let flash = Flash(File::options().create(true).truncate(true).read(true).write(true).open(&file).unwrap());
    flash.0.set_len(FLASH).unwrap();
    let mut board = Running::start(&program, &file);
    assert_eq!((board.client.name(), board.client.model()), (BOARD, None));
    let (bytes, steps) = measure(&mut board, &flash, &stones[0]);
    let cuts = points(count, bytes, steps);
    println!("an update: {bytes} bytes to the board, {steps} steps of its flash");
    let (mut current, mut outcomes, start) = (0, [0; 2], Instant::now());
    for (index, &cut) in cuts.iter().enumerate() {
        // An update after some that were cut off succeeds.
        if index % 4 == 0 {
            current = 1 - current;
            board.client.update(stones[current].as_slice(), |_| {}).unwrap();
            assert_eq!(board.answer().scores, expected[current], "{cut:?}");
        }
        let new = 1 - current;
        match cut {
            Cut::Bytes(bytes) => board.client.port_mut().end = board.client.port().sent + bytes,
            Cut::Step(step) => flash.cut_at(flash.steps() + step),
        }
        let ended = board.client.update(stones[new].as_slice(), |_| {});
        // The last byte may have got through.
        let whole = matches!(cut, Cut::Bytes(end) if end >= bytes);
        assert!(whole || matches!(ended, Err(ClientError::Port(_) | ClientError::Closed)), "{cut:?}: {ended:?}");
        drop(board);
        flash.cut_at(0);
        board = Running::start(&program, &file);
        let found = board.client.model().map(|model| sums.iter().position(|&sum| sum == model.checksum));
        let found = found.flatten().unwrap_or_else(|| panic!("{cut:?}: there is no model"));
        assert_eq!(board.answer().scores, expected[found], "{cut:?}");
        assert!(found == current || ended.is_ok() || !matches!(cut, Cut::Bytes(end) if end + 20 < bytes), "{cut:?}");
        outcomes[usize::from(found == new)] += 1;
        current = found;
    }
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{} power cuts: {} left the old model, {} the new one; {seconds:.0} s",
        cuts.len(),
        outcomes[0],
        outcomes[1]
    );
    assert_eq!(cuts.len() as u64, count as u64);
    assert!(outcomes.iter().all(|&count| count > 0), "{outcomes:?}");
}
