//! The papers' claims in small: trains the networks of a study, all with the same budget, and prints a table.
//! `docs/studies.md` has the studies and what came out.
//!
//! ```text
//! cargo run --release -p skipstone --example studies -- STUDY... --data cifar10:DIR --out DIR
//! ```
//! Each run has a folder of its own below DIR, with one for each seed in it. A run that is there is not repeated, and
//! one that was interrupted goes on where it was; runs that two studies have in common are trained once.

mod networks;
mod plans;
mod table;
#[path = "../../benches/timing/mod.rs"]
mod timing;

use clap::Parser;
use plans::{Run, Study, studies};
use skipstone::data::{self, Dataset, Spec, Split};
use skipstone::train::{self, Config, EpochRecord, Job, Progress, Status, TrainError};
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use table::Row;

/// Train the networks of a study and print a table.
#[derive(Debug, Parser)]
struct Arguments {
    /// The studies; all if none is named.
    #[arg(value_name = "STUDY")]
    studies: Vec<String>,
    /// The data set, such as `cifar10:DIR`.
    #[arg(long, value_name = "SPEC")]
    data: Spec,
    /// The folder of the runs' folders.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Number of epochs.
    #[arg(long, value_name = "N", default_value_t = 10)]
    epochs: usize,
    /// Learn from N images only, spread evenly over the training set.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    train_images: Option<u32>,
    /// Test on N images only, spread evenly over the test set.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    test_images: Option<u32>,
    /// Batch size [default: the recipe's].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    batch: Option<u32>,
    /// Only these runs of the studies.
    #[arg(long, value_name = "RUN", value_delimiter = ',')]
    runs: Vec<String>,
    /// Seeds of weights, order and augmentation; each run is trained with each of them.
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "0")]
    seeds: Vec<u64>,
    /// Number of threads [default: all cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse(), &mut |table| println!("{table}")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Trains what `arguments` name, and shows each study's table when it is complete.
fn run(arguments: &Arguments, show: &mut dyn FnMut(String)) -> Result<(), Box<dyn Error>> {
    let chosen = choose(arguments)?;
    let test = data::load(&Spec { split: Some(Split::Test), ..arguments.data.clone() }, Split::Test)?;
    let test = spread(test, arguments.test_images, "--test-images", "test")?;
    let train = data::load(&arguments.data, Split::Train)?;
    let train = spread(train, arguments.train_images, "--train-images", "training")?;
    for study in chosen {
        let rows: Result<Vec<Row>, _> = study.runs.iter().map(|run| row(run, arguments, &train, &test)).collect();
        show(format!("`{}`: {}\n\n{}", study.name, study.question, table::markdown(&rows?)));
    }
    Ok(())
}

/// The studies and runs that are named.
fn choose(arguments: &Arguments) -> Result<Vec<Study>, String> {
    let mut chosen = studies();
    let unknown =
        |kind, name: &str, known: Vec<&str>| format!("there is no {kind} `{name}`: there are {}", known.join(", "));
    if !arguments.studies.is_empty() {
        let known = || chosen.iter().map(|study| study.name);
        if let Some(name) = arguments.studies.iter().find(|&name| known().all(|known| known != name)) {
            return Err(unknown("study", name, known().collect()));
        }
        chosen.retain(|study| arguments.studies.iter().any(|name| name == study.name));
    }
    if !arguments.runs.is_empty() {
        let known = || chosen.iter().flat_map(|study| study.runs.iter().map(|run| run.name));
        if let Some(name) = arguments.runs.iter().find(|&name| known().all(|known| known != name)) {
            return Err(unknown("run", name, known().collect()));
        }
        for study in &mut chosen {
            study.runs.retain(|run| arguments.runs.iter().any(|name| name == run.name));
        }
        chosen.retain(|study| !study.runs.is_empty());
    }
    Ok(chosen)
}

/// As many images of `set` as `option` says, spread evenly over it; all if it says nothing.
fn spread(set: Dataset, count: Option<u32>, option: &str, split: &str) -> Result<Dataset, String> {
    let Some(count) = count.map(|count| count as usize) else { return Ok(set) };
    if count > set.len() {
        return Err(format!("{option} is {count}, but the {split} set has {} images", set.len()));
    }
    Ok(set.spread(count))
}

/// The settings of a run with a seed. Part of a data set is named as such, so that a run does not go on with another
/// part.
fn config(run: &Run, seed: u64, arguments: &Arguments) -> Config {
    let common = Config::new(run.network.name(), &arguments.data).with_epochs(arguments.epochs);
    let mut data = common.data.clone();
    if let Some(count) = arguments.train_images {
        data = format!("{count} images of {data}");
    }
    if let Some(count) = arguments.test_images {
        data += &format!(", tested on {count}");
    }
    let batch = arguments.batch.map_or(common.batch, |batch| batch as usize);
    (run.change)(Config { data, batch, seed, ..common })
}

/// Trains a run with each seed, or what is missing of it.
fn row(run: &Run, arguments: &Arguments, train: &Dataset, test: &Dataset) -> Result<Row, Box<dyn Error>> {
    let mut row = None;
    for &seed in &arguments.seeds {
        let config = config(run, seed, arguments);
        let classes = train.class_names.len();
        let mut graph = run.network.build(classes, train.dims, &config.options(classes, train.dims))?;
        graph.metadata.command = Some(format!(
            "studies --runs {} --data {} --epochs {} --seeds {seed}",
            run.name, config.data, config.epochs
        ));
        let row = row.get_or_insert_with(|| Row::new(run.name, &graph));
        let batch = config.batch.min(train.len());
        let images = train.len() / batch * batch;
        graph.metadata.normalization = Some(arguments.data.normalization_for(train.dims[0]));
        let sets = [train.clone(), test.clone()];
        let threads = arguments.threads.map(usize::from);
        let out = arguments.out.join(run.name).join(format!("seed-{seed}"));
        let job = Job { resume: true, threads, ..Job::new(graph, config, sets, out) };
        match train::train(job, &mut Lines { run: run.name, seed, epochs: arguments.epochs }) {
            Ok(outcome) => row.trained(&outcome.history, images),
            Err(TrainError::Diverged { epoch, .. }) => row.diverged(epoch),
            Err(error) => return Err(error.into()),
        }
    }
    row.ok_or_else(|| "--seeds names no seed".into())
}

/// A line for each epoch.
struct Lines {
    run: &'static str,
    seed: u64,
    epochs: usize,
}

impl Progress for Lines {
    fn start(&mut self, _: &Config, status: &Status) {
        let Self { run, seed, epochs } = *self;
        match (status.epoch, status.batch) {
            (0, 0) => eprintln!("{run}, seed {seed}: {epochs} epochs of {} batches", status.batches),
            (epoch, _) if epoch == epochs => eprintln!("{run}, seed {seed}: trained already"),
            (epoch, batch) => eprintln!("{run}, seed {seed}: resuming after {epoch} epochs and {batch} batches"),
        }
    }

    fn epoch(&mut self, record: &EpochRecord, _: &Status) {
        let EpochRecord { epoch, train_loss, test_accuracy, seconds, .. } = record;
        let accuracy = 100.0 * test_accuracy;
        let Self { run, seed, epochs } = *self;
        eprintln!(
            "{run}, seed {seed}: epoch {epoch}/{epochs}: loss {train_loss:.4}, accuracy {accuracy:.2} %, {seconds:.1} s"
        );
    }
}

#[cfg(test)]
mod tests;
