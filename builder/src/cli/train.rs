//! `skipstone train`

mod network;
mod processes;
mod progress;
mod summary;

pub(super) use progress::Bars;

use super::console::Console;
use super::export::Dims;
use super::failure::Failure;
use super::images::{CACHE, Images};
use super::model::{self, CONFIG, Pixels};
use super::table::grouped;
use super::{outputs, quantize};
use crate::autograd::{FakeQuantization, Precision};
use crate::cluster::Cluster;
use crate::data::{ImageSet, Sampling, Spec, Split};
use crate::quant::{self, Quantization, Settings};
use crate::train::{self, Config, ConfigError, Job, Outcome, Overrides, Recipe, TrainError};
use crate::{files, zoo};
use bytesize::ByteSize;
use network::Network;
use serde::Serialize;
use skipstone_onnx::{Graph, Preprocessing};
use std::path::{Path, PathBuf};
use summary::{Class, Classes, Pair};

/// Train a network. The run's folder holds the best weights and all that --resume needs after an interruption.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  skipstone train --arch resnet8 --data cifar10:DIR --out runs/cifar")]
pub(super) struct Arguments {
    /// The architecture; `skipstone zoo` lists them. Recipe `fast` has one of its own [default with it: resnet-fast].
    #[arg(long, value_name = "NAME", required_unless_present_any = ["resume", "init", "config", "qat", "recipe"])]
    arch: Option<String>,
    /// The data set: `digits`, `cifar10:DIR`, `cifar100:DIR`, `mnist:DIR`, `fashion-mnist[:DIR]` or `folder:DIR`.
    #[arg(long, value_name = "SPEC", required_unless_present_any = ["resume", "config"])]
    data: Option<Spec>,
    /// The run's folder; it must not hold a run, unless with --resume.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Size of the image, for a `folder:DIR` [default: 3x224x224].
    #[arg(long, value_name = "CxHxW", value_parser = super::export::dims)]
    input: Option<Dims>,
    /// Settings by name: `basic` (the default), `cifar`, `rsb-a1`, `rsb-a2`, `rsb-a3`, `fast`, `fine-tune` (the default
    /// with --init), `qat` (the default with --qat).
    #[arg(long, value_name = "NAME")]
    recipe: Option<Recipe>,
    /// Settings from a file in the form of a run's config.toml; it may name a `recipe` and override its settings.
    /// Options of the command line take precedence.
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    /// Number of epochs.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    epochs: Option<usize>,
    /// Batch size.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    batch: Option<usize>,
    /// Learning rate after warm-up.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    lr: Option<f64>,
    /// Seed of weights, order and augmentation [default: 0].
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    seed: Option<u64>,
    /// Precision of the products of convolutions: float32, or bf16 on processors with AVX-512 BF16
    /// [default: float32].
    #[arg(long, value_name = "NAME")]
    precision: Option<Precision>,
    /// Number of threads [default: all cores].
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// Show equally many images of each class in an epoch, for data sets with uneven classes.
    #[arg(long)]
    balanced: bool,
    /// Memory for the decoded pixels of a `folder:DIR`, such as 512MiB. Images that do not fit are decoded again in
    /// every epoch; the result is the same [default: 1GiB].
    #[arg(long, value_name = "SIZE", default_value_t = CACHE, hide_default_value = true, value_parser = size)]
    cache: ByteSize,
    /// Resume the run in DIR; its settings need not be repeated.
    #[arg(long)]
    resume: bool,
    /// Start from the weights of a run or an .onnx file instead of random ones. If the data set has another number of
    /// classes, the network gets a new head.
    #[arg(long, value_name = "MODEL.onnx")]
    init: Option<PathBuf>,
    /// Start with a new head (the last layer with weights) for the classes of the data set.
    #[arg(long)]
    new_head: bool,
    /// Do not train the layers and parameters whose names begin with PREFIX; `inspect` lists them. Can be repeated.
    #[arg(long, value_name = "PREFIX")]
    freeze: Vec<String>,
    /// Train only the head.
    #[arg(long)]
    head_only: bool,
    /// Train for int8: under fake quantization, with scales from the training images, which `skipstone quantize` keeps.
    #[arg(long)]
    qat: bool,
    /// With several processes (`mpirun -n N skipstone train ...`), take batch statistics over the images of all of
    /// them.
    #[arg(long)]
    sync_bn: bool,
    #[command(flatten)]
    pixels: Pixels,
    #[command(flatten)]
    images: Images,
}

#[derive(Serialize)]
struct Output {
    accuracy: f64,
    loss: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    views: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    views_accuracy: Option<f64>,
    epochs: usize,
    seconds: f64,
    peak_bytes: Option<u64>,
    best_epoch: usize,
    classes: Vec<Class>,
    confused: Vec<Pair>,
}

fn size(text: &str) -> Result<ByteSize, &'static str> {
    text.parse().map_err(|_| "not a size such as 512MiB or 4GiB")
}

/// What training needs, made from the arguments.
struct Prepared {
    graph: Graph,
    fake: Option<FakeQuantization>,
    config: Config,
    start: Option<Vec<u8>>,
    sets: [ImageSet; 2],
    classes: Classes,
}

pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<(), Failure> {
    let cluster = processes::join()?;
    let silent = Console::silent();
    let console = if cluster.is_first() { console } else { &silent };
    let prepared = processes::together(&cluster, prepare(arguments, console))?;
    let views = (prepared.config.views > 1).then_some(prepared.config.views);
    let classes = prepared.classes.clone();
    let outcome = train(prepared, arguments, &cluster, console)?;
    let classes = classes.judged(&outcome.confusion);
    let confused = classes.pairs(&outcome.confusion);
    let Outcome { accuracy, loss, views_accuracy, epochs, seconds, peak_bytes, best_epoch, .. } = outcome;
    let of_views = views_accuracy.zip(views).map_or_else(String::new, |(accuracy, views)| {
        format!(" ({:.2} % by {views} views of each image)", 100.0 * accuracy)
    });
    console.show(format!(
        "{}: accuracy {:.2} %{of_views}, loss {loss:.4}, after {epochs} epochs in {seconds:.0} seconds",
        arguments.out.join(model::RUN_MODEL).display(),
        100.0 * accuracy
    ))?;
    console.show(classes.table())?;
    if let Some(line) = summary::confused(&confused) {
        console.show(line)?;
    }
    let classes = classes.into_vec();
    console.result(&Output {
        accuracy,
        loss,
        views,
        views_accuracy,
        epochs,
        seconds,
        peak_bytes,
        best_epoch,
        classes,
        confused,
    })
}

fn prepare(arguments: &Arguments, console: &Console) -> Result<Prepared, Failure> {
    outputs::check_folder(&arguments.out)?;
    train::check_free(&arguments.out)?;
    let before = if arguments.resume { stored_settings(&arguments.out)? } else { None };
    let config = settings(arguments, before.clone())?;
    if let Some(before) = &before {
        config.check_same(before).map_err(TrainError::from)?;
    }
    if arguments.pixels.given() && config.init.is_none() {
        return Err(Failure::Usage(
            "--raw, --mean, --std, --channels, --fit, --resize and --filter say how a network of --init takes pixels: \
             there is none"
                .into(),
        ));
    }
    let spec: Spec = config.data.parse()?;
    let network = network(arguments, &config, &spec)?;
    if !arguments.resume && arguments.out.join(CONFIG).exists() {
        return Err(TrainError::Exists { path: arguments.out.clone() }.into());
    }
    let dims = model::input_dims(&network.graph);
    let preprocessing = &network.graph.metadata.preprocessing;
    let mut sets = load(arguments, &spec, dims, preprocessing, console)?;
    let network = network.for_classes(&config, &mut sets, console)?;
    let classes = Classes::of(&sets);
    console.say(classes.split());
    let (graph, fake) = annotated(network.graph, &config, &sets[0], arguments.init.as_deref(), console)?;
    Ok(Prepared { graph, fake, config, start: network.start, sets, classes })
}

/// The images to train on and those to test with, which share the memory for decoded pixels.
fn load(
    arguments: &Arguments,
    spec: &Spec,
    dims: Dims,
    preprocessing: &Preprocessing,
    console: &Console,
) -> Result<[ImageSet; 2], Failure> {
    let open = |spec: &Spec, split, cache| arguments.images.open(spec, split, dims, preprocessing, cache, console);
    let cache = arguments.cache.as_u64();
    let train = open(spec, Split::Train, arguments.cache)?;
    let left = cache.saturating_sub(train.kept_bytes() as u64);
    let test = open(&test_of(spec), Split::Test, ByteSize::b(left))?;
    let sum = |count: fn(&ImageSet) -> usize| (count(&train) + count(&test)) as u64;
    let (kept, all) = (sum(ImageSet::kept), sum(ImageSet::len));
    if kept < all {
        console.say(format!(
            "the pixels of {} of {} images are kept in memory (--cache {}), the others are decoded in every epoch",
            grouped(kept),
            grouped(all),
            arguments.cache
        ));
    }
    Ok([train, test])
}

fn train(prepared: Prepared, arguments: &Arguments, cluster: &Cluster, console: &Console) -> Result<Outcome, Failure> {
    let Prepared { mut graph, fake, config, start, sets, .. } = prepared;
    graph.metadata.command = Some(command(&config, arguments));
    let (resume, threads) = (arguments.resume, arguments.threads.map(usize::from));
    let job = Job::new(graph, config, sets, &arguments.out);
    let job = Job { fake, start, resume, threads, cluster: cluster.clone(), ..job };
    if cluster.size() > 1 {
        console.say(format!("{} processes", cluster.size()));
    }
    let mut bars = Bars::new(console);
    let result = train::train(job, &mut bars);
    bars.finish();
    result.map_err(|error| processes::end(cluster, error))
}

/// The network to train and, for int8, the annotation under which it is: batch normalization is folded, or stays as it
/// is where it cannot be, and the scales are those of the images, or those that the network was trained for before.
fn annotated(
    mut graph: Graph,
    config: &Config,
    images: &ImageSet,
    file: Option<&Path>,
    console: &Console,
) -> Result<(Graph, Option<FakeQuantization>), Failure> {
    if !config.qat {
        graph.metadata.activation_scales.clear();
        return Ok((graph, None));
    }
    let calibration = images.spread(quantize::COUNT as usize)?;
    if graph.metadata.activation_scales.is_empty() {
        console.say(format!("calibrating on {} images", calibration.len()));
    }
    let named = |error| file.map_or_else(|| Failure::Work(format!("{error}")), |file| Failure::at(file, &error));
    let Quantization { mut rounded, qgraph, .. } =
        quant::quantize(&graph, &calibration, &Settings::default()).map_err(|error: quant::QuantError| named(error))?;
    let fake = quant::fake_quantization(&rounded, &qgraph);
    rounded.metadata.activation_scales = quant::activation_scales(&qgraph);
    Ok((rounded, Some(fake)))
}

/// The command that starts this run.
fn command(config: &Config, arguments: &Arguments) -> String {
    let network = match &config.init {
        Some(file) => format!("--init {file}"),
        None => format!("--arch {}", config.arch),
    };
    let mut text = format!(
        "skipstone train {network} --data {} --epochs {} --batch {} --lr {} --seed {}",
        config.data, config.epochs, config.batch, config.lr, config.seed
    );
    if let Some(input) = config.input {
        text += &format!(" --input {}", zoo::dims_text(input));
    }
    let is_balanced = config.sampling == Sampling::Balanced;
    for (option, given) in [
        ("--balanced", is_balanced),
        ("--qat", config.qat),
        ("--new-head", config.new_head),
        ("--head-only", config.head_only),
        ("--sync-bn", config.sync_bn),
    ] {
        if given {
            text += &format!(" {option}");
        }
    }
    if config.precision != Precision::default() {
        text += &format!(" --precision {}", config.precision);
    }
    for prefix in &config.freeze {
        text += &format!(" --freeze {prefix}");
    }
    if let Some(recipe) = arguments.recipe {
        text += &format!(" --recipe {recipe}");
    }
    if let Some(file) = &arguments.config {
        text += &format!(" --config {}", file.display());
    }
    text
}

/// The settings of the run in `out`, if there is one.
pub(super) fn stored_settings(out: &Path) -> Result<Option<Config>, Failure> {
    let path = out.join(CONFIG);
    if !path.exists() {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&files::read(&path)?).into_owned();
    toml::from_str(&text).map(Some).map_err(|error| Failure::at(&path, error.message()))
}

/// The settings of the run. Options take precedence over the file, the file over the recipe or the settings that the
/// run was started with.
fn settings(arguments: &Arguments, before: Option<Config>) -> Result<Config, Failure> {
    let file = match &arguments.config {
        Some(path) => {
            let text = String::from_utf8_lossy(&files::read(path)?).into_owned();
            text.parse().map_err(|error: ConfigError| Failure::at(path, error))?
        }
        None => Overrides::default(),
    };
    let usual = match (&before, &arguments.init) {
        (Some(_), _) => None,
        _ if arguments.qat => Some(Recipe::Qat),
        (None, init) => init.as_ref().map(|_| Recipe::FineTune),
    };
    let recipe = arguments.recipe.or(file.recipe).or(usual);
    let data = match (&arguments.data, file.data()) {
        (Some(data), _) => Some(data.clone()),
        (None, Some(data)) => Some(data.parse()?),
        (None, None) => None,
    };
    // The network of --init is built already, so the recipe's options of architectures do not apply.
    let arch = match &arguments.init {
        Some(_) => "",
        None => {
            let usual = recipe.and_then(Recipe::arch);
            arguments.arch.as_deref().or(file.arch()).or(usual).unwrap_or_default()
        }
    };
    let base = match (before, data, recipe) {
        (Some(before), _, None) => before,
        (Some(before), data, Some(recipe)) => {
            let data = data.map_or_else(|| before.data.parse(), Ok)?;
            Config { input: before.input, ..recipe.config(&before.arch, &data) }
        }
        (None, Some(data), recipe) => recipe.unwrap_or_default().config(arch, &data),
        (None, None, _) if arguments.resume => {
            let out = arguments.out.display();
            return Err(Failure::Work(format!("{out} holds no run to resume: start one with --arch and --data")));
        }
        (None, None, _) => {
            return Err(Failure::Usage("no data set is named: give --data, or `data` in the file".into()));
        }
    };
    let mut config = match &arguments.config {
        Some(path) => file.apply(&base).map_err(|error| Failure::at(path, error))?,
        None => base,
    };
    if let Some(data) = &arguments.data {
        config.data = data.to_string();
    }
    if let Some(arch) = &arguments.arch {
        config.arch = arch.clone();
    }
    if let Some(init) = &arguments.init {
        config.init = Some(init.display().to_string());
    }
    config.qat |= arguments.qat;
    if arguments.balanced {
        config.sampling = Sampling::Balanced;
    }
    config.new_head |= arguments.new_head;
    config.head_only |= arguments.head_only;
    config.sync_bn |= arguments.sync_bn;
    if !arguments.freeze.is_empty() {
        config.freeze = arguments.freeze.clone();
    }
    let trained = [
        ("training for int8 goes on", config.qat),
        ("--new-head goes on", config.new_head),
        ("--head-only goes on", config.head_only),
        ("--freeze goes on", !config.freeze.is_empty()),
    ];
    if let Some((what, _)) = trained.into_iter().find(|&(_, given)| given && config.init.is_none()) {
        return Err(Failure::Usage(format!("{what} from trained weights: name a run or an .onnx file with --init")));
    }
    if config.arch.is_empty() && config.init.is_none() {
        return Err(Failure::Usage("no architecture is named: give --arch, or `arch` in the file".into()));
    }
    if let Some(epochs) = arguments.epochs {
        config = config.with_epochs(epochs);
    }
    config.input = arguments.input.or(config.input);
    config.batch = arguments.batch.unwrap_or(config.batch);
    config.lr = arguments.lr.unwrap_or(config.lr);
    config.seed = arguments.seed.unwrap_or(config.seed);
    config.precision = arguments.precision.unwrap_or(config.precision);
    config.check().map_err(|error: ConfigError| Failure::Usage(error.to_string()))?;
    Ok(config)
}

/// The initial network.
fn network(arguments: &Arguments, config: &Config, spec: &Spec) -> Result<Network, Failure> {
    if let Some(init) = &config.init {
        return Network::trained(Path::new(init), arguments, config);
    }
    let input = config.input.or(input_of_best(arguments)?).unwrap_or(spec.dims());
    let options = config.options(spec.classes()?, input);
    let graph = zoo::build(&config.arch, &options).map_err(super::zoo::usage)?;
    Ok(Network::built(graph, spec.normalization_for(input[0]), arguments))
}

/// The image size of the network in the run to resume; its settings may lack it.
fn input_of_best(arguments: &Arguments) -> Result<Option<Dims>, Failure> {
    let best = arguments.out.join(model::RUN_MODEL);
    if arguments.resume && best.exists() {
        return Ok(Some(model::input_dims(&model::import(&best)?)));
    }
    Ok(None)
}

fn test_of(spec: &Spec) -> Spec {
    Spec { split: Some(Split::Test), ..spec.clone() }
}
