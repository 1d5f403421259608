//! Images per second of a folder of photos, decoded alone and trained on, and the memory that both take.
//!
//! ```text
//! cargo bench -p skipstone --bench folder_speed -- --images 2000
//! cargo bench -p skipstone --bench folder_speed -- --images 200000
//! ```
//! Writes 2,000 JPEG photos of noise, 24 to 128 pixels a side, of ten classes, to a temporary folder; hard links to them
//! are the rest. Opening the folder decodes every file once. Then one epoch of a ResNet-8 for 3x32x32 is trained and
//! tested, for which the files are decoded again.

use clap::Parser;
use image::{ImageFormat, RgbImage};
use skipstone::data::{self, Options, Spec, Split};
use skipstone::train::{Config, Job, peak_bytes, train};
use skipstone::zoo;
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

const DRAWN: u32 = 2_000;
const CLASSES: u32 = 10;

#[derive(Parser)]
#[command(about = "Images per second of a folder of photos, decoded alone and trained on")]
struct Cli {
    /// `cargo bench` passes it to every bench.
    #[arg(long, hide = true)]
    bench: bool,
    /// Photos in the folder
    #[arg(long, default_value_t = DRAWN, value_name = "N", value_parser = clap::value_parser!(u32).range(200..))]
    images: u32,
    /// MiB of decoded pixels that are kept
    #[arg(long, default_value_t = 4, value_name = "MIB")]
    cache: u16,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<(), Box<dyn Error + Send + Sync>> {
    let folder = tempfile::tempdir()?;
    write_photos(folder.path(), cli.images)?;
    let spec: Spec = format!("folder:{}", folder.path().display()).parse()?;
    let dims = [3, 32, 32];
    let options = Options { dims: Some(dims), ..Options::default() };
    let cache = usize::from(cli.cache) << 20;
    println!("{} photos, --cache {}MiB", cli.images, cli.cache);

    let start = Instant::now();
    let open = |split| data::open(&spec, split, &options, cache / 2, &mut |_, _| {}).map(|(set, _)| set);
    let sets = [open(Split::Train)?, open(Split::Test)?];
    report("decoded alone", cli.images, start);

    let start = Instant::now();
    let classes = Some(CLASSES as usize);
    let mut graph = zoo::build("resnet8", &zoo::Options { input: Some(dims), classes, ..zoo::Options::default() })?;
    graph.metadata.normalization = Some(spec.normalization());
    let config = Config { epochs: 1, batch: 128, ..Config::new("resnet8", &spec) };
    let out = tempfile::tempdir()?;
    train(Job::new(graph, config, sets, out.path()), &mut ())?;
    report("trained and tested", cli.images, start);
    Ok(())
}

fn report(what: &str, images: u32, start: Instant) {
    let rate = f64::from(images) / start.elapsed().as_secs_f64();
    let peak = peak_bytes().map_or_else(|| "unknown".into(), |bytes| format!("{} MiB", bytes >> 20));
    println!("  {what:<18} {rate:>8.0} images/s, at most {peak} resident so far");
}

fn write_photos(folder: &Path, count: u32) -> Result<(), Box<dyn Error + Send + Sync>> {
    for class in 0..CLASSES {
        std::fs::create_dir(folder.join(class.to_string()))?;
    }
    let path = |index: u32| folder.join((index % CLASSES).to_string()).join(format!("{index}.jpg"));
    for index in 0..count.min(DRAWN) {
        let (width, height) = (24 + index * 37 % 105, 24 + index * 61 % 105);
        let photo = RgbImage::from_fn(width, height, |x, y| {
            let mixed = (x * 7 + y * 13 + index * 31) ^ (x * y / 5);
            image::Rgb([mixed as u8, (mixed >> 1) as u8, (x * 2 + index % CLASSES * 20) as u8])
        });
        photo.save_with_format(path(index), ImageFormat::Jpeg)?;
    }
    for index in DRAWN..count {
        std::fs::hard_link(path(index % DRAWN), path(index))?;
    }
    Ok(())
}
