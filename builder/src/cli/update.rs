//! `skipstone update`

use super::console::Console;
use super::failure::Failure;
use super::line::Address;
use super::packed::Packed;
use super::table::grouped;
use serde::Serialize;
use std::path::PathBuf;
use std::time::Instant;

/// Put a new model on a board over a serial line. The board keeps the old model until it has checked the new one.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  skipstone update digits.stone --to serial:/dev/ttyACM0")]
pub(super) struct Arguments {
    /// The new .stone file.
    #[arg(value_name = "NEW.stone")]
    stone: PathBuf,
    /// The board: serial:PORT, serial:PORT@BAUD or tcp:HOST:PORT.
    #[arg(long, value_name = "ADDRESS")]
    to: Address,
}

#[derive(Serialize)]
struct Updated {
    board: String,
    /// Checksum of the model that the board has now.
    checksum: String,
    /// Checksum of the one that it had before.
    replaced: Option<String>,
    /// Bytes that were sent; 0 if the board had the model already.
    bytes: usize,
    /// Requests that were sent again.
    repeated: u64,
    seconds: f64,
}

pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<(), Failure> {
    let packed = Packed::read(&arguments.stone)?;
    let (stone, checksum) = (packed.model().as_bytes(), packed.model().header().checksum);
    let mut board = arguments.to.connect()?;
    let name = board.client.name().to_owned();
    let replaced = board.client.model().map(|model| model.checksum);
    let start = Instant::now();
    let file = arguments.stone.display();
    let bytes = if replaced == Some(checksum) {
        console.show(format!("{name} has {file} already ({checksum:08x})"))?;
        0
    } else {
        let bar = console.bar("update", stone.len(), "bytes");
        let sent = board.ask(|client| client.update(stone, |sent| bar.set_position(sent as u64)));
        bar.finish_and_clear();
        sent?;
        let seconds = start.elapsed().as_secs_f64();
        let bytes = grouped(stone.len() as u64);
        console.show(format!("{name} runs {file} ({checksum:08x}): {bytes} bytes in {seconds:.1} s"))?;
        stone.len()
    };
    let hex = |checksum: u32| format!("{checksum:08x}");
    console.result(&Updated {
        board: name,
        checksum: hex(checksum),
        replaced: replaced.map(hex),
        bytes,
        repeated: board.client.repeated(),
        seconds: start.elapsed().as_secs_f64(),
    })
}
