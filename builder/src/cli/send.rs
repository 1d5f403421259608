//! `skipstone send`

use super::console::Console;
use super::failure::Failure;
use super::framing;
use super::line::Address;
use super::packed::Packed;
use super::run::{Class, read_image, top};
use crate::target::Core;
use serde::Serialize;
use skipstone_serial::Want;
use std::path::PathBuf;

/// Classify PNG or JPEG files with the model on a board, over a serial line.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  skipstone send digits.stone photo.png --to serial:/dev/ttyACM0")]
pub(super) struct Arguments {
    /// The .stone file that is on the board.
    #[arg(value_name = "MODEL.stone")]
    stone: PathBuf,
    /// PNG or JPEG files, scaled here to the size that the model takes.
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<PathBuf>,
    /// The board: serial:PORT, serial:PORT@BAUD or tcp:HOST:PORT.
    #[arg(long, value_name = "ADDRESS")]
    to: Address,
}

#[derive(Serialize)]
struct Sent {
    image: String,
    top: Vec<Class>,
    /// int8, as the board has them.
    scores: Vec<i8>,
}

pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<(), Failure> {
    let packed = Packed::read(&arguments.stone)?;
    let (dims, preprocessing) = (packed.on_host().image_dims(), framing::of_graph(&packed.model().preprocessing()));
    let images = arguments.images.iter().map(|path| Ok((path, read_image(path, dims, &preprocessing)?)));
    let images = images.collect::<Result<Vec<_>, Failure>>()?;
    let mut board = arguments.to.connect()?;
    board.expect(&packed, &arguments.stone)?;
    let core = Core::from_code(packed.model().header().core).unwrap_or_default();
    console.say(format!("{}: {}, a model for {}", arguments.to, board.client.name(), core.name()));
    let names = packed.class_names();
    let mut results = Vec::with_capacity(images.len());
    for (path, image) in &images {
        let scores = board.ask(|client| client.classify(image.image(0), Want::Scores))?.scores;
        let top = top(&packed.real_scores(&scores)).into_iter();
        let top: Vec<Class> = top.map(|(class, score)| Class { class, label: names[class].clone(), score }).collect();
        let list: Vec<String> = top.iter().map(|c| format!("{} {:.1} %", c.label, 100.0 * c.score)).collect();
        console.show(format!("{}: {}", path.display(), list.join(", ")))?;
        results.push(Sent { image: path.display().to_string(), top, scores });
    }
    console.results(&results)
}
