//! `skipstone demo`

mod devices;

use super::agreement::{self, Checks, FLOAT_LIMIT};
use super::console::Console;
use super::failure::Failure;
use super::model::{CONFIG, RUN_MODEL};
use super::packed::Packed;
use super::table::{Table, grouped};
use super::train::Bars;
use super::{model, outputs};
use crate::data::{self, Dataset, Spec, Split};
use crate::device::Device;
use crate::pack::{self, Options};
use crate::target::Core;
use crate::train::{self, Config, Job, Outcome};
use crate::{files, zoo};
use devices::OnDevice;
use serde::Serialize;
use std::path::{Path, PathBuf};

const ARCH: &str = "resnet8";
const DATA: &str = "digits";
const SEED: u64 = 1;
/// The command that its network names as its origin.
const COMMAND: &str = "skipstone demo";
/// Least part of the test digits that the network has to read.
const ACCURACY_LIMIT: f64 = 0.97;

/// The files that it writes, besides those of the run.
const STONE: &str = "model.stone";
const CORTEX_M_STONE: &str = "model.cortex-m.stone";
const QDQ: &str = "model.qdq.onnx";

/// The whole chain on built-in handwritten digits: train, export, check against tract, quantize, run on emulated
/// devices.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  skipstone demo")]
pub(super) struct Arguments {
    /// Where the files go [default: runs/demo, which is replaced].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// A line of the table at the end.
#[derive(Serialize)]
struct Row {
    name: &'static str,
    accuracy: f64,
    count: usize,
    flash_bytes: Option<u64>,
    ram_bytes: Option<u64>,
    instructions: Option<u64>,
}

pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<(), Failure> {
    let spec: Spec = DATA.parse()?;
    let mut config = Config::new(ARCH, &spec);
    config.seed = SEED;
    let out = clear(arguments.out.as_deref(), &config)?;
    let test = data::load(&spec, Split::Test)?;
    let calibration = data::load(&spec, Split::Train)?;
    let mut checks = Checks::new();

    console.say(format!("training {ARCH} on {} handwritten digits", calibration.len()));
    let Outcome { best: graph, accuracy, .. } = train(&spec, config, &calibration, &test, &out, console)?;
    checks.add(
        format!("test accuracy {:.2} % (at least {:.0} %)", 100.0 * accuracy, 100.0 * ACCURACY_LIMIT),
        accuracy >= ACCURACY_LIMIT,
    );

    console.say("quantizing and packing");
    let quantized = pack::quantize(&graph, &calibration, &Options::default())?;
    let for_cortex_m = pack::pack(&quantized.qgraph, Core::CortexM4)?;
    files::write(&out.join(QDQ), &quantized.qdq)?;
    files::write(&out.join(STONE), &quantized.stone)?;
    files::write(&out.join(CORTEX_M_STONE), &for_cortex_m.bytes)?;
    let packed = Packed::new(&quantized.stone).map_err(pack::PackError::Refused)?;
    let on_host = packed.on_host().evaluate(&test)?;

    console.say(format!("comparing with tract on {} digits", test.len()));
    let (float, _) = agreement::float(&graph, &test, console)?;
    checks.add_float(&float, FLOAT_LIMIT);
    let (int8, _) = agreement::int8((&quantized.float, &quantized.qgraph), packed.on_host(), None, &test, console)?;
    checks.add_int8(&int8);

    let mut rows = vec![
        Row {
            name: "float, host",
            accuracy,
            count: test.len(),
            flash_bytes: None,
            ram_bytes: None,
            instructions: None,
        },
        Row {
            name: "int8, host",
            accuracy: on_host.accuracy,
            count: test.len(),
            flash_bytes: Some(quantized.stone.len() as u64),
            ram_bytes: Some(quantized.report.arena_bytes as u64),
            instructions: None,
        },
    ];
    let devices = [
        (Core::CortexM4, "int8, Cortex-M4 (emulated)", CORTEX_M_STONE),
        (Core::Neon, "int8, aarch64 (emulated)", STONE),
    ];
    for (core, name, stone) in devices {
        let device = Device::of_core(core).expect("the emulator has it");
        if let Some(on_device) = OnDevice::run(device, &out.join(stone), &test, console)? {
            checks.add(on_device.text(), on_device.holds());
            rows.push(on_device.row(name, &quantized));
        }
    }
    checks.show(console)?;
    show(&rows, &out, console)?;
    console.results(&rows)?;
    checks.verdict(&out)
}

/// The folder to write to, without a demo's files in it; refuses one that holds another run.
fn clear(out: Option<&Path>, config: &Config) -> Result<PathBuf, Failure> {
    let folder = out.unwrap_or(Path::new("runs/demo"));
    outputs::check_folder(folder)?;
    train::check_free(folder)?;
    if out.is_some() && folder.join(CONFIG).exists() && !holds_demo(folder, config) {
        return Err(Failure::at(folder, "holds another run: choose another folder with --out"));
    }
    for name in [RUN_MODEL, "last.safetensors", "history.csv", CONFIG, QDQ, STONE, CORTEX_M_STONE] {
        let path = folder.join(name);
        match std::fs::remove_file(&path) {
            Err(error) if path.exists() => return Err(files::FileError::new("replace", &path, error).into()),
            _ => {}
        }
    }
    Ok(folder.to_path_buf())
}

/// Whether the run in `folder` is a demo's: its network says so, or, before the end of the first epoch, its settings.
fn holds_demo(folder: &Path, config: &Config) -> bool {
    match model::import(&folder.join(RUN_MODEL)) {
        Ok(graph) => graph.metadata.command.as_deref() == Some(COMMAND),
        Err(_) => {
            matches!(super::train::stored_settings(folder), Ok(Some(before)) if config.check_same(&before).is_ok())
        }
    }
}

fn train(
    spec: &Spec,
    config: Config,
    images: &Dataset,
    test: &Dataset,
    out: &Path,
    console: &Console,
) -> Result<Outcome, Failure> {
    let options = config.options(spec.classes()?, spec.dims());
    let mut graph = zoo::build(ARCH, &options)?;
    graph.metadata.command = Some(COMMAND.into());
    graph.metadata.normalization = Some(spec.normalization());
    let job = Job::new(graph, config, [images.clone(), test.clone()], out);
    let mut bars = Bars::new(console);
    let outcome = train::train(job, &mut bars);
    bars.finish();
    Ok(outcome?)
}

fn show(rows: &[Row], out: &Path, console: &Console) -> Result<(), Failure> {
    let mut table = Table::new(&["", "accuracy", "digits", "flash bytes", "RAM bytes", "instructions per digit"]);
    let optional = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), grouped);
    for row in rows {
        table.row([
            row.name.into(),
            format!("{:.2} %", 100.0 * row.accuracy),
            row.count.to_string(),
            optional(row.flash_bytes),
            optional(row.ram_bytes),
            optional(row.instructions),
        ]);
    }
    console.show("")?;
    console.show(table)?;
    console
        .show("flash and RAM: model and arena alone, except on Cortex-M4, where program and stack are counted too")?;
    console.show("")?;
    console.show(format!("{}: {RUN_MODEL}, {QDQ}, {STONE}, {CORTEX_M_STONE}", out.display()))
}
